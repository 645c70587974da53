//! Test messages: a code first, the rule's own words to whom it has reached, so many a day, and no address left behind.

use reqwest::Method;
use serde_json::{Value, json};
use unread::control::consumers::{self, ConsumerSelector};
use unread::control::tokens;
use unread::domain::access::Permission;
use unread::sandbox::outbox::Mail;

use crate::harness::{Setup, TestApp, account, everything, run_test, run_test_with};
use crate::person::{Answer, Program};

const ALL: [Permission; 3] = [Permission::View, Permission::Edit, Permission::Operate];
const PHONE: &str = "+12025550143";

/// The six digits that a text begins with.
fn code_of(text: &str) -> String {
    let code: String = text.trim_start().chars().take(6).collect();
    assert!(code.bytes().all(|b| b.is_ascii_digit()), "{text}");
    assert!(text.contains("is your code for test messages"), "{text}");
    code
}

pub fn code_in(mail: &Mail) -> String {
    code_of(mail.text.as_deref().unwrap())
}

async fn ask(program: &Program, channel: &str, to: &str) -> Answer {
    let template = if channel == "email" {
        json!({ "subject": "Hello", "text": "Own words: {{link}}" })
    } else {
        json!({ "text": "Own words: {{link}}" })
    };
    let wish = json!({ "account": "12345678", "channel": channel, "to": to,
        "settings": { "channels": { channel: { "templates": { "en": template } } } } });
    program.send(Method::POST, "/test-messages", &wish).await
}

async fn enter(program: &Program, channel: &str, to: &str, code: &str) -> Answer {
    let wish = json!({ "account": "12345678", "channel": channel, "to": to, "code": code });
    program
        .send(Method::POST, "/test-messages/verify", &wish)
        .await
}

/// A code that is not this one.
fn another(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

async fn trail(t: &TestApp) -> Vec<(String, Value)> {
    sqlx::query_as("select action, detail from audit where action like 'test.%' order by id")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

/// All that is kept of test messages and the audit, in one text.
async fn kept(t: &TestApp) -> String {
    sqlx::query_scalar(
        "select concat((select string_agg(a::text, ' ') from audit a), (select string_agg(m::text, ' ') from test_messages m),
                       (select string_agg(r::text, ' ') from test_recipients r))",
    )
    .fetch_one(t.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn own_words_go_only_where_a_code_has_come_back_from() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        // Each address first gets a code, whatever words came with the wish.
        let sent = ask(&program, "email", "me@example.net").await;
        assert_eq!((sent.status.as_u16(), &sent.json()["accepted"]), (200, &json!(true)));
        assert_eq!(sent.json()["needs_code"], true, "{}", sent.text);
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert!(!String::from_utf8_lossy(&mails[0].raw).contains("Own words"));
        assert_eq!(mails[0].subject(), "[Test] Your code for test messages");
        let code = code_in(&mails[0]);
        let wrong = enter(&program, "email", "me@example.net", &another(&code)).await;
        assert_eq!(wrong.status, 422, "{}", wrong.text);
        assert_eq!(wrong.json()["errors"][0]["field"], "/code");
        // The code is of this address, this channel, this person.
        let other = t.program(&ALL).await;
        for (who, channel, to) in [
            (&other, "email", "me@example.net"),
            (&program, "email", "you@example.net"),
            (&program, "sms", PHONE),
        ] {
            assert_eq!(enter(who, channel, to, &code).await.status, 409, "{to}");
        }
        // Another spelling of the same address is the same.
        let right = enter(&program, "email", " ME@Example.NET ", &code).await;
        assert_eq!(right.status, 204, "{}", right.text);
        assert_eq!(enter(&program, "email", "me@example.net", &code).await.status, 409);
        let sent = ask(&program, "email", "me@example.net").await;
        assert_eq!(sent.json()["needs_code"], false, "{}", sent.text);
        let mails = t.mails();
        assert_eq!(mails[0].subject(), "[Test] Hello");
        assert!(mails[0].text.as_deref().unwrap().starts_with("Own words: "));
        // What one person has shown does not hold for another.
        assert_eq!(ask(&other, "email", "me@example.net").await.json()["needs_code"], true);
        assert_eq!(t.mails().len(), 1);

        let sent = ask(&program, "sms", PHONE).await;
        assert_eq!(sent.json()["needs_code"], true, "{}", sent.text);
        let texts = t.texts();
        assert_eq!((texts.len(), texts[0].segments), (1, 1), "{}", texts[0].body);
        let code = code_of(&texts[0].body);
        assert_eq!(enter(&program, "sms", PHONE, &code).await.status, 204);
        assert_eq!(ask(&program, "sms", PHONE).await.json()["needs_code"], false);
        assert!(t.texts()[0].body.starts_with("Own words: "));

        for wrong in ["nobody", ""] {
            let refused = ask(&program, "email", wrong).await;
            assert_eq!((refused.status.as_u16(), &refused.json()["errors"][0]["field"]), (422, &json!("/to")));
            assert_eq!(enter(&program, "email", wrong, "123456").await.status, 422);
        }
        assert!(t.reminders().await.is_empty(), "nothing is owed");
        let proof: (String, String, bool) = sqlx::query_as(
            "select account, channel, code_hash is null from test_recipients where verified_at = $1 and channel = 'sms'",
        )
        .bind(t.now())
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(proof, ("12345678".to_owned(), "sms".to_owned(), true));
        let kept = kept(t).await;
        for secret in ["me@example", "2025550143", &code] {
            assert!(!kept.contains(secret), "{kept}");
        }
        let said: Vec<Value> = trail(t).await.into_iter().map(|(action, detail)| json!([action, detail["to"], detail["verifies"]])).collect();
        let expected = [
            json!(["test.send", "example.net", true]),
            json!(["test.verify", "example.net", null]),
            json!(["test.send", "example.net", false]),
            json!(["test.send", "example.net", true]),
            json!(["test.send", "US …43", true]),
            json!(["test.verify", "US …43", null]),
            json!(["test.send", "US …43", false]),
        ];
        assert_eq!(said, expected);
    })
    .await;
}

#[tokio::test]
async fn a_code_lasts_a_quarter_of_an_hour_and_five_tries_whoever_makes_them_at_once() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let to = "me@example.net";
        ask(&program, "email", to).await;
        let first = code_in(&t.mails()[0]);
        t.advance(15).await;
        assert_eq!(
            enter(&program, "email", to, &first).await.status,
            409,
            "too late"
        );
        ask(&program, "email", to).await;
        let second = code_in(&t.mails()[0]);
        let wrong = another(&second);
        // Ten at once get five tries.
        let tries = (0..10).map(|_| enter(&program, "email", to, &wrong));
        let answers = futures_util::future::join_all(tries).await;
        let count = |status: u16| answers.iter().filter(|a| a.status == status).count();
        assert_eq!((count(422), count(409)), (5, 5));
        assert_eq!(
            enter(&program, "email", to, &second).await.status,
            409,
            "used up"
        );
        // What cannot be a code costs no try; the last code is the only one.
        ask(&program, "email", to).await;
        let third = code_in(&t.mails()[0]);
        for nonsense in ["", "12345", "1234567", "abcdef", "' or 1=1"] {
            assert_eq!(enter(&program, "email", to, nonsense).await.status, 422);
        }
        for _ in 0..4 {
            let answer = enter(&program, "email", to, &another(&third)).await;
            assert_eq!(answer.status, 422);
        }
        let spaced = format!("{} {}", &third[..3], &third[3..]);
        assert_eq!(enter(&program, "email", to, &spaced).await.status, 204);
    })
    .await;
}

#[tokio::test]
async fn somebody_sends_three_codes_and_twenty_tests_a_day_and_nobody_gets_more_codes() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        let enough = |answer: &Answer| {
            assert_eq!(answer.status, 429, "{}", answer.text);
            let after: i64 = answer.headers["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((1..=86_400).contains(&after), "{after}");
        };
        // Of many at once three get through.
        let wishes: Vec<String> = (0..8).map(|n| format!("me{n}@example.net")).collect();
        let asked = wishes.iter().map(|to| ask(&program, "email", to));
        let answers = futures_util::future::join_all(asked).await;
        let (sent, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
        assert_eq!((sent.len(), refused.len()), (3, 5));
        refused.into_iter().for_each(enough);
        let mails = t.mails();
        let to = mails[0].to[0].clone();
        assert_eq!(
            enter(&program, "email", &to, &code_in(&mails[0]))
                .await
                .status,
            204
        );
        // Seventeen more with words, then it is enough.
        for _ in 3..20 {
            assert_eq!(ask(&program, "email", &to).await.status, 200);
        }
        enough(&ask(&program, "email", &to).await);
        assert_eq!(t.mails().len(), 17);
        // An address gets three codes, whoever asks for them.
        let mut last = None;
        for _ in 0..4 {
            last = Some(ask(&t.program(&ALL).await, "email", "victim@example.net").await);
        }
        enough(&last.unwrap());
        assert_eq!(t.mails().len(), 3);
        t.advance(24 * 60).await;
        assert_eq!(
            ask(&program, "email", &to).await.json()["needs_code"],
            false
        );
        assert_eq!(
            ask(&program, "email", "victim@example.net").await.status,
            200
        );
        assert_eq!(t.mails().len(), 2);
        let left: i64 = sqlx::query_scalar("select count(*) from test_messages")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(left, 2, "what no limit counts any more is gone");
    })
    .await;
}

#[tokio::test]
async fn whom_the_installation_names_gets_own_words_at_once() {
    let setup = Setup {
        settings: vec![("UNREAD_TEST_RECIPIENTS", "@shop.example, +1 202 555 0143")],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let program = t.program(&ALL).await;
        for (channel, to, needs_code) in [
            ("email", "anybody@SHOP.example", false),
            ("email", "anybody@mail.shop.example", true),
            ("sms", PHONE, false),
            ("sms", "+12025550144", true),
        ] {
            let sent = ask(&program, channel, to).await;
            assert_eq!(sent.json()["needs_code"], needs_code, "{to}: {}", sent.text);
        }
        assert_eq!((t.mails().len(), t.texts().len()), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_verified_address_is_forgotten_with_its_person_and_when_it_is_erased() {
    run_test(async |t| {
        let to = "me@example.net";
        let verified = async || -> Program {
            let program = t.program(&ALL).await;
            ask(&program, "email", to).await;
            let code = code_in(&t.mails()[0]);
            assert_eq!(enter(&program, "email", to, &code).await.status, 204);
            program
        };
        let rows = async || -> i64 {
            let rows = sqlx::query_scalar("select count(*) from test_recipients");
            rows.fetch_one(t.pool()).await.unwrap()
        };
        let program = verified().await;
        assert_eq!(rows().await, 1);
        tokens::remove(t.pool(), program.id, "ann", t.now())
            .await
            .unwrap();
        assert_eq!(rows().await, 0);
        verified().await;
        let who = ConsumerSelector::address(
            t.pool(),
            &t.clock,
            &t.hasher().await,
            (" ME@example.net", None),
        )
        .await
        .unwrap();
        let own = everything().named(account().as_str()).unwrap();
        consumers::erase(t.pool(), (&t.clock, &t.hasher().await), "ann", &own, &who)
            .await
            .unwrap();
        assert_eq!(rows().await, 0);
    })
    .await;
}

#[tokio::test]
async fn somebody_who_opted_out_gets_no_test_message_either() {
    run_test(async |t| {
        let program = t.program(&ALL).await;
        opt_out(t, "ann@example.net").await;
        let sent = ask(&program, "email", "ann@example.net").await;
        assert_eq!(sent.status, 409, "{}", sent.text);
        assert!(sent.text.contains("opted out"), "{}", sent.text);
        // Whoever may not see addresses learns no reason, and is counted and on record: no address after address.
        let writer = t.program(&[Permission::Edit]).await;
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let sent = ask(&writer, "email", "ann@example.net").await;
            assert!(!sent.text.contains("opted out"), "{}", sent.text);
            statuses.push(sent.status.as_u16());
        }
        assert_eq!(statuses, [409, 409, 429]);
        let said =
            json!({ "accepted": false, "suppressed": true, "to": "example.net", "verifies": true });
        let held = ("test.send".to_owned(), said);
        assert_eq!(trail(t).await, [held.clone(), held.clone(), held]);
    })
    .await;
}

/// Somebody gets a reminder and follows its link out.
async fn opt_out(t: &TestApp, address: &str) {
    t.answered(address);
    t.tick().await;
    t.advance(10).await;
    assert_eq!(t.mails().len(), 1);
    let token = &t.reminders().await[0].token;
    let out = t.http.post(format!("{}/u/{token}", t.web)).send().await;
    assert_eq!(out.unwrap().status(), 200);
}
