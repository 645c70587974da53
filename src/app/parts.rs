//! What the jobs and the web have at hand, from the settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::adapters::client;
use super::roles::scan_pace;
use crate::channel::render::Texts;
use crate::channel::twilio::webhook::Verifier;
use crate::channel::{AccountChannels, Channels};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control;
use crate::control::live::Examine;
use crate::domain::contact::ContactPolicy;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::owed::Installation;
use crate::domain::zone::Zone;
use crate::hashing::Hasher;
use crate::jobs::context::{ACCOUNT_DEFAULT, Account, Context};
use crate::jobs::round::Sets;
use crate::jobs::tell::Notify;
use crate::liveperson;
use crate::metrics::Metrics;
use crate::secret::Secret;
use crate::signed_post::{Receiver, Whereabouts};
use crate::web;

/// Everything the jobs need, from the settings.
pub fn context(
    config: &Config,
    pool: &PgPool,
    clock: &Clock,
    hasher: &Hasher,
    metrics: &Metrics,
) -> anyhow::Result<Context> {
    // A scheduler knows no credentials, and needs none.
    let with_credentials = config.accounts.iter().filter(|a| a.auth.is_some());
    let accounts = with_credentials
        .map(|settings| {
            let client = client(config, settings, pool, clock, metrics)?;
            Ok((settings.id.clone(), account_of(settings, client)))
        })
        .collect::<anyhow::Result<_>>()?;
    let of_accounts = config.accounts.iter().map(|account| {
        let channels = config.channels_of(&account.id);
        (account.id.clone(), installation(config, channels))
    });
    Ok(Context {
        pool: pool.clone(),
        clock: clock.clone(),
        hasher: hasher.clone(),
        accounts,
        channels: Channels::new(
            &config.channels,
            config.accounts.iter().map(|own| (&own.id, &own.channels)),
            &config.web.public_url,
        )?,
        installations: of_accounts.collect(),
        installation: installation(config, config.usual_channels()),
        texts: Texts::linking_to(&config.web.public_url),
        test_recipients: config.web.test_recipients.clone(),
        window: TimeDelta::days(i64::from(config.liveperson.window_days))
            .min(liveperson::MAX_WINDOW),
        public_url: config.web.public_url.clone(),
        dashboard_url: config.web.dashboard_url.clone(),
        notify: notify(config)?,
        scan_pace: scan_pace(config)?,
        metrics: metrics.clone(),
        heartbeat_status: Arc::default(),
    })
}

/// Who hears of incidents.
fn notify(config: &Config) -> anyhow::Result<Notify> {
    let whereabouts = if config.notify.private {
        Whereabouts::Anywhere
    } else {
        Whereabouts::Public
    };
    let signed = config
        .notify
        .url
        .as_ref()
        .zip(config.notify.secret.as_ref());
    let receiver = |(url, secret): (&Url, &Secret)| {
        Receiver::new("UNREAD_NOTIFY_URL", url.clone(), secret, whereabouts)
    };
    Ok(Notify {
        emails: config.notify.emails.clone(),
        webhook: signed.map(receiver).transpose()?,
        posts: config.notify.url.is_some(),
        week: config.notify.week,
        zone: config.zone(),
    })
}

/// What the settings have.
pub fn installation(config: &Config, channels: AccountChannels<'_>) -> Installation {
    let web = &config.web;
    let hears_of_bounces = !web.mail_webhook_secrets.is_empty() || !web.mail_reports.is_empty();
    Installation::new(channels.channels(), hears_of_bounces)
}

/// An account of the settings, with its client.
pub fn account_of(
    settings: &config::AccountSettings,
    client: liveperson::LivePersonClient,
) -> Account {
    Account {
        id: settings.id.clone(),
        brand: settings.brand.clone(),
        page_url: settings.page_url.clone(),
        count_bots: settings.count_bots,
        contact_policy: ContactPolicy {
            default_region: settings.default_region.clone(),
            unauthenticated: settings.unauthenticated_contacts,
        },
        time_zone: settings.time_zone.unwrap_or(Zone::UTC),
        client,
        failed_at: std::sync::Mutex::default(),
        only_skills: settings.skills.clone(),
        sets: Sets::default(),
    }
}

/// Everything the web needs, from the settings.
pub fn web_state(
    config: &Config,
    context: &Arc<Context>,
    queue_healthy: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    demo: Option<web::Demo>,
    examine: Examine,
    shutdown: &CancellationToken,
) -> anyhow::Result<web::AppState> {
    Ok(web::AppState::new(web::Inner {
        pool: context.pool.clone(),
        clock: context.clock.clone(),
        hasher: context.hasher.clone(),
        sites: badge_sites(config),
        context: context.clone(),
        badge: web::badge::Badge::new(&config.web, &context.pool, shutdown.clone()),
        twilio_accounts: twilio_accounts(config, context),
        mail_webhook_secrets: config.web.mail_webhook_secrets.clone(),
        mail_reports: config.web.mail_reports.clone(),
        hints: web::hints::Hints::new(&config.accounts),
        opt_outs: opt_outs(config, context),
        metrics: context.metrics.clone(),
        queue_healthy,
        serves_dashboard: config.web.dashboard,
        config: Arc::new(config.clone()),
        examine,
        looks: crate::control::live::LiveCheckCache::default(),
        access: web::access::Access::new(&config.web, sso(config)?),
        imports: crate::control::suppressions::Imports::default(),
        links: web::Links::default(),
        public_url: config.web.public_url.clone(),
        dashboard_url: config.web.dashboard_url.clone(),
        demo,
    }))
}

fn badge_sites(config: &Config) -> BTreeMap<AccountId, web::badge::Site> {
    let http = liveperson::http_client();
    let with_credentials = config.accounts.iter().filter(|a| a.auth.is_some());
    with_credentials
        .map(|account| {
            let site = web::badge::Site::new(account, &config.liveperson, &http);
            (account.id.clone(), site)
        })
        .collect()
}

/// What is done with a consumer's no.
fn opt_outs(config: &Config, context: &Context) -> control::opt_outs::Policy {
    let usual = |account: &AccountId| {
        let usual = context.usual_sender(account, Channel::Sms);
        usual.filter(|sender| sender != ACCOUNT_DEFAULT)
    };
    let accounts = config.accounts.iter().map(|account| account.id.clone());
    control::opt_outs::Policy {
        reach: config.web.opt_out_reach,
        usual_senders: accounts.map(|id| (id.clone(), usual(&id))).collect(),
    }
}

/// The Twilio accounts that there are, each once, and who sends with them.
fn twilio_accounts(config: &Config, context: &Context) -> Vec<web::TwilioAccount> {
    let ids: Vec<&AccountId> = config.accounts.iter().map(|account| &account.id).collect();
    let own = config.accounts.iter().map(|account| &account.channels);
    let all = std::iter::once(&config.channels).chain(own);
    let settings = all.filter_map(|channels| channels.twilio.as_ref());
    settings
        .map(|twilio| web::TwilioAccount {
            verifier: Verifier::new(twilio.webhook_tokens.clone(), &config.web.public_url),
            accounts: context.channels.sharing(
                ids.iter().copied(),
                Channel::Sms,
                &twilio.account_sid,
            ),
        })
        .collect()
}

fn sso(config: &Config) -> anyhow::Result<Option<web::access::issuer::OidcIssuer>> {
    let settings = config.sso.clone();
    let issuer = settings.map(|settings| {
        let http = liveperson::http_client();
        web::access::issuer::OidcIssuer::new(settings, http, &config.web.dashboard_url)
    });
    issuer.transpose()
}
