-- Who may use the dashboard and the config API. Secrets are kept as hashes only, or sealed: what is in these tables lets nobody in.

create table users (
    id          bigint generated always as identity primary key,
    name        text not null unique check (name ~ '^[a-z0-9][a-z0-9._@+-]{0,99}$'),
    role        text not null check (role in ('viewer', 'editor', 'administrator')),
    accounts    text[],
    password    text,
    sso_subject text unique,
    created_at  timestamptz not null,
    seen_at     timestamptz,
    constraint users_limited check (accounts is null or (role <> 'administrator' and cardinality(accounts) > 0))
);
comment on column users.name is 'what the person logs in with and what the audit trail says; lower case';
comment on column users.accounts is 'the accounts that the person sees and changes; null: all';
comment on column users.password is 'argon2id in PHC form; null: none has been chosen yet, or the person logs in elsewhere';
comment on column users.sso_subject is 'issuer and subject of the single sign-on, once the person has come that way';

-- People see where they are logged in, and end what they do not know.
create table sessions (
    token_hash bytea primary key,
    id         bigint generated always as identity,
    user_id    bigint not null references users on delete cascade,
    device     text not null default '',
    created_at timestamptz not null,
    seen_at    timestamptz not null,
    expires_at timestamptz not null,
    flash      jsonb
);
comment on column sessions.token_hash is 'SHA-256 of the cookie';
comment on column sessions.id is 'names the session on the person''s page; its cookie is known to nobody';
comment on column sessions.device is 'browser and system in plain words';
comment on column sessions.expires_at is 'when the person must log in again however busy';
comment on column sessions.flash is 'what the next page tells: "Rule published."';
create index sessions_by_user on sessions (user_id);
create index sessions_by_time on sessions (seen_at);

-- A token may do no more than its owner may at the moment, and goes when this person goes.
create table access_tokens (
    id           bigint generated always as identity primary key,
    name         text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,99}$'),
    token_hash   bytea not null unique,
    owner        bigint references users on delete cascade,
    scopes       text[] not null check (scopes <@ array['view', 'edit', 'operate', 'administer'] and cardinality(scopes) > 0),
    accounts     text[],
    created_by   text not null,
    created_at   timestamptz not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    constraint access_tokens_limited check (
        accounts is null or (not 'administer' = any (scopes) and cardinality(accounts) > 0))
);
comment on table access_tokens is 'Tokens of programs that call the config API';
comment on column access_tokens.owner is
    'null: made before tokens belonged to people, by another token or by somebody who was removed before';
comment on column access_tokens.accounts is 'the accounts that the token is for; null: all that its owner may see';
create index access_tokens_by_owner on access_tokens (owner);

-- Links with which a password is chosen, once; or with which whoever runs the server lets somebody in, whatever else works or does not.
create table password_links (
    token_hash bytea primary key,
    user_id    bigint references users on delete cascade,
    logs_in    boolean not null default false,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
comment on column password_links.user_id is 'null: makes the first administrator, while there is nobody';

-- Logins under way at the single sign-on. People of it are known by issuer and subject alone; who has a password ties the two together
-- once, with that password.
create table sso_logins (
    state_hash    bytea primary key,
    nonce         text not null,
    code_verifier text not null,
    link_hash     bytea,
    back_to       text not null,
    expires_at    timestamptz not null
);
comment on column sso_logins.link_hash is 'the set-up link that the login was begun with; coming back ties the subject to whose link it is';

-- Logins under way of which the first step is done.
create table pending_logins (
    token_hash  bytea primary key,
    user_id     bigint not null references users on delete cascade,
    needs       text not null check (needs in ('password', 'code')),
    sso_subject text,
    back_to     text not null,
    expires_at  timestamptz not null
);
comment on column pending_logins.token_hash is 'SHA-256 of a cookie of its own';
comment on column pending_logins.needs is 'what is asked for next';
comment on column pending_logins.sso_subject is 'issuer and subject that are tied to the person once the login is done';
create index pending_logins_by_user on pending_logins (user_id);
create index pending_logins_by_time on pending_logins (expires_at);

-- A second factor for people who log in with a password (RFC 6238).
create table second_factors (
    user_id      bigint primary key references users on delete cascade,
    secret       bytea not null,
    made_at      timestamptz not null,
    confirmed_at timestamptz,
    last_step    bigint not null default 0
);
comment on column second_factors.secret is 'sealed with the installation''s key';
comment on column second_factors.confirmed_at is 'null: no code of it has been entered yet, and none is asked for';
comment on column second_factors.last_step is 'the step of 30 s of the latest code that was taken: a code works once';

create table recovery_codes (
    user_id   bigint not null references users on delete cascade,
    code_hash bytea not null,
    primary key (user_id, code_hash)
);
comment on column recovery_codes.code_hash is 'SHA-256 of a code of 80 random bits; each works once';

-- Where people have logged in: a stranger's tries at a name hold up nobody who comes from there.
create table known_devices (
    token_hash bytea primary key,
    user_id    bigint not null references users on delete cascade,
    expires_at timestamptz not null
);
comment on column known_devices.token_hash is 'SHA-256 of a cookie that lets nobody in: its bearer may try the password under a limit of its own';
create index known_devices_by_user on known_devices (user_id);
create index known_devices_by_time on known_devices (expires_at);

create table known_networks (
    user_id      bigint not null references users on delete cascade,
    network_hash bytea not null,
    seen_at      timestamptz not null,
    primary key (user_id, network_hash)
);
comment on column known_networks.network_hash is 'keyed hash of the person and the address (of IPv6 the /64) of a login';
create index known_networks_by_time on known_networks (seen_at);

-- What somebody has seen on the overview and dismissed, until it happens anew.
create table dismissals (
    user_id bigint not null references users on delete cascade,
    key     text not null,
    mark    bigint not null,
    primary key (user_id, key)
);
comment on column dismissals.key is 'which entry of the list, as control::overview names it';
comment on column dismissals.mark is 'how far it had come: an entry whose mark is higher has happened anew';

-- Answers to requests that carried an Idempotency-Key, so that asking again does nothing again.
create table idempotency (
    caller       text not null,
    key          text not null,
    request_hash bytea not null,
    created_at   timestamptz not null,
    status       smallint,
    headers      jsonb,
    body         bytea,
    primary key (caller, key)
);
comment on column idempotency.status is 'null: the first request is still being worked on';
create index idempotency_by_time on idempotency (created_at);
