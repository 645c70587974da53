use chrono::{DateTime, TimeDelta, Utc};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::rules::When;

const MAIL: &str = "From: a@example.com\r\nSubject: Hi\r\n\r\nHello\r\n";
/// Far above what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

struct World {
    server: SmtpServer,
    outbox: Outbox,
    clock: WorldClock,
}

async fn start(options: SmtpOptions) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outbox = Outbox::default();
    let clock = WorldClock::manual(DateTime::<Utc>::from_timestamp(1_700_000_000, 0).unwrap());
    let server = serve(listener, options, outbox.clone(), clock.clone()).unwrap();
    World {
        server,
        outbox,
        clock,
    }
}

impl World {
    async fn raw(&self) -> Raw {
        Raw(BufReader::new(
            TcpStream::connect(self.server.address()).await.unwrap(),
        ))
    }

    /// A connection that has said EHLO.
    async fn ready(&self) -> Raw {
        let mut raw = self.raw().await;
        assert!(raw.reply().await.starts_with("220 "));
        assert!(raw.say("EHLO client.example").await.contains("250-SIZE"));
        raw
    }

    async fn lettre(&self) -> AsyncSmtpConnection {
        let hello = ClientId::Domain("client.example".into());
        AsyncSmtpConnection::connect_tokio1(
            self.server.address(),
            Some(PATIENCE),
            &hello,
            None,
            None,
        )
        .await
        .unwrap()
    }
}

/// A client that speaks by hand.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// A whole reply, its lines joined by `\n`; empty when the server closed.
    async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await.unwrap_or(0) == 0 {
                return reply;
            }
            reply.push_str(line.strip_suffix("\r\n").expect("replies end in CRLF"));
            if line.as_bytes()[3] != b'-' {
                return reply;
            }
            reply.push('\n');
        }
    }

    async fn say(&mut self, command: &str) -> String {
        self.write(&format!("{command}\r\n")).await;
        self.reply().await
    }

    /// Goes through a transaction up to and including the final dot; the reply of the step that was refused, or the last.
    async fn send(&mut self, to: &str) -> String {
        for (command, expected) in [
            ("MAIL FROM:<a@example.com>".to_owned(), '2'),
            (format!("RCPT TO:<{to}>"), '2'),
            ("DATA".to_owned(), '3'),
        ] {
            let reply = self.say(&command).await;
            if !reply.starts_with(expected) {
                return reply;
            }
        }
        self.say(&format!("{MAIL}.")).await
    }

    async fn is_closed(&mut self) -> bool {
        self.0.read_u8().await.is_err()
    }
}

async fn send_by_lettre(
    connection: &mut AsyncSmtpConnection,
    to: &str,
) -> Result<String, lettre::transport::smtp::Error> {
    connection
        .command(Mail::new(Some("a@example.com".parse().unwrap()), vec![]))
        .await?;
    connection
        .command(Rcpt::new(to.parse().unwrap(), vec![]))
        .await?;
    connection.command(Data).await?;
    let reply = connection.message(MAIL.as_bytes()).await?;
    Ok(reply.code().to_string())
}

#[tokio::test]
async fn lettre_sends_several_messages_over_one_connection() {
    let world = start(SmtpOptions::default()).await;
    let mut connection = world.lettre().await;
    for to in ["x@example.com", "y@example.com"] {
        assert_eq!(send_by_lettre(&mut connection, to).await.unwrap(), "250");
    }
    let mails = world.outbox.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(
        (mails[1].from.as_str(), mails[1].to.as_slice()),
        ("a@example.com", ["y@example.com".to_owned()].as_slice())
    );
    // lettre ends a message that ends in a line break with another one.
    assert_eq!(
        (mails[1].raw.as_slice(), mails[1].at),
        (format!("{MAIL}\r\n").as_bytes(), world.clock.now())
    );
    assert_eq!(world.server.counts().connections, 1);
}

#[tokio::test]
async fn sign_in_is_needed_and_checked() {
    let credentials = Some(("user".to_owned(), "pass:word".to_owned()));
    let world = start(SmtpOptions {
        credentials,
        ..SmtpOptions::default()
    })
    .await;
    assert_eq!(
        world.ready().await.send("x@example.com").await,
        "530 5.7.0 Authentication Required"
    );
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let mut connection = world.lettre().await;
        let wrong = connection
            .auth(
                &[mechanism],
                &Credentials::new("user".into(), "other".into()),
            )
            .await
            .unwrap_err();
        assert!(
            wrong.is_permanent() && wrong.status().unwrap().to_string() == "535",
            "{wrong}"
        );
        let mut connection = world.lettre().await;
        connection
            .auth(
                &[mechanism],
                &Credentials::new("user".into(), "pass:word".into()),
            )
            .await
            .unwrap();
        assert_eq!(
            send_by_lettre(&mut connection, "x@example.com")
                .await
                .unwrap(),
            "250"
        );
    }
    let mut raw = world.ready().await;
    assert_eq!(raw.say("AUTH PLAIN").await, "334 ");
    assert_eq!(raw.say("AHVzZXIAcGFzczp3b3Jk").await, "235 2.7.0 Welcome");
    assert_eq!(
        raw.say("AUTH CRAM-MD5").await,
        "504 5.5.4 Mechanism not supported"
    );
    assert_eq!(world.server.counts().denied, 2);
}

fn tls(implicit: bool) -> SmtpOptions {
    let tls = Tls {
        certificates: include_str!("../../../../tests/fixtures/tls/localhost-cert.pem").to_owned(),
        private_key: include_str!("../../../../tests/fixtures/tls/localhost-key.pem").to_owned(),
        implicit,
    };
    SmtpOptions {
        tls: Some(tls),
        credentials: Some(("user".into(), "pass".into())),
        ..SmtpOptions::default()
    }
}

fn trusting(host: &str) -> TlsParameters {
    let certificate = Certificate::from_pem(include_bytes!(
        "../../../../tests/fixtures/tls/localhost-cert.pem"
    ))
    .unwrap();
    TlsParameters::builder(host.to_owned())
        .add_root_certificate(certificate)
        .build()
        .unwrap()
}

#[tokio::test]
async fn with_a_certificate_nothing_goes_without_tls() {
    let world = start(tls(false)).await;
    let mut raw = world.ready().await;
    assert!(!raw.say("EHLO client.example").await.contains("AUTH"));
    assert_eq!(
        raw.say("AUTH PLAIN AHVzZXIAcGFzcw==").await,
        "538 5.7.11 Encryption required for this mechanism"
    );
    assert_eq!(
        raw.say("MAIL FROM:<a@example.com>").await,
        "530 5.7.0 Must issue a STARTTLS command first"
    );

    let hello = ClientId::Domain("client.example".into());
    let mut connection = world.lettre().await;
    connection
        .starttls(trusting("localhost"), &hello)
        .await
        .unwrap();
    connection
        .auth(
            &[Mechanism::Plain],
            &Credentials::new("user".into(), "pass".into()),
        )
        .await
        .unwrap();
    assert_eq!(
        send_by_lettre(&mut connection, "x@example.com")
            .await
            .unwrap(),
        "250"
    );

    let mismatch = world
        .lettre()
        .await
        .starttls(trusting("mail.example.com"), &hello)
        .await
        .unwrap_err();
    assert!(!mismatch.is_transient(), "{mismatch}");
}

#[tokio::test]
async fn tls_can_start_with_the_connection() {
    let world = start(tls(true)).await;
    let hello = ClientId::Domain("client.example".into());
    let mut connection = AsyncSmtpConnection::connect_tokio1(
        world.server.address(),
        Some(PATIENCE),
        &hello,
        Some(trusting("localhost")),
        None,
    )
    .await
    .unwrap();
    connection
        .auth(
            &[Mechanism::Login],
            &Credentials::new("user".into(), "pass".into()),
        )
        .await
        .unwrap();
    assert_eq!(
        send_by_lettre(&mut connection, "x@example.com")
            .await
            .unwrap(),
        "250"
    );
}

#[tokio::test]
async fn what_was_sent_ahead_of_tls_is_thrown_away() {
    let world = start(tls(false)).await;
    let mut raw = world.ready().await;
    raw.write("STARTTLS\r\nRSET\r\n").await;
    assert_eq!(raw.reply().await, "220 2.0.0 Go ahead");
    raw.write("this is no handshake\r\n").await;
    let mut rest = Vec::new();
    let _ = raw.0.read_to_end(&mut rest).await; // an alert, a reset or nothing, but no reply
    assert!(!rest.windows(4).any(|octets| octets == b"250 "), "{rest:?}");
}

#[tokio::test]
async fn commands_out_of_order_or_malformed_are_refused() {
    let world = start(SmtpOptions {
        max_message_bytes: 100,
        ..SmtpOptions::default()
    })
    .await;
    let mut raw = world.raw().await;
    raw.reply().await;
    for (command, reply) in [
        ("MAIL FROM:<a@example.com>", "503 5.5.1 Say EHLO first"),
        ("EHLO", "501 5.5.4 Say who you are"),
        (
            "ehlo x",
            "250-mail.sandbox.example\n250-SIZE 100\n250-8BITMIME\n250 ENHANCEDSTATUSCODES",
        ),
        ("RCPT TO:<x@example.com>", "503 5.5.1 MAIL first"),
        ("DATA", "503 5.5.1 MAIL first"),
        (
            "MAIL a@example.com",
            "501 5.5.4 Syntax: MAIL FROM:<address>",
        ),
        (
            "MAIL FROM:<no at sign>",
            "501 5.1.7 Bad sender address syntax",
        ),
        (
            "MAIL FROM:<a@example.com> SIZE=101",
            "552 5.3.4 Message size exceeds fixed limit",
        ),
        (
            "MAIL FROM:<a@example.com> SMTPUTF8",
            "555 5.5.4 Parameter not recognised",
        ),
        ("MAIL FROM:<> BODY=8BITMIME SIZE=10", "250 2.1.0 Ok"),
        ("MAIL FROM:<>", "503 5.5.1 Sender already given"),
        ("DATA", "554 5.5.1 No valid recipients"),
        (
            "RCPT TO:<grün@example.com>",
            "553 5.6.7 SMTPUTF8 required but not supported",
        ),
        (
            "RCPT TO:<x y@example.com>",
            "553 5.1.3 Bad recipient address syntax",
        ),
        ("rcpt to: <x@example.com>", "250 2.1.5 Ok"),
        ("RSET", "250 2.0.0 Reset"),
        ("RCPT TO:<x@example.com>", "503 5.5.1 MAIL first"),
        ("NOOP", "250 2.0.0 Ok"),
        ("TURN", "502 5.5.1 Command not recognised"),
        ("STARTTLS", "502 5.5.1 STARTTLS is not offered"),
        ("AUTH PLAIN AAA=", "503 5.5.1 AUTH is not offered"),
        ("QUIT", "221 2.0.0 Bye"),
    ] {
        assert_eq!(raw.say(command).await, reply, "{command}");
    }
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn dots_are_unstuffed_and_only_a_whole_line_ends_the_message() {
    let world = start(SmtpOptions::default()).await;
    let mut raw = world.ready().await;
    raw.write("MAIL FROM:<a@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n")
        .await;
    for _ in 0..3 {
        raw.reply().await;
    }
    raw.write("Subject: x\r\n\r\n..\r\n..dots\r\n.").await;
    raw.write("\r").await;
    raw.write("\n").await;
    assert!(raw.reply().await.starts_with("250 2.0.0 OK: queued as "));
    assert_eq!(
        world.outbox.mails()[0].raw,
        b"Subject: x\r\n\r\n.\r\n.dots\r\n"
    );
}

#[tokio::test]
async fn illegal_messages_are_refused_after_the_dot_and_the_connection_goes_on() {
    let world = start(SmtpOptions {
        max_message_bytes: 5_000,
        ..SmtpOptions::default()
    })
    .await;
    let mut raw = world.ready().await;
    for (body, reply) in [
        (
            "bare\nfeed\r\n".to_owned(),
            "550 5.6.11 Bare line feeds are illegal",
        ),
        (
            format!("{}\r\n", "x".repeat(999)),
            "550 5.6.0 Lines longer than 998 octets are illegal",
        ),
        (
            format!("{}\r\n", "x".repeat(100_000)),
            "550 5.6.0 Lines longer than 998 octets are illegal",
        ),
        (
            "x".repeat(900).add_line().repeat(6),
            "552 5.3.4 Message size exceeds fixed limit",
        ),
    ] {
        raw.say("MAIL FROM:<a@example.com>").await;
        raw.say("RCPT TO:<x@example.com>").await;
        raw.say("DATA").await;
        assert_eq!(raw.say(&format!("{body}.")).await, reply);
    }
    assert!(world.outbox.is_empty());
    assert!(raw.send("x@example.com").await.starts_with("250"));
    let full = format!(".{}", "y".repeat(998));
    raw.say("MAIL FROM:<a@example.com>").await;
    raw.say("RCPT TO:<x@example.com>").await;
    raw.say("DATA").await;
    assert!(raw.say(&format!(".{full}\r\n.")).await.starts_with("550"));
    assert_eq!(world.outbox.mails().len(), 1);
}

trait AddLine {
    fn add_line(self) -> String;
}

impl AddLine for String {
    fn add_line(self) -> String {
        self + "\r\n"
    }
}

#[tokio::test]
async fn every_sample_reply_can_be_played_in_its_phase() {
    let samples: serde_json::Value = serde_json::from_str(include_str!(
        "../../../../tests/fixtures/channels/smtp-replies.json"
    ))
    .unwrap();
    let credentials = Some(("user".to_owned(), "pass".to_owned()));
    let mut options = tls(false);
    options.credentials = credentials.clone();
    let with_tls = start(options).await;
    let plain = start(SmtpOptions {
        credentials,
        ..SmtpOptions::default()
    })
    .await;
    let mut played = 0;
    for sample in samples["cases"].as_array().unwrap() {
        let (phase, text) = (
            sample["phase"].as_str().unwrap(),
            sample["reply"].as_str().unwrap(),
        );
        if text.starts_with('(') {
            continue; // what is no reply has tests of its own
        }
        let phase: Phase = serde_json::from_value(phase.into()).unwrap();
        let world = if phase == Phase::StartTls {
            &with_tls
        } else {
            &plain
        };
        world
            .server
            .faults()
            .add(SmtpFault::reply(phase, When::next(1), text));
        let mails = world.outbox.mails().len();
        assert_eq!(play(world, phase).await, text);
        assert_eq!(
            world.outbox.mails().len() - mails,
            usize::from(text.starts_with('2')),
            "{text}"
        );
        assert!(world.server.faults().rules().is_empty());
        played += 1;
    }
    assert_eq!(played, 48);
}

/// Goes as far as `phase` and answers the reply there.
async fn play(world: &World, phase: Phase) -> String {
    let mut raw = world.raw().await;
    let greeting = raw.reply().await;
    if phase == Phase::Greeting {
        return greeting;
    }
    raw.say("EHLO client.example").await;
    if phase == Phase::StartTls {
        return raw.say("STARTTLS").await;
    }
    let signed_in = raw.say("AUTH PLAIN AHVzZXIAcGFzcw==").await;
    if phase == Phase::Auth {
        return signed_in;
    }
    raw.send("x@example.com").await
}

#[tokio::test]
async fn silence_and_closing_are_played_in_every_phase() {
    let world = start(SmtpOptions::default()).await;
    for accepted in [false, true] {
        for phase in [
            Phase::Connect,
            Phase::Greeting,
            Phase::Ehlo,
            Phase::Mail,
            Phase::Rcpt,
            Phase::Data,
            Phase::Final,
        ] {
            world.outbox.clear();
            world
                .server
                .faults()
                .set(vec![SmtpFault::close(phase, When::next(1), accepted)]);
            let mut raw = world.raw().await;
            raw.reply().await;
            if !matches!(phase, Phase::Connect | Phase::Greeting) {
                raw.say("EHLO client.example").await;
            }
            if !matches!(phase, Phase::Connect | Phase::Greeting | Phase::Ehlo) {
                assert_eq!(raw.send("x@example.com").await, "");
            }
            assert!(raw.is_closed().await, "{phase:?}");
            assert_eq!(
                world.outbox.mails().len(),
                usize::from(accepted && phase == Phase::Final),
                "{phase:?}"
            );

            world.outbox.clear();
            let faults = world.server.faults();
            let struck = faults.struck();
            faults.set(vec![SmtpFault::silence(phase, When::next(1), accepted)]);
            let mut raw = world.raw().await;
            raw.write(&format!("EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<x@example.com>\r\nDATA\r\n{MAIL}.\r\n")).await;
            let replies = async { while !raw.reply().await.is_empty() {} };
            let falls_silent = async {
                while faults.struck() == struck {
                    tokio::task::yield_now().await;
                }
                // And says nothing for a while.
                tokio::time::sleep(Duration::from_millis(40)).await;
            };
            tokio::select! {
                () = replies => panic!("{phase:?} hung up"),
                silent = tokio::time::timeout(PATIENCE, falls_silent) => silent.unwrap(),
            }
            let expected = usize::from(accepted && phase == Phase::Final);
            let mails = |outbox: &Outbox| outbox.mails().len() == expected;
            assert!(world.outbox.wait_for(mails, PATIENCE).await, "{phase:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_dot_has_sent_nothing() {
    let world = start(SmtpOptions::default()).await;
    let mut raw = world.ready().await;
    raw.say("MAIL FROM:<a@example.com>").await;
    raw.say("RCPT TO:<x@example.com>").await;
    raw.say("DATA").await;
    raw.write(MAIL).await;
    raw.0.shutdown().await.unwrap();
    assert!(raw.is_closed().await);
    assert!(world.outbox.is_empty());
}

#[tokio::test]
async fn a_slow_final_reply_comes_after_the_message_is_accepted() {
    let world = start(SmtpOptions::default()).await;
    world
        .server
        .faults()
        .add(SmtpFault::slow(Phase::Final, When::next(1), 60));
    let mut raw = world.ready().await;
    let started = std::time::Instant::now();
    let mut reply = std::pin::pin!(raw.send("x@example.com"));
    let accepted = world
        .outbox
        .wait_for(|outbox| outbox.mails().len() == 1, PATIENCE);
    tokio::select! {
        biased;
        accepted = accepted => assert!(accepted),
        reply = &mut reply => panic!("{reply} before the message is accepted"),
    }
    assert!(reply.await.starts_with("250"));
    assert!(started.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn greylisting_passes_with_time() {
    let world = start(SmtpOptions::default()).await;
    world
        .server
        .faults()
        .add(SmtpFault::greylist(When::to("*@grey.example"), 60_000));
    let mut raw = world.ready().await;
    assert!(raw.send("x@grey.example").await.starts_with("450 4.2.0"));
    raw.say("RSET").await;
    assert!(raw.send("x@other.example").await.starts_with("250"));
    assert!(raw.send("x@grey.example").await.starts_with("450"));
    raw.say("RSET").await;
    world.clock.advance(TimeDelta::seconds(60));
    assert!(raw.send("x@grey.example").await.starts_with("250"));
    assert!(raw.send("y@grey.example").await.starts_with("450"));
}

#[tokio::test]
async fn connections_and_messages_per_connection_are_limited() {
    let options = SmtpOptions {
        max_connections: 1,
        max_messages_per_connection: Some(1),
        ..SmtpOptions::default()
    };
    let world = start(options).await;
    let mut first = world.ready().await;
    let mut second = world.raw().await;
    assert_eq!(
        second.reply().await,
        "421 4.3.2 Too many connections, try again later"
    );
    assert!(first.send("x@example.com").await.starts_with("250"));
    assert_eq!(
        first.send("x@example.com").await,
        "421 4.7.0 Too many messages in this connection"
    );
    assert!(first.is_closed().await);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let world = start(SmtpOptions {
        // Long enough for a client that is not idle.
        idle: Duration::from_secs(1),
        ..SmtpOptions::default()
    })
    .await;
    let mut raw = world.ready().await;
    assert_eq!(raw.reply().await, "421 4.4.2 Timeout - closing connection");
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn a_server_that_is_down_refuses_and_comes_back_on_the_same_port() {
    let world = start(SmtpOptions::default()).await;
    let address = world.server.address();
    world.server.latch().shut();
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("the port closes");
    world.server.latch().open();
    let back = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, back)
        .await
        .expect("the port opens");
    assert!(
        world
            .ready()
            .await
            .send("x@example.com")
            .await
            .starts_with("250")
    );
}

#[tokio::test]
async fn stopping_closes_connections_and_the_port() {
    let world = start(SmtpOptions::default()).await;
    let mut raw = world.ready().await;
    let address = world.server.address();
    drop(world.server);
    assert!(raw.is_closed().await);
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused)
        .await
        .expect("the port closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_lose_and_double_nothing() {
    let world = start(SmtpOptions::default()).await;
    let started = std::time::Instant::now();
    let clients = (0..8).map(|client| {
        let address = world.server.address();
        tokio::spawn(async move {
            let mut raw = Raw(BufReader::new(TcpStream::connect(address).await.unwrap()));
            raw.reply().await;
            raw.say("EHLO client.example").await;
            for message in 0..200 {
                assert!(
                    raw.send(&format!("{client}-{message}@example.com"))
                        .await
                        .starts_with("250")
                );
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    println!("{:.0} messages/s", 1600.0 / started.elapsed().as_secs_f64());
    let mails = world.outbox.mails();
    let recipients: std::collections::HashSet<_> =
        mails.iter().flat_map(|mail| mail.to.clone()).collect();
    assert_eq!((mails.len(), recipients.len()), (1600, 1600));
}
