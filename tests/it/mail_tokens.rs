//! Logging in at the mail server by token (XOAUTH2): Microsoft 365 and Google, their token endpoints, and every way in which they refuse.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use unread::channel::adapter::{Check, Configured as _, Health};
use unread::channel::smtp::{Pool, SmtpSettings};
use unread::config::{Config, ProcessRole, Sources};
use unread::demo;
use unread::domain::outcome::{Outcome, Retryable};
use unread::sandbox::oauth::{OAuth, OAuthOptions, SetUp, TokenTrouble};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault, SmtpOptions};
use unread::sandbox::{Options, Sandbox};

use crate::harness::{Setup, TestApp, eventually, run_test_with};

const APP: &str = include_str!("../fixtures/oauth/app.pem");
const GOOGLE_KEY: &str = include_str!("../fixtures/badge/issuer.key.pem");
const MAILBOX: &str = "hello@shop.example";
const CLIENT_SECRET: &str = "hunter2-of-the-app";

fn der(base64: &str) -> Vec<u8> {
    let base64: String = base64
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    BASE64_STANDARD.decode(base64).unwrap()
}

async fn provider() -> OAuth {
    let public = include_str!("../fixtures/badge/issuer.public.pem");
    let started = OAuth::start(OAuthOptions {
        tenant: "shop.example".to_owned(),
        client_id: "the-app".to_owned(),
        client_secret: CLIENT_SECRET.to_owned(),
        certificate: Some((
            include_str!("../fixtures/oauth/app.thumbprint.txt")
                .trim()
                .to_owned(),
            der(include_str!("../fixtures/oauth/app.public.txt")),
        )),
        // Behind the 24 octets that say "RSA key".
        google: Some((
            "mail@shop.iam.example".to_owned(),
            der(public)[24..].to_vec(),
        )),
        mailbox: MAILBOX.to_owned(),
    });
    started.await.unwrap()
}

/// A mail server that takes this provider's tokens, and nothing else.
fn server(oauth: &OAuth) -> SmtpOptions {
    SmtpOptions {
        oauth: Some(oauth.clone()),
        ..SmtpOptions::default()
    }
}

type Given = Vec<(&'static str, String)>;

fn by_secret(oauth: &OAuth) -> Given {
    vec![
        ("SMTP_USER", MAILBOX.to_owned()),
        ("SMTP_PASS", String::new()),
        ("SMTP_OAUTH_TENANT", "shop.example".to_owned()),
        ("SMTP_OAUTH_CLIENT_ID", "the-app".to_owned()),
        ("SMTP_OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
        ("SMTP_OAUTH_TOKEN_URL", oauth.microsoft_url("shop.example")),
    ]
}

fn by_certificate(oauth: &OAuth) -> Given {
    let mut given = by_secret(oauth);
    given.push(("SMTP_OAUTH_CLIENT_SECRET", String::new()));
    given.push(("SMTP_OAUTH_CERTIFICATE", APP.to_owned()));
    given
}

fn by_service_account(oauth: &OAuth) -> Given {
    let key = serde_json::json!({
        "client_email": "mail@shop.iam.example", "private_key": GOOGLE_KEY, "private_key_id": "1",
    });
    vec![
        ("SMTP_USER", MAILBOX.to_owned()),
        ("SMTP_PASS", String::new()),
        ("SMTP_OAUTH_GOOGLE_KEY", key.to_string()),
        ("SMTP_OAUTH_TOKEN_URL", oauth.google_url()),
    ]
}

/// A mail server, a provider of its tokens, and the settings of whom they let in.
struct Scene {
    oauth: OAuth,
    sandbox: Sandbox,
    given: Given,
}

impl Scene {
    async fn new(given: fn(&OAuth) -> Given) -> Self {
        let oauth = provider().await;
        let sandbox = Sandbox::start(Options {
            smtp: server(&oauth),
            ..Options::default()
        });
        Self {
            given: given(&oauth),
            sandbox: sandbox.await.unwrap(),
            oauth,
        }
    }

    fn change(mut self, key: &'static str, value: &str) -> Self {
        self.given.push((key, value.to_owned()));
        self
    }

    fn settings(&self) -> SmtpSettings {
        let mut environment: BTreeMap<String, String> = demo::environment(self.sandbox.endpoints());
        environment.insert("UNREAD_PAGE_URL".into(), "https://shop.example/help".into());
        environment.extend(
            self.given
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        );
        let sources = Sources {
            environment,
            file: None,
            read_secret: |path| std::fs::read_to_string(path),
        };
        let config = Config::read(&sources, ProcessRole::Doctor);
        config
            .unwrap_or_else(|error| panic!("{error}"))
            .channels
            .smtp
            .unwrap()
    }

    fn pool(&self) -> Pool {
        Pool::new(self.settings(), 1).unwrap()
    }

    async fn examined(&self) -> Vec<Check> {
        let public_url = "http://127.0.0.1".parse().unwrap();
        self.settings()
            .adapter(&public_url)
            .unwrap()
            .examine()
            .await
    }
}

/// How a log-in ends: `ok`, or the failure's code.
async fn login(pool: &Pool) -> String {
    match pool.check().await {
        Ok(check) if check.logged_in => "ok".to_owned(),
        Ok(_) => "not logged in".to_owned(),
        Err(failure) => failure.code(),
    }
}

#[tokio::test]
async fn each_identity_gets_a_token_once_for_all_connections() {
    for given in [by_secret, by_certificate, by_service_account] {
        let scene = Scene::new(given).await;
        let pool = scene.pool();
        let logins = (0..4).map(|_| login(&pool));
        let ended = futures_util::future::join_all(logins).await;
        assert_eq!(ended, ["ok"; 4]);
        assert_eq!(login(&pool).await, "ok");
        assert_eq!(scene.oauth.asked(), 1);
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once_and_then_it_is_our_settings() {
    for given in [by_secret, by_service_account] {
        let scene = Scene::new(given).await;
        let pool = scene.pool();
        assert_eq!(login(&pool).await, "ok");
        scene.oauth.revoke();
        assert_eq!(login(&pool).await, "ok");
        assert_eq!(scene.oauth.asked(), 2, "one fresh token");
    }
    let scene = Scene::new(by_secret).await;
    let pool = scene.pool();
    scene.oauth.set_up(SetUp {
        principal: false,
        ..SetUp::WHOLE
    });
    let failure = pool.check().await.unwrap_err();
    assert_eq!(failure.code(), "xoauth2 535 5.7.3");
    let Outcome::NotAccepted { class, .. } = failure.outcome() else {
        panic!("{failure:?}")
    };
    assert_eq!(class, Retryable::Config, "the circuit opens");
    assert_eq!(scene.oauth.asked(), 2, "the first one and one fresh one");
    // What was granted meanwhile is in a new token only: the refused one is not kept.
    scene.oauth.set_up(SetUp::WHOLE);
    assert_eq!(login(&pool).await, "ok");
    assert_eq!(scene.oauth.asked(), 3);
}

#[tokio::test]
async fn a_server_that_is_busy_does_not_cost_the_token() {
    let scene = Scene::new(by_secret).await;
    let pool = scene.pool();
    let busy = "454 4.7.0 Temporary authentication failure";
    let faults = scene.sandbox.smtp().faults();
    faults.add(SmtpFault::reply(Phase::Auth, When::next(1), busy));
    assert_eq!(login(&pool).await, "xoauth2 454 4.7.0");
    assert_eq!(login(&pool).await, "ok");
    assert_eq!(scene.oauth.asked(), 1);
}

#[tokio::test]
async fn a_token_endpoint_that_is_out_of_order_is_named_and_never_followed() {
    use TokenTrouble as T;
    let cases = [
        (T::Hang, "token timed out", Retryable::Transient),
        (T::Html, "token no token", Retryable::Config),
        (T::Huge, "token too much", Retryable::Config),
        (T::Ended, "token ended token", Retryable::Config),
        (T::Negative, "token ended token", Retryable::Config),
        (T::LineEnd, "token no token", Retryable::Config),
        (T::Redirect, "token redirect", Retryable::Config),
        (T::Status(503), "token http 503", Retryable::Transient),
        (T::Status(429), "token http 429", Retryable::Transient),
        (
            T::Status(404),
            "token no answer of a token endpoint",
            Retryable::Config,
        ),
    ];
    // Side by side: one of them is silent until we give up.
    let all = cases.into_iter().map(async |(trouble, code, class)| {
        let scene = Scene::new(by_secret).await;
        scene.oauth.trouble(Some(trouble));
        let pool = scene.pool();
        let failure = pool.check().await.unwrap_err();
        assert_eq!(failure.code(), code);
        let Outcome::NotAccepted { class: of, .. } = failure.outcome() else {
            panic!("{failure:?}")
        };
        assert_eq!(of, class, "{code}");
        assert!(!format!("{failure:?}").contains(CLIENT_SECRET));
        assert_eq!(scene.oauth.redirected(), 0);
        assert_eq!(
            scene.sandbox.smtp().counts().connections,
            0,
            "the server is not bothered"
        );
        scene.oauth.trouble(None);
        assert_eq!(login(&pool).await, "ok", "after {code}");
    });
    futures_util::future::join_all(all).await;
}

#[tokio::test]
async fn an_endpoint_that_fails_spares_who_has_a_token_until_it_ends() {
    let scene = Scene::new(by_secret).await;
    let pool = scene.pool();
    assert_eq!(login(&pool).await, "ok");
    scene.oauth.trouble(Some(TokenTrouble::Status(503)));
    assert_eq!(login(&pool).await, "ok", "a token of an hour");
    assert_eq!(scene.oauth.asked(), 1, "which need not be renewed yet");

    scene.oauth.trouble(None);
    scene.oauth.live_for(1);
    let pool = scene.pool();
    assert_eq!(login(&pool).await, "ok");
    scene.oauth.trouble(Some(TokenTrouble::Status(503)));
    eventually("the token ends", async || {
        login(&pool).await == "token http 503"
    })
    .await;
    scene.oauth.trouble(None);
    assert_eq!(login(&pool).await, "ok");
}

#[tokio::test]
async fn refusals_of_the_endpoint_name_the_setting() {
    let microsoft = Scene::new;
    for (key, value, code, remedy) in [
        (
            "SMTP_OAUTH_CLIENT_SECRET",
            "another",
            "token invalid_client 7000215",
            "SMTP_OAUTH_CLIENT_SECRET",
        ),
        (
            "SMTP_OAUTH_CLIENT_ID",
            "another",
            "token unauthorized_client 700016",
            "SMTP_OAUTH_CLIENT_ID",
        ),
        (
            "SMTP_USER",
            "other@shop.example",
            "xoauth2 535 5.7.3",
            "SMTP_USER",
        ),
    ] {
        let scene = microsoft(by_secret).await.change(key, value);
        assert_told(&scene, code, remedy).await;
    }
    let scene = microsoft(by_secret).await;
    let url = scene.oauth.microsoft_url("other.example");
    let scene = scene.change("SMTP_OAUTH_TOKEN_URL", &url);
    assert_told(&scene, "token invalid_request 90002", "SMTP_OAUTH_TENANT").await;

    // A key that the app registration does not know.
    let stranger = include_str!("../fixtures/channels/tls/mail.cert.pem").to_owned()
        + include_str!("../fixtures/badge/stranger.key.pem");
    let scene = microsoft(by_certificate)
        .await
        .change("SMTP_OAUTH_CERTIFICATE", &stranger);
    assert_told(
        &scene,
        "token invalid_client 700027",
        "SMTP_OAUTH_CERTIFICATE",
    )
    .await;

    let scene = Scene::new(by_service_account)
        .await
        .change("SMTP_USER", "other@shop.example");
    assert_told(&scene, "token invalid_grant", "SMTP_OAUTH_GOOGLE_KEY").await;
    let scene = Scene::new(by_service_account).await;
    scene.oauth.set_up(SetUp {
        consented: false,
        ..SetUp::WHOLE
    });
    assert_told(
        &scene,
        "token unauthorized_client",
        "domain-wide delegation",
    )
    .await;
}

async fn assert_told(scene: &Scene, code: &str, remedy: &str) {
    assert_eq!(login(&scene.pool()).await, code);
    let checks = scene.examined().await;
    let server = checks
        .iter()
        .find(|check| check.name == "mail server")
        .unwrap();
    assert_eq!(server.health, Health::Failed);
    assert!(server.found.contains(code), "{server:?}");
    assert!(
        server.remedy.as_ref().unwrap().contains(remedy),
        "{server:?}"
    );
    assert!(!format!("{checks:?}").contains("hunter2"));
}

/// The lines of the four steps, as `ok`, `failed` or `?`.
fn steps(checks: &[Check]) -> Vec<&'static str> {
    let steps = checks
        .iter()
        .filter(|check| check.name.starts_with(|c: char| c.is_ascii_digit()));
    let word = |check: &Check| match check.health {
        Health::Well => "ok",
        Health::Failed => "failed",
        Health::Warning => "warning",
        Health::Unchecked => "?",
    };
    steps.map(word).collect()
}

#[tokio::test]
async fn doctor_walks_the_four_steps_and_names_the_missing_one() {
    let scene = Scene::new(by_secret).await;
    let fix = |checks: &[Check]| {
        let ill = checks
            .iter()
            .find(|c| c.health == Health::Failed && c.name != "mail server");
        ill.and_then(|check| check.remedy.clone())
            .unwrap_or_default()
    };
    for (set_up, lines, words) in [
        (SetUp::WHOLE, ["ok", "ok", "ok", "ok"], ""),
        (
            SetUp {
                consented: false,
                ..SetUp::WHOLE
            },
            ["ok", "failed", "?", "?"],
            "SMTP.SendAsApp",
        ),
        (
            SetUp {
                principal: false,
                ..SetUp::WHOLE
            },
            ["ok", "ok", "failed", "?"],
            "New-ServicePrincipal",
        ),
        // The server's reply is the same: its remedy names the next step, too.
        (
            SetUp {
                mailbox: false,
                ..SetUp::WHOLE
            },
            ["ok", "ok", "failed", "?"],
            "Add-MailboxPermission",
        ),
        (
            SetUp {
                smtp_auth: false,
                ..SetUp::WHOLE
            },
            ["ok", "ok", "?", "failed"],
            "SmtpClientAuthenticationDisabled",
        ),
    ] {
        scene.oauth.set_up(set_up);
        let checks = scene.examined().await;
        assert_eq!(steps(&checks), lines, "{set_up:?}");
        assert!(fix(&checks).contains(words), "{checks:?}");
        let names: BTreeSet<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), checks.len(), "each line once");
    }
    scene.oauth.set_up(SetUp::WHOLE);
    let tenant = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let faults = scene.sandbox.smtp().faults();
    faults.add(SmtpFault::reply(Phase::Auth, When::always(), tenant));
    let checks = scene.examined().await;
    assert_eq!(steps(&checks), ["ok", "ok", "?", "failed"]);
    assert!(fix(&checks).contains("Set-TransportConfig"), "{checks:?}");
    faults.clear();
    scene.oauth.trouble(Some(TokenTrouble::Status(503)));
    assert_eq!(steps(&scene.examined().await), ["?", "?", "?", "?"]);
    scene.oauth.trouble(None);
    let scene = scene.change("SMTP_OAUTH_CLIENT_SECRET", "another");
    assert_eq!(steps(&scene.examined().await), ["failed", "?", "?", "?"]);
    // Nothing of it where the log-in is Google's.
    assert!(steps(&Scene::new(by_service_account).await.examined().await).is_empty());
}

/// The service on a stage whose mail server wants a new log-in for every message.
async fn on_stage(oauth: &OAuth, test: impl AsyncFnOnce(&TestApp)) {
    let given = by_secret(oauth).into_iter();
    let setup = Setup {
        settings: given.map(|(key, value)| (key, &*value.leak())).collect(),
        smtp: Some(SmtpOptions {
            max_messages_per_connection: Some(1),
            ..server(oauth)
        }),
        ..Setup::default()
    };
    run_test_with(setup, test).await;
}

#[tokio::test]
async fn tokens_that_end_in_the_middle_of_a_run_lose_and_double_nothing() {
    let oauth = provider().await;
    on_stage(&oauth, async |t| {
        let chats: Vec<String> = (0..60)
            .map(|n| t.answered(&format!("visitor{n}@example.net")))
            .collect();
        t.tick().await;
        let stop = tokio_util::sync::CancellationToken::new();
        let _stopped = stop.clone().drop_guard();
        // Every token that was given ends, again and again, while they are used.
        let ending = oauth.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                ending.revoke();
                tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            }
        }));
        t.advance(10).await;
        t.advance_until("all have been sent", async || {
            let reminders = t.reminders().await;
            reminders.len() == chats.len() && reminders.iter().all(|r| r.state == "sent")
        })
        .await;
        let mails = t.mails();
        let to: BTreeSet<_> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
        assert_eq!((mails.len(), to.len()), (60, 60), "0 lost, 0 doubled");
        assert!(oauth.asked() > 1, "tokens did end");
    })
    .await;
}

#[tokio::test]
async fn a_permission_that_is_withdrawn_pauses_the_sender_and_costs_nobody_a_try() {
    let oauth = provider().await;
    on_stage(&oauth, async |t| {
        oauth.set_up(SetUp {
            smtp_auth: false,
            ..SetUp::WHOLE
        });
        let chats: Vec<String> = (0..4)
            .map(|n| t.answered(&format!("visitor{n}@example.net")))
            .collect();
        t.tick().await;
        t.advance(10).await;
        let codes: Vec<String> = sqlx::query_scalar("select code from circuits")
            .fetch_all(t.pool())
            .await
            .unwrap();
        assert_eq!(codes, ["xoauth2 535 5.7.139"]);
        for chat in &chats {
            assert_eq!(t.story(chat).await, ["scheduled (circuit_open)"]);
        }
        assert!(t.reminders().await.iter().all(|r| r.tries == 0));
        oauth.set_up(SetUp::WHOLE);
        t.advance_until("all have been sent", async || {
            t.reminders().await.iter().all(|r| r.state == "sent")
        })
        .await;
        assert_eq!(t.mails().len(), 4);
    })
    .await;
}
