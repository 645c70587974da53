//! What strangers who open connections and say little do to everybody else.

use std::net::SocketAddr;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use unread::domain::access::Permission;
use unread::sandbox::ACCOUNT;
use unread::web::connections::raise_file_limit;

use crate::harness::{Setup, TestApp, eventually, run_test, run_test_with};

/// Strangers come from 127.0.0.2 and on, the healthy from 127.0.0.1.
async fn half_open(t: &TestApp, stranger: u8) -> Option<TcpStream> {
    let address: SocketAddr = t.web.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    let own = SocketAddr::from(([127, 0, 0, 2 + stranger], 0));
    socket.bind(own).unwrap();
    let mut stream = socket.connect(address).await.ok()?;
    let begun = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ";
    stream.write_all(begun).await.ok()?;
    Some(stream)
}

/// The value of a metric of the web's connections.
async fn metric(t: &TestApp, name: &str, labels: &str) -> usize {
    let page = t.http.get(&t.metrics).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let start = format!("{name}{{listener=\"web\"{labels}}} ");
    let page = page.text().await.unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(&start));
    line.expect(&start).parse().unwrap()
}

/// The sum of a metric of the web's connections over its labels.
async fn sum(t: &TestApp, name: &str) -> usize {
    let page = t.http.get(&t.metrics).send().await.unwrap();
    let page = page.text().await.unwrap();
    let start = format!("{name}{{listener=\"web\"");
    let lines = page.lines().filter(|line| line.starts_with(&start));
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
    values.sum()
}

/// A visitor without a connection.
async fn visit(t: &TestApp, path: &str) {
    let address = t.web.strip_prefix("http://").unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{path}");
}

/// Visitors without a connection, one after another, are all answered; who is refused is not. Returns how often three of them were while
/// a crowd of so many was there and no stranger's time was over: they have waited for nobody's connection to end.
async fn everybody_is_answered(t: &TestApp, crowd: usize) -> usize {
    let paths = [
        "/healthz".to_owned(),
        format!("/helpers/msghist/{ACCOUNT}/nobody/unreadByConsumer"),
        "/login".to_owned(),
    ];
    let given_up = async || {
        let labels = ",reason=\"headers\"";
        metric(t, "unread_connections_closed_total", labels).await
    };
    let mut beside = 0;
    for _ in 0..33 {
        let (open, before) = (metric(t, "unread_connections", "").await, given_up().await);
        for path in &paths {
            visit(t, path).await;
        }
        beside += usize::from(open >= crowd && before == given_up().await);
    }
    beside
}

/// As many as asked for, if both their ends fit into the files of this process beside those of the other tests.
fn that_fit(wanted: usize) -> usize {
    let fit = wanted.min(raise_file_limit().saturating_sub(4000) / 2);
    if fit < wanted {
        eprintln!("{fit} connections instead of {wanted}: raise the hard limit of open files");
    }
    assert!(fit >= 500, "the hard limit of open files is too low");
    fit
}

/// How fast they are answered is measured by `cargo bench --bench load -- strangers`.
#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_slow_connections_from_twenty_addresses_delay_nobody() {
    for total in ["8192", "1000"] {
        let setup = Setup {
            settings: vec![("UNREAD_CONNECTIONS", total)],
            ..Setup::default()
        };
        run_test_with(setup, async |t| {
            let count = that_fit(5000);
            let come = (0..20).map(async |stranger| {
                let mut open = Vec::new();
                for _ in 0..count / 20 {
                    open.extend(half_open(t, stranger).await);
                }
                open
            });
            // Fewer than may be there together. Some are gone again, after ten seconds, before the last has come.
            let crowd = count.min(1000) * 9 / 10;
            let (strangers, first) = tokio::join!(join_all(come), everybody_is_answered(t, crowd));
            eventually("they have all come", async || {
                let open = metric(t, "unread_connections", "").await;
                let refused = sum(t, "unread_connections_refused_total").await;
                open + refused + sum(t, "unread_connections_closed_total").await >= count
            })
            .await;
            let beside = first + everybody_is_answered(t, crowd).await;
            assert!(beside > 0, "all have waited for strangers to go");
            assert_eq!(t.http.get(&t.metrics).send().await.unwrap().status(), 200);
            drop(strangers);
        })
        .await;
    }
}

/// From one address.
const CALLERS: usize = 400;

#[tokio::test]
async fn one_address_has_256_connections_and_others_and_the_probes_are_answered() {
    run_test(async |t| {
        let mut strangers = Vec::new();
        // Few, so that the last has come before the first has been there for ten seconds, on any machine.
        for _ in 0..CALLERS {
            // Refused ones may be gone before they have said anything.
            strangers.extend(half_open(t, 0).await);
        }
        eventually("the rest is refused", async || {
            let refused = metric(t, "unread_connections_refused_total", ",reason=\"address\"");
            refused.await == CALLERS - 256
        })
        .await;
        assert_eq!(t.get("/healthz").await.0, 200);
        assert_eq!(t.get("/login").await.0, 200);
        let open = metric(t, "unread_connections", "").await;
        assert!((256..=260).contains(&open), "{open}");
        // After ten seconds they are gone.
        for mut stranger in strangers {
            let mut bytes = Vec::new();
            let _ = stranger.read_to_end(&mut bytes).await;
            assert!(bytes.is_empty());
        }
        let late = metric(t, "unread_connections_closed_total", ",reason=\"headers\"").await;
        assert_eq!(late, 256);
    })
    .await;
}

#[tokio::test]
async fn the_metrics_have_connections_of_their_own_and_share_them_out_as_well() {
    run_test(async |t| {
        let address = t.metrics.strip_prefix("http://").unwrap();
        let address = address.strip_suffix("/metrics").unwrap();
        let mut strangers = Vec::new();
        for n in 0..200 {
            let socket = TcpSocket::new_v4().unwrap();
            let own = SocketAddr::from(([127, 0, 0, 2 + n % 4], 0));
            socket.bind(own).unwrap();
            strangers.push(socket.connect(address.parse().unwrap()).await.unwrap());
        }
        assert_eq!(t.http.get(&t.metrics).send().await.unwrap().status(), 200);
        assert_eq!(t.get("/healthz").await.0, 200);
    })
    .await;
}

/// A body as long as strangers may send, but for its last byte.
async fn long_body(t: &TestApp, stranger: u8, path: &str, headers: &str) -> TcpStream {
    let address: SocketAddr = t.web.strip_prefix("http://").unwrap().parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    let own = SocketAddr::from(([127, 0, 0, 2 + stranger], 0));
    socket.bind(own).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {LONG}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

const LONG: usize = 256 * 1024;

async fn answer_of(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap_or_default();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_strangers_take_no_more_memory_than_their_part_and_leave_the_rest_to_others() {
    run_test(async |t| {
        // 32 MB hold 136 of them, the free beginnings aside.
        let mut strangers = Vec::new();
        for n in 0..160 {
            let mut stream = long_body(t, n % 4, "/login", "").await;
            strangers.push(Box::pin(async move {
                // Refused, it is not read to its end.
                let _ = stream.write_all(&vec![b'x'; LONG - 1]).await;
                answer_of(stream).await
            }));
        }
        let (first, _, others) = futures_util::future::select_all(strangers).await;
        // Who is still writing when the connection is closed may lose the answer: the metric below says that they were refused.
        if !first.is_empty() {
            assert!(first.starts_with("HTTP/1.1 503 "), "{first}");
            assert!(first.contains("retry-after: "), "{first}");
        }

        // What is short, and what comes from people who are logged in, finds room.
        let short = t.http.post(format!("{}/login", t.web));
        let short = short.header("sec-fetch-site", "same-origin");
        let short = short.form(&[("name", "ann"), ("password", "not hers")]);
        let short = short.send().await.unwrap().status();
        assert!(short.as_u16() < 500, "{short}");
        let editor = t.program(&[Permission::View, Permission::Edit]).await;
        let check =
            |padding: usize| json!({ "enabled": true, "settings": { "x": "x".repeat(padding) } });
        let long = editor
            .send(Method::POST, "/rules/check", &check(3 << 20))
            .await;
        assert_eq!(long.status, 200, "{long:?}");
        drop(others);

        // Who may only look has little to send.
        let viewer = t.program(&[Permission::View]).await;
        let long = viewer
            .send(Method::POST, "/rules/check", &check(LONG))
            .await;
        assert_eq!(long.status, 413, "{long:?}");
        let short = viewer
            .send(Method::POST, "/rules/check", &check(1000))
            .await;
        assert_eq!(short.status, 200, "{short:?}");
        let page = t
            .http
            .get(&t.metrics)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let refused = page
            .lines()
            .find_map(|line| line.strip_prefix("unread_bodies_refused_total "));
        assert!(refused.unwrap().parse::<u64>().unwrap() >= 1);
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_for_the_body_of_a_webhook_that_is_off_or_was_not_signed() {
    let on = vec![
        (
            "UNREAD_MAIL_WEBHOOK_SECRET",
            "0123456789abcdef0123456789abcdef",
        ),
        (
            "UNREAD_HINT_SECRET",
            "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ),
    ];
    for (settings, paths) in [
        (
            Vec::new(),
            vec![("/mail/events", "404"), ("/v1/hints/12345678", "404")],
        ),
        (
            on,
            vec![
                ("/mail/events", "403"),
                ("/v1/hints/12345678", "403"),
                ("/twilio/status", "403"),
                ("/twilio/inbound", "403"),
            ],
        ),
    ] {
        let setup = Setup {
            settings,
            ..Setup::default()
        };
        run_test_with(setup, async |t| {
            for (path, status) in paths {
                // Of the body nothing comes.
                let answer = answer_of(long_body(t, 0, path, "").await).await;
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{path}: {answer}"
                );
            }
        })
        .await;
    }
}
