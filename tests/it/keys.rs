//! The key of the address hashes is changed: nobody who said no under the old one is written to.

use reqwest::Method;
use serde_json::json;
use sqlx::PgPool;
use unread::db::suppressions::{AddressHash, Source};
use unread::db::{self, rekey};
use unread::domain::access::Permission;
use unread::domain::contact::{Address, Suppression};
use unread::domain::ids::Channel;
use unread::hashing::Hasher;

use crate::harness::{Setup, TestApp, account, migrated, noon, run_test_with};
use crate::process::{run, settings, text};

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";
const OLD: &str = "the-key-of-last-year-0123456789abcdef";
const NEW: &str = "the-key-of-this-year-0123456789abcdef";

fn changed() -> Setup {
    Setup {
        settings: vec![("UNREAD_SECRET", NEW), ("UNREAD_SECRET_OLD", OLD)],
        ..Setup::default()
    }
}

fn address(raw: &str) -> Address {
    Address::email(raw)
        .or_else(|| Address::phone(raw, None))
        .unwrap()
}

fn under(key: &str, raw: &str) -> AddressHash {
    Hasher::new(key.as_bytes()).address(&address(raw))
}

/// Somebody has said no while the old key was in use.
async fn said_no(t: &TestApp, raw: &str, why: (Suppression, Source)) {
    let (channel, hash) = (address(raw).channel(), under(OLD, raw));
    let mut conn = t.pool().acquire().await.unwrap();
    db::suppressions::add(&mut conn, &[account()], channel, &hash, why, t.now())
        .await
        .unwrap();
    // As a process of then has written it.
    sqlx::query("update suppressions set key_id = null")
        .execute(&mut *conn)
        .await
        .unwrap();
}

type StoredHashes = (Vec<u8>, String, Option<String>);

async fn kept(pool: &PgPool) -> Vec<StoredHashes> {
    sqlx::query_as("select address_hash, reason, key_id from suppressions order by address_hash")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// One suppression, under the new key.
fn moved(raw: &str, reason: &str) -> Vec<StoredHashes> {
    let id = Hasher::new(NEW.as_bytes()).key_id();
    vec![(under(NEW, raw).to_vec(), reason.to_owned(), Some(id))]
}

#[tokio::test]
async fn who_said_no_under_the_old_key_is_not_written_to_and_kept_under_the_new_one() {
    run_test_with(changed(), async |t| {
        said_no(t, ANN, (Suppression::OptedOut, Source::UnsubscribeLink)).await;
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["cancelled (opted_out)", "scheduled"]);
        assert!(t.mails().is_empty());
        assert_eq!(kept(t.pool()).await, moved(ANN, "opted_out"));
    })
    .await;
}

#[tokio::test]
async fn without_the_old_key_nobody_is_recognised() {
    let setup = Setup {
        settings: vec![("UNREAD_SECRET", NEW)],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        said_no(t, ANN, (Suppression::OptedOut, Source::UnsubscribeLink)).await;
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "the other tests can fail");
    })
    .await;
}

#[tokio::test]
async fn a_link_in_a_reminder_of_the_old_key_stops_the_next_one() {
    run_test_with(changed(), async |t| {
        let first = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let token = t.reminders().await[0].token.clone();
        sqlx::query("update reminders set recipient_hash = $1")
            .bind(under(OLD, ANN).as_slice())
            .execute(t.pool())
            .await
            .unwrap();
        let stopped = t.http.post(format!("{}/u/{token}", t.web)).send().await;
        assert!(stopped.unwrap().status().is_success());
        assert_eq!(
            kept(t.pool()).await[0].0,
            under(OLD, ANN),
            "all it knows is the old hash"
        );
        t.world().close(&first);
        let next = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&next).await, ["cancelled (opted_out)", "scheduled"]);
        assert!(t.mails().is_empty());
        let old: i64 =
            sqlx::query_scalar("select count(*) from reminders where recipient_hash = $1")
                .bind(under(OLD, ANN).as_slice())
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(old, 0, "caps are counted over both");
    })
    .await;
}

#[tokio::test]
async fn what_a_number_texts_is_about_what_it_said_under_the_old_key() {
    run_test_with(changed(), async |t| {
        let twilio = t.sandbox.twilio().account();
        let says = async |word: &str| {
            twilio
                .inbound(PHONE, &twilio.number(), word, None)
                .await
                .unwrap();
        };
        said_no(t, PHONE, (Suppression::OptedOut, Source::SmsKeyword)).await;
        says("START").await;
        assert!(kept(t.pool()).await.is_empty(), "it is lifted");
        said_no(t, PHONE, (Suppression::BadAddress, Source::Provider)).await;
        says("STOP").await;
        assert_eq!(kept(t.pool()).await, moved(PHONE, "opted_out"));
    })
    .await;
}

#[tokio::test]
async fn look_ups_lists_and_operators_find_what_is_under_the_old_key() {
    run_test_with(changed(), async |t| {
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        let block = (Suppression::Blocked, Source::Operator);
        said_no(t, ANN, block).await;
        let whom = json!({ "account": account(), "address": ANN });
        let found = program
            .send(Method::POST, "/consumers/look-up", &whom)
            .await
            .json();
        assert_eq!(found["suppressions"][0]["reason"], "blocked", "{found}");
        assert_eq!(kept(t.pool()).await, moved(ANN, "blocked"));
        assert_eq!(
            program
                .send(Method::POST, "/suppressions/remove", &whom)
                .await
                .status,
            204
        );
        assert!(kept(t.pool()).await.is_empty());

        // An opt-out of a list does not weaken a block of before.
        said_no(t, ANN, block).await;
        let list = json!({ "account": account(), "csv": format!("{ANN}\n") });
        let done = program
            .send(Method::POST, "/suppressions/import", &list)
            .await;
        assert_eq!(done.status, 200, "{done:?}");
        assert_eq!(kept(t.pool()).await, moved(ANN, "blocked"));
    })
    .await;
}

#[tokio::test]
async fn of_two_suppressions_of_one_address_the_stronger_one_stays() {
    let (opted_out, bad, blocked) = (
        (Suppression::OptedOut, Source::Operator),
        (Suppression::BadAddress, Source::Provider),
        (Suppression::Blocked, Source::Operator),
    );
    for (old, new, stays) in [
        (opted_out, bad, "opted_out"),
        (bad, opted_out, "opted_out"),
        (blocked, opted_out, "blocked"),
        (opted_out, blocked, "blocked"),
    ] {
        let db = migrated().await;
        let mut conn = db.pool.acquire().await.unwrap();
        db::accounts::ensure(&mut *conn, &[account()], noon())
            .await
            .unwrap();
        for (key, why) in [(OLD, old), (NEW, new)] {
            let hash = under(key, ANN);
            db::suppressions::add(&mut conn, &[account()], Channel::Email, &hash, why, noon())
                .await
                .unwrap();
        }
        let hasher = Hasher::with_older(NEW.as_bytes(), &[OLD.as_bytes()]);
        let moves = hasher.moves(&address(ANN));
        for _ in 0..2 {
            rekey::ledger(&mut conn, &moves, noon()).await.unwrap();
            let kept = kept(&db.pool).await;
            assert_eq!(kept.len(), 1, "{old:?} {new:?}");
            assert_eq!(
                (kept[0].0.as_slice(), kept[0].1.as_str()),
                (&under(NEW, ANN)[..], stays)
            );
        }
    }
}

#[tokio::test]
async fn the_first_key_of_the_settings_and_each_one_after_it_know_what_was_before() {
    let database = migrated().await;
    let unread = async |keys: &[(&str, &str)], arguments: &[&str]| {
        let mut of = settings(keys);
        of.extend(settings(&[
            ("DATABASE_URL", &database.url),
            ("LE_ACCOUNT", account().as_str()),
            ("LE_CLIENT_ID", "x"),
            ("LE_CLIENT_SECRET", "x"),
        ]));
        let output = run(arguments, &of).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let remove = async |keys: &[(&str, &str)], raw: &str| {
        let said = unread(keys, &["suppressions", "remove", raw]).await;
        said.contains("may be written to again")
    };
    let (first, second) = ("ann@example.net", "ben@example.net");
    // With the key that the database keeps, then with one of the settings.
    unread(&[], &["suppressions", "add", first]).await;
    let old = [("UNREAD_SECRET", OLD)];
    assert!(
        remove(&old, first).await,
        "the database's key is an old key by itself"
    );
    unread(&old, &["suppressions", "add", first]).await;
    unread(&old, &["suppressions", "add", second]).await;
    assert!(
        !remove(&[("UNREAD_SECRET", NEW)], first).await,
        "without it, it is lost"
    );
    let both = [("UNREAD_SECRET", NEW), ("UNREAD_SECRET_OLD", OLD)];
    assert!(remove(&both, first).await);
    let back = [("UNREAD_SECRET", OLD), ("UNREAD_SECRET_OLD", NEW)];
    assert!(
        remove(&back, second).await,
        "and the other way round, while processes are replaced"
    );
}
