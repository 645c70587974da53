//! A database that is not the one that sent: nobody is reminded twice, nobody who said no or was erased is written to, and what is owed goes
//! out when a person has decided.

mod backup;
mod failover;
mod hearts;
mod keepers;
mod links;
mod physical;
mod processes;
mod story;
mod webhook;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use unread::control::consumers::ConsumerSelector;
use unread::control::restored::{RestoreResult, RestoredRequest, restored};
use unread::control::rules::ChangeAuthor;
use unread::control::{ControlError, consumers, hold};
use unread::db;
use unread::domain::access::{Permission, Role};
use unread::domain::heartbeat::HeartbeatVerdict;
use unread::domain::hold::Hold;
use unread::jobs::heartbeat::{HeartbeatStatus, HeartbeatTask};
use unread::journal::{self, EntryKind, HeartbeatFile, JournalFile};

use crate::harness::{Setup, TestApp, account, eventually, everything, run_test_with};
use crate::opt_outs;
use crate::process::Folder;

const ANN: &str = "ann@example.com";
const BEN: &str = "ben@example.com";
const CARL: &str = "carl@example.com";
const DORA: &str = "dora@example.com";
const EVE: &str = "eve@example.com";
const FAY: &str = "fay@example.com";
const GINA: &str = "gina@example.com";
const PHONE: &str = "+12025550143";

/// A stage with a journal.
struct JournalStage {
    folder: Folder,
}

impl JournalStage {
    fn new() -> Self {
        Self {
            folder: Folder::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.jsonl")
    }

    fn setup(&self) -> Setup {
        // Settings of a stage live as long as the tests do.
        let path: &'static str = Box::leak(self.path().to_str().unwrap().to_owned().into());
        Setup {
            settings: vec![
                ("UNREAD_SECRET", "a-key-that-outlives-the-database-0123"),
                ("UNREAD_JOURNAL_FILE", path),
                ("UNREAD_MAIL_WEBHOOK_SECRET", opt_outs::SECRET),
            ],
            ..Setup::default()
        }
    }

    /// Waits until so many entries of a kind are there.
    async fn has(&self, kind: EntryKind, count: usize) {
        eventually("the journal has it", async || {
            let entries = journal::entries(JournalFile::at(self.path()).read().unwrap());
            entries.iter().filter(|entry| entry.kind == kind).count() >= count
        })
        .await;
    }
}

/// The stage's process beats now; with a status of its own: another process, which starts now.
async fn beat(
    t: &TestApp,
    heartbeat_status: Option<Arc<HeartbeatStatus>>,
    head: Option<HeartbeatFile>,
) -> HeartbeatVerdict {
    let heartbeat_status =
        heartbeat_status.unwrap_or_else(|| Arc::clone(&t.context().heartbeat_status));
    let heart = HeartbeatTask::new(
        t.pool().clone(),
        t.clock.clone(),
        heartbeat_status,
        head,
        &t.context().metrics,
    );
    let heart = heart.unwrap();
    heart.beat().await.unwrap()
}

fn by(t: &TestApp) -> ChangeAuthor<'static> {
    ChangeAuthor {
        name: "ann",
        now: t.now(),
    }
}

async fn take_up(
    t: &TestApp,
    kept: Option<&JournalStage>,
    lost_from: DateTime<Utc>,
) -> RestoreResult {
    let wish = RestoredRequest {
        lost_from,
        lost_until: None,
        journal: kept.map(|kept| journal::entries(JournalFile::at(kept.path()).read().unwrap())),
        remembered: kept.and_then(|kept| HeartbeatFile::beside(&kept.path()).read().unwrap()),
        unnoticed: false,
    };
    restored(t.context(), &wish, by(t)).await.unwrap()
}

async fn erase(t: &TestApp, conversation: &str) {
    let own = everything().named(account().as_str()).unwrap();
    let who = ConsumerSelector::Conversation(conversation.to_owned());
    let with = (&t.clock, &t.context().hasher);
    consumers::erase(t.pool(), with, "ann", &own, &who)
        .await
        .unwrap();
}

async fn unsubscribe(t: &TestApp, conversation: &str) {
    let token = t.reminders().await;
    let token = token.into_iter().find(|r| r.conversation == conversation);
    let link = format!("{}/u/{}", t.web, token.unwrap().token);
    let answer = t.http.post(link).send().await.unwrap();
    assert!(answer.status().is_success());
}

/// To whom e-mails went since the test last looked, in order of address.
fn reminded(t: &TestApp) -> Vec<String> {
    let mails = t.mails();
    let mut to: Vec<String> = mails.iter().map(|mail| mail.to[0].clone()).collect();
    to.sort_unstable();
    to
}

/// Where a person or a program sees that sending is held.
async fn seen_everywhere(t: &TestApp) {
    let ready = t.http.get(t.metrics.replace("/metrics", "/readyz"));
    let ready = ready.send().await.unwrap();
    assert!(ready.status().is_success(), "a hold is no unreadiness");
    let text = ready.text().await.unwrap();
    assert!(text.contains("All sending is on hold"), "{text}");
    let metrics = t.http.get(&t.metrics).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("unread_hold_active{kind=\"restored\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("unread_hold_active{kind=\"copied\"} 0"));
    assert!(metrics.contains("unread_journal_lag_seconds{sink=\"file\"}"));
    assert!(
        metrics.contains("unread_heartbeat_lag_seconds 0"),
        "{metrics}"
    );
    let program = t.program(&[Permission::View]).await;
    let answer = program.get("/hold").await;
    let held = answer.json()["items"][0].clone();
    assert_eq!(held["kind"], "restored", "{answer:?}");
    assert!(
        held["fix"]
            .as_str()
            .unwrap()
            .contains("unread restored --lost-from")
    );
    let person = t.person(Role::Viewer).await;
    let page = person.get("/").await.text;
    assert!(page.contains("All sending is on hold"), "{page}");
    let nobody = t
        .http
        .request(Method::GET, format!("{}/api/v1/hold", t.web));
    assert_eq!(nobody.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn text_messages_of_the_lost_time_are_looked_up_and_those_that_were_not_sent_are() {
    let kept = JournalStage::new();
    run_test_with(kept.setup(), async |t| {
        let sent = t.answered(PHONE);
        let unsent = t.answered("+12025550178");
        t.tick().await;
        beat(t, None, None).await;
        let backed_up_at = t.now();
        backup::make(t.pool()).await;
        // In the lost time one of them is cancelled: it is not at the provider.
        sqlx::query("update reminders set state = 'cancelled', reason = 'by_operator', next_at = null, final_at = $2 where conversation = $1")
            .bind(&unsent)
            .bind(t.now())
            .execute(t.pool())
            .await
            .unwrap();
        t.advance(10).await;
        assert_eq!(t.texts().len(), 1);
        beat(t, None, None).await;

        backup::restore(t.pool()).await;
        let verdict = beat(t, None, None).await;
        assert!(matches!(verdict, HeartbeatVerdict::Restored { .. }), "{verdict:?}");
        let done = take_up(t, Some(&kept), backed_up_at).await;
        assert_eq!(done.looked_up, 2, "{done:?}");
        for _ in 0..4 {
            sqlx::query("update attempts set settle_at = now() where settle_at is not null")
                .execute(t.pool())
                .await
                .unwrap();
            t.advance_by(TimeDelta::seconds(10)).await;
            t.tick().await;
        }
        // The process has not beaten since the decision, so what was not there was put off. Its next beat brings it back at once.
        let verdict = beat(t, None, None).await;
        assert_eq!(verdict, HeartbeatVerdict::Same);
        t.advance(5).await;
        let texts = t.texts();
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert_eq!(texts[0].to, "+12025550178");
        let story = t.story(&sent).await;
        assert!(matches!(story[0].as_str(), "sent" | "delivered"), "{story:?}");
    })
    .await;
}

#[tokio::test]
async fn without_a_journal_opt_outs_of_the_lost_time_are_gone_and_nobody_is_reminded_twice() {
    let setup = Setup::default();
    run_test_with(setup, async |t| {
        let ann = t.answered(ANN);
        t.tick().await;
        beat(t, None, None).await;
        let backed_up_at = t.now();
        backup::make(t.pool()).await;
        t.advance(10).await;
        assert_eq!(reminded(t), [ANN]);
        unsubscribe(t, &ann).await;
        beat(t, None, None).await;
        backup::restore(t.pool()).await;
        let verdict = beat(t, None, None).await;
        assert!(
            matches!(verdict, HeartbeatVerdict::Restored { .. }),
            "{verdict:?}"
        );
        take_up(t, None, backed_up_at).await;
        // Nothing leaves before the process has found nothing more to object.
        let verdict = beat(t, None, None).await;
        assert_eq!(verdict, HeartbeatVerdict::Same);
        t.advance(20).await;
        assert_eq!(reminded(t), [""; 0]);
        // The price, which the command names before.
        t.advance_by(TimeDelta::hours(24)).await;
        t.tick().await;
        t.advance(60).await;
        assert_eq!(reminded(t), [ANN], "the other tests can fail");
    })
    .await;
}

#[tokio::test]
async fn of_a_long_silence_only_what_was_due_before_waits_for_a_person() {
    run_test_with(Setup::default(), async |t| {
        let ann = t.answered(ANN);
        t.advance(2).await;
        t.answered(BEN);
        t.tick().await;
        t.advance(7).await;
        beat(t, None, None).await;
        // As a process that remembers nothing finds it; this one would vouch for the database.
        let between = t.now() + TimeDelta::minutes(2);
        let silence = Hold {
            kind: unread::domain::hold::HoldKind::Silence,
            found_at: t.now(),
            lost_from: Some(t.now() - TimeDelta::hours(2)),
            lost_until: Some(t.now()),
            due_before: Some(between),
            counter: 0,
            installation: None,
        };
        let mut conn = t.pool().acquire().await.unwrap();
        assert!(db::holds::begin(&mut conn, &silence).await.unwrap());
        drop(conn);
        for _ in 0..6 {
            t.advance_by(TimeDelta::seconds(50)).await;
            beat(t, None, None).await;
        }
        assert_eq!(reminded(t), [BEN], "due after the start");
        assert_eq!(t.story(&ann).await, ["scheduled (held)"]);
        let refused = hold::moved(t.pool(), &t.clock, None, by(t)).await;
        assert!(refused.is_err(), "processes work on it");
        hold::nothing_lost(t.pool(), &t.clock, by(t)).await.unwrap();
        t.advance_by(TimeDelta::seconds(1)).await;
        assert_eq!(reminded(t), [ANN], "it is still in time");
    })
    .await;
}

#[tokio::test]
async fn who_looked_before_the_end_of_a_hold_and_wrote_after_it_waits_for_the_next_beat_only() {
    run_test_with(Setup::default(), async |t| {
        let ctx = t.context();
        let (heartbeat_status, metrics) = (Arc::clone(&ctx.heartbeat_status), &ctx.metrics);
        let heart = HeartbeatTask::new(
            t.pool().clone(),
            t.clock.clone(),
            heartbeat_status,
            None,
            metrics,
        );
        let heart = heart.unwrap();
        t.answered(ANN);
        t.tick().await;
        let hold = Hold {
            kind: unread::domain::hold::HoldKind::Restored,
            found_at: t.now(),
            lost_from: Some(t.now()),
            lost_until: Some(t.now()),
            due_before: None,
            counter: 0,
            installation: None,
        };
        let mut conn = t.pool().acquire().await.unwrap();
        assert!(db::holds::begin(&mut conn, &hold).await.unwrap());
        heart.beat().await.unwrap();
        t.advance(10).await;
        assert_eq!(reminded(t), [""; 0]);
        // Whoever ends it releases what is held, and sees nothing of what is written a moment later: as if that were this reminder.
        let how = ("ann", unread::domain::hold::HoldEnd::NothingLost);
        let kinds = unread::domain::hold::HoldKind::ALL;
        let put_off = async |why: &str| {
            let row = "update reminders set next_at = $1, reason = $2 where state = 'scheduled'";
            let row = sqlx::query(row)
                .bind(t.now() + TimeDelta::days(1))
                .bind(why);
            let rows = row.execute(t.pool()).await.unwrap();
            assert_eq!(rows.rows_affected(), 1);
        };
        put_off("gap").await;
        db::holds::end(&mut conn, &kinds, how, t.now())
            .await
            .unwrap();
        heart.beat().await.unwrap();
        put_off("held").await;
        heart.beat().await.unwrap();
        t.advance_by(TimeDelta::seconds(1)).await;
        assert_eq!(reminded(t), [ANN]);
    })
    .await;
}

#[tokio::test]
async fn of_two_who_take_it_up_at_once_one_does() {
    run_test_with(Setup::default(), async |t| {
        let hold = Hold {
            kind: unread::domain::hold::HoldKind::Restored,
            found_at: t.now(),
            lost_from: Some(t.now() - TimeDelta::hours(1)),
            lost_until: Some(t.now()),
            due_before: None,
            counter: 0,
            installation: None,
        };
        let mut conn = t.pool().acquire().await.unwrap();
        assert!(db::holds::begin(&mut conn, &hold).await.unwrap());
        drop(conn);
        let wish = RestoredRequest {
            lost_from: t.now() - TimeDelta::hours(1),
            lost_until: None,
            journal: None,
            remembered: None,
            unnoticed: false,
        };
        let ctx = t.context();
        let take_up = || Box::pin(restored(ctx, &wish, by(t)));
        let (one, other) = tokio::join!(take_up(), take_up());
        let refused = match (one, other) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            both => panic!("{both:?}"),
        };
        assert!(matches!(refused, ControlError::Conflict(_)), "{refused:?}");
    })
    .await;
}

#[tokio::test]
async fn a_week_end_s_outage_under_a_living_process_holds_nothing() {
    let kept = JournalStage::new();
    run_test_with(kept.setup(), async |t| {
        beat(t, None, None).await;
        t.advance_by(TimeDelta::hours(60)).await;
        // The process's own heart may have been the first.
        let fine = |verdict| matches!(verdict, HeartbeatVerdict::Whole | HeartbeatVerdict::Same);
        assert!(fine(beat(t, None, None).await));
        let head = HeartbeatFile::beside(&kept.path());
        assert!(fine(beat(t, Some(Arc::default()), Some(head)).await));
        assert_eq!(db::holds::active(t.pool()).await.unwrap(), []);
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(reminded(t), [ANN]);
    })
    .await;
}
