-- Incidents that people hear of, and what they are told: each once, whichever process finds it.

create table incidents (
    id         bigint generated always as identity primary key,
    kind       text not null,
    about      text not null,
    account    text,
    first_seen timestamptz not null,
    last_seen  timestamptz not null,
    begun_at   timestamptz,
    ended_at   timestamptz
);
comment on column incidents.about is 'tells it from others of its kind: a sender, an account; empty where there is one only';
comment on column incidents.begun_at is 'when people were told of it; null: it has not lasted long enough yet';
create unique index incidents_going_on on incidents (kind, about) where ended_at is null;
create index incidents_by_time on incidents (begun_at) where begun_at is not null;

-- What is to be told, and to whom: one row for each that hears of it.
create table notices (
    id         bigint generated always as identity primary key,
    subject    text not null,
    target     text not null,
    kind       text not null check (kind in ('incident', 'week')),
    body       jsonb not null,
    created_at timestamptz not null,
    batch      text,
    taken_till timestamptz,
    told_at    timestamptz,
    tries      integer not null default 0,
    next_at    timestamptz not null,
    unique (subject, target)
);
comment on column notices.subject is 'what it is about, and which of it: incident/17/begins, week/2026-01-05';
comment on column notices.target is 'webhook, or the keyed hash of an e-mail address of the settings';
comment on column notices.batch is 'those that are told together, by the name that the message keeps if it has to be sent again';
create index notices_waiting on notices (next_at) where told_at is null;
