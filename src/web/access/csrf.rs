//! Whether a change was asked for on our own page: by what the browser says of the request, and by a word that only our pages know.
//!
//! Both, since each has its gap: old browsers and plain http send no `Sec-Fetch-Site`, and a word can leak with a page.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use super::Access;
use crate::hashing;

/// The word of a session's forms. Made from the cookie, which no page and no script can read, so it need not be stored.
pub fn token_of(session: &str) -> String {
    URL_SAFE_NO_PAD.encode(hashing::digest(&format!("csrf {session}")))
}

/// The word as a page carries it: another text each time, so that nobody can guess it piece by piece from how well pages compress.
pub fn masked(word: &str) -> String {
    let mask: Vec<u8> = word.bytes().map(|_| rand::random()).collect();
    let hidden = word.bytes().zip(&mask).map(|(byte, mask)| byte ^ mask);
    let hidden: Vec<u8> = hidden.collect();
    URL_SAFE_NO_PAD.encode([mask, hidden].concat())
}

/// Whether what came from a page is the word of its session, masked.
pub fn fits_masked(own: &str, given: &str) -> bool {
    let both = URL_SAFE_NO_PAD.decode(given).unwrap_or_default();
    let (mask, hidden) = both.split_at(both.len() / 2);
    let word: Vec<u8> = hidden
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    own.as_bytes().ct_eq(&word).into()
}

pub fn fits(own: &str, given: &str) -> bool {
    own.as_bytes().ct_eq(given.as_bytes()).into()
}

/// Whether the browser says that a page of ours asked. Who says nothing is no browser of today, and is not refused here.
pub fn is_from_here(access: &Access, headers: &HeaderMap) -> bool {
    let text = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or("null"))
    };
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else {
        return true;
    };
    let host = text(header::HOST.as_str());
    let own = origin.split_once("://").map(|(_, host)| host);
    origin == access.origin || (own.is_some() && own == host)
}

/// Whether a link was followed on this page of ours, and nowhere else: not in a mail, nor typed or pasted (`none`). Where the browser does
/// not say so itself (plain http), the page before does.
pub fn was_followed_on(access: &Access, headers: &HeaderMap, page: &str) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site == "same-origin",
        None => page_before(access, headers).as_deref() == Some(page),
    }
}

/// Path and query of the page of ours from which something was asked, if the browser tells it.
pub fn page_before(access: &Access, headers: &HeaderMap) -> Option<String> {
    let before = headers.get(header::REFERER)?.to_str().ok()?;
    let before: url::Url = before.parse().ok()?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let origin = before.origin().ascii_serialization();
    let own = origin.split_once("://").map(|(_, host)| host);
    (origin == access.origin || (own.is_some() && own == host))
        .then(|| before[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use std::collections::BTreeMap;

    use super::*;

    fn asked(from: &[(&'static str, &'static str)]) -> bool {
        let sources = config_of(&[]);
        let access = Access::new(&sources.web, None);
        let mut headers = HeaderMap::new();
        for (name, value) in from {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        is_from_here(&access, &headers)
    }

    fn config_of(settings: &[(&str, &str)]) -> crate::config::Config {
        let mut environment: BTreeMap<String, String> = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        environment.insert(
            "UNREAD_PUBLIC_URL".to_owned(),
            "https://unread.example.com".to_owned(),
        );
        let sources = crate::config::Sources {
            environment,
            file: None,
            read_secret: |path| std::fs::read_to_string(path),
        };
        crate::config::Config::read(&sources, crate::config::ProcessRole::Sandbox).unwrap()
    }

    #[test]
    fn only_pages_of_ours_may_ask_for_changes() {
        for own in [
            &[("sec-fetch-site", "same-origin")][..],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://unread.example.com")],
            &[
                ("origin", "http://10.0.0.7:3000"),
                ("host", "10.0.0.7:3000"),
            ],
            &[],
        ] {
            assert!(asked(own), "{own:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://unread.example.com"),
            ],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[
                ("origin", "https://evil.example"),
                ("host", "unread.example.com"),
            ],
        ] {
            assert!(!asked(foreign), "{foreign:?}");
        }
    }

    #[test]
    fn a_link_is_followed_on_its_own_page_and_nowhere_else() {
        let sources = config_of(&[]);
        let access = Access::new(&sources.web, None);
        for (from, followed) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[], false),
            (&[("referer", "https://unread.example.com/setup/a")], true),
            (&[("referer", "https://unread.example.com/setup/b")], false),
            (&[("referer", "https://evil.example/setup/a")], false),
            (
                &[
                    ("referer", "https://unread.example.com/setup/a"),
                    ("sec-fetch-site", "none"),
                ],
                false,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in from {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            let found = was_followed_on(&access, &headers, "/setup/a");
            assert_eq!(found, followed, "{from:?}");
        }
    }

    #[test]
    fn the_word_of_a_form_belongs_to_its_session() {
        assert!(fits(&token_of("a"), &token_of("a")));
        assert!(!fits(&token_of("a"), &token_of("b")));
        assert!(!fits(&token_of("a"), ""));
    }

    #[test]
    fn a_page_s_word_is_another_text_each_time_and_fits_its_session_alone() {
        let word = token_of("a");
        let (one, other) = (masked(&word), masked(&word));
        assert_ne!(one, other);
        assert!(fits_masked(&word, &one) && fits_masked(&word, &other));
        assert!(!fits_masked(&token_of("b"), &one));
        for wrong in ["", "A", "AA", "not base64!", &word, &one[1..]] {
            assert!(!fits_masked(&word, wrong), "{wrong}");
        }
    }

    #[test]
    fn the_way_back_is_a_page_of_ours() {
        let access = Access::new(&config_of(&[]).web, None);
        let before = |page: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("referer", HeaderValue::from_static(page));
            headers.insert("host", HeaderValue::from_static("10.0.0.7:3000"));
            page_before(&access, &headers)
        };
        for (page, path) in [
            (
                "https://unread.example.com/rules/7?a=b#c",
                Some("/rules/7?a=b"),
            ),
            ("http://10.0.0.7:3000/live", Some("/live")),
            ("https://unread.example.com.evil.example/rules", None),
            ("https://evil.example/rules", None),
            ("about:blank", None),
            ("nonsense", None),
        ] {
            assert_eq!(before(page).as_deref(), path, "{page}");
        }
    }
}
