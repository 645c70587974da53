//! Hints: a conversation is looked at before the next scan, nothing that a hint says is believed, and nobody can make it cost much.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::{ORDERS, Visibility};

use crate::harness::{Setup, TestApp, eventually, run_test_with};

const ANN: &str = "ann@example.net";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([7; 32]))
}

async fn with_hints(settings: &[(&'static str, &'static str)], test: impl AsyncFnOnce(&TestApp)) {
    let secret: &'static str = secret().leak();
    let mut all = vec![("UNREAD_HINT_SECRET", secret)];
    all.extend_from_slice(settings);
    let setup = Setup {
        settings: all,
        ..Setup::default()
    };
    run_test_with(setup, test).await;
}

/// A hint that is signed as it should be, but for what a test changes.
struct Hint {
    account: String,
    id: String,
    at: DateTime<Utc>,
    body: String,
    secret: String,
}

impl Hint {
    fn at(t: &TestApp, conversation: &str) -> Self {
        Self {
            account: ACCOUNT.to_owned(),
            id: format!("hint-{conversation}"),
            at: t.now(),
            body: json!({ "conversation": conversation }).to_string(),
            secret: secret(),
        }
    }

    async fn send(&self, t: &TestApp) -> reqwest::Response {
        let webhook = Webhook::new(&self.secret).unwrap();
        let time = self.at.timestamp();
        let signature = webhook.sign(&self.id, time, self.body.as_bytes());
        t.http
            .post(format!("{}/v1/hints/{}", t.web, self.account))
            .header("webhook-id", &self.id)
            .header("webhook-timestamp", time)
            .header("webhook-signature", signature.unwrap())
            .body(self.body.clone())
            .send()
            .await
            .unwrap()
    }

    async fn status(&self, t: &TestApp) -> StatusCode {
        self.send(t).await.status()
    }
}

fn by_id(t: &TestApp) -> u64 {
    t.sandbox.faults().requests(Endpoint::ById)
}

async fn moment(t: &TestApp) {
    t.advance_by(TimeDelta::seconds(1)).await;
}

#[tokio::test]
async fn a_conversation_is_fetched_at_once_and_again_when_liveperson_shows_what_happened() {
    with_hints(&[], async |t| {
        t.world().set_visibility(Visibility {
            events_ms: 60_000,
            receipts_ms: 60_000,
        });
        let before = t.sandbox.faults().requests(Endpoint::Search);
        let chat = t.answered(ANN);
        assert_eq!(Hint::at(t, &chat).status(t).await, StatusCode::NO_CONTENT);
        moment(t).await;
        assert_eq!(by_id(t), 1);
        assert_eq!(t.story(&chat).await, Vec::<String>::new(), "not shown yet");
        t.advance_by(TimeDelta::seconds(68)).await;
        assert_eq!(by_id(t), 1);
        t.advance_by(TimeDelta::seconds(2)).await;
        assert_eq!(by_id(t), 2);
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        assert_eq!(
            t.sandbox.faults().requests(Endpoint::Search),
            before,
            "no scan"
        );
    })
    .await;
}

#[tokio::test]
async fn hints_at_one_conversation_have_one_look_after_the_last_of_them() {
    with_hints(&[], async |t| {
        let chat = t.answered(ANN);
        for n in 0..5 {
            let hint = Hint {
                id: n.to_string(),
                ..Hint::at(t, &chat)
            };
            assert_eq!(hint.status(t).await, StatusCode::NO_CONTENT);
        }
        moment(t).await;
        assert_eq!(t.story(&chat).await, ["scheduled"]);
        let soon = by_id(t);
        assert!(
            (1..=5).contains(&soon),
            "one that came after another was done is one more: {soon}"
        );
        t.advance_by(TimeDelta::seconds(30)).await;
        let later = Hint {
            id: "later".to_owned(),
            ..Hint::at(t, &chat)
        };
        assert_eq!(later.status(t).await, StatusCode::NO_CONTENT);
        moment(t).await;
        assert_eq!(by_id(t) - soon, 1);
        t.advance_by(TimeDelta::seconds(60)).await;
        assert_eq!(by_id(t) - soon, 1, "70 s after the last, not the first");
        t.advance_by(TimeDelta::seconds(15)).await;
        assert_eq!(by_id(t) - soon, 2);
    })
    .await;
}

#[tokio::test]
async fn a_hint_is_taken_once_and_only_as_it_was_signed() {
    with_hints(&[], async |t| {
        let chat = t.answered(ANN);
        let good = || Hint::at(t, &chat);
        let other_secret = format!("whsec_{}", STANDARD.encode([8; 32]));
        let refused = [
            (
                Hint {
                    account: "99999999".to_owned(),
                    ..good()
                },
                StatusCode::NOT_FOUND,
            ),
            (
                Hint {
                    secret: other_secret,
                    ..good()
                },
                StatusCode::FORBIDDEN,
            ),
            (
                Hint {
                    at: t.now() - TimeDelta::seconds(301),
                    ..good()
                },
                StatusCode::FORBIDDEN,
            ),
            (
                Hint {
                    at: t.now() + TimeDelta::seconds(302),
                    ..good()
                },
                StatusCode::FORBIDDEN,
            ),
            (
                Hint {
                    id: "x".repeat(101),
                    ..good()
                },
                StatusCode::FORBIDDEN,
            ),
            (
                Hint {
                    body: "{}".to_owned(),
                    ..good()
                },
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            (
                Hint {
                    body: "x".repeat(4_097),
                    ..good()
                },
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
        ];
        for (hint, status) in refused {
            let answer = hint.send(t).await;
            assert_eq!(answer.status(), status, "{}", hint.body);
            let problem: Value = answer.json().await.unwrap();
            assert!(
                problem["detail"]
                    .as_str()
                    .is_some_and(|why| !why.is_empty())
            );
        }
        let unsigned = t.http.post(format!("{}/v1/hints/{ACCOUNT}", t.web));
        let unsigned = unsigned.body(good().body).send().await.unwrap();
        assert_eq!(unsigned.status(), StatusCode::FORBIDDEN);
        moment(t).await;
        assert_eq!(by_id(t), 0);

        let hint = good();
        assert_eq!(hint.status(t).await, StatusCode::NO_CONTENT);
        moment(t).await;
        eventually("it is fetched", async || by_id(t) == 1).await;
        t.advance_by(TimeDelta::seconds(75)).await;
        eventually("it is fetched again", async || by_id(t) == 2).await;
        assert_eq!(
            hint.status(t).await,
            StatusCode::NO_CONTENT,
            "who repeats it hears no more"
        );
        // Nor can another conversation be put under its id.
        let other = Hint {
            id: hint.id.clone(),
            ..Hint::at(t, "another")
        };
        assert_eq!(other.status(t).await, StatusCode::NO_CONTENT);
        t.advance_by(TimeDelta::seconds(75)).await;
        assert_eq!(by_id(t), 2);
    })
    .await;
}

#[tokio::test]
async fn what_a_hint_says_is_only_asked_about() {
    with_hints(&[("UNREAD_SKILLS", "3155410910")], async |t| {
        // Of a skill that is not scanned; read meanwhile; not LivePerson's at all.
        let elsewhere = t.answered(ANN);
        let opening = t
            .world()
            .conversation(ACCOUNT, ORDERS)
            .email("ben@example.net");
        let read = opening.start();
        t.world().consumer_says(&read, "Is it there?");
        t.world().agent_says(&read, "It is.");
        t.world().consumer_reads(&read);
        for chat in [&*elsewhere, &*read, "11111111-2222-4333-8444-555555555555"] {
            let body = json!({ "conversation": chat, "unread": true, "skill": ORDERS });
            let hint = Hint {
                body: body.to_string(),
                ..Hint::at(t, chat)
            };
            assert_eq!(hint.status(t).await, StatusCode::NO_CONTENT);
        }
        moment(t).await;
        let known: Vec<(String, String)> =
            sqlx::query_as("select id, read_state from conversations")
                .fetch_all(t.pool())
                .await
                .unwrap();
        assert_eq!(known, [(read, "read".to_owned())]);
        assert_eq!(t.reminders().await.len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_hints_is_told_to_wait_and_costs_a_call_for_a_hundred() {
    with_hints(&[], async |t| {
        let mut taken = 0;
        // Many at once, until they are too many.
        let told_to_wait = 'flood: loop {
            let hints = (0..50).map(|n| Hint::at(t, &format!("conversation-{}", taken + n)));
            let hints: Vec<Hint> = hints.collect();
            let answers = join_all(hints.iter().map(|hint| hint.send(t))).await;
            for answer in answers {
                if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                    break 'flood answer;
                }
                assert_eq!(answer.status(), StatusCode::NO_CONTENT);
                taken += 1;
            }
            assert!(taken < 5_000, "it takes whatever comes");
        };
        assert!(told_to_wait.headers().contains_key("retry-after"));
        moment(t).await;
        assert!(by_id(t) < 50, "{} calls for {taken} hints", by_id(t));
    })
    .await;
}
