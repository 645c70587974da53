-- The ledger: one row per reminder owed. The unique key is promise 2 (never twice). Of each conversation only the next step is owed, over all
-- channels: one row at most has a next_at.
--
-- Sending a reminder changes its row twice: when the attempt begins and when it has ended. Neither touches an index (HOT): what changes on the
-- way, state and next_at, is in none. What waits is found in `pending`, what ended badly in `unsuccessful`. fillfactor leaves room in each
-- page for the second version of its rows. What changes stands together, last: the WAL holds a new version from its first changed byte to its
-- last.
create table reminders (
    id             bigint generated always as identity primary key,
    account        text not null,
    conversation   text not null,
    episode        text not null,
    step           smallint not null check (step > 0),
    channel        channel not null,
    skill          bigint not null,
    episode_since  timestamptz not null,
    due_at         timestamptz not null,
    deadline       timestamptz not null,
    latest_at      timestamptz,
    time_zone      text,
    zone_source    text check (zone_source in ('liveperson', 'number', 'rule', 'account')),
    token          text not null,
    recipient_hash bytea,
    language       text,
    created_at     timestamptz not null,
    state          text not null default 'scheduled' check (state in
                     ('scheduled', 'sending', 'sent', 'delivered', 'undelivered', 'cancelled', 'expired', 'failed', 'unknown')),
    reason         text,
    next_at        timestamptz,
    tries          integer not null default 0,
    soft_failed    boolean not null default false,
    first_of_episode boolean not null default false,
    counted_at     timestamptz,
    provider_id    text,
    sent_at        timestamptz,
    final_at       timestamptz,
    returned_at    timestamptz,
    clicked_at     timestamptz,
    last_click_at  timestamptz,
    credited       boolean not null default false,
    restarted_at   timestamptz,
    unique (account, conversation, episode, step),
    constraint reminders_open_has_next check ((state in ('scheduled', 'sending')) = (next_at is not null)),
    constraint reminders_due_by_deadline check (due_at <= deadline)
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
comment on column reminders.step is 'its id within the rule, which stays when the rule is edited. Until it is tried, a reminder may become that of another step';
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
-- The recipient is known from the scan on; whether it was sent is looked up in the row.
create index reminders_by_recipient on reminders (recipient_hash) where recipient_hash is not null;
create index reminders_newest on reminders (created_at desc, id desc);

-- Reminders that wait or are under way. As small as what is to come, however long the ledger is.
create table pending (
    account      text not null,
    conversation text not null,
    reminder     bigint not null,
    next_at      timestamptz not null,
    created_at   timestamptz not null,
    -- Never two at once, whoever races.
    primary key (account, conversation)
) with (
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_threshold = 500,
    autovacuum_analyze_scale_factor = 0.02
);
create index pending_next on pending (next_at);
create index pending_newest on pending (created_at desc, reminder desc);

-- Reminders that ended as failed, expired, undelivered or unknown: few among the others, and looked for.
create table unsuccessful (
    reminder   bigint primary key,
    state      text not null,
    created_at timestamptz not null
);
create index unsuccessful_newest on unsuccessful (state, created_at desc, reminder desc);

create function is_unsuccessful(state text) returns boolean language sql immutable as $$
    select state in ('failed', 'expired', 'undelivered', 'unknown')
$$;

-- Whatever statement changes reminders, these two follow: one more statement for all of its rows.
create function follow_new_reminders() returns trigger language plpgsql as $$
begin
    insert into pending (account, conversation, reminder, next_at, created_at)
    select account, conversation, id, next_at, created_at from now_rows where next_at is not null;
    insert into unsuccessful (reminder, state, created_at)
    select id, state, created_at from now_rows where is_unsuccessful(state);
    return null;
end
$$;

create function follow_changed_reminders() returns trigger language plpgsql as $$
begin
    with changed as materialized (
        select n.id, n.account, n.conversation, n.state, n.next_at, n.created_at, w.conversation as was_in, w.next_at as was_at
        from now_rows n join was_rows w on w.id = n.id
        where n.next_at is distinct from w.next_at or n.conversation <> w.conversation
           or (n.state <> w.state and (is_unsuccessful(n.state) or is_unsuccessful(w.state)))
    ), over as (
        delete from pending p using changed c
        where p.account = c.account and p.conversation = c.was_in and p.reminder = c.id and c.was_at is not null and c.next_at is null
    ), moved as (
        update pending p set next_at = c.next_at, conversation = c.conversation from changed c
        where p.account = c.account and p.conversation = c.was_in and p.reminder = c.id and c.was_at is not null and c.next_at is not null
          and (p.next_at, p.conversation) <> (c.next_at, c.conversation)
    ), begun as (
        insert into pending (account, conversation, reminder, next_at, created_at)
        select account, conversation, id, next_at, created_at from changed where was_at is null and next_at is not null
    ), better as (
        delete from unsuccessful u using changed c where u.reminder = c.id and not is_unsuccessful(c.state)
    )
    insert into unsuccessful as u (reminder, state, created_at)
    select id, state, created_at from changed where is_unsuccessful(state)
    on conflict (reminder) do update set state = excluded.state where u.state <> excluded.state;
    return null;
end
$$;

create function follow_gone_reminders() returns trigger language plpgsql as $$
begin
    delete from pending p using was_rows w where p.account = w.account and p.conversation = w.conversation and p.reminder = w.id;
    delete from unsuccessful where reminder in (select id from was_rows);
    delete from attempts where reminder in (select id from was_rows);
    return null;
end
$$;

create trigger follow_new after insert on reminders
    referencing new table as now_rows for each statement execute function follow_new_reminders();
create trigger follow_changed after update on reminders
    referencing old table as was_rows new table as now_rows for each statement execute function follow_changed_reminders();
create trigger follow_gone after delete on reminders
    referencing old table as was_rows for each statement execute function follow_gone_reminders();

-- What is decided and what is tried, in one order: an attempt is the decision to send, and stands among the others (decision_log).
create sequence log_ids;

-- Its reminder exists: it is begun with it and goes with it. A foreign key would look it up, and lock it, once more for each.
create table attempts (
    id           bigint not null default nextval('log_ids') primary key,
    reminder     bigint not null,
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
comment on column attempts.provider_id is 'only where the provider reports by it; the reminder has that of every message that was taken';
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
