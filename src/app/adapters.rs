//! The clients of LivePerson and of the providers, from the settings.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::PgPool;
use url::Url;

use crate::channel::{smtp, twilio};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::jobs::turnstile::SharedTurnstile;
use crate::liveperson;
use crate::metrics::Metrics;

/// What the client of LivePerson must be told about an account.
pub fn liveperson_settings(
    config: &Config,
    account: &config::Account,
) -> anyhow::Result<liveperson::Settings> {
    let auth = match account
        .auth
        .clone()
        .context("the account has no LivePerson credentials")?
    {
        config::Auth::OAuth2 {
            client_id,
            client_secret,
        } => liveperson::Auth::OAuth2 {
            client_id,
            client_secret,
        },
        config::Auth::OAuth1 {
            consumer_key,
            consumer_secret,
            token,
            token_secret,
        } => {
            let token = token.expose().to_owned();
            liveperson::Auth::OAuth1 {
                consumer_key,
                consumer_secret,
                token,
                token_secret,
            }
        }
    };
    let csds_url = config.liveperson.csds_url.clone();
    let plain = csds_url.scheme() == "http";
    Ok(liveperson::Settings {
        csds_url,
        service_scheme: if plain {
            liveperson::Scheme::Http
        } else {
            liveperson::Scheme::Https
        },
        source: config.liveperson.source_name.clone(),
        channels: account.sources.clone(),
        unauthenticated: account.unauthenticated_contacts,
        ..liveperson::Settings::new(account.id.clone(), auth)
    })
}

pub(super) fn client(
    config: &Config,
    account: &config::Account,
    pool: &PgPool,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<liveperson::Client> {
    let limit = SharedTurnstile::new(
        pool.clone(),
        &account.id,
        config.liveperson.rate_per_second,
        metrics.clone(),
    );
    Ok(liveperson::Client::new(
        liveperson_settings(config, account)?,
        liveperson::http_client(),
        limit,
        clock.clone(),
        Arc::new(metrics.clone()),
    ))
}

pub fn mail(settings: &config::Smtp, public_url: &Url) -> anyhow::Result<smtp::Pool> {
    let mailbox = |address: &str, name: Option<&str>| {
        smtp::Mailbox::new(address, name)
            .with_context(|| "SMTP_FROM or SMTP_REPLY_TO is not an address".to_owned())
    };
    let (user, password) = settings.login.clone().unzip();
    let pool = smtp::Pool::new(
        smtp::Settings {
            host: settings.host.clone(),
            port: settings.port,
            tls: match settings.tls {
                config::Tls::Implicit => smtp::Tls::Implicit,
                config::Tls::StartTls => smtp::Tls::StartTls,
                config::Tls::None => smtp::Tls::None,
            },
            user,
            password,
            from: mailbox(&settings.from, settings.from_name.as_deref())?,
            reply_to: settings
                .reply_to
                .as_deref()
                .map(|r| mailbox(r, None))
                .transpose()?,
            hello_name: public_url.host_str().unwrap_or("localhost").to_owned(),
            extra_root_pem: None,
            timeouts: smtp::Timeouts::default(),
        },
        settings.connections,
    );
    pool.context("setting up SMTP")
}

pub fn sms(settings: &config::Twilio) -> anyhow::Result<twilio::Client> {
    let service = settings.messaging_service_sid.clone();
    let sender = match (service.map(twilio::Sender::Service), &settings.from) {
        (Some(service), _) => Some(service),
        (None, Some(from)) => Some(from.parse().context("TWILIO_FROM is not a sender")?),
        (None, None) => None,
    };
    let auth = match settings.login.clone() {
        config::TwilioLogin::ApiKey { sid, secret } => twilio::Auth::ApiKey { sid, secret },
        config::TwilioLogin::AuthToken(token) => twilio::Auth::Token(token),
    };
    let client = twilio::Client::new(twilio::Settings {
        base_url: settings.base_url.clone(),
        account_sid: settings.account_sid.clone(),
        auth,
        webhook_tokens: settings.webhook_tokens.clone(),
        sender,
    });
    client.context("setting up Twilio")
}
