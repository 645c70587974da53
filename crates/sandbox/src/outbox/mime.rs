//! Reads an e-mail as a mail program would: headers, encoded words, nested parts, quoted-printable and base64.
//!
//! Written by hand so that the sandbox does not check the service's mails with the library that built them. Whatever cannot
//! be decoded is shown as it is; nothing is refused.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// How deep multiparts may nest; deeper ones are ignored.
const MAX_DEPTH: usize = 8;

/// Mail programs accept base64 with and without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a reader of the mail gets to see.
#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    pub headers: Vec<(String, String)>,
    /// The first text/plain part.
    pub text: Option<String>,
    /// The first text/html part.
    pub html: Option<String>,
}

/// Without `parts` only the headers are read.
pub fn parse(raw: &[u8], parts: bool) -> Parsed {
    let (head, body) = split(raw);
    let fields = fields(head);
    let mut parsed = Parsed::default();
    if parts {
        read_part(&fields, body, MAX_DEPTH, &mut parsed);
    }
    parsed.headers = fields
        .into_iter()
        .map(|(name, value)| (name, decode_words(&value)))
        .collect();
    parsed
}

/// Header and body, parted at the first empty line.
fn split(raw: &[u8]) -> (&[u8], &[u8]) {
    if let Some(body) = raw.strip_prefix(b"\r\n") {
        return (b"", body);
    }
    match find(raw, b"\r\n\r\n") {
        Some(at) => (&raw[..at], &raw[at + 4..]),
        None => (raw, b""),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

/// Unfolded header fields, values not yet decoded.
fn fields(head: &[u8]) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in String::from_utf8_lossy(head).split("\r\n") {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim_end().to_owned(), value.trim_start().to_owned()));
        }
    }
    for (_, value) in &mut fields {
        value.truncate(value.trim_end().len());
    }
    fields
}

fn read_part(fields: &[(String, String)], body: &[u8], depth: usize, into: &mut Parsed) {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value.as_str())
    };
    let content_type = field("Content-Type");
    let kind = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if kind.starts_with("multipart/") {
        if let (Some(boundary), true) = (parameter(content_type, "boundary"), depth > 0) {
            for part in parts(body, &boundary) {
                let (head, body) = split(part);
                read_part(&self::fields(head), body, depth - 1, into);
            }
        }
        return;
    }
    let slot = match kind.as_str() {
        "text/plain" | "" => &mut into.text,
        "text/html" => &mut into.html,
        _ => return,
    };
    if slot.is_none() {
        let octets = match field("Content-Transfer-Encoding")
            .to_ascii_lowercase()
            .as_str()
        {
            "quoted-printable" => quoted_printable(body),
            "base64" => base64_lines(body),
            _ => body.to_vec(),
        };
        *slot = Some(characters(
            &octets,
            &parameter(content_type, "charset").unwrap_or_default(),
        ));
    }
}

/// A parameter of a structured field such as `text/plain; charset="utf-8"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some(at) = rest.find(';') {
        rest = rest[at + 1..].trim_start();
        let (key, after) = rest.split_once('=')?;
        let found = if let Some(quoted) = after.strip_prefix('"') {
            let end = quoted.find('"')?;
            rest = &quoted[end + 1..];
            &quoted[..end]
        } else {
            let end = after.find(';').unwrap_or(after.len());
            rest = &after[end..];
            after[..end].trim()
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(found.to_owned());
        }
    }
    None
}

/// The parts between boundary lines; preamble and epilogue are left out.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    let mut at = 0;
    while at < body.len() {
        let end = find(&body[at..], b"\r\n").map_or(body.len(), |length| at + length + 2);
        if let Some(rest) = body[at..end].strip_prefix(delimiter.as_slice()) {
            if let Some(start) = open.take() {
                // The line break before a boundary belongs to the boundary.
                parts.push(&body[start..at.saturating_sub(2).max(start)]);
            }
            if rest.starts_with(b"--") {
                return parts;
            }
            open = Some(end);
        }
        at = end;
    }
    if let Some(start) = open {
        parts.push(&body[start.min(body.len())..]);
    }
    parts
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'=' {
            out.push(first);
        } else if let Some(after) = tail
            .strip_prefix(b"\r\n")
            .or_else(|| tail.strip_prefix(b"\n"))
        {
            rest = after; // a soft line break
        } else if let Some(octet) = hex_octet(tail) {
            out.push(octet);
            rest = &tail[2..];
        } else {
            out.push(first);
        }
    }
    out
}

fn hex_octet(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn base64_lines(body: &[u8]) -> Vec<u8> {
    let compact: Vec<u8> = body
        .iter()
        .copied()
        .filter(|octet| !octet.is_ascii_whitespace())
        .collect();
    LENIENT.decode(&compact).unwrap_or_else(|_| body.to_vec())
}

fn characters(octets: &[u8], charset: &str) -> String {
    if charset.eq_ignore_ascii_case("iso-8859-1") {
        return octets.iter().map(|octet| char::from(*octet)).collect();
    }
    String::from_utf8_lossy(octets).into_owned()
}

/// Decodes `=?utf-8?q?…?=`; white space between two encoded words vanishes (RFC 2047).
fn decode_words(value: &str) -> String {
    let mut out = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let (before, word) = rest.split_at(start);
        let Some((text, tail)) = decode_word(word) else {
            out.push_str(before);
            out.push_str("=?");
            rest = &word[2..];
            after_word = false;
            continue;
        };
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        out.push_str(&text);
        rest = tail;
        after_word = true;
    }
    out + rest
}

/// The encoded word that `word` starts with, and what follows it.
fn decode_word(word: &str) -> Option<(String, &str)> {
    let mut fields = word.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (fields.next()?, fields.next()?, fields.next()?);
    let end = rest.find("?=")?;
    let (text, tail) = (&rest[..end], &rest[end + 2..]);
    let octets = match encoding {
        "q" | "Q" => quoted_printable(text.replace('_', " ").as_bytes()),
        "b" | "B" => LENIENT.decode(text).ok()?,
        _ => return None,
    };
    Some((characters(&octets, charset), tail))
}
