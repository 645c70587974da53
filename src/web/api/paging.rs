//! Lists by pages: each page names where the next one begins, by the key of its last row, so that rows that come and go meanwhile
//! neither repeat nor get lost, and the thousandth page costs what the first does.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::web::problem::ApiError;

const USUAL: u32 = 50;
const MOST: u32 = 200;

/// The parameters of a list. A list with filters repeats these fields in its own struct (serde's `flatten` and
/// `deny_unknown_fields` do not go together) and makes a `Paging` of them.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Entries on a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Where the page begins: `next` of the page before.
    pub after: Option<String>,
}

impl Paging {
    pub fn limit(&self) -> Result<i64, ApiError> {
        let limit = self.limit.unwrap_or(USUAL);
        if (1..=MOST).contains(&limit) {
            return Ok(i64::from(limit));
        }
        Err(ApiError::fault(
            StatusCode::BAD_REQUEST,
            "limit",
            format!("must be from 1 to {MOST}"),
        ))
    }

    /// The key after which the page begins.
    pub fn after<K: DeserializeOwned>(&self) -> Result<Option<K>, ApiError> {
        let Some(word) = &self.after else {
            return Ok(None);
        };
        let key = URL_SAFE_NO_PAD.decode(word).ok();
        match key.and_then(|key| serde_json::from_slice(&key).ok()) {
            Some(key) => Ok(Some(key)),
            None => Err(ApiError::fault(
                StatusCode::BAD_REQUEST,
                "after",
                "is not `next` of an earlier page of this list",
            )),
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Ask with `after` set to this for the next page. Null: there is none.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of `rows`, of which one more than `limit` were asked for, so that it is known whether there is a next page.
    pub fn of<K: Serialize>(mut rows: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or_default();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| cursor(&key(last)));
        Self { items: rows, next }
    }

    /// A list that fits one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// A row's key as a word; for pages, too, which keep it in their address.
pub fn cursor<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_the_next_until_there_is_none() {
        let page = Page::of(vec![5, 4, 3], 2, |n| (*n, "x"));
        assert_eq!(page.items, [5, 4]);
        let next = Paging {
            limit: None,
            after: page.next,
        };
        assert_eq!(
            next.after::<(i64, String)>().unwrap(),
            Some((4, "x".to_owned()))
        );
        assert!(next.after::<i64>().is_err(), "of another list");
        assert_eq!(Page::of(vec![2, 1], 2, |n| *n).next, None);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_places(word in "\\PC{0,60}", json in "[\\[\\]{}\",:a-zT0-9.+-]{0,60}") {
            for after in [word, URL_SAFE_NO_PAD.encode(json)] {
                let paging = Paging {
                    limit: None,
                    after: Some(after),
                };
                let _ = paging.after::<i64>();
                let _ = paging.after::<(chrono::DateTime<chrono::Utc>, [u8; 16], String, String)>();
            }
        }
    }

    #[test]
    fn limits_are_kept() {
        let limit = |limit| Paging { limit, after: None }.limit().ok();
        assert_eq!(limit(None), Some(50));
        assert_eq!(limit(Some(200)), Some(200));
        assert_eq!((limit(Some(0)), limit(Some(201))), (None, None));
    }
}
