//! The way out of reminders that the database has lost.

use serde_json::json;
use unread::hashing::Hasher;

use super::{ANN, BEN, JournalStage, account, backup, run_test_with};
use crate::harness::TestApp;

const OLD: &str = "the-key-of-the-year-before-0123456789";

/// Who is suppressed by now, with why, and the name of the key.
async fn suppressed(t: &TestApp) -> Vec<(Vec<u8>, String, Option<String>)> {
    sqlx::query_as("select address_hash, reason, key_id from suppressions order by created_at")
        .fetch_all(t.pool())
        .await
        .unwrap()
}

fn hash(hasher: &Hasher, address: &str) -> Vec<u8> {
    let address = unread::domain::contact::Address::email(address).unwrap();
    hasher.address(&address).to_vec()
}

#[tokio::test]
async fn whoever_unsubscribes_from_a_mail_of_the_lost_time_is_heard() {
    run_test_with(JournalStage::new().setup(), async |t| {
        backup::make(t.pool()).await;
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        let link = mail.list_unsubscribe()[0].to_owned();
        let token = t.reminders().await[0].token.clone();
        backup::restore(t.pool()).await;
        assert!(t.reminders().await.is_empty());

        let old = t.http.post(format!("{}/u/{token}", t.web)).send().await;
        assert_eq!(old.unwrap().status(), 404, "the token alone says nothing");
        // What is sealed in one link is good with its own token only.
        let (forged, _) = link.split_at(link.len() - token.len());
        let forged = format!("{forged}{}", "x".repeat(token.len()));
        assert_eq!(t.http.post(forged).send().await.unwrap().status(), 404);
        assert!(suppressed(t).await.is_empty());

        let asked = t.http.get(&link).send().await.unwrap();
        assert_eq!(asked.status(), 200);
        assert!(
            asked
                .text()
                .await
                .unwrap()
                .contains("no longer send you e-mails")
        );
        assert!(suppressed(t).await.is_empty(), "asking changes nothing");
        let done = t.http.post(&link).send().await.unwrap();
        assert_eq!(done.status(), 200);
        let hasher = &t.context().hasher;
        assert_eq!(
            suppressed(t).await,
            [(
                hash(hasher, ANN),
                "opted_out".to_owned(),
                Some(hasher.key_id())
            )]
        );

        // As long as the link of a reminder that is known.
        t.advance(61 * 24 * 60).await;
        assert_eq!(t.http.post(&link).send().await.unwrap().status(), 404);
    })
    .await;
}

#[tokio::test]
async fn a_no_by_a_lost_link_of_an_older_key_is_not_labelled_with_the_present_one() {
    let kept = JournalStage::new();
    let mut setup = kept.setup();
    setup.settings.push(("UNREAD_SECRET_OLD", OLD));
    run_test_with(setup, async |t| {
        let old = Hasher::new(OLD.as_bytes());
        let to = unread::jobs::way_out::RemindedAddress {
            account: account(),
            channel: unread::domain::ids::Channel::Email,
            hash: hash(&old, ANN).try_into().unwrap(),
            sent_at: t.now(),
        };
        let word = unread::jobs::way_out::word(&old, &unread::hashing::token(), &to).unwrap();
        let done = t.http.post(format!("{}/u/{word}", t.web)).send().await;
        assert_eq!(done.unwrap().status(), 200);
        assert_eq!(
            suppressed(t).await,
            [(hash(&old, ANN), "opted_out".to_owned(), None)],
            "it must still be moved"
        );
        let chat = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&chat).await, ["cancelled (opted_out)", "scheduled"]);
    })
    .await;
}

#[tokio::test]
async fn complaints_and_bounces_of_lost_mails_count_by_the_link_that_they_carried() {
    let mut setup = JournalStage::new().setup();
    setup
        .settings
        .push(("UNREAD_MAIL_WEBHOOK_SECRET", crate::opt_outs::SECRET));
    run_test_with(setup, async |t| {
        backup::make(t.pool()).await;
        t.answered(ANN);
        t.answered(BEN);
        t.tick().await;
        t.advance(10).await;
        let mut mails = t.mails();
        mails.sort_by_key(|mail| mail.to[0].clone());
        backup::restore(t.pool()).await;
        let event = |kind: &str, mail: usize, with_link: bool| {
            let mail = &mails[mail];
            let header = mail.header("List-Unsubscribe").filter(|_| with_link);
            json!({ "kind": kind, "message_id": mail.message_id(), "list_unsubscribe": header })
        };
        let list = json!([
            event("complaint", 0, true),
            event("hard", 1, true),
            event("soft", 1, true),
            event("hard", 0, false),
        ]);
        let (status, answer) = crate::opt_outs::events(t, &list).await;
        assert_eq!(
            (status, answer),
            (200, json!({ "applied": 3, "unknown": 1 }))
        );
        let hasher = &t.context().hasher;
        let mut found = suppressed(t).await;
        found.sort_by_key(|(_, reason, _)| reason.clone());
        let told: Vec<_> = found.into_iter().map(|(of, why, _)| (of, why)).collect();
        assert_eq!(
            told,
            [
                (hash(hasher, BEN), "bad_address".to_owned()),
                (hash(hasher, ANN), "complaint".to_owned())
            ]
        );
    })
    .await;
}
