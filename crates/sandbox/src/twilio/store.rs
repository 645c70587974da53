//! Twilio's own copy of the messages: what its list and fetch show, and what redacting and deleting change.
//!
//! Apart from the outbox on purpose: the witness must still know a text that the client had redacted.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// Messages kept; the oldest go first.
const CAPACITY: usize = 200_000;

#[derive(Clone, Debug)]
pub struct Record {
    pub sid: String,
    pub to: String,
    pub from: Option<String>,
    pub messaging_service: Option<String>,
    pub body: String,
    pub segments: usize,
    pub direction: &'static str,
    pub status: String,
    pub error_code: Option<u32>,
    pub created: DateTime<Utc>,
    pub updated: DateTime<Utc>,
    pub sent: Option<DateTime<Utc>>,
    /// The list does not show it before this time.
    pub listed_from: DateTime<Utc>,
}

impl Record {
    /// The Message resource.
    pub fn to_json(&self, account_sid: &str) -> Value {
        let date = |at: DateTime<Utc>| at.format("%a, %d %b %Y %H:%M:%S +0000").to_string();
        let uri = format!("/2010-04-01/Accounts/{account_sid}/Messages/{}", self.sid);
        // A Messaging Service has not chosen a sender yet: nothing is counted.
        let segments = if self.from.is_some() {
            self.segments
        } else {
            0
        };
        let billed = matches!(self.status.as_str(), "delivered" | "undelivered");
        json!({
            "account_sid": account_sid,
            "api_version": "2010-04-01",
            "body": self.body,
            "date_created": date(self.created),
            "date_sent": self.sent.map(date),
            "date_updated": date(self.updated),
            "direction": self.direction,
            "error_code": self.error_code,
            "error_message": self.error_code.map(error_message),
            "from": self.from,
            "messaging_service_sid": self.messaging_service,
            "num_media": "0",
            "num_segments": segments.to_string(),
            "price": billed.then(|| price(segments)),
            "price_unit": "USD",
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": { "media": format!("{uri}/Media.json") },
            "to": self.to,
            "uri": format!("{uri}.json"),
        })
    }
}

/// 0.0083 USD a segment, in Twilio's five places.
fn price(segments: usize) -> String {
    let price = 830 * segments;
    format!("-{}.{:05}", price / 100_000, price % 100_000)
}

fn error_message(code: u32) -> &'static str {
    match code {
        30003 => "Unreachable destination handset",
        30004 => "Message blocked",
        30005 => "Unknown destination handset",
        30006 => "Landline or unreachable carrier",
        30007 => "Message filtered",
        30008 => "Unknown error",
        30034 => "Message from an Unregistered Number",
        30036 => "Validity Period Expired",
        _ => "Message delivery failed",
    }
}

/// What a list request asks for.
#[derive(Debug, Default)]
pub struct Filter {
    pub to: Option<String>,
    pub from: Option<String>,
    /// Comparison with `date_sent` (`'='`, `'<'` or `'>'`, both inclusive) and its day, or instant, as text.
    pub date_sent: Vec<(char, String)>,
}

impl Filter {
    fn admits(&self, record: &Record) -> bool {
        self.to.as_ref().is_none_or(|to| *to == record.to)
            && self
                .from
                .as_ref()
                .is_none_or(|from| Some(from) == record.from.as_ref())
            && self.date_sent.iter().all(|(comparison, wanted)| {
                // A message not sent yet has no date and is never found by date.
                let Some(sent) = record.sent else {
                    return false;
                };
                let sent = sent.format("%Y-%m-%dT%H:%M:%SZ").to_string();
                let sent = sent.get(..wanted.len()).unwrap_or(&sent);
                match comparison {
                    '<' => sent <= wanted.as_str(),
                    '>' => sent >= wanted.as_str(),
                    _ => sent == wanted,
                }
            })
    }
}

#[derive(Default)]
pub struct Store {
    /// The last digits of the account's own name, so that no two accounts have a message of one name.
    account: u32,
    /// By creation.
    records: BTreeMap<u64, Record>,
    places: HashMap<String, u64>,
    /// Places by number written to: reconciliation asks for this, however full the store is.
    by_to: HashMap<String, Vec<u64>>,
    next: u64,
    /// Recipients who said STOP, with the sender or Messaging Service they said it to.
    opted_out: HashSet<(String, String)>,
}

impl Store {
    pub fn of(account_sid: &str) -> Self {
        let digits = account_sid.get(account_sid.len().saturating_sub(8)..);
        let account = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        Self {
            account: account.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// A sid nobody has.
    pub fn next_sid(&mut self) -> String {
        self.next += 1;
        format!("SM{:08x}{:024x}", self.account, self.next)
    }

    pub fn insert(&mut self, record: Record) {
        let place = self.next;
        self.places.insert(record.sid.clone(), place);
        self.by_to.entry(record.to.clone()).or_default().push(place);
        self.records.insert(place, record);
        if self.records.len() > CAPACITY
            && let Some((place, old)) = self.records.pop_first()
        {
            self.unlist(place, &old);
        }
    }

    pub fn get(&self, sid: &str) -> Option<&Record> {
        self.records.get(self.places.get(sid)?)
    }

    pub fn get_mut(&mut self, sid: &str) -> Option<&mut Record> {
        self.records.get_mut(self.places.get(sid)?)
    }

    pub fn remove(&mut self, sid: &str) -> bool {
        let Some(place) = self.places.get(sid).copied() else {
            return false;
        };
        if let Some(old) = self.records.remove(&place) {
            self.unlist(place, &old);
        }
        true
    }

    fn unlist(&mut self, place: u64, old: &Record) {
        self.places.remove(&old.sid);
        if let Some(places) = self.by_to.get_mut(&old.to) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.by_to.remove(&old.to);
            }
        }
    }

    /// Messages listed at `now`, newest first: those before the message `before`, or after skipping `skip`. One more than
    /// `size` tells that there is another page.
    pub fn list(
        &self,
        filter: &Filter,
        before: Option<&str>,
        skip: usize,
        size: usize,
        now: DateTime<Utc>,
    ) -> Vec<&Record> {
        let end = before.map_or(u64::MAX, |sid| self.places.get(sid).copied().unwrap_or(0));
        let shown = |record: &&Record| record.listed_from <= now && filter.admits(record);
        if let Some(to) = &filter.to {
            let places = self
                .by_to
                .get(to)
                .map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .rev();
            let records = places
                .filter(|place| **place < end)
                .filter_map(|place| self.records.get(place));
            return records.filter(shown).skip(skip).take(size + 1).collect();
        }
        self.records
            .range(..end)
            .rev()
            .map(|(_, record)| record)
            .filter(shown)
            .skip(skip)
            .take(size + 1)
            .collect()
    }

    /// The bodies of texts from a person since `since`, oldest first.
    pub fn received(&self, from: &str, since: DateTime<Utc>) -> Vec<String> {
        let newest_first = self
            .records
            .values()
            .rev()
            .take_while(|record| record.created >= since);
        let own = newest_first
            .filter(|record| record.direction == "inbound" && record.from.as_deref() == Some(from));
        let mut bodies: Vec<String> = own.map(|record| record.body.clone()).collect();
        bodies.reverse();
        bodies
    }

    pub fn opt_out(&mut self, recipient: &str, sender: &str) {
        self.opted_out
            .insert((recipient.to_owned(), sender.to_owned()));
    }

    pub fn opt_in(&mut self, recipient: &str, sender: &str) {
        self.opted_out
            .remove(&(recipient.to_owned(), sender.to_owned()));
    }

    pub fn has_opted_out(&self, recipient: &str, sender: &str) -> bool {
        self.opted_out
            .contains(&(recipient.to_owned(), sender.to_owned()))
    }
}
