//! What the jobs and the web have at hand, from the settings.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::adapters::{client, mail, sms};
use super::live::examine;
use super::roles::scan_pace;
use crate::channel::render::Texts;
use crate::channel::webhook::Verifier;
use crate::clock::Clock;
use crate::config::Config;
use crate::control;
use crate::domain::contact::ContactPolicy;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::zone::Zone;
use crate::hashing::Hasher;
use crate::jobs::context::{ACCOUNT_DEFAULT, Account, Context};
use crate::jobs::round::Sets;
use crate::liveperson;
use crate::metrics::Metrics;
use crate::web;

/// Everything the jobs need, from the settings.
pub fn context(
    config: &Config,
    pool: &PgPool,
    clock: &Clock,
    hasher: &Hasher,
    metrics: &Metrics,
) -> anyhow::Result<Context> {
    let mut accounts = HashMap::new();
    // A scheduler knows no credentials, and needs none.
    for account in config.accounts.iter().filter(|a| a.auth.is_some()) {
        let client = client(config, account, pool, clock, metrics)?;
        accounts.insert(
            account.id.clone(),
            Account {
                id: account.id.clone(),
                brand: account.brand.clone(),
                count_bots: account.count_bots,
                contact_policy: ContactPolicy {
                    default_region: account.default_region.clone(),
                    unauthenticated: account.unauthenticated_contacts,
                },
                time_zone: account.time_zone.unwrap_or(Zone::UTC),
                client,
                failed_at: std::sync::Mutex::default(),
                only_skills: account.skills.clone(),
                sets: Sets::default(),
            },
        );
    }
    Ok(Context {
        pool: pool.clone(),
        clock: clock.clone(),
        hasher: hasher.clone(),
        accounts,
        mail: config
            .smtp
            .as_ref()
            .map(|s| mail(s, &config.web.public_url))
            .transpose()?,
        sms: config.twilio.as_ref().map(sms).transpose()?,
        texts: Texts::linking_to(&config.web.public_url),
        test_recipients: config.web.test_recipients.clone(),
        window: TimeDelta::days(i64::from(config.liveperson.window_days))
            .min(liveperson::MAX_WINDOW),
        public_url: config.web.public_url.clone(),
        smtp_rate: config
            .smtp
            .as_ref()
            .map(|s| s.rate_per_second)
            .filter(|rate| *rate > 0.0),
        twilio_rate: config
            .twilio
            .as_ref()
            .map(|t| t.rate_per_second)
            .filter(|rate| *rate > 0.0),
        scan_pace: scan_pace(config)?,
        redact_bodies: config.twilio.as_ref().is_some_and(|t| t.redact_bodies),
        metrics: metrics.clone(),
        witness: Arc::default(),
    })
}

/// Everything the web needs, from the settings.
pub fn web_state(
    config: &Config,
    context: &Arc<Context>,
    queue_healthy: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    demo: Option<web::Demo>,
    shutdown: &CancellationToken,
) -> anyhow::Result<web::State> {
    Ok(web::State::new(web::Inner {
        pool: context.pool.clone(),
        clock: context.clock.clone(),
        hasher: context.hasher.clone(),
        accounts: web_accounts(config, &context.pool, &context.clock, &context.metrics)?,
        context: context.clone(),
        badge: web::badge::Badge::new(&config.web, &context.pool, shutdown.clone()),
        verifier: config
            .twilio
            .as_ref()
            .map(|t| Verifier::new(t.webhook_tokens.clone(), &config.web.public_url)),
        mail_webhook_secrets: config.web.mail_webhook_secrets.clone(),
        opt_outs: opt_outs(config, context),
        metrics: context.metrics.clone(),
        queue_healthy,
        serves_dashboard: config.web.dashboard,
        config: Arc::new(config.clone()),
        examine,
        looks: crate::control::live::Looks::default(),
        access: web::access::Access::new(&config.web, sso(config)?),
        imports: crate::control::suppressions::Imports::default(),
        links: web::Links::default(),
        public_url: config.web.public_url.clone(),
        demo,
    }))
}

fn web_accounts(
    config: &Config,
    pool: &PgPool,
    clock: &Clock,
    metrics: &Metrics,
) -> anyhow::Result<HashMap<AccountId, web::Account>> {
    let mut accounts = HashMap::new();
    let http = liveperson::http_client();
    for account in config.accounts.iter().filter(|a| a.auth.is_some()) {
        accounts.insert(
            account.id.clone(),
            web::Account {
                brand: account.brand.clone(),
                page_url: account.page_url.clone(),
                count_bots: account.count_bots,
                default_region: account.default_region.clone(),
                client: client(config, account, pool, clock, metrics)?,
                badge: web::badge::Site::new(account, &config.liveperson, &http),
            },
        );
    }
    Ok(accounts)
}

/// What is done with a consumer's no.
fn opt_outs(config: &Config, context: &Context) -> control::opt_outs::Policy {
    let usual = context.usual_sender(Channel::Sms);
    control::opt_outs::Policy {
        reach: config.web.opt_out_reach,
        accounts: config.accounts.iter().map(|a| a.id.clone()).collect(),
        usual_sender: usual.filter(|sender| sender != ACCOUNT_DEFAULT),
    }
}

fn sso(config: &Config) -> anyhow::Result<Option<web::access::issuer::Issuer>> {
    let settings = config.sso.clone();
    let issuer = settings.map(|settings| {
        let http = liveperson::http_client();
        web::access::issuer::Issuer::new(settings, http, &config.web.public_url)
    });
    issuer.transpose()
}
