//! Upgrades: processes of two versions side by side on one database, under load, while its tables change beneath them.
//!
//! The next version's tables are played by a migration that nobody knows, with a new column in every table. So whoever starts
//! after it is an old pod that is started anew in the middle of a roll-out. The version before this one is this program itself,
//! unless `UNREAD_OLD_PROGRAM` names an older build: then the tables go from that one's to the current ones as well. Before 1.0 that is
//! possible only with a build of the same baseline (migrations/README.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;
use unread::sandbox::Sandbox;

use crate::database::database;
use crate::harness::{eventually, free_port, live_at_once, migrated, run_test};
use crate::process::{Process, run_program, settings, text, this_program};
use crate::roles::{answered, sandbox, settings_for};

const ROLES: [&str; 5] = ["scheduler", "worker", "worker", "web", "web"];

fn old_program() -> PathBuf {
    let named = std::env::var_os("UNREAD_OLD_PROGRAM").map(PathBuf::from);
    named.unwrap_or_else(|| this_program().to_owned())
}

/// A process of the service, and where it answers its probes.
struct Pod {
    process: Process,
    probes: String,
}

impl Pod {
    fn start(program: &Path, role: &str, sandbox: &Sandbox, database: &str) -> Self {
        let port = free_port().to_string();
        let more = [
            ("UNREAD_METRICS_PORT", port.as_str()),
            ("UNREAD_METRICS_BIND", "127.0.0.1"),
            ("SMTP_RATE_PER_SECOND", "1000"),
        ];
        let settings = settings_for(sandbox, database, &more);
        Self {
            process: Process::start_program(program, &[role], &settings),
            probes: format!("http://127.0.0.1:{port}/readyz"),
        }
    }

    async fn is_ready(&self) -> bool {
        let answer = unread::liveperson::http_client()
            .get(&self.probes)
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ready(&self) {
        eventually("a process is ready", || self.is_ready()).await;
    }
}

/// Somebody new is answered several times a second, until told to stop. Returns how many there were.
async fn load(sandbox: &Sandbox, enough: &CancellationToken) -> usize {
    let mut visitors = 0;
    while !enough.is_cancelled() {
        answered(sandbox, &format!("visitor{visitors}@example.net"), 2);
        visitors += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    visitors
}

async fn migrate(program: &Path, database: &str) {
    let settings = settings(&[("DATABASE_URL", database)]);
    let output = run_program(program, &["migrate"], &settings).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// What the next version adds: a column in every table of the ledger, and settings in every rule.
async fn expand(pool: &PgPool) {
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert!(tables.len() > 10, "{tables:?}");
    for table in tables {
        let column = format!("alter table {table} add column of_the_future text");
        sqlx::query(AssertSqlSafe(column))
            .execute(pool)
            .await
            .unwrap();
    }
    // And what it may store in a rule: a setting of its own, and one within each rule's first step.
    for table in ["rules", "rule_drafts", "rule_versions"] {
        let settings = format!(
            "update {table} set settings = jsonb_set(settings, '{{steps,0,of_the_future}}', 'true') || '{{\"of_the_future\": [1]}}'"
        );
        sqlx::query(AssertSqlSafe(settings))
            .execute(pool)
            .await
            .unwrap();
    }
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (99991231000000, 'of the future', true, '', 0)",
    )
    .execute(pool)
    .await
    .unwrap();
}

async fn sent(pool: &PgPool) -> usize {
    let count: i64 = sqlx::query_scalar("select count(*) from reminders where state = 'sent'")
        .fetch_one(pool)
        .await
        .unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_out_of_every_role_under_load_loses_and_doubles_nothing() {
    let (old, new) = (old_program(), this_program());
    let db = database(b"empty", async |_| Ok(())).await;
    migrate(&old, &db.url).await;
    live_at_once(&db.pool).await.unwrap();
    let sandbox = sandbox().await;
    let mut pods: Vec<(&str, Pod)> = ROLES
        .iter()
        .map(|role| (*role, Pod::start(&old, role, &sandbox, &db.url)))
        .collect();
    for (_, pod) in &pods {
        pod.ready().await;
    }
    let more_are_sent = async |what: &str| {
        let before = sent(&db.pool).await;
        eventually(what, async || sent(&db.pool).await > before + 5).await;
    };

    // There are drafts and histories as well.
    sqlx::query(
        "insert into rule_drafts (account, skill, based_on, enabled, settings, changed_by, changed_at)
         select account, skill, version, enabled, settings, 'ann', updated_at from rules",
    )
    .execute(&db.pool)
    .await
    .unwrap();

    let enough = CancellationToken::new();
    let roll_out = async {
        more_are_sent("the old version sends").await;
        migrate(new, &db.url).await;
        expand(&db.pool).await;
        more_are_sent("the old version sends from newer tables").await;
        for (role, pod) in &mut pods {
            assert!(pod.is_ready().await, "the old {role} is ready to its end");
            let successor = Pod::start(new, role, &sandbox, &db.url);
            successor.ready().await;
            let mut old = std::mem::replace(pod, successor);
            assert_eq!(old.process.terminate().await.code(), Some(0), "{role}");
        }
        more_are_sent("the new version sends").await;
        enough.cancel();
    };
    let (visitors, ()) = tokio::join!(load(&sandbox, &enough), roll_out);

    eventually("every visitor has been reminded", async || {
        sent(&db.pool).await >= visitors
    })
    .await;
    for (role, pod) in &mut pods {
        assert_eq!(pod.process.terminate().await.code(), Some(0), "{role}");
    }
    let mut received: BTreeMap<String, usize> = BTreeMap::new();
    for mail in sandbox.outbox().mails() {
        *received.entry(mail.to.concat()).or_default() += 1;
    }
    assert_eq!(received.len(), visitors, "nobody is forgotten");
    assert!(
        received.values().all(|times| *times == 1),
        "nobody is written to twice: {received:?}"
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn tables_of_an_incompatible_version_end_what_runs_and_refuse_what_starts() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    expand(&db.pool).await;
    let mut running = Pod::start(this_program(), "scheduler", &sandbox, &db.url);
    running.ready().await;
    migrate(this_program(), &db.url).await;

    sqlx::query(
        "update instance set value = '99991231000000' where key = 'schema_compatible_from'",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    assert!(!running.is_ready().await);
    assert_eq!(running.process.ended().await.code(), Some(1));
    assert!(running.process.log().contains("newer version of unread"));

    let settings = settings_for(&sandbox, &db.url, &[]);
    for command in [&["migrate"][..], &["run"], &["rules", "export"]] {
        let output = run_program(this_program(), command, &settings).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let told = text(&output.stderr);
        assert!(told.contains("newer version of unread"), "{told}");
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn what_a_newer_version_says_of_a_channel_survives_the_scans_of_this_one() {
    run_test(async |t| {
        let chat = t.answered("ann@example.com");
        t.tick().await;
        let newer = "update conversations set address_hashes = address_hashes || '{\"newer\": \"00\"}' where id = $1";
        let newer = sqlx::query(newer).bind(&chat).execute(t.pool()).await;
        assert_eq!(newer.unwrap().rows_affected(), 1);
        t.advance(2).await;
        t.tick().await;
        let kept = "select address_hashes ? 'email' and address_hashes ? 'newer' from conversations where id = $1";
        let kept = sqlx::query_scalar(kept).bind(&chat).fetch_one(t.pool());
        assert_eq!(kept.await.ok(), Some(true));
    })
    .await;
}

/// The number is compared with the newest migration that a program knows.
#[tokio::test]
async fn the_tables_of_this_version_ask_for_no_newer_program() {
    let db = migrated().await;
    let newest = sqlx::migrate!().iter().map(|m| m.version).max().unwrap();
    let from: i64 = sqlx::query_scalar(
        "select value::bigint from instance where key = 'schema_compatible_from'",
    )
    .fetch_one(&db.pool)
    .await
    .unwrap();
    assert!(from <= newest);
}
