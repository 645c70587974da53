//! Rules that a newer version of the program has stored, as this version finds them while an update is rolled out.

use serde_json::{Value, json};
use sqlx::PgPool;
use unread::channel::render::Texts;
use unread::control::ControlError;
use unread::control::accounts::Allowed;
use unread::control::rules::{self, ChangeAuthor, RuleChange};
use unread::control::senders::AllowedSenders;
use unread::db;
use unread::domain::ids::{Channel, SkillId};
use unread::domain::rule::RuleKey;
use unread::domain::zone::Zone;
use unread::jobs::contradictions::RuleSurroundings;
use unread::sandbox::ACCOUNT;
use unread::sandbox::world::ORDERS;

use crate::harness::{default_rule, everything, migrated, noon, run_test};

const ANN: &str = "ann@example.net";

/// A setting that this version does not know, one within a step, and one with a word that it does not understand.
const KEY: &str = r#"{"of_the_future": {"a": 1}}"#;
const WORD: &str = r#"{"in_quiet_hours": "ask"}"#;

/// Puts settings among those that are stored, in rules, drafts and histories.
async fn add(pool: &PgPool, more: &str) {
    for table in ["rules", "rule_drafts", "rule_versions"] {
        let sql = format!(
            "update {table} set settings = jsonb_set(settings, '{{steps,0,unless}}', '\"clicked\"') || $1::jsonb"
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(serde_json::from_str::<Value>(more).unwrap())
            .execute(pool)
            .await
            .unwrap();
    }
}

fn key() -> Allowed<RuleKey> {
    everything().rule(default_rule()).unwrap()
}

fn by() -> ChangeAuthor<'static> {
    ChangeAuthor {
        name: "ann",
        now: noon(),
    }
}

fn change() -> RuleChange {
    RuleChange {
        enabled: true,
        settings: json!({ "steps": [{ "channel": "email", "after_minutes": 5 }] }),
    }
}

#[tokio::test]
async fn a_setting_that_is_not_known_here_stops_nobody() {
    run_test(async |t| {
        add(t.pool(), KEY).await;
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        assert_eq!(t.get("/healthz").await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_rule_that_is_not_understood_waits_for_the_newer_version_and_alone() {
    run_test(async |t| {
        let orders = RuleKey {
            skill: Some(SkillId(ORDERS)),
            ..default_rule()
        };
        t.rule_for(&orders, &[Channel::Sms], |_| ()).await;
        let scheduled = t.answered(ANN);
        t.tick().await;
        sqlx::query("update rules set settings = settings || $1::jsonb where skill is null")
            .bind(serde_json::from_str::<Value>(WORD).unwrap())
            .execute(t.pool())
            .await
            .unwrap();
        let scanned = t.answered("ben@example.net");
        let by_text = t.answered_in(ACCOUNT, ORDERS, "+12025550143");
        t.tick().await;
        t.advance(10).await;
        assert!(t.mails().is_empty(), "nobody guesses what was meant");
        assert_eq!(t.texts().len(), 1, "the other rule goes on");
        assert_eq!(t.story(&by_text).await, ["sent"]);
        let decisions = t.decisions(&scheduled).await;
        assert_eq!(decisions.last().unwrap(), "deliver postpone newer_rule");
        assert_eq!(t.reason(&scanned).await.as_deref(), Some("newer_rule"));

        // As the newer version would go on, or this one after an update.
        t.rule(Channel::Email, |_| ()).await;
        t.advance(2).await;
        t.tick().await;
        assert_eq!(t.mails().len(), 2, "nothing was lost meanwhile");
    })
    .await;
}

#[tokio::test]
async fn what_a_newer_version_stored_is_not_lost_by_saving() {
    let db = migrated().await;
    let pool = &db.pool;
    let texts = Texts::new();
    let mut conn = pool.acquire().await.unwrap();
    db::accounts::ensure(&mut *conn, &[default_rule().account], noon())
        .await
        .unwrap();
    let seen = rules::read(pool, &key()).await.unwrap().stamp;
    let saved = rules::save_draft(
        pool,
        (&texts, &AllowedSenders::ANY, &Channel::ALL),
        &key(),
        seen,
        change(),
        by(),
    )
    .await;
    let seen = saved.unwrap().stamp;
    let published = rules::publish(pool, (&texts, &AllowedSenders::ANY), &key(), seen, by()).await;
    let own_draft = rules::save_draft(
        pool,
        (&texts, &AllowedSenders::ANY, &Channel::ALL),
        &key(),
        published.unwrap().stamp,
        change(),
        by(),
    )
    .await
    .unwrap();
    let export = rules::export(pool).await.unwrap();
    let file = unread::rules_file::print(&export);
    add(pool, KEY).await;

    let refused = |what: &str, result: Result<(), ControlError>| {
        let Err(ControlError::Conflict(said)) = result else {
            panic!("{what}: {result:?}");
        };
        assert!(
            said.contains("of_the_future, steps[0].unless"),
            "{what}: {said}"
        );
    };
    let seen = rules::read(pool, &key()).await.unwrap().stamp;
    assert_eq!(seen, own_draft.stamp);
    let saved = rules::save_draft(
        pool,
        (&texts, &AllowedSenders::ANY, &Channel::ALL),
        &key(),
        seen,
        change(),
        by(),
    )
    .await;
    refused("saving over it", saved.map(|_| ()));
    let published = rules::publish(pool, (&texts, &AllowedSenders::ANY), &key(), seen, by()).await;
    refused("publishing its draft", published.map(|_| ()));
    let restored = rules::restore(pool, &key(), 1, seen, by()).await;
    refused("restoring one of its versions", restored.map(|_| ()));
    refused(
        "exporting without it",
        rules::export(pool).await.map(|_| ()),
    );
    let other = file.replace("after_minutes = 5", "after_minutes = 6");
    assert_ne!(other, file);
    let around = |_: &_| RuleSurroundings {
        zone: Zone::UTC,
        sender: None,
    };
    let imported = rules::import((pool, &texts, &Channel::ALL), around, &other, by()).await;
    refused("importing over it", imported.map(|_| ()));

    let kept: Vec<bool> = sqlx::query_scalar(
        "select settings ? 'of_the_future' from rules union all
         select settings ? 'of_the_future' from rule_drafts union all
         select settings ? 'of_the_future' from rule_versions",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    assert_eq!(kept, [true; 3]);
    assert_eq!(
        rules::list(pool, &everything(), None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let history = rules::versions(pool, &key(), None, 10).await.unwrap();
    assert_eq!(history.len(), 1);
}

/// Who went back to this version for good restores what it stored; the history keeps the rest.
#[tokio::test]
async fn an_earlier_version_of_a_rule_can_be_restored_over_a_newer_program_s() {
    let db = migrated().await;
    let pool = &db.pool;
    let texts = Texts::new();
    let mut conn = pool.acquire().await.unwrap();
    db::accounts::ensure(&mut *conn, &[default_rule().account], noon())
        .await
        .unwrap();
    for minutes in [5, 7] {
        let seen = rules::read(pool, &key()).await.unwrap().stamp;
        let change = RuleChange {
            enabled: true,
            settings: json!({ "steps": [{ "channel": "email", "after_minutes": minutes }] }),
        };
        let saved = rules::save_draft(
            pool,
            (&texts, &AllowedSenders::ANY, &Channel::ALL),
            &key(),
            seen,
            change,
            by(),
        )
        .await;
        let seen = saved.unwrap().stamp;
        rules::publish(pool, (&texts, &AllowedSenders::ANY), &key(), seen, by())
            .await
            .unwrap();
    }
    let word: Value = serde_json::from_str(WORD).unwrap();
    for table in ["rules", "rule_versions where version = 2"] {
        let (table, only) = table.split_once(" where ").unwrap_or((table, "true"));
        let sql = format!("update {table} set settings = settings || $1::jsonb where {only}");
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&word)
            .execute(pool)
            .await
            .unwrap();
    }
    let seen = rules::read(pool, &key()).await.unwrap().stamp;
    let restored = rules::restore(pool, &key(), 1, seen, by()).await.unwrap();
    let published = rules::publish(
        pool,
        (&texts, &AllowedSenders::ANY),
        &key(),
        restored.stamp,
        by(),
    )
    .await
    .unwrap();
    let rule = published.published.unwrap();
    assert_eq!(rule.version, 3);
    assert!(rule.settings.newer.is_empty());
    let kept: Value = sqlx::query_scalar(
        "select settings -> 'in_quiet_hours' from rule_versions where version = 2",
    )
    .fetch_one(pool)
    .await
    .unwrap();
    assert_eq!(kept, json!("ask"));
}
