//! What would become of conversations if nothing changed until they are due: who would be reminded, when, and who not and why.
//!
//! The deciding is a scan's own ([`scan::read`]), so that the answer is what the service would do. It sends nothing and stores
//! nothing. What only the moment of sending can know (opt-outs, caps, the newest read state) is not foretold.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::context::Account;
use super::scan;
use crate::db;
use crate::db::ledger::{ExistingReminder, NewReminder};
use crate::domain::contact;
use crate::domain::conversation::Record;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel, SkillId};
use crate::domain::local_time::clock_time;
use crate::domain::owed::Installation;
use crate::domain::rule::{self, InQuietHours, Rule, StepId};
use crate::liveperson::{self, ConversationStatus, Purpose, Search};

/// What would become of one conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub what: ForecastOutcome,
    /// The channels whose steps are passed over for now.
    pub passed_over: Vec<(Channel, Reason)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForecastOutcome {
    Remind {
        step: StepId,
        channel: Channel,
        at: DateTime<Utc>,
        /// Masked.
        to: String,
        /// The due moment is outside the rule's hours; `at` is when they begin, here by the clock of whom they wait for: `09:00,
        /// America/New_York time`.
        waits_until: Option<String>,
    },
    Not(Reason),
}

/// Decides about one record under these rules. `None`: there are none.
pub fn verdict(
    account: &Account,
    installation: &Installation,
    rules: &[Rule],
    record: &Record,
    existing: &[ExistingReminder],
    now: DateTime<Utc>,
) -> Option<Verdict> {
    let reading = scan::read(account, installation, rules, record, existing, now);
    let decided = reading.snapshot.decided;
    let what = match reading.owed.map(|owing| owing.reminder) {
        None => ForecastOutcome::Not(decided.reason?),
        Some(owed) => remind(account, rules, record, &owed, now)?,
    };
    Some(Verdict {
        what,
        passed_over: decided.passed_over,
    })
}

/// A reminder that is owed, put off to the rule's hours as sending it would be.
fn remind(
    account: &Account,
    rules: &[Rule],
    record: &Record,
    owed: &NewReminder,
    now: DateTime<Utc>,
) -> Option<ForecastOutcome> {
    let settings = &rule::pick(rules, record.skill)?.settings;
    let channel = owed.channel;
    let address = contact::choose(&record.contact, channel, &account.contact_policy)?.address;
    let due = owed.due_at.max(now);
    let drops = settings.in_quiet_hours == InQuietHours::Drop;
    Some(
        match owed
            .local
            .hours(&settings.channels[channel])
            .allowed_at(due)
        {
            Some(at) if at <= due || (!drops && at < owed.deadline) => ForecastOutcome::Remind {
                step: owed.step,
                channel,
                at,
                to: address.masked(),
                waits_until: (at > due).then(|| clock_time(at, &owed.local.zones)),
            },
            _ => ForecastOutcome::Not(Reason::QuietHours),
        },
    )
}

/// The reminders that exist for these records, by conversation.
pub async fn existing(
    pool: &PgPool,
    account: &AccountId,
    records: &[Record],
    now: DateTime<Utc>,
) -> sqlx::Result<HashMap<String, Vec<ExistingReminder>>> {
    let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    let mut existing: HashMap<String, Vec<ExistingReminder>> = HashMap::new();
    for reminder in db::ledger::existing(pool, account, &ids, now).await? {
        let of_one = existing.entry(reminder.conversation.clone());
        of_one.or_default().push(reminder);
    }
    Ok(existing)
}

/// Open conversations as LivePerson tells them at this moment.
#[derive(Default)]
pub struct OpenConversations {
    pub records: Vec<Record>,
    pub unreadable: usize,
    /// How many there are; `records` may be fewer.
    pub total: u32,
}

/// Asks LivePerson, for a person who waits, for the longest-open conversations of a skill (`None`: of any), `most` at most.
pub async fn open_conversations(
    account: &Account,
    skill: Option<SkillId>,
    window: TimeDelta,
    most: usize,
    now: DateTime<Utc>,
) -> Result<OpenConversations, liveperson::LivePersonError> {
    let search = Search {
        skills: skill.into_iter().collect(),
        status: ConversationStatus::Open,
        from: now - window,
        to: now,
        updated_since: None,
        newest_first: false,
    };
    let client = account.client.made_for(Purpose::Person);
    let mut seen = OpenConversations::default();
    let mut met = HashSet::new();
    let mut offset = 0;
    loop {
        let page = client.search(&search, offset).await?;
        seen.total = seen.total.max(page.total);
        offset += page.received;
        seen.unreadable += page.unreadable.len();
        let last = page.received == 0 || offset >= page.total;
        let fresh = page
            .records
            .into_iter()
            .filter(|r| met.insert(r.id.clone()));
        seen.records.extend(fresh);
        if last || seen.records.len() >= most {
            break;
        }
    }
    seen.records.truncate(most);
    seen.records = scan::complete(account, Purpose::Person, seen.records).await;
    Ok(seen)
}
