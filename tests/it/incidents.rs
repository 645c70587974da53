//! People hear of incidents: each once when it begins and once when it is over, whichever process finds it, and by another way when mail
//! itself is what broke. And of the week's result, once.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use unread::domain::access::{Permission, Role};
use unread::domain::ids::Channel::Email;
use unread::jobs;
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::TwilioFault;

use crate::harness::{Setup, TestApp, run_test_with, step};

const ONCALL: &str = "oncall@example.net";
const PHONE: &str = "+12025550143";
const KEY: [u8; 32] = [7; 32];

/// The brand's receiver: keeps what was posted to it with a right signature, and answers as it is told.
#[derive(Clone)]
struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    answer: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            seen: Arc::default(),
            answer: Arc::new(Mutex::new(204)),
        };
        let router = Router::new()
            .route("/hook", post(Self::take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    #[expect(clippy::unused_async, reason = "axum asks for it")]
    async fn take(State(this): State<Self>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        let mac = Hmac::<Sha256>::new_from_slice(&KEY)
            .unwrap()
            .chain_update(format!("{id}.{time}."))
            .chain_update(&body);
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
        let said = serde_json::from_slice(&body).unwrap();
        this.seen.lock().unwrap().push((id, said));
        StatusCode::from_u16(*this.answer.lock().unwrap()).unwrap()
    }

    fn answers(&self, status: u16) {
        *self.answer.lock().unwrap() = status;
    }

    /// What has been posted since it was last asked: type, kind, and whose id.
    fn heard(&self) -> Vec<(String, String, String)> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let word = |said: &Value, at: &str| said.pointer(at).unwrap().as_str().unwrap().to_owned();
        seen.iter()
            .map(|(id, said)| (word(said, "/type"), word(said, "/data/kind"), id.clone()))
            .collect()
    }
}

/// Settings live as long as the test's program.
fn kept(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

async fn with_receiver(
    settings: Vec<(&'static str, &'static str)>,
    test: impl AsyncFnOnce(&TestApp, &Receiver),
) {
    let receiver = Receiver::start().await;
    let own = vec![
        ("UNREAD_NOTIFY_URL", kept(receiver.url.clone())),
        (
            "UNREAD_NOTIFY_SECRET",
            kept(format!("whsec_{}", BASE64_STANDARD.encode(KEY))),
        ),
        ("UNREAD_NOTIFY_PRIVATE", "true"),
        ("UNREAD_NOTIFY_WEEK", "never"),
    ];
    let setup = Setup {
        settings: [own, settings].concat(),
        ..Setup::default()
    };
    run_test_with(setup, async |t| test(t, &receiver).await).await;
}

/// So many minutes pass, each with its tick.
async fn minutes(t: &TestApp, n: usize) {
    for _ in 0..n {
        t.advance(1).await;
        t.tick().await;
    }
}

/// Subjects of the mails to the people on call; nobody else gets any here.
fn mails(t: &TestApp) -> Vec<String> {
    let mails = t.mails();
    assert!(mails.iter().all(|mail| mail.to == [ONCALL]));
    mails.iter().map(|mail| mail.subject().to_owned()).collect()
}

#[tokio::test]
async fn an_incident_is_told_once_when_it_begins_and_once_when_it_is_over() {
    with_receiver(
        vec![("UNREAD_NOTIFY_EMAILS", ONCALL)],
        async |t, receiver| {
            t.sandbox
                .twilio()
                .faults()
                .add(TwilioFault::error(When::always(), 20003));
            t.answered(PHONE);
            t.tick().await;
            minutes(t, 11).await;
            assert_eq!(mails(t), Vec::<String>::new(), "it has not lasted yet");
            minutes(t, 30).await;
            assert_eq!(
                mails(t),
                ["Sending from +15005550006 is paused: its provider refuses us."]
            );
            let heard = receiver.heard();
            assert_eq!(heard.len(), 1);
            assert_eq!(
                (&*heard[0].0, &*heard[0].1),
                ("incident.began", "sender_paused")
            );
            t.sandbox.twilio().faults().clear();
            // Two that are accepted show that the trouble is over.
            t.answered("+12025550144");
            minutes(t, 40).await;
            assert_eq!(
                mails(t),
                ["Over: Sending from +15005550006 is paused: its provider refuses us."]
            );
            let heard = receiver.heard();
            assert_eq!(heard.len(), 1);
            assert_eq!(
                (&*heard[0].0, &*heard[0].1),
                ("incident.ended", "sender_paused")
            );
            t.texts();
            let program = t.program(&[Permission::View]).await;
            let listed = program.get("/incidents").await.json();
            let first = &listed["items"][0];
            assert_eq!(first["kind"], "sender_paused");
            assert!(first["until"].is_string() && first["told_at"].is_string());
        },
    )
    .await;
}

#[tokio::test]
async fn when_mail_itself_is_what_broke_the_webhook_tells_it_and_the_mail_follows_when_it_works_again()
 {
    with_receiver(
        vec![("UNREAD_NOTIFY_EMAILS", ONCALL)],
        async |t, receiver| {
            let refused =
                SmtpFault::reply(Phase::Auth, When::always(), "535 5.7.8 Bad credentials");
            t.sandbox.smtp().faults().add(refused);
            t.answered("ann@example.net");
            t.tick().await;
            minutes(t, 20).await;
            let heard = receiver.heard();
            assert_eq!(heard.len(), 1, "{heard:?}");
            assert_eq!(
                (&*heard[0].0, &*heard[0].1),
                ("incident.began", "sender_paused")
            );
            let page = t.person(Role::Viewer).await.get("/connections").await;
            assert!(page.text.contains("only the webhook tells"));
            t.sandbox.smtp().faults().clear();
            t.answered("bob@example.net");
            minutes(t, 40).await;
            let subjects: Vec<String> = t
                .mails()
                .iter()
                .filter(|mail| mail.to == [ONCALL])
                .map(|mail| mail.subject().to_owned())
                .collect();
            // It began and was told late; that it is over came after it, or with it.
            assert!(!subjects.is_empty() && subjects.len() <= 2, "{subjects:?}");
            assert!(
                subjects.last().unwrap().starts_with("Over: "),
                "{subjects:?}"
            );
            assert_eq!(receiver.heard().len(), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn a_receiver_that_fails_hears_it_again_under_the_same_id() {
    with_receiver(vec![], async |t, receiver| {
        receiver.answers(500);
        t.sandbox
            .twilio()
            .faults()
            .add(TwilioFault::error(When::always(), 20003));
        t.answered(PHONE);
        t.tick().await;
        minutes(t, 20).await;
        let failed = receiver.heard();
        assert!(!failed.is_empty());
        receiver.answers(204);
        minutes(t, 60).await;
        let again = receiver.heard();
        assert_eq!(again.len(), 1, "{again:?}");
        assert!(failed.iter().all(|post| post.2 == again[0].2));
        t.texts();
    })
    .await;
}

#[tokio::test]
async fn however_many_processes_look_at_once_it_is_told_once() {
    with_receiver(vec![("UNREAD_NOTIFY_EMAILS", ONCALL)], async |t, receiver| {
        sqlx::query(
            "insert into circuits (provider, sender, opened_at, code, probe_at) values ('twilio', '+15005550006', $1, 'http 401 20003', $1 + interval '1 day')",
        )
        .bind(t.now())
        .execute(t.pool())
        .await
        .unwrap();
        for _ in 0..6 {
            join_all((0..8).map(|_| jobs::incidents::watch(t.context())))
                .await
                .into_iter()
                .collect::<Result<Vec<()>, _>>()
                .unwrap();
            t.advance(1).await;
        }
        assert_eq!(mails(t).len(), 1);
        assert_eq!(receiver.heard().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn the_week_s_result_is_mailed_once() {
    let setup = Setup {
        settings: vec![("UNREAD_NOTIFY_EMAILS", ONCALL)],
        // Tuesday, after the hour has long passed.
        now: Some("2026-01-06T12:00:00Z".parse().unwrap()),
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        t.rule(Email, |rule| rule.steps = vec![step(Email, 10)])
            .await;
        t.answered("ann@example.net");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "the reminder");
        // The next Monday at nine.
        t.advance(5 * 24 * 60 + 20 * 60 + 49).await;
        t.tick().await;
        assert_eq!(mails(t), Vec::<String>::new());
        minutes(t, 3).await;
        let weekly = t.mails();
        assert_eq!(weekly.len(), 1);
        assert_eq!(weekly[0].subject(), "1 reminder, 0 came back");
        let text = weekly[0].text.as_deref().unwrap();
        assert!(
            text.contains("1 reminder, 0 came back; 0 opted out."),
            "{text}"
        );
        join_all((0..4).map(|_| jobs::week::tell(t.context()))).await;
        t.advance(600).await;
        t.tick().await;
        assert!(mails(t).is_empty());
    })
    .await;
}

#[test]
fn every_kind_is_an_alert_of_the_monitoring_too() {
    let rules = include_str!("../../docker/prometheus/rules.yaml");
    for kind in unread::domain::incident::IncidentKind::ALL {
        let alert = format!("- alert: {}\n", kind.alert());
        assert!(rules.contains(&alert), "{alert}");
    }
}
