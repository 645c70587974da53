-- Rules are written as drafts and published; a deleted rule leaves a version that says so; sending can be paused.
create sequence rule_draft_revisions;
create table rule_drafts (
    account    text not null references accounts on delete cascade,
    skill      bigint,
    channel    text not null check (channel in ('email', 'sms')),
    based_on   integer not null,
    revision   bigint not null default nextval('rule_draft_revisions'),
    enabled    boolean not null,
    settings   jsonb not null,
    changed_by text not null,
    changed_at timestamptz not null,
    unique nulls not distinct (account, skill, channel)
);
comment on column rule_drafts.based_on is 'the version of the rule that the draft started from; 0: there was none';
comment on column rule_drafts.revision is 'new on every save and never used twice: who saves names the one they have read';

alter table rule_versions add column deleted boolean not null default false;
comment on column rule_versions.deleted is 'the rule was deleted: the account''s default has applied since';

create table pauses (
    id        bigint generated always as identity primary key,
    account   text references accounts on delete cascade,
    channel   text check (channel in ('email', 'sms')),
    of_rule   boolean not null default false,
    skill     bigint,
    paused_by text not null,
    paused_at timestamptz not null,
    note      text not null default '',
    unique nulls not distinct (account, channel, of_rule, skill),
    check (channel is null or account is not null),
    check (not of_rule or channel is not null),
    check (skill is null or of_rule)
);
comment on table pauses is 'What a person has paused: without account everything, without channel the account, with of_rule one rule (skill null: the default)';

-- The people whose message is unread, for whom a forecast tells why they are not reminded. Scans rewrite read_state with the
-- same value, which leaves updates HOT.
create index conversations_unread on conversations (account, unread_since) where open and read_state = 'unread';
