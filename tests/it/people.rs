//! The dashboard's pages about reminders and people, and the same by the config API: read, cancel, send again, opt out, erase.

use reqwest::{Method, StatusCode};
use serde_json::json;
use unread::domain::access::{Permission, Role};

use crate::harness::{account, run_test};

const ANN: &str = "ann@example.net";

#[tokio::test]
async fn every_page_shows_and_a_reminder_can_be_cancelled_and_sent_again() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let pages = [
            "/reminders",
            "/customers",
            "/connections",
            "/results",
            "/reminders/sent",
            "/reminders/not-sent?state=failed&channel=sms",
        ];
        for page in pages {
            assert_eq!(
                boss.get(page).await.status,
                StatusCode::OK,
                "{page} of an empty installation"
            );
        }
        let chat = t.answered(ANN);
        t.tick().await;
        let id = t.reminders().await[0].id;
        let cancelled = boss.form(&format!("/reminders/{id}/cancel"), &[]).await;
        assert_eq!(cancelled.location(), format!("/reminders/{id}"));
        assert_eq!(t.story(&chat).await, ["cancelled (by_operator)"]);
        boss.form(&format!("/reminders/{id}/send-again"), &[]).await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let page = boss.get(&format!("/reminders/{id}")).await;
        assert!(
            page.text.contains("Sent again by your team")
                && page.text.contains("The provider accepted it"),
            "{}",
            page.text
        );
        assert!(!page.text.contains(ANN), "no page shows an address");
        for page in pages {
            assert_eq!(boss.get(page).await.status, StatusCode::OK, "{page}");
        }
        let refused = boss.form(&format!("/reminders/{id}/cancel"), &[]).await;
        assert_eq!(
            refused.status,
            StatusCode::SEE_OTHER,
            "told on the reminder's page"
        );
        assert_eq!(
            boss.get("/reminders/999").await.status,
            StatusCode::NOT_FOUND
        );
    })
    .await;
}

#[tokio::test]
async fn somebody_is_looked_up_opted_out_and_erased() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let page = boss.form("/customers", &[("who", ANN)]).await;
        assert!(
            page.text.contains(&chat) && page.text.contains("Erase this customer"),
            "{}",
            page.text
        );
        boss.form("/customers/opt-out", &[("who", ANN)]).await;
        let page = boss.form("/customers", &[("who", &chat)]).await;
        assert!(page.text.contains("Opted out or blocked"), "{}", page.text);
        boss.form("/customers/erase", &[("who", &chat)]).await;
        let page = boss.form("/customers", &[("who", &chat)]).await;
        assert!(page.text.contains("No match"), "{}", page.text);
        let trail = boss.get("/activity").await.text;
        assert!(
            trail.contains("erased a customer") && !trail.contains(ANN) && !trail.contains(&chat)
        );
    })
    .await;
}

#[tokio::test]
async fn the_config_api_does_the_same() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let chat = t.answered(ANN);
        t.tick().await;
        let get = async |path: &str| {
            let answer = boss.api(Method::GET, path, None).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
            answer.json()
        };
        let post = async |path: &str, body| boss.api(Method::POST, path, Some(&body)).await;
        let listed = get(&format!("/reminders?conversation={chat}&state=scheduled")).await;
        let id = listed["items"][0]["id"].as_i64().unwrap();
        assert_eq!(get(&format!("/reminders/{id}")).await["may_cancel"], true);
        assert_eq!(get("/overview").await["waiting"], 1);
        assert_eq!(
            get("/series?days=14").await["items"]
                .as_array()
                .unwrap()
                .len(),
            14
        );
        get("/effect").await;
        get("/circuits").await;
        let cancelled = boss
            .api(Method::POST, &format!("/reminders/{id}/cancel"), None)
            .await;
        assert_eq!(cancelled.status, StatusCode::NO_CONTENT, "{cancelled:?}");
        let again = boss
            .api(Method::POST, &format!("/reminders/{id}/cancel"), None)
            .await;
        assert_eq!(again.status, StatusCode::CONFLICT);
        let account = account();
        let named = json!({ "account": account, "address": ANN });
        assert_eq!(
            post("/suppressions", named.clone()).await.status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(
            get("/suppressions?reason=blocked").await["items"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        let export = boss
            .api(Method::GET, "/suppressions/export", None)
            .await
            .text;
        assert_eq!(export.lines().count(), 2, "{export}");
        let imported = post(
            "/suppressions/import",
            json!({ "account": account, "csv": "nonsense" }),
        )
        .await;
        assert_eq!(imported.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            post("/suppressions/remove", named.clone()).await.status,
            StatusCode::NO_CONTENT
        );
        assert_eq!(
            post("/suppressions/remove", named).await.status,
            StatusCode::NOT_FOUND
        );
        let person = post(
            "/consumers/look-up",
            json!({ "account": account, "conversation": chat }),
        )
        .await
        .json();
        assert_eq!(person["conversations"][0]["id"], chat);
        let erased = post(
            "/consumers/erase",
            json!({ "account": account, "conversation": chat }),
        )
        .await
        .json();
        assert_eq!(erased["conversations"], 1);
    })
    .await;
}

#[tokio::test]
async fn why_there_was_or_was_not_a_reminder_is_listed_by_conversation() {
    run_test(async |t| {
        let program = t.program(&[Permission::View]).await;
        let (chat, other) = (t.answered(ANN), t.answered("ben@example.net"));
        t.tick().await;
        t.world().consumer_reads(&chat);
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "to the other");
        let told = program
            .get(&format!("/decisions?conversation={chat}"))
            .await
            .json();
        let told = told["items"].as_array().unwrap().iter();
        let told: Vec<(&str, &str)> = told
            .map(|d| (d["stage"].as_str().unwrap(), d["verdict"].as_str().unwrap()))
            .collect();
        assert!(
            told.contains(&("deliver", "cancel")) && told.contains(&("scan", "schedule")),
            "{told:?}"
        );

        let (mut path, mut seen) = ("/decisions?limit=1".to_owned(), Vec::new());
        loop {
            let page = program.get(&path).await.json();
            seen.extend(page["items"][0]["id"].as_i64());
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("/decisions?limit=1&after={next}");
        }
        assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
        let all: i64 = sqlx::query_scalar("select count(*) from decision_log")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(i64::try_from(seen.len()).unwrap(), all);
        let foreign = program.get("/decisions?account=87654321").await.json();
        assert_eq!(foreign["items"], json!([]));

        let sent = program
            .get(&format!("/reminders?conversation={other}"))
            .await
            .json();
        let id = sent["items"][0]["id"].as_i64().unwrap();
        let story = program.get(&format!("/reminders/{id}")).await.json();
        assert_eq!(story["may_opt_out"], true);
        let overview = program.get("/overview").await.json();
        let scans = overview["scans"].as_array().unwrap();
        assert!(
            scans.iter().any(|scan| scan["conversations"] == 2),
            "{scans:?}"
        );
    })
    .await;
}
