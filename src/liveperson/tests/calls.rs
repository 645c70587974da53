//! The questions over the wire: what is sent, what is made of good and bad answers, what is tried again.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::{
    ConversationStatus, LivePersonClient, LivePersonError, LivePersonSkill, Purpose, Search,
    Unlimited, http, http_client,
};
use super::server::{Calls, Gate, NOW, Reply, Server, client, oauth1, oauth2};
use super::{SEARCH_EMPTY, SEARCH_PAGE, SKILLS};
use crate::clock::Clock;
use crate::domain::ids::SkillId;

fn open() -> Search {
    Search {
        skills: vec![SkillId::UNASSIGNED],
        status: ConversationStatus::Open,
        from: NOW - TimeDelta::days(89),
        to: NOW,
        updated_since: None,
        newest_first: false,
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("c{n}")).collect()
}

#[tokio::test]
async fn a_search_asks_as_documented() {
    let server = Server::start().await;
    server.reply([Reply::ok(SEARCH_PAGE)]);
    let page = server.client().search(&open(), 200).await.unwrap();
    assert_eq!(
        (page.records.len(), page.received, page.total),
        (13, 13, 13)
    );
    assert!(!page.incomplete);
    let seen = server.seen("/messaging_history/").remove(0);
    assert_eq!(seen.method, "POST");
    assert_eq!(
        seen.path,
        "/messaging_history/api/account/12345678/conversations/search"
    );
    assert_eq!(
        seen.query,
        "offset=200&limit=100&sort=start%3Aasc&v=2&source=unread"
    );
    assert_eq!(
        seen.json(),
        json!({
            "start": { "from": 1_765_454_400_000_i64, "to": 1_773_144_000_000_i64 },
            "status": ["OPEN"],
            "source": ["SHARK"],
            "latestSkillIds": ["-1"],
            "contentToRetrieve": ["messageRecords", "messageStatuses", "agentParticipants",
                "consumerParticipants", "dialogs", "sdes"],
        })
    );
}

#[tokio::test]
async fn unauthenticated_attributes_are_asked_for_only_if_wanted() {
    let server = Server::start().await;
    let mut settings = server.settings(oauth2());
    settings.unauthenticated = true;
    settings.channels.clear();
    let client = client(settings, Clock::manual(NOW));
    client.search(&open(), 0).await.unwrap();
    let body = server.seen("/messaging_history/").remove(0).json();
    assert_eq!(body["contentToRetrieve"][6], "unAuthSdes");
    assert_eq!(body.get("source"), None);
}

#[tokio::test]
async fn ids_are_asked_for_in_hundreds() {
    let server = Server::start().await;
    server.client().by_ids(&ids(201)).await.unwrap();
    let sizes: Vec<usize> = server
        .seen("/conversations/conversation/search")
        .iter()
        .map(|seen| seen.json()["conversationIds"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 100, 1]);
    server.client().by_ids(&[]).await.unwrap();
    assert_eq!(server.seen("/messaging_history/").len(), 3);
}

#[tokio::test]
async fn a_consumer_is_asked_for_by_id_in_the_body() {
    let server = Server::start().await;
    let records = server.client().by_consumer("auth0|9 9").await.unwrap();
    assert!(records.records.is_empty() && !records.incomplete);
    let seen = server.seen("/conversations/consumer/search").remove(0);
    assert_eq!(seen.query, "offset=0&limit=100&v=2&source=unread");
    assert_eq!(seen.json()["consumer"], "auth0|9 9");
    assert_eq!(seen.json()["status"], json!(["OPEN"]));
}

#[tokio::test]
async fn skills_are_read_once_per_revision() {
    let server = Server::start().await;
    server.reply([
        Reply::with(200, &[("ac-revision", "1842")], SKILLS),
        Reply::with(304, &[("ac-revision", "1842")], ""),
    ]);
    let client = server.client();
    let skills = client.skills(None).await.unwrap().unwrap();
    assert_eq!(skills.revision.as_deref(), Some("1842"));
    assert!(skills.skills.contains(&LivePersonSkill {
        id: SkillId(3_155_410_910),
        name: "Web Sales".to_owned(),
        deleted: false,
    }));
    assert_eq!(client.skills(Some("1842")).await.unwrap(), None);
    let seen = server.seen("/configuration/le-users/skills");
    assert_eq!(seen[0].query, "v=4.0&select=id%2Cname%2Cdeleted");
    assert_eq!(seen[0].if_match.as_deref(), Some("-1"));
    assert_eq!(seen[1].if_match.as_deref(), Some("1842"));
}

#[tokio::test]
async fn no_content_is_an_empty_answer() {
    let server = Server::start().await;
    server.reply([Reply::status(204)]);
    let page = server.client().search(&open(), 0).await.unwrap();
    assert_eq!((page.received, page.total), (0, 0));
}

#[tokio::test]
async fn an_outage_in_a_search_is_waited_out() {
    let server = Server::start().await;
    server.reply([
        Reply::with(503, &[], "<html><h1>503</h1></html>"),
        Reply::with(500, &[], r#"{"error":{"internalCode":"0007"}}"#),
        Reply::Torn,
        Reply::ok(SEARCH_EMPTY),
    ]);
    server.client().search(&open(), 0).await.unwrap();
    assert_eq!(server.seen("/messaging_history/").len(), 4);
}

#[tokio::test]
async fn a_search_gives_up_after_its_delays() {
    let server = Server::start().await;
    server.reply((0..9).map(|_| Reply::status(503)));
    let error = server.client().search(&open(), 0).await.unwrap_err();
    assert_eq!(
        error,
        LivePersonError::Unavailable {
            endpoint: "search",
            why: "HTTP 503",
            retry_after: None
        }
    );
    assert_eq!(server.seen("/messaging_history/").len(), 4);
}

#[tokio::test]
async fn a_bad_question_is_asked_once() {
    let server = Server::start().await;
    server.reply([Reply::status(400)]);
    let error = server.client().search(&open(), 0).await.unwrap_err();
    assert!(matches!(
        error,
        LivePersonError::Rejected { status: 400, .. }
    ));
    assert!(!error.retryable());
    assert_eq!(server.seen("/messaging_history/").len(), 1);
}

#[tokio::test]
async fn a_recheck_is_never_repeated_inside() {
    let server = Server::start().await;
    for reply in [Reply::status(503), Reply::Torn, Reply::ok("<html>")] {
        server.reply([reply]);
        let error = server.client().by_ids(&ids(1)).await.unwrap_err();
        assert!(error.retryable(), "{error}");
    }
    assert_eq!(server.seen("/messaging_history/").len(), 3);
}

#[tokio::test]
async fn throttling_holds_everybody() {
    let server = Server::start().await;
    let gate = Arc::new(Gate::default());
    let calls = Arc::new(Calls::default());
    let client = LivePersonClient::new(
        server.settings(oauth2()),
        http_client(),
        gate.clone(),
        Clock::manual(NOW),
        calls.clone(),
    );
    let date = "Tue, 10 Mar 2026 12:00:00 GMT";
    let later = "Tue, 10 Mar 2026 12:00:30 GMT";
    server.reply([
        Reply::status(429),
        Reply::with(429, &[("retry-after", "7")], ""),
        Reply::with(429, &[("date", date), ("retry-after", later)], ""),
        Reply::with(429, &[("retry-after", "99999999")], ""),
        Reply::with(429, &[("retry-after", "soon")], ""),
    ]);
    let mut asked = Vec::new();
    for _ in 0..5 {
        let error = client.by_ids(&ids(1)).await.unwrap_err();
        assert!(error.retryable());
        asked.push(error.retry_after().unwrap());
    }
    assert_eq!(asked, [1, 7, 30, 3600, 1].map(Duration::from_secs));
    assert_eq!(*gate.held.lock().unwrap(), asked);
    assert_eq!(*gate.passed.lock().unwrap(), 5);
    let calls = calls.0.lock().unwrap();
    assert_eq!(
        calls[..4],
        [
            ("domain", "ok"),
            ("domain", "ok"),
            ("token", "ok"),
            ("by_ids", "throttled")
        ]
    );
}

#[tokio::test]
async fn a_long_pause_gives_the_slot_back() {
    let server = Server::start().await;
    server.reply([Reply::with(429, &[("retry-after", "60")], "")]);
    let error = server.client().search(&open(), 0).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_mins(1)));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read() {
    let server = Server::start().await;
    let mut settings = server.settings(oauth2());
    settings.max_body = SEARCH_PAGE.len() - 1;
    server.reply([Reply::ok(SEARCH_PAGE)]);
    let client = client(settings, Clock::manual(NOW));
    let error = client.by_ids(&ids(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "LivePerson's answer for by_ids could not be read: the answer is too large"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::start().await;
    server.reply([Reply::with(302, &[("location", "http://127.0.0.1:9/")], "")]);
    let error = server.client().by_ids(&ids(1)).await.unwrap_err();
    assert!(matches!(
        error,
        LivePersonError::Rejected { status: 302, .. }
    ));
}

#[tokio::test]
async fn silence_ends_in_a_time_out() {
    let server = Server::start().await;
    server.reply([Reply::Never]);
    // Longer than all that is answered before it takes.
    let impatient = http::build(Duration::from_secs(1));
    let client = LivePersonClient::new(
        server.settings(oauth1()),
        impatient,
        Arc::new(Unlimited),
        Clock::manual(NOW),
        Arc::new(()),
    );
    let error = client.by_ids(&ids(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "LivePerson cannot be reached for by_ids: timed out"
    );
    // Whoever hangs once hangs again: a search does not wait for it a second time in the same place.
    server.reply([Reply::Never]);
    let error = client.search(&open(), 0).await.unwrap_err();
    assert!(error.timed_out() && !error.may_be_about_one(), "{error}");
    assert_eq!(server.seen("/messaging_history/").len(), 2);
}

#[tokio::test]
async fn a_person_is_told_of_an_outage_at_once() {
    let server = Server::start().await;
    server.reply([Reply::status(503)]);
    let client = server.client().made_for(Purpose::Person);
    let error = client.search(&open(), 0).await.unwrap_err();
    assert!(error.retryable(), "{error}");
    assert_eq!(server.seen("/messaging_history/").len(), 1);
}

#[tokio::test]
async fn several_skills_are_asked_for_in_one_search_and_none_means_all() {
    let server = Server::start().await;
    for (skills, asked) in [
        (vec![], Value::Null),
        (vec![-1], json!(["-1"])),
        (vec![7, -1, 12], json!(["7", "-1", "12"])),
    ] {
        server.reply([Reply::ok(SEARCH_EMPTY)]);
        let search = Search {
            skills: skills.into_iter().map(SkillId).collect(),
            ..open()
        };
        server.client().search(&search, 0).await.unwrap();
        let seen = server.seen("/messaging_history/");
        assert_eq!(seen.last().unwrap().json()["latestSkillIds"], asked);
    }
}

#[tokio::test]
async fn a_search_for_updates_says_since_when_and_another_does_not() {
    let server = Server::start().await;
    let since = chrono::DateTime::from_timestamp_millis(1_773_143_000_123);
    for (updated_since, asked) in [
        (None, Value::Null),
        (since, json!({ "from": 1_773_143_000_123_i64 })),
    ] {
        server.reply([Reply::ok(SEARCH_EMPTY)]);
        let search = Search {
            updated_since,
            ..open()
        };
        server.client().search(&search, 0).await.unwrap();
        let seen = server.seen("/messaging_history/");
        assert_eq!(seen.last().unwrap().json()["latestUpdateTime"], asked);
    }
}

#[test]
fn what_may_be_about_one_skill_is_told_from_what_is_about_the_account() {
    let endpoint = "search";
    let rejected = |status| LivePersonError::Rejected { endpoint, status };
    let unauthorized = |status| LivePersonError::Unauthorized { endpoint, status };
    let unavailable = |why| LivePersonError::Unavailable {
        endpoint,
        why,
        retry_after: None,
    };
    let pause = Duration::from_secs(1);
    for (error, one) in [
        (rejected(400), true),
        (rejected(404), true),
        (rejected(413), true),
        (unauthorized(403), true),
        (unauthorized(401), false),
        (unavailable("HTTP 500"), true),
        (unavailable("HTTP 503"), false),
        (unavailable("HTTP 504"), false),
        (unavailable("timed out"), false),
        (unavailable("no connection"), false),
        (LivePersonError::Malformed { endpoint, why: "" }, true),
        (LivePersonError::NoService("msgHist"), false),
        (
            LivePersonError::Throttled {
                endpoint,
                retry_after: pause,
            },
            false,
        ),
        (LivePersonError::Busy { retry_after: pause }, false),
    ] {
        assert_eq!(error.may_be_about_one(), one, "{error:?}");
    }
}

#[tokio::test]
async fn the_checks_name_the_permission_that_is_missing() {
    let server = Server::start().await;
    server.reply([
        Reply::with(
            200,
            &[("date", "Tue, 10 Mar 2026 12:00:42 GMT")],
            SEARCH_EMPTY,
        ),
        Reply::status(404),
        Reply::status(204),
        Reply::status(403),
    ]);
    let checks = server.client().check().await;
    let shown: Vec<(&str, String)> = checks
        .iter()
        .map(|check| match &check.outcome {
            Ok(found) => (check.what, found.clone()),
            Err(error) => (check.what, error.to_string()),
        })
        .collect();
    let shown: Vec<(&str, &str)> = shown.iter().map(|(w, o)| (*w, o.as_str())).collect();
    let host = server.address.to_string();
    let host = host.as_str();
    assert_eq!(
        shown[..8],
        [
            ("domain lookup: msgHist", host),
            ("domain lookup: accountConfigReadOnly", host),
            ("domain lookup: sentinel", host),
            ("access token", "issued"),
            ("conversations: search", "0 open since yesterday"),
            ("conversations: by id", "allowed"),
            ("conversations: by consumer", "allowed"),
            (
                "skills",
                "LivePerson refuses our credentials for skills (HTTP 403)"
            ),
        ]
    );
    assert_eq!(shown[8].0, "clocks");
}
