-- Whose clock a reminder's hours are read by, and until when it could be sent whatever that clock turns out to be.
--
-- Programs of before work with these tables as well: they leave the columns empty, and the deadline they store is the end.
alter table reminders add column latest_at timestamptz, add column time_zone text,
    add column zone_source text check (zone_source in ('liveperson', 'number', 'rule', 'account'));
comment on column reminders.deadline is 'past it nothing is sent, as the consumer''s clocks were known when it was last looked at';
comment on column reminders.latest_at is 'no deadline by any clock is later than this; empty: deadline';
comment on column reminders.time_zone is 'the zones by whose clocks its hours are read, with blanks between; all of them must allow';
