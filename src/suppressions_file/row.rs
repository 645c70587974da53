//! A record of a list, and the suppressions it stands for.

use chrono::{DateTime, Utc};
use csv::StringRecord;

use super::address::{address, bare, doubt, not_a_number};
use super::layout::{Cells, OwnColumns, RowContent, present};
use super::{ListReader, ListedSuppression, MOST_IN_A_LINE, Skip, date, unhex};
use crate::db::suppressions::Source;
use crate::domain::contact::{Address, Suppression};
use crate::domain::ids::{AccountId, Channel};

const UNNAMED: &str = "not an e-mail address and not a phone number; without a first line that names the columns, each line has addresses only";

/// Why a record is no suppression.
#[derive(Debug)]
pub enum NoSuppression {
    Taken(Skip),
    Understood(&'static str),
}

/// What a record says.
pub(super) enum RowStatement {
    Suppressed(Vec<ListedSuppression>),
    /// This number wants to be written to, since then.
    TakenBack(([u8; 16], Channel), DateTime<Utc>),
}

impl ListReader {
    /// Whether a line within quotation marks would be a row: it has a row's number of fields, and an address where one belongs.
    pub(super) fn is_row(&self, line: &StringRecord) -> bool {
        let count = self
            .columns
            .as_ref()
            .map_or(1, |(columns, _)| columns.count);
        line.len() == count && self.judge(line).is_ok()
    }

    pub(super) fn judge(&self, fields: &StringRecord) -> Result<RowStatement, NoSuppression> {
        let Some((columns, layout)) = &self.columns else {
            return self.addresses(fields).map(RowStatement::Suppressed);
        };
        let surplus = fields.iter().skip(columns.count);
        if surplus.into_iter().any(|field| !field.trim().is_empty()) {
            return Err(NoSuppression::Understood(
                "more fields than the first line names columns; a field that holds the separator needs quotation marks",
            ));
        }
        let claim = (layout.read)(Cells::new(columns, fields)).map_err(NoSuppression::Taken)?;
        let entries = self.entries(&claim);
        if claim.takes_back {
            return self.taken_back(&claim, entries);
        }
        entries.map(RowStatement::Suppressed)
    }

    /// Whom a row takes back a no of, and when: one without a date, or from somebody who has no number, does not say enough.
    fn taken_back(
        &self,
        claim: &RowContent<'_>,
        from: Result<Vec<ListedSuppression>, NoSuppression>,
    ) -> Result<RowStatement, NoSuppression> {
        let from = from.ok().and_then(|entries| entries.into_iter().next());
        let at = claim.date.and_then(date::moment);
        let (Some(from), Some(at)) = (from, at) else {
            return Err(NoSuppression::Taken(Skip::NotAnOptOut));
        };
        let at = at.min(self.defaults.now);
        Ok(RowStatement::TakenBack((from.hash, from.channel), at))
    }

    /// A record of a list without columns: one address or several.
    fn addresses(&self, fields: &StringRecord) -> Result<Vec<ListedSuppression>, NoSuppression> {
        let cells: Vec<&str> = fields.iter().filter_map(present).collect();
        if cells.is_empty() {
            return Err(NoSuppression::Taken(Skip::NoAddress));
        }
        if cells.len() > MOST_IN_A_LINE {
            return Err(NoSuppression::Understood(
                "more than a thousand addresses; write each on a line of its own",
            ));
        }
        // Beside an address, digits may be anything: a date, an order.
        let is_plain =
            |cell: &str| cells.len() == 1 || cell.contains('@') || bare(cell).starts_with('+');
        let wrong = |cell| NoSuppression::Understood(self.doubt(cell).unwrap_or(UNNAMED));
        let entries = cells.iter().map(|cell| {
            let address = address(cell, self.region()).filter(|_| is_plain(cell));
            let key = self.key(&address.ok_or_else(|| wrong(cell))?);
            Ok(self.entry(key, self.defaults.reason, self.defaults.now))
        });
        entries.collect()
    }

    fn doubt(&self, raw: &str) -> Option<&'static str> {
        doubt(raw, self.region())
    }

    fn region(&self) -> Option<&str> {
        self.defaults.region.as_deref()
    }

    fn key(&self, address: &Address) -> (Channel, [u8; 16]) {
        self.moves.borrow_mut().extend(self.hasher.moves(address));
        (address.channel(), self.hasher.address(address))
    }

    fn entry(
        &self,
        (channel, hash): (Channel, [u8; 16]),
        reason: Suppression,
        created_at: DateTime<Utc>,
    ) -> ListedSuppression {
        let now = self.defaults.now;
        ListedSuppression {
            account: None,
            channel,
            hash,
            reason,
            source: Source::Import,
            created_at,
            // What a provider still lists is counted from now, however old it is.
            expires_at: reason.lasts().map(|span| now + span),
        }
    }

    fn entries(&self, claim: &RowContent<'_>) -> Result<Vec<ListedSuppression>, NoSuppression> {
        let now = self.defaults.now;
        let created_at = claim
            .date
            .and_then(date::moment)
            .map_or(now, |at| at.min(now));
        let reason = claim.reason.unwrap_or(self.defaults.reason);
        let mut keys = Vec::new();
        for raw in &claim.emails {
            let address = address(raw, None).filter(|address| address.channel() == Channel::Email);
            keys.push(
                self.key(&address.ok_or(NoSuppression::Understood("not an e-mail address"))?),
            );
        }
        for raw in &claim.phones {
            let address =
                address(raw, self.region()).filter(|address| address.channel() == Channel::Sms);
            let what = || self.doubt(raw).unwrap_or_else(|| not_a_number(raw));
            keys.push(self.key(&address.ok_or_else(|| NoSuppression::Understood(what()))?));
        }
        if let Some(raw) = claim.address {
            let address = address(raw, self.region());
            let what = || {
                let doubt = self.doubt(raw);
                doubt.unwrap_or("not an e-mail address and not a phone number")
            };
            keys.push(self.key(&address.ok_or_else(|| NoSuppression::Understood(what()))?));
        }
        if let Some(own) = &claim.own {
            return self
                .own_entry(own, keys.first().copied(), (reason, created_at))
                .map(|entry| vec![entry]);
        }
        if keys.is_empty() {
            return Err(NoSuppression::Taken(Skip::NoAddress));
        }
        Ok(keys
            .into_iter()
            .map(|key| self.entry(key, reason, created_at))
            .collect())
    }

    /// A row of a list in our own layout.
    fn own_entry(
        &self,
        own: &OwnColumns<'_>,
        key: Option<(Channel, [u8; 16])>,
        (reason, created_at): (Suppression, DateTime<Utc>),
    ) -> Result<ListedSuppression, NoSuppression> {
        let wrong = NoSuppression::Understood;
        let channel = own.channel.map(|word| {
            let word = word.to_lowercase();
            word.parse::<Channel>()
                .map_err(|_| wrong("the channel is neither email nor sms"))
        });
        let channel = channel.transpose()?;
        let key = match (key, own.hash) {
            (Some((of_address, _)), _) if channel.is_some_and(|channel| channel != of_address) => {
                return Err(wrong("the address is not one of its channel"));
            }
            (Some(key), _) => key,
            (None, Some(hash)) => (
                channel.ok_or(wrong("a hash needs its channel"))?,
                unhex(hash).ok_or(wrong("the hash is not 32 hexadecimal digits"))?,
            ),
            (None, None) => return Err(NoSuppression::Taken(Skip::NoAddress)),
        };
        let reason = match own.reason {
            Some(word) => Suppression::parse(&word.to_lowercase()).ok_or(wrong(
                "the reason is not opted_out, bad_address, complaint or blocked",
            ))?,
            None => reason,
        };
        let mut entry = self.entry(key, reason, created_at);
        if let Some(raw) = own.account {
            let account: AccountId = raw
                .parse()
                .map_err(|_| wrong("the account is not an account id"))?;
            if !self.defaults.accounts.contains(&account) {
                return Err(wrong("the account is not configured here"));
            }
            entry.account = Some(account).filter(|account| *account != self.defaults.account);
        }
        if let Some(raw) = own.expires_at {
            let at =
                date::moment(raw).ok_or(wrong("expires_at is not like 2026-01-31T12:00:00Z"))?;
            if at <= self.defaults.now {
                return Err(NoSuppression::Taken(Skip::Expired));
            }
            entry.expires_at = Some(at);
        }
        entry.source = own.source.and_then(Source::parse).unwrap_or(Source::Import);
        Ok(entry)
    }
}
