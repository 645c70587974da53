//! Words that this version does not know, as a newer version may have stored them: an error of their row, and of no other.

use unread::db::columns::{readable, unknown_word};
use unread::db::reports;
use unread::domain::access::AccountLimit;
use unread::domain::contact::Suppression;
use unread::domain::decide::{Cause, Reason, Stage, Verdict};
use unread::domain::hold;
use unread::domain::ids::{AccountId, Channel, Provider, ReminderId, SkillId};
use unread::domain::outcome::OutcomeKind;
use unread::domain::read_state::ReadStatus;
use unread::domain::reminder::ReminderState;

use crate::harness::{account, migrated, noon};

#[tokio::test]
async fn a_word_is_read_as_what_it_is_and_an_unknown_one_is_told() {
    let db = migrated().await;
    macro_rules! reads {
        ($($type:ty, $known:expr, $what:literal;)+) => {$(
            let known: $type = sqlx::query_scalar("select $1")
                .bind($known)
                .fetch_one(&db.pool)
                .await
                .unwrap();
            assert_eq!(known, $known);
            let unknown: sqlx::Result<$type> = sqlx::query_scalar("select 'of the future'::text")
                .fetch_one(&db.pool)
                .await;
            let error = unknown.unwrap_err();
            let told = unknown_word(&error).unwrap();
            assert_eq!((told.what, told.word.as_str()), ($what, "of the future"));
        )+};
    }
    reads! {
        AccountId, account(), "account id";
        Channel, Channel::Sms, "channel";
        Provider, Provider::Twilio, "provider";
        ReminderState, ReminderState::Undelivered, "state of a reminder";
        ReadStatus, ReadStatus::Undecided, "read state";
        OutcomeKind, OutcomeKind::NotAccepted, "outcome";
        Reason, Reason::ByOperator, "reason";
        Stage, Stage::Operator, "stage";
        Verdict, Verdict::None, "verdict";
        Suppression, Suppression::Complaint, "reason of a suppression";
        hold::HoldKind, hold::HoldKind::Copied, "kind of hold";
    }
    let cause: Cause = sqlx::query_scalar("select 'of the future'::text")
        .fetch_one(&db.pool)
        .await
        .unwrap();
    assert_eq!(cause, Cause::Code("of the future".to_owned()));
}

#[tokio::test]
async fn a_limit_that_cannot_be_read_is_never_a_wider_one() {
    let db = migrated().await;
    for limit in [
        AccountLimit::NONE,
        AccountLimit::to([]),
        AccountLimit::to([account(), "other".parse().unwrap()]),
    ] {
        let read: AccountLimit = sqlx::query_scalar("select $1")
            .bind(&limit)
            .fetch_one(&db.pool)
            .await
            .unwrap();
        assert_eq!(read, limit);
    }
    for array in ["array['a b']", "array[null::text]", "array['a', '']"] {
        let read: sqlx::Result<AccountLimit> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select {array}")))
                .fetch_one(&db.pool)
                .await;
        assert!(read.is_err(), "{array}");
    }
}

#[tokio::test]
async fn arrays_are_bound_and_read_as_they_are() {
    let db = migrated().await;
    let rows = sqlx::query("select * from unnest($1::text[], $2::bigint[], $3::bigint[])")
        .bind(Channel::ALL)
        .bind(vec![SkillId(-1), SkillId(7)])
        .bind(&[Some(ReminderId(3)), None][..])
        .fetch_all(&db.pool)
        .await
        .unwrap();
    let read: Vec<(Channel, SkillId, Option<ReminderId>)> = readable(&rows).unwrap();
    assert_eq!(
        read,
        [
            (Channel::Email, SkillId(-1), Some(ReminderId(3))),
            (Channel::Sms, SkillId(7), None)
        ]
    );
}

#[tokio::test]
async fn the_database_knows_the_words_that_the_program_knows_and_no_others() {
    let db = migrated().await;
    let takes = async |domain: &str, word: &str| {
        let cast = format!("select '{word}'::{domain}");
        sqlx::query(sqlx::AssertSqlSafe(cast))
            .execute(&db.pool)
            .await
            .is_ok()
    };
    for channel in Channel::ALL {
        assert!(takes("channel", channel.as_str()).await, "{channel}");
    }
    for provider in Provider::ALL {
        assert!(takes("provider", provider.as_str()).await, "{provider}");
    }
    for domain in ["channel", "provider"] {
        assert!(!takes(domain, "fax").await);
    }
}

#[tokio::test]
async fn a_row_with_an_unknown_word_is_passed_over_and_takes_no_place() {
    let db = migrated().await;
    let rows = sqlx::query("select * from (values ('email', 1), ('fax', 2), ('sms', 3)) as t")
        .fetch_all(&db.pool)
        .await
        .unwrap();
    let read: Vec<(Channel, i32)> = readable(&rows).unwrap();
    assert_eq!(read, [(Channel::Email, 1), (Channel::Sms, 3)]);
    // What is wrong with a statement is wrong with every row.
    assert!(readable::<(Channel, String)>(&rows).is_err());

    sqlx::query(
        "insert into decisions (at, account, conversation, channel, stage, verdict, reason)
         select $1, $2, 'c', channel, 'scan', 'none', reason
         from (values ('email', 'read'), ('sms', 'of the future'), ('fax', 'read')) as t(channel, reason)",
    )
    .bind(noon())
    .bind(account())
    .execute(&db.pool)
    .await
    .unwrap();
    let own = [account()];
    let page = |before, most| reports::decisions(&db.pool, &own, None, before, most);
    let newest = page(None, 1).await.unwrap();
    assert_eq!(newest[0].channel, Some(Channel::Sms));
    assert_eq!(newest[0].reason.as_str(), "of the future");
    let rest = page(Some(newest[0].id), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].reason, Cause::Ours(Reason::Read));
}
