-- Counts that pages add up over weeks: by the hour without skill and step, by the day (UTC) with them. The rows of tallies are too
-- many for that, one for each hour, skill, step and measure. The database keeps them as it keeps tallies, so that it does not matter
-- which version of the program folds the changes.
create table tallies_by_hour (
    hour    timestamptz not null,
    account text        not null,
    channel text        not null,
    measure text        not null,
    n       bigint      not null,
    primary key (hour, account, channel, measure)
) with (fillfactor = 70);
create index tallies_by_hour_waiting on tallies_by_hour (measure) where measure in ('scheduled', 'sending');
create index tallies_by_hour_empty on tallies_by_hour (hour) where n = 0;

create table tallies_by_day (
    day     timestamptz not null,
    account text        not null,
    skill   bigint      not null,
    channel text        not null,
    step    smallint    not null,
    measure text        not null,
    n       bigint      not null,
    primary key (day, account, skill, channel, step, measure)
) with (fillfactor = 70);
create index tallies_by_day_empty on tallies_by_day (day) where n = 0;

-- What was added to tallies, summed up. A row that is deleted there was zero, or is past its time: neither changes a sum.
create function sum_tallies() returns trigger language plpgsql as $$
begin
    -- Two that fold at once would otherwise meet at these rows in different orders.
    perform pg_advisory_xact_lock(hashtextextended('sum_tallies', 0));
    if tg_op = 'INSERT' then
        insert into tallies_by_hour as t (hour, account, channel, measure, n)
        select hour, account, channel, measure, sum(n) from now_rows group by 1, 2, 3, 4
        on conflict (hour, account, channel, measure) do update set n = t.n + excluded.n;
        insert into tallies_by_day as t (day, account, skill, channel, step, measure, n)
        select date_bin('1 day', hour, '2000-01-01Z'), account, skill, channel, step, measure, sum(n) from now_rows
        group by 1, 2, 3, 4, 5, 6
        on conflict (day, account, skill, channel, step, measure) do update set n = t.n + excluded.n;
    else
        insert into tallies_by_hour as t (hour, account, channel, measure, n)
        select hour, account, channel, measure, sum(n) from (
            select hour, account, channel, measure, n from now_rows
            union all
            select hour, account, channel, measure, -n from was_rows) c
        group by 1, 2, 3, 4 having sum(n) <> 0
        on conflict (hour, account, channel, measure) do update set n = t.n + excluded.n;
        insert into tallies_by_day as t (day, account, skill, channel, step, measure, n)
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

create trigger sum_new after insert on tallies
    referencing new table as now_rows for each statement execute function sum_tallies();
create trigger sum_changed after update on tallies
    referencing old table as was_rows new table as now_rows for each statement execute function sum_tallies();

insert into tallies_by_hour (hour, account, channel, measure, n)
select hour, account, channel, measure, sum(n) from tallies group by 1, 2, 3, 4;
insert into tallies_by_day (day, account, skill, channel, step, measure, n)
select date_bin('1 day', hour, '2000-01-01Z'), account, skill, channel, step, measure, sum(n) from tallies group by 1, 2, 3, 4, 5, 6;
