//! Pauses, through the real parts: what is paused is held, not lost, in every worker.

use unread::control::ControlError;
use unread::control::accounts::Allowed;
use unread::control::pause::{self, pause, resume};
use unread::control::rules::ChangeAuthor;
use unread::domain::ids::Channel;
use unread::domain::ids::SkillId;
use unread::domain::pause::Scope;
use unread::domain::rule::RuleKey;
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{TestApp, account, default_rule, everything, run_test};

const ANN: &str = "ann@example.net";

fn by(t: &TestApp) -> ChangeAuthor<'static> {
    ChangeAuthor {
        name: "ann",
        now: t.now(),
    }
}

fn all() -> Allowed<Scope> {
    everything().scope(Scope::Everything).unwrap()
}

#[tokio::test]
async fn what_is_paused_is_held_and_goes_out_when_the_pause_ends() {
    run_test(async |t| {
        for scope in [
            Scope::Everything,
            Scope::Account(account()),
            Scope::Channel(account(), Channel::Email),
            Scope::Rule(default_rule()),
        ] {
            let scope = everything().scope(scope).unwrap();
            let chat = t.answered(&format!("p{}@example.net", t.now().timestamp()));
            t.tick().await;
            pause(t.pool(), &scope, "the shop is closed", by(t))
                .await
                .unwrap();
            t.advance(15).await;
            assert!(t.mails().is_empty(), "{scope} is paused");
            assert_eq!(t.story(&chat).await, ["scheduled (paused)"]);
            let held = resume(t.pool(), &t.clock, &scope, by(t)).await.unwrap();
            assert_eq!(held, 1);
            t.settle().await;
            assert_eq!(t.mails().len(), 1, "{scope} goes on at once");
            assert_eq!(t.story(&chat).await, ["sent"]);
            t.world().close(&chat);
        }
        assert!(
            pause::list(t.pool(), &everything())
                .await
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn a_pause_of_something_else_holds_nothing() {
    run_test(async |t| {
        let skill = Some(SkillId(CUSTOMER_CARE));
        t.rule(Channel::Email, |_| ()).await;
        pause(
            t.pool(),
            &everything()
                .scope(Scope::Channel(account(), Channel::Sms))
                .unwrap(),
            "",
            by(t),
        )
        .await
        .unwrap();
        let key = RuleKey {
            account: account(),
            skill,
        };
        let told = pause(
            t.pool(),
            &everything().scope(Scope::Rule(key)).unwrap(),
            "",
            by(t),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(told, ControlError::NotFound(_)),
            "there is no such rule to pause"
        );
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_is_read_during_a_pause_is_not_reminded_of_afterwards() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        pause(t.pool(), &all(), "", by(t)).await.unwrap();
        t.advance(15).await;
        t.world().consumer_reads(&chat);
        t.tick().await;
        resume(t.pool(), &t.clock, &all(), by(t)).await.unwrap();
        t.advance(1).await;
        assert_eq!(t.story(&chat).await, ["cancelled (read)"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_held_past_its_deadline_expires_and_says_that_it_was_paused() {
    run_test(async |t| {
        t.rule(Channel::Email, |settings| {
            settings.channels[Channel::Email].max_age = chrono::TimeDelta::minutes(30);
            settings.steps.truncate(1);
        })
        .await;
        let chat = t.answered(ANN);
        t.tick().await;
        pause(t.pool(), &all(), "", by(t)).await.unwrap();
        for _ in 0..36 {
            t.advance(1).await;
        }
        // The last look before the deadline is within its last half minute.
        for _ in 0..20 {
            t.advance_by(chrono::TimeDelta::seconds(15)).await;
        }
        assert_eq!(t.story(&chat).await, ["expired (paused)"]);
        let decided = t.decisions(&chat).await;
        let last: Vec<&str> = decided.iter().rev().take(3).map(String::as_str).collect();
        // What was one of several steps would be followed by the next: the conversation is looked at once more.
        assert_eq!(
            last,
            [
                "scan none all_steps_done",
                "deliver expire paused",
                "deliver postpone paused"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_pause_is_made_once_and_ended_once() {
    run_test(async |t| {
        let scope = everything().scope(Scope::Account(account())).unwrap();
        pause(t.pool(), &scope, "", by(t)).await.unwrap();
        let told = pause(t.pool(), &scope, "", by(t)).await.unwrap_err();
        assert!(matches!(told, ControlError::Conflict(_)));
        resume(t.pool(), &t.clock, &scope, by(t)).await.unwrap();
        let told = resume(t.pool(), &t.clock, &scope, by(t)).await.unwrap_err();
        assert!(matches!(told, ControlError::NotFound(_)));
        let trail: Vec<String> = sqlx::query_scalar("select action from audit order by id")
            .fetch_all(t.pool())
            .await
            .unwrap();
        assert_eq!(trail, ["pause", "resume"]);
    })
    .await;
}
