-- Accounts of LivePerson, their skills, and which of their channels have gone live.

create table accounts (
    id               text primary key,
    skills_revision  text,
    skills_synced_at timestamptz,
    default_rules_at timestamptz,
    created_at       timestamptz not null
);

create table skills (
    account text    not null references accounts on delete cascade,
    id      bigint  not null,
    name    text    not null,
    deleted boolean not null default false,
    primary key (account, id)
);

-- Which channels of which accounts have gone live: a person has said that reminders may go out. Without a row none do.
create table live (
    account text not null references accounts on delete cascade,
    channel channel not null,
    since   timestamptz not null,
    by_whom text not null,
    at      timestamptz not null,
    primary key (account, channel)
);
comment on column live.since is 'the cut: agent messages from before count as read. Long ago if those unread at that moment were to be included';
comment on column live.by_whom is 'as the audit trail names them: a login name, a token, the setting UNREAD_LIVE';

-- A channel that a person has taken back from live: UNREAD_LIVE leaves it alone until a person goes live with it again.
create table live_taken_back (
    account text not null references accounts on delete cascade,
    channel channel not null,
    by_whom text not null,
    at      timestamptz not null,
    primary key (account, channel)
);
comment on column live_taken_back.by_whom is 'as the audit trail names them: a login name or a token';

-- When UNREAD_LIVE last looked whether a channel can go live. Each look asks LivePerson and logs in at the provider: one process looks at a
-- time, and the less often the longer something stands in the way.
create table live_looks (
    account text not null references accounts on delete cascade,
    channel channel not null,
    looks   integer not null,
    at      timestamptz not null,
    next_at timestamptz not null,
    primary key (account, channel)
);
comment on column live_looks.looks is 'how often in a row, since some process started';
