//! Databases of another baseline (migrations/README.md): nobody works on them, and what is worth keeping can be carried over.

use sqlx::PgPool;
use unread::db;

use crate::database::{TestDatabase, database};
use crate::harness::migrated;
use crate::process::{Folder, Settings, run, settings, text};

/// The table in which migrations are noted, with those of the time before there was a baseline.
const EARLIER: &str = "
    create table _sqlx_migrations (
        version bigint primary key, description text not null, installed_on timestamptz not null default now(),
        success boolean not null, checksum bytea not null, execution_time bigint not null);
    insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (1, 'ledger', true, 'x', 0), (67, 'live by setting', true, 'y', 0);
    create table instance (key text primary key, value text not null);
    insert into instance (key, value) values ('schema_compatible_from', '8');";

const ACCOUNT: &str = "12345678";

fn settings_for(database: &TestDatabase) -> Settings {
    settings(&[
        ("DATABASE_URL", &database.url),
        ("LE_ACCOUNT", ACCOUNT),
        ("UNREAD_SECRET", "0123456789abcdef0123456789abcdef"),
    ])
}

async fn tables(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select schemaname || '.' || tablename from pg_tables
         where schemaname not in ('pg_catalog', 'information_schema') order by 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Whatever works on a database ends at once, in one line that says what to do, and changes nothing.
async fn is_refused(database: &TestDatabase) {
    let before = tables(&database.pool).await;
    let commands = [
        &["migrate"][..],
        &["rules", "export"],
        &["suppressions", "review"],
    ];
    for command in commands {
        let output = run(command, &settings_for(database)).await;
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let told = text(&output.stderr);
        for words in ["another version of unread", db::CARRY_OVER] {
            assert!(told.contains(words), "{command:?}: {told}");
        }
    }
    assert_eq!(tables(&database.pool).await, before);
}

#[tokio::test]
async fn a_database_of_an_earlier_baseline_is_refused_and_left_alone() {
    let earlier = database(b"earlier baseline", async |pool| {
        sqlx::raw_sql(EARLIER).execute(pool).await?;
        Ok(())
    })
    .await;
    is_refused(&earlier).await;
}

#[tokio::test]
async fn a_baseline_that_was_edited_is_another_one() {
    let edited = migrated().await;
    sqlx::query(
        "update _sqlx_migrations set checksum = 'edited'
         where version = (select max(version) from _sqlx_migrations)",
    )
    .execute(&edited.pool)
    .await
    .unwrap();
    is_refused(&edited).await;
}

/// Runs a command that the error names, to its end. Returns what it printed.
async fn done(database: &TestDatabase, arguments: &[&str]) -> String {
    let words: Vec<&str> = arguments.iter().take(2).copied().collect();
    let named = format!("`unread {}", words.join(" "));
    assert!(db::CARRY_OVER.contains(&named), "{named}");
    let output = run(arguments, &settings_for(database)).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn rules_and_opt_outs_are_carried_over_by_the_commands_that_the_error_names() {
    let old = migrated().await;
    let folder = Folder::new();
    let (rules, list) = (
        folder.path().join("rules.toml"),
        folder.path().join("suppressions.csv"),
    );
    let (rules, list) = (rules.to_str().unwrap(), list.to_str().unwrap());
    std::fs::write(
        rules,
        "[[rule]]\naccount = \"12345678\"\nchannel = \"email\"\nsteps = [{ after_minutes = 7 }]\n\n\
         [[rule]]\naccount = \"12345678\"\nskill = 42\nchannel = \"sms\"\nenabled = false\n",
    )
    .unwrap();
    done(&old, &["rules", "import", rules]).await;
    std::fs::write(list, "email,reason\nann@example.com,complaint\n").unwrap();
    done(&old, &["suppressions", "import", list]).await;

    let exported = done(&old, &["rules", "export"]).await;
    std::fs::write(rules, &exported).unwrap();
    done(&old, &["suppressions", "export", list]).await;

    let fresh = database(b"empty", async |_| Ok(())).await;
    done(&fresh, &["migrate"]).await;
    done(&fresh, &["rules", "import", rules]).await;
    done(&fresh, &["suppressions", "import", list]).await;

    assert_eq!(done(&fresh, &["rules", "export"]).await, exported);
    let suppressed = async |pool: &PgPool| -> Vec<(String, Vec<u8>, String)> {
        sqlx::query_as("select account, address_hash, reason from suppressions")
            .fetch_all(pool)
            .await
            .unwrap()
    };
    let there = suppressed(&fresh.pool).await;
    assert_eq!(there.len(), 1);
    assert_eq!(there, suppressed(&old.pool).await);
}
