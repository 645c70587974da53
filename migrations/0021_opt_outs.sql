-- Answers to text messages that had an effect: each has it once. Twilio signs no time, so a recorded request can be played again for
-- ever; the id of the message is what tells. Only a hash of it is kept, and nothing of who wrote what.
create table answered_messages (
    sid_hash bytea primary key,
    at       timestamptz not null,
    lifts    boolean not null
);
comment on column answered_messages.lifts is
    'it lifted opt-outs: kept for good, since a message that is played again after its row is gone would lift a newer one';
create index answered_messages_to_prune on answered_messages (at) where not lifts;

-- Why an opt-out is doubtful, as long as nobody has looked at it. Never what was written.
alter table suppressions add column doubt text;
create index suppressions_to_review on suppressions (created_at) where doubt is not null;

-- How a message ended by the first report that says so. What a later report says of the same message changes nothing.
alter table attempts add column final_report text;
