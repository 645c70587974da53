//! Which columns a list has, and what its rows say. A layout is known by the names in its first line; case, blanks, order and
//! further columns do not matter.

use std::collections::HashMap;

use csv::StringRecord;

use super::heading::{self, Kind};
use super::reason::Skip;
use super::vendors;
use super::words::plain;
use crate::domain::contact::Suppression;

/// More columns than any export has.
const MOST_COLUMNS: usize = 500;

/// Stands for a column of e-mail addresses, whatever its name.
const EMAIL: &str = "@";

/// The columns of a list by their plain names.
pub struct ListColumns {
    at: HashMap<String, usize>,
    emails: Vec<usize>,
    phones: Vec<usize>,
    pub count: usize,
}

/// A row's cells by the names of their columns.
#[derive(Clone, Copy)]
pub struct Cells<'r> {
    pub columns: &'r ListColumns,
    pub fields: &'r StringRecord,
}

/// What a row says, with its cells still unread.
#[derive(Default)]
pub struct RowContent<'r> {
    pub emails: Vec<&'r str>,
    pub phones: Vec<&'r str>,
    /// An address of either kind.
    pub address: Option<&'r str>,
    /// `None`: the row does not say.
    pub reason: Option<Suppression>,
    pub date: Option<&'r str>,
    /// It takes back what the same list has of an earlier date.
    pub takes_back: bool,
    /// The columns that only our own lists have.
    pub own: Option<OwnColumns<'r>>,
}

#[derive(Default)]
pub struct OwnColumns<'r> {
    pub hash: Option<&'r str>,
    pub channel: Option<&'r str>,
    pub account: Option<&'r str>,
    pub reason: Option<&'r str>,
    pub source: Option<&'r str>,
    pub expires_at: Option<&'r str>,
}

type RowReader = for<'r> fn(Cells<'r>) -> Result<RowContent<'r>, Skip>;

/// A known set of columns.
pub struct ListLayout {
    /// Whose it is, for the report.
    pub name: &'static str,
    needs: &'static [&'static str],
    lacks: &'static [&'static str],
    pub read: RowReader,
}

/// The most particular first.
const LAYOUTS: &[ListLayout] = &[
    ListLayout {
        name: "Twilio message log",
        needs: &["from", "to", "body", "direction"],
        lacks: &[],
        read: vendors::twilio,
    },
    ListLayout {
        name: "HubSpot unsubscribes and bounces",
        needs: &[EMAIL, "portalunsubscribe"],
        lacks: &[],
        read: vendors::hubspot,
    },
    ListLayout {
        name: "Mailchimp unsubscribed",
        needs: &[EMAIL, "unsubtime"],
        lacks: &[],
        read: vendors::mailchimp,
    },
    ListLayout {
        name: "Mailchimp cleaned",
        needs: &[EMAIL, "cleantime"],
        lacks: &[],
        read: vendors::mailchimp,
    },
    ListLayout {
        name: "Postmark bounces",
        needs: &[EMAIL, "type", "bouncedat"],
        lacks: &[],
        read: vendors::postmark_bounces,
    },
    ListLayout {
        name: "SendGrid bounces or blocks",
        needs: &[EMAIL, "status", "reason"],
        lacks: &[],
        read: vendors::sendgrid_bounces,
    },
    ListLayout {
        name: "SendGrid spam reports",
        needs: &[EMAIL, "ip", "created"],
        lacks: &["status", "reason"],
        read: vendors::sendgrid_spam_reports,
    },
    ListLayout {
        name: "Mailgun bounces",
        needs: &["address", "code", "error"],
        lacks: &[EMAIL],
        read: vendors::mailgun_bounces,
    },
    ListLayout {
        name: "Mailgun unsubscribes",
        needs: &["address", "tags"],
        lacks: &[EMAIL],
        read: vendors::mailgun_unsubscribes,
    },
    ListLayout {
        name: "Mailgun unsubscribes",
        needs: &["address", "tag"],
        lacks: &[EMAIL],
        read: vendors::mailgun_unsubscribes,
    },
    ListLayout {
        name: "addresses",
        needs: &["address"],
        // Where there is a column for e-mail, this is where somebody lives.
        lacks: &[EMAIL],
        read: vendors::own,
    },
    ListLayout {
        name: "hashes",
        needs: &["hash"],
        lacks: &[EMAIL],
        read: vendors::own,
    },
];

const ANY: ListLayout = ListLayout {
    name: "e-mail addresses or phone numbers",
    needs: &[],
    lacks: &[],
    read: vendors::any,
};

/// Why a first line is not understood.
#[derive(Debug)]
pub enum UnknownLayout {
    /// These are people who still want to hear from the brand.
    Subscribers,
    TooManyColumns,
    /// No column for an address. The names that are shown are those that are surely names.
    NoAddress {
        columns: usize,
        names: Vec<String>,
    },
}

impl ListColumns {
    pub fn of(names: &StringRecord) -> Self {
        let mut columns = Self {
            at: HashMap::new(),
            emails: Vec::new(),
            phones: Vec::new(),
            count: names.len(),
        };
        for (place, name) in names.iter().enumerate().take(MOST_COLUMNS + 1) {
            let name = plain(name);
            match heading::kind(&name) {
                Some(Kind::Email) => columns.emails.push(place),
                Some(Kind::Phone) => columns.phones.push(place),
                None => {}
            }
            columns.at.entry(name).or_insert(place);
        }
        columns
    }

    pub fn has(&self, name: &str) -> bool {
        if name == EMAIL {
            !self.emails.is_empty()
        } else {
            self.at.contains_key(name)
        }
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The layout that these are the columns of.
    pub fn layout(&self, names: &StringRecord) -> Result<&'static ListLayout, UnknownLayout> {
        if self.count > MOST_COLUMNS {
            return Err(UnknownLayout::TooManyColumns);
        }
        let fits = |layout: &&ListLayout| {
            layout.needs.iter().all(|name| self.has(name)) && !self.has_any(layout.lacks)
        };
        if let Some(layout) = LAYOUTS.iter().find(fits) {
            return Ok(layout);
        }
        if self.has(EMAIL) && self.has_any(&["memberrating", "optintime", "confirmtime"]) {
            return Err(UnknownLayout::Subscribers);
        }
        if self.has(EMAIL) || !self.phones.is_empty() {
            return Ok(&ANY);
        }
        let shown = |name: &str| name.len() <= 40 && heading::is_one(&plain(name));
        let names = names.iter().map(str::trim).filter(|name| shown(name));
        Err(UnknownLayout::NoAddress {
            columns: self.count,
            names: names.take(20).map(str::to_owned).collect(),
        })
    }
}

impl<'r> Cells<'r> {
    pub fn new(columns: &'r ListColumns, fields: &'r StringRecord) -> Self {
        Self { columns, fields }
    }

    /// What stands in a column; `None` also for the ways to write "nothing".
    pub fn get(self, name: &str) -> Option<&'r str> {
        let field = self.fields.get(*self.columns.at.get(name)?)?;
        present(field)
    }

    /// What stands in the columns of e-mail addresses.
    pub fn emails(self) -> Vec<&'r str> {
        self.at(&self.columns.emails)
    }

    /// What stands in the columns of phone numbers.
    pub fn phones(self) -> Vec<&'r str> {
        self.at(&self.columns.phones)
    }

    fn at(self, places: &[usize]) -> Vec<&'r str> {
        let cells = places.iter().filter_map(|place| self.fields.get(*place));
        cells.filter_map(present).collect()
    }

    pub fn first(self, names: &[&str]) -> Option<&'r str> {
        names.iter().find_map(|name| self.get(name))
    }
}

/// A cell that says something.
pub fn present(field: &str) -> Option<&str> {
    const NOTHING: [&str; 9] = [
        "n/a",
        "#n/a",
        "na",
        "none",
        "null",
        "nil",
        "nan",
        "undefined",
        "(none)",
    ];
    let field = field.trim();
    let is_nothing = field
        .chars()
        .all(|c| matches!(c, '-' | '–' | '—' | '.' | '?' | '_'))
        || NOTHING.iter().any(|word| field.eq_ignore_ascii_case(word));
    (!is_nothing).then_some(field)
}
