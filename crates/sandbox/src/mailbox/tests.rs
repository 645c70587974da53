use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::clock::WorldClock;
use crate::outbox::{StatusChange, Text};
use crate::rules::When;
use crate::smtp::{Phase, SmtpFault};
use crate::twilio::{self, Delivery, TwilioFault, TwilioOptions, TwilioServer};

const EVIL: &str = "</iframe><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";

struct World {
    base: String,
    outbox: Outbox,
    smtp: SmtpFaults,
    twilio: TwilioServer,
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_356_331 + seconds, 0).unwrap()
}

async fn start() -> World {
    let outbox = Outbox::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let twilio = twilio::serve(
        listener,
        TwilioOptions::default(),
        outbox.clone(),
        WorldClock::manual(at(0)),
    )
    .unwrap();
    let smtp = SmtpFaults::new(1);
    let mailbox = Mailbox {
        outbox: outbox.clone(),
        smtp: Some(smtp.clone()),
        twilio: Some(twilio.account().clone()),
    };
    let base = serve(mailbox).await;
    World {
        base,
        outbox,
        smtp,
        twilio,
    }
}

async fn serve(mailbox: Mailbox) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router(mailbox)).into_future());
    base
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn text(body: &str) -> Text {
    let history = ["queued", "delivered"]
        .map(|status| StatusChange {
            at: at(1),
            status: status.to_owned(),
            error_code: None,
        })
        .to_vec();
    Text {
        at: at(0),
        sid: "SM1".into(),
        to: "+14155550123".into(),
        from: Some("+14155550100".into()),
        body: body.into(),
        segments: 1,
        history,
        ..Text::default()
    }
}

impl World {
    fn mail(&self, to: &str, subject: &str, html: &str) -> u64 {
        let raw = format!(
            "Subject: {subject}\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n"
        );
        self.outbox.accept_mail(
            at(0),
            "a@example.com".into(),
            vec![to.into()],
            raw.into_bytes(),
        )
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = client()
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap();
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("script-src 'self';"),
            "{policy}"
        );
        (response.status(), response.text().await.unwrap())
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path).await.1).unwrap()
    }
}

#[tokio::test]
async fn an_empty_mailbox_says_so() {
    let world = start().await;
    let (status, page) = world.get("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        page.contains("Nothing has arrived yet") && page.contains("What people received"),
        "{page}"
    );
    let (status, _) = world.get("/messages/1").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn messages_are_listed_newest_first_and_found_by_words() {
    let world = start().await;
    world.mail("dana@example.com", "First", "<p>x</p>");
    world.mail("kim@example.com", "Second", "<p>x</p>");
    world.outbox.accept_text(text("Third one"));
    let (_, page) = world.get("/").await;
    let place = |needle: &str| {
        page.find(needle)
            .unwrap_or_else(|| panic!("{needle} is missing"))
    };
    assert!(place("Third one") < place("Second") && place("Second") < place("First"));
    let (_, list) = world.get("/list?q=DANA+first").await;
    assert!(
        list.contains("First")
            && !list.contains("Second")
            && list.contains("/messages/1?q&#x3D;DANA%20first"),
        "{list}"
    );
    let (_, list) = world.get("/list?q=nobody").await;
    assert!(list.contains("Nothing matches"), "{list}");
}

#[tokio::test]
async fn a_mail_is_shown_in_a_frame_that_may_not_run_scripts() {
    let world = start().await;
    let id = world.mail("dana@example.com", "Hello", "<p class=\"x\">Hi</p>");
    let (_, page) = world.get(&format!("/messages/{id}")).await;
    assert!(
        page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""),
        "{page}"
    );
    assert!(
        page.contains("&lt;p class&#x3D;&quot;x&quot;&gt;Hi&lt;/p&gt;"),
        "{page}"
    );
    let raw = client()
        .get(format!("{}/messages/{id}/raw", world.base))
        .send()
        .await
        .unwrap();
    assert_eq!(raw.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(raw.text().await.unwrap().starts_with("Subject: Hello\r\n"));
}

#[tokio::test]
async fn hostile_content_stays_text_everywhere() {
    let world = start().await;
    let mail = world.mail(EVIL, EVIL, EVIL);
    let sms = world.outbox.accept_text(Text {
        to: EVIL.into(),
        sid: EVIL.into(),
        ..text(&format!("http://{EVIL} javascript:x"))
    });
    for path in [
        "/".to_owned(),
        format!("/messages/{mail}"),
        format!("/messages/{sms}"),
        format!(
            "/?q={}",
            percent_encoding::utf8_percent_encode(EVIL, percent_encoding::NON_ALPHANUMERIC)
        ),
    ] {
        let (status, page) = world.get(&path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(
            !page.contains("<script>alert") && !page.contains("<img src=x"),
            "{path}: {page}"
        );
        assert!(!page.contains("href=\"javascript:"), "{path}");
    }
}

#[tokio::test]
async fn a_text_is_a_bubble_with_its_history_and_can_be_answered() {
    let world = start().await;
    let id = world
        .outbox
        .accept_text(text("Read it: https://r.acme.example/m/7Kq2 Reply STOP"));
    let (_, page) = world.get(&format!("/messages/{id}")).await;
    for shown in [
        "1 segment,",
        "delivered",
        "href=\"https://r.acme.example/m/7Kq2\"",
        "Answer as this person",
    ] {
        assert!(page.contains(shown), "{shown} is missing in {page}");
    }
    let answer = client()
        .post(format!("{}/messages/{id}/reply", world.base))
        .form(&[("body", "STOP")])
        .send();
    assert_eq!(
        answer.await.unwrap().status(),
        StatusCode::BAD_GATEWAY,
        "there is no inbound URL yet"
    );
    world
        .twilio
        .account()
        .set_inbound_url(&format!("{}/", world.base)); // answers 405, which is an answer
    let answer = client()
        .post(format!("{}/messages/{id}/reply", world.base))
        .form(&[("body", "hi")])
        .send();
    let page = answer.await.unwrap().text().await.unwrap();
    assert!(
        page.contains("Answer: </span>STOP") && page.contains("Answer: </span>hi"),
        "{page}"
    );
    let inbound = json!({ "from": "+14155550123", "to": "+14155550100", "body": "Alto", "opt_out_type": "STOP" });
    let answer = client()
        .post(format!("{}/api/inbound", world.base))
        .json(&inbound)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], 405);
}

#[tokio::test]
async fn programs_read_and_clear_the_messages() {
    let world = start().await;
    let mail = world.mail("dana@example.com", "Hello", "<p>Hi</p>");
    world.outbox.accept_text(text("Third"));
    let all = world.json("/api/messages").await;
    assert_eq!(
        (
            all["messages"].as_array().unwrap().len(),
            &all["counts"]["mails"]
        ),
        (2, &json!(1))
    );
    assert_eq!(all["messages"][1]["history"][1]["status"], "delivered");
    assert_eq!(
        world.json("/api/messages?to=DANA@example.com").await["messages"][0]["id"],
        mail
    );
    assert_eq!(
        world.json("/api/messages?after=1&limit=5").await["messages"][0]["body"],
        "Third"
    );
    assert_eq!(
        world.json(&format!("/api/messages/{mail}")).await["html"],
        "<p>Hi</p>\r\n"
    );
    let cleared = client()
        .delete(format!("{}/api/messages", world.base))
        .send()
        .await
        .unwrap();
    assert_eq!(cleared.status(), StatusCode::NO_CONTENT);
    assert!(world.outbox.is_empty());
}

#[tokio::test]
async fn programs_steer_the_faults() {
    let world = start().await;
    let smtp = SmtpFault::reply(
        Phase::Rcpt,
        When::to("*@example.com").and_next(2),
        "550 5.1.1 No such user",
    );
    let twilio = TwilioFault::delivery(When::chance(0.5), Delivery::undelivered(30003));
    let wanted = json!({
        "smtp": [{ "phase": "rcpt", "to": "*@example.com", "next": 2, "do": "reply", "text": "550 5.1.1 No such user" }],
        "twilio": [twilio.clone(), { "next": 1, "answer": { "do": "silence", "accepted": true }, "unlisted_ms": 500 }],
    });
    let url = format!("{}/api/faults", world.base);
    let put = client().put(&url).json(&wanted).send().await.unwrap();
    assert_eq!(
        put.status(),
        StatusCode::NO_CONTENT,
        "{}",
        put.text().await.unwrap()
    );
    assert_eq!(world.smtp.rules(), [smtp]);
    assert_eq!(world.twilio.faults().rules()[0], twilio);
    assert_eq!(
        world.json("/api/faults").await["smtp"],
        wanted["smtp"]
            .as_array()
            .map(|rules| {
                let mut rules = rules.clone();
                rules[0]["delay_ms"] = json!(0);
                Value::from(rules)
            })
            .unwrap()
    );
    let put = client()
        .put(&url)
        .json(&json!({ "smtp": [{ "phase": "lunch", "do": "proceed" }] }))
        .send()
        .await
        .unwrap();
    assert!(put.status().is_client_error());
    client().delete(&url).send().await.unwrap();
    assert!(world.smtp.rules().is_empty() && world.twilio.faults().rules().is_empty());
    let alone = serve(Mailbox::of(Outbox::default())).await;
    let put = client()
        .put(format!("{alone}/api/faults"))
        .json(&json!({ "smtp": [] }))
        .send()
        .await
        .unwrap();
    assert_eq!(put.status(), StatusCode::NOT_FOUND);
}
