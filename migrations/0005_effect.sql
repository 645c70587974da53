-- What the overview, the effect page and the metrics count, kept as it happens: counting a ledger of a million rows takes longer
-- than a page may.
--
-- Each statement that changes reminders adds what it changed to tally_changes, a table that is only appended to, so that no two
-- workers wait for one counter's row; the sweep adds the changes up into tallies. Their sum is exact at every moment. Deleting
-- reminders (retention) changes nothing: what has happened stays counted.
create table tallies (
    hour    timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null,
    primary key (hour, account, skill, channel, step, measure)
) with (fillfactor = 70);
comment on column tallies.measure is 'a state (cancelled without read and held_out), or an event: see reminder_tallies';
create index tallies_waiting on tallies (measure) where measure in ('scheduled', 'sending');
create index tallies_empty on tallies (hour) where n = 0;

create table tally_changes (
    hour    timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null
);

create view tallies_now as
select hour, account, skill, channel, step, measure, n from tallies
union all
select hour, account, skill, channel, step, measure, n from tally_changes;

-- What one reminder counts as, and in which hour: that it is owed, when it was made; that a provider took it and that the consumer
-- came back, when it was sent; what became of it, when it ended.
create function reminder_tallies(state text, reason text, created_at timestamptz, sent_at timestamptz, final_at timestamptz,
    returned_at timestamptz)
returns table (hour timestamptz, measure text) language sql immutable as $$
    select date_bin('1 hour', e.at, '2000-01-01Z'), e.measure
    from (values
        (created_at, 'owed', true),
        (sent_at, 'accepted', true),
        (sent_at, 'back_1h', returned_at <= sent_at + interval '1 hour'),
        (sent_at, 'back_24h', returned_at is not null),
        (final_at, 'held_back_1h', reason = 'held_out' and returned_at <= final_at + interval '1 hour'),
        (final_at, 'held_back_24h', reason = 'held_out' and returned_at is not null),
        (coalesce(final_at, created_at), case when state <> 'cancelled' then state
             when reason in ('read', 'answered', 'new_episode') then 'read'
             when reason = 'held_out' then 'held_out'
             else state end, true)
    ) as e(at, measure, holds)
    where e.holds and e.at is not null
$$;

create function tally_reminders() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into tally_changes (hour, account, skill, channel, step, measure, n)
        select t.hour, r.account, r.skill, r.channel, r.step, t.measure, count(*)
        from now_rows r, reminder_tallies(r.state, r.reason, r.created_at, r.sent_at, r.final_at, r.returned_at) t
        group by 1, 2, 3, 4, 5, 6;
    else
        insert into tally_changes (hour, account, skill, channel, step, measure, n)
        select c.hour, c.account, c.skill, c.channel, c.step, c.measure, sum(c.n)
        from (
            select t.hour, r.account, r.skill, r.channel, r.step, t.measure, 1 as n
            from now_rows r, reminder_tallies(r.state, r.reason, r.created_at, r.sent_at, r.final_at, r.returned_at) t
            union all
            select t.hour, r.account, r.skill, r.channel, r.step, t.measure, -1
            from was_rows r, reminder_tallies(r.state, r.reason, r.created_at, r.sent_at, r.final_at, r.returned_at) t
        ) c
        group by 1, 2, 3, 4, 5, 6 having sum(c.n) <> 0;
    end if;
    return null;
end
$$;

create trigger tally_new after insert on reminders
    referencing new table as now_rows for each statement execute function tally_reminders();
create trigger tally_changed after update on reminders
    referencing old table as was_rows new table as now_rows for each statement execute function tally_reminders();

insert into tallies (hour, account, skill, channel, step, measure, n)
select t.hour, r.account, r.skill, r.channel, r.step, t.measure, count(*)
from reminders r, reminder_tallies(r.state, r.reason, r.created_at, r.sent_at, r.final_at, r.returned_at) t
group by 1, 2, 3, 4, 5, 6;

-- What the last scan of each skill saw, so that nobody counts the conversations themselves.
alter table scans
    add column unread    integer not null default 0,
    add column undecided integer not null default 0;

-- Lists: reminders of one state, newest first; suppressions, newest first. A reminder's state changes together with columns that
-- are indexed already, but for a carrier's report, so this costs no HOT update worth counting.
create index reminders_by_state on reminders (state, created_at desc, id desc);
create index suppressions_newest on suppressions (created_at desc, address_hash desc, channel desc, account desc);
create index suppressions_by_reason on suppressions (channel, reason, created_at desc, address_hash);
