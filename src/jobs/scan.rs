//! One pass over a skill's open conversations: read them page by page, store what they say, owe what is owed.
//!
//! Memory holds two pages at a time (one being stored while the next is fetched), however large the account. The result set
//! moves while it is paged through: it is sorted by start time and restarted from the last start seen every few pages, which
//! also keeps offsets small; what still slips through is met by the next scan, and what has vanished is asked for by id.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use tracing::{debug, info, warn};

use super::context::{Account, Context};
use super::queue::{self, When};
use super::{names, names::Scan};
use crate::db;
use crate::db::conversations::Snapshot;
use crate::db::ledger::{Ended, Existing, NewReminder};
use crate::db::scans::Summary;
use crate::domain::contact::{self, Address};
use crate::domain::conversation::Record;
use crate::domain::decide::Reason;
use crate::domain::ids::{Channel, SkillId};
use crate::domain::owed::{ScanDecision, Scanned, scan_decision};
use crate::domain::read_state::{ReadReason, ReadState, last_consumer_activity, read_state};
use crate::domain::rule::{self, Rule};
use crate::hashing;
use crate::liveperson::{self, MAX_IDS, MAX_WINDOW, Page, Search, Status, Unreadable};

/// From this offset on, the search restarts at the last start time seen: well before the 10,000 results at which search indexes
/// end, and seldom enough that the ten minutes which LivePerson rounds down, and we read twice, cost little.
const RESTART_AT: u32 = 4_000;

/// How far back a deep scan goes: LivePerson keeps conversations for 13 months.
const RETENTION: TimeDelta = TimeDelta::days(396);

/// Vanished conversations asked for by id after one scan; the rest waits for the next.
const MISSING_PER_SCAN: u16 = 300;

/// An open conversation that no scan has met for this long is asked for by the deep scan.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(1);

/// Handles a scan job. A LivePerson that fails is recorded and left to the next scan; only the database makes it an error.
pub async fn scan(ctx: &Context, job: &Scan) -> anyhow::Result<()> {
    let Some(account) = ctx.accounts.get(&job.account) else {
        info!(account = %job.account, "No such account is configured any more; its scan is dropped");
        return Ok(());
    };
    let started = Instant::now();
    let now = ctx.clock.now();
    let mut pass = Pass {
        partial: false,
        ctx,
        account,
        skill: job.skill,
        rules: ctx.rules(account).await?,
        found: Summary::default(),
    };
    if !job.deep {
        db::scans::started(&ctx.pool, &account.id, job.skill, now).await?;
    }
    let ended = if job.deep {
        pass.older_windows(now).await
    } else {
        pass.window(now - ctx.window, now).await
    };
    let result = match ended {
        // What a partial answer left out is not therefore missing.
        Ok(()) if pass.partial => {
            pass.found.error = Some("LivePerson answered in part only".to_owned());
            Ok(())
        }
        Ok(()) => pass.look_for_missing(now, job.deep).await,
        stopped => stopped,
    };
    match result {
        Ok(()) => {}
        Err(Stopped::LivePerson(error)) => {
            warn!(account = %account.id, skill = %job.skill, "Scan stopped: {error}");
            pass.found.error = Some(error.to_string());
        }
        Err(Stopped::Database(error)) => return Err(error),
    }
    let elapsed = started.elapsed();
    if !job.deep {
        db::scans::finished(
            &ctx.pool,
            &account.id,
            job.skill,
            &pass.found,
            elapsed,
            ctx.clock.now(),
        )
        .await?;
    }
    ctx.metrics
        .scanned(&account.id, job.skill, pass.found.error.is_none(), elapsed);
    Ok(())
}

/// Why a scan ended early.
enum Stopped {
    LivePerson(liveperson::Error),
    Database(anyhow::Error),
}

impl From<liveperson::Error> for Stopped {
    fn from(error: liveperson::Error) -> Self {
        Self::LivePerson(error)
    }
}

impl From<sqlx::Error> for Stopped {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Database(error)
    }
}

struct Pass<'a> {
    ctx: &'a Context,
    account: &'a Account,
    skill: SkillId,
    rules: Vec<Rule>,
    found: Summary,
    /// LivePerson could not ask all of its shards for one of the pages.
    partial: bool,
}

impl Pass<'_> {
    /// Conversations begun before the usual window: rare, since LivePerson closes idle ones, but invisible otherwise.
    async fn older_windows(&mut self, now: DateTime<Utc>) -> Result<(), Stopped> {
        let mut to = now - self.ctx.window;
        while to > now - RETENTION {
            self.window(to - MAX_WINDOW, to).await?;
            to -= MAX_WINDOW;
        }
        Ok(())
    }

    async fn window(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), Stopped> {
        let mut search = Search {
            skill: Some(self.skill),
            status: Status::Open,
            from,
            to,
        };
        let mut asked_at = self.ctx.clock.now();
        let mut offset = 0;
        let mut page = self.account.client.search(&search, offset).await?;
        self.partial |= page.incomplete;
        while page.received > 0 {
            offset += page.received;
            if let Some(from) = restart(&search, offset, &page) {
                search.from = from;
                offset = 0;
            }
            if offset >= page.total && offset > 0 && !page.incomplete {
                return self.keep(page, asked_at).await;
            }
            let next_asked_at = self.ctx.clock.now();
            let client = &self.account.client;
            let (next, kept) =
                tokio::join!(client.search(&search, offset), self.keep(page, asked_at));
            kept?;
            page = next?;
            self.partial |= page.incomplete;
            asked_at = next_asked_at;
        }
        Ok(())
    }

    /// Stores one page and counts it.
    async fn keep(&mut self, page: Page, asked_at: DateTime<Utc>) -> Result<(), Stopped> {
        let name = |unreadable: &Unreadable| unreadable.id.clone().unwrap_or("?".to_owned());
        for unreadable in &page.unreadable {
            debug!(account = %self.account.id, conversation = name(unreadable), "Cannot read a conversation: {}", unreadable.why);
        }
        // One line at every scan, however many there are; the metric and the dashboard count them.
        if let Some(first) = page.unreadable.first() {
            let count = page.unreadable.len();
            warn!(account = %self.account.id, conversation = name(first), "Cannot read {count} conversations, first this: {}", first.why);
        }
        self.found.unreadable += u32::try_from(page.unreadable.len()).unwrap_or(u32::MAX);
        self.found.conversations += u32::try_from(page.records.len()).unwrap_or(u32::MAX);
        let records = complete(self.account, page.records).await;
        for record in &records {
            match read_state(record, self.account.count_bots) {
                ReadState::Unread(_) => self.found.unread += 1,
                ReadState::Undecided => self.found.undecided += 1,
                ReadState::Read(_) => {}
            }
        }
        store(self.ctx, self.account, &self.rules, &records, asked_at).await?;
        Ok(())
    }

    /// Asks by id for conversations that we hold as open and that this scan did not meet; after a deep scan, for all that no
    /// scan has met for an hour.
    async fn look_for_missing(&self, scanned_at: DateTime<Utc>, deep: bool) -> Result<(), Stopped> {
        let ctx = self.ctx;
        let (pool, account) = (&ctx.pool, &self.account.id);
        let ids = if deep {
            let before = scanned_at - FORGOTTEN_AFTER;
            db::conversations::forgotten(pool, account, before, MISSING_PER_SCAN).await?
        } else {
            let oldest = scanned_at - ctx.window;
            db::conversations::missing(
                pool,
                account,
                self.skill,
                scanned_at,
                oldest,
                MISSING_PER_SCAN,
            )
            .await?
        };
        for ids in ids.chunks(MAX_IDS) {
            let asked_at = ctx.clock.now();
            let answer = self.account.by_ids(ids).await?;
            store(ctx, self.account, &self.rules, &answer.records, asked_at).await?;
            let unreadable: Vec<String> = answer
                .unreadable
                .iter()
                .filter_map(|u| u.id.clone())
                .collect();
            if !unreadable.is_empty() {
                let mut conn = ctx.pool.acquire().await?;
                db::conversations::mark_unreadable(&mut conn, account, &unreadable, asked_at)
                    .await?;
            }
            if !answer.incomplete {
                let known = |id: &String| {
                    answer.records.iter().any(|r| r.id == *id)
                        || answer.unreadable.iter().any(|u| u.id.as_ref() == Some(id))
                };
                let gone: Vec<String> = ids.iter().filter(|id| !known(id)).cloned().collect();
                let mut conn = ctx.pool.acquire().await?;
                db::conversations::mark_gone(&mut conn, &self.account.id, &gone, asked_at).await?;
            }
        }
        Ok(())
    }
}

/// Replaces partial records by what LivePerson tells when asked by id. If it does not answer, they stay undecided.
pub async fn complete(account: &Account, mut records: Vec<Record>) -> Vec<Record> {
    let partial: Vec<String> = records
        .iter()
        .filter(|r| r.partial)
        .map(|r| r.id.clone())
        .collect();
    if partial.is_empty() {
        return records;
    }
    match account.by_ids(&partial).await {
        Ok(answer) => {
            let mut whole: HashMap<String, Record> = answer
                .records
                .into_iter()
                .map(|r| (r.id.clone(), r))
                .collect();
            for record in &mut records {
                if let Some(better) = whole.remove(&record.id) {
                    *record = better;
                }
            }
        }
        Err(error) => {
            warn!(account = %account.id, "Partial conversations stay undecided: {error}");
        }
    }
    records
}

/// Where to restart the search, if the offset has grown large and the last record began after the window's start.
pub fn restart(search: &Search, offset: u32, page: &Page) -> Option<DateTime<Utc>> {
    let last = page.records.last()?.started_at;
    // LivePerson rounds the start down to ten minutes; without progress past that, paging goes on.
    (offset >= RESTART_AT && last - search.from > TimeDelta::minutes(20)).then_some(last)
}

/// A reminder that is owed, and to whom as things are.
pub struct Owing {
    pub reminder: NewReminder,
    to: Option<Address>,
}

/// What one record means for the database.
pub struct Reading {
    pub snapshot: Snapshot,
    ended: Ended,
    /// The reminders it owes, at most one per channel.
    pub owed: Vec<Owing>,
    active_at: Option<DateTime<Utc>>,
}

/// Stores records asked for at `asked_at`, schedules what they owe, cancels what they end, notes who came back: one transaction,
/// a constant number of statements.
pub async fn store(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    records: &[Record],
    asked_at: DateTime<Utc>,
) -> anyhow::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let now = ctx.clock.now();
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    let mut tx = ctx
        .pool
        .begin()
        .await
        .context("opening a transaction for a page")?;
    let mut existing: HashMap<String, Vec<Existing>> = HashMap::new();
    for reminder in db::ledger::existing(&mut *tx, &account.id, &ids).await? {
        existing
            .entry(reminder.conversation.clone())
            .or_default()
            .push(reminder);
    }
    let none = Vec::new();
    let mut readings: Vec<Reading> = records
        .iter()
        .map(|record| {
            read(
                account,
                rules,
                record,
                existing.get(&record.id).unwrap_or(&none),
                now,
            )
        })
        .collect();

    let snapshots: Vec<Snapshot> = readings.iter().map(|r| r.snapshot.clone()).collect();
    let stored = db::conversations::store(&mut tx, &account.id, &snapshots, asked_at).await?;
    // A record that is older than what we hold says nothing any more: neither what has ended nor what is owed.
    readings.retain(|r| stored.contains(&r.snapshot.id));

    let with_reminders = || {
        readings
            .iter()
            .filter(|r| existing.contains_key(&r.snapshot.id))
    };
    let ended: Vec<Ended> = with_reminders()
        .map(|r| r.ended.clone())
        .filter(|ended| ended.reason != Reason::Undecided.as_str())
        .collect();
    if !ended.is_empty() {
        for (channel, reason) in db::ledger::cancel_ended(&mut tx, &account.id, &ended, now).await?
        {
            ctx.metrics.decided(channel, "cancel", &reason);
        }
        let active: Vec<(&str, DateTime<Utc>)> = with_reminders()
            .filter_map(|r| Some((r.snapshot.id.as_str(), r.active_at?)))
            .collect();
        db::ledger::mark_returns(&mut tx, &account.id, &active).await?;
    }

    let owing = readings.into_iter().flat_map(|r| r.owed);
    let owed: Vec<NewReminder> = owing
        .map(|owing| NewReminder {
            recipient: owing.to.map(|address| ctx.hasher.address(&address)),
            ..owing.reminder
        })
        .collect();
    if !owed.is_empty() {
        let scheduled = db::ledger::schedule(&mut tx, &account.id, &owed, now).await?;
        for channel in Channel::ALL {
            let wakeups = scheduled
                .iter()
                .filter(|(_, c, _)| *c == channel)
                .map(|(id, _, due)| names::deliver(&account.id, *id, *due));
            queue::wake(
                &mut tx,
                &ctx.clock,
                names::deliver_queue(channel),
                When::At,
                wakeups,
            )
            .await?;
        }
    }
    tx.commit().await.context("committing a page")
}

/// What a scan decides about one record. Stores nothing.
pub fn read(
    account: &Account,
    rules: &[Rule],
    record: &Record,
    existing: &[Existing],
    now: DateTime<Utc>,
) -> Reading {
    let state = read_state(record, account.count_bots);
    let mut owed = Vec::new();
    let mut decide = |channel: Channel| -> Option<Reason> {
        let rule = rule::pick(rules, record.skill, channel);
        if rule.is_none() && !rules.iter().any(|r| r.channel == channel) {
            return None;
        }
        let episode = match &state {
            ReadState::Unread(episode) => Some(episode.first_message.as_str()),
            _ => None,
        };
        let of_episode = || {
            existing
                .iter()
                .filter(|e| e.channel == channel && Some(e.episode.as_str()) == episode)
        };
        if of_episode().any(|e| e.pending) {
            return Some(Reason::Scheduled);
        }
        let done: Vec<i16> = of_episode().map(|e| e.step).collect();
        let contact = contact::choose(&record.contact, channel, &account.contact_policy);
        let scanned = Scanned {
            record,
            state: &state,
            rule,
            contact: contact.as_ref(),
            done: &done,
            now,
        };
        match scan_decision(&scanned) {
            ScanDecision::None(reason) => Some(reason),
            ScanDecision::Schedule { episode, due } => {
                let reminder = NewReminder {
                    conversation: record.id.clone(),
                    episode: episode.first_message.clone(),
                    episode_since: episode.since,
                    skill: record.skill,
                    channel,
                    step: due.step,
                    due_at: due.at,
                    deadline: due.deadline,
                    token: hashing::token(),
                    recipient: None,
                };
                let to = contact.as_ref().map(|contact| contact.address.clone());
                owed.push(Owing { reminder, to });
                Some(Reason::Scheduled)
            }
        }
    };
    let (email, sms) = (decide(Channel::Email), decide(Channel::Sms));
    let (word, episode) = match &state {
        ReadState::Read(_) => ("read", None),
        ReadState::Unread(episode) => ("unread", Some(episode)),
        ReadState::Undecided => ("undecided", None),
    };
    let snapshot = Snapshot {
        id: record.id.clone(),
        skill: record.skill,
        started_at: record.started_at,
        closed_at: record.ended_at,
        open: record.open && state != ReadState::Read(ReadReason::Closed),
        read_state: word,
        episode: episode.map(|e| e.first_message.clone()),
        unread_since: episode.map(|e| e.since),
        unread_count: episode.map_or(0, |e| e.count),
        time_zone: record.time_zone.map(chrono_tz::Tz::name),
        language: record.language.clone(),
        consumer_ids: record.consumer_ids.clone(),
        customer_id: record.customer_id.clone(),
        email,
        sms,
    };
    let ended = Ended {
        conversation: record.id.clone(),
        present: snapshot.episode.clone(),
        reason: end_of_episode(&state).as_str(),
    };
    Reading {
        snapshot,
        ended,
        owed,
        active_at: last_consumer_activity(record),
    }
}

/// Why reminders of a conversation's earlier episodes are void.
fn end_of_episode(state: &ReadState) -> Reason {
    match state {
        ReadState::Read(reason) => (*reason).into(),
        ReadState::Unread(_) => Reason::NewEpisode,
        ReadState::Undecided => Reason::Undecided,
    }
}
