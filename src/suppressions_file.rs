//! Suppressions as CSV: lists of people who said no elsewhere come in, and the table goes out.
//!
//! Only text to values and back. Addresses are hashed as soon as they are read and are not quoted in a complaint about a line.
//! What goes out has hashes, no addresses, and no cell that a spreadsheet would run as a formula.

use chrono::{DateTime, Utc};

use crate::db::suppressions::{Row, Source};
use crate::domain::contact::{Address, Suppression};
use crate::domain::ids::{AccountId, Channel};
use crate::hashing::Hasher;

pub const HEADER: &str = "account,channel,hash,reason,source,created_at,expires_at\r\n";

/// Complaints told at once.
const MOST_PROBLEMS: usize = 20;

/// What a file does not say.
pub struct Defaults<'a> {
    pub account: &'a AccountId,
    /// Country of numbers without a country code.
    pub region: Option<&'a str>,
    pub reason: Suppression,
    pub now: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unreadable(pub Vec<String>);

/// Reads a file: either one address per line, or a first line that names the columns. `address`, or `hash` with `channel` (as
/// exported by an installation with the same key), must be there; `account`, `reason` and `expires_at` may be.
pub fn parse(text: &str, hasher: &Hasher, defaults: &Defaults<'_>) -> Result<Vec<Row>, Unreadable> {
    let mut records = records(text.trim_start_matches('\u{feff}'))
        .into_iter()
        .filter(|(_, fields)| fields.iter().any(|field| !field.trim().is_empty()))
        .peekable();
    let named = |fields: &[String]| {
        let lower: Vec<String> = fields
            .iter()
            .map(|f| f.trim().to_ascii_lowercase())
            .collect();
        lower
            .iter()
            .any(|f| f == "address" || f == "hash")
            .then_some(lower)
    };
    let columns = match records.peek().and_then(|(_, fields)| named(fields)) {
        Some(columns) => {
            records.next();
            columns
        }
        None => vec!["address".to_owned()],
    };
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for (line, fields) in records {
        let get = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            Some(fields.get(at)?.trim()).filter(|field| !field.is_empty())
        };
        match row(get, hasher, defaults) {
            Ok(row) => rows.push(row),
            Err(what) => problems.push(format!("line {line}: {what}")),
        }
    }
    if problems.is_empty() {
        return Ok(rows);
    }
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    problems.truncate(MOST_PROBLEMS);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    Err(Unreadable(problems))
}

fn row<'f>(
    get: impl Fn(&str) -> Option<&'f str>,
    hasher: &Hasher,
    defaults: &Defaults<'_>,
) -> Result<Row, &'static str> {
    let channel = get("channel")
        .map(|word| {
            word.parse::<Channel>()
                .map_err(|_| "the channel is neither email nor sms")
        })
        .transpose()?;
    let (channel, hash) = match (get("address"), get("hash")) {
        (Some(raw), _) => {
            let address = address(raw, defaults.region)
                .ok_or("not an e-mail address and not a phone number")?;
            if channel.is_some_and(|channel| channel != address.channel()) {
                return Err("the address is not one of its channel");
            }
            (address.channel(), hasher.address(&address))
        }
        (None, Some(hash)) => (
            channel.ok_or("a hash needs its channel")?,
            unhex(hash).ok_or("the hash is not 32 hexadecimal digits")?,
        ),
        (None, None) => return Err("neither address nor hash"),
    };
    let date = |name| {
        get(name)
            .map(|raw| {
                DateTime::parse_from_rfc3339(raw)
                    .map(|at| at.to_utc())
                    .map_err(|_| "a date is not like 2026-01-31T12:00:00Z")
            })
            .transpose()
    };
    let reason = get("reason")
        .map(|word| {
            Suppression::parse(word)
                .ok_or("the reason is not opted_out, bad_address, complaint or blocked")
        })
        .transpose()?
        .unwrap_or(defaults.reason);
    let created_at = date("created_at")?.unwrap_or(defaults.now);
    Ok(Row {
        account: get("account")
            .map(|raw| raw.parse().map_err(|_| "the account is not an account id"))
            .transpose()?
            .unwrap_or_else(|| defaults.account.clone()),
        channel,
        hash,
        reason,
        source: get("source")
            .and_then(Source::parse)
            .unwrap_or(Source::Import),
        created_at,
        expires_at: date("expires_at")?.or(reason.lasts().map(|span| created_at + span)),
    })
}

/// An address of either kind, as a person writes it.
pub fn address(raw: &str, region: Option<&str>) -> Option<Address> {
    // A spreadsheet's way of keeping "+1…" from being a formula.
    let raw = raw.trim().trim_start_matches('\'');
    if raw.contains('@') {
        Address::email(raw)
    } else {
        Address::phone(raw, region)
    }
}

/// One line of the export.
pub fn print(row: &Row) -> String {
    let date = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let cells = [
        row.account.as_str().to_owned(),
        row.channel.as_str().to_owned(),
        hex(&row.hash),
        row.reason.as_str().to_owned(),
        row.source.as_str().to_owned(),
        date(row.created_at),
        row.expires_at.map(date).unwrap_or_default(),
    ];
    let mut line = cells.map(|cell| cell_of(&cell)).join(",");
    line.push_str("\r\n");
    line
}

/// A cell that is text to every spreadsheet.
fn cell_of(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// A hash as people see it.
pub fn hex(hash: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

pub fn unhex(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Records of RFC 4180 with the line each begins on. Commas or semicolons separate, whichever the first line has.
fn records(text: &str) -> Vec<(usize, Vec<String>)> {
    let first = text.lines().next().unwrap_or_default();
    let separator = if first.contains(';') && !first.contains(',') {
        ';'
    } else {
        ','
    };
    let mut records = Vec::new();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut line, mut begun, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            '\n' => {
                line += 1;
                if quoted {
                    field.push(c);
                } else {
                    fields.push(std::mem::take(&mut field));
                    records.push((begun, std::mem::take(&mut fields)));
                    begun = line;
                }
            }
            c if c == separator && !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    fields.push(field);
    records.push((begun, fields));
    records
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
    }

    fn read(text: &str) -> Result<Vec<Row>, Unreadable> {
        let account = "12345678".parse().unwrap();
        let defaults = Defaults {
            account: &account,
            region: Some("US"),
            reason: Suppression::OptedOut,
            now: now(),
        };
        parse(text, &Hasher::new(b"key"), &defaults)
    }

    #[test]
    fn plain_addresses_are_hashed_whatever_their_spelling() {
        let rows = read("\u{feff}dana@Example.com\r\n\r\n(415) 555-2671\n'+14155552671\n").unwrap();
        assert_eq!(rows.len(), 3);
        let hasher = Hasher::new(b"key");
        assert_eq!(
            rows[0].hash,
            hasher.address(&Address::email("dana@example.com").unwrap())
        );
        assert_eq!(rows[1].hash, rows[2].hash);
        assert_eq!((rows[1].channel, rows[1].expires_at), (Channel::Sms, None));
    }

    #[test]
    fn named_columns_are_read_in_any_order_and_with_either_separator() {
        let rows = read("reason;address\nbad_address;\"dana@example.com\"\n").unwrap();
        assert_eq!(rows[0].reason, Suppression::BadAddress);
        assert!(
            rows[0].expires_at.is_some(),
            "a bad address does not stay bad for ever"
        );
    }

    #[test]
    fn what_was_exported_is_imported_as_it_was() {
        let row = Row {
            account: "12345678".parse().unwrap(),
            channel: Channel::Email,
            hash: *b"0123456789abcdef",
            reason: Suppression::Complaint,
            source: Source::UnsubscribeLink,
            created_at: now(),
            expires_at: Some(now()),
        };
        let text = format!("{HEADER}{}", print(&row));
        assert_eq!(read(&text).unwrap(), [row]);
    }

    #[test]
    fn a_bad_line_is_told_by_number_and_not_quoted() {
        let error = read("ok@example.com\nnot an address\n")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "line 2: not an e-mail address and not a phone number"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for cell in ["=1+1", "+1", "-1", "@x", "\tx", "\rx"] {
            assert!(
                cell_of(cell).trim_start_matches('"').starts_with('\''),
                "{cell:?}"
            );
        }
        assert_eq!(cell_of("a,\"b\""), "\"a,\"\"b\"\"\"");
    }

    proptest! {
        #[test]
        fn fuzz_suppressions(
            text in "(?s).{0,200}",
            rows in prop::collection::vec("(\"?[^,\n]{0,20}\"?,){0,7}\\PC{0,20}", 0..5),
        ) {
            let _ = read(&text);
            let _ = read(&format!("address,hash,channel\n{text}"));
            let _ = read(&format!("address,hash,channel,account,reason,source,created_at,expires_at\n{}", rows.join("\n")));
        }
    }
}
