//! Mail servers that answer anything at all: the pool has an outcome in time, and never "accepted" without a yes to every step.

use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::tests::{PATIENCE, send, settings, timeouts};
use super::{Pool, SmtpSettings};
use crate::domain::outcome::Outcome;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Servers fall silent all the time. Who takes longer to answer has an outcome, too.
const SHORT: Duration = Duration::from_millis(300);

/// One reply: usual, almost usual, or bytes.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop::sample::select(vec![
        "220 mail ESMTP\r\n",
        "250 ok\r\n",
        "250-mail\r\n250 SIZE 1\r\n",
        "354 go\r\n",
        "250 2.0.0 queued as 4F\r\n",
        "421 4.3.2 bye\r\n",
        "550 5.1.1 no\r\n",
        "451 4.7.1 later\r\n",
    ]);
    prop_oneof![
        6 => usual.prop_map(|text| text.as_bytes().to_vec()),
        2 => "[0-9]{1,4}[ -]\\PC{0,60}\r?\n".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

/// What becomes of a message when the server says these one after the other, each in answer to whatever it hears, and then nothing
/// more; or all of them at once.
async fn outcome(replies: Vec<Vec<u8>>, at_once: bool) -> Option<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        // A second connection is refused the same words.
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut heard = [0; 4096];
            for reply in &replies {
                let _ = socket.write_all(reply).await;
                if !at_once && !socket.read(&mut heard).await.is_ok_and(|n| n > 0) {
                    break;
                }
            }
            let _ = socket.shutdown().await;
            while socket.read(&mut heard).await.is_ok_and(|n| n > 0) {}
        }
    });
    let impatient = SmtpSettings {
        timeouts: timeouts(SHORT),
        ..settings(port)
    };
    let pool = Pool::new(impatient, 1).unwrap();
    let outcome = tokio::time::timeout(PATIENCE, send(&pool, "fuzz")).await;
    server.abort();
    outcome.ok()
}

proptest! {
    #[test]
    fn fuzz_smtp_servers(replies in prop::collection::vec(reply(), 0..9), at_once: bool) {
        let said = replies.concat();
        let outcome = RUNTIME.block_on(outcome(replies, at_once));
        let taken = matches!(outcome, Some(Outcome::Accepted { .. }));
        let twos = said.split(|b| *b == b'\n').filter(|line| line.starts_with(b"2")).count();
        prop_assert!(outcome.is_some(), "no outcome in {:?}", PATIENCE);
        // Greeting, EHLO, MAIL, RCPT and the final dot; and DATA.
        prop_assert!(!taken || twos >= 5 && said.split(|b| *b == b'\n').any(|line| line.starts_with(b"3")));
    }
}
