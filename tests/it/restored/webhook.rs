//! The journal as signed posts: an opt-out holds whether or not the receiver answers, and arrives when it does; and what a receiver has kept
//! comes back. The receiver checks signatures with a library of others.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use sqlx::PgPool;
use standardwebhooks::{
    HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook, WebhookError,
};
use tokio::net::TcpListener;
use unread::clock::Clock;
use unread::db;
use unread::db::suppressions::Source;
use unread::domain::contact::Suppression;
use unread::domain::ids::Channel;
use unread::hashing::Hasher;
use unread::journal::{self, EntryKind, JournalEntry, JournalLine};

use super::{ANN, reminded, unsubscribe};
use crate::harness::{Setup, account, eventually, migrated, noon, run_test_with};
use crate::process::{Folder, Process, Settings, run, text};
use crate::roles::{sandbox, settings_for};

const SIGNING: &str = "whsec_YW4gYWdyZWVkIHNlY3JldCBvZiBzb21lIGxlbmd0aA==";

/// A receiver that can be switched off; the posts that it has kept, and how often it has refused.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<(bool, Vec<String>, usize)>>);

impl Receiver {
    async fn listen(&self) -> String {
        let receiver = self.clone();
        let take = move |headers: HeaderMap, body: Bytes| {
            let receiver = receiver.clone();
            async move { receiver.take(&headers, &body) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new().route("/journal", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}/journal")
    }

    fn take(&self, headers: &HeaderMap, body: &Bytes) -> StatusCode {
        is_signed(headers, body);
        let (on, kept, refused) = &mut *self.0.lock().unwrap();
        if !*on {
            *refused += 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        kept.push(text(body));
        StatusCode::NO_CONTENT
    }

    fn turn_on(&self) {
        self.0.lock().unwrap().0 = true;
    }

    /// As it appends them to a file.
    fn posts(&self) -> Vec<String> {
        self.0.lock().unwrap().1.clone()
    }

    fn lines(&self) -> Vec<JournalLine> {
        journal::parse(&self.posts().join("\n")).unwrap()
    }

    /// What was noted since it began.
    fn entries(&self) -> Vec<JournalEntry> {
        let mut entries = journal::entries(self.lines());
        entries.retain(|entry| entry.snapshot.is_none());
        entries
    }

    fn refused(&self) -> usize {
        self.0.lock().unwrap().2
    }
}

/// As the library sees it, and nothing but what was signed.
fn is_signed(headers: &HeaderMap, body: &[u8]) {
    let library = Webhook::new(SIGNING).unwrap();
    match library.verify(body, headers) {
        // On a stage it is another day.
        Err(WebhookError::TimestampTooOldError) => {
            let of = |name| headers[name].to_str().unwrap();
            let timestamp: i64 = of(HEADER_WEBHOOK_TIMESTAMP).parse().unwrap();
            assert!((noon().timestamp()..noon().timestamp() + 86_400).contains(&timestamp));
            let signature = library.sign(of(HEADER_WEBHOOK_ID), timestamp, body);
            assert_eq!(of(HEADER_WEBHOOK_SIGNATURE), signature.unwrap());
        }
        verified => verified.unwrap(),
    }
    let of = |name| headers[name].to_str().unwrap();
    let (id, at) = (of(HEADER_WEBHOOK_ID), of(HEADER_WEBHOOK_TIMESTAMP).parse());
    let (at, said): (i64, _) = (at.unwrap(), of(HEADER_WEBHOOK_SIGNATURE));
    let changed = [body, b" "].concat();
    assert_ne!(library.sign(id, at, &changed).unwrap(), said);
    assert_ne!(library.sign(id, at + 1, body).unwrap(), said);
    let another = Webhook::new("whsec_YW5vdGhlciBzZWNyZXQ=").unwrap();
    assert_ne!(another.sign(id, at, body).unwrap(), said);
}

#[tokio::test]
async fn an_opt_out_is_confirmed_while_the_receiver_is_away_and_arrives_when_it_is_back() {
    let receiver = Receiver::default();
    let url: &'static str = Box::leak(receiver.listen().await.into());
    let setup = Setup {
        settings: vec![
            ("UNREAD_SECRET", "a-key-that-outlives-the-database-0123"),
            ("UNREAD_JOURNAL_URL", url),
            ("UNREAD_JOURNAL_SECRET", SIGNING),
        ],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let ann = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(reminded(t), [ANN]);
        unsubscribe(t, &ann).await;
        eventually("the receiver has refused it", async || {
            receiver.refused() > 0
        })
        .await;
        let lag = async || {
            let metrics = t.http.get(&t.metrics).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            let line = metrics.lines().find_map(|line| {
                line.strip_prefix("unread_journal_lag_seconds{sink=\"webhook\"} ")
            });
            line.expect("the lag").parse::<f64>().unwrap()
        };
        assert!(lag().await > 0.0);
        receiver.turn_on();
        eventually("it has arrived", async || lag().await <= 0.0).await;
        let lines = receiver.lines();
        assert!(
            matches!(&lines[0], JournalLine::Begins(begins) if begins.number == 1),
            "{lines:?}"
        );
        let numbers: Vec<i64> = lines.iter().map(JournalLine::number).collect();
        // It was in force already when the receiver let the journal begin.
        assert_eq!(numbers, [1, 2, 3, 4], "{lines:?}");
        let kept = receiver.entries();
        assert_eq!(kept.len(), 1, "{kept:?}");
        let entry = &kept[0];
        assert_eq!(
            (entry.kind, entry.channel.as_deref()),
            (EntryKind::OptOut, Some("email"))
        );
        assert!(entry.at <= Clock::System.now() && entry.until.is_none());
        // Whom it is about only the key tells.
        let address = unread::domain::contact::Address::email(ANN).unwrap();
        assert_eq!(entry.hash, t.context().hasher.address(&address));
        assert_eq!(entry.key, Some(t.context().hasher.key_id()));
        let waiting: i64 = sqlx::query_scalar("select count(*) from journal_outbox")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(waiting, 0, "what has arrived is not kept here");
    })
    .await;
}

const KEY: &str = "a-key-that-outlives-the-database-0123";
const OLD_KEY: &str = "the-key-before-it-which-is-still-known";

async fn opt_out(pool: &PgPool, n: u8) {
    let mut conn = pool.acquire().await.unwrap();
    let why = (Suppression::OptedOut, Source::UnsubscribeLink);
    let now = Clock::System.now();
    db::suppressions::add(&mut conn, &[account()], Channel::Email, &[n; 16], why, now)
        .await
        .unwrap();
}

fn has_begun(lines: &[JournalLine]) -> bool {
    lines
        .iter()
        .any(|line| matches!(line, JournalLine::SnapshotEnds { .. }))
}

/// No trigger sees it, as none sees a restore.
async fn lose_suppressions(pool: &PgPool) {
    let lost =
        "begin; set local session_replication_role = replica; delete from suppressions; commit";
    sqlx::raw_sql(lost).execute(pool).await.unwrap();
}

async fn suppressed(pool: &PgPool) -> Vec<(i32, Option<String>)> {
    sqlx::query_as("select get_byte(address_hash, 0), key_id from suppressions order by 1")
        .fetch_all(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_was_said_in_a_lost_time_comes_back_from_the_file_and_from_what_a_receiver_has_kept() {
    let (sandbox, db, folder) = (sandbox().await, migrated().await, Folder::new());
    let receiver = Receiver::default();
    receiver.turn_on();
    let url = receiver.listen().await;
    let file = folder.path().join("journal.jsonl");
    let settings = settings_for(
        &sandbox,
        &db.url,
        &[
            ("UNREAD_SECRET", KEY),
            ("UNREAD_SECRET_OLD", OLD_KEY),
            ("UNREAD_JOURNAL_FILE", file.to_str().unwrap()),
            ("UNREAD_JOURNAL_URL", &url),
            ("UNREAD_JOURNAL_SECRET", SIGNING),
        ],
    );
    let old_key = Hasher::new(OLD_KEY.as_bytes()).key_id();
    let before_the_change = db::pool_with_key(db.url.parse().unwrap(), 1, 0, Some(old_key.clone()));
    let lost_from = Clock::System.now().to_rfc3339();
    opt_out(&before_the_change, 1).await;
    let mut worker = Process::start(&["worker"], &settings);
    for n in [2, 3] {
        eventually("what was said before is kept", async || {
            has_begun(&receiver.lines())
                && receiver.entries().len() == usize::from(n) - 2
                && journal::JournalFile::at(file.clone())
                    .mark()
                    .unwrap()
                    .is_some()
        })
        .await;
        opt_out(&before_the_change, n).await;
    }
    eventually("all of it is kept", async || receiver.entries().len() == 2).await;
    assert!(worker.terminate().await.success());
    lose_suppressions(&db.pool).await;

    let all = [1, 2, 3].map(|n| (n, Some(old_key.clone())));
    // No row of the heartbeat is missing, so nobody finds it out.
    let restored = ["restored", "--lost-from", &lost_from, "--unnoticed"];
    let done = run(&restored, &settings).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(
        text(&done.stdout).contains("From the journal: 3 addresses"),
        "{}",
        text(&done.stdout)
    );
    assert_eq!(
        suppressed(&db.pool).await,
        all,
        "under the key of their time"
    );

    lose_suppressions(&db.pool).await;
    let export = folder.path().join("export");
    let from_export = [&restored[..], &["--journal", export.to_str().unwrap()]].concat();
    let posts = receiver.posts();
    let without = |part: &str| {
        let kept: Vec<&String> = posts.iter().filter(|post| !post.contains(part)).collect();
        assert!(kept.len() < posts.len());
        kept.into_iter().cloned().collect::<Vec<_>>().join("\n")
    };
    let hole = without(&format!("\"hash\":\"{}\"", "02".repeat(16)));
    for (kept, why) in [
        (hole.as_str(), "is missing"),
        (&without("\"begins\""), "its beginning is missing"),
        ("", "its beginning is missing"),
    ] {
        std::fs::write(&export, kept).unwrap();
        let refused = run(&from_export, &settings).await;
        let said = text(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains(why) && said.contains("hours"),
            "{said}"
        );
        assert_eq!(suppressed(&db.pool).await, [], "nothing was done");
    }
    std::fs::write(&export, posts.join("\n")).unwrap();
    let keyless: Vec<_> = settings
        .iter()
        .filter(|(name, _)| name != "UNREAD_SECRET_OLD")
        .cloned()
        .collect();
    let refused = run(&from_export, &keyless).await;
    assert!(
        text(&refused.stderr).contains(&old_key),
        "{}",
        text(&refused.stderr)
    );
    let done = run(&from_export, &settings).await;
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(suppressed(&db.pool).await, all);

    // What is there all the same is better than nothing, if a person says so.
    lose_suppressions(&db.pool).await;
    std::fs::write(&export, &hole).unwrap();
    let what_it_has = [&from_export[..], &["--incomplete-journal"]].concat();
    let done = run(&what_it_has, &settings).await;
    let told = text(&done.stdout);
    assert!(told.contains("is missing"), "{told}");
    assert_eq!(suppressed(&db.pool).await, [all[0].clone(), all[2].clone()]);

    the_end_is_asked_for(&file, &restored, &settings).await;
    sandbox.stop().await;
}

/// Of the file that is kept here, wherever it has been copied to.
async fn the_end_is_asked_for(file: &Path, restored: &[&str], settings: &Settings) {
    // A copy of the file that has lost its end is not taken for what a receiver has.
    let copy = file.with_file_name("copy");
    let lines = std::fs::read_to_string(file).unwrap();
    let (kept, _) = lines.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&copy, kept).unwrap();
    let from_copy = [restored, &["--journal", copy.to_str().unwrap()]].concat();
    let refused = run(&from_copy, settings).await;
    assert!(
        text(&refused.stderr).contains("its end is missing"),
        "{}",
        text(&refused.stderr)
    );

    // Nobody takes for complete what nobody vouches for.
    std::fs::remove_file(file.with_extension("complete")).unwrap();
    let refused = run(restored, settings).await;
    assert!(
        text(&refused.stderr).contains(".complete"),
        "{}",
        text(&refused.stderr)
    );
}
