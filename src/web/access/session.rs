//! The cookie of a session, and what is kept of it for the length of one request.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::{Access, csrf};
use crate::hashing;

/// A session that is good.
#[derive(Clone)]
pub struct BrowserSession {
    pub token_hash: [u8; 32],
    /// What this session's forms must carry, as the page of this request carries it.
    pub csrf: String,
    word: String,
    /// What the next page is to tell.
    pub flash: Option<Value>,
}

/// Shows nothing with which somebody could act for the person.
impl fmt::Debug for BrowserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

impl BrowserSession {
    pub fn new(token: &str, flash: Option<Value>) -> Self {
        let word = csrf::token_of(token);
        Self {
            token_hash: hashing::digest(token),
            csrf: csrf::masked(&word),
            word,
            flash,
        }
    }

    /// Whether a form or a script carries what a page of this session carried.
    pub fn recognises(&self, given: &str) -> bool {
        csrf::fits_masked(&self.word, given)
    }
}

/// With the prefix, browsers take the cookie from this host alone, over https alone.
fn name(access: &Access) -> &'static str {
    if access.secure {
        "__Host-unread"
    } else {
        "unread"
    }
}

/// The session's token, if the browser has sent one.
pub fn token<'h>(access: &Access, headers: &'h HeaderMap) -> Option<&'h str> {
    cookie(headers, name(access))
}

/// The value of a cookie that looks like a token of ours.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(own, _)| *own == name)
        .map(|(_, value)| value)
        .filter(|value| value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// `Set-Cookie` for a new session. Lax, so that a link in a mail leads to the page and not to the login; no form of another site
/// carries it.
pub fn set(access: &Access, token: &str) -> HeaderValue {
    header_of(access, name(access), token, None)
}

/// `Set-Cookie` that ends the session in the browser.
pub fn unset(access: &Access) -> HeaderValue {
    header_of(access, name(access), "", Some(0))
}

pub fn header_of(access: &Access, name: &str, value: &str, max_age: Option<u32>) -> HeaderValue {
    let secure = if access.secure { "; Secure" } else { "" };
    let age = max_age.map_or_else(String::new, |age| format!("; Max-Age={age}"));
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}");
    HeaderValue::from_str(&cookie).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookie_is_found_among_others_and_nonsense_is_not() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=b; unread=abc123"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("unreadx=1"));
        assert_eq!(cookie(&headers, "unread"), Some("abc123"));
        assert_eq!(cookie(&headers, "__Host-unread"), None);
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("unread=<script>"));
        assert_eq!(cookie(&headers, "unread"), None);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_cookies(line in "((unread|__Host-unread|a)?=?(\\PC{0,12}|[0-9A-Za-z]{0,70});? ?){0,6}") {
            let mut headers = HeaderMap::new();
            if let Ok(line) = HeaderValue::from_bytes(line.as_bytes()) {
                headers.append(header::COOKIE, line);
            }
            if let Some(value) = cookie(&headers, "unread") {
                let bytes = value.as_bytes();
                proptest::prop_assert!(bytes.len() <= 64 && bytes.iter().all(u8::is_ascii_alphanumeric));
            }
        }
    }

    #[test]
    fn a_session_does_not_show_itself() {
        assert_eq!(format!("{:?}", BrowserSession::new("abc", None)), "Session");
    }
}
