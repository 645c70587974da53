-- Scans go over an account's skills in sets, the one that was begun longest ago first.
alter table scans
    add column deep_at timestamptz,
    add column lane    smallint,
    add column alone   boolean not null default false,
    add column calls   double precision not null default 0;

comment on column scans.deep_at is 'when the last look at the windows of time before the usual one began';
comment on column scans.lane is 'which of the account''s scans is at work on it; null: none';
comment on column scans.alone is 'LivePerson refused a question because of this skill: it is asked for by itself';
comment on column scans.calls is 'calls to LivePerson that the last scan cost; those of a set are shared equally among its skills';
