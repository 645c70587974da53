-- What was decided and why, and what people have changed: two logs that explain the rest. A decision to send has no row: it is the attempt.

-- Everybody is found by address, also who was never written to: what a scan decides is kept with the keyed hashes of the addresses that the
-- conversation had, for as long as the decision. Decisions about a reminder have none: their conversation has one of a scan beside them.
create table decisions (
    id           bigint not null default nextval('log_ids') primary key,
    at           timestamptz not null,
    account      text not null,
    conversation text not null,
    channel      text,
    step         smallint,
    passed_over  jsonb,
    address_hashes bytea[],
    reminder     bigint,
    stage        text not null check (stage in ('scan', 'deliver', 'sweep', 'operator')),
    verdict      text not null check (verdict in ('schedule', 'none', 'send', 'cancel', 'postpone', 'expire')),
    reason       text not null,
    until        timestamptz
);
comment on column decisions.channel is 'of the step that it is about; null: of none';
comment on column decisions.passed_over is 'by channel: why a scan passed its steps over; null: it did not';
comment on column decisions.address_hashes is
    'keyed hashes of the addresses that a scan found; null: none was known, or the decision is about a reminder';
create index decisions_by_conversation on decisions (account, conversation, id);
create index decisions_by_reminder on decisions (reminder, id) where reminder is not null;
create index decisions_by_address on decisions using gin (address_hashes) where address_hashes is not null;
create index decisions_by_time on decisions (at);

-- Attempts as decisions. One without a sender was not decided: it stands for what a lost database may have sent.
create view decisions_to_send as
select a.id, a.started_at as at, r.account, r.conversation, r.channel::text as channel, r.step, null::jsonb as passed_over, a.reminder,
    'deliver' as stage, 'send' as verdict, 'due' as reason, null::timestamptz as until
from attempts a join reminders r on r.id = a.reminder
where a.sender <> '';

create view decision_log as
select id, at, account, conversation, channel, step, passed_over, reminder, stage, verdict, reason, until from decisions
union all
select id, at, account, conversation, channel, step, passed_over, reminder, stage, verdict, reason, until from decisions_to_send;

-- Who changed what, when: written in the transaction that makes the change.
create table audit (
    id      bigint generated always as identity primary key,
    at      timestamptz not null,
    by      text not null,
    action  text not null,
    account text,
    subject text not null,
    detail  jsonb not null default '{}'
);
comment on column audit.by is 'a person''s login name, an API token''s name, or the command that was run';
comment on column audit.action is 'a dotted verb: rule.publish, reminder.cancel, suppression.add';
comment on column audit.subject is 'what was changed, without personal data: a rule''s key, a reminder''s id';
create index audit_by_time on audit (at);
-- By somebody, by a verb and by a kind of verb, newest first, however much others have changed since.
create index audit_by_author on audit (by, id);
create index audit_by_action on audit (action, id);
create index audit_by_kind on audit (split_part(action, '.', 1), id);
-- Who is limited to some accounts reads the audit trail of these.
create index audit_by_account on audit (account, id desc) where account is not null;
