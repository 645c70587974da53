-- Refusals that name their recipient, since the sender's last accepted message. One is the recipient's; several in a row, or the same
-- one for two recipients, are about the sender. Few rows: what an accepted message does not delete goes after a day.
create table refusals (
    reminder bigint primary key references reminders on delete cascade,
    provider text not null,
    sender   text not null,
    kind     text not null check (kind in ('bad_address', 'policy')),
    domain   bytea not null,
    code     text not null,
    at       timestamptz not null,
    counted  boolean not null default false
);
comment on column refusals.domain is 'keyed hash of the address''s domain';
comment on column refusals.counted is 'it was part of a run that paused the sender, and is not counted a second time';
create index refusals_by_sender on refusals (provider, sender);
create index refusals_by_time on refusals (at);
