-- The ledger: one row per reminder owed. The unique key is promise 2 (never twice). Of each conversation only the next step is owed, over all
-- channels: one row at most has a next_at.
--
-- Sending a reminder changes its row twice: when the attempt begins and when it has ended. The first of these touches no index (HOT), the
-- second touches few. fillfactor leaves room in each page for the second version of its rows.
create table reminders (
    id             bigint generated always as identity primary key,
    account        text not null,
    conversation   text not null,
    episode        text not null,
    step           smallint not null check (step > 0),
    channel        channel not null,
    skill          bigint not null,
    state          text not null default 'scheduled' check (state in
                     ('scheduled', 'sending', 'sent', 'delivered', 'undelivered', 'cancelled', 'expired', 'failed', 'unknown')),
    -- A state in which nothing is over yet is listed as `scheduled`, so that beginning an attempt leaves the index alone.
    listed_as      text generated always as (case when state = 'sending' then 'scheduled' else state end) stored,
    reason         text,
    episode_since  timestamptz not null,
    due_at         timestamptz not null,
    deadline       timestamptz not null,
    latest_at      timestamptz,
    time_zone      text,
    zone_source    text check (zone_source in ('liveperson', 'number', 'rule', 'account')),
    next_at        timestamptz,
    tries          integer not null default 0,
    soft_failed    boolean not null default false,
    token          text not null,
    language       text,
    recipient_hash bytea,
    counted_at     timestamptz,
    provider_id    text,
    sent_at        timestamptz,
    final_at       timestamptz,
    returned_at    timestamptz,
    clicked_at     timestamptz,
    last_click_at  timestamptz,
    first_of_episode boolean not null default false,
    credited       boolean not null default false,
    restarted_at   timestamptz,
    created_at     timestamptz not null,
    unique (account, conversation, episode, step),
    constraint reminders_open_has_next check ((state in ('scheduled', 'sending')) = (next_at is not null)),
    constraint reminders_due_by_deadline check (due_at <= deadline)
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
comment on column reminders.step is 'its id within the rule, which stays when the rule is edited. Until it is tried, a reminder may become that of another step';
comment on column reminders.listed_as is 'the state under which it is found in lists: what is being sent is among the scheduled';
comment on column reminders.deadline is 'past it nothing is sent, as the consumer''s clocks were known when it was last looked at';
comment on column reminders.latest_at is 'no deadline by any clock is later than this; empty: deadline';
comment on column reminders.time_zone is 'the zones by whose clocks its hours are read, with blanks between; all of them must allow';
comment on column reminders.next_at is 'when somebody must look at it again; while an attempt is under way that is the lease''s business';
comment on column reminders.tries is 'attempts that count against the retry policy';
comment on column reminders.soft_failed is 'a try met a full mailbox or a phone that is off: at most one more';
comment on column reminders.language is 'of the text of its newest attempt: pages that its links lead to are in the same';
comment on column reminders.recipient_hash is 'whom it goes to, as far as is known; gone when it ends unsent';
comment on column reminders.counted_at is 'when it was, or may have been, sent: what caps count';
comment on column reminders.first_of_episode is 'no other reminder of its episode was, or may have been, sent before it';
comment on column reminders.credited is 'the consumer came back after this one: it was the last that was sent before';
comment on column reminders.restarted_at is 'when a person last had it sent again';
-- The next step waits a little after the newest click. `clicked_at` stays the first, which is what is shown.
comment on column reminders.last_click_at is 'the newest click; null: none, or the first was noted by a version that does not know this column';
create unique index reminders_token on reminders (token);
create index reminders_next on reminders (next_at) where next_at is not null;
-- Never two at once, whoever races.
create unique index reminders_pending on reminders (account, conversation) where next_at is not null;
-- The recipient is known from the scan on; whether it was sent is looked up in the row.
create index reminders_by_recipient on reminders (recipient_hash) where recipient_hash is not null;
create index reminders_newest on reminders (created_at desc);
-- Lists: reminders of one state, newest first.
create index reminders_by_state on reminders (listed_as, created_at desc, id desc);

create table attempts (
    id           bigint generated always as identity primary key,
    reminder     bigint not null references reminders on delete cascade,
    number       integer not null,
    sender       text not null,
    address      text,
    started_at   timestamptz not null,
    lease_until  timestamptz not null,
    ended_at     timestamptz,
    outcome      text check (outcome in ('accepted', 'refused', 'not_accepted', 'unknown')),
    code         text,
    provider_id  text,
    -- How a message ended by the first report that says so. What a later report says of the same message changes nothing.
    final_report text,
    settle_at    timestamptz,
    looks        smallint not null default 0,
    redact_at    timestamptz,
    redact_tries smallint not null default 0,
    redacted_at  timestamptz,
    unique (reminder, number)
) with (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
comment on column attempts.address is 'only until the attempt is settled; then the reminder''s keyed hash is all that stays';
comment on column attempts.lease_until is 'by the database''s clock: past it an attempt without outcome is unknown';
comment on column attempts.settle_at is 'by the database''s clock: when to look at the provider whether an unknown attempt arrived';
comment on column attempts.redact_at is 'not before this, by the database''s clock: after a failed request to remove the text at the provider';
-- One live sender per reminder, whatever races.
create unique index attempts_open on attempts (reminder) where outcome is null;
create index attempts_to_settle on attempts (settle_at) where settle_at is not null;
create index attempts_provider_id on attempts (provider_id) where provider_id is not null;
create index attempts_to_redact on attempts (id) where provider_id like 'SM%' and redacted_at is null and redact_tries < 10;

-- Refusals that name their recipient. One is the recipient's; several in a row with no message of the sender's accepted between them,
-- or the same one for two recipients, are about the sender. Few rows, kept for a day.
create table refusals (
    reminder bigint primary key references reminders on delete cascade,
    provider provider not null,
    sender   text not null,
    kind     text not null check (kind in ('bad_address', 'policy')),
    domain   bytea not null,
    code     text not null,
    at       timestamptz not null,
    settled  boolean not null default false
);
comment on column refusals.domain is 'keyed hash of the address''s domain';
comment on column refusals.settled is 'whose it is has been decided: a message was accepted since, or it was part of a run that paused the sender';
create index refusals_by_sender on refusals (provider, sender) where not settled;
create index refusals_by_time on refusals (at);
