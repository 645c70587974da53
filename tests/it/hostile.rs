//! Bytes that no honest client would send, at every address that strangers can reach: an answer comes, and it is never our fault.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, TestApp, run_test};

/// A path of ours with anything in the places that strangers fill.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[0-9A-Za-z]{0,24}",
        "(%[0-9A-Fa-f]{2}){0,20}",
        "[!-~]{0,60}",
        "\\PC{0,30}",
        "[a-z]{200,400}"
    ];
    let shape = prop::sample::select(vec![
        "/r/X",
        "/u/X",
        "/helpers/msghist/X/X/unreadByConsumer",
        "/v1/badge/X",
        "/v1/badge/12345678?X",
        "/badge/X",
        "/twilio/status?X",
        "/twilio/inbound",
        "/mail/events",
        "/v1/hints/X",
        "/X",
    ]);
    (shape, part.clone(), part)
        .prop_map(|(shape, one, two)| shape.replacen('X', &one, 1).replace('X', &two))
}

fn header() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "Authorization: Bearer ",
        "Authorization: ",
        "X-Twilio-Signature: ",
        "X-Unread-Signature: v1=",
        "X-Unread-Timestamp: ",
        "Content-Type: ",
        "Cookie: ",
        "Origin: ",
        "If-None-Match: ",
        "User-Agent: ",
        "X-Forwarded-For: ",
        "Last-Event-ID: ",
        "Range: ",
    ]);
    (
        name,
        prop_oneof![
            "[!-~]{0,60}",
            "\\PC{0,40}",
            "[A-Za-z0-9_-]{1,30}\\.[A-Za-z0-9_-]{1,60}\\.[A-Za-z0-9_-]{0,40}"
        ],
    )
        .prop_map(|(name, value)| format!("{name}{value}\r\n"))
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop::sample::select(vec!["GET", "POST", "HEAD", "OPTIONS", "PUT"]);
    let body = prop::collection::vec(any::<u8>(), 0..300);
    (method, path(), prop::collection::vec(header(), 0..4), body).prop_map(|(method, path, headers, body)| {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}Content-Length: {length}\r\n\r\n", headers.concat());
        [head.into_bytes(), body].concat()
    })
}

/// The status of the answer; `None` if the server hangs up without one.
async fn ask(stage: &TestApp, request: &[u8]) -> Option<u16> {
    let address = stage.web.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(request).await;
    let mut head = [0; 12];
    let read = tokio::time::timeout(PATIENCE, socket.read_exact(&mut head));
    read.await.expect("an answer, or the end").ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

#[tokio::test]
async fn nothing_that_a_stranger_sends_is_an_error_of_ours() {
    run_test(async |t| {
        let mut runner = TestRunner::default();
        for _ in 0..runner.config().cases {
            let request = request().new_tree(&mut runner).unwrap().current();
            let status = ask(t, &request).await;
            assert!(
                status.is_none_or(|status| status < 500),
                "{status:?} for {}",
                request.escape_ascii()
            );
        }
    })
    .await;
}
