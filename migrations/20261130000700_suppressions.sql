-- Who must not be written to, and the answers that said so.

create table suppressions (
    account        text not null,
    channel        channel not null,
    address_hash   bytea not null,
    -- A process tells its sessions the short name of its key.
    key_id         text default nullif(current_setting('unread.address_key', true), ''),
    reason         text not null check (reason in ('opted_out', 'bad_address', 'complaint', 'blocked')),
    source         text not null,
    -- Why an opt-out is doubtful, as long as nobody has looked at it. Never what was written.
    doubt          text,
    -- The language that it seems to be written in, for whoever reviews it: 'de' … Never what was written.
    doubt_language text,
    created_at     timestamptz not null,
    expires_at     timestamptz,
    primary key (address_hash, channel, account)
);
comment on column suppressions.key_id is
    'short name of the key of address_hash; null: stored before keys had names';
-- Lists: newest first.
create index suppressions_newest on suppressions (created_at desc, address_hash desc, channel desc, account desc);
create index suppressions_by_reason on suppressions (channel, reason, created_at desc, address_hash);
create index suppressions_to_review on suppressions (created_at) where doubt is not null;

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
