//! The dashboard's pages about suppressions, the badge and addresses, and what the first page tells; and the same by the config API.

use reqwest::{Method, StatusCode};
use serde_json::json;
use unread::domain::access::{AccountLimit, Permission, Rights, Role};

use crate::harness::{Setup, TestApp, account, run_test, run_test_with};
use crate::person::Person;

const ANN: &str = "ann@example.net";
const BEN: &str = "ben@example.net";

/// The value of the first field or attribute of this name.
fn value_of(page: &str, begin: &str) -> String {
    let (_, rest) = page
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin} in {page}"));
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn addresses_are_blocked_looked_up_and_lifted_and_stand_in_no_list() {
    run_test(async |t| {
        let boss = t.person(Role::Editor).await;
        let empty = boss.get("/opt-outs").await.text;
        assert!(empty.contains("Nothing yet"), "{empty}");
        let none = boss.form("/opt-outs", &[("address", ANN)]).await;
        assert_eq!(none.status, StatusCode::OK);
        assert!(none.text.contains("not opted out"), "{}", none.text);

        let fields = [("address", ANN), ("reason", "blocked")];
        let done = boss.form("/opt-outs/add", &fields).await;
        assert_eq!(done.location(), "/opt-outs", "{done:?}");
        let list = boss.get("/opt-outs").await.text;
        assert!(
            list.contains("Blocked by your team") && !list.contains(ANN),
            "{list}"
        );
        let found = boss
            .form("/opt-outs", &[("address", " Ann@Example.net ")])
            .await;
        assert!(
            found.text.contains("gets no reminders"),
            "however it is written"
        );

        // It holds: the reminder that comes to be owed is not sent.
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 0);
        assert!(
            t.story(&chat)
                .await
                .iter()
                .all(|told| !told.contains("sent"))
        );

        let narrowed = boss.get("/opt-outs?channel=sms").await.text;
        assert!(narrowed.contains("No match"), "{narrowed}");
        let narrowed = boss
            .get("/opt-outs?channel=email&reason=blocked")
            .await
            .text;
        assert!(!narrowed.contains("No match"), "{narrowed}");

        let (hash, account) = (
            value_of(&list, "name=\"hash\" value=\""),
            account().to_string(),
        );
        let key = [
            ("account", account.as_str()),
            ("channel", "email"),
            ("hash", &hash),
        ];
        boss.form("/opt-outs/remove", &key).await;
        let again = boss.form("/opt-outs/remove", &key).await;
        assert_eq!(again.status, StatusCode::SEE_OTHER, "already allowed again");
        let list = boss.get("/opt-outs").await.text;
        assert!(
            list.contains("already allowed again") && list.contains("Nothing yet"),
            "{list}"
        );

        let trail = boss.get("/activity?action=suppression").await.text;
        assert!(
            trail.contains("opted out an address") && trail.contains("allowed an address again")
        );
        assert!(!trail.contains(ANN), "{trail}");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_address_is_told_at_its_field_and_stays_written() {
    run_test(async |t| {
        let boss = t.person(Role::Editor).await;
        for path in ["/opt-outs", "/opt-outs/add"] {
            let told = boss.form(path, &[("address", "nonsense")]).await;
            assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
            assert!(
                told.text.contains("value=\"nonsense\"")
                    && told.text.contains("id=\"address-fault\""),
                "{}",
                told.text
            );
        }
        let viewer = t.person(Role::Viewer).await;
        let page = viewer.get("/opt-outs").await.text;
        assert!(
            !page.contains("/opt-outs/import") && !page.contains(">Block<"),
            "{page}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_file_comes_in_whole_or_not_at_all_and_goes_out_page_by_page() {
    run_test(async |t| {
        let boss = t.person(Role::Editor).await;
        let told = boss
            .form("/opt-outs/import", &[("csv", "ann@example.net\nnonsense")])
            .await;
        assert_eq!(told.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            told.text.contains("line 2") && told.text.contains("nonsense</textarea>"),
            "{}",
            told.text
        );
        assert!(boss.get("/opt-outs").await.text.contains("Nothing yet"));

        let lines: Vec<String> = (0..60).map(|n| format!("c{n}@example.net")).collect();
        let file = [
            ("csv", lines.join("\r\n")),
            ("reason", "complaint".to_owned()),
        ];
        let file: Vec<(&str, &str)> = file
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        boss.form("/opt-outs/import", &file).await;
        let first = boss.get("/opt-outs").await.text;
        assert!(
            first.contains("60 lines read; 60 new or changed."),
            "{first}"
        );
        assert_eq!(first.matches("name=\"hash\"").count(), 50);
        let older = value_of(&first, "<a class=\"button quiet\" href=\"")
            .replace("&#x3D;", "=")
            .replace("&amp;", "&");
        let second = boss.get(&older).await.text;
        assert_eq!(second.matches("name=\"hash\"").count(), 10, "{second}");
        assert!(!second.contains("rel=\"next\""));
        let export = boss.get("/api/v1/suppressions/export").await;
        assert_eq!(export.text.lines().count(), 61);
        assert!(!export.text.contains('@'));
    })
    .await;
}

#[tokio::test]
async fn an_address_is_told_while_one_is_owed_to_it_and_that_is_on_record() {
    run_test(async |t| {
        let ed = t.person(Role::Editor).await;
        let viewer = t.person(Role::Viewer).await;
        t.answered(ANN);
        t.tick().await;
        let id = t.reminders().await[0].id;
        let path = format!("/reminders/{id}");
        let page = ed.get(&path).await.text;
        assert!(
            page.contains("Show the address") && !page.contains(ANN),
            "{page}"
        );
        assert!(!viewer.get(&path).await.text.contains("Show the address"));

        let told = ed.form(&format!("{path}/reveal"), &[]).await;
        assert_eq!(told.status, StatusCode::OK);
        assert!(told.text.contains(ANN), "{}", told.text);
        assert_eq!(told.headers["cache-control"], "no-store");
        assert!(
            !ed.get(&path).await.text.contains(ANN),
            "only in the answer to who asked"
        );
        let trail = ed.get("/activity?action=reminder").await.text;
        assert!(
            trail.contains("viewed the customer&#x27;s address") && trail.contains(&ed.name),
            "{trail}"
        );
        assert!(!trail.contains(ANN), "{trail}");

        // A program is told the same, and nothing of it is kept for a repetition.
        let program = t.program(&[Permission::Operate]).await;
        let ask = async || {
            let asked = program.ask(Method::POST, &format!("{path}/reveal"));
            let asked = asked
                .header("idempotency-key", "once")
                .send()
                .await
                .unwrap();
            crate::person::Answer::of(asked).await
        };
        let first = ask().await.json();
        assert_eq!(
            (&first["address"], &first["from"]),
            (&json!(ANN), &json!("liveperson"))
        );
        let second = ask().await;
        assert_eq!(second.status, StatusCode::CONFLICT);
        assert!(!second.text.contains(ANN), "{}", second.text);

        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let over = ed.form(&format!("{path}/reveal"), &[]).await;
        assert_eq!(over.status, StatusCode::CONFLICT);
        assert!(
            over.text.contains("no longer stored") && !over.text.contains(ANN),
            "{}",
            over.text
        );
        let over = program
            .send(Method::POST, &format!("{path}/reveal"), &json!(null))
            .await;
        assert_eq!(over.status, StatusCode::CONFLICT, "{over:?}");
    })
    .await;
}

#[tokio::test]
async fn no_address_is_guessed_when_liveperson_does_not_answer() {
    use unread::sandbox::faults::{Endpoint, Fault, FaultSpan};
    run_test(async |t| {
        let ed = t.person(Role::Editor).await;
        t.answered(BEN);
        t.tick().await;
        let id = t.reminders().await[0].id;
        t.sandbox
            .faults()
            .set(Endpoint::ById, Fault::Unavailable, FaultSpan::UntilCleared);
        let told = ed.form(&format!("/reminders/{id}/reveal"), &[]).await;
        assert_eq!(
            told.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            told.text
        );
        assert!(told.text.contains("LivePerson could not be asked") && !told.text.contains(BEN));
        assert!(
            !ed.get("/activity")
                .await
                .text
                .contains("viewed the customer"),
            "nothing was told"
        );
    })
    .await;
}

const SECRET: &str = "a secret of thirty-two characters";

fn with_badge() -> Setup {
    Setup {
        settings: vec![
            ("UNREAD_BADGE_SECRET", SECRET),
            ("UNREAD_BADGE_ORIGINS", "https://shop.example"),
        ],
        ..Setup::default()
    }
}

#[tokio::test]
async fn the_badge_s_page_says_how_it_is_set_up_and_no_secret() {
    run_test_with(with_badge(), async |t| {
        let viewer = t.person(Role::Viewer).await;
        let page = viewer.get("/website").await.text;
        for said in [
            "https://shop.example",
            "Your backend (HS256)",
            "/badge/v1.js",
            "integrity=\"sha384-",
            "12345678",
        ] {
            assert!(page.contains(said), "{said}: {page}");
        }
        assert!(!page.contains(SECRET));
        let setup = viewer
            .api(Method::GET, "/accounts/12345678/badge", None)
            .await;
        assert_eq!(setup.json()["tokens"][0]["kind"], "secret");
        assert!(!setup.text.contains(SECRET), "{}", setup.text);
        let pinned = setup.json()["pinned_script"].as_str().unwrap().to_owned();
        let (_, path) = pinned.split_once("/badge/").unwrap();
        assert_eq!(t.get(&format!("/badge/{path}")).await.0, 200);
    })
    .await;
    run_test(async |t| {
        let viewer = t.person(Role::Viewer).await;
        let page = viewer.get("/website").await.text;
        assert_eq!(
            page.matches("Not set up").count(),
            2,
            "neither websites nor tokens: {page}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_badge_is_tried_out_with_an_id_and_with_a_token() {
    run_test_with(with_badge(), async |t| {
        let editor = t.person(Role::Editor).await;
        let chat = t.answered(ANN);
        t.tick().await;
        let consumer = consumer_of(t, &chat).await;
        let told = editor.form("/website", &[("consumer", &consumer)]).await;
        assert_eq!(told.status, StatusCode::OK);
        assert!(told.text.contains("1 unread message"), "{}", told.text);
        // The page carries a token for the real script: it shows this consumer's badge.
        let token = value_of(&told.text, "data-token=\"");
        let badge = t
            .http
            .get(format!("{}/v1/badge/12345678", t.web))
            .bearer_auth(&token);
        let badge: serde_json::Value = badge.send().await.unwrap().json().await.unwrap();
        assert_eq!(badge["unread"], true);
        let by_token = editor.form("/website", &[("token", &token)]).await;
        assert!(by_token.text.contains(&consumer), "{}", by_token.text);
        let forged = editor.form("/website", &[("token", "a.b.c")]).await;
        assert_eq!(forged.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(forged.text.contains("is not accepted"), "{}", forged.text);
        let stranger = editor.form("/website", &[("consumer", "nobody")]).await;
        assert!(
            stranger.text.contains("Nothing unread"),
            "{}",
            stranger.text
        );
        let body = json!({ "consumer": consumer });
        let api = editor
            .api(
                Method::POST,
                "/accounts/12345678/badge/look-up",
                Some(&body),
            )
            .await;
        assert_eq!(
            (&api.json()["unread"], &api.json()["count"]),
            (&json!(true), &json!(1))
        );
    })
    .await;
}

async fn consumer_of(t: &TestApp, conversation: &str) -> String {
    sqlx::query_scalar("select consumer from consumers where conversation = $1 limit 1")
        .bind(conversation)
        .fetch_one(t.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn the_first_page_names_what_needs_a_person_and_leads_there() {
    run_test(async |t| {
        let boss = t.person(Role::Editor).await;
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        t.tick().await;
        assert_eq!(t.mails().len(), 1);
        let page = boss.get("/").await.text;
        assert!(
            page.contains("All is well") && !page.contains("Needs attention"),
            "{page}"
        );
        assert!(page.contains("in UTC time"), "{page}");
        // The chart has its numbers beside it, and each number leads to its chart.
        assert_eq!(page.matches("role=\"img\"").count(), 1);
        assert!(
            page.contains("In all 1 e-mail, 0 SMS; 0 came back."),
            "{page}"
        );
        assert_eq!(page.matches("<summary>The numbers</summary>").count(), 1);
        assert!(
            page.contains("from none<span class=\"hidden\">: 0 in the 7 days before"),
            "{page}"
        );
        let back = boss.get("/?days=30&graph=back").await.text;
        assert!(
            back.contains("Came back, last 30 days")
                && back.contains("aria-label=\"Came back, last 30 days: None.\""),
            "{back}"
        );
        let asked = boss
            .ask(Method::GET, "/")
            .header("cookie", "zone=Asia/Kolkata");
        let local = asked.send().await.unwrap().text().await.unwrap();
        assert!(local.contains("in Asia/Kolkata time"), "{local}");

        let pause = [
            ("what", "everything"),
            ("do", "pause"),
            ("note", "moving house"),
        ];
        boss.form("/pauses", &pause).await;
        let page = boss.get("/").await.text;
        assert!(
            page.contains("Your team has paused sending") && !page.contains("All is well"),
            "{page}"
        );
        let (_, bar) = page.split_once("id=\"notices\"").expect("the bar");
        let (bar, rest) = bar.split_once("</section>").unwrap();
        assert!(
            bar.contains(&boss.name) && bar.contains("moving house"),
            "{bar}"
        );
        assert!(!rest.contains("Needs attention"), "told once: {rest}");
        let needs = boss.api(Method::GET, "/overview", None).await.json();
        let needs = needs["attention"][0]["what"].to_string();
        assert!(needs.contains("All sending is paused"), "{needs}");
        let series = boss.api(Method::GET, "/series?hours=24", None).await.json();
        assert_eq!(series["items"].as_array().unwrap().len(), 24);
        assert_eq!(
            boss.api(Method::GET, "/series?hours=24&days=2", None)
                .await
                .status,
            400
        );
    })
    .await;
}

#[tokio::test]
async fn words_are_previewed_with_a_real_conversation_s_names() {
    run_test(async |t| {
        let ed = t.person(Role::Editor).await;
        let chat = t.answered(ANN);
        let path = "/rules/12345678/default";
        let page = ed.get(path).await.text;
        let seen = value_of(&page, "name=\"seen\" value=\"");
        let words = [
            ("email_t0_language", "en"),
            ("email_t0_subject", "A message from {{agent}}"),
            ("email_t0_text", "{{link}} {{first_name}} {{count}}"),
            ("as_first_name", "Zoe"),
            ("as_agent", "Kim"),
            ("as_skill", ""),
            ("as_count", "3"),
        ];
        let mut fields = crate::rules::pages::fields(&seen, "10", "");
        fields.retain(|(name, _)| *name != "do");
        fields.extend(words);
        let look = ed.form(&format!("{path}/look"), &fields).await.text;
        assert!(
            look.contains("A message from Kim") && look.contains("Zoe 3"),
            "{look}"
        );
        let fill = |id: &str| {
            let mut fields: Vec<(&str, String)> =
                fields.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
            fields.extend([("do", "fill".to_owned()), ("conversation", id.to_owned())]);
            fields
        };
        let send = async |id: &str| {
            let fields = fill(id);
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            ed.form(path, &fields).await.text
        };
        let real = send(&chat).await;
        assert_eq!(
            value_of(&real, "name=\"as_count\" inputmode=\"numeric\" value=\""),
            "1"
        );
        assert_ne!(
            value_of(&real, "name=\"as_agent\" value=\""),
            "Kim",
            "{real}"
        );
        assert!(
            real.contains("A message from {{agent}}") && !real.contains(ANN),
            "what was written stays"
        );
        let unknown = send("nothing").await;
        assert!(
            unknown.contains("id=\"unfilled\"") && unknown.contains("value=\"Kim\""),
            "{unknown}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_seen_is_dismissed_by_one_person_until_it_happens_anew() {
    run_test(async |t| {
        let (ann, ben) = (t.person(Role::Editor).await, t.person(Role::Editor).await);
        let first = t.answered(ANN);
        t.world().garble(&first);
        t.tick().await;
        let told = async |person: &Person| person.get("/").await.text;
        let one = "1 conversation at LivePerson could not be read.";
        for person in [&ann, &ben] {
            let page = told(person).await;
            assert!(
                page.contains(one) && page.contains("There is one thing to look at."),
                "{page}"
            );
            assert!(!page.contains("All is well"), "{page}");
        }
        let dismissed = [("key", "unreadable")];
        assert_eq!(
            ann.form("/attention/dismiss", &dismissed).await.location(),
            "/"
        );
        t.tick().await;
        assert!(!told(&ann).await.contains(one), "met again is not anew");
        assert!(told(&ann).await.contains("All is well"));
        assert!(told(&ben).await.contains(one), "each for themselves");
        let api = ann.api(Method::GET, "/overview", None).await.json();
        assert_eq!(api["attention"], json!([]), "the same by the API");
        let unknown = ann.form("/attention/dismiss", &[("key", "nonsense")]).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);

        t.advance(1).await;
        let second = t.answered(BEN);
        t.world().garble(&second);
        t.tick().await;
        let two = "2 conversations at LivePerson could not be read.";
        assert!(told(&ann).await.contains(two), "another one");

        // It ends with the conversation, or a day after it was last met.
        t.world().close(&second);
        t.advance(2).await;
        t.tick().await;
        t.advance(24 * 60 - 1).await;
        // Logins end meanwhile.
        let cem = t.person(Role::Editor).await;
        assert!(
            told(&cem).await.contains(one),
            "the first was met two minutes later"
        );
        t.world().close(&first);
        t.advance(24 * 60).await;
        t.tick().await;
        let dan = t.person(Role::Editor).await;
        assert!(!told(&dan).await.contains("could not be read"));

        // Or when it is read again: it was, before it became odd.
        let third = t.answered("cem@example.net");
        t.tick().await;
        t.world().garble(&third);
        t.tick().await;
        assert!(told(&dan).await.contains(one));
        sqlx::query("update conversations set seen_at = $1 where id = $2")
            .bind(t.now() + chrono::TimeDelta::seconds(1))
            .bind(&third)
            .execute(t.pool())
            .await
            .unwrap();
        assert!(!told(&dan).await.contains("could not be read"));
    })
    .await;
}

#[tokio::test]
async fn who_comes_with_a_session_that_is_over_is_led_to_the_login_and_back() {
    run_test(async |t| {
        let ann = t.person(Role::Editor).await;
        sqlx::query("delete from sessions")
            .execute(t.pool())
            .await
            .unwrap();
        let sent = ann
            .ask(Method::POST, "/live")
            .form(&[("account", "12345678")]);
        let page = format!("{}/live?account=12345678&channel=email", t.web);
        let answer = sent.header("referer", &page).send().await.unwrap();
        let to = answer.headers()["location"].to_str().unwrap();
        assert_eq!(
            to,
            "/login?to=%2Flive%3Faccount%3D12345678%26channel%3Demail"
        );
        let login = ann.get("/login").await.text;
        assert!(login.contains("You have been logged out."), "{login}");
        let (_, fresh) = t.get("/login").await;
        assert!(!fresh.contains("You have been logged out."), "{fresh}");
        // A script is told by a status, which it can read.
        let refresh = ann
            .ask(Method::GET, "/")
            .header("x-refresh", "1")
            .send()
            .await;
        assert_eq!(refresh.unwrap().status(), StatusCode::UNAUTHORIZED);
    })
    .await;
}

#[tokio::test]
async fn who_is_limited_sees_no_numbers_of_the_whole_installation() {
    run_test(async |t| {
        t.answered("ann@example.com");
        t.tick().await;
        sqlx::query("update apalis.jobs set status = 'Killed'")
            .execute(t.pool())
            .await
            .unwrap();
        let own = AccountLimit::to([account()]);
        let limited = Rights::limited(Role::Editor, own).unwrap();
        let limited = t.person(limited).await;
        let unlimited = t.person(Role::Editor).await;
        for (page, number) in [("/", "failed repeatedly"), ("/website", "Answers so far")] {
            let seen = unlimited.get(page).await.text;
            assert!(seen.contains(number), "{page}: {seen}");
            let seen = limited.get(page).await.text;
            assert!(
                seen.contains("</html>") && !seen.contains(number),
                "{page}: {seen}"
            );
        }
        // Nothing has failed for real.
        sqlx::query("delete from apalis.jobs where status = 'Killed'")
            .execute(t.pool())
            .await
            .unwrap();
    })
    .await;
}
