//! The pool against a scripted mail server on a real socket.

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use chrono::{TimeZone, Utc};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::pool::{MAX_MESSAGES, queue_id};
use super::*;
use crate::channel::{LastCheck, nothing_in_the_way};
use crate::domain::contact::Address;
use crate::domain::outcome::{Outcome, Refusal, Retryable};
use crate::secret::Secret;

/// Far above what an answer takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// How long an answer is waited for that does not come; those of its kind that come must come within it.
const SHORT: Duration = Duration::from_secs(1);

/// What the server does when a command (or the end of a message) arrives. Without a rule it says yes.
#[derive(Clone)]
struct Twist {
    /// The step: `EHLO`, `MAIL`, … or `DOT` for the end of a message, or `GREETING`.
    at: &'static str,
    /// Which connection, counted from 1; 0 for every one.
    connection: usize,
    /// Which occurrence within the connection, counted from 1; 0 for every one.
    nth: usize,
    act: Act,
}

#[derive(Clone)]
enum Act {
    Say(&'static str),
    Close,
    Silence,
    /// Answers when the test allows it.
    SayAfter(Arc<tokio::sync::Notify>, &'static str),
}

#[derive(Default)]
struct Seen {
    connections: usize,
    commands: Vec<String>,
    lines: Vec<String>,
    messages: Vec<String>,
}

struct Server {
    port: u16,
    seen: Arc<StdMutex<Seen>>,
}

impl Server {
    async fn start(ehlo: &'static str, twists: Vec<Twist>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(StdMutex::new(Seen::default()));
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let connection = {
                    let mut all = all.lock().unwrap();
                    all.connections += 1;
                    all.connections
                };
                let mine = twists
                    .iter()
                    .filter(|t| t.connection == 0 || t.connection == connection)
                    .cloned()
                    .collect();
                tokio::spawn(serve(socket, ehlo, mine, Arc::clone(&all)));
            }
        });
        Self { port, seen }
    }

    fn pool(&self, size: usize) -> Pool {
        Pool::new(settings(self.port), size).unwrap()
    }

    /// With one connection, and little patience with a step that the script is silent about.
    fn impatient_pool(&self, shorten: impl FnOnce(&mut Timeouts)) -> Pool {
        let mut settings = settings(self.port);
        shorten(&mut settings.timeouts);
        Pool::new(settings, 1).unwrap()
    }

    fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    fn subjects(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let subject = |m: &String| {
            let line = m.lines().find(|l| l.starts_with("Subject: "));
            line.unwrap()["Subject: ".len()..].to_owned()
        };
        seen.messages.iter().map(subject).collect()
    }

    /// Commands as they came.
    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines.clone()
    }

    fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }
}

/// Plays one connection. `None` ends it.
async fn serve(
    socket: TcpStream,
    ehlo: &'static str,
    twists: Vec<Twist>,
    seen: Arc<StdMutex<Seen>>,
) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let mut counts = std::collections::HashMap::<String, usize>::new();
    answer(
        &mut socket,
        "GREETING",
        1,
        &twists,
        "220 mail.example ESMTP",
    )
    .await?;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let verb = line.split([' ', '\r']).next()?.to_owned();
        {
            let mut seen = seen.lock().unwrap();
            seen.commands.push(verb.clone());
            seen.lines.push(line.trim_end().to_owned());
        }
        let count = counts.entry(verb.clone()).or_default();
        *count += 1;
        let nth = *count;
        let usual = match verb.as_str() {
            "EHLO" => ehlo,
            "DATA" => "354 go on",
            "AUTH" => "235 2.7.0 welcome",
            "QUIT" => "221 bye",
            _ => "250 2.0.0 ok",
        };
        if !answer(&mut socket, &verb, nth, &twists, usual)
            .await?
            .starts_with('3')
            || verb != "DATA"
        {
            continue;
        }
        let mut message = String::new();
        while !message.ends_with("\r\n.\r\n") {
            if socket.read_line(&mut message).await.ok()? == 0 {
                return None;
            }
        }
        seen.lock().unwrap().messages.push(message);
        answer(
            &mut socket,
            "DOT",
            nth,
            &twists,
            "250 2.0.0 OK: queued as ABC123",
        )
        .await?;
    }
}

async fn answer(
    socket: &mut BufReader<TcpStream>,
    at: &str,
    nth: usize,
    twists: &[Twist],
    usual: &'static str,
) -> Option<&'static str> {
    let twist = twists
        .iter()
        .find(|t| t.at == at && (t.nth == 0 || t.nth == nth));
    let reply = match twist.map(|t| &t.act) {
        None => usual,
        Some(Act::Say(reply)) => reply,
        Some(Act::SayAfter(allowed, reply)) => {
            allowed.notified().await;
            reply
        }
        Some(Act::Close) => return None,
        Some(Act::Silence) => std::future::pending().await,
    };
    socket
        .write_all(format!("{reply}\r\n").as_bytes())
        .await
        .ok()?;
    Some(reply)
}

const PLAIN: &str = "250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES";

fn at(at: &'static str, connection: usize, nth: usize, act: Act) -> Twist {
    Twist {
        at,
        connection,
        nth,
        act,
    }
}

pub(super) fn settings(port: u16) -> SmtpSettings {
    SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: SmtpTls::None,
        login: None,
        from: "Acme <a@acme.example>".parse().unwrap(),
        reply_to: None,
        hello_name: "reminders.example.com".to_owned(),
        extra_root_pem: None,
        timeouts: timeouts(PATIENCE),
        dkim_selector: None,
        connections: 1,
        rate_per_second: 0.0,
    }
}

pub(super) fn timeouts(each: Duration) -> Timeouts {
    Timeouts {
        turn: PATIENCE,
        connect: each,
        greeting: each,
        command: each,
        final_reply: each,
    }
}

pub(super) async fn send(pool: &Pool, subject: &str) -> Outcome {
    send_unless(pool, subject, &nothing_in_the_way).await
}

async fn send_unless(pool: &Pool, subject: &str, withdrawn: LastCheck<'_>) -> Outcome {
    let to = Address::Email("dana@customer.example".to_owned());
    let email = Email {
        from: None,
        reply_to: None,
        to: &to,
        to_name: Some("Dana"),
        subject,
        text: "text",
        html: Some("<p>html</p>"),
        message_id: "rem.1@acme.example",
        thread_ref: "conv.1@acme.example",
        unsubscribe_url: None,
        unsubscribe_mailto: None,
        feedback_id: None,
        date: Utc.with_ymd_and_hms(2026, 11, 22, 14, 5, 31).unwrap(),
    };
    match pool.reserve().await {
        Ok(reserved) => match reserved.line().await {
            Ok(line) => line.send(&email, withdrawn).await,
            Err(outcome) => outcome,
        },
        Err(outcome) => outcome,
    }
}

pub(super) fn accepted() -> Outcome {
    Outcome::Accepted {
        provider_id: Some("ABC123".to_owned()),
    }
}

fn not(class: Retryable, code: &str) -> Outcome {
    Outcome::NotAccepted {
        class,
        code: code.to_owned(),
        retry_after: None,
    }
}

fn unknown(code: &str) -> Outcome {
    Outcome::Unknown {
        code: code.to_owned(),
    }
}

#[tokio::test]
async fn messages_share_a_connection() {
    let server = Server::start(PLAIN, vec![]).await;
    let pool = server.pool(4);
    for subject in ["one", "two", "three"] {
        assert_eq!(send(&pool, subject).await, accepted());
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.subjects(), ["one", "two", "three"]);
    assert!(!server.commands().contains(&"RSET".to_owned()));
}

#[tokio::test]
async fn silence_after_the_final_dot_is_unknown_and_the_next_message_gets_its_own_reply() {
    let server = Server::start(
        PLAIN,
        vec![
            at("DOT", 1, 1, Act::Silence),
            at("DOT", 2, 1, Act::Say("550 5.1.1 no such user")),
        ],
    )
    .await;
    let pool = server.impatient_pool(|timeouts| timeouts.final_reply = SHORT);
    assert_eq!(send(&pool, "one").await, unknown("final timed out"));
    let refused = Outcome::Refused {
        class: Refusal::BadRecipient,
        code: "final 550 5.1.1".to_owned(),
    };
    assert_eq!(send(&pool, "two").await, refused);
    assert_eq!(send(&pool, "three").await, accepted());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_closed_after_the_final_dot_is_unknown() {
    let server = Server::start(PLAIN, vec![at("DOT", 1, 1, Act::Close)]).await;
    let pool = server.pool(1);
    assert_eq!(send(&pool, "one").await, unknown("final connection lost"));
    assert_eq!(send(&pool, "two").await, accepted());
    // The lost one is not sent again behind the ledger's back.
    assert_eq!(server.subjects(), ["one", "two"]);
}

#[tokio::test]
async fn a_late_final_reply_never_reaches_another_message() {
    let late = Arc::new(tokio::sync::Notify::new());
    let twist = at(
        "DOT",
        1,
        1,
        Act::SayAfter(Arc::clone(&late), "250 2.0.0 OK: queued as LATE01"),
    );
    let server = Server::start(PLAIN, vec![twist]).await;
    let pool = server.impatient_pool(|timeouts| timeouts.final_reply = SHORT);
    assert_eq!(send(&pool, "one").await, unknown("final timed out"));
    late.notify_one();
    assert_eq!(send(&pool, "two").await, accepted());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_cancelled_send_does_not_leave_its_connection_behind() {
    let server = Server::start(PLAIN, vec![at("DOT", 1, 1, Act::Silence)]).await;
    let pool = server.pool(1);
    // When the server has all of the message, and says nothing.
    let heard = async {
        while server.subjects().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        outcome = send(&pool, "one") => panic!("{outcome:?}"),
        heard = timeout(PATIENCE, heard) => heard.expect("the message comes"),
    }
    assert_eq!(send(&pool, "two").await, accepted());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_refusal_keeps_the_connection_after_a_reset() {
    let server = Server::start(
        PLAIN,
        vec![at(
            "RCPT",
            1,
            1,
            Act::Say("550 5.1.1 <x@y.example> unknown"),
        )],
    )
    .await;
    let pool = server.pool(1);
    let refused = Outcome::Refused {
        class: Refusal::BadRecipient,
        code: "rcpt 550 5.1.1".to_owned(),
    };
    assert_eq!(send(&pool, "one").await, refused);
    assert_eq!(send(&pool, "two").await, accepted());
    assert_eq!(server.connections(), 1);
    assert_eq!(
        server.commands(),
        ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]
    );
}

#[tokio::test]
async fn what_is_withdrawn_before_its_content_leaves_is_not_sent_and_leaves_a_good_connection_behind()
 {
    // Looked at before DATA, and after its answer.
    for (looks, commands, connections) in [
        (
            0,
            vec!["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"],
            1,
        ),
        (
            1,
            vec![
                "EHLO", "MAIL", "RCPT", "DATA", "EHLO", "MAIL", "RCPT", "DATA",
            ],
            2,
        ),
    ] {
        let server = Server::start(PLAIN, vec![]).await;
        let pool = server.pool(1);
        let looked = std::sync::atomic::AtomicUsize::new(0);
        let stalled = not(Retryable::Transient, "stalled");
        let withdrawn = || {
            let look = looked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Box::pin(std::future::ready((look == looks).then(|| stalled.clone())))
                as futures_util::future::BoxFuture<'_, _>
        };
        assert_eq!(send_unless(&pool, "one", &withdrawn).await, stalled);
        assert_eq!(send(&pool, "two").await, accepted());
        assert_eq!(server.subjects(), ["two"]);
        assert_eq!(server.commands(), commands);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_reused_connection_that_died_is_replaced_once() {
    for act in [
        Act::Close,
        Act::Say("421 4.4.2 idle too long"),
        Act::Silence,
    ] {
        let server = Server::start(PLAIN, vec![at("MAIL", 1, 2, act)]).await;
        let pool = server.impatient_pool(|timeouts| timeouts.command = SHORT);
        assert_eq!(send(&pool, "one").await, accepted());
        assert_eq!(send(&pool, "two").await, accepted());
        assert_eq!(server.connections(), 2);
        assert_eq!(server.subjects(), ["one", "two"]);
    }
}

#[tokio::test]
async fn a_fresh_connection_that_dies_is_not_replaced() {
    let server = Server::start(PLAIN, vec![at("MAIL", 0, 1, Act::Close)]).await;
    let pool = server.pool(1);
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Transient, "mail connection lost")
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_positive_reply_of_the_wrong_kind_is_no_success() {
    let server = Server::start(PLAIN, vec![at("DOT", 1, 1, Act::Say("354 go on"))]).await;
    let pool = server.pool(1);
    assert_eq!(send(&pool, "one").await, unknown("final unreadable reply"));
    assert_eq!(send(&pool, "two").await, accepted());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn replies_are_taken_by_their_first_digit_and_however_they_are_written() {
    for (at, reply, expected) in [
        ("MAIL", "250", accepted()),
        ("RCPT", "299-fine\r\n299 and so on", accepted()),
        ("DATA", "399\r\n", accepted()),
        ("RCPT", "251 2.1.5 will forward", accepted()),
        (
            "RCPT",
            "571-#5.7.1\r\n571",
            not(Retryable::RecipientPolicy, "rcpt 571 5.7.1"),
        ),
        (
            "RCPT",
            "550 relay not permitted",
            not(Retryable::Config, "rcpt 550 relay"),
        ),
        // Our own address, as the server heard it in MAIL: it called back, and speaks of us.
        (
            "RCPT",
            "550 <a@acme.example> No such user here",
            not(Retryable::Config, "rcpt 550 sender"),
        ),
        (
            "DOT",
            "550 <a@acme.example> No such user here",
            not(Retryable::Config, "final 550 sender"),
        ),
        (
            "DOT",
            "550",
            Outcome::Refused {
                class: Refusal::Other,
                code: "final 550".to_owned(),
            },
        ),
    ] {
        let server = Server::start(PLAIN, vec![super::tests::at(at, 1, 1, Act::Say(reply))]).await;
        assert_eq!(send(&server.pool(1), "one").await, expected, "{at} {reply}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_sent_before_the_final_dot_and_unknown_after_it() {
    let unreadable = |step| not(Retryable::Transient, &format!("{step} unreadable reply"));
    for (at, expected) in [
        ("GREETING", unreadable("greeting")),
        ("EHLO", unreadable("greeting")),
        ("MAIL", unreadable("mail")),
        ("RCPT", unreadable("rcpt")),
        ("DATA", unreadable("data")),
        ("DOT", unknown("final unreadable reply")),
    ] {
        for garbage in ["HTTP/1.1 400 Bad Request", "2500 four digits", "\u{fffd}\0"] {
            let twist = super::tests::at(at, 1, 1, Act::Say(garbage));
            let server = Server::start(PLAIN, vec![twist]).await;
            let pool = server.pool(1);
            assert_eq!(send(&pool, "one").await, expected, "{at} {garbage}");
            assert_eq!(send(&pool, "two").await, accepted());
            assert_eq!(server.connections(), 2, "out of step: not used again");
        }
    }
}

#[tokio::test]
async fn a_reply_that_comes_before_its_command_is_nobodys() {
    let twist = at(
        "DOT",
        1,
        1,
        Act::Say("250 2.0.0 OK: queued as ABC123\r\n250 once more"),
    );
    let server = Server::start(PLAIN, vec![twist]).await;
    let pool = server.pool(1);
    assert_eq!(send(&pool, "one").await, accepted());
    assert_eq!(send(&pool, "two").await, accepted());
    assert_eq!(server.connections(), 2, "out of step: not used again");
    assert_eq!(server.subjects(), ["one", "two"]);
}

#[tokio::test]
async fn the_login_follows_what_is_offered_in_any_spelling() {
    const NAME: &str = "VXNlcm5hbWU6";
    const PASSWORD: &str = "UGFzc3dvcmQ6";
    let login = |user, password| SmtpSettings {
        login: Some(SmtpLogin::with_password(user, Secret::new(password))),
        ..settings(0)
    };
    for (ehlo, twists, said) in [
        (
            "250-mx\r\n250 auth=login plain",
            vec![],
            vec!["AUTH PLAIN AHUAcA=="],
        ),
        (
            "250-mx\r\n250-Auth Plain\r\n250 x",
            vec![
                ("AUTH", "334 ".to_owned()),
                ("AHUAcA==", "235 ok".to_owned()),
            ],
            vec!["AUTH PLAIN AHUAcA==", "AHUAcA=="],
        ),
        (
            "250-mx\r\n250 AUTH LOGIN",
            vec![
                ("AUTH", format!("334 {NAME}")),
                ("dQ==", format!("334 {PASSWORD}")),
                ("cA==", "235 ok".to_owned()),
            ],
            vec!["AUTH LOGIN", "dQ==", "cA=="],
        ),
        // Questions in words of their own, and in the other order.
        (
            "250-mx\r\n250 AUTH LOGIN",
            vec![
                ("AUTH", "334".to_owned()),
                ("dQ==", "334 =?".to_owned()),
                ("cA==", "235".to_owned()),
            ],
            vec!["AUTH LOGIN", "dQ==", "cA=="],
        ),
        (
            "250-mx\r\n250 AUTH PLAIN LOGIN",
            vec![("AUTH", "504 5.5.4 no such mechanism".to_owned())],
            vec!["AUTH PLAIN AHUAcA==", "AUTH LOGIN"],
        ),
    ] {
        let twists = twists
            .into_iter()
            .map(|(step, reply)| at(step, 0, 1, Act::Say(String::leak(reply))))
            .collect();
        let server = Server::start(ehlo, twists).await;
        let settings = SmtpSettings {
            port: server.port,
            ..login("u".to_owned(), "p")
        };
        let checked = Pool::new(settings, 1).unwrap().check().await;
        assert!(checked.is_ok_and(|c| c.logged_in), "{ehlo}");
        let lines = server.lines();
        assert_eq!(lines[1..lines.len() - 1], said, "{ehlo}");
    }
}

/// A log-in by token at this server.
async fn log_in_by_token(
    ehlo: &'static str,
    twists: Vec<Twist>,
) -> (Result<(), super::classify::StepFault>, Vec<String>) {
    let server = Server::start(ehlo, twists).await;
    let socket = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let mut wire = super::wire::SmtpWire::new(socket);
    wire.reply().await.unwrap();
    let offers = super::reply::Offers::of(&wire.ask("EHLO x\r\n").await.unwrap());
    let ended = super::login::with_token(&mut wire, offers, "u", &Secret::new("t")).await;
    (ended, server.lines()[1..].to_vec())
}

#[tokio::test]
async fn challenges_of_a_log_in_by_token_are_answered() {
    const RESPONSE: &str = "dXNlcj11AWF1dGg9QmVhcmVyIHQBAQ==";
    const OFFER: &str = "250-mx\r\n250 auth=Login xoauth2";
    let say = |at_: &'static str, words: &'static str| at(at_, 0, 1, Act::Say(words));
    let auth = format!("AUTH XOAUTH2 {RESPONSE}");
    for (twists, said, code) in [
        (vec![say("AUTH", "235 in")], vec![&*auth], None),
        // A server that ignores what came with the command.
        (
            vec![say("AUTH", "334"), say(RESPONSE, "235 in")],
            vec![&*auth, RESPONSE],
            None,
        ),
        // Why, in base64; then the refusal.
        (
            vec![
                say("AUTH", "334 eyJzdGF0dXMiOiI0MDEifQ=="),
                say("", "535 5.7.8 no"),
            ],
            vec![&*auth, ""],
            Some(535),
        ),
        (
            vec![
                say("AUTH", "334 "),
                say(RESPONSE, "334 eyJzdGF0dXMiOiI0MDEifQ=="),
                say("", "535 no"),
            ],
            vec![&*auth, RESPONSE, ""],
            Some(535),
        ),
        // Without a challenge.
        (vec![say("AUTH", "535 5.7.3 no")], vec![&*auth], Some(535)),
    ] {
        let (ended, lines) = log_in_by_token(OFFER, twists).await;
        assert_eq!(lines, said);
        match (ended, code) {
            (Ok(()), None) => {}
            (Err(super::StepFault::Reply(reply)), Some(code)) => assert_eq!(reply.code, code),
            (ended, _) => panic!("{ended:?}"),
        }
    }
    let (ended, lines) = log_in_by_token("250-mx\r\n250 AUTH PLAIN LOGIN", vec![]).await;
    assert_eq!(ended, Err(super::StepFault::NotOffered));
    assert!(lines.is_empty(), "nobody else gets the token");
    // One that asks for ever.
    let ask = |step| at(step, 0, 0, Act::Say("334 eyJzdGF0dXMiOiI0MDEifQ=="));
    let (ended, lines) = log_in_by_token(OFFER, vec![ask("AUTH"), ask("")]).await;
    assert_eq!(ended, Err(super::StepFault::Unreadable));
    assert_eq!(lines.len(), 3);
}

#[tokio::test]
async fn a_server_that_asks_for_ever_is_not_answered_for_ever() {
    let ask = || Act::Say("334 VXNlcm5hbWU6");
    let twists = vec![
        at("AUTH", 0, 0, ask()),
        at("dQ==", 0, 0, ask()),
        at("cA==", 0, 0, ask()),
    ];
    let server = Server::start("250-mx\r\n250 AUTH LOGIN", twists).await;
    let settings = SmtpSettings {
        login: Some(SmtpLogin::with_password("u", Secret::new("p"))),
        ..settings(server.port)
    };
    let failure = Pool::new(settings, 1).unwrap().check().await.unwrap_err();
    assert_eq!(failure.code(), "auth unreadable reply");
}

#[tokio::test]
async fn an_address_is_said_as_a_literal_in_ehlo() {
    let server = Server::start(PLAIN, vec![]).await;
    let settings = SmtpSettings {
        hello_name: "192.0.2.1".to_owned(),
        ..settings(server.port)
    };
    Pool::new(settings, 1).unwrap().check().await.unwrap();
    assert_eq!(server.lines()[0], "EHLO [192.0.2.1]");
}

#[tokio::test]
async fn a_server_that_does_not_know_ehlo_is_greeted_as_it_understands() {
    for (reply, greetings, expected) in [
        ("500 5.5.1 Command unrecognized", 2, accepted()),
        ("502", 2, accepted()),
        // It knows it, and has something against our name.
        (
            "550 5.7.1 Go away",
            1,
            not(Retryable::Config, "greeting 550 5.7.1"),
        ),
    ] {
        let server = Server::start(PLAIN, vec![at("EHLO", 0, 0, Act::Say(reply))]).await;
        assert_eq!(send(&server.pool(1), "one").await, expected, "{reply}");
        let said = ["EHLO reminders.example.com", "HELO reminders.example.com"];
        assert_eq!(server.lines()[..greetings], said[..greetings], "{reply}");
    }
    // What it does not offer is not done without.
    let server = Server::start(PLAIN, vec![at("EHLO", 0, 0, Act::Say("502"))]).await;
    let settings = SmtpSettings {
        tls: SmtpTls::StartTls,
        ..settings(server.port)
    };
    let pool = Pool::new(settings, 1).unwrap();
    let refused = not(Retryable::Config, "starttls not offered");
    assert_eq!(send(&pool, "one").await, refused);
    assert!(server.subjects().is_empty());
}

#[tokio::test]
async fn a_greylisting_server_asks_for_patience() {
    let reply = "450 4.2.0 Greylisted, try again in 5 minutes";
    let server = Server::start(PLAIN, vec![at("RCPT", 1, 1, Act::Say(reply))]).await;
    let slow = Outcome::NotAccepted {
        class: Retryable::Slow,
        code: "rcpt 450 4.2.0".to_owned(),
        retry_after: Some(Duration::from_mins(5)),
    };
    assert_eq!(send(&server.pool(1), "one").await, slow);
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_in_the_clear() {
    let server = Server::start(PLAIN, vec![]).await;
    let settings = SmtpSettings {
        tls: SmtpTls::StartTls,
        login: Some(SmtpLogin::with_password("u", Secret::new("p"))),
        ..settings(server.port)
    };
    let pool = Pool::new(settings, 1).unwrap();
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Config, "starttls not offered")
    );
    assert_eq!(server.commands(), ["EHLO"]);
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_a_matter_of_settings() {
    let server = Server::start(PLAIN, vec![]).await;
    let settings = SmtpSettings {
        tls: SmtpTls::Implicit,
        ..settings(server.port)
    };
    let pool = Pool::new(settings, 1).unwrap();
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Config, "connect tls failed")
    );
}

#[tokio::test]
async fn wrong_credentials_are_told_with_the_servers_words() {
    let reply = "535 5.7.8 Username and Password not accepted";
    let server = Server::start(PLAIN, vec![at("AUTH", 0, 0, Act::Say(reply))]).await;
    let settings = SmtpSettings {
        login: Some(SmtpLogin::with_password("u", Secret::new("p"))),
        ..settings(server.port)
    };
    let pool = Pool::new(settings, 1).unwrap();
    let failure = pool.check().await.unwrap_err();
    assert_eq!(failure.code(), "auth 535 5.7.8");
    assert_eq!(
        failure.hint().as_deref(),
        Some("Username and Password not accepted")
    );
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Config, "auth 535 5.7.8")
    );
}

#[tokio::test]
async fn a_check_logs_in_and_sends_nothing() {
    let server = Server::start(PLAIN, vec![at("QUIT", 0, 0, Act::Close)]).await;
    let settings = SmtpSettings {
        login: Some(SmtpLogin::with_password("u", Secret::new("p"))),
        ..settings(server.port)
    };
    let checked = Pool::new(settings, 1).unwrap().check().await;
    assert_eq!(
        checked,
        Ok(SmtpCheck {
            encrypted: false,
            logged_in: true
        })
    );
    assert_eq!(server.commands(), ["EHLO", "AUTH", "QUIT"]);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_or_does_not_greet_was_sent_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let pool = Pool::new(settings(port), 1).unwrap();
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Transient, "connect connection lost")
    );

    let server = Server::start(PLAIN, vec![at("GREETING", 0, 0, Act::Silence)]).await;
    let pool = server.impatient_pool(|timeouts| timeouts.greeting = SHORT);
    assert_eq!(
        send(&pool, "one").await,
        not(Retryable::Transient, "connect timed out")
    );

    let blocked = at(
        "GREETING",
        0,
        0,
        Act::Say("554 5.7.1 No SMTP service for you"),
    );
    let server = Server::start(PLAIN, vec![blocked]).await;
    assert_eq!(
        send(&server.pool(1), "one").await,
        not(Retryable::Config, "greeting 554 5.7.1")
    );
}

#[tokio::test]
async fn no_more_than_size_connections_are_opened() {
    let server = Server::start(PLAIN, vec![]).await;
    let pool = server.pool(2);
    let mut sends = tokio::task::JoinSet::new();
    for n in 0..20 {
        let pool = pool.clone();
        sends.spawn(async move { send(&pool, &format!("m{n}")).await });
    }
    assert_eq!(sends.join_all().await, vec![accepted(); 20]);
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[tokio::test]
async fn a_connection_is_retired_after_a_hundred_messages() {
    let server = Server::start(PLAIN, vec![at("QUIT", 0, 0, Act::Say("500 never mind"))]).await;
    let pool = server.pool(1);
    for n in 0..=MAX_MESSAGES {
        assert_eq!(send(&pool, &format!("m{n}")).await, accepted());
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn debug_hides_the_password() {
    let settings = SmtpSettings {
        login: Some(SmtpLogin::with_password("u", Secret::new("hunter2"))),
        ..settings(25)
    };
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_servers_own_id_is_kept_if_there_is_one() {
    for (acknowledgement, id) in [
        ("2.0.0 OK: queued as ABC123", Some("ABC123")),
        (
            "Ok 0100018c1f2e3d4c-aaaa-000000",
            Some("0100018c1f2e3d4c-aaaa-000000"),
        ),
        (
            "2.0.0 OK  1700000000 d2e1a72fcca58-6c4 - gsmtp",
            Some("d2e1a72fcca58-6c4"),
        ),
        ("2.6.0 <x1@mail.example> Queued mail for delivery", None),
        ("", None),
    ] {
        assert_eq!(
            queue_id(acknowledgement).as_deref(),
            id,
            "{acknowledgement}"
        );
    }
}
