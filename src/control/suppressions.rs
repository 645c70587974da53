//! Addresses that must not be written to: list, add, lift, and as CSV in and out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::accounts::{Accounts, Allowed};
use super::{ControlError, Fault};
use crate::clock::Clock;
use crate::db;
use crate::db::audit;
use crate::db::suppressions::{
    AddressHash, Source, SuppressionCursor, SuppressionFilter, SuppressionRow,
};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::hashing::Hasher;
use crate::suppressions_file::{
    self, Defaults, ListReader, ParsedList, RecordProblem, Skip, UnreadableFile,
};

/// Rows per statement of an import or an export.
const CHUNK: usize = 5_000;

/// Lines of a list that are read at a time.
const PIECE: usize = 2_000;

/// Problems that a refusal names.
const MOST_TOLD: usize = 20;

/// An address that must not be written to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Suppression)]
pub struct SuppressionView {
    pub account: AccountId,
    pub channel: Channel,
    /// The address's keyed hash.
    #[serde(serialize_with = "hex")]
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    pub hash: AddressHash,
    pub reason: Suppression,
    /// Where it comes from.
    #[schema(value_type = String)]
    pub source: Source,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<SuppressionRow> for SuppressionView {
    fn from(row: SuppressionRow) -> Self {
        Self {
            account: row.account,
            channel: row.channel,
            hash: row.hash,
            reason: row.reason,
            source: row.source,
            created_at: row.created_at,
            expires_at: row.expires_at,
        }
    }
}

impl SuppressionView {
    /// Where a page that ends with it leads on.
    pub fn place(&self) -> SuppressionCursor {
        (
            self.created_at,
            self.hash,
            self.channel,
            self.account.clone(),
        )
    }
}

/// A hash as views show it.
pub(super) fn hex<S: Serializer>(hash: &AddressHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&suppressions_file::hex(hash))
}

/// Those that fit, newest first.
pub async fn list(
    pool: &PgPool,
    accounts: &Accounts,
    filter: SuppressionFilter,
    after: Option<SuppressionCursor>,
    most: i64,
) -> Result<Vec<SuppressionView>, ControlError> {
    let filter = SuppressionFilter {
        accounts: accounts.ids().to_vec(),
        ..filter
    };
    let rows = db::suppressions::list(pool, &filter, after, most).await?;
    Ok(rows.into_iter().map(SuppressionView::from).collect())
}

/// What forbids to write to an address: those in force, and those that are over and not yet deleted.
pub async fn of(
    pool: &PgPool,
    account: &Allowed<AccountId>,
    hash: &AddressHash,
) -> Result<Vec<SuppressionView>, ControlError> {
    let rows = db::suppressions::of(pool, account, std::slice::from_ref(hash)).await?;
    Ok(rows.into_iter().map(SuppressionView::from).collect())
}

/// Suppresses an address. A person's wish is never weakened; that it was there already is no error.
pub async fn add(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    (account, channel, hash): (&Allowed<AccountId>, Channel, &AddressHash),
    reason: Suppression,
) -> Result<(), ControlError> {
    let now = clock.now();
    let mut tx = pool.begin().await?;
    let own = std::slice::from_ref(&**account);
    db::suppressions::add(&mut tx, own, channel, hash, (reason, Source::Operator), now).await?;
    let detail = json!({ "reason": reason.as_str() });
    note(
        &mut tx,
        by,
        "suppression.add",
        (Some(&**account), channel.as_str()),
        detail,
        now,
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Lifts a suppression whatever its reason.
pub async fn remove(
    pool: &PgPool,
    clock: &Clock,
    by: &str,
    (account, channel, hash): (&Allowed<AccountId>, Channel, &AddressHash),
) -> Result<(), ControlError> {
    let mut tx = pool.begin().await?;
    if !db::suppressions::remove(&mut tx, account, channel, hash).await? {
        return Err(ControlError::NotFound(
            "suppression of this address".to_owned(),
        ));
    }
    let subject = (Some(&**account), channel.as_str());
    note(
        &mut tx,
        by,
        "suppression.remove",
        subject,
        json!({}),
        clock.now(),
    )
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What is done with a list that has lines which are not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLines {
    /// Nothing is stored: whoever imports fixes the lines, or says that they may be left out.
    Refuse,
    /// The other lines are stored.
    LeaveOut,
}

impl BadLines {
    pub fn left_out_if(yes: bool) -> Self {
        if yes { Self::LeaveOut } else { Self::Refuse }
    }
}

/// One import at a time in a process: reading and hashing 300,000 numbers takes a core for many seconds.
#[derive(Clone)]
pub struct Imports(Arc<Semaphore>);

/// The right to import; given back when dropped.
pub struct ImportTurn(#[expect(dead_code, reason = "held, not used")] OwnedSemaphorePermit);

impl Default for Imports {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// After so long it is worth asking again: a list of 300,000 lines takes about as long.
const IMPORT_TAKES: Duration = Duration::from_secs(10);

impl Imports {
    /// To be asked when a file has arrived: until then nobody waits for who sends slowly.
    ///
    /// # Errors
    ///
    /// [`ControlError::Busy`]: another import is under way.
    pub fn begin(&self) -> Result<ImportTurn, ControlError> {
        let turn = self.0.clone().try_acquire_owned();
        turn.map(ImportTurn).map_err(|_| {
            ControlError::Busy(
                "another list is being imported; nothing was changed, try again when that is finished"
                    .to_owned(),
                IMPORT_TAKES,
            )
        })
    }
}

/// How an import went. `lines` is the sum of `taken`, what was skipped, and the problems.
#[derive(Debug)]
pub struct SuppressionImport {
    /// Whose export it was, as far as its columns tell.
    pub layout: &'static str,
    pub lines: usize,
    /// Lines that suppress somebody.
    pub taken: usize,
    /// Suppressions new or changed.
    pub changed: u64,
    /// Lines that were understood and suppress nobody, by why.
    pub skipped: BTreeMap<Skip, usize>,
    /// Lines that were left out because they are not understood, all of them.
    pub problems: Vec<RecordProblem>,
}

/// Stores the suppressions of a list, in one transaction. It is read and hashed apart from the threads that serve others, in
/// pieces, so that it ends soon after its caller has gone away.
pub async fn import(
    pool: &PgPool,
    hasher: &Hasher,
    by: &str,
    (_turn, file): (ImportTurn, impl AsRef<[u8]> + Send + 'static),
    accounts: &Accounts,
    defaults: Defaults,
    bad_lines: BadLines,
) -> Result<SuppressionImport, ControlError> {
    let account = accounts.named(defaults.account.as_str())?;
    let now = defaults.now;
    // A line that names an account which the caller may not see names one that there is not.
    let defaults = Defaults {
        accounts: accounts.ids().to_vec(),
        ..defaults
    };
    let list = read(file, hasher.clone(), defaults).await?;
    if bad_lines == BadLines::Refuse && !list.problems.is_empty() {
        return Err(ControlError::Invalid(refused(&list)));
    }
    let mut tx = pool.begin().await?;
    let mut changed = 0;
    for moves in list.moves.chunks(CHUNK) {
        db::rekey::ledger(&mut tx, moves, now).await?;
    }
    for rows in list.rows(&account, CHUNK) {
        changed += db::suppressions::store(&mut tx, &rows, now).await?;
    }
    let skipped: usize = list.skipped.values().sum();
    let detail = json!({
        "layout": list.layout,
        "lines": list.lines,
        "changed": changed,
        "skipped": skipped,
        "left_out": list.problems.len(),
    });
    let concerned = list.accounts(&account);
    let only = concerned.first().filter(|_| concerned.len() == 1);
    let subject = (only.copied(), "file");
    note(&mut tx, by, "suppression.import", subject, detail, now).await?;
    tx.commit().await?;
    Ok(SuppressionImport {
        layout: list.layout,
        lines: list.lines,
        taken: list.taken,
        changed,
        skipped: list.skipped,
        problems: list.problems,
    })
}

/// Reads a list on threads made for waiting and long work, a piece at a time.
async fn read(
    file: impl AsRef<[u8]> + Send + 'static,
    hasher: Hasher,
    defaults: Defaults,
) -> Result<ParsedList, ControlError> {
    let begin = move || ListReader::begin(file.as_ref(), hasher, defaults);
    let mut reading = apart(begin).await?.map_err(unreadable)?;
    loop {
        let piece = move || reading.read(PIECE).map(|more| (reading, more));
        let (next, more) = apart(piece).await?.map_err(unreadable)?;
        reading = next;
        if !more {
            return apart(move || reading.finish()).await?.map_err(unreadable);
        }
    }
}

async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ControlError::Internal(anyhow::anyhow!("reading a list died: {error}")))
}

fn unreadable(UnreadableFile(what): UnreadableFile) -> ControlError {
    ControlError::Invalid(vec![in_file(what)])
}

/// The first lines that are not understood, and what can be done.
fn refused(list: &ParsedList) -> Vec<Fault> {
    let mut told: Vec<String> = list
        .problems
        .iter()
        .take(MOST_TOLD)
        .map(ToString::to_string)
        .collect();
    let more = list.problems.len() - told.len();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    let rest = list.lines - list.problems.len();
    told.push(format!(
        "nothing was stored: fix these lines and import the whole file again, or import it without them ({rest} of {} lines are valid)",
        list.lines
    ));
    told.into_iter().map(in_file).collect()
}

fn in_file(detail: String) -> Fault {
    Fault {
        field: "/file".to_owned(),
        detail,
    }
}

/// The lines of the export after a row, with the last row told of; `None` when there is no more. The first line is
/// [`suppressions_file::HEADER`].
pub async fn export(
    pool: &PgPool,
    accounts: &Accounts,
    after: Option<&SuppressionRow>,
) -> Result<Option<(String, SuppressionRow)>, ControlError> {
    let most = i64::try_from(CHUNK).unwrap_or(i64::MAX);
    let mut rows = db::suppressions::page(pool, accounts.limit(), after, most).await?;
    let lines: String = rows.iter().map(suppressions_file::print).collect();
    Ok(rows.pop().map(|last| (lines, last)))
}

async fn note(
    conn: &mut sqlx::PgConnection,
    by: &str,
    action: &str,
    (account, subject): (Option<&AccountId>, &str),
    detail: serde_json::Value,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entry = audit::NewAuditEntry {
        by,
        action,
        account,
        subject,
        detail,
    };
    audit::record(conn, &entry, now).await
}
