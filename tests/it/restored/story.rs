//! The story of a restore, whatever the backup is made with.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::json;
use unread::domain::heartbeat::HeartbeatVerdict;
use unread::journal::{EntryKind, HeartbeatFile};

use super::{
    ANN, BEN, CARL, DORA, EVE, FAY, GINA, JournalStage, backup, beat, erase, reminded,
    seen_everywhere, take_up, unsubscribe,
};
use crate::harness::{Setup, TestApp, run_test_with};
use crate::opt_outs::events;

/// A backup is made, this much time passes with reminders, opt-outs, a complaint and erasures, and it is put back under a process that lives
/// on.
pub async fn restored_after<B>(
    minutes: i64,
    (kept, setup): (&JournalStage, Setup),
    make: impl AsyncFnOnce(&TestApp) -> B,
    put_back: impl AsyncFnOnce(&TestApp, B),
) {
    run_test_with(setup, async |t| {
        // Reminded before the backup; the second step is due the day after.
        let (carl, dora) = (t.answered(CARL), t.answered(DORA));
        t.answered(GINA);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(reminded(t), [CARL, DORA, GINA]);
        let ann = t.answered(ANN);
        t.advance(8).await;
        t.tick().await;
        beat(t, None, None).await;
        let backed_up_at = t.now();
        let backup = make(t).await;

        // The time that will be lost.
        let ben = t.answered(BEN);
        let fay = t.answered(FAY);
        t.tick().await;
        unsubscribe(t, &carl).await;
        let complaint = json!([{"kind": "complaint", "address": GINA}]);
        assert_eq!(events(t, &complaint).await.0, 200);
        erase(t, &dora).await;
        erase(t, &fay).await;
        t.advance(minutes).await;
        let head = || Some(HeartbeatFile::beside(&kept.path()));
        beat(t, None, head()).await;
        kept.has(EntryKind::OptOut, 1).await;
        kept.has(EntryKind::Complaint, 1).await;
        kept.has(EntryKind::Erasure, 2).await;
        let sent = reminded(t);
        assert_eq!(sent.first().map(String::as_str), Some(ANN), "{sent:?}");
        let ben_was_reminded = sent == [ANN, BEN];
        assert_eq!(ben_was_reminded, minutes >= 10, "{sent:?}");

        // Nobody has found out yet, and nothing leaves all the same.
        put_back(t, backup).await;
        let suppressions: i64 = sqlx::query_scalar("select count(*) from suppressions")
            .fetch_one(t.pool())
            .await
            .unwrap();
        assert_eq!(suppressions, 0, "it has forgotten who said no");
        t.advance(1).await;
        assert_eq!(reminded(t), [""; 0]);
        let verdict = beat(t, None, None).await;
        assert!(
            matches!(verdict, HeartbeatVerdict::Restored { .. }),
            "{verdict:?}"
        );
        let started_now = beat(t, Some(Arc::default()), head()).await;
        assert!(
            matches!(started_now, HeartbeatVerdict::Restored { .. }),
            "{started_now:?}"
        );
        assert_eq!(t.story(&ann).await, ["scheduled (held)"]);
        assert!(
            t.decisions(&ann)
                .await
                .contains(&"deliver postpone held".to_owned())
        );
        seen_everywhere(t).await;

        let done = take_up(t, Some(kept), backed_up_at).await;
        assert_eq!((done.suppressed, done.erased), (2, 1), "{done:?}");
        assert_eq!(t.story(&ann).await, ["unknown (restored)"]);
        let verdict = beat(t, None, None).await;
        assert_eq!(verdict, HeartbeatVerdict::Same);

        // What is owed goes out: to who was answered after it, and who was not yet reminded.
        t.answered(EVE);
        t.tick().await;
        t.advance(15).await;
        let owed = reminded(t);
        let expected = if ben_was_reminded {
            vec![EVE]
        } else {
            vec![BEN, EVE]
        };
        assert_eq!(owed, expected);

        // The day after, the second step: to everybody but those who said no or were erased.
        t.advance_by(TimeDelta::hours(24)).await;
        t.tick().await;
        t.advance(5).await;
        t.tick().await;
        t.advance(60).await;
        assert_eq!(reminded(t), [ANN, BEN, EVE]);
        assert!(t.story(&fay).await.is_empty());
        let known: i64 =
            sqlx::query_scalar("select count(*) from consumers where conversation = any ($1)")
                .bind([fay, dora])
                .fetch_one(t.pool())
                .await
                .unwrap();
        assert_eq!(known, 0, "who was erased is not stored anew");
        let bens = t.story(&ben).await;
        let carls = t.story(&carl).await;
        assert_eq!(bens.len(), if ben_was_reminded { 1 } else { 2 }, "{bens:?}");
        assert_eq!(carls.last().unwrap(), "cancelled (opted_out)");
        // A step of theirs each, and nobody one of them twice.
        let outbox = t.sandbox.outbox();
        let mails = [ANN, BEN, CARL, DORA, EVE, FAY, GINA].map(|to| outbox.mails_to(to).len());
        assert_eq!(mails, [2, 2, 1, 1, 2, 0, 1]);
    })
    .await;
}

/// A dump: what is in the tables.
async fn logical_after(minutes: i64) {
    let kept = JournalStage::new();
    restored_after(
        minutes,
        (&kept, kept.setup()),
        async |t| backup::make(t.pool()).await,
        async |t, ()| backup::restore(t.pool()).await,
    )
    .await;
}

#[tokio::test]
async fn a_backup_of_three_minutes_doubles_nothing_and_forgets_no_no() {
    logical_after(3).await;
}

#[tokio::test]
async fn a_backup_of_an_hour_doubles_nothing_and_forgets_no_no() {
    logical_after(60).await;
}
