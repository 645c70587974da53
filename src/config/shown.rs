//! What an error may repeat of what somebody wrote: nothing that could be a password or a key.
//!
//! A secret ends up in the wrong setting by a slip: a line too few in `.env`, the private key for the public one, the password where
//! the name of its file belongs. So a value is repeated only if it is plainly something else.

use std::path::Path;

use super::keys;

/// Characters of a value that are ever repeated.
const MOST: usize = 40;

/// Letters of a word, or of a label of a host name. A key has more.
const LONGEST_WORD: usize = 12;

/// The value, if it is plainly a word or two, a number, or a host: `seventy`, `10.0.0.0/8`, `http://www.example.com`.
pub fn shown(text: &str) -> Option<&str> {
    let short = text.chars().count() <= MOST && other_setting(text).is_none();
    (short && (is_words(text) || is_number(text) || is_host(text))).then_some(text)
}

/// The path, if it is plainly one.
pub fn shown_path(path: &str) -> Option<&str> {
    let ending = Path::new(path).extension();
    let is_toml = ending.is_some_and(|ending| ending.eq_ignore_ascii_case("toml"));
    let looks_like_one = path.starts_with(['/', '.', '~']) || is_toml;
    let fits = path.chars().count() <= MOST && !path.chars().any(char::is_control);
    // Base64 has slashes, too, and may begin with one; but its letters are of both cases.
    let is_base64 = path.len() >= 16
        && path.bytes().any(|b| b.is_ascii_lowercase())
        && path.bytes().any(|b| b.is_ascii_uppercase());
    let is_path = looks_like_one && fits && !is_base64;
    (is_path && !path.split('/').any(looks_like_key)).then_some(path)
}

/// The name of something that is no setting, if it is plainly a name.
pub fn shown_name(name: &str) -> Option<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_name = name.chars().all(fits) && name.chars().count() <= MOST;
    let is_variable = name.chars().all(|c| !c.is_ascii_lowercase()) && name.contains('_');
    (is_name && (is_variable || !looks_like_key(name))).then_some(name)
}

/// The setting whose name and `=` stand within a value: a line end is missing, or is not one.
pub fn other_setting(text: &str) -> Option<&'static str> {
    let is_within = |name: &str| {
        text.match_indices(name).any(|(at, _)| {
            let after = text[at + name.len()..]
                .trim_start_matches("_FILE")
                .trim_start();
            after.starts_with('=') && may_begin_after(&text[..at])
        })
    };
    let mut names = keys::all().map(|key| key.env);
    names.find(|name| is_within(name))
}

/// Whether a setting's name may begin behind this: not in the middle of a word. The letter of a line end that is written out as
/// `\n` or `\r` is none of a word; in an address, `?` begins its own names.
fn may_begin_after(before: &str) -> bool {
    if ["\\n", "\\r", "\\t"]
        .iter()
        .any(|sign| before.ends_with(sign))
    {
        return true;
    }
    let is_address = before.starts_with("http://") || before.starts_with("https://");
    before
        .chars()
        .next_back()
        .is_none_or(|c| !c.is_alphanumeric() && c != '_' && !(is_address && c == '?'))
}

/// Whether it holds a private key in PEM.
pub fn holds_private_key(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
}

fn is_words(text: &str) -> bool {
    let is_word = |word: &str| {
        let rest = || word.chars().skip(1);
        (1..=LONGEST_WORD).contains(&word.len())
            && word.bytes().all(|b| b.is_ascii_alphabetic())
            && (rest().all(|c| c.is_ascii_lowercase())
                || word.bytes().all(|b| b.is_ascii_uppercase()))
    };
    text.split(' ').count() <= 2 && text.split(' ').all(is_word)
}

fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    (1..16).contains(&digits)
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b" .,:/+-%".contains(&b))
}

/// A host name, perhaps with scheme and port; in small letters, and with an ending.
fn is_host(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let host = rest.unwrap_or(text);
    let host = host.strip_suffix('/').unwrap_or(host);
    let (host, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_label = |label: &str| {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=LONGEST_WORD).contains(&label.len()) && label.bytes().all(fits)
    };
    let top = host.rsplit_once('.').map(|(_, top)| top);
    let has_ending = top.is_some_and(|top| top.bytes().all(|b| b.is_ascii_lowercase()));
    has_ending && host.split('.').all(is_label) && port.parse::<u16>().is_ok()
}

/// Sixteen characters or more as keys have them: of base64 or hex, with a digit or both cases.
fn looks_like_key(text: &str) -> bool {
    let mut parts = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=_-".contains(c));
    parts.any(|part| {
        let has = |kind: fn(&u8) -> bool| part.as_bytes().iter().any(kind);
        let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
        part.len() >= 16 && (mixed || has(u8::is_ascii_digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_harmless_is_repeated() {
        for text in [
            "x",
            "seventy",
            "three thousand",
            "Germany",
            "SSL",
            "0",
            "-1",
            "70000",
            "10.0.0.0/33",
            "0049 555",
            "1.5",
            "smtp.example.com",
            "http://api.example.com",
            "https://www.example.com:8443/",
            "everyone",
        ] {
            assert_eq!(shown(text), Some(text));
        }
        for path in [
            "/run/secrets/smtp_password",
            "unread.toml",
            "./settings/unread.toml",
            "~/.env",
        ] {
            assert_eq!(shown_path(path), Some(path));
        }
        for name in [
            "UNREAD_RETENTION2_DAYS",
            "prot",
            "badge_require_token",
            "UNREAD_PUBLC_URL",
        ] {
            assert_eq!(shown_name(name), Some(name));
        }
    }

    #[test]
    fn what_could_be_a_secret_is_not() {
        for text in [
            "hunter2",
            "Tr0ub4dor&3",
            "abcd efgh ijkl mnop", // an app password of Gmail
            "abcdefghijklmnop",
            "0123456789abcdef0123456789abcdef", // Twilio's token
            "QzkTrfWqPaLm",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", // a JWT
            "postgres://unread:pw@db.example.com/unread",
            "https://user:pw@www.example.com",
            "https://hooks.example.com/T000/B000/XXXXXXXX",
            "https://www.example.com/?token=1",
            "me@example.com",
            "3000 SMTP_PASS=x",
            "-----BEGIN PRIVATE KEY-----",
            "12345678901234567890",
            "1\r2",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
        for path in [
            "hunter2",
            "/9j4AAQSkZJRgABAQAAAQABAAD",
            "/0aAa0/aAa+a0AAa0a/a0aAA",
            "c2VjcmV0c2VjcmV0c2VjcmV0",
            "./0123456789abcdef0123",
        ] {
            assert_eq!(shown_path(path), None, "{path}");
        }
        for name in [
            "0123456789abcdef0123456789abcdef",
            "aB3dE5fG7hJ9kL1mN",
            "two words",
            &"a".repeat(41),
        ] {
            assert_eq!(shown_name(name), None, "{name}");
        }
    }

    #[test]
    fn another_setting_s_name_is_found_where_a_line_begins() {
        for (text, name) in [
            ("12345678 SMTP_PASS=x", Some("SMTP_PASS")),
            ("12345678\rSMTP_PASS=x", Some("SMTP_PASS")),
            ("12345678,PORT = 3", Some("PORT")),
            ("SMTP_PASS_FILE=/x", Some("SMTP_PASS")),
            ("x\"LE_TOKEN=\"y\"", Some("LE_TOKEN")),
            ("Shop\\nSMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("Shop\\r\\nSMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("Shop|SMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("https://example.com&SMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("Shop<br>SMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("Shop?SMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("Shop\u{200b}SMTP_PASS=hunter2", Some("SMTP_PASS")),
            ("https://example.com/?PORT=1", None),
            ("MY_PORT=1", None),
            ("nPORT=1", None),
            ("SUPPORT=1", None),
            ("the PORT is 1", None),
        ] {
            assert_eq!(other_setting(text), name, "{text}");
        }
    }
}
