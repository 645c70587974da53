//! Rules, texts, test messages, forecasts and pauses as a program asks for them, over real sockets.

use std::time::Instant;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use unread::domain::access::Permission;
use unread::sandbox::faults::Endpoint;
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, eventually, run_test, run_test_with};
use crate::person::{Answer, Program};

const ALL: [Permission; 3] = [Permission::View, Permission::Edit, Permission::Operate];

/// Asks with the version that was read.
async fn change(
    program: &Program,
    method: Method,
    path: &str,
    seen: &str,
    body: Option<&Value>,
) -> Answer {
    let mut ask = program.ask(method, path).header("if-match", seen);
    if let Some(body) = body {
        ask = ask.json(body);
    }
    Answer::of(ask.send().await.unwrap()).await
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

fn rule() -> String {
    format!("/rules/12345678/{CUSTOMER_CARE}")
}

fn draft(minutes: u32) -> Value {
    json!({ "enabled": true, "settings": { "steps": [{ "channel": "email", "after_minutes": minutes }] } })
}

#[tokio::test]
async fn a_rule_is_written_published_and_reminded_by() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let read = program.get(&rule()).await;
        assert_eq!(read.status, 200, "{}", read.text);
        assert_eq!(read.json()["published"], Value::Null);
        let path = format!("{}/draft", rule());
        let saved = change(&program, Method::PUT, &path, &etag(&read), Some(&draft(3))).await;
        assert_eq!(saved.status, 200, "{}", saved.text);
        let path = format!("{}/publish", rule());
        let published = change(&program, Method::POST, &path, &etag(&saved), None).await;
        assert_eq!(published.status, 200, "{}", published.text);
        assert_eq!(published.json()["published"]["version"], 1);

        t.answered("ann@example.net");
        t.tick().await;
        t.advance(3).await;
        assert_eq!(t.mails().len(), 1, "after three minutes, not after ten");

        let history = program.get(&format!("{}/versions", rule())).await.json();
        assert_eq!(history["items"][0]["version"], 1);
        let listed = program.get("/rules?limit=1").await.json();
        assert_eq!(
            listed["items"][0]["skill"],
            Value::Null,
            "the default comes first"
        );
        let next = listed["next"].as_str().unwrap();
        let rest = program.get(&format!("/rules?after={next}")).await.json();
        assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_has_read_an_older_version_is_told_and_who_names_none_is_asked_to() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let seen = etag(&program.get(&rule()).await);
        let path = format!("{}/draft", rule());
        change(&program, Method::PUT, &path, &seen, Some(&draft(3))).await;
        let second = change(&program, Method::PUT, &path, &seen, Some(&draft(4))).await;
        assert_eq!(second.status, 412, "{}", second.text);
        let said = second.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            said.contains("saved a draft") && said.contains("Nothing was overwritten"),
            "{said}"
        );
        let none = program.send(Method::PUT, &path, &draft(4)).await;
        assert_eq!(none.status, 428, "{}", none.text);
        let odd = change(&program, Method::PUT, &path, "\"7\"", Some(&draft(4))).await;
        assert_eq!(odd.status, 400, "{}", odd.text);
        let kept = program.get(&rule()).await.json();
        assert_eq!(kept["draft"]["settings"]["steps"][0]["after_minutes"], 3);
    })
    .await;
}

#[tokio::test]
async fn faults_come_with_their_pointers() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let seen = etag(&program.get(&rule()).await);
        let path = format!("{}/draft", rule());
        let wrong = json!({ "enabled": true, "settings": {
            "steps": [{ "channel": "email", "after_minutes": 5 }, { "channel": "email", "after_minutes": 1 }],
            "channels": { "email": { "templates": { "en": { "text": "x" } } } },
        } });
        let answer = change(&program, Method::PUT, &path, &seen, Some(&wrong)).await;
        assert_eq!(answer.status, 422);
        let errors = answer.json()["errors"].to_string();
        assert!(
            errors.contains("/settings/steps/1/after_minutes"),
            "{errors}"
        );
        assert!(
            errors.contains("/settings/channels/email/templates/en/subject"),
            "{errors}"
        );
        let odd = program.get("/rules/12345678/sales").await;
        assert_eq!(odd.status, 400, "{}", odd.text);
        let checked =
            json!({ "enabled": true, "settings": {}, "place": "Orders" });
        let checked = program
            .send(Method::POST, "/rules/check", &checked)
            .await
            .json();
        assert!(
            checked["summary"][0]
                .as_str()
                .unwrap()
                .contains("in Orders stays unread")
        );
    })
    .await;
}

#[tokio::test]
async fn a_text_is_previewed_with_its_size_and_what_makes_it_dear() {
    run_test(async |t| {
        let program = t.program(&[Permission::View]).await;
        let wish = json!({ "channel": "sms", "template": { "text": "It’s here: {{link}}" } });
        let told = program.send(Method::POST, "/texts/preview", &wish).await.json();
        assert_eq!(told["sms"]["encoding"], "UCS-2");
        assert_eq!((&told["sms"]["offender"], &told["sms"]["offender_at"]), (&json!("’"), &json!(3)));
        let wish = json!({ "channel": "email", "template": { "subject": "Hi {{first_name}}", "text": "{{nobody}}" } });
        let told = program.send(Method::POST, "/texts/preview", &wish).await.json();
        assert_eq!(told["faults"][0]["field"], "/template/text");
        let wish = json!({ "channel": "email", "brand": "Acme & Sons" });
        let told = program.send(Method::POST, "/texts/preview", &wish).await.json();
        assert!(told["html"].as_str().unwrap().contains("Acme &amp; Sons"));
        let link = format!("{}/r/", t.web);
        assert!(told["text"].as_str().unwrap().contains(&link), "{told}");
        let names = program.get("/texts/variables").await.json();
        assert_eq!(names["items"][0]["name"], "link");
        let german = program.get("/texts/built-in?channel=sms&language=de-AT").await.json();
        assert!(german["text"].as_str().unwrap().contains("{{link}}"));
    })
    .await;
}

#[tokio::test]
async fn a_real_conversation_is_previewed_only_by_who_may_edit() {
    run_test(async |t| {
        let chat = t.answered("ann@example.net");
        let wish = json!({ "channel": "sms", "account": "12345678", "conversation": chat });
        let made_up = json!({ "channel": "sms", "first_name": "Ann" });
        // Scopes, and whether they preview what is made up, and what is real.
        let cases = [
            (vec![Permission::View], 200, 403),
            (vec![Permission::Edit], 403, 403),
            (vec![Permission::View, Permission::Operate], 200, 403),
            (vec![Permission::View, Permission::Edit], 200, 200),
        ];
        let by_id = || t.sandbox.faults().requests(Endpoint::ById);
        let before = by_id();
        for (scopes, of_made_up, of_real) in cases {
            let program = t.program(&scopes).await;
            let answer = program.send(Method::POST, "/texts/preview", &made_up).await;
            assert_eq!(answer.status, of_made_up, "{scopes:?}: {}", answer.text);
            let answer = program.send(Method::POST, "/texts/preview", &wish).await;
            assert_eq!(answer.status, of_real, "{scopes:?}: {}", answer.text);
            if scopes.contains(&Permission::View) && of_real == 403 {
                assert!(answer.text.contains("`edit`"), "{}", answer.text);
            }
        }
        assert_eq!(by_id() - before, 1, "who was refused cost no call");
    })
    .await;
}

#[tokio::test]
async fn previews_that_nobody_waits_for_hold_up_no_reminder() {
    let setup = Setup {
        settings: vec![("UNREAD_LIVEPERSON_RATE_PER_SECOND", "5")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let chat = t.answered("ann@example.net");
        t.tick().await;
        let program = t.program(&ALL).await;
        let wish = json!({ "channel": "email", "account": "12345678", "conversation": chat });
        t.sandbox.faults().reset_traffic();
        let began = Instant::now();
        let asking: Vec<_> = (0..200)
            .map(|_| tokio::spawn(program.ask(Method::POST, "/texts/preview").json(&wish).send()))
            .collect();
        eventually("some of them have a turn", async || {
            t.sandbox.faults().requests(Endpoint::ById) > 0
        })
        .await;
        // Hung up on while most of them wait for theirs.
        for one in &asking {
            one.abort();
        }
        // What is reserved now, all of it by re-checks or calls on their way.
        let ahead: f64 = sqlx::query_scalar(
            "select coalesce(max(extract(epoch from tat - clock_timestamp())), 0)::float8 from limits where key = 'liveperson:12345678'",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert!(ahead <= 0.2, "{ahead} s of turns are taken: more than one");
        let asked = t.sandbox.faults().requests(Endpoint::ById);
        // Five at once, and one a second.
        let most = 6 + began.elapsed().as_secs();
        assert!(asked <= most, "{asked} calls, not {most}");
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn who_asks_liveperson_too_much_is_told_when_to_come_back() {
    let setup = Setup {
        settings: vec![("UNREAD_LIVEPERSON_RATE_PER_SECOND", "0.5")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let chat = t.answered("ann@example.net");
        let program = t.program(&ALL).await;
        let wish = json!({ "channel": "email", "account": "12345678", "conversation": chat });
        // At one call in two seconds nobody gets twenty within the time that a person is made to wait.
        let began = Instant::now();
        let path = "/texts/preview";
        let asked = (0..20).map(|_| program.ask(Method::POST, path).json(&wish).send());
        let answers = join_all(asked).await;
        let mut refused = 0;
        for answer in answers {
            let answer = Answer::of(answer.unwrap()).await;
            if answer.status == 429 {
                refused += 1;
                assert_eq!(answer.headers["retry-after"], "5", "{answer:?}");
                assert!(answer.text.contains("try again in 5 s"), "{}", answer.text);
            } else {
                assert_eq!(answer.status, 200, "{}", answer.text);
            }
        }
        // Five at once, and one in ten seconds.
        let most = 6 + began.elapsed().as_secs() / 10;
        assert!(20 - refused <= most, "{refused} of 20 were refused");
    })
    .await;
}

#[tokio::test]
async fn the_next_hour_is_told_and_a_change_is_compared_with_what_is_in_force() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let chat = t.answered("ann@example.net");
        let by_text = t.answered("+12025550143");
        t.answered("not an address");
        t.tick().await;
        let path = "/forecast?account=12345678";
        let told = program.get(path).await.json();
        let due = told["due"].as_array().unwrap().iter();
        let due: Vec<(&Value, &Value)> = due.map(|one| (&one["conversation"], &one["channel"])).collect();
        assert_eq!(due.len(), 2, "{told}");
        for expected in [(&json!(chat), &json!("email")), (&json!(by_text), &json!("sms"))] {
            assert!(due.contains(&expected), "{told}");
        }
        assert_eq!(told["not"][0]["reason"], "no_address");

        let wish = json!({ "account": "12345678",
            "change": { "enabled": true, "settings": { "steps": [{ "channel": "email", "after_minutes": 90 }] } } });
        let live = program.send(Method::POST, "/forecast/live", &wish).await;
        assert_eq!(live.status, 200, "{}", live.text);
        let live = live.json();
        assert_eq!(live["unread"], 3);
        assert_eq!(live["in_force"]["within_the_hour"], 2);
        assert_eq!(live["changed"]["within_the_hour"], 0);
        assert_eq!(live["changed"]["later"], 1);
        let to = live["people"].to_string();
        assert!(!to.contains("ann@example.net") && to.contains('…'), "{to}");
        t.advance(10).await;
        assert_eq!((t.mails().len(), t.texts().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn sending_is_paused_and_resumed_and_set_up_says_so() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let everything = json!({ "note": "moving house" });
        let paused = program.send(Method::POST, "/pauses", &everything).await;
        assert_eq!(paused.status, 204, "{}", paused.text);
        let again = program.send(Method::POST, "/pauses", &everything).await;
        assert_eq!(again.status, 409);
        let odd = program
            .send(Method::POST, "/pauses", &json!({ "channel": "sms" }))
            .await;
        assert_eq!(
            (odd.status.as_u16(), &odd.json()["errors"][0]["field"]),
            (422, &json!("/account"))
        );
        let odd = program.ask(Method::DELETE, "/pauses?channel=sms").send();
        assert_eq!(Answer::of(odd.await.unwrap()).await.status, 422);
        let listed = program.get("/pauses").await.json();
        assert_eq!(listed["items"][0]["scope"], "everything");
        t.answered("ann@example.net");
        t.tick().await;
        t.advance(10).await;
        assert!(t.mails().is_empty());
        let way = program.get("/accounts/12345678/setup").await.json();
        let live = way["steps"].as_array().unwrap().last().unwrap().clone();
        assert!(live["said"].as_str().unwrap().contains("paused"), "{live}");
        let resumed =
            Answer::of(program.ask(Method::DELETE, "/pauses").send().await.unwrap()).await;
        assert_eq!(resumed.status, 204, "{}", resumed.text);
        t.settle().await;
        assert_eq!(t.mails().len(), 1);
        let way = program.get("/accounts/12345678/setup").await.json();
        let steps = way["steps"].as_array().unwrap();
        let done: Vec<bool> = steps.iter().map(|s| s["done"] == true).collect();
        assert_eq!(done, [true, true, false, true, true, true], "{way}");
    })
    .await;
}
