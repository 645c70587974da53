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
        crate::config::Config::read(&sources, crate::config::Role::Sandbox).unwrap()
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
    fn the_word_of_a_form_belongs_to_its_session() {
        assert!(fits(&token_of("a"), &token_of("a")));
        assert!(!fits(&token_of("a"), &token_of("b")));
        assert!(!fits(&token_of("a"), ""));
    }
}
