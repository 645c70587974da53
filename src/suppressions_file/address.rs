//! An address as it stands in a cell: what spreadsheets, mail programs and chat services put around it.

use crate::domain::contact::{Address, is_of_two_countries};

/// Why nobody knows whose number this is, if that is what is wrong with it.
pub fn doubt(raw: &str, region: Option<&str>) -> Option<&'static str> {
    is_of_two_countries(bare(raw), region).then_some(
        "a number of two countries: a mobile abroad if its plus is missing, one of the list's own country if its first zero is; write the plus or the zero",
    )
}

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
    without_fraction(rest.unwrap_or(raw))
}

/// A number that a program took for a quantity: `4915123456789.0`.
fn without_fraction(raw: &str) -> &str {
    let digits = [".0", ".00", ",0", ",00"]
        .iter()
        .find_map(|fraction| raw.strip_suffix(fraction));
    let is_long = |digits: &&str| digits.len() > 6 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.filter(is_long).unwrap_or(raw)
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
