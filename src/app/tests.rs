//! What the settings accept is what the parts can be built from.

use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::*;
use crate::config::{ProcessRole, Sources};
use crate::db;

/// The least that every part is configured with.
const ALL: [(&str, &str); 13] = [
    ("DATABASE_URL", "postgres://unread@localhost/unread"),
    ("LE_ACCOUNT", "12345678"),
    ("LE_CLIENT_ID", "client"),
    ("LE_CLIENT_SECRET", "secret"),
    ("SMTP_HOST", "smtp.example.com"),
    ("SMTP_USER", "me@example.com"),
    ("SMTP_PASS", "secret"),
    ("TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000000"),
    ("TWILIO_AUTH_TOKEN", "secret"),
    ("UNREAD_BADGE_SECRET", "0123456789abcdef0123456789abcdef"),
    ("UNREAD_OIDC_ISSUER", "https://login.example.com"),
    ("UNREAD_OIDC_CLIENT_ID", "client"),
    ("UNREAD_PUBLIC_URL", "https://unread.example.com"),
];

/// `None`: the settings are refused.
fn config(more: &[(&str, &str)]) -> Option<Config> {
    let mut environment: BTreeMap<_, _> = ALL.into_iter().collect();
    environment.extend(more.iter().copied());
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let sources = Sources {
        environment: environment.into_iter().map(own).collect(),
        file: None,
        read_secret: |_| Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    Config::read(&sources, ProcessRole::Run).ok()
}

/// Builds what [`start`] builds, but for what needs a database or a port.
fn build(config: &Config) -> anyhow::Result<()> {
    let url = config.database_url.as_ref().context("a database")?;
    let server: sqlx::postgres::PgConnectOptions = url.servers()[0].expose().parse()?;
    let pool = db::pool(server, config.database_connections);
    let (clock, hasher, metrics) = (Clock::System, Hasher::new(b"key"), Metrics::new());
    let context = Arc::new(context(config, &pool, &clock, &hasher, &metrics)?);
    let shutdown = CancellationToken::new();
    let examine = crate::doctor::find_broken;
    web_state(config, &context, None, None, examine, &shutdown)?;
    scheduler(config, &pool, &clock)?;
    shutdown.cancel();
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

#[test]
fn settings_that_are_often_written_are_refused_or_start() {
    let runtime = runtime();
    let mut accepted = Vec::new();
    for (name, value) in [
        // Twilio: up to 11 letters, digits, spaces and + - _ &.
        ("TWILIO_FROM", "A&B"),
        ("TWILIO_FROM", "A+B"),
        ("TWILIO_FROM", "A-B"),
        ("TWILIO_FROM", "A_B"),
        ("TWILIO_FROM", "Acme Shop"),
        ("TWILIO_FROM", "15005"),
        ("TWILIO_FROM", "+15005550006"),
        (
            "TWILIO_MESSAGING_SERVICE_SID",
            "MG00000000000000000000000000000000",
        ),
        ("TWILIO_MESSAGING_SERVICE_SID", "MG1"),
        ("TWILIO_ACCOUNT_SID", "AC1"),
        ("SMTP_FROM", "support@müller.example"),
        ("SMTP_REPLY_TO", "support@müller.example"),
        ("SMTP_FROM_NAME", "Müller & Söhne"),
        ("SMTP_HOST", "192.0.2.1"),
        ("SMTP_HOST", "::1"),
        ("SMTP_HOST", "[::1]"),
        ("SMTP_HOST", "mail_relay"),
        ("SMTP_HOST", "müller.example"),
        (
            "UNREAD_BADGE_ORIGINS",
            "https://*.example.com, https://www.example.com",
        ),
        ("UNREAD_PUBLIC_URL", "https://[2001:db8::1]:8443"),
        ("UNREAD_PUBLIC_URL", "http://192.0.2.1"),
        ("UNREAD_PAGE_URL", "https://www.example.com/#chat"),
        ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "100000"),
        ("UNREAD_BADGE_REQUESTS_PER_SECOND", "0.001"),
        ("UNREAD_SESSION_HOURS", "720"),
        ("UNREAD_SCAN_INTERVAL_SECONDS", "3600"),
        ("TWILIO_BASE_URL", "https://api.dublin.ie1.twilio.com"),
        ("UNREAD_OIDC_ISSUER", "https://login.example.com/realms/a"),
        ("UNREAD_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        (
            "DATABASE_URL",
            "postgres://u:p@host:5432/db?sslmode=require",
        ),
    ] {
        let read = config(&[(name, value)]).unwrap_or_else(|| panic!("{name}={value} is refused"));
        runtime
            .block_on(async { build(&read) })
            .unwrap_or_else(|error| panic!("{name}={value}: {error:#}"));
        accepted.push(name);
    }
    assert!(accepted.len() > 20);
    for (name, value) in [
        ("TWILIO_FROM", "A/B"),
        ("TWILIO_FROM", "Acme Example Shop"),
        ("SMTP_FROM", "müller@example.com"),
        ("SMTP_REPLY_TO", "müller@example.com"),
        ("SMTP_REPLY_TO", "support@localhost"),
        ("SMTP_HOST", "mail relay"),
        ("UNREAD_BADGE_ORIGINS", "https://*"),
        ("UNREAD_PUBLIC_URL", "https://example.com/unread"),
        ("DATABASE_URL", "postgres://host/db?sslmode=perhaps"),
    ] {
        assert!(
            config(&[(name, value)]).is_none(),
            "{name}={value} is accepted"
        );
    }
}

/// Values of every kind, for every setting.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,6}(\\.[0-9]{1,3})?",
        "[A-Za-z0-9 +_&-]{1,12}",
        "\\+[0-9]{6,15}",
        "(AC|MG|SK)[0-9a-zA-Z]{1,32}",
        "[a-zA-Z0-9.+_-]{1,12}@[a-zA-Zé0-9-]{1,10}(\\.[a-z]{2,5}){0,2}",
        "https?://(\\*\\.)?[a-z0-9é-]{1,10}(\\.[a-z]{2,5}){0,2}(:[0-9]{1,5})?(/[a-z]{0,5})?(\\?[a-z]=1)?",
        "postgres://[a-z]{1,5}(:[0-9]{1,5})?/[a-z]{0,5}(\\?(sslmode|x)=[a-z]{1,8})?",
        "[0-9a-f:.]{2,20}(/[0-9]{1,3})?",
        "(true|no|implicit|none|starttls|json|viewer|DE)",
        "\\PC{1,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_the_settings_accept_starts(name in prop::sample::select(names()), value in value()) {
        let runtime = runtime();
        for value in [value.as_str(), &format!("{value}, {value}")] {
            if let Some(read) = config(&[(name, value)]) {
                let built = runtime.block_on(async { build(&read) });
                prop_assert!(built.is_ok(), "{}={}: {:#}", name, value, built.unwrap_err());
            }
        }
    }
}

fn names() -> Vec<&'static str> {
    crate::config::setting_names().collect()
}
