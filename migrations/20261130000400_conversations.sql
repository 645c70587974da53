-- What scans see: conversations, whose they are, and how the scans themselves went.

-- Our snapshot of each conversation. Updated by every scan, so no changing column is indexed (HOT updates) but those that answer "which
-- have gone missing" and "who is unread". Scans rewrite read_state with the same value, which leaves updates HOT.
create table conversations (
    account        text not null,
    id             text not null,
    skill          bigint not null,
    started_at     timestamptz not null,
    open           boolean not null,
    read_state     text not null check (read_state in ('read', 'unread', 'undecided')),
    episode        text,
    unread_since   timestamptz,
    unread_count   integer not null default 0,
    time_zone      text,
    language       text,
    agent_wrote_at timestamptz,
    address_hashes jsonb not null default '{}',
    reason         text,
    step           smallint,
    channel        text,
    passed_over    jsonb not null default '{}',
    seen_at        timestamptz not null,
    changed_at     timestamptz not null,
    closed_at      timestamptz,
    primary key (account, id),
    constraint conversations_unread_has_episode
        check ((read_state = 'unread') = (episode is not null and unread_since is not null))
) with (fillfactor = 70);
comment on column conversations.seen_at is
    'when the record this row was last written from was asked for; a later record that says the same is not written';
comment on column conversations.agent_wrote_at is 'the newest agent message that the consumer can see, unread or not';
-- An address that turns up later is logged although nothing else has changed.
comment on column conversations.address_hashes is
    'by channel: keyed hash, in hexadecimal digits, of the address by which its consumer can be reached; not indexed, so that updates stay cheap';
comment on column conversations.reason is 'why there is, or is not, a reminder now; null: it was never decided about';
comment on column conversations.step is 'of the rule: what is scheduled, or would be if the account were live; with its channel';
comment on column conversations.passed_over is 'by channel: why its steps are passed over for now';
-- By start time, as LivePerson pages: a full pass compares page by page.
create index conversations_open on conversations (account, skill, started_at) where open;
-- For pruning; a conversation that stays open never touches it.
create index conversations_closed on conversations (closed_at) where not open;
-- The people whose message is unread, for whom a forecast tells why they are not reminded.
create index conversations_unread on conversations (account, unread_since) where open and read_state = 'unread';

-- Which ids a website may ask for: LivePerson's consumer ids, and the brand's own customer ids.
create table consumers (
    account      text not null,
    kind         text not null check (kind in ('liveperson', 'customer')),
    consumer     text not null,
    conversation text not null,
    primary key (account, consumer, kind, conversation),
    foreign key (account, conversation) references conversations on delete cascade
);
create index consumers_by_conversation on consumers (account, conversation);

-- Conversations that LivePerson told in a way that cannot be read: an alarm until they are read, closed, or not met for a day.
create table unreadable (
    account      text not null references accounts on delete cascade,
    conversation text not null,
    first_at     timestamptz not null,
    last_at      timestamptz not null,
    primary key (account, conversation)
);
comment on column unreadable.conversation is 'LivePerson''s id; ? for those whose record does not even tell that';
comment on column unreadable.first_at is 'since when it has been met again and again, without a day in between';

-- The latest scans per skill. Full passes go over an account's skills in sets, the one that was begun longest ago first. What each saw is kept, so
-- that nobody counts the conversations themselves.
create table scans (
    account       text not null,
    skill         bigint not null,
    lane          smallint,
    alone         boolean not null default false,
    started_at    timestamptz not null,
    full_at       timestamptz,
    recent_at     timestamptz,
    deep_at       timestamptz,
    finished_at   timestamptz,
    succeeded_at  timestamptz,
    duration_ms   bigint,
    calls         double precision not null default 0,
    conversations integer not null default 0,
    changed       integer not null default 0,
    unread        integer not null default 0,
    undecided     integer not null default 0,
    unreadable    integer not null default 0,
    error         text,
    recent_error  text,
    primary key (account, skill)
);
comment on column scans.lane is 'which of the account''s scans is at work on it; null: none';
comment on column scans.alone is 'LivePerson refused a question because of this skill: it is asked for by itself';
comment on column scans.started_at is 'when the last full pass began';
comment on column scans.full_at is 'when the last full pass that succeeded began';
comment on column scans.recent_at is 'when the last recent pass that succeeded began';
comment on column scans.error is 'why the last full pass ended early; recent_error: why the last recent one did';
comment on column scans.deep_at is 'when the last look at the windows of time before the usual one began';
comment on column scans.calls is 'calls to LivePerson that the last full pass cost; those of a set are shared equally among its skills';

-- The latest recent pass per account, and whether its filter shows what it should.
create table recent_passes (
    account       text primary key references accounts on delete cascade,
    started_at    timestamptz,
    calls         integer not null default 0,
    met           integer not null default 0,
    changed       integer not null default 0,
    missed        bigint not null default 0,
    distrusted_at timestamptz,
    badges_at     timestamptz,
    badge_calls   integer not null default 0,
    badge_asked   integer not null default 0,
    badge_changed integer not null default 0
);
comment on column recent_passes.met is 'conversations that LivePerson listed as updated';
comment on column recent_passes.changed is 'of these: conversations of which something was new';
comment on column recent_passes.missed is 'agent messages, ever, that a full pass found and a recent pass should have';
comment on column recent_passes.distrusted_at is 'when a full pass last found one; for a day from then on there are full passes only';
comment on column recent_passes.badges_at is
    'when open badges were last asked about by id; with the calls, the conversations, and those of which something was new';

-- Hints that were taken within the last minutes: none is taken twice.
create table hints (
    account text not null references accounts on delete cascade,
    id_hash bytea not null,
    at      timestamptz not null,
    primary key (account, id_hash)
);
comment on column hints.id_hash is 'SHA-256 of the id that its sender gave it';
create index hints_at on hints (at);

-- Unread conversations whose badge a page has open or has asked for a moment ago.
create table open_badges (
    account      text not null references accounts on delete cascade,
    conversation text not null,
    shown_at     timestamptz not null,
    checked_at   timestamptz,
    primary key (account, conversation),
    foreign key (account, conversation) references conversations on delete cascade
) with (fillfactor = 70);
comment on column open_badges.checked_at is 'when LivePerson was last asked about it by id';
