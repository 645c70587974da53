//! The queues and the keys of their jobs: what schedulers, scans and sweeps put in and workers take out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;

use super::queue::{self, Job, When};
use crate::clock::Clock;
use crate::domain::ids::{AccountId, Channel, ReminderId, SkillId};
use crate::domain::round::PassKind;

pub const SCAN: &str = "scan";
pub const UPKEEP: &str = "upkeep";
/// Conversations that are decided about again because a reminder did not reach its consumer.
pub const ADVANCE: &str = "advance";
/// Conversations that somebody has hinted at.
pub const HINT: &str = "hint";

/// Channels have queues of their own, so that a mail server that hangs does not hold up SMS.
pub fn deliver_queue(channel: Channel) -> &'static str {
    channel.profile().queue
}

/// The argument of a job that names its account: no account may have all slots.
pub const ACCOUNT: &str = "account";

/// The arguments of a delivery: which reminder, and whose LivePerson account to ask about it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliverJob {
    pub account: AccountId,
    pub reminder: ReminderId,
}

pub fn deliver(account: &AccountId, reminder: ReminderId, run_at: DateTime<Utc>) -> Job {
    Job::new(reminder.to_string(), run_at).with_args(json!(DeliverJob {
        account: account.clone(),
        reminder
    }))
}

/// The arguments of deciding about a conversation again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdvanceJob {
    pub account: AccountId,
    pub conversation: String,
}

/// A delivery that is to be scheduled: the reminder, whose it is, its channel, and when.
#[derive(Clone, Copy, Debug)]
pub struct DueDelivery<'a> {
    pub channel: Channel,
    pub account: &'a AccountId,
    pub reminder: ReminderId,
    pub at: DateTime<Utc>,
}

/// Wakes deliveries in the queues of their channels: a statement for each channel that has any.
pub async fn schedule_deliveries<'a>(
    conn: &mut PgConnection,
    clock: &Clock,
    when: When,
    deliveries: impl IntoIterator<Item = DueDelivery<'a>>,
) -> sqlx::Result<()> {
    let mut of_channels = Channel::ALL.map(|channel| (channel, Vec::new()));
    for wake in deliveries {
        let of_channel = of_channels.iter_mut().find(|(c, _)| *c == wake.channel);
        if let Some((_, jobs)) = of_channel {
            jobs.push(deliver(wake.account, wake.reminder, wake.at));
        }
    }
    for (channel, jobs) in of_channels {
        queue::schedule(conn, clock, deliver_queue(channel), when, jobs).await?;
    }
    Ok(())
}

/// So many full passes over skills of one account at the same time, in all processes together: one account that hangs holds up nobody
/// else's.
pub const LANES: i16 = 4;

/// Scan jobs of one account that may run at the same time: its lanes, its recent pass, its look at what is older.
pub const SCANS_AT_ONCE: usize = LANES.unsigned_abs() as usize + 2;

/// The arguments of a scan: not which skills, since those that are due are chosen when it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanJob {
    pub account: AccountId,
    /// Which of the account's [`LANES`].
    #[serde(default)]
    pub lane: i16,
    /// Scans the skills whose last scan began before this moment. A job of an earlier version, which names one skill, has none: its
    /// own time counts.
    #[serde(default)]
    pub before: Option<DateTime<Utc>>,
    /// A job of an earlier version has none: it means full passes.
    #[serde(default)]
    pub pass: PassKind,
}

impl ScanJob {
    /// Everything that one slot of an account's schedule begins: a full pass over what had none in it yet, the recent pass, and the look at
    /// what is older, of what was not looked at since `deep_before`.
    pub fn of_slot(
        account: &AccountId,
        began: DateTime<Utc>,
        deep_before: DateTime<Utc>,
    ) -> impl Iterator<Item = Self> {
        let scan = move |lane, before, pass| Self {
            account: account.clone(),
            lane,
            before: Some(before),
            pass,
        };
        let full = (0..LANES).map(move |lane| (lane, began, PassKind::Full));
        let others = [
            (0, began, PassKind::Recent),
            (0, deep_before, PassKind::Deep),
        ];
        let all = full.chain(others);
        all.map(move |(lane, before, pass)| scan(lane, before, pass))
    }
}

pub fn scan(scan: &ScanJob, run_at: DateTime<Utc>) -> Job {
    let ScanJob { account, lane, .. } = scan;
    let key = match scan.pass {
        PassKind::Full => format!("scan:{account}:lane {lane}"),
        PassKind::Recent => format!("recent:{account}"),
        PassKind::Deep => format!("deep:{account}"),
    };
    let mut args = json!(scan);
    // A worker of the version before this one scans the skill that it finds here.
    args["skill"] = json!(SkillId::UNASSIGNED);
    Job::new(key, run_at).with_args(args)
}

/// What the upkeep queue does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpkeepJob {
    Sweep,
    Settle,
    SyncSkills(AccountId),
    Prune,
    Redact,
    Incidents,
}

pub fn upkeep(what: &UpkeepJob, run_at: DateTime<Utc>) -> Job {
    let key = match what {
        UpkeepJob::Sweep => "sweep".to_owned(),
        UpkeepJob::Settle => "settle".to_owned(),
        UpkeepJob::SyncSkills(account) => format!("sync_skills:{account}"),
        UpkeepJob::Prune => "prune".to_owned(),
        UpkeepJob::Redact => "redact".to_owned(),
        UpkeepJob::Incidents => "incidents".to_owned(),
    };
    Job::new(key, run_at).with_args(json!(what))
}
