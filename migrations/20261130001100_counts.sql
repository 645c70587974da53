-- What the overview, the effect page and the metrics count, kept as it happens: counting a ledger of a million rows takes longer
-- than a page may.
--
-- Each statement that changes reminders adds what it changed to count_deltas, a table that is only appended to, so that no two
-- workers wait for one counter's row; the sweep adds the changes up into reminder_counts. Their sum is exact at every moment. Deleting
-- reminders (retention) changes nothing: what has happened stays counted.
create table reminder_counts (
    hour    timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null,
    primary key (hour, account, skill, channel, step, measure)
) with (fillfactor = 70);
comment on column reminder_counts.measure is 'a state (cancelled without read and held_out), or an event: see reminder_measures';
create index reminder_counts_waiting on reminder_counts (measure) where measure in ('scheduled', 'sending');
create index reminder_counts_empty on reminder_counts (hour) where n = 0;

create table count_deltas (
    hour    timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null
);

create view reminder_counts_now as
select hour, account, skill, channel, step, measure, n from reminder_counts
union all
select hour, account, skill, channel, step, measure, n from count_deltas;

-- What one reminder counts as, and in which hour: that it is owed, when it was made; that a provider took it and that the consumer
-- came back after it, when it was sent; what became of it, when it ended. The first of an episode counts for the whole of it, too: that
-- somebody was reminded, and came back after that, whatever else was sent meanwhile.
create function reminder_measures(state text, reason text, created_at timestamptz, sent_at timestamptz, final_at timestamptz,
    returned_at timestamptz, first_of_episode boolean, credited boolean)
returns table (hour timestamptz, measure text) language sql immutable as $$
    select date_bin('1 hour', e.at, '2000-01-01Z'), e.measure
    from (values
        (created_at, 'owed', true),
        (sent_at, 'accepted', true),
        (sent_at, 'back_1h', credited and returned_at <= sent_at + interval '1 hour'),
        (sent_at, 'back_24h', credited and returned_at is not null),
        (sent_at, 'reminded', first_of_episode),
        (sent_at, 'reminded_back_1h', first_of_episode and returned_at <= sent_at + interval '1 hour'),
        (sent_at, 'reminded_back_24h', first_of_episode and returned_at is not null),
        (final_at, 'held_back_1h', reason = 'held_out' and returned_at <= final_at + interval '1 hour'),
        (final_at, 'held_back_24h', reason = 'held_out' and returned_at is not null),
        (coalesce(final_at, created_at), case when state <> 'cancelled' then state
             when reason in ('read', 'answered', 'new_episode') then 'read'
             when reason = 'held_out' then 'held_out'
             else state end, true)
    ) as e(at, measure, holds)
    where e.holds and e.at is not null
$$;

-- Rows of a batch have the same facts but for the moments, of which only the hour counts: those are counted first, and only then split
-- into measures. `back` is a moment that is as far behind the hour as the consumer's return is behind the moment.
create function count_reminders() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into count_deltas (hour, account, skill, channel, step, measure, n)
        select t.hour, r.account, r.skill, r.channel, r.step, t.measure, sum(r.n)
        from (
            select account, skill, channel, step, state, reason, date_bin('1 hour', created_at, '2000-01-01Z') as created,
                date_bin('1 hour', sent_at, '2000-01-01Z') as sent, date_bin('1 hour', final_at, '2000-01-01Z') as final,
                returned_at - coalesce(sent_at, final_at) as back, first_of_episode, credited, count(*) as n
            from now_rows group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
        ) r, reminder_measures(r.state, r.reason, r.created, r.sent, r.final, coalesce(r.sent, r.final) + r.back, r.first_of_episode,
            r.credited) t
        group by 1, 2, 3, 4, 5, 6;
    else
        insert into count_deltas (hour, account, skill, channel, step, measure, n)
        select t.hour, r.account, r.skill, r.channel, r.step, t.measure, sum(r.n)
        from (
            select account, skill, channel, step, state, reason, created, sent, final, back, first_of_episode, credited, sum(n) as n
            from (
                select account, skill, channel, step, state, reason, date_bin('1 hour', created_at, '2000-01-01Z') as created,
                    date_bin('1 hour', sent_at, '2000-01-01Z') as sent, date_bin('1 hour', final_at, '2000-01-01Z') as final,
                    returned_at - coalesce(sent_at, final_at) as back, first_of_episode, credited, 1 as n
                from now_rows
                union all
                select account, skill, channel, step, state, reason, date_bin('1 hour', created_at, '2000-01-01Z'),
                    date_bin('1 hour', sent_at, '2000-01-01Z'), date_bin('1 hour', final_at, '2000-01-01Z'),
                    returned_at - coalesce(sent_at, final_at), first_of_episode, credited, -1
                from was_rows
            ) c
            group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 having sum(n) <> 0
        ) r, reminder_measures(r.state, r.reason, r.created, r.sent, r.final, coalesce(r.sent, r.final) + r.back, r.first_of_episode,
            r.credited) t
        group by 1, 2, 3, 4, 5, 6 having sum(r.n) <> 0;
    end if;
    return null;
end
$$;

create trigger count_new after insert on reminders
    referencing new table as now_rows for each statement execute function count_reminders();
create trigger count_changed after update on reminders
    referencing old table as was_rows new table as now_rows for each statement execute function count_reminders();

-- Counts that pages add up over weeks: by the hour without skill and step, by the day (UTC) with them. The rows of reminder_counts are too
-- many for that, one for each hour, skill, step and measure. The database keeps them as it keeps reminder_counts, so that it does not matter
-- which version of the program rolls the changes up.
create table reminder_counts_by_hour (
    hour    timestamptz not null,
    account text        not null,
    channel text        not null,
    measure text        not null,
    n       bigint      not null,
    primary key (hour, account, channel, measure)
) with (fillfactor = 70);
create index reminder_counts_by_hour_waiting on reminder_counts_by_hour (measure) where measure in ('scheduled', 'sending');
create index reminder_counts_by_hour_empty on reminder_counts_by_hour (hour) where n = 0;

create table reminder_counts_by_day (
    day     timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null,
    primary key (day, account, skill, channel, step, measure)
) with (fillfactor = 70);
create index reminder_counts_by_day_empty on reminder_counts_by_day (day) where n = 0;

-- What was added to reminder_counts, summed up. A row that is deleted there was zero, or is past its time: neither changes a sum.
create function sum_reminder_counts() returns trigger language plpgsql as $$
begin
    -- Two that roll up at once would otherwise meet at these rows in different orders.
    perform pg_advisory_xact_lock(hashtextextended('sum_reminder_counts', 0));
    if tg_op = 'INSERT' then
        insert into reminder_counts_by_hour as t (hour, account, channel, measure, n)
        select hour, account, channel, measure, sum(n) from now_rows group by 1, 2, 3, 4
        on conflict (hour, account, channel, measure) do update set n = t.n + excluded.n;
        insert into reminder_counts_by_day as t (day, account, skill, channel, step, measure, n)
        select date_bin('1 day', hour, '2000-01-01Z'), account, skill, channel, step, measure, sum(n) from now_rows
        group by 1, 2, 3, 4, 5, 6
        on conflict (day, account, skill, channel, step, measure) do update set n = t.n + excluded.n;
    else
        insert into reminder_counts_by_hour as t (hour, account, channel, measure, n)
        select hour, account, channel, measure, sum(n) from (
            select hour, account, channel, measure, n from now_rows
            union all
            select hour, account, channel, measure, -n from was_rows) c
        group by 1, 2, 3, 4 having sum(n) <> 0
        on conflict (hour, account, channel, measure) do update set n = t.n + excluded.n;
        insert into reminder_counts_by_day as t (day, account, skill, channel, step, measure, n)
        select date_bin('1 day', hour, '2000-01-01Z'), account, skill, channel, step, measure, sum(n) from (
            select hour, account, skill, channel, step, measure, n from now_rows
            union all
            select hour, account, skill, channel, step, measure, -n from was_rows) c
        group by 1, 2, 3, 4, 5, 6 having sum(n) <> 0
        on conflict (day, account, skill, channel, step, measure) do update set n = t.n + excluded.n;
    end if;
    return null;
end
$$;

create trigger sum_new after insert on reminder_counts
    referencing new table as now_rows for each statement execute function sum_reminder_counts();
create trigger sum_changed after update on reminder_counts
    referencing old table as was_rows new table as now_rows for each statement execute function sum_reminder_counts();
