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
