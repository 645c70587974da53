//! What lists, forecast and people say of reminders that wait while all sending is held, and after a channel was taken back from live.

use chrono::{DateTime, TimeDelta, Utc};
use unread::control::consumers::{ConsumerSelector, look_up};
use unread::control::live::{Installation, LiveCheckCache};
use unread::control::{forecast, reminders};
use unread::db;
use unread::db::reminders::ReminderFilter;
use unread::domain::decide::Cause;
use unread::domain::hold::{Hold, HoldEnd, HoldKind};
use unread::domain::ids::Channel;

use super::{ANN, account, beat, by, everything};
use crate::harness::{TestApp, run_test};

/// What the list, the forecast, the person's conversation and the headline say of the one reminder that waits.
async fn said(t: &TestApp, chat: &str) -> [Option<String>; 4] {
    let filter = ReminderFilter::default();
    let list = reminders::search(t.pool(), &everything(), filter, None, 10).await;
    let own = everything().named(account().as_str()).unwrap();
    let next = forecast::stored(t.context(), &own, None, t.now()).await;
    let who = ConsumerSelector::Conversation(chat.to_owned());
    let person = look_up(t.context(), &own, &who).await.unwrap();
    let word = |cause: Option<&Cause>| cause.map(ToString::to_string);
    [
        word(list.unwrap().reminders[0].reason.as_ref()),
        word(next.unwrap().due[0].held_by.as_ref()),
        word(person.conversations[0].reason.as_ref()),
        Some(person.answer.reason),
    ]
}

async fn hold(t: &TestApp, kind: HoldKind, due_before: Option<DateTime<Utc>>) {
    let hold = Hold {
        kind,
        found_at: t.now(),
        lost_from: Some(t.now()),
        lost_until: Some(t.now()),
        due_before,
        counter: 0,
        installation: None,
    };
    let mut conn = t.pool().acquire().await.unwrap();
    db::holds::begin(&mut conn, &hold).await.unwrap();
}

async fn end(t: &TestApp) {
    let mut conn = t.pool().acquire().await.unwrap();
    let how = ("test", HoldEnd::NothingLost);
    db::holds::end(&mut conn, &HoldKind::ALL, how, t.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn who_looks_a_waiting_reminder_up_is_told_that_it_is_held_or_will_not_go() {
    run_test(async |t| {
        beat(t, None, None).await;
        let chat = t.answered(ANN);
        t.tick().await;
        let all = |reason: &str| [(); 4].map(|()| Some(reason.to_owned()));
        let waits = said(t, &chat).await;
        assert_eq!(waits[2..], all("scheduled")[2..]);

        hold(t, HoldKind::Restored, None).await;
        assert_eq!(said(t, &chat).await, all("held"));
        end(t).await;
        assert_eq!(said(t, &chat).await, waits);

        // What is due afterwards is not held.
        hold(t, HoldKind::Silence, Some(t.now())).await;
        assert_eq!(said(t, &chat).await, waits);
        end(t).await;
        hold(t, HoldKind::Silence, Some(t.now() + TimeDelta::hours(1))).await;
        assert_eq!(said(t, &chat).await, all("held"));
        end(t).await;

        let installation = Installation {
            config: t.config(),
            ctx: t.context(),
            examine: unread::doctor::find_broken,
            looks: &LiveCheckCache::default(),
        };
        let own = everything().named(account().as_str()).unwrap();
        installation
            .back(&own, Channel::Email, by(t))
            .await
            .unwrap();
        assert_eq!(said(t, &chat).await, all("not_live"));
    })
    .await;
}
