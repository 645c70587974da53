-- Rules are written as drafts and published; each version is kept, and a deleted rule leaves one that says so. Sending can be paused.

create table rules (
    id         bigint generated always as identity primary key,
    account    text not null references accounts on delete cascade,
    skill      bigint,
    enabled    boolean not null,
    version    integer not null default 1,
    settings   jsonb not null,
    updated_at timestamptz not null,
    unique nulls not distinct (account, skill)
);
comment on table rules is 'One for each skill that has its own, over all channels';
comment on column rules.skill is 'null: the account''s default, for skills without a rule of their own';

create table rule_versions (
    account    text not null,
    skill      bigint,
    version    integer not null,
    enabled    boolean not null,
    deleted    boolean not null default false,
    settings   jsonb not null,
    steps      jsonb generated always as (settings -> 'steps') stored,
    changed_by text not null,
    changed_at timestamptz not null,
    unique nulls not distinct (account, skill, version)
);
comment on column rule_versions.steps is 'of the settings: asked for whenever steps are numbered, without the texts beside them';
comment on column rule_versions.deleted is 'the rule was deleted: the account''s default has applied since';

create sequence rule_draft_revisions;
create table rule_drafts (
    account    text not null references accounts on delete cascade,
    skill      bigint,
    based_on   integer not null,
    revision   bigint not null default nextval('rule_draft_revisions'),
    enabled    boolean not null,
    settings   jsonb not null,
    changed_by text not null,
    changed_at timestamptz not null,
    unique nulls not distinct (account, skill)
);
comment on column rule_drafts.based_on is 'the version of the rule that the draft started from; 0: there was none';
comment on column rule_drafts.revision is 'new on every save and never used twice: who saves names the one they have read';

-- The skills that scans cover: those for which a rule is on, their own or the account's default.
create view skills_in_use as
select s.account, s.id, s.name
from (
    select account, id, name from skills where not deleted
    union all
    select id, -1, 'Unassigned' from accounts a
        where not exists (select from skills k where k.account = a.id and k.id = -1)
) s
where exists (
    select from rules own where own.account = s.account and own.skill = s.id and own.enabled)
or exists (
    select from rules d where d.account = s.account and d.skill is null and d.enabled
    -- A rule of the skill's own counts even when it is off.
    and not exists (select from rules own where own.account = s.account and own.skill = s.id));

create table pauses (
    id        bigint generated always as identity primary key,
    account   text references accounts on delete cascade,
    channel   channel,
    of_rule   boolean not null default false,
    skill     bigint,
    paused_by text not null,
    paused_at timestamptz not null,
    note      text not null default '',
    unique nulls not distinct (account, channel, of_rule, skill),
    constraint pauses_channel_of_account check (channel is null or account is not null),
    constraint pauses_rule_of_account check (not of_rule or (account is not null and channel is null)),
    constraint pauses_skill_of_rule check (skill is null or of_rule)
);
comment on table pauses is 'What a person has paused: without account everything; else the account, one of its channels, or with of_rule one rule (skill null: the default)';
