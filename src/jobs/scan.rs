//! One pass over the open conversations of a set of skills: read them page by page, store what they say, owe what is owed.
//!
//! Memory holds two pages at a time (one being stored while the next is fetched), however large the account. The result set
//! moves while it is paged through: it is sorted by start time and restarted from the last start seen every few pages, which
//! also keeps offsets small; what still slips through is met by the next scan, and what has vanished is asked for by id.

use std::collections::HashMap;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use tracing::{debug, warn};

use super::context::{Account, Context};
use super::names::{self, DueDelivery};
use super::queue::When;
use crate::db;
use crate::db::conversations::{ConversationSnapshot, Decided};
use crate::db::ledger::{EndedEpisode, ExistingReminder, NewReminder};
use crate::db::scans::Summary;
use crate::domain::channel::PerChannel;
use crate::domain::contact::{self, Address, Contact};
use crate::domain::conversation::Record;
use crate::domain::decide::{Reason, Verdict};
use crate::domain::ids::{Channel, SkillId};
use crate::domain::owed::{ScanDecision, Scanned, scan_decision};
use crate::domain::read_state::{
    ReadReason, ReadState, ReadStatus, last_consumer_activity, read_state,
};
use crate::domain::rule::{self, Rule};
use crate::hashing::{self, Hasher};
use crate::liveperson::{
    self, ConversationStatus, MAX_IDS, MAX_WINDOW, Purpose, Search, SearchPage, UnreadableRecord,
};

/// From this offset on, the search restarts at the last start time seen: well before the 10,000 results at which search indexes
/// end, and seldom enough that the ten minutes which LivePerson rounds down, and we read twice, cost little.
const RESTART_AT: u32 = 4_000;

/// How far back a deep scan goes: LivePerson keeps conversations for 13 months.
const RETENTION: TimeDelta = TimeDelta::days(396);

/// Vanished conversations asked for by id after one scan; the rest waits for the next.
const MISSING_PER_SCAN: u16 = 300;

/// An open conversation that no scan has met for this long is asked for by the deep scan.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(1);

/// Why a scan ended early.
pub enum Stopped {
    LivePerson(liveperson::LivePersonError),
    Database(anyhow::Error),
}

impl From<liveperson::LivePersonError> for Stopped {
    fn from(error: liveperson::LivePersonError) -> Self {
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

/// What a pass over a set of skills has found, or why it ended early.
pub struct PassResult {
    pub found: HashMap<SkillId, Summary>,
    /// Questions to LivePerson that it took.
    pub calls: u32,
    pub ended: Result<(), Stopped>,
}

/// Reads the open conversations of these skills, a few of one account's, and stores what they say.
pub async fn pass(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    skills: &[SkillId],
    deep: bool,
) -> PassResult {
    let now = ctx.clock.now();
    let mut pass = ScanPass {
        ctx,
        account,
        client: account.client.made_for(Purpose::Background),
        skills,
        rules,
        found: skills
            .iter()
            .map(|skill| (*skill, Summary::default()))
            .collect(),
        calls: 0,
        partial: false,
    };
    let mut ended = if deep {
        Box::pin(pass.older_windows(now)).await
    } else {
        pass.window(now - ctx.window, now).await
    };
    // What a partial answer left out is not therefore missing.
    if ended.is_ok() && !deep && !pass.partial {
        ended = pass.look_for_missing(now).await;
    }
    if ended.is_ok() && pass.partial {
        for summary in pass.found.values_mut() {
            summary.error = Some("LivePerson answered in part only".to_owned());
        }
    }
    PassResult {
        found: pass.found,
        calls: pass.calls,
        ended,
    }
}

/// Asks by id for conversations that we hold as open and that no scan has met for an hour, whatever their skill: after a deep scan.
pub async fn look_for_forgotten(ctx: &Context, account: &Account) -> Result<(), Stopped> {
    let before = ctx.clock.now() - FORGOTTEN_AFTER;
    let ids =
        db::conversations::forgotten(&ctx.pool, &account.id, before, MISSING_PER_SCAN).await?;
    let rules = ctx.rules(account).await?;
    ask_by_id(ctx, account, &rules, &ids).await
}

struct ScanPass<'a> {
    ctx: &'a Context,
    account: &'a Account,
    client: liveperson::LivePersonClient,
    skills: &'a [SkillId],
    rules: &'a [Rule],
    found: HashMap<SkillId, Summary>,
    calls: u32,
    /// LivePerson could not ask all of its shards for one of the pages.
    partial: bool,
}

impl ScanPass<'_> {
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
            skills: self.skills.to_vec(),
            status: ConversationStatus::Open,
            from,
            to,
        };
        let mut asked_at = self.ctx.clock.now();
        let mut offset = 0;
        self.calls += 1;
        let mut page = self.client.search(&search, offset).await?;
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
            self.calls += 1;
            let client = self.client.clone();
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
    async fn keep(&mut self, page: SearchPage, asked_at: DateTime<Utc>) -> Result<(), Stopped> {
        for unreadable in &page.unreadable {
            self.of(unreadable.skill).unreadable += 1;
        }
        note_unreadable(self.ctx, self.account, &page.unreadable, asked_at).await?;
        self.calls += u32::from(page.records.iter().any(|record| record.partial));
        let records = complete(self.account, Purpose::Background, page.records).await;
        for record in &records {
            let state = read_state(record, self.account.count_bots);
            let of_skill = self.of(Some(record.skill));
            of_skill.conversations += 1;
            match state {
                ReadState::Unread(_) => of_skill.unread += 1,
                ReadState::Undecided => of_skill.undecided += 1,
                ReadState::Read(_) => {}
            }
        }
        store(self.ctx, self.account, self.rules, &records, asked_at).await?;
        Ok(())
    }

    /// Where to count a conversation: with its skill. One that cannot be told, or that was transferred while it was asked for by id,
    /// counts as LivePerson counts what no skill has, or else with the first.
    fn of(&mut self, skill: Option<SkillId>) -> &mut Summary {
        let known = |skill: &SkillId| self.skills.contains(skill);
        let skill = skill
            .filter(known)
            .or_else(|| Some(SkillId::UNASSIGNED).filter(known))
            .unwrap_or(self.skills[0]);
        self.found.entry(skill).or_default()
    }

    /// Asks by id for conversations that we hold as open and that this scan did not meet.
    async fn look_for_missing(&mut self, scanned_at: DateTime<Utc>) -> Result<(), Stopped> {
        let (ctx, account) = (self.ctx, self.account);
        let oldest = scanned_at - ctx.window;
        let ids = db::conversations::missing(
            &ctx.pool,
            &account.id,
            self.skills,
            scanned_at,
            oldest,
            MISSING_PER_SCAN,
        )
        .await?;
        self.calls += u32::try_from(ids.len().div_ceil(MAX_IDS)).unwrap_or(u32::MAX);
        ask_by_id(ctx, account, self.rules, &ids).await
    }
}

/// Notes which conversations cannot be read, for the overview. Says it once of each, however often it is met.
async fn note_unreadable(
    ctx: &Context,
    account: &Account,
    unreadable: &[UnreadableRecord],
    asked_at: DateTime<Utc>,
) -> Result<(), Stopped> {
    if unreadable.is_empty() {
        return Ok(());
    }
    // What cannot be read may say anything in place of its id.
    let name = |of: &UnreadableRecord| {
        let id = of
            .id
            .as_ref()
            .filter(|id| id.len() <= 100 && !id.contains('\0'));
        id.map_or(db::unreadable::NAMELESS, String::as_str)
            .to_owned()
    };
    let names: Vec<String> = unreadable.iter().map(name).collect();
    let met: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut conn = ctx.pool.acquire().await?;
    let new = db::unreadable::met(&mut conn, &account.id, &met, asked_at).await?;
    for unreadable in unreadable {
        let name = name(unreadable);
        if new.contains(&name) {
            warn!(account = %account.id, conversation = name, "Cannot read a conversation: {}", unreadable.why);
        } else {
            debug!(account = %account.id, conversation = name, "Still cannot read a conversation: {}", unreadable.why);
        }
    }
    Ok(())
}

/// Stores what LivePerson says of these conversations. Those that it does not know any more are closed.
async fn ask_by_id(
    ctx: &Context,
    account: &Account,
    rules: &[Rule],
    ids: &[String],
) -> Result<(), Stopped> {
    for ids in ids.chunks(MAX_IDS) {
        let asked_at = ctx.clock.now();
        let answer = account.by_ids_for(Purpose::Background, ids).await?;
        store(ctx, account, rules, &answer.records, asked_at).await?;
        let unreadable: Vec<String> = answer
            .unreadable
            .iter()
            .filter_map(|u| u.id.clone())
            .collect();
        note_unreadable(ctx, account, &answer.unreadable, asked_at).await?;
        if !unreadable.is_empty() {
            let mut conn = ctx.pool.acquire().await?;
            db::conversations::mark_unreadable(&mut conn, &account.id, &unreadable, asked_at)
                .await?;
        }
        if !answer.incomplete {
            let known = |id: &String| {
                answer.records.iter().any(|r| r.id == *id)
                    || answer.unreadable.iter().any(|u| u.id.as_ref() == Some(id))
            };
            let gone: Vec<String> = ids.iter().filter(|id| !known(id)).cloned().collect();
            let mut conn = ctx.pool.acquire().await?;
            db::conversations::mark_gone(&mut conn, &account.id, &gone, asked_at).await?;
        }
    }
    Ok(())
}

/// Replaces partial records by what LivePerson tells when asked by id. If it does not answer, they stay undecided.
pub async fn complete(
    account: &Account,
    purpose: Purpose,
    mut records: Vec<Record>,
) -> Vec<Record> {
    let partial: Vec<String> = records
        .iter()
        .filter(|r| r.partial)
        .map(|r| r.id.clone())
        .collect();
    if partial.is_empty() {
        return records;
    }
    match account.by_ids_for(purpose, &partial).await {
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
pub fn restart(search: &Search, offset: u32, page: &SearchPage) -> Option<DateTime<Utc>> {
    let last = page.records.last()?.started_at;
    // LivePerson rounds the start down to ten minutes; without progress past that, paging goes on.
    (offset >= RESTART_AT && last - search.from > TimeDelta::minutes(20)).then_some(last)
}

/// A reminder that is owed, and to whom as things are.
pub struct OwedReminder {
    pub reminder: NewReminder,
    to: Option<Address>,
}

/// What one record means for the database.
pub struct ReadRecord {
    pub snapshot: ConversationSnapshot,
    /// Where the consumer can be reached.
    reached_at: PerChannel<Option<Address>>,
    ended: EndedEpisode,
    /// The reminders it owes, at most one per channel.
    pub owed: Vec<OwedReminder>,
    active_at: Option<DateTime<Utc>>,
}

impl ReadRecord {
    /// What is stored. Whoever could be reached on a channel without any rule is to be found by address too: the reason is kept.
    fn snapshot(&self, hasher: &Hasher) -> ConversationSnapshot {
        let decided = |channel, to: &Option<Address>| {
            let to = to.as_ref().map(|address| hasher.known_as(address));
            let reason = self.snapshot.decided[channel].reason;
            Decided {
                reason: reason.or(to.map(|_| Reason::NoRule)),
                to,
            }
        };
        ConversationSnapshot {
            decided: self.reached_at.map(decided),
            ..self.snapshot.clone()
        }
    }
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
    let now = ctx.clock.now();
    let mut tx = ctx
        .pool
        .begin()
        .await
        .context("opening a transaction for a page")?;
    let records = without_erased(ctx, &mut tx, account, records, now).await?;
    if records.is_empty() {
        return tx.commit().await.context("committing a page");
    }
    let ids: Vec<&str> = records.iter().map(|r| r.id.as_str()).collect();
    let mut existing: HashMap<String, Vec<ExistingReminder>> = HashMap::new();
    for reminder in db::ledger::existing(&mut *tx, &account.id, &ids).await? {
        existing
            .entry(reminder.conversation.clone())
            .or_default()
            .push(reminder);
    }
    let none = Vec::new();
    let mut readings: Vec<ReadRecord> = records
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

    let snapshots: Vec<ConversationSnapshot> =
        readings.iter().map(|r| r.snapshot(&ctx.hasher)).collect();
    let stored = db::conversations::store(&mut tx, &account.id, &snapshots, asked_at).await?;
    // A record that is older than what we hold says nothing any more: neither what has ended nor what is owed.
    readings.retain(|r| stored.contains(&r.snapshot.id));

    let with_reminders = || {
        readings
            .iter()
            .filter(|r| existing.contains_key(&r.snapshot.id))
    };
    let ended: Vec<EndedEpisode> = with_reminders()
        .map(|r| r.ended.clone())
        .filter(|ended| ended.reason != Reason::Undecided)
        .collect();
    if !ended.is_empty() {
        for (channel, reason) in db::ledger::cancel_ended(&mut tx, &account.id, &ended, now).await?
        {
            ctx.metrics.decided(channel, Verdict::Cancel, reason);
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
        let deliveries = scheduled
            .iter()
            .map(|(reminder, channel, due)| DueDelivery {
                channel: *channel,
                account: &account.id,
                reminder: *reminder,
                at: *due,
            });
        names::schedule_deliveries(&mut tx, &ctx.clock, When::At, deliveries).await?;
    }
    tx.commit().await.context("committing a page")
}

/// Those of these records whose conversation was not erased in a time that the database has lost. Of the others a husk is left, as of
/// any that is erased.
async fn without_erased<'r>(
    ctx: &Context,
    tx: &mut PgConnection,
    account: &Account,
    records: &'r [Record],
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<&'r Record>> {
    let erased = db::journal::erased_in_lost_time(&mut *tx, &account.id).await?;
    if erased.is_empty() {
        return Ok(records.iter().collect());
    }
    let (gone, kept): (Vec<&Record>, Vec<&Record>) = records.iter().partition(|record| {
        let mut names = ctx.hasher.erased_under_any_key(&record.id);
        names.any(|name| erased.contains(&name))
    });
    let ids: Vec<String> = gone.iter().map(|record| record.id.clone()).collect();
    if !ids.is_empty() {
        db::erase::conversations(tx, &account.id, &ids, now).await?;
        db::erase::never_store(tx, &account.id, &ids, now).await?;
    }
    Ok(kept)
}

/// What a scan decides about one record. Stores nothing.
pub fn read(
    account: &Account,
    rules: &[Rule],
    record: &Record,
    existing: &[ExistingReminder],
    now: DateTime<Utc>,
) -> ReadRecord {
    let state = read_state(record, account.count_bots);
    let contact = |channel| contact::choose(&record.contact, channel, &account.contact_policy);
    let mut owed = Vec::new();
    let mut decide = |channel: Channel, contact: Option<&Contact>| -> Option<Reason> {
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
        let scanned = Scanned {
            record,
            state: &state,
            rule,
            contact,
            done: &done,
            time_zone: account.time_zone,
            now,
        };
        match scan_decision(&scanned) {
            ScanDecision::None(reason) => Some(reason),
            ScanDecision::Schedule {
                episode,
                due,
                local,
            } => {
                let reminder = NewReminder {
                    conversation: record.id.clone(),
                    episode: episode.first_message.clone(),
                    episode_since: episode.since,
                    skill: record.skill,
                    channel,
                    step: due.step,
                    due_at: due.at,
                    deadline: due.deadline,
                    latest_at: rule.map_or(due.deadline, |rule| rule.latest_at(due.at)),
                    local,
                    token: hashing::token(),
                    recipient: None,
                };
                let to = contact.map(|contact| contact.address.clone());
                owed.push(OwedReminder { reminder, to });
                Some(Reason::Scheduled)
            }
        }
    };
    let contacts = PerChannel::of(contact);
    let decided = contacts.map(|channel, contact| Decided {
        reason: decide(channel, contact.as_ref()),
        to: None,
    });
    let (word, episode) = match &state {
        ReadState::Read(_) => (ReadStatus::Read, None),
        ReadState::Unread(episode) => (ReadStatus::Unread, Some(episode)),
        ReadState::Undecided => (ReadStatus::Undecided, None),
    };
    let snapshot = ConversationSnapshot {
        id: record.id.clone(),
        skill: record.skill,
        started_at: record.started_at,
        closed_at: record.ended_at,
        open: record.open && state != ReadState::Read(ReadReason::Closed),
        read_state: word,
        episode: episode.map(|e| e.first_message.clone()),
        unread_since: episode.map(|e| e.since),
        unread_count: episode.map_or(0, |e| e.count),
        time_zone: record.time_zone.map(|zone| zone.to_string()),
        language: record.language.clone(),
        consumer_ids: record.consumer_ids.clone(),
        customer_id: record.customer_id.clone(),
        decided,
    };
    let ended = EndedEpisode {
        conversation: record.id.clone(),
        present: snapshot.episode.clone(),
        reason: end_of_episode(&state),
    };
    ReadRecord {
        snapshot,
        reached_at: contacts.map(|_, contact| contact.as_ref().map(|c| c.address.clone())),
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
