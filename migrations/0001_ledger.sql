-- The ledger and what surrounds it. The queue's own tables (schema apalis) are migrated beside this by src/jobs/queue.
-- Vocabularies repeat the enums of src/domain: the database is the last to know, so it checks.

create table instance (
    key   text primary key,
    value text not null
);
comment on table instance is 'Facts about this installation that are made once, such as the key for address hashes.';

create table accounts (
    id                   text primary key,
    skills_revision      text,
    skills_synced_at     timestamptz,
    default_rules_at     timestamptz,
    created_at           timestamptz not null
);

create table skills (
    account text   not null references accounts on delete cascade,
    id      bigint not null,
    name    text   not null,
    deleted boolean not null default false,
    primary key (account, id)
);

create table rules (
    id         bigint generated always as identity primary key,
    account    text not null references accounts on delete cascade,
    skill      bigint,
    channel    text not null check (channel in ('email', 'sms')),
    enabled    boolean not null,
    version    integer not null default 1,
    settings   jsonb not null,
    updated_at timestamptz not null,
    unique nulls not distinct (account, skill, channel)
);
comment on column rules.skill is 'null: the account''s default, for skills without a rule of their own on this channel';

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
    select from (values ('email'), ('sms')) as c(channel)
    join lateral (
        select enabled from rules r
        where r.account = s.account and r.channel = c.channel and (r.skill = s.id or r.skill is null)
        order by r.skill is null limit 1
    ) r on r.enabled);

create table rule_versions (
    account    text not null,
    skill      bigint,
    channel    text not null,
    version    integer not null,
    enabled    boolean not null,
    settings   jsonb not null,
    changed_by text not null,
    changed_at timestamptz not null,
    unique nulls not distinct (account, skill, channel, version)
);

-- Our snapshot of each conversation. Updated by every scan, so no changing column is indexed (HOT updates) but the two that
-- answer "which have gone missing".
create table conversations (
    account       text not null,
    id            text not null,
    skill         bigint not null,
    started_at    timestamptz not null,
    open          boolean not null,
    read_state    text not null check (read_state in ('read', 'unread', 'undecided')),
    episode       text,
    unread_since  timestamptz,
    unread_count  integer not null default 0,
    time_zone     text,
    language      text,
    email_reason  text,
    sms_reason    text,
    seen_at       timestamptz not null,
    changed_at    timestamptz not null,
    closed_at     timestamptz,
    primary key (account, id),
    check ((read_state = 'unread') = (episode is not null and unread_since is not null))
) with (fillfactor = 70);
comment on column conversations.seen_at is 'when the record this row tells of was asked for at LivePerson';
create index conversations_open on conversations (account, skill) where open;
-- For pruning; a conversation that stays open never touches it.
create index conversations_closed on conversations (closed_at) where not open;

-- Which ids a website may ask for: LivePerson's consumer ids, and the brand's own customer ids.
create table consumers (
    account      text not null,
    kind         text not null check (kind in ('liveperson', 'customer')),
    consumer     text not null,
    conversation text not null,
    primary key (account, consumer, kind, conversation),
    foreign key (account, conversation) references conversations on delete cascade
);
create index consumers_by_conversation on consumers (account, conversation);

-- The ledger: one row per reminder owed. The unique key is promise 2 (never twice).
create table reminders (
    id             bigint generated always as identity primary key,
    account        text not null,
    conversation   text not null,
    episode        text not null,
    channel        text not null check (channel in ('email', 'sms')),
    step           smallint not null check (step between 1 and 8),
    skill          bigint not null,
    state          text not null default 'scheduled' check (state in
                     ('scheduled', 'sending', 'sent', 'delivered', 'undelivered', 'cancelled', 'expired', 'failed', 'unknown')),
    reason         text,
    episode_since  timestamptz not null,
    due_at         timestamptz not null,
    deadline       timestamptz not null,
    next_at        timestamptz,
    tries          integer not null default 0,
    soft_failed    boolean not null default false,
    token          text not null,
    recipient_hash bytea,
    counted_at     timestamptz,
    provider_id    text,
    sent_at        timestamptz,
    final_at       timestamptz,
    returned_at    timestamptz,
    clicked_at     timestamptz,
    created_at     timestamptz not null,
    unique (account, conversation, episode, channel, step),
    check ((state in ('scheduled', 'sending')) = (next_at is not null)),
    check (due_at <= deadline)
) with (fillfactor = 80);
comment on column reminders.next_at is 'when somebody must look at it again: the next try, or the end of the attempt''s lease';
comment on column reminders.tries is 'attempts that count against the retry policy';
comment on column reminders.soft_failed is 'a try met a full mailbox or a phone that is off: at most one more';
comment on column reminders.counted_at is 'when it was, or may have been, sent: what caps count';
create unique index reminders_token on reminders (token);
create index reminders_next on reminders (next_at) where next_at is not null;
create index reminders_by_recipient on reminders (recipient_hash, counted_at) where counted_at is not null;
create index reminders_newest on reminders (created_at desc);
create index reminders_awaiting_return on reminders (account, conversation) where sent_at is not null and returned_at is null;

create table attempts (
    id          bigint generated always as identity primary key,
    reminder    bigint not null references reminders on delete cascade,
    number      integer not null,
    sender      text not null,
    address     text,
    started_at  timestamptz not null,
    lease_until timestamptz not null,
    ended_at    timestamptz,
    outcome     text check (outcome in ('accepted', 'refused', 'not_accepted', 'unknown')),
    code        text,
    provider_id text,
    settle_at   timestamptz,
    looks       smallint not null default 0,
    redact_at   timestamptz,
    redact_tries smallint not null default 0,
    redacted_at timestamptz,
    unique (reminder, number)
);
comment on column attempts.lease_until is 'by the database''s clock: past it an attempt without outcome is unknown';
comment on column attempts.address is 'only until the attempt is settled; then the reminder''s keyed hash is all that stays';
comment on column attempts.settle_at is 'by the database''s clock: when to look at the provider whether an unknown attempt arrived';
create index attempts_to_settle on attempts (settle_at) where settle_at is not null;
create index attempts_leased on attempts (lease_until) where outcome is null;
-- One live sender per reminder, whatever races.
create unique index attempts_open on attempts (reminder) where outcome is null;
create index attempts_provider_id on attempts (provider_id) where provider_id is not null;
comment on column attempts.redact_at is 'not before this, by the database''s clock: after a failed request to remove the text at the provider';
create index attempts_to_redact on attempts (id) where provider_id like 'SM%' and redacted_at is null and redact_tries < 10;

create table decisions (
    id           bigint generated always as identity primary key,
    at           timestamptz not null,
    account      text not null,
    conversation text not null,
    channel      text not null,
    reminder     bigint,
    stage        text not null check (stage in ('scan', 'deliver', 'sweep', 'operator')),
    verdict      text not null check (verdict in ('schedule', 'none', 'send', 'cancel', 'postpone', 'expire')),
    reason       text not null,
    until        timestamptz
);
create index decisions_by_conversation on decisions (account, conversation, id);
create index decisions_by_reminder on decisions (reminder, id) where reminder is not null;
create index decisions_by_time on decisions (at);

create table suppressions (
    account      text not null,
    channel      text not null check (channel in ('email', 'sms')),
    address_hash bytea not null,
    reason       text not null check (reason in ('opted_out', 'bad_address', 'complaint', 'blocked')),
    source       text not null,
    created_at   timestamptz not null,
    expires_at   timestamptz,
    primary key (address_hash, channel, account)
);

create table circuits (
    provider  text not null check (provider in ('smtp', 'twilio')),
    sender    text not null,
    opened_at timestamptz not null,
    code      text not null,
    proof     text not null default 'answer' check (proof in ('answer', 'report')),
    probe_at  timestamptz not null,
    successes integer not null default 0,
    primary key (provider, sender)
);

comment on column circuits.proof is 'what closes it: the provider''s answer to an attempt or, if that had said yes to what failed later, its report';

-- Limits shared by all processes: GCRA, one row per account and provider.
create table limits (
    key        text primary key,
    tat        timestamptz not null,
    held_until timestamptz
) with (fillfactor = 50);
comment on column limits.tat is 'theoretical arrival time of the next call, by the database''s clock';

-- Which slot of each schedule has been claimed; one caller per slot, however many schedulers run.
create table slots (
    name text primary key,
    slot bigint not null
);

-- The latest scan per skill.
create table scans (
    account       text not null,
    skill         bigint not null,
    started_at    timestamptz not null,
    finished_at   timestamptz,
    succeeded_at  timestamptz,
    duration_ms   bigint,
    conversations integer not null default 0,
    unreadable    integer not null default 0,
    error         text,
    primary key (account, skill)
);
