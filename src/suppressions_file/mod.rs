//! Suppressions as CSV: lists of people who said no elsewhere come in, and the table goes out.
//!
//! Only text to values and back. Every record of a list ends as one of three: a suppression, a counted [`Skip`], or a [`RecordProblem`]
//! with its line. Addresses are hashed as soon as they are read and are quoted in none of them.

mod address;
mod date;
mod export;
mod heading;
mod layout;
mod reason;
mod row;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod vendors;
mod words;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};

use crate::db::suppressions::{Source, SuppressionRow};
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::hashing::{Hasher, Move};

use layout::{ListColumns, ListLayout, UnknownLayout};
use row::{NoSuppression, RowStatement};
use table::{ListTable, NeverEnds, TableRecord};

use address::bare;

pub use address::address;
pub use export::{HEADER, hex, print, unhex};
pub use reason::Skip;

/// Records of one list. A longer one comes in two files.
pub const MOST_RECORDS: usize = 1_000_000;

/// Addresses on one line of a list without columns.
const MOST_IN_A_LINE: usize = 1_000;

/// What a file does not say.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub account: AccountId,
    /// The accounts that a row may name.
    pub accounts: Vec<AccountId>,
    /// Country of numbers without a country code.
    pub region: Option<String>,
    pub reason: Suppression,
    pub now: DateTime<Utc>,
}

/// A record that is not understood. Whoever fixes the file gets its lines, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordProblem {
    /// From 1.
    pub line: usize,
    /// The same, but for a record of several lines.
    pub last_line: usize,
    pub what: &'static str,
}

impl fmt::Display for RecordProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == self.last_line {
            write!(f, "line {}: {}", self.line, self.what)
        } else {
            write!(
                f,
                "lines {} to {}: {}",
                self.line, self.last_line, self.what
            )
        }
    }
}

/// The file as a whole cannot be read: why, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnreadableFile(pub String);

/// What was read of a list.
#[derive(Debug)]
pub struct ParsedList {
    /// Whose export it is, as far as its columns tell.
    pub layout: &'static str,
    /// Records: lines but for the first with the columns' names, blank ones, and those within quotation marks.
    pub lines: usize,
    /// Those that suppress somebody.
    pub taken: usize,
    pub skipped: BTreeMap<Skip, usize>,
    pub problems: Vec<RecordProblem>,
    /// What addresses in it were called under older keys.
    pub moves: Vec<Move>,
    /// Sorted by key, one for each.
    entries: Vec<ListedSuppression>,
}

/// A suppression, without the account if it is the default: a list has very many.
#[derive(Debug)]
struct ListedSuppression {
    account: Option<AccountId>,
    channel: Channel,
    hash: [u8; 16],
    reason: Suppression,
    source: Source,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl ParsedList {
    /// How many addresses it suppresses.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The accounts that it suppresses somebody in. `account`: for lines that name none.
    pub fn accounts<'a>(&'a self, account: &'a AccountId) -> BTreeSet<&'a AccountId> {
        let of = self.entries.iter().map(|entry| entry.account.as_ref());
        of.map(|own| own.unwrap_or(account)).collect()
    }

    /// Rows to store, in the order of the table's key and so many at a time.
    pub fn rows(
        &self,
        account: &AccountId,
        at_a_time: usize,
    ) -> impl Iterator<Item = Vec<SuppressionRow>> {
        let row = |entry: &ListedSuppression| SuppressionRow {
            account: entry.account.as_ref().unwrap_or(account).clone(),
            channel: entry.channel,
            hash: entry.hash,
            reason: entry.reason,
            source: entry.source,
            created_at: entry.created_at,
            expires_at: entry.expires_at,
        };
        let pieces = self.entries.chunks(at_a_time);
        pieces.map(move |piece| piece.iter().map(row).collect())
    }
}

/// A list that is being read, piece by piece: reading and hashing take much longer than a request may keep a thread.
pub struct ListReader {
    table: ListTable,
    hasher: Hasher,
    defaults: Defaults,
    /// `None`: no first line names columns.
    columns: Option<(ListColumns, &'static ListLayout)>,
    /// A first record that is data.
    pending: Option<TableRecord>,
    /// What addresses were called under older keys.
    moves: RefCell<Vec<Move>>,
    /// Who has taken back a no, and when last.
    taken_back: HashMap<([u8; 16], Channel), DateTime<Utc>>,
    list: ParsedList,
}

impl ListReader {
    /// Begins to read a file's bytes.
    ///
    /// # Errors
    ///
    /// It is no text, it is empty, or none of its columns has addresses.
    pub fn begin(file: &[u8], hasher: Hasher, defaults: Defaults) -> Result<Self, UnreadableFile> {
        let text = text::decode(file).map_err(|what| UnreadableFile(what.to_owned()))?;
        let mut table = ListTable::new(text);
        let first = loop {
            let record = table.next().map_err(never_ends)?;
            let record = record.ok_or_else(|| UnreadableFile("the file is empty".to_owned()))?;
            // A spreadsheet keeps an empty line as separators.
            if !record.fields.iter().all(|field| field.trim().is_empty()) {
                break record;
            }
        };
        let columns = ListColumns::of(&first.fields);
        // Not a title with a date in it, which has the digits of a phone number.
        let is_address = |cell: &str| {
            let is_plain = cell.contains('@') || !bare(cell).contains(char::is_alphabetic);
            is_plain && address(cell, defaults.region.as_deref()).is_some()
        };
        let is_data = first
            .fields
            .iter()
            .take(MOST_IN_A_LINE)
            .any(|field| layout::present(field).is_some_and(is_address));
        let (columns, pending) = match columns.layout(&first.fields) {
            _ if is_data => (None, Some(first)),
            Ok(layout) => (Some((columns, layout)), None),
            // A list of addresses whose first line is wrong is a list of addresses.
            Err(UnknownLayout::NoAddress { columns: 1, names }) if names.is_empty() => {
                (None, Some(first))
            }
            Err(unknown) => return Err(unknown_columns(&unknown)),
        };
        let list = ParsedList {
            layout: columns
                .as_ref()
                .map_or("addresses, one a line", |(_, layout)| layout.name),
            lines: 0,
            taken: 0,
            skipped: BTreeMap::new(),
            problems: Vec::new(),
            moves: Vec::new(),
            entries: Vec::new(),
        };
        Ok(Self {
            table,
            hasher,
            defaults,
            columns,
            pending,
            moves: RefCell::default(),
            taken_back: HashMap::new(),
            list,
        })
    }

    /// Reads at most so many records more. `false`: that was all.
    ///
    /// # Errors
    ///
    /// A quotation mark never ends, so that the rest cannot be told apart; or the list is too long.
    pub fn read(&mut self, most: usize) -> Result<bool, UnreadableFile> {
        for _ in 0..most {
            let record = match self.pending.take() {
                Some(record) => record,
                None => match self.table.next().map_err(never_ends)? {
                    Some(record) => record,
                    None => return Ok(false),
                },
            };
            self.list.lines += 1;
            if self.list.lines > MOST_RECORDS {
                let what =
                    format!("the list has more than {MOST_RECORDS} lines; import it in parts");
                return Err(UnreadableFile(what));
            }
            self.record(&record);
        }
        Ok(true)
    }

    fn record(&mut self, record: &TableRecord) {
        let judged = self.judge(&record.fields);
        let judged = match judged {
            Ok(_) if record.further_lines.iter().any(|line| self.is_row(line)) => {
                Err(NoSuppression::Understood(
                    "a quotation mark on the first of these lines takes in lines that look like rows of their own; close it where its field ends",
                ))
            }
            judged => judged,
        };
        match judged {
            Ok(RowStatement::Suppressed(entries)) => {
                self.list.taken += 1;
                self.list.entries.extend(entries);
            }
            Ok(RowStatement::TakenBack(who, at)) => {
                self.count(Skip::NotAnOptOut, 1);
                let last = self.taken_back.entry(who).or_insert(at);
                *last = at.max(*last);
            }
            Err(NoSuppression::Taken(skip)) => self.count(skip, 1),
            Err(NoSuppression::Understood(what)) => self.list.problems.push(RecordProblem {
                line: record.line,
                last_line: record.last_line,
                what,
            }),
        }
    }

    fn count(&mut self, skip: Skip, lines: usize) {
        if lines > 0 {
            *self.list.skipped.entry(skip).or_default() += lines;
        }
    }

    /// Leaves out what was taken back later. A no of the same moment stays, and so does a block: it is not its owner's to take back.
    fn leave_out_what_was_taken_back(&mut self) {
        let before = self.list.entries.len();
        let taken_back = &self.taken_back;
        self.list.entries.retain(|entry| {
            let later = taken_back.get(&(entry.hash, entry.channel));
            entry.reason != Suppression::OptedOut || later.is_none_or(|at| *at <= entry.created_at)
        });
        // In the lists that have such lines, each is about one number.
        let left_out = before - self.list.entries.len();
        self.list.taken -= left_out;
        self.count(Skip::NotAnOptOut, left_out);
    }

    /// What was read, once [`read`](Self::read) has said that it was all.
    ///
    /// # Errors
    ///
    /// There is nothing under the first line, or nothing that was understood.
    pub fn finish(mut self) -> Result<ParsedList, UnreadableFile> {
        self.leave_out_what_was_taken_back();
        let mut list = self.list;
        list.moves = self.moves.into_inner();
        list.moves.sort_unstable();
        list.moves.dedup();
        if list.lines == 0 {
            let what = "the file has a first line that names columns, and no lines under it";
            return Err(UnreadableFile(what.to_owned()));
        }
        let nobody = list
            .skipped
            .get(&Skip::NoAddress)
            .copied()
            .unwrap_or_default();
        if list.problems.len() + nobody == list.lines {
            let why = list.problems.first();
            let why = why.map_or_else(|| "no line has an address".to_owned(), ToString::to_string);
            return Err(UnreadableFile(format!(
                "nothing in the file could be read; {why}"
            )));
        }
        // Of several about one address the one that forbids most, and then the oldest.
        list.entries.sort_unstable_by(|a, b| {
            let key = |e: &ListedSuppression| (e.hash, e.channel.as_str());
            let by_strength = || {
                strength(b.reason)
                    .cmp(&strength(a.reason))
                    .then(a.created_at.cmp(&b.created_at))
            };
            key(a)
                .cmp(&key(b))
                .then_with(|| a.account.cmp(&b.account))
                .then_with(by_strength)
        });
        list.entries
            .dedup_by(|b, a| (b.hash, b.channel, &b.account) == (a.hash, a.channel, &a.account));
        Ok(list)
    }
}

/// How much a reason forbids.
fn strength(reason: Suppression) -> u8 {
    match reason {
        Suppression::BadAddress => 0,
        Suppression::OptedOut => 1,
        Suppression::Complaint => 2,
        Suppression::Blocked => 3,
    }
}

fn never_ends(NeverEnds { line }: NeverEnds) -> UnreadableFile {
    UnreadableFile(format!(
        "line {line}: a quotation mark opens here and is never closed, so the lines after it cannot be separated; close it or remove it"
    ))
}

fn unknown_columns(unknown: &UnknownLayout) -> UnreadableFile {
    const WANTED: &str = "it needs a column named email, phone or address (or hash and channel), or an export of Amazon SES, Brevo, \
                          HubSpot, Klaviyo, Mailchimp, Mailgun, Postmark, SendGrid or Twilio as it is; or one address on each line and no \
                          names of columns";
    UnreadableFile(match unknown {
        UnknownLayout::Subscribers => {
            "these are Mailchimp's subscribers, not people who opted out; export the unsubscribed or cleaned addresses"
                .to_owned()
        }
        UnknownLayout::TooManyColumns => format!("the first line has too many columns; {WANTED}"),
        UnknownLayout::NoAddress { columns, names } => {
            let seen = if names.is_empty() {
                String::new()
            } else {
                format!(", among them {}", names.join(", "))
            };
            let columns = if *columns == 1 {
                "1 column".to_owned()
            } else {
                format!("{columns} columns")
            };
            format!("no column has addresses: the first line has {columns}{seen}; {WANTED}")
        }
    })
}
