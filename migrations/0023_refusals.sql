-- Refusals that name their recipient. One is the recipient's; several in a row with no message of the sender's accepted between them,
-- or the same one for two recipients, are about the sender. Few rows, kept for a day.
create table refusals (
    reminder bigint primary key references reminders on delete cascade,
    provider text not null,
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
