use std::future::Future;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::outbox::Text;
use crate::rules::When;

const TO: &str = "+14155550123";
const FROM: &str = "+14155550100";
const SERVICE: &str = "MG00000000000000000000000000000001";
const BODY: &str = "Acme: you have a new reply from Sam. Read it: https://r.acme.example/m/7Kq2ZxT9 Reply STOP to opt out";
/// Far above what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

struct World {
    server: TwilioServer,
    outbox: Outbox,
    clock: WorldClock,
    client: reqwest::Client,
    options: TwilioOptions,
}

/// Sunday, 22 November 2026, 14:05:31, the time of the samples; moved by hand.
async fn start(options: TwilioOptions) -> World {
    start_at(
        options,
        WorldClock::manual(DateTime::<Utc>::from_timestamp(1_795_356_331, 0).unwrap()),
    )
    .await
}

async fn start_at(options: TwilioOptions, clock: WorldClock) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outbox = Outbox::default();
    let server = serve(listener, options.clone(), outbox.clone(), clock.clone()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    World {
        server,
        outbox,
        clock,
        client,
        options,
    }
}

fn with_service() -> TwilioOptions {
    TwilioOptions {
        services: HashMap::from([(SERVICE.to_owned(), vec![FROM.to_owned()])]),
        ..TwilioOptions::default()
    }
}

impl World {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    fn messages_url(&self) -> String {
        self.url(&format!(
            "/2010-04-01/Accounts/{}/Messages.json",
            self.options.account_sid
        ))
    }

    fn signed_in(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(&self.options.account_sid, Some(&self.options.auth_token))
    }

    fn post(
        &self,
        fields: &[(&str, &str)],
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        self.signed_in(self.client.post(self.messages_url()))
            .form(fields)
            .send()
    }

    /// Creates a message that is fine, with more fields.
    fn send(
        &self,
        more: &[(&str, &str)],
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        self.post(&[&[("To", TO), ("From", FROM), ("Body", BODY)], more].concat())
    }

    async fn get(&self, path_and_query: &str) -> (StatusCode, Value) {
        let response = self
            .signed_in(self.client.get(self.url(path_and_query)))
            .send()
            .await
            .unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn list(&self) -> Vec<Value> {
        let path = format!(
            "/2010-04-01/Accounts/{}/Messages.json?To=%2B14155550123",
            self.options.account_sid
        );
        let (status, page) = self.get(&path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        page["messages"].as_array().unwrap().clone()
    }

    fn advance(&self, milliseconds: i64) {
        self.clock.advance(TimeDelta::milliseconds(milliseconds));
    }

    async fn text_becomes(&self, holds: impl Fn(&Text) -> bool) -> Arc<Text> {
        let came_true = self
            .outbox
            .wait_for(
                |outbox| outbox.texts().last().is_some_and(|text| holds(text)),
                PATIENCE,
            )
            .await;
        let text = self.outbox.texts().last().unwrap().clone();
        assert!(came_true, "{text:?}");
        text
    }
}

async fn outcome(
    response: impl Future<Output = reqwest::Result<reqwest::Response>>,
) -> (u16, Value) {
    let response = response.await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default(),
    )
}

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Headers, path with query, and fields.
type Post = (HeaderMap, String, Vec<(String, String)>);

/// Our own web server: what was posted to it, and what it answers.
struct Receiver {
    url: String,
    posts: mpsc::UnboundedReceiver<Post>,
    answer: watch::Sender<StatusCode>,
}

async fn receiver() -> Receiver {
    type Shared = (mpsc::UnboundedSender<Post>, watch::Receiver<StatusCode>);
    async fn receive(
        State((posts, answer)): State<Shared>,
        uri: Uri,
        headers: HeaderMap,
        body: String,
    ) -> StatusCode {
        let fields = url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        posts.send((headers, uri.to_string(), fields)).unwrap();
        *answer.borrow()
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, posts) = mpsc::unbounded_channel();
    let (answer, answers) = watch::channel(StatusCode::NO_CONTENT);
    let app = axum::Router::new()
        .fallback(axum::routing::post(receive))
        .with_state((sender, answers));
    tokio::spawn(axum::serve(listener, app).into_future());
    Receiver { url, posts, answer }
}

impl Receiver {
    /// The next post's status, after its signature is checked with `token`.
    async fn next(&mut self, token: &str) -> Vec<(String, String)> {
        let next = tokio::time::timeout(PATIENCE, self.posts.recv()).await;
        let (headers, uri, fields) = next.expect("a webhook in time").unwrap();
        let signed = sign(token, &format!("{}{uri}", self.url), &fields);
        assert_eq!(headers["X-Twilio-Signature"], signed, "{fields:?}");
        fields
    }
}

fn value<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map_or("", |(_, value)| value)
}

#[tokio::test]
async fn a_created_message_looks_like_the_sample() {
    let world = start(TwilioOptions::default()).await;
    let (status, created) = outcome(world.send(&[
        ("ValidityPeriod", "900"),
        ("StatusCallback", "http://127.0.0.1:1/s?rid=1"),
    ]))
    .await;
    assert_eq!(
        (status, created),
        (
            201,
            // Ours has the last digits of its account in its name.
            sample(
                &include_str!("../../../../tests/fixtures/channels/twilio-create-201.json")
                    .replace(&format!("SM{:032}", 1), &format!("SM{:08}{:024}", 1, 1))
            )
        )
    );
    let text = world.outbox.texts()[0].clone();
    assert_eq!(
        (
            text.to.as_str(),
            text.body.as_str(),
            text.status(),
            text.segments
        ),
        (TO, BODY, "queued", 1)
    );
    assert_eq!(
        (text.validity_period, text.status_callback.as_deref()),
        (Some(900), Some("http://127.0.0.1:1/s?rid=1"))
    );
}

#[tokio::test]
async fn a_messaging_service_answers_accepted_and_chooses_a_sender_later() {
    let world = start(with_service()).await;
    let (status, mut created) =
        outcome(world.post(&[("To", TO), ("MessagingServiceSid", SERVICE), ("Body", BODY)])).await;
    let mut expected = sample(include_str!(
        "../../../../tests/fixtures/channels/twilio-create-201-messaging-service.json"
    ));
    for key in ["sid", "uri", "subresource_uris"] {
        created[key] = Value::Null;
        expected[key] = Value::Null;
    }
    assert_eq!((status, created), (201, expected));
    world.advance(10_000);
    let text = world
        .text_becomes(|text| text.status() == "delivered")
        .await;
    assert_eq!(text.from.as_deref(), Some(FROM));
    let statuses: Vec<&str> = text
        .history
        .iter()
        .map(|change| change.status.as_str())
        .collect();
    assert_eq!(statuses, ["accepted", "queued", "sent", "delivered"]);
}

#[tokio::test]
async fn rescheduling_for_compliance_answers_scheduled_and_stays_so() {
    let world = start(with_service()).await;
    world
        .server
        .faults()
        .add(TwilioFault::answer(When::always(), TwilioAnswer::Scheduled));
    let (_, created) =
        outcome(world.post(&[("To", TO), ("MessagingServiceSid", SERVICE), ("Body", BODY)])).await;
    let expected = sample(include_str!(
        "../../../../tests/fixtures/channels/twilio-create-201-rescheduled-by-compliance.json"
    ));
    for key in ["status", "from", "num_segments", "messaging_service_sid"] {
        assert_eq!(created[key], expected[key], "{key}");
    }
    world.advance(1_000_000);
    assert_eq!(world.list().await[0]["status"], "scheduled");
}

#[tokio::test]
async fn parameters_are_checked_as_twilio_checks_them() {
    let options = TwilioOptions {
        senders: vec![FROM.to_owned()],
        ..with_service()
    };
    let world = start(options).await;
    let long = "x".repeat(1_601);
    let cases: [(&[(&str, &str)], u64); 16] = [
        (&[("From", FROM), ("Body", "x")], 21604),
        (
            &[("To", "4155550123"), ("From", FROM), ("Body", "x")],
            21211,
        ),
        (
            &[("To", "+0155550123"), ("From", FROM), ("Body", "x")],
            21211,
        ),
        (
            &[("To", "+14155550123456789"), ("From", FROM), ("Body", "x")],
            21211,
        ),
        (
            &[("To", "+1415 5550123"), ("From", FROM), ("Body", "x")],
            21211,
        ),
        (&[("To", TO), ("Body", "x")], 21603),
        (
            &[("To", TO), ("From", "+14155550199"), ("Body", "x")],
            21606,
        ),
        (
            &[("To", TO), ("MessagingServiceSid", "MG9"), ("Body", "x")],
            21705,
        ),
        (&[("To", TO), ("From", FROM)], 21602),
        (&[("To", TO), ("From", FROM), ("Body", "")], 21602),
        (&[("To", TO), ("From", FROM), ("Body", &long)], 21617),
        (
            &[
                ("To", TO),
                ("From", FROM),
                ("Body", "x"),
                ("ValidityPeriod", "0"),
            ],
            90007,
        ),
        (
            &[
                ("To", TO),
                ("From", FROM),
                ("Body", "x"),
                ("ValidityPeriod", "36001"),
            ],
            90007,
        ),
        (
            &[
                ("To", TO),
                ("From", FROM),
                ("Body", "x"),
                ("ValidityPeriod", "soon"),
            ],
            90007,
        ),
        (
            &[
                ("To", TO),
                ("From", FROM),
                ("Body", "x"),
                ("StatusCallback", "/relative"),
            ],
            21609,
        ),
        (
            &[
                ("To", TO),
                ("From", FROM),
                ("Body", "x"),
                ("StatusCallback", "http://a_b.example/"),
            ],
            21609,
        ),
    ];
    for (fields, code) in cases {
        let (status, body) = outcome(world.post(fields)).await;
        assert_eq!(
            (status, body["code"].as_u64()),
            (400, Some(code)),
            "{fields:?}"
        );
    }
    assert!(world.outbox.is_empty());
    let longest = "x".repeat(1_600);
    assert_eq!(
        outcome(world.post(&[("To", TO), ("From", FROM), ("Body", &longest)]))
            .await
            .0,
        201
    );
}

#[tokio::test]
async fn credentials_and_account_are_checked() {
    let key = (
        "SK00000000000000000000000000000001".to_owned(),
        "secret".to_owned(),
    );
    let world = start(TwilioOptions {
        api_key: Some(key.clone()),
        ..TwilioOptions::default()
    })
    .await;
    let by = |url: String, user: &str, password: &str| {
        outcome(
            world
                .client
                .post(url)
                .basic_auth(user, Some(password))
                .form(&[("To", TO), ("From", FROM), ("Body", "x")])
                .send(),
        )
    };
    assert_eq!(by(world.messages_url(), &key.0, &key.1).await.0, 201);
    let (status, body) = by(world.messages_url(), &key.0, "other").await;
    assert_eq!((status, body["code"].as_u64()), (401, Some(20003)));
    let other = world.url("/2010-04-01/Accounts/AC9/Messages.json");
    let (status, body) = by(other, &key.0, &key.1).await;
    assert_eq!((status, body["code"].as_u64()), (404, Some(20404)));
    assert_eq!(world.outbox.texts().len(), 1);
}

#[tokio::test]
async fn every_sample_error_can_be_played() {
    let world = start(TwilioOptions::default()).await;
    let samples = sample(include_str!(
        "../../../../tests/fixtures/channels/twilio-errors.json"
    ));
    for expected in samples.as_array().unwrap() {
        let code = expected["body"]["code"]
            .as_u64()
            .map_or(20503, |code| u32::try_from(code).unwrap());
        let answer = match &expected["headers"]["Retry-After"] {
            Value::String(seconds) => TwilioAnswer::TooMany {
                retry_after: Some(seconds.parse().unwrap()),
            },
            _ => TwilioAnswer::Error { code },
        };
        world
            .server
            .faults()
            .add(TwilioFault::answer(When::next(1), answer));
        let to = if code == 21408 { "+447911123456" } else { TO };
        let to = if code == 21408 { &to[..13] } else { to };
        let response = world
            .post(&[("To", to), ("From", FROM), ("Body", "x")])
            .await
            .unwrap();
        assert_eq!(response.status().as_u16(), expected["http_status"]);
        for (name, wanted) in expected["headers"].as_object().unwrap() {
            assert_eq!(response.headers()[name], wanted.as_str().unwrap());
        }
        let body = response.text().await.unwrap();
        match expected["body_text"].as_str() {
            Some(text) => assert_eq!(body, text),
            None => assert_eq!(sample(&body), expected["body"]),
        }
    }
    world.server.faults().add(TwilioFault::answer(
        When::next(1),
        TwilioAnswer::TooMany { retry_after: None },
    ));
    assert!(
        !world
            .send(&[])
            .await
            .unwrap()
            .headers()
            .contains_key("Retry-After")
    );
    assert!(world.outbox.is_empty());
}

#[tokio::test]
async fn lost_answers_leave_the_truth_in_the_outbox_and_in_the_list() {
    let world = start(TwilioOptions::default()).await;
    for (answer, accepted) in [
        (TwilioAnswer::Silence { accepted: true }, true),
        (TwilioAnswer::Silence { accepted: false }, false),
        (TwilioAnswer::Close { accepted: true }, true),
        (TwilioAnswer::Close { accepted: false }, false),
    ] {
        let before = world.outbox.texts().len();
        let faults = world.server.faults();
        let struck = faults.struck();
        faults.add(TwilioFault::answer(When::next(1), answer.clone()));
        if matches!(answer, TwilioAnswer::Silence { .. }) {
            let falls_silent = async {
                while faults.struck() == struck {
                    tokio::task::yield_now().await;
                }
                // And says nothing for a while.
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            tokio::select! {
                answer = world.send(&[]) => panic!("{answer:?}"),
                silent = tokio::time::timeout(PATIENCE, falls_silent) => silent.unwrap(),
            }
        } else {
            let error = world.send(&[]).await.unwrap_err();
            assert!(!error.is_connect() && !error.is_timeout(), "{error:?}");
        }
        assert_eq!(
            world.outbox.texts().len() - before,
            usize::from(accepted),
            "{answer:?}"
        );
        assert_eq!(world.list().await.len(), world.outbox.texts().len());
    }
    world
        .server
        .faults()
        .add(TwilioFault::answer(When::next(1), TwilioAnswer::CutBody));
    let response = world.send(&[]).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(response.json::<Value>().await.unwrap_err().is_decode());
    assert_eq!(world.outbox.texts().len(), 3);
}

#[tokio::test]
async fn a_slow_answer_comes_after_the_message_is_accepted() {
    let world = start(TwilioOptions::default()).await;
    world
        .server
        .faults()
        .add(TwilioFault::slow(When::next(1), 80));
    let started = std::time::Instant::now();
    let mut response = std::pin::pin!(world.send(&[]));
    let accepted = world
        .outbox
        .wait_for(|outbox| outbox.counts().texts == 1, PATIENCE);
    tokio::select! {
        biased;
        accepted = accepted => assert!(accepted),
        response = &mut response => panic!("{response:?} before the message is accepted"),
    }
    assert_eq!(response.await.unwrap().status(), StatusCode::CREATED);
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn the_list_can_lag_behind() {
    let world = start(TwilioOptions::default()).await;
    world
        .server
        .faults()
        .add(TwilioFault::answer(When::next(1), TwilioAnswer::Proceed).unlisted_for(30_000));
    world.send(&[]).await.unwrap();
    assert_eq!(world.list().await.len(), 0);
    world.advance(30_000);
    assert_eq!(world.list().await.len(), 1);
    world
        .server
        .faults()
        .add(TwilioFault::error(When::next(1), 20500).on(Operation::List));
    let (status, _) = world
        .get(&format!(
            "/2010-04-01/Accounts/{}/Messages.json",
            world.options.account_sid
        ))
        .await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn pages_are_followed_by_next_page_uri_even_while_messages_arrive() {
    let world = start(TwilioOptions {
        delivery: Delivery::unconfirmed(),
        ..TwilioOptions::default()
    })
    .await;
    for number in 0..5 {
        world
            .post(&[("To", TO), ("From", FROM), ("Body", &number.to_string())])
            .await
            .unwrap();
        world
            .post(&[("To", "+14155550177"), ("From", FROM), ("Body", "other")])
            .await
            .unwrap();
    }
    let mut next = Some(format!(
        "/2010-04-01/Accounts/{}/Messages.json?To=%2B14155550123&PageSize=2",
        world.options.account_sid
    ));
    let mut bodies = Vec::new();
    let mut pages = 0;
    while let Some(uri) = next {
        let (_, page) = world.get(&uri).await;
        bodies.extend(
            page["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(|message| message["body"].as_str().unwrap().to_owned()),
        );
        assert_eq!(
            (page["page"].as_u64(), page["start"].as_u64()),
            (Some(pages), Some(pages * 2))
        );
        next = page["next_page_uri"].as_str().map(str::to_owned);
        pages += 1;
        world
            .post(&[("To", TO), ("From", FROM), ("Body", "late")])
            .await
            .unwrap();
    }
    assert_eq!(
        (bodies, pages),
        (["4", "3", "2", "1", "0"].map(str::to_owned).to_vec(), 3)
    );
}

#[tokio::test]
async fn an_empty_page_and_the_uris_look_like_the_samples() {
    let world = start(TwilioOptions::default()).await;
    let path = format!(
        "/2010-04-01/Accounts/{}/Messages.json?To=%2B14155550123&PageSize=50",
        world.options.account_sid
    );
    let (_, page) = world.get(&path).await;
    let mut expected = sample(include_str!(
        "../../../../tests/fixtures/channels/twilio-list-200-empty.json"
    ));
    // The sample was asked for as page 0.
    expected["uri"] = page["uri"].clone();
    assert_eq!(page, expected);
    assert_eq!(page["uri"], format!("{path}&Page=0"));
}

#[tokio::test]
async fn messages_not_yet_sent_have_no_date_to_be_found_by() {
    let world = start(TwilioOptions::default()).await;
    world.send(&[]).await.unwrap();
    let found = async |filter: &str| {
        let path = format!(
            "/2010-04-01/Accounts/{}/Messages.json?{filter}",
            world.options.account_sid
        );
        world.get(&path).await.1["messages"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(found("DateSent%3E=2026-01-01").await, 0);
    world.advance(600);
    world.text_becomes(|text| text.status() == "sent").await;
    for (filter, count) in [
        ("DateSent%3E=2026-11-22", 1),
        ("DateSent%3E=2026-11-23", 0),
        ("DateSent%3C=2026-11-21", 0),
        ("DateSent=2026-11-22", 1),
        (
            "DateSent%3E=2026-11-22T14:05:00Z&DateSent%3C=2026-11-22T15:00:00Z",
            1,
        ),
    ] {
        assert_eq!(found(filter).await, count, "{filter}");
    }
}

#[tokio::test]
async fn messages_are_fetched_redacted_and_deleted_but_the_witness_remembers() {
    let world = start(TwilioOptions::default()).await;
    let (_, created) = outcome(world.send(&[])).await;
    let uri = created["uri"].as_str().unwrap().to_owned();
    world.advance(5_000);
    world
        .text_becomes(|text| text.status() == "delivered")
        .await;
    let (_, fetched) = world.get(&uri).await;
    let expected = sample(include_str!(
        "../../../../tests/fixtures/channels/twilio-fetch-200-delivered.json"
    ));
    for key in [
        "status",
        "price",
        "num_segments",
        "error_code",
        "direction",
        "from",
    ] {
        assert_eq!(fetched[key], expected[key], "{key}");
    }
    let change = |body: &'static str| {
        outcome(
            world
                .signed_in(world.client.post(world.url(&uri)))
                .form(&[("Body", body)])
                .send(),
        )
    };
    assert_eq!(change("other").await.0, 400);
    let (status, redacted) = change("").await;
    assert_eq!((status, &redacted["body"]), (200, &json!("")));
    let deleted = world
        .signed_in(world.client.delete(world.url(&uri)))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(world.get(&uri).await.1["code"], 20404);
    assert!(world.list().await.is_empty());
    assert_eq!(world.outbox.texts()[0].body, BODY);
}

#[tokio::test]
async fn callbacks_are_signed_and_follow_the_message_at_its_pace() {
    let world = start(with_service()).await;
    let mut receiver = receiver().await;
    let callback = format!("{}/status?rid=01JD&a=1#rc=2&rp=all", receiver.url);
    world
        .post(&[
            ("To", TO),
            ("MessagingServiceSid", SERVICE),
            ("Body", "x"),
            ("StatusCallback", &callback),
        ])
        .await
        .unwrap();
    assert!(receiver.posts.try_recv().is_err());
    for status in ["queued", "sent", "delivered"] {
        world.advance(1_500);
        let fields = receiver.next(&world.options.auth_token).await;
        assert_eq!(
            (value(&fields, "MessageStatus"), value(&fields, "SmsStatus")),
            (status, status)
        );
        assert_eq!(value(&fields, "MessageSid"), world.outbox.texts()[0].sid);
        assert_eq!(
            (
                value(&fields, "From"),
                value(&fields, "MessagingServiceSid")
            ),
            (FROM, SERVICE)
        );
    }
}

/// A delivery, the token its callbacks are signed with, and their statuses and error codes.
type Expected<'a> = (Delivery, &'a str, Vec<(&'a str, &'a str)>);

#[tokio::test]
async fn deliveries_fail_and_callbacks_go_wrong_as_scripted() {
    let world = start(TwilioOptions::default()).await;
    let mut receiver = receiver().await;
    let token = world.options.auth_token.clone();
    let send = async |delivery: Delivery| {
        world
            .server
            .faults()
            .add(TwilioFault::delivery(When::next(1), delivery));
        world
            .send(&[("StatusCallback", &format!("{}/", receiver.url))])
            .await
            .unwrap();
        world.advance(60_000);
    };
    let mut expect: Vec<Expected> = vec![
        (
            Delivery::undelivered(30003),
            &token,
            vec![("sent", ""), ("undelivered", "30003")],
        ),
        (Delivery::failed(30034), &token, vec![("failed", "30034")]),
        (Delivery::unconfirmed(), &token, vec![("sent", "")]),
        (
            Delivery::delivered().calling_back_out_of_order(),
            &token,
            vec![("delivered", ""), ("sent", "")],
        ),
        (
            Delivery::unconfirmed().calling_back(Callback::Twice),
            &token,
            vec![("sent", ""), ("sent", "")],
        ),
        (
            Delivery::unconfirmed().calling_back(Callback::WronglySigned),
            "not the token",
            vec![("sent", "")],
        ),
        (
            Delivery::delivered().calling_back(Callback::Missing),
            &token,
            vec![],
        ),
        (
            Delivery::unconfirmed().calling_back_late(50_000),
            &token,
            vec![("sent", "")],
        ),
    ];
    for (delivery, _, _) in &expect {
        send(delivery.clone()).await;
        world.text_becomes(|text| text.history.len() > 1).await;
    }
    // Messages live side by side; what was posted for each is told apart by its sid.
    let texts = world.outbox.texts();
    let total: usize = expect.iter().map(|(_, _, posts)| posts.len()).sum();
    for _ in 0..total {
        let (headers, uri, fields) = tokio::time::timeout(PATIENCE, receiver.posts.recv())
            .await
            .unwrap()
            .unwrap();
        let place = texts
            .iter()
            .position(|text| text.sid == value(&fields, "MessageSid"))
            .unwrap();
        let (_, token, posts) = &mut expect[place];
        assert_eq!(
            headers["X-Twilio-Signature"],
            sign(token, &format!("{}{uri}", receiver.url), &fields)
        );
        assert_eq!(
            posts.remove(0),
            (value(&fields, "MessageStatus"), value(&fields, "ErrorCode"))
        );
    }
    assert!(expect.iter().all(|(_, _, posts)| posts.is_empty()));
    assert_eq!(
        world
            .outbox
            .text(&texts[1].sid)
            .unwrap()
            .history
            .last()
            .unwrap()
            .error_code,
        Some(30034)
    );
}

#[tokio::test]
async fn a_message_not_handed_over_in_its_validity_fails() {
    let mut slow = Delivery::delivered();
    slow.0.iter_mut().for_each(|step| step.after_ms *= 1_000);
    let world = start(TwilioOptions {
        delivery: slow,
        ..TwilioOptions::default()
    })
    .await;
    world.send(&[("ValidityPeriod", "60")]).await.unwrap();
    world.advance(10_000_000);
    let text = world.text_becomes(|text| text.history.len() > 1).await;
    assert_eq!(
        (text.status(), text.history.last().unwrap().error_code),
        ("failed", Some(30036))
    );
}

#[tokio::test]
async fn a_callback_that_fails_is_repeated_only_if_the_url_asks() {
    let world = start(TwilioOptions {
        delivery: Delivery::unconfirmed(),
        ..TwilioOptions::default()
    })
    .await;
    let mut receiver = receiver().await;
    receiver
        .answer
        .send_replace(StatusCode::INTERNAL_SERVER_ERROR);
    for (fragment, posts) in [("", 1), ("#rc=2&rp=5xx", 3), ("#rc=2&rp=4xx", 1)] {
        let lost = world.server.account().counts().lost_callbacks;
        world
            .send(&[("StatusCallback", &format!("{}/{fragment}", receiver.url))])
            .await
            .unwrap();
        world.advance(10_000);
        for _ in 0..posts {
            receiver.next(&world.options.auth_token).await;
        }
        let given_up = async {
            while world.server.account().counts().lost_callbacks == lost {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.unwrap();
        assert!(receiver.posts.try_recv().is_err(), "{fragment}");
    }
}

#[tokio::test]
async fn stop_and_start_change_what_later_creates_are_answered() {
    let world = start(with_service()).await;
    let mut receiver = receiver().await;
    let account = world.server.account();
    assert!(matches!(
        account.inbound(TO, FROM, "hi", None).await,
        Err(InboundError::NoUrl)
    ));
    account.set_inbound_url(&format!("{}/inbound", receiver.url));
    let by_service =
        || outcome(world.post(&[("To", TO), ("MessagingServiceSid", SERVICE), ("Body", "x")]));

    assert_eq!(
        account.inbound(TO, FROM, " stop ", None).await.unwrap().0,
        204
    );
    let fields = receiver.next(&world.options.auth_token).await;
    assert_eq!(
        (
            value(&fields, "Body"),
            value(&fields, "SmsStatus"),
            value(&fields, "OptOutType")
        ),
        (" stop ", "received", "")
    );
    let (status, body) = by_service().await;
    assert_eq!((status, body["code"].as_u64()), (400, Some(21610)));

    account
        .inbound(TO, FROM, "bitte wieder", Some(OptOutType::Start))
        .await
        .unwrap();
    let fields = receiver.next(&world.options.auth_token).await;
    assert_eq!(
        (
            value(&fields, "MessagingServiceSid"),
            value(&fields, "OptOutType")
        ),
        (SERVICE, "START")
    );
    assert_eq!(by_service().await.0, 201);

    account
        .inbound(TO, FROM, "please stop texting me", None)
        .await
        .unwrap();
    assert_eq!(by_service().await.0, 201);
    // What came in is in Twilio's list, but was not sent by us.
    let path = format!(
        "/2010-04-01/Accounts/{}/Messages.json?From=%2B14155550123",
        world.options.account_sid
    );
    let (_, page) = world.get(&path).await;
    assert_eq!(
        (
            page["messages"].as_array().unwrap().len(),
            &page["messages"][0]["direction"]
        ),
        (4, &json!("inbound"))
    );
    assert_eq!(world.outbox.texts().len(), 2);
}

#[test]
fn keywords_are_single_english_words() {
    let samples = sample(include_str!(
        "../../../../tests/fixtures/channels/opt-out-keywords.json"
    ));
    for case in samples["cases"].as_array().unwrap() {
        let expected = match case["twilio_default"].as_str().unwrap() {
            "opt_out" => Some(OptOutType::Stop),
            "opt_in" => Some(OptOutType::Start),
            "help" => Some(OptOutType::Help),
            _ => None,
        };
        assert_eq!(
            OptOutType::of(case["body"].as_str().unwrap()),
            expected,
            "{case}"
        );
    }
}

#[tokio::test]
async fn too_many_requests_at_a_time_are_refused() {
    let world = start(TwilioOptions {
        max_concurrent: Some(1),
        ..TwilioOptions::default()
    })
    .await;
    world.server.faults().add(TwilioFault::answer(
        When::next(1),
        TwilioAnswer::Silence { accepted: false },
    ));
    let hanging = tokio::spawn(world.send(&[]));
    let struck = async {
        while world.server.faults().struck() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, struck).await.unwrap();
    assert_eq!(outcome(world.send(&[])).await.0, 429);
    world.server.stop();
    assert!(
        hanging.await.unwrap().is_err(),
        "stopping ends requests that hang"
    );
}

#[tokio::test]
async fn time_that_runs_by_itself_delivers_too() {
    let clock = WorldClock::scaled(
        DateTime::from_timestamp(0, 0).unwrap(),
        std::time::Instant::now(),
        100.0,
    );
    let world = start_at(TwilioOptions::default(), clock).await;
    world.send(&[]).await.unwrap();
    world
        .text_becomes(|text| text.status() == "delivered")
        .await;
}
