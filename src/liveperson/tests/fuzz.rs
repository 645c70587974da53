//! Hostile bytes at every place where LivePerson's answers are read: an error is fine, a panic is not.

use chrono::DateTime;
use proptest::prelude::*;

use super::super::csds::{self, Service};
use super::super::http::LivePersonResponse;
use super::super::{answer, token};
use super::{BY_ID_V1, BY_IDS, DOMAIN_ALL, SEARCH_PAGE, SKILLS};

const TOKEN: &str = r#"{"access_token":"eyJhbGciOiJub25lIn0.eyJleHAiOjE3NzMxNDc2MDB9.","token_type":"Bearer","expires_in":3600}"#;

/// A sample with some bytes changed, cut short somewhere.
fn damaged(sample: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, end, cut)| {
        let mut bytes = sample.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(end.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn fuzz_pages(body in prop_oneof![damaged(SEARCH_PAGE), damaged(BY_IDS), damaged(BY_ID_V1)], offset: u32, limit: u32) {
        let _ = answer::page(&body, offset, limit, "search");
    }

    #[test]
    fn fuzz_domains(
        body in prop_oneof![damaged(DOMAIN_ALL), "\\{\"(service|baseURIs?)\": ?[\\[\\]{}\",:a-z0-9/@.-]{0,40}\\}".prop_map(String::into_bytes)],
        status in prop::sample::select(vec![200_u16, 204, 302, 400, 404, 408, 429, 500, 503, 599]),
        retry_after in "\\PC{0,30}",
    ) {
        for service in [Service::History, Service::Skills, Service::Token] {
            let headers = retry_after.parse().ok().map(|value| (reqwest::header::RETRY_AFTER, value));
            let answer = LivePersonResponse {
                asked: crate::clock::Moment::now(),
                status: reqwest::StatusCode::from_u16(status).unwrap(),
                headers: headers.into_iter().collect(),
                body: body.clone(),
            };
            if let Ok(host) = csds::host(service, answer, DateTime::UNIX_EPOCH) {
                // Our credentials go there.
                prop_assert!(!host.contains(['/', '@', '?', '#', ' ']), "{}", host);
            }
        }
    }

    #[test]
    fn fuzz_skills(body in damaged(SKILLS)) {
        let _ = answer::skills(&body, "skills");
    }

    #[test]
    fn fuzz_tokens(body in damaged(TOKEN)) {
        let _ = token::parse(&body, DateTime::UNIX_EPOCH);
    }

    #[test]
    fn fuzz_anything(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = answer::page(&body, 0, 100, "search");
        let _ = answer::skills(&body, "skills");
        let _ = token::parse(&body, DateTime::UNIX_EPOCH);
    }
}
