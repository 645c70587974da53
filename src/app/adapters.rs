//! The clients of LivePerson, from the settings.

use std::sync::Arc;

use anyhow::Context as _;
use sqlx::PgPool;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::jobs::rate_limiter::SharedRateLimiter;
use crate::liveperson;
use crate::metrics::{LivePersonCalls, Metrics};

/// What the client of LivePerson must be told about an account.
pub fn liveperson_settings(
    config: &Config,
    account: &config::AccountSettings,
) -> anyhow::Result<liveperson::LivePersonSettings> {
    let auth = account.auth.clone();
    let auth = auth.context("the account has no LivePerson credentials")?;
    let csds_url = config.liveperson.csds_url.clone();
    let plain = csds_url.scheme() == "http";
    Ok(liveperson::LivePersonSettings {
        csds_url,
        service_scheme: if plain {
            liveperson::Scheme::Http
        } else {
            liveperson::Scheme::Https
        },
        source: config.liveperson.source_name.clone(),
        channels: account.sources.clone(),
        unauthenticated: account.unauthenticated_contacts,
        ..liveperson::LivePersonSettings::new(account.id.clone(), auth)
    })
}

pub(super) fn client(
    config: &Config,
    account: &config::AccountSettings,
    pool: &PgPool,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<liveperson::LivePersonClient> {
    let limit = SharedRateLimiter::new(
        pool.clone(),
        &account.id,
        config.liveperson.rate_per_second,
        metrics.clone(),
    );
    Ok(liveperson::LivePersonClient::new(
        liveperson_settings(config, account)?,
        liveperson::http_client(),
        limit,
        clock.clone(),
        Arc::new(LivePersonCalls::new(metrics.clone(), account.id.clone())),
    ))
}
