//! The table as CSV: hashes, no addresses, and no cell that a spreadsheet would run as a formula.

use chrono::{DateTime, Utc};

use crate::db::suppressions::SuppressionRow;

pub const HEADER: &str = "account,channel,hash,reason,source,created_at,expires_at\r\n";

/// One line of the export.
pub fn print(row: &SuppressionRow) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
