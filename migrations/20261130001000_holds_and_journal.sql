-- Whether this database is the one that sent, what holds all sending until a person decides, and what must not be forgotten with the
-- database.

-- A counter that every process raises.
create table heartbeat (
    only_one      boolean primary key default true check (only_one),
    installation  text not null,
    counter       bigint not null,
    floor         bigint not null default 0,
    beat_at       timestamptz not null,
    server        text,
    gap_counter   bigint,
    gap_from      timestamptz,
    gap_until     timestamptz,
    held_before   timestamptz,
    decided_at    timestamptz,
    decided_until timestamptz,
    former        text[] not null default '{}',
    strangers     text[] not null default '{}',
    constraint heartbeat_gap_whole check ((gap_counter is null) = (gap_from is null) and (gap_counter is null) = (gap_until is null)),
    constraint heartbeat_decision_whole check ((decided_at is null) = (decided_until is null))
) with (fillfactor = 20);
comment on table heartbeat is 'one row, made by the first process that works on the database';
comment on column heartbeat.installation is 'random; a copy has it too, a fresh database has another';
comment on column heartbeat.floor is 'rows of beats with a counter that is not higher may have been removed';
comment on column heartbeat.server is 'system identifier of the server and oid of the database; null where they may not be read';
comment on column heartbeat.gap_counter is 'the counter when the last silence began: what others knew before it is compared with this';
comment on column heartbeat.held_before is 'no attempt begins for reminders due before; follows from the table holds';
comment on column heartbeat.decided_at is 'when a person decided last about a lost time; decided_until is its end';
comment on column heartbeat.former is 'names that the installation had before it took the place of another';
comment on column heartbeat.strangers is 'installations that have no business here, as a person has said';

-- Each process signs a line of its own: whoever remembers one that is missing or behind knows that the database was restored, however
-- long others have counted on.
create table beats (
    process  text primary key,
    counter  bigint not null,
    beat_at  timestamptz not null,
    first_at timestamptz not null,
    after_at timestamptz not null,
    trusted  boolean not null,
    keeper   boolean not null
) with (fillfactor = 50);
create index beats_by_first on beats (first_at);
comment on table beats is 'one row for each process that has worked on the database, also of those that have ended';
comment on column beats.counter is 'the heartbeat''s counter at the last beat of this process';
comment on column beats.after_at is 'the last beat before the first of this process; as first_at, where there was none';
comment on column beats.trusted is 'it may send, or remembers the database from outside and finds nothing missing';
comment on column beats.keeper is 'it remembers the heartbeat outside the database';

create table holds (
    id           bigint generated always as identity primary key,
    kind         text not null check (kind in ('restored', 'other', 'copied', 'silence')),
    found_at     timestamptz not null,
    lost_from    timestamptz,
    lost_until   timestamptz,
    due_before   timestamptz,
    counter      bigint not null default 0,
    installation text,
    ended_at     timestamptz,
    ended_by     text,
    how          text check (how in ('restored', 'moved', 'nothing_lost', 'found_whole')),
    constraint holds_end_whole check ((ended_at is null) = (how is null))
);
comment on column holds.lost_from is 'the last moment that the database knows of; null: unknown';
comment on column holds.lost_until is 'the last moment that somebody else knows of';
comment on column holds.due_before is 'only reminders due before this are held; null: all';
comment on column holds.counter is 'the highest counter that somebody else has seen';
comment on column holds.installation is 'the installation that somebody else knows; whoever decides for this database gives it that name';
create unique index holds_active on holds (kind) where ended_at is null;

-- Times that this database has lost: what fell due in them may have been sent.
create table lost_times (
    id         bigint generated always as identity primary key,
    lost_from  timestamptz not null,
    lost_until timestamptz not null,
    constraint lost_times_in_order check (lost_from <= lost_until)
);

-- Conversations that were erased in a time that this database has lost, by keyed hash: a scan that meets one stores nothing of it.
create table erased_conversations (
    account text not null,
    hash    bytea not null,
    at      timestamptz not null,
    primary key (account, hash)
);

-- A journal tells whether it covers a lost time: it has a name, its lines are numbered, it begins with all that is in force, and one
-- process at a time writes to it.
create table journal_sinks (
    name        text primary key check (name in ('file', 'webhook')),
    journal     text,
    numbered    bigint not null default 0,
    seen_at     timestamptz not null,
    lease_until timestamptz,
    holder      text
);
comment on table journal_sinks is 'where some process keeps a journal; without a row nothing is noted';
comment on column journal_sinks.journal is
    'the name of the journal that goes on without a break; null: it is begun anew, with all that is in force, before anything else';
comment on column journal_sinks.numbered is 'the last number that was given to a line of it';
comment on column journal_sinks.lease_until is 'until then one process writes to it, and no other';
comment on column journal_sinks.holder is 'a token of the process that has the lease; nobody else gives it back or notes anything';

-- What must not be forgotten with the database, on its way out of it: an opt-out and its entry commit together, whether or not the place
-- that the journal is kept in answers.
create table journal_outbox (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    kind        text not null check (kind in ('opt_out', 'complaint', 'block', 'lifted', 'erasure')),
    account     text not null,
    channel     text,
    hash        bytea not null,
    key_id      text default nullif(current_setting('unread.address_key', true), ''),
    source      text,
    until       timestamptz,
    file_number bigint,
    filed_at    timestamptz,
    post_number bigint,
    posted_at   timestamptz
);
comment on column journal_outbox.id is 'given under the lock of the suppression''s row: of one address, the later has the higher';
comment on column journal_outbox.hash is 'keyed hash of an address; of an erasure: of a conversation''s id';
comment on column journal_outbox.key_id is 'short name of the key of the hash; null: from before keys had names';
comment on column journal_outbox.file_number is 'the line that it is, or will be, in the file: the same however often it is tried';
comment on column journal_outbox.post_number is 'the same of what is posted';
create index journal_to_file on journal_outbox (id) where filed_at is null;
create index journal_to_post on journal_outbox (id) where posted_at is null;

-- What is erased leaves nothing by which a journal that is begun later could tell it.
create table erasures (
    account text not null,
    hash    bytea not null,
    at      timestamptz not null default clock_timestamp(),
    key_id  text default nullif(current_setting('unread.address_key', true), ''),
    primary key (account, hash)
);
comment on table erasures is 'keyed hashes of erased conversations, for the beginning of a journal';
create index erasures_to_prune on erasures (at);

-- Every statement that changes suppressions is noted, of every version of the program that may run beside this one.
create function journal_suppressions() returns trigger language plpgsql as $$
begin
    if not exists (select from journal_sinks) then
        return null;
    end if;
    if tg_op = 'DELETE' then
        insert into journal_outbox (kind, account, channel, hash, key_id)
        select 'lifted', account, channel, address_hash, key_id from changed where reason <> 'bad_address';
    else
        insert into journal_outbox (kind, account, channel, hash, source, until, key_id)
        select case reason when 'opted_out' then 'opt_out' when 'blocked' then 'block' else reason end,
            account, channel, address_hash, source, expires_at, key_id
        from changed where reason <> 'bad_address';
    end if;
    return null;
end $$;
create trigger journal_new after insert on suppressions
    referencing new table as changed for each statement execute function journal_suppressions();
create trigger journal_changed after update on suppressions
    referencing new table as changed for each statement execute function journal_suppressions();
create trigger journal_gone after delete on suppressions
    referencing old table as changed for each statement execute function journal_suppressions();
