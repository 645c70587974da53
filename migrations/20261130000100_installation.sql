-- What processes share that belongs to no account: facts about the installation, the schedule, limits. The queue's own tables (schema
-- apalis) have their own migrations, beside the queue's code.
-- Vocabularies repeat the enums of src/domain: the database is the last to know, so it checks.

-- The words for channels, and for what carries them: a new one is a word more here.
create domain channel as text constraint channel_known check (value in ('email', 'sms'));
create domain provider as text constraint provider_known check (value in ('smtp', 'twilio'));

create table instance (
    key   text primary key,
    value text not null
);
comment on table instance is 'Facts about this installation that are made once, such as the key for address hashes.';

-- Which programs can work with these tables: those that know migrations up to this one, and all newer ones. README.md has the rule.
insert into instance (key, value) values ('schema_compatible_from', '20261130000100');

-- Which slot of each schedule has been claimed; one caller per slot, however many schedulers run.
create table schedule_ticks (
    name text primary key,
    slot bigint not null
);

-- Limits shared by all processes: GCRA, one row per account and provider.
create table limits (
    key        text primary key,
    tat        timestamptz not null,
    held_until timestamptz
) with (fillfactor = 50);
comment on column limits.tat is 'theoretical arrival time of the next call, by the database''s clock';
