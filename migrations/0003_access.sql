-- Who may use the dashboard and the config API. Secrets are kept as hashes only: what is in these tables lets nobody in.

create table users (
    id          bigint generated always as identity primary key,
    name        text not null check (name ~ '^[a-z0-9][a-z0-9._@+-]{0,99}$'),
    role        text not null check (role in ('viewer', 'editor', 'administrator')),
    password    text,
    sso_subject text unique,
    created_at  timestamptz not null,
    seen_at     timestamptz,
    unique (name)
);
comment on column users.name is 'what the person logs in with and what the audit trail says; lower case';
comment on column users.password is 'argon2id in PHC form; null: none has been chosen yet, or the person logs in elsewhere';
comment on column users.sso_subject is 'issuer and subject of the single sign-on, once the person has come that way';

create table sessions (
    token_hash bytea primary key,
    user_id    bigint not null references users on delete cascade,
    created_at timestamptz not null,
    seen_at    timestamptz not null,
    expires_at timestamptz not null,
    flash      jsonb
);
comment on column sessions.token_hash is 'SHA-256 of the cookie';
comment on column sessions.expires_at is 'when the person must log in again however busy';
comment on column sessions.flash is 'what the next page tells: "Rule published."';
create index sessions_by_user on sessions (user_id);
create index sessions_by_time on sessions (seen_at);

create table access_tokens (
    id           bigint generated always as identity primary key,
    name         text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,99}$'),
    token_hash   bytea not null unique,
    scopes       text[] not null check (scopes <@ array['view', 'edit', 'operate', 'administer'] and cardinality(scopes) > 0),
    created_by   text not null,
    created_at   timestamptz not null,
    expires_at   timestamptz,
    last_used_at timestamptz
);
comment on table access_tokens is 'Tokens of programs that call the config API';

-- Links with which a password is chosen, once.
create table password_links (
    token_hash bytea primary key,
    user_id    bigint references users on delete cascade,
    created_at timestamptz not null,
    expires_at timestamptz not null
);
comment on column password_links.user_id is 'null: makes the first administrator, while there is nobody';

-- Logins under way at the single sign-on.
create table sso_logins (
    state_hash    bytea primary key,
    nonce         text not null,
    code_verifier text not null,
    back_to       text not null,
    expires_at    timestamptz not null
);

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
