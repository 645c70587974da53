//! One pass over the open conversations of a set of skills: read them page by page, store what is new, owe what is owed.
//!
//! Memory holds two pages at a time (one being stored while the next is fetched), however large the account. The result set
//! moves while it is paged through: it is sorted by start time and read in slices of it (`paging`); what still slips through is met by the next pass, and what has vanished is asked for by id: between the
//! start times of two pages there must be every conversation that we hold as open, so that nothing needs to be written to know who was met.

mod by_id;
mod met;
mod page;
mod paging;
mod record;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::context::{Account, Context};
use crate::db;
use crate::db::scans::Summary;
use crate::domain::ids::SkillId;
use crate::domain::read_state::{ReadState, read_state};
use crate::domain::rule::Rule;
use crate::liveperson::{
    self, ConversationStatus, MAX_IDS, MAX_WINDOW, Purpose, Search, SearchPage,
};

use self::by_id::{MISSING_PER_SCAN, note_unreadable};
use self::met::MetRange;

pub use by_id::{ask_by_id, complete, look_for_forgotten};
pub use page::{StoredPage, Unchanged, store};
pub use paging::Paging;
pub use record::{OwedReminder, ReadRecord, read};

/// How far back a deep scan goes: LivePerson keeps conversations for 13 months.
const RETENTION: TimeDelta = TimeDelta::days(396);

/// Which open conversations a pass asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the usual window of time.
    All,
    /// Those of the usual window that were updated since then.
    UpdatedSince(DateTime<Utc>),
    /// All that began before the usual window.
    Older,
}

impl Scope {
    fn purpose(self) -> Purpose {
        match self {
            Self::UpdatedSince(_) => Purpose::Background,
            Self::All | Self::Older => Purpose::FullPass,
        }
    }

    /// What is older than the window is asked for by id as well when nobody has met it for long.
    fn unchanged(self) -> Unchanged {
        match self {
            Self::Older => Unchanged::Store,
            Self::All | Self::UpdatedSince(_) => Unchanged::Skip,
        }
    }
}

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
    scope: Scope,
) -> PassResult {
    let now = ctx.clock.now();
    let mut pass = ScanPass {
        ctx,
        account,
        client: account.client.made_for(scope.purpose()),
        scope,
        began_at: now,
        skills,
        rules,
        found: skills
            .iter()
            .map(|skill| (*skill, Summary::default()))
            .collect(),
        calls: 0,
        partial: false,
    };
    let ended = match scope {
        Scope::All | Scope::UpdatedSince(_) => Box::pin(pass.window(now - ctx.window, now)).await,
        Scope::Older => Box::pin(pass.older_windows(now)).await,
    };
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

struct ScanPass<'a> {
    ctx: &'a Context,
    account: &'a Account,
    client: liveperson::LivePersonClient,
    scope: Scope,
    began_at: DateTime<Utc>,
    skills: &'a [SkillId],
    rules: &'a [Rule],
    found: HashMap<SkillId, Summary>,
    calls: u32,
    /// LivePerson could not ask all of its shards for one of the pages.
    partial: bool,
}

/// A page, and when it was asked for.
struct AskedPage {
    answer: SearchPage,
    asked_at: DateTime<Utc>,
}

impl ScanPass<'_> {
    /// Conversations begun before the usual window: rare, since LivePerson closes idle ones, but invisible otherwise.
    async fn older_windows(&mut self, now: DateTime<Utc>) -> Result<(), Stopped> {
        let mut to = now - self.ctx.window;
        while to > now - RETENTION {
            Box::pin(self.window(to - MAX_WINDOW, to)).await?;
            to -= MAX_WINDOW;
        }
        Ok(())
    }

    async fn window(&mut self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), Stopped> {
        let updated_since = match self.scope {
            Scope::UpdatedSince(since) => Some(since),
            Scope::All | Scope::Older => None,
        };
        let mut paging = Paging::new(Search {
            skills: self.skills.to_vec(),
            status: ConversationStatus::Open,
            from,
            to,
            updated_since,
            newest_first: false,
        });
        // A search for updates leaves out what is still open.
        let mut met = updated_since.is_none().then(|| MetRange::new(from));
        let mut page = self.ask(&paging).await?;
        loop {
            let is_complete = paging.is_ascending();
            let goes_on = paging.advance(&page.answer);
            self.partial |= page.answer.incomplete;
            if !goes_on {
                self.keep(page, is_complete, met.as_mut()).await?;
                break;
            }
            let next = self.ask(&paging);
            let (next, kept) = tokio::join!(next, self.keep(page, is_complete, met.as_mut()));
            kept?;
            page = next?;
        }
        match met {
            Some(mut met) => self.look_for_missing(&mut met, to).await,
            None => Ok(()),
        }
    }

    /// Asks for the next page.
    fn ask(
        &mut self,
        paging: &Paging,
    ) -> impl Future<Output = Result<AskedPage, liveperson::LivePersonError>> + use<> {
        self.calls += 1;
        let (client, asked_at) = (self.client.clone(), self.ctx.clock.now());
        let (search, offset) = paging.question();
        let search = search.clone();
        async move {
            let answer = client.search(&search, offset).await?;
            Ok(AskedPage { answer, asked_at })
        }
    }

    /// Stores one page and counts it. Of pages that are complete no conversation is missing that began before the last on them.
    async fn keep(
        &mut self,
        AskedPage {
            answer: page,
            asked_at,
        }: AskedPage,
        is_complete: bool,
        met: Option<&mut MetRange>,
    ) -> Result<(), Stopped> {
        for unreadable in &page.unreadable {
            self.of(unreadable.skill).unreadable += 1;
        }
        note_unreadable(self.ctx, self.account, &page.unreadable, asked_at).await?;
        self.calls += u32::from(page.records.iter().any(|record| record.partial));
        let records = complete(self.account, self.scope.purpose(), page.records).await;
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
        let unchanged = self.scope.unchanged();
        let stored = store(
            self.ctx,
            self.account,
            self.rules,
            &records,
            asked_at,
            unchanged,
        )
        .await?;
        // Of which of the skills of the set, nobody asks.
        let of_first = self.of(None);
        of_first.changed += stored.changed;
        of_first.missed += stored.missed;
        if let Some(met) = met {
            met.add(&records);
            if let Some(last) = records.last().filter(|_| is_complete) {
                self.look_for_missing(met, last.started_at).await?;
            }
        }
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

    /// Asks by id for conversations that we hold as open, that began before `to`, and that the pages up to there did not have. What a
    /// partial answer left out is not therefore missing.
    async fn look_for_missing(
        &mut self,
        met: &mut MetRange,
        to: DateTime<Utc>,
    ) -> Result<(), Stopped> {
        if self.partial {
            return Ok(());
        }
        let Some(range) = met.pass_to(to) else {
            return Ok(());
        };
        let (ctx, account) = (self.ctx, self.account);
        let ids = db::conversations::missing(
            &ctx.pool,
            &account.id,
            self.skills,
            range,
            met.ids(),
            self.began_at,
            MISSING_PER_SCAN,
        )
        .await?;
        met.forget();
        self.calls += u32::try_from(ids.len().div_ceil(MAX_IDS)).unwrap_or(u32::MAX);
        let purpose = self.scope.purpose();
        ask_by_id(ctx, account, purpose, self.rules, &ids, Unchanged::Store).await?;
        Ok(())
    }
}
