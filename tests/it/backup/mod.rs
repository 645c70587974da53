//! Backups and their way back: real processes, real files. On the PostgreSQL that `run` keeps in `own`.

mod own;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use unread::backup::{self, Nightly};
use unread::clock::Clock;
use unread::domain::zone::Zone;
use unread::metrics::Metrics;
use unread::postgres::{Address, Children, Clients};

use crate::database::database;
use crate::harness::{TestApp, eventually, migrated, run_test};
use crate::process::{Folder, Settings, run, settings, text};

/// Every row of every table, in one word each, and where each sequence is. A service that runs signs in and beats all the time.
async fn rows(url: &str) -> Vec<(String, String)> {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables
         where schemaname in ('public', 'apalis') and tablename not in ('workers', 'heartbeat', 'beats', 'holds') order by 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let mut all: Vec<(String, String)> = sqlx::query_as(
        "select format('%I.%I', schemaname, sequencename), coalesce(last_value::text, 'unused') from pg_sequences
         where schemaname in ('public', 'apalis') and sequencename <> 'holds_id_seq' order by 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    for table in tables {
        let sum = format!(
            "select count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {table} t"
        );
        let sum: String = sqlx::query_scalar(AssertSqlSafe(sum))
            .fetch_one(&mut conn)
            .await
            .unwrap();
        all.push((table, sum));
    }
    conn.close().await.unwrap();
    all
}

/// What holds sending from that database.
async fn holds(url: &str) -> Vec<String> {
    let mut conn = PgConnection::connect(url).await.unwrap();
    let kinds = sqlx::query_scalar("select kind from holds where ended_at is null");
    let kinds = kinds.fetch_all(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    kinds
}

fn count(rows: &[(String, String)], table: &str) -> u32 {
    let (_, sum) = rows.iter().find(|(name, _)| name == table).unwrap();
    sum.split(' ').next().unwrap().parse().unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// It ended well; its words.
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// It failed; its words.
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn on(url: &str) -> Settings {
    settings(&[("DATABASE_URL", url)])
}

/// A reminder that was sent, a suppression, and the default rules.
async fn with_something_in_it(t: &TestApp) {
    let settings = settings(&[
        ("DATABASE_URL", &t.database.url),
        ("LE_ACCOUNT", "12345678"),
    ]);
    t.answered("ann@example.net");
    t.tick().await;
    t.advance(10).await;
    assert_eq!(t.mails().len(), 1);
    done(&run(&["suppressions", "add", "ben@example.net"], &settings).await);
}

#[tokio::test]
async fn a_configured_database_comes_back_row_by_row() {
    run_test(async |t| {
        with_something_in_it(t).await;
        let (folder, from) = (Folder::new(), on(&t.database.url));
        let file = folder.path().join("unread.dump");
        let told = done(&run(&["backup", path(&file)], &from).await);
        assert!(told.contains(path(&file)), "{told}");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing but the file"
        );

        let there = refused(&run(&["backup", path(&file)], &from).await);
        assert!(there.contains("--force"), "{there}");
        done(&run(&["backup", path(&file), "--force"], &from).await);

        let empty = database(b"empty", async |_| Ok(())).await;
        let told = done(&run(&["restore", path(&file)], &on(&empty.url)).await);
        // The archive's own time says no more than which clock was on the wall.
        let mut restored = PgConnection::connect(&empty.url).await.unwrap();
        let beat: DateTime<Utc> = sqlx::query_scalar("select beat_at from heartbeat")
            .fetch_one(&mut restored)
            .await
            .unwrap();
        restored.close().await.unwrap();
        let until = beat.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        assert!(
            told.contains(&format!("unread restored --lost-from {until}")),
            "{told}"
        );
        let (before, after) = (rows(&t.database.url).await, rows(&empty.url).await);
        assert_eq!(after, before);
        assert_eq!(
            holds(&empty.url).await,
            ["copied"],
            "until a person says what comes next"
        );
        assert!(holds(&t.database.url).await.is_empty());
        done(&run(&["moved"], &on(&empty.url)).await);
        assert!(holds(&empty.url).await.is_empty());
        for table in ["public.reminders", "public.suppressions", "public.rules"] {
            assert!(count(&after, table) > 0, "{table}");
        }

        // The stage is at work on its own, so nothing is put there.
        let busy = refused(&run(&["restore", path(&file), "--replace"], &from).await);
        assert!(busy.contains("connections of unread"), "{busy}");
        assert_eq!(rows(&t.database.url).await, before);
    })
    .await;
}

#[tokio::test]
async fn what_is_there_is_replaced_only_when_told_and_never_by_halves() {
    run_test(async |t| {
        with_something_in_it(t).await;
        let folder = Folder::new();
        let file = folder.path().join("unread.dump");
        done(&run(&["backup", path(&file)], &on(&t.database.url)).await);
        let saved = rows(&t.database.url).await;

        let other = database(b"empty", async |_| Ok(())).await;
        let to = on(&other.url);
        done(&run(&["migrate"], &to).await);
        // What a newer version has made, and the backup does not know.
        let mut conn = PgConnection::connect(&other.url).await.unwrap();
        sqlx::raw_sql(
            "create table newer (id bigserial primary key, kind text);
             create type novelty as enum ('a', 'b');
             create view newest as select max(id) from newer;
             create function news() returns int language sql as 'select 1'",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        conn.close().await.unwrap();
        let before = rows(&other.url).await;

        let full = refused(&run(&["restore", path(&file)], &to).await);
        assert!(full.contains("--replace"), "{full}");

        // Its table of contents is whole, and its rows are not.
        let half = folder.path().join("half.dump");
        let bytes = fs::read(&file).unwrap();
        fs::write(&half, &bytes[..bytes.len() - 100]).unwrap();
        let broken = refused(&run(&["restore", path(&half), "--replace"], &to).await);
        assert!(broken.contains("as it was"), "{broken}");
        assert_eq!(rows(&other.url).await, before);

        let text_file = folder.path().join("notes.txt");
        fs::write(&text_file, "no dump").unwrap();
        let strange = refused(&run(&["restore", path(&text_file), "--replace"], &to).await);
        assert!(strange.contains("cannot be read as a dump"), "{strange}");

        done(&run(&["restore", path(&file), "--replace"], &to).await);
        assert_eq!(rows(&other.url).await, saved);
    })
    .await;
}

#[tokio::test]
async fn dumps_and_databases_of_other_programs_are_left_alone() {
    let (ours, shop) = (migrated().await, database(b"empty", async |_| Ok(())).await);
    let folder = Folder::new();
    let file = folder.path().join("unread.dump");
    ours.pool.close().await;
    done(&run(&["backup", path(&file)], &on(&ours.url)).await);

    let mut conn = PgConnection::connect(&shop.url).await.unwrap();
    sqlx::raw_sql("create table orders as select 7 as id")
        .execute(&mut conn)
        .await
        .unwrap();
    let none = refused(
        &run(
            &["backup", path(&folder.path().join("shop.dump"))],
            &on(&shop.url),
        )
        .await,
    );
    assert!(none.contains("no tables of unread"), "{none}");
    let kept = refused(&run(&["restore", path(&file), "--replace"], &on(&shop.url)).await);
    assert!(kept.contains("not those of unread"), "{kept}");

    let foreign = folder.path().join("foreign.dump");
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    conn.close().await.unwrap();
    let (address, into) = (
        Address::of_url(&shop.url).unwrap(),
        File::create_new(&foreign).unwrap(),
    );
    tokio::task::spawn_blocking(move || {
        let clients = Clients::find(None, u32::try_from(version / 10_000).unwrap()).unwrap();
        clients.dump(&address, &into, &Children::default()).unwrap();
    })
    .await
    .unwrap();
    let other = refused(&run(&["restore", path(&foreign), "--replace"], &on(&ours.url)).await);
    assert!(other.contains("some other database"), "{other}");
}

fn dated(file: &Path, at: DateTime<Utc>) {
    let seconds = u64::try_from(at.timestamp()).unwrap();
    let file = File::options().write(true).open(file).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds))
        .unwrap();
}

#[tokio::test]
async fn a_missed_night_is_made_up_for_at_once_and_the_oldest_backups_go() {
    let (db, folder) = (migrated().await, Folder::new());
    for day in 1..=3 {
        let old = folder.path().join(format!("unread-2020-01-0{day}.dump"));
        fs::write(&old, "old").unwrap();
        dated(&old, format!("2020-01-0{day}T03:30:00Z").parse().unwrap());
    }
    let metrics = Metrics::new();
    let nightly = Nightly {
        database: backup::BackupDatabase {
            options: db.url.parse().unwrap(),
            address: Address::of_url(&db.url).unwrap(),
            bin_dir: None,
        },
        folder: folder.path().to_path_buf(),
        keep: 2,
        zone: Zone::UTC,
        since: "2020-01-01T00:00:00Z".parse().unwrap(),
        clock: Clock::System,
        metrics: metrics.clone(),
    };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(nightly.run(shutdown.clone()));
    let days = || -> Vec<String> {
        let kept = backup::kept(folder.path()).unwrap();
        kept.iter().map(|one| one.day.to_string()).collect()
    };
    eventually("today's is there and the oldest are gone", async || {
        let days = days();
        days.len() == 2 && !days[0].starts_with("2020")
    })
    .await;
    assert_eq!(days()[1], "2020-01-03");
    let newest = backup::newest(folder.path()).unwrap();
    // One that can be brought back.
    let empty = database(b"empty", async |_| Ok(())).await;
    done(&run(&["restore", path(&newest.path)], &on(&empty.url)).await);
    shutdown.cancel();
    running.await.unwrap();
    let families = metrics.registry().gather();
    let name = "unread_backup_last_success_timestamp_seconds";
    let family = families.iter().find(|family| family.name() == name);
    let at = family.unwrap().get_metric()[0].get_gauge().get_value();
    assert!(at > 1_700_000_000.0, "{at}");
}
