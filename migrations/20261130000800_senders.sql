-- What is known of the senders that messages go out from, and the test messages that try them.

create table circuits (
    provider  provider not null,
    sender    text not null,
    opened_at timestamptz not null,
    code      text not null,
    proof     text not null default 'answer' check (proof in ('answer', 'report')),
    probe_at  timestamptz not null,
    successes integer not null default 0,
    primary key (provider, sender)
);
comment on column circuits.proof is 'what closes it: the provider''s answer to an attempt or, if that had said yes to what failed later, its report';

-- What the DNS said of the domains that mail is sent from, when doctor last looked: the pages of rules tell it without looking again.
create table sender_checks (
    domain    text not null,
    record    text not null check (record in ('SPF', 'DKIM', 'DMARC')),
    well      boolean not null,
    found     text not null,
    fix       text,
    looked_at timestamptz not null,
    primary key (domain, record)
);
comment on column sender_checks.fix is 'what to do about it; null if it is well';

-- Test messages that were sent, for a day: what the limits count. The address only as its keyed hash.
create table test_messages (
    id             bigint generated always as identity primary key,
    person         text not null,
    recipient_hash bytea not null,
    code           boolean not null,
    sent_at        timestamptz not null
);
comment on column test_messages.code is 'it carried a code instead of the words of a rule';
create index test_messages_by_time on test_messages (sent_at);

-- Who has shown that a test message to an address reached them, over which account's channel and when.
create table test_recipients (
    person          text not null,
    account         text not null,
    channel         channel not null,
    recipient_hash  bytea not null,
    code_hash       bytea,
    code_expires_at timestamptz,
    tries           smallint not null default 0,
    verified_at     timestamptz,
    primary key (person, account, channel, recipient_hash),
    constraint test_recipients_code_expires check ((code_hash is null) = (code_expires_at is null))
);
comment on column test_recipients.person is 'who sends the tests, as the audit trail names them: a login name, or token …';
comment on column test_recipients.code_hash is 'keyed hash of the code that was sent last, until it is entered';
comment on column test_recipients.tries is 'how often a code was entered since it was sent';
