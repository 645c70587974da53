//! One rule and several people, straight through `control`: nothing is lost, and nobody is overwritten unseen.

use serde_json::{Value, json};
use sqlx::PgPool;
use unread::channel::render::Texts;
use unread::control::ControlError;
use unread::control::accounts::Allowed;
use unread::control::rules::{self, ChangeAuthor, RuleChange, RuleStamp, RuleView};
use unread::control::senders::AllowedSenders;
use unread::db;
use unread::domain::ids::{Channel, SkillId};
use unread::domain::rule::RuleKey;

use crate::database::TestDatabase;
use crate::harness::{account, everything, migrated, noon};

const CARE: SkillId = SkillId(700);

/// An empty installation that knows one skill.
async fn empty() -> TestDatabase {
    let db = migrated().await;
    let mut conn = db.pool.acquire().await.unwrap();
    db::accounts::ensure(&mut *conn, &[account()], noon())
        .await
        .unwrap();
    let skills = [(CARE, "Customer care".to_owned())];
    db::accounts::store_skills(&mut conn, &account(), &skills, None, noon())
        .await
        .unwrap();
    db
}

fn key(skill: Option<SkillId>) -> Allowed<RuleKey> {
    let key = RuleKey {
        account: account(),
        skill,
    };
    everything().rule(key).unwrap()
}

fn by(name: &str) -> ChangeAuthor<'_> {
    ChangeAuthor { name, now: noon() }
}

fn after(minutes: u32) -> RuleChange {
    RuleChange {
        enabled: true,
        settings: json!({ "steps": [{ "channel": "sms", "after_minutes": minutes }] }),
    }
}

async fn draft(
    pool: &PgPool,
    seen: RuleStamp,
    change: RuleChange,
    who: &str,
) -> Result<RuleView, ControlError> {
    rules::save_draft(
        pool,
        (&Texts::new(), &AllowedSenders::ANY, &Channel::ALL),
        &key(Some(CARE)),
        seen,
        change,
        by(who),
    )
    .await
}

async fn publish(pool: &PgPool, seen: RuleStamp, who: &str) -> Result<RuleView, ControlError> {
    rules::publish(
        pool,
        (&Texts::new(), &AllowedSenders::ANY),
        &key(Some(CARE)),
        seen,
        by(who),
    )
    .await
}

async fn read(pool: &PgPool) -> RuleView {
    rules::read(pool, &key(Some(CARE))).await.unwrap()
}

#[tokio::test]
async fn a_rule_for_a_skill_is_drafted_and_then_published() {
    let db = empty().await;
    let nothing = read(&db.pool).await;
    assert!(nothing.published.is_none() && nothing.draft.is_none());
    let drafted = draft(&db.pool, nothing.stamp, after(15), "ann")
        .await
        .unwrap();
    assert!(drafted.published.is_none(), "a draft is not in force");
    assert!(db::rules::all(&db.pool).await.unwrap().is_empty());
    let published = publish(&db.pool, drafted.stamp, "ann").await.unwrap();
    assert!(published.draft.is_none());
    let rule = published.published.unwrap();
    assert_eq!((rule.version, rule.changed_by.as_deref()), (1, Some("ann")));
    assert!(published.summary[0].contains("in Customer care stays unread"));
    assert!(published.summary[0].contains("after 15 minutes"));
    let listed = rules::list(&db.pool, &everything(), None, 50)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].skill_name.as_deref(), Some("Customer care"));
}

#[tokio::test]
async fn of_two_people_at_one_rule_the_second_is_told_and_nothing_is_lost() {
    let db = empty().await;
    let seen = read(&db.pool).await.stamp;
    let first = draft(&db.pool, seen, after(15), "ann").await.unwrap();
    let second = draft(&db.pool, seen, after(30), "ben").await.unwrap_err();
    let ControlError::Changed(said) = second else {
        panic!("{second:?}");
    };
    assert!(said.contains("ann saved a draft"), "{said}");
    assert_eq!(
        read(&db.pool).await.stamp,
        first.stamp,
        "ann's draft is as she left it"
    );

    // Ben has looked at it and writes over it knowingly; now Ann's stamp is the old one.
    draft(&db.pool, first.stamp, after(30), "ben")
        .await
        .unwrap();
    let late = publish(&db.pool, first.stamp, "ann").await.unwrap_err();
    assert!(
        matches!(&late, ControlError::Changed(said) if said.contains("ben saved a draft")),
        "{late}"
    );
    let seen = read(&db.pool).await.stamp;
    let published = publish(&db.pool, seen, "ben").await.unwrap();
    let late = draft(&db.pool, first.stamp, after(1), "ann")
        .await
        .unwrap_err();
    assert!(
        matches!(&late, ControlError::Changed(said) if said.contains("ben published a newer version")),
        "{late}"
    );
    assert_eq!(published.published.unwrap().settings.steps.len(), 1);
}

#[tokio::test]
async fn many_at_once_make_one_draft() {
    let db = empty().await;
    let seen = read(&db.pool).await.stamp;
    let writers = (1..=6).map(|n| {
        let pool = db.pool.clone();
        async move {
            draft(&pool, seen, after(n), &format!("person {n}"))
                .await
                .is_ok()
        }
    });
    let saved = futures_util::future::join_all(writers).await;
    assert_eq!(saved.into_iter().filter(|saved| *saved).count(), 1);
}

#[tokio::test]
async fn a_draft_begun_before_somebody_elses_publishing_is_not_published_over_it() {
    let db = empty().await;
    let first = draft(&db.pool, RuleStamp::default(), after(15), "ann")
        .await
        .unwrap();
    let published = publish(&db.pool, first.stamp, "ann").await.unwrap();
    let begun = draft(&db.pool, published.stamp, after(20), "ann")
        .await
        .unwrap();
    // A rules file brings another version meanwhile; the draft stays.
    let mut conn = db.pool.acquire().await.unwrap();
    let settings = unread::domain::rule::RuleSettings::default_for(&[Channel::Sms]);
    db::rules::put(
        &mut conn,
        &key(Some(CARE)),
        true,
        &settings,
        "rules file",
        noon(),
    )
    .await
    .unwrap();
    let told = publish(&db.pool, begun.stamp, "ann").await.unwrap_err();
    assert!(
        matches!(&told, ControlError::Changed(said) if said.contains("rules file published a newer version")),
        "{told}"
    );
    let there = read(&db.pool).await;
    assert!(there.draft.as_ref().unwrap().outdated);
    let told = publish(&db.pool, there.stamp, "ann").await.unwrap_err();
    assert!(
        matches!(&told, ControlError::Changed(said) if said.contains("version 2")),
        "{told}"
    );
    let again = draft(&db.pool, there.stamp, after(20), "ann")
        .await
        .unwrap();
    let published = publish(&db.pool, again.stamp, "ann").await.unwrap();
    assert_eq!(published.published.unwrap().version, 3);
}

#[tokio::test]
async fn a_deleted_rule_gives_way_to_the_default_and_its_history_goes_on() {
    let db = empty().await;
    let mut conn = db.pool.acquire().await.unwrap();
    let settings = unread::domain::rule::RuleSettings::default_for(&[Channel::Sms]);
    db::rules::put(
        &mut conn,
        &key(None),
        true,
        &settings,
        "first start",
        noon(),
    )
    .await
    .unwrap();
    let drafted = draft(&db.pool, RuleStamp::default(), after(15), "ann")
        .await
        .unwrap();
    let published = publish(&db.pool, drafted.stamp, "ann").await.unwrap();
    let own = key(Some(CARE));
    let deleted = rules::delete(&db.pool, &own, published.stamp, by("ben"))
        .await
        .unwrap();
    assert!(deleted.published.is_none() && deleted.fallback.is_some());
    let told = draft(&db.pool, published.stamp, after(5), "ann")
        .await
        .unwrap_err();
    assert!(
        matches!(&told, ControlError::Changed(said) if said.contains("ben deleted it")),
        "{told}"
    );
    let restored = rules::restore(&db.pool, &own, 1, deleted.stamp, by("ann"))
        .await
        .unwrap();
    assert!(
        restored.published.is_none(),
        "looked at before it is in force again"
    );
    let back = publish(&db.pool, restored.stamp, "ann").await.unwrap();
    assert_eq!(back.published.unwrap().version, 3);
    let history = rules::versions(&db.pool, &own, None, 10).await.unwrap();
    let told: Vec<(i32, &str, bool)> = history
        .iter()
        .map(|v| (v.version, v.changed_by.as_str(), v.deleted))
        .collect();
    assert_eq!(
        told,
        [(3, "ann", false), (2, "ben", true), (1, "ann", false)]
    );
    let default = rules::read(&db.pool, &key(None)).await.unwrap();
    let told = rules::delete(&db.pool, &key(None), default.stamp, by("ann")).await;
    assert!(
        matches!(told, Err(ControlError::Conflict(_))),
        "the default is switched off, not deleted"
    );
}

#[tokio::test]
async fn the_history_says_what_each_version_changed() {
    let db = empty().await;
    for minutes in [15, 20] {
        let seen = read(&db.pool).await.stamp;
        let drafted = draft(&db.pool, seen, after(minutes), "ann").await.unwrap();
        publish(&db.pool, drafted.stamp, "ann").await.unwrap();
    }
    let history = rules::versions(&db.pool, &key(Some(CARE)), None, 1)
        .await
        .unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].changes.len(), 1);
    assert_eq!(history[0].changes[0].field, "steps");
    assert_eq!(
        history[0].changes[0].before,
        json!([{ "id": 1, "channel": "sms", "after_minutes": 15, "when": "always" }])
    );
    let older = rules::versions(&db.pool, &key(Some(CARE)), Some(2), 10)
        .await
        .unwrap();
    assert_eq!(older.len(), 1);
    assert_eq!(older[0].changes.len(), 0);
}

#[tokio::test]
async fn faults_are_told_all_at_once_with_their_places_and_nothing_is_stored() {
    let db = empty().await;
    let change = RuleChange {
        enabled: true,
        settings: json!({
            "steps": [{ "channel": "sms", "after_minutes": 5 }, { "channel": "sms", "after_minutes": 5 }],
            "caps": { "per_consumer_24h": 0 },
            "channels": { "sms": { "templates": { "en": { "text": "Hello {{first_nam}}" } } } },
        }),
    };
    let told = draft(&db.pool, RuleStamp::default(), change, "ann")
        .await
        .unwrap_err();
    let ControlError::Invalid(faults) = told else {
        panic!("{told:?}");
    };
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "/settings/steps/1/after_minutes",
            "/settings/caps/per_consumer_24h"
        ]
    );
    let change = RuleChange {
        enabled: true,
        settings: json!({ "channels": { "sms": { "templates": { "en": { "text": "Hello {{first_nam}}" } } } } }),
    };
    let told = draft(&db.pool, RuleStamp::default(), change, "ann")
        .await
        .unwrap_err();
    assert!(
        told.to_string()
            .contains("/settings/channels/sms/templates/en/text"),
        "{told}"
    );
    assert!(read(&db.pool).await.draft.is_none());
}

#[tokio::test]
async fn every_change_is_in_the_audit_trail_without_texts_or_addresses() {
    let db = empty().await;
    let change = RuleChange {
        enabled: true,
        settings: json!({ "channels": { "sms": {
            "sender": "+12025550143", "templates": { "en": { "text": "Secret words {{link}}" } },
        } } }),
    };
    let drafted = draft(&db.pool, RuleStamp::default(), change, "ann")
        .await
        .unwrap();
    let published = publish(&db.pool, drafted.stamp, "ann").await.unwrap();
    let drafted = draft(&db.pool, published.stamp, after(3), "ben")
        .await
        .unwrap();
    rules::discard(&db.pool, &key(Some(CARE)), drafted.stamp, by("ben"))
        .await
        .unwrap();
    let trail: Vec<(String, String, String, Value)> =
        sqlx::query_as("select by, action, subject, detail from audit order by id")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    let told: Vec<(&str, &str)> = trail.iter().map(|t| (t.0.as_str(), t.1.as_str())).collect();
    assert_eq!(
        told,
        [
            ("ann", "rule.draft"),
            ("ann", "rule.publish"),
            ("ben", "rule.draft"),
            ("ben", "rule.discard")
        ]
    );
    for (_, _, subject, detail) in &trail {
        assert_eq!(subject, &key(Some(CARE)).to_string());
        let detail = detail.to_string();
        assert!(
            !detail.contains("2025550143") && !detail.contains("Secret"),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn there_is_no_rule_for_a_skill_or_account_that_is_not_there() {
    let db = empty().await;
    let told = rules::read(&db.pool, &key(Some(SkillId(9))))
        .await
        .unwrap_err();
    assert_eq!(told.to_string(), "there is no skill 9 in account 12345678");
    let elsewhere = RuleKey {
        account: "nowhere".parse().unwrap(),
        ..RuleKey::clone(&key(None))
    };
    let elsewhere = everything().rule(elsewhere).unwrap();
    let told = rules::read(&db.pool, &elsewhere).await.unwrap_err();
    assert_eq!(told.to_string(), "there is no account nowhere");
}

#[tokio::test]
async fn a_long_list_comes_page_by_page() {
    let db = empty().await;
    let mut conn = db.pool.acquire().await.unwrap();
    let settings = unread::domain::rule::RuleSettings::default_for(&[Channel::Sms]);
    for skill in [
        None,
        Some(SkillId(3)),
        Some(SkillId(-1)),
        Some(SkillId(700)),
    ] {
        db::rules::put(&mut conn, &key(skill), true, &settings, "test", noon())
            .await
            .unwrap();
    }
    let mut met = Vec::new();
    let mut last = None;
    loop {
        let page = rules::list(&db.pool, &everything(), last.as_deref(), 3)
            .await
            .unwrap();
        met.extend(page.iter().map(|one| one.skill.map(|s| s.0)));
        match page.last() {
            Some(one) => last = Some(key(one.skill)),
            None => break,
        }
    }
    assert_eq!(met, [None, Some(-1), Some(3), Some(700)]);
}
