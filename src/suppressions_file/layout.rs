//! Which columns a list has, and what its rows say. A layout is known by the names in its first line; case, blanks, order and
//! further columns do not matter.

use std::collections::HashMap;

use csv::StringRecord;

use super::reason::Skip;
use super::vendors;
use super::words::plain;
use crate::domain::contact::Suppression;

/// More columns than any export has.
const MOST_COLUMNS: usize = 500;

/// The columns of a list by their plain names.
pub struct Columns {
    at: HashMap<String, usize>,
    pub count: usize,
}

/// A row's cells by the names of their columns.
#[derive(Clone, Copy)]
pub struct Cells<'r> {
    pub columns: &'r Columns,
    pub fields: &'r StringRecord,
}

/// What a row says, with its cells still unread.
#[derive(Default)]
pub struct Claim<'r> {
    pub email: Option<&'r str>,
    pub phone: Option<&'r str>,
    /// An address of either kind.
    pub address: Option<&'r str>,
    /// `None`: the row does not say.
    pub reason: Option<Suppression>,
    pub date: Option<&'r str>,
    /// The columns that only our own lists have.
    pub own: Option<Own<'r>>,
}

#[derive(Default)]
pub struct Own<'r> {
    pub hash: Option<&'r str>,
    pub channel: Option<&'r str>,
    pub account: Option<&'r str>,
    pub reason: Option<&'r str>,
    pub source: Option<&'r str>,
    pub expires_at: Option<&'r str>,
}

type Read = for<'r> fn(Cells<'r>) -> Result<Claim<'r>, Skip>;

/// A known set of columns.
pub struct Layout {
    /// Whose it is, for the report.
    pub name: &'static str,
    needs: &'static [&'static str],
    lacks: &'static [&'static str],
    pub read: Read,
}

/// The most particular first.
const LAYOUTS: &[Layout] = &[
    Layout {
        name: "Twilio message log",
        needs: &["from", "to", "body", "direction"],
        lacks: &[],
        read: vendors::twilio,
    },
    Layout {
        name: "HubSpot unsubscribes and bounces",
        needs: &["email", "portalunsubscribe"],
        lacks: &[],
        read: vendors::hubspot,
    },
    Layout {
        name: "Mailchimp unsubscribed",
        needs: &["emailaddress", "unsubtime"],
        lacks: &[],
        read: vendors::mailchimp,
    },
    Layout {
        name: "Mailchimp cleaned",
        needs: &["emailaddress", "cleantime"],
        lacks: &[],
        read: vendors::mailchimp,
    },
    Layout {
        name: "Postmark bounces",
        needs: &["email", "type", "bouncedat"],
        lacks: &[],
        read: vendors::postmark_bounces,
    },
    Layout {
        name: "SendGrid bounces or blocks",
        needs: &["email", "status", "reason"],
        lacks: &[],
        read: vendors::sendgrid_bounces,
    },
    Layout {
        name: "SendGrid spam reports",
        needs: &["email", "ip", "created"],
        lacks: &["status", "reason"],
        read: vendors::sendgrid_spam_reports,
    },
    Layout {
        name: "Mailgun bounces",
        needs: &["address", "code", "error"],
        lacks: &EMAIL_COLUMNS,
        read: vendors::mailgun_bounces,
    },
    Layout {
        name: "Mailgun unsubscribes",
        needs: &["address", "tags"],
        lacks: &EMAIL_COLUMNS,
        read: vendors::mailgun_unsubscribes,
    },
    Layout {
        name: "Mailgun unsubscribes",
        needs: &["address", "tag"],
        lacks: &EMAIL_COLUMNS,
        read: vendors::mailgun_unsubscribes,
    },
    Layout {
        name: "addresses",
        needs: &["address"],
        // Where there is a column for e-mail, this is where somebody lives.
        lacks: &EMAIL_COLUMNS,
        read: vendors::own,
    },
    Layout {
        name: "hashes",
        needs: &["hash"],
        lacks: &EMAIL_COLUMNS,
        read: vendors::own,
    },
];

const ANY: Layout = Layout {
    name: "e-mail addresses or phone numbers",
    needs: &[],
    lacks: &[],
    read: vendors::any,
};

pub const EMAIL_COLUMNS: [&str; 10] = [
    "emailaddress",
    "email",
    "mail",
    "emailadresse",
    "mailadresse",
    "recipient",
    "recipientemail",
    "recipientaddress",
    "subscriberemail",
    "contactemail",
];

pub const PHONE_COLUMNS: [&str; 20] = [
    "phone",
    "phonenumber",
    "mobile",
    "mobilenumber",
    "mobilephone",
    "mobilephonenumber",
    "msisdn",
    "cell",
    "cellphone",
    "cellnumber",
    "sms",
    "smsnumber",
    "telephone",
    "telephonenumber",
    "contactnumber",
    "number",
    "telefon",
    "telefonnummer",
    "handynummer",
    "mobilnummer",
];

/// Why a first line is not understood.
#[derive(Debug)]
pub enum Unknown {
    /// These are people who still want to hear from the brand.
    Subscribers,
    TooManyColumns,
    /// No column for an address. The names that are shown are those that are surely names.
    NoAddress {
        columns: usize,
        names: Vec<String>,
    },
}

impl Columns {
    pub fn of(names: &StringRecord) -> Self {
        let mut at = HashMap::new();
        for (place, name) in names.iter().enumerate().take(MOST_COLUMNS + 1) {
            at.entry(plain(name)).or_insert(place);
        }
        Self {
            at,
            count: names.len(),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.at.contains_key(name)
    }

    fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.has(name))
    }

    /// The layout that these are the columns of.
    pub fn layout(&self, names: &StringRecord) -> Result<&'static Layout, Unknown> {
        if self.count > MOST_COLUMNS {
            return Err(Unknown::TooManyColumns);
        }
        let fits = |layout: &&Layout| {
            layout.needs.iter().all(|name| self.has(name)) && !self.has_any(layout.lacks)
        };
        if let Some(layout) = LAYOUTS.iter().find(fits) {
            return Ok(layout);
        }
        if self.has("emailaddress") && self.has_any(&["memberrating", "optintime", "confirmtime"]) {
            return Err(Unknown::Subscribers);
        }
        if self.has_any(&EMAIL_COLUMNS) || self.has_any(&PHONE_COLUMNS) {
            return Ok(&ANY);
        }
        let shown = |name: &str| name.len() <= 40 && is_heading(&plain(name));
        let names = names.iter().map(str::trim).filter(|name| shown(name));
        Err(Unknown::NoAddress {
            columns: self.count,
            names: names.take(20).map(str::to_owned).collect(),
        })
    }
}

/// Words that headings are made of. What is data must not be repeated, so a name is shown only if nothing else is in it.
const HEADINGS: [&str; 52] = [
    "account",
    "address",
    "at",
    "by",
    "campaign",
    "channel",
    "city",
    "code",
    "comment",
    "company",
    "contact",
    "country",
    "created",
    "customer",
    "date",
    "description",
    "email",
    "error",
    "event",
    "first",
    "from",
    "full",
    "group",
    "id",
    "language",
    "last",
    "list",
    "mail",
    "message",
    "mobile",
    "name",
    "note",
    "number",
    "opt",
    "out",
    "person",
    "phone",
    "reason",
    "sent",
    "source",
    "state",
    "status",
    "street",
    "subject",
    "tag",
    "time",
    "to",
    "type",
    "updated",
    "user",
    "zip",
    "s",
];

fn is_heading(name: &str) -> bool {
    let rests = HEADINGS.iter().filter_map(|word| name.strip_prefix(word));
    rests
        .into_iter()
        .any(|rest| rest.is_empty() || is_heading(rest))
}

impl<'r> Cells<'r> {
    pub fn new(columns: &'r Columns, fields: &'r StringRecord) -> Self {
        Self { columns, fields }
    }

    /// What stands in a column; `None` also for the ways to write "nothing".
    pub fn get(self, name: &str) -> Option<&'r str> {
        let field = self.fields.get(*self.columns.at.get(name)?)?;
        present(field)
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
