//! The badge at the address that brands' pages call today.
//!
//! Answers come from the conversations table. A consumer it does not know is looked up at LivePerson once for all who ask, and
//! what is found is kept for a short while; when LivePerson cannot answer, the answer is `false`, never a guess of `true`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;
use tokio::sync::OnceCell;

use super::error::ApiError;
use super::{Account, State};
use crate::db;
use crate::domain::ids::AccountId;
use crate::domain::read_state::{ReadState, read_state};

/// How long an answer about a consumer whom scans do not cover is kept.
const KEEP: Duration = Duration::from_secs(30);

/// Consumers remembered per account; the oldest answers make room.
const REMEMBERED: usize = 10_000;

/// Longer ids are not LivePerson's, nor any brand's.
const MAX_ID: usize = 256;

/// `GET /helpers/msghist/{account}/{consumer}/unreadByConsumer` → `{"unreadByConsumer": bool}`.
pub async fn unread_by_consumer(
    Shared(state): Shared<State>,
    Path((account, consumer)): Path<(String, String)>,
) -> Result<impl IntoResponse, ApiError> {
    let started = Instant::now();
    let id: Option<AccountId> = account.parse().ok();
    let Some((id, account)) = id.and_then(|id| state.accounts.get_key_value(&id)) else {
        return Err(ApiError::NotFound("there is no such account here"));
    };
    let (unread, source) = if plausible(&consumer) {
        answer(&state, id, account, &consumer).await?
    } else {
        (false, "none")
    };
    state.metrics.badge(source, started.elapsed());
    Ok((
        [(header::CACHE_CONTROL, "private, max-age=15")],
        Json(json!({ "unreadByConsumer": unread })),
    ))
}

fn plausible(consumer: &str) -> bool {
    (1..=MAX_ID).contains(&consumer.len()) && !consumer.chars().any(char::is_control)
}

async fn answer(
    state: &State,
    id: &AccountId,
    account: &Account,
    consumer: &str,
) -> Result<(bool, &'static str), ApiError> {
    let own = db::conversations::unread_of(&state.pool, id, "liveperson", consumer).await?;
    if own.known {
        return Ok((own.unread, "database"));
    }
    if !account.customer_ids_need_token {
        let customers = db::conversations::unread_of(&state.pool, id, "customer", consumer).await?;
        if customers.known {
            return Ok((customers.unread, "database"));
        }
    }
    if !looks_like_liveperson(consumer) {
        return Ok((false, "none"));
    }
    Ok(account
        .lookups
        .unread(account, consumer)
        .await
        .map_or((false, "none"), |unread| (unread, "liveperson")))
}

/// LivePerson's consumer ids are UUIDs or 64 hexadecimal digits; only those are worth a call.
fn looks_like_liveperson(consumer: &str) -> bool {
    let hex = consumer.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    hex && matches!(consumer.len(), 36 | 64)
}

/// Looks consumers up at LivePerson: one call for all who ask at the same time, its answer kept for a short while.
#[derive(Default)]
pub struct Lookups {
    answers: Mutex<HashMap<String, (Instant, Answer)>>,
}

type Answer = Arc<OnceCell<Option<bool>>>;

impl Lookups {
    /// `None` when LivePerson could not tell.
    async fn unread(&self, account: &Account, consumer: &str) -> Option<bool> {
        let answer = self.slot(consumer);
        let looked_up =
            answer.get_or_init(|| async {
                match account.client.by_consumer(consumer).await {
                    Ok(found) => Some(found.records.iter().any(|r| {
                        matches!(read_state(r, account.count_bots), ReadState::Unread(_))
                    })),
                    Err(error) => {
                        tracing::warn!("A badge look-up failed: {error}");
                        None
                    }
                }
            });
        *looked_up.await
    }

    fn slot(&self, consumer: &str) -> Answer {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((asked, answer)) = answers.get(consumer)
            && now.duration_since(*asked) < KEEP
        {
            return answer.clone();
        }
        if answers.len() >= REMEMBERED {
            answers.retain(|_, (asked, _)| now.duration_since(*asked) < KEEP);
            if answers.len() >= REMEMBERED {
                answers.clear();
            }
        }
        let answer = Answer::default();
        answers.insert(consumer.to_owned(), (now, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_in_liveperson_s_shape_cost_a_call() {
        assert!(looks_like_liveperson(
            "44eefca3-3b86-5eb2-b379-3bda9ddcfb50"
        ));
        assert!(looks_like_liveperson(&"a1".repeat(32)));
        for other in [
            "",
            "CUST-100231",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            &"g".repeat(64),
        ] {
            assert!(!looks_like_liveperson(other), "{other}");
        }
    }

    #[test]
    fn control_characters_and_endless_ids_are_not_looked_at() {
        assert!(plausible("auth0|5f7c8ec7"));
        assert!(!plausible("a\nb"));
        assert!(!plausible(&"a".repeat(257)));
        assert!(!plausible(""));
    }
}
