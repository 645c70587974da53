-- The newest click on a reminder's link: the next step waits a little after it. `clicked_at` stays the first, which is what is shown.
alter table reminders add column last_click_at timestamptz;
comment on column reminders.last_click_at is 'the newest click; null: none, or the first was noted by a version that does not know this column';
