//! The client against a scripted HTTP server on a real socket.

use std::sync::{Arc, Mutex};

use chrono::{TimeZone, Utc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::domain::outcome::Retryable;
use crate::secret::Secret;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const SID: &str = "SM00000000000000000000000000000001";
const ROOT: &str = "/2010-04-01/Accounts/AC00000000000000000000000000000001";

/// Far above what an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the server does with the next request.
enum Act {
    Answer(u16, String),
    /// These bytes, then the end of the connection.
    Raw(String),
    Close,
    Silence,
}

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            let mut script = script.into_iter();
            while let Ok((mut socket, _)) = listener.accept().await {
                let request = read_request(&mut socket).await;
                seen.lock().unwrap().push(request);
                let raw = match script.next().expect("a request too many") {
                    Act::Answer(status, body) => format!(
                        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    ),
                    Act::Raw(raw) => raw,
                    Act::Close => continue,
                    Act::Silence => {
                        tokio::spawn(async move {
                            let _held = socket;
                            std::future::pending::<()>().await;
                        });
                        continue;
                    }
                };
                socket.write_all(raw.as_bytes()).await.unwrap();
            }
        });
        Self { port, requests }
    }

    fn client(&self) -> TwilioClient {
        TwilioClient::with_timeout(settings(self.port), PATIENCE).unwrap()
    }

    /// For a server that says nothing.
    fn impatient_client(&self) -> TwilioClient {
        TwilioClient::with_timeout(settings(self.port), Duration::from_secs(1)).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The fields of the last request's form.
    fn form(&self) -> Vec<(String, String)> {
        let request = self.requests().pop().unwrap();
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect()
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut raw = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&raw).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        if socket.read_buf(&mut raw).await.unwrap() == 0 {
            return text;
        }
    }
}

fn settings(port: u16) -> TwilioSettings {
    TwilioSettings {
        base_url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        account_sid: ACCOUNT.to_owned(),
        auth: TwilioAuth::Token(Secret::new("token")),
        webhook_tokens: vec![],
        sender: Some(TwilioSender::From("+14155550100".to_owned())),
        redact_bodies: false,
        rate_per_second: 0.0,
    }
}

fn to() -> Address {
    Address::Phone("+14155550123".to_owned())
}

async fn send(client: &TwilioClient) -> Outcome {
    send_from(client, None).await
}

async fn send_from(client: &TwilioClient, sender: Option<&TwilioSender>) -> Outcome {
    send_unless(client, sender, &nothing_in_the_way).await
}

async fn send_unless(
    client: &TwilioClient,
    sender: Option<&TwilioSender>,
    withdrawn: LastCheck<'_>,
) -> Outcome {
    let left = || Duration::from_secs(910);
    send_in_time(client, sender, withdrawn, &left).await
}

async fn send_in_time(
    client: &TwilioClient,
    sender: Option<&TwilioSender>,
    withdrawn: LastCheck<'_>,
    left: &(dyn Fn() -> Duration + Send + Sync),
) -> Outcome {
    let sms = Sms {
        to: &to(),
        body: "Acme: read it: https://r.acme.example/m/7Kq2ZxT9",
        status_callback: Some("https://reminders.example.com/twilio/status?rid=17#rc=3&rp=all"),
        left,
        sender,
    };
    client.send_unless(withdrawn, &sms).await
}

fn created() -> Act {
    Act::Answer(
        201,
        format!(r#"{{"sid":"{SID}","status":"queued","num_segments":"1"}}"#),
    )
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown {
        code: code.to_owned(),
    }
}

fn not(class: Retryable, code: &str) -> Outcome {
    Outcome::NotAccepted {
        class,
        code: code.to_owned(),
        retry_after: None,
    }
}

#[tokio::test]
async fn a_created_message_is_accepted() {
    let server = Server::start(vec![created()]).await;
    let accepted = Outcome::Accepted {
        provider_id: Some(SID.to_owned()),
    };
    assert_eq!(send(&server.client()).await, accepted);
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        server.form(),
        [
            field("To", "+14155550123"),
            field("Body", "Acme: read it: https://r.acme.example/m/7Kq2ZxT9"),
            field("ValidityPeriod", "900"),
            field("From", "+14155550100"),
            field(
                "StatusCallback",
                "https://reminders.example.com/twilio/status?rid=17#rc=3&rp=all"
            ),
        ]
    );
    let request = server.requests().pop().unwrap();
    assert!(
        request.starts_with(&format!("POST {ROOT}/Messages.json HTTP/1.1\r\n")),
        "{request}"
    );
    // "AC…1:token"
    assert!(
        request.contains(
            "authorization: Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTp0b2tlbg=="
        ),
        "{request}"
    );
}

#[tokio::test]
async fn a_rule_may_send_through_a_messaging_service() {
    let server = Server::start(vec![created()]).await;
    let service: TwilioSender = "MG00000000000000000000000000000001".parse().unwrap();
    send_from(&server.client(), Some(&service)).await;
    let names: Vec<String> = server.form().into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"MessagingServiceSid".to_owned()) && !names.contains(&"From".to_owned())
    );
}

#[tokio::test]
async fn an_answer_that_was_lost_is_unknown() {
    let length = "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{\"sid\":";
    for (act, code) in [
        (Act::Close, "connection lost"),
        (Act::Silence, "no answer in time"),
        (Act::Raw("garbage\r\n\r\n".to_owned()), "connection lost"),
        (Act::Raw(length.to_owned()), "http 201 unreadable"),
        (Act::Answer(201, "<html>".to_owned()), "http 201 unreadable"),
        (
            Act::Answer(201, r#"{"sid":"../x"}"#.to_owned()),
            "http 201 unreadable",
        ),
        (Act::Answer(503, "<html>".to_owned()), "http 503"),
    ] {
        let client = match act {
            Act::Silence => Server::impatient_client,
            _ => Server::client,
        };
        let server = Server::start(vec![act]).await;
        assert_eq!(send(&client(&server)).await, unknown(code));
        assert_eq!(server.requests().len(), 1, "never repeated");
    }
}

#[tokio::test]
async fn without_a_connection_nothing_was_sent() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let client = TwilioClient::new(settings(port)).unwrap();
    assert_eq!(
        send(&client).await,
        not(Retryable::Transient, "no connection")
    );
}

#[tokio::test]
async fn what_is_withdrawn_at_the_last_moment_makes_no_request() {
    let server = Server::start(vec![created()]).await;
    let stalled = not(Retryable::Transient, "stalled");
    let withdrawn = || {
        Box::pin(std::future::ready(Some(stalled.clone())))
            as futures_util::future::BoxFuture<'_, _>
    };
    assert_eq!(
        send_unless(&server.client(), None, &withdrawn).await,
        stalled
    );
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_is_withdrawn_once_there_is_a_connection_is_not_sent() {
    let server = Server::start(vec![created(), created()]).await;
    let client = server.client();
    // The first look is before the connection, the second when the content would leave.
    let looked = std::sync::atomic::AtomicUsize::new(0);
    let stalled = not(Retryable::NotTried, "stalled");
    let withdrawn = || {
        let look = looked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Box::pin(std::future::ready((look == 1).then(|| stalled.clone())))
            as futures_util::future::BoxFuture<'_, _>
    };
    assert_eq!(send_unless(&client, None, &withdrawn).await, stalled);
    let whole = |request: &String| request.contains("Body=");
    assert!(
        !server.requests().iter().any(whole),
        "the message did not leave"
    );
    let second = send_unless(&client, None, &withdrawn).await;
    assert_eq!(second.as_str(), "accepted");
    assert_eq!(looked.into_inner(), 4);
}

#[test]
fn twilio_is_told_to_give_up_before_the_window_ends_and_nothing_is_sent_at_its_end() {
    // Seconds that are left, and what Twilio is told.
    for (left, told) in [
        (0, None),
        (9, None),
        (10, None),
        (19, None),
        (20, Some(10)),
        (21, Some(11)),
        (910, Some(900)),
        (36_010, Some(36_000)),
        (90_000, Some(36_000)),
    ] {
        assert_eq!(validity(Duration::from_secs(left)), told, "{left}");
    }
}

#[tokio::test]
async fn what_leaves_ends_in_time_however_long_the_looks_take() {
    // Seconds that are left after the look before the connection and after the one when the content would leave, and what Twilio is told.
    for (first, second, told) in [
        (900, 899, Some("890")),
        (900, 890, Some("890")),
        (900, 889, None),
        (900, 15, None),
        (25, 20, Some("15")),
        (25, 19, None),
        (19, 19, None),
        (0, 0, None),
    ] {
        let server = Server::start(vec![created()]).await;
        let looks = std::sync::atomic::AtomicUsize::new(0);
        let withdrawn = || {
            looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            nothing_in_the_way()
        };
        let left = || {
            let looks = looks.load(std::sync::atomic::Ordering::SeqCst);
            Duration::from_secs(match looks {
                0 => 2_000, // what was left before the looks does not matter
                1 => first,
                _ => second,
            })
        };
        let outcome = send_in_time(&server.client(), None, &withdrawn, &left).await;
        let case = format!("{first} {second}");
        if let Some(told) = told {
            assert_eq!(outcome.as_str(), "accepted", "{case}");
            let form = server.form();
            let validity = form.iter().find(|(name, _)| name == "ValidityPeriod");
            assert_eq!(
                validity.map(|(_, value)| value.as_str()),
                Some(told),
                "{case}"
            );
        } else {
            let too_late = Outcome::not_tried("too little time left", TOO_LATE);
            assert_eq!(outcome, too_late, "{case}");
            let whole = |request: &String| request.contains("Body=");
            assert!(!server.requests().iter().any(whole), "{case}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let raw =
        "HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Server::start(vec![Act::Raw(raw.to_owned())]).await;
    assert_eq!(
        send(&server.client()).await,
        not(Retryable::Config, "http 307")
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    for (headers, wait) in [
        ("Retry-After: 2", Some(2)),
        ("", None),
        ("Retry-After: soon", None),
        (
            "Date: Sun, 22 Nov 2026 14:05:31 GMT\r\nRetry-After: Sun, 22 Nov 2026 14:06:31 GMT",
            Some(60),
        ),
        ("Retry-After: Sun, 22 Nov 2026 14:06:31 GMT", None),
    ] {
        let headers = if headers.is_empty() {
            String::new()
        } else {
            format!("{headers}\r\n")
        };
        let raw = format!(
            "HTTP/1.1 429 X\r\n{headers}Content-Length: 14\r\nConnection: close\r\n\r\n{{\"code\":20429}}"
        );
        let server = Server::start(vec![Act::Raw(raw)]).await;
        let expected = Outcome::NotAccepted {
            class: Retryable::Throttled,
            code: "http 429 20429".to_owned(),
            retry_after: wait.map(Duration::from_secs),
        };
        assert_eq!(send(&server.client()).await, expected, "{headers}");
    }
}

#[tokio::test]
async fn a_refusal_is_read_in_both_shapes() {
    let classic = r#"{"code":21211,"message":"x","status":400}"#;
    let problem =
        r#"{"type":"t","title":"x","status":400,"code":21211,"detail":"To is malformed"}"#;
    for body in [classic, problem] {
        let server = Server::start(vec![Act::Answer(400, body.to_owned())]).await;
        let refused = Outcome::Refused {
            class: Refusal::BadRecipient,
            code: "http 400 21211".to_owned(),
        };
        assert_eq!(send(&server.client()).await, refused);
    }
}

#[tokio::test]
async fn an_address_that_is_no_phone_is_not_sent_anywhere() {
    let server = Server::start(vec![]).await;
    let mail = Address::Email("dana@customer.example".to_owned());
    let sms = Sms {
        to: &mail,
        body: "x",
        status_callback: None,
        left: &|| Duration::ZERO,
        sender: None,
    };
    assert!(matches!(
        server.client().send(&sms).await,
        Outcome::Refused {
            class: Refusal::Other,
            ..
        }
    ));
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn without_a_sender_the_first_number_with_sms_is_used_and_remembered() {
    let numbers = r#"{"incoming_phone_numbers":[
        {"phone_number":"+14155550199","capabilities":{"voice":true,"sms":false}},
        {"phone_number":"+14155550198","capabilities":{"voice":true,"sms":true}}],"next_page_uri":null}"#;
    let server = Server::start(vec![
        Act::Answer(200, numbers.to_owned()),
        created(),
        created(),
    ])
    .await;
    let settings = TwilioSettings {
        sender: None,
        ..settings(server.port)
    };
    let client = TwilioClient::new(settings).unwrap();
    for _ in 0..2 {
        assert!(matches!(send(&client).await, Outcome::Accepted { .. }));
        assert!(
            server
                .form()
                .contains(&("From".to_owned(), "+14155550198".to_owned()))
        );
    }
    assert!(server.requests()[0].starts_with(&format!("GET {ROOT}/IncomingPhoneNumbers.json ")));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn an_account_without_numbers_is_a_matter_of_settings() {
    let none = r#"{"incoming_phone_numbers":[],"next_page_uri":null}"#.to_owned();
    let server = Server::start(vec![Act::Answer(200, none)]).await;
    let client = TwilioClient::new(TwilioSettings {
        sender: None,
        ..settings(server.port)
    })
    .unwrap();
    assert_eq!(
        send(&client).await,
        not(Retryable::Config, "no SMS number in the account")
    );
}

fn message(sid: &str, direction: &str, body: &str, created: &str) -> String {
    format!(
        r#"{{"sid":"{sid}","status":"sent","error_code":null,"direction":"{direction}","body":"{body}","date_created":"{created}"}}"#
    )
}

fn page(messages: &[String], next: &str) -> Act {
    let messages = messages.join(",");
    Act::Answer(
        200,
        format!(r#"{{"messages":[{messages}],"next_page_uri":{next}}}"#),
    )
}

const RECENT: &str = "Sun, 22 Nov 2026 14:05:31 +0000";
const OLD: &str = "Sun, 22 Nov 2026 13:00:00 +0000";

async fn find(server: &Server) -> Result<Option<TwilioMessage>, TwilioLookupError> {
    let since = Utc.with_ymd_and_hms(2026, 11, 22, 14, 5, 30).unwrap();
    server.client().find(&to(), "7Kq2ZxT9", since, &[]).await
}

#[tokio::test]
async fn a_message_is_found_by_its_token_on_a_later_page() {
    let reply = message(
        SID,
        "inbound",
        "what is https://r.acme.example/m/7Kq2ZxT9 ?",
        RECENT,
    );
    let other = message(
        SID,
        "outbound-api",
        "https://r.acme.example/m/OTHER",
        RECENT,
    );
    let ours_sid = "SM00000000000000000000000000000009";
    let ours = message(
        ours_sid,
        "outbound-api",
        "https://r.acme.example/m/7Kq2ZxT9",
        RECENT,
    );
    let next =
        format!(r#""{ROOT}/Messages.json?To=%2B14155550123&PageSize=50&Page=1&PageToken=PA1""#);
    let server = Server::start(vec![page(&[reply, other], &next), page(&[ours], "null")]).await;
    let found = TwilioMessage {
        sid: ours_sid.to_owned(),
        status: MessageStatus::Sent,
        error_code: None,
    };
    assert_eq!(find(&server).await, Ok(Some(found)));
    let requests = server.requests();
    assert!(
        requests[0].starts_with(&format!(
            "GET {ROOT}/Messages.json?To=%2B14155550123&PageSize=50 "
        )),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].starts_with(&format!(
            "GET {ROOT}/Messages.json?To=%2B14155550123&PageSize=50&Page=1&PageToken=PA1 "
        )),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn the_search_ends_at_old_messages_foreign_hosts_and_after_ten_pages() {
    let old = message(SID, "outbound-api", "x", OLD);
    let recent = message(SID, "outbound-api", "x", RECENT);
    let next = format!(r#""{ROOT}/Messages.json?Page=1""#);

    let server = Server::start(vec![page(std::slice::from_ref(&old), &next)]).await;
    assert_eq!(find(&server).await, Ok(None));

    let foreign = r#""https://evil.example/steal""#;
    let server = Server::start(vec![page(std::slice::from_ref(&recent), foreign)]).await;
    assert_eq!(find(&server).await, Ok(None));

    let server = Server::start(
        (0..10)
            .map(|_| page(std::slice::from_ref(&recent), &next))
            .collect(),
    )
    .await;
    assert_eq!(find(&server).await, Ok(None));
    assert_eq!(server.requests().len(), 10);
}

#[tokio::test]
async fn a_question_without_an_answer_says_whether_to_ask_again() {
    for (act, class) in [
        (Act::Close, Retryable::Transient),
        (Act::Answer(500, String::new()), Retryable::Transient),
        (Act::Answer(200, "[".to_owned()), Retryable::Transient),
        (
            Act::Answer(401, r#"{"code":20003}"#.to_owned()),
            Retryable::Config,
        ),
    ] {
        let server = Server::start(vec![act]).await;
        assert_eq!(find(&server).await.unwrap_err().class, class);
    }
    let server = Server::start(vec![Act::Answer(404, r#"{"code":20404}"#.to_owned())]).await;
    assert!(server.client().fetch(SID).await.unwrap_err().not_found);
}

#[tokio::test]
async fn a_message_is_fetched_and_redacted_by_its_sid() {
    let body = format!(r#"{{"sid":"{SID}","status":"undelivered","error_code":30006}}"#);
    let server = Server::start(vec![
        Act::Answer(200, body),
        Act::Answer(200, "{}".to_owned()),
    ])
    .await;
    let client = server.client();
    let found = TwilioMessage {
        sid: SID.to_owned(),
        status: MessageStatus::Undelivered,
        error_code: Some(30006),
    };
    assert_eq!(client.fetch(SID).await, Ok(found));
    assert_eq!(client.redact(SID).await, Ok(()));
    assert_eq!(server.form(), [("Body".to_owned(), String::new())]);
    assert!(client.fetch("../../x").await.is_err());
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_sender_is_a_number_a_short_code_a_name_or_a_service() {
    for sender in ["+14155550100", "12345", "Acme Shop", "ACME24"] {
        assert_eq!(sender.parse(), Ok(TwilioSender::From(sender.to_owned())));
    }
    let service = "MG00000000000000000000000000000001";
    assert_eq!(
        service.parse(),
        Ok(TwilioSender::Service(service.to_owned()))
    );
    for wrong in [
        "",
        "+1",
        "12",
        "a name too long",
        "Acme!",
        "+1415555O100",
        "MG123456789012",
    ] {
        assert_eq!(wrong.parse::<TwilioSender>(), Err(InvalidSender), "{wrong}");
    }
}

#[test]
fn debug_hides_secrets() {
    let shown = format!(
        "{:?}",
        TwilioSettings {
            auth: TwilioAuth::ApiKey {
                sid: "SK1".to_owned(),
                secret: Secret::new("hunter2")
            },
            ..settings(1)
        }
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}
