//! The queues and the keys of their wake-ups: what schedulers, scans and sweeps put in and workers take out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::queue::Wakeup;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};

pub const SCAN: &str = "scan";
pub const UPKEEP: &str = "upkeep";
pub const DELIVER_EMAIL: &str = "deliver_email";
pub const DELIVER_SMS: &str = "deliver_sms";

/// Channels have queues of their own, so that a mail server that hangs does not hold up SMS.
pub fn deliver_queue(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => DELIVER_EMAIL,
        Channel::Sms => DELIVER_SMS,
    }
}

/// The arguments of a delivery: which reminder, and whose LivePerson account to ask about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deliver {
    pub account: AccountId,
    pub reminder: ReminderId,
}

pub fn deliver(account: &AccountId, reminder: ReminderId, run_at: DateTime<Utc>) -> Wakeup {
    Wakeup::new(reminder.to_string(), run_at).with_args(json!(Deliver {
        account: account.clone(),
        reminder
    }))
}

/// The arguments of a scan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scan {
    pub account: AccountId,
    pub skill: SkillId,
    /// Looks at the windows of time before the usual one.
    pub deep: bool,
}

pub fn scan(account: &AccountId, skill: SkillId, deep: bool, run_at: DateTime<Utc>) -> Wakeup {
    let kind = if deep { "deep" } else { "scan" };
    Wakeup::new(format!("{kind}:{account}:{skill}"), run_at).with_args(json!(Scan {
        account: account.clone(),
        skill,
        deep
    }))
}

/// What the upkeep queue does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upkeep {
    Sweep,
    Settle,
    SyncSkills(AccountId),
    Prune,
    Redact,
}

pub fn upkeep(what: &Upkeep, run_at: DateTime<Utc>) -> Wakeup {
    let key = match what {
        Upkeep::Sweep => "sweep".to_owned(),
        Upkeep::Settle => "settle".to_owned(),
        Upkeep::SyncSkills(account) => format!("sync_skills:{account}"),
        Upkeep::Prune => "prune".to_owned(),
        Upkeep::Redact => "redact".to_owned(),
    };
    Wakeup::new(key, run_at).with_args(json!(what))
}
