//! What every job has at hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use url::Url;

use super::heartbeat::HeartbeatStatus;
use super::round::Sets;
use super::tell::Notify;
use crate::channel::render::{self, Texts};
use crate::channel::{self, Channels};
use crate::clock::Clock;
use crate::db;
use crate::domain::contact::ContactPolicy;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::owed::Installation;
use crate::domain::round::ScanPace;
use crate::domain::rule::Rule;
use crate::domain::test_message;
use crate::domain::zone::Zone;
use crate::hashing::Hasher;
use crate::liveperson::{self, Purpose, Records, UnreadableRecord};
use crate::metrics::Metrics;

/// How long an account's LivePerson is left alone after it failed to answer a re-check.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// The name of the sender that a provider chooses.
pub const ACCOUNT_DEFAULT: &str = "account default";

pub struct Context {
    pub pool: PgPool,
    pub clock: Clock,
    pub hasher: Hasher,
    pub accounts: HashMap<AccountId, Account>,
    /// Those that are configured.
    pub channels: Channels,
    /// What the settings have, of the accounts that have channels of their own …
    pub installations: HashMap<AccountId, Installation>,
    /// … and of all others.
    pub installation: Installation,
    pub texts: Texts,
    /// To whom test messages carry own words without a code.
    pub test_recipients: Vec<test_message::TestRecipient>,
    /// Where links in reminders and provider callbacks lead.
    pub public_url: Url,
    /// Where people of the installation look.
    pub dashboard_url: Url,
    /// Who hears of incidents.
    pub notify: Notify,
    /// How far back scans look; deep scans look at what began before.
    pub window: TimeDelta,
    /// How accounts are to be scanned.
    pub scan_pace: ScanPace,
    pub metrics: Metrics,
    /// What this process remembers of the database.
    pub heartbeat_status: Arc<HeartbeatStatus>,
}

/// A configured LivePerson account, once in a process: jobs and web share its client, hence one token and one look-up of its hosts.
/// Who goes first under the account's limit each call says itself ([`Purpose`]).
pub struct Account {
    pub id: AccountId,
    pub brand: String,
    /// Where a reminder's link leads: the brand's page with the conversation.
    pub page_url: Option<Url>,
    pub count_bots: bool,
    pub contact_policy: ContactPolicy,
    /// By which hours are read where nothing tells the consumer's.
    pub time_zone: Zone,
    pub client: liveperson::LivePersonClient,
    pub failed_at: Mutex<Option<Instant>>,
    /// Only these skills are scanned; `None`: all.
    pub only_skills: Option<Vec<SkillId>>,
    /// What this process has learnt about scanning it.
    pub sets: Sets,
}

impl Account {
    /// Asks LivePerson about conversations that reminders are due for.
    pub async fn by_ids(&self, ids: &[String]) -> Result<Records, liveperson::LivePersonError> {
        self.by_ids_for(Purpose::Recheck, ids).await
    }

    /// Asks LivePerson about conversations by id. An answer that cannot be understood is asked for again in halves, so that one
    /// odd conversation is unreadable and does not hide the others.
    pub async fn by_ids_for(
        &self,
        purpose: Purpose,
        ids: &[String],
    ) -> Result<Records, liveperson::LivePersonError> {
        let client = self.client.made_for(purpose);
        let mut all = Records::default();
        let mut parts = vec![ids];
        while let Some(part) = parts.pop() {
            match client.by_ids(part).await {
                Ok(answer) => all.add(answer),
                Err(
                    liveperson::LivePersonError::Malformed { .. }
                    | liveperson::LivePersonError::Rejected { .. },
                ) if ids.len() > 1 => {
                    if let [id] = part {
                        let why = "LivePerson's answer about it could not be read".to_owned();
                        all.unreadable.push(UnreadableRecord {
                            id: Some(id.clone()),
                            skill: None,
                            why,
                        });
                    } else {
                        let (left, right) = part.split_at(part.len() / 2);
                        parts.extend([left, right]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// LivePerson did not answer: for a moment nobody in this process asks it again for this account, so that its reminders
    /// do not fill the slots that others need.
    pub fn pause(&self) {
        *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub fn paused(&self) -> Option<TimeDelta> {
        let failed_at = *self
            .failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let left = PAUSE_AFTER_FAILURE.checked_sub(failed_at?.elapsed())?;
        TimeDelta::from_std(left).ok()
    }
}

impl Context {
    /// The rules of an account.
    pub async fn rules(&self, account: &Account) -> sqlx::Result<Vec<Rule>> {
        db::rules::of_accounts(&self.pool, std::slice::from_ref(&account.id)).await
    }

    /// The same, of those that may apply to conversations of these skills.
    pub async fn rules_for(
        &self,
        conn: &mut PgConnection,
        account: &Account,
        skills: &[SkillId],
    ) -> sqlx::Result<Vec<Rule>> {
        db::rules::of_skills(conn, &account.id, skills).await
    }

    /// What the brand of an account is called; nothing if the account is not configured any more.
    pub fn brand(&self, account: &AccountId) -> &str {
        self.accounts
            .get(account)
            .map_or("", |account| &account.brand)
    }

    /// What an account's settings have.
    pub fn installation_of(&self, account: &AccountId) -> &Installation {
        self.installations
            .get(account)
            .unwrap_or(&self.installation)
    }

    /// Whether the channel is configured for an account.
    pub fn has(&self, account: &AccountId, channel: Channel) -> bool {
        self.channels.of(account, channel).is_some()
    }

    /// Whether it is for any account.
    pub fn has_anywhere(&self, channel: Channel) -> bool {
        self.channels.all(channel).next().is_some()
    }

    /// Who a rule's reminders on a channel come from, as limits and circuits call it ([`Channels::sender_key`]).
    pub fn sender(&self, rule: &Rule, channel: Channel) -> String {
        let own = rule.settings.channels[channel].sender.clone();
        match own.or_else(|| self.usual_sender(&rule.account, channel)) {
            Some(sender) => self.channels.sender_key(&rule.account, channel, &sender),
            None => String::new(),
        }
    }

    /// Whom an account's messages come from where a rule names nobody; `None`: the channel is not configured for it.
    pub fn usual_sender(&self, account: &AccountId, channel: Channel) -> Option<String> {
        let usual = self.channels.of(account, channel)?.usual_sender();
        Some(usual.unwrap_or_else(|| ACCOUNT_DEFAULT.to_owned()))
    }

    /// How long an attempt may take before it counts as unknown.
    pub fn lease(channel: Channel) -> TimeDelta {
        channel::profile(channel.provider()).lease
    }

    /// A link of a reminder: `r` leads back to the conversation, `u` to the page that unsubscribes.
    pub fn link(&self, kind: &str, token: &str) -> String {
        render::link(&self.public_url, kind, token)
    }

    /// What the limit of an account's provider allows per second; `None`: as fast as we can.
    pub fn rate(&self, account: &AccountId, channel: Channel) -> Option<f64> {
        self.channels.per_second(account, channel)
    }

    /// Between 80 % and 120 % of a pause, so that what stopped together does not start together.
    pub fn spread(pause: TimeDelta) -> TimeDelta {
        TimeDelta::milliseconds(pause.num_milliseconds() * rand::random_range(80..=120) / 100)
    }
}
