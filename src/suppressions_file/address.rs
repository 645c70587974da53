//! An address as it stands in a cell: what spreadsheets, mail programs and chat services put around it.

use crate::domain::contact::Address;

/// What is wrong with a phone number.
pub fn not_a_number(raw: &str) -> &'static str {
    let (digits, letter) = (
        raw.chars().any(|c| c.is_ascii_digit()),
        raw.contains(['E', 'e']),
    );
    if digits
        && letter
        && raw
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, 'E' | 'e' | '+' | '.' | ','))
    {
        "a spreadsheet has shortened the phone number (4.9E+11); export the column as text"
    } else {
        "not a phone number"
    }
}

/// A cell without what spreadsheets and mail programs put around an address.
pub fn bare(raw: &str) -> &str {
    // A spreadsheet's ways of keeping "+1…" from being a formula: '+1… and ="+1…".
    let raw = raw
        .trim()
        .trim_start_matches(['\'', '='])
        .trim_matches(['"', ' ']);
    // "Dana <dana@example.com>"
    let raw = match raw.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((_, inner)) => inner.trim(),
        None => raw,
    };
    let schemes = ["mailto:", "tel:", "sms:", "whatsapp:", "rcs:"];
    let rest = schemes.iter().find_map(|scheme| {
        let (head, rest) = raw.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    rest.unwrap_or(raw)
}

/// An address of either kind, as a person writes it.
pub fn address(raw: &str, region: Option<&str>) -> Option<Address> {
    let raw = bare(raw);
    if raw.contains('@') {
        Address::email(raw)
    } else {
        Address::phone(raw, region)
    }
}
