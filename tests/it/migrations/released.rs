//! Files that were released stay as they are; new ones only add, and lock nothing for long.

use std::fmt::Write as _;
use std::fs;

use sqlx::PgPool;
use sqlx::migrate::{Migration, Migrator};

use super::effects::faults;
use super::to_come;
use crate::database::database;
use crate::manifests::{read, root};

const LIST: &str = "migrations/released.txt";

/// Version and checksum of a file, as the list has them.
fn line(migration: &Migration) -> String {
    let mut checksum = String::new();
    for byte in &*migration.checksum {
        write!(checksum, "{byte:02x}").unwrap();
    }
    format!("{} {checksum}", migration.version)
}

fn listed(list: &str) -> Vec<String> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// What is wrong with the files, where these were released; and those that were not.
fn told_apart(list: &[String], files: &Migrator) -> (Vec<String>, Vec<Migration>) {
    let known: Vec<String> = files.iter().map(line).collect();
    let touched = list.iter().filter(|line| !known.contains(line));
    let touched = touched.map(|line| format!("released, and no longer what it was: {line}"));
    let new = files.iter().filter(|file| !list.contains(&line(file)));
    (touched.collect(), new.cloned().collect())
}

/// What is wrong with new files, after what was released before them. Each has a line in the changelog, which says what it locks.
async fn faults_of_new(pool: &PgPool, new: &[Migration], changelog: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in new {
        let version = file.version;
        let faults = faults(pool, file.sql.as_str()).await;
        found.extend(
            faults
                .into_iter()
                .map(|fault| format!("{version}: {fault}")),
        );
        let says_so = |line: &str| line.contains(&version.to_string()) && line.contains("locks ");
        if !changelog.lines().any(says_so) {
            found.push(format!("{version}: no line of CHANGELOG.md says what it locks, for how long per million rows"));
        }
        sqlx::raw_sql(file.sql.clone()).execute(pool).await.unwrap();
    }
    found
}

/// The baseline, until something has been released.
async fn with_the_released(
    list: &[String],
    files: &Migrator,
) -> (crate::database::TestDatabase, Vec<Migration>) {
    let (touched, new) = told_apart(list, files);
    assert!(touched.is_empty(), "{touched:#?}");
    let (before, new): (Vec<Migration>, Vec<Migration>) = if list.is_empty() {
        (new, Vec::new())
    } else {
        files
            .iter()
            .cloned()
            .partition(|file| list.contains(&line(file)))
    };
    let db = database(b"empty", async |_| Ok(())).await;
    Migrator::with_migrations(before)
        .run(&db.pool)
        .await
        .unwrap();
    (db, new)
}

#[tokio::test]
async fn released_files_stay_as_they_are_and_new_ones_only_add() {
    let files = sqlx::migrate!();
    let list = listed(&read(LIST));
    let is_released = !env!("CARGO_PKG_VERSION").starts_with("0.");
    assert!(!is_released || !list.is_empty(), "{LIST} lists nothing");
    let (db, new) = with_the_released(&list, &files).await;
    let faults = faults_of_new(&db.pool, &new, &read("CHANGELOG.md")).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

/// As it will be after a release: the baseline is listed, and a version is to come.
#[tokio::test]
async fn a_version_to_come_is_tried_after_what_was_released() {
    let baseline = sqlx::migrate!();
    let list: Vec<String> = baseline.iter().map(line).collect();
    let next = |sql: &[&str]| {
        let files = sql.iter().zip(0..).map(|(sql, n)| Migration {
            version: to_come(sql).version + n,
            ..to_come(sql)
        });
        Migrator::with_migrations(baseline.iter().cloned().chain(files).collect())
    };
    let log =
        "- 99991231000000 locks `reminders` for a moment\n- 99991231000001 locks nothing for long";

    // The second is right only after the first.
    let good = next(&[
        "alter table reminders add column more text",
        "-- no-transaction\ncreate index concurrently if not exists by_more on reminders (more)",
    ]);
    let (db, new) = with_the_released(&list, &good).await;
    assert_eq!(faults_of_new(&db.pool, &new, log).await, [""; 0]);

    let bad = next(&[
        "alter table reminders add column more text default clock_timestamp()::text",
        "create table fresh (id int)",
    ]);
    let (db, new) = with_the_released(&list, &bad).await;
    let found = faults_of_new(&db.pool, &new, "- 99991231000001 locks nothing").await;
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].contains("reminders is rewritten, under AccessExclusiveLock"),
        "{found:#?}"
    );
    assert!(
        found[1].contains("99991231000000: no line of CHANGELOG.md"),
        "{found:#?}"
    );

    let mut touched = list.clone();
    touched[0].push('0');
    assert_eq!(told_apart(&touched, &baseline).0.len(), 1);
}

#[test]
#[ignore = "writes the list of what is released; at a release only"]
fn write_the_list() {
    let list = read(LIST);
    let comment: Vec<&str> = list.lines().filter(|line| line.starts_with('#')).collect();
    let lines: Vec<String> = sqlx::migrate!().iter().map(line).collect();
    fs::write(
        root().join(LIST),
        format!("{}\n{}\n", comment.join("\n"), lines.join("\n")),
    )
    .unwrap();
}
