//! Who is held out is held out of a whole episode, and who comes back is counted once.

use chrono::TimeDelta;
use unread::control::effect::{Effect, effect};
use unread::domain::ids::Channel::{Email, Sms};

use super::{BOTH, answered, arrived, person, steps};
use crate::harness::{TestApp, everything, fallback, run_test, step};

async fn told(t: &TestApp) -> Effect {
    effect(t.pool(), &everything(), 7, t.now() + TimeDelta::hours(26))
        .await
        .unwrap()
}

#[tokio::test]
async fn an_episode_that_is_held_out_has_one_row_and_gets_nothing_on_any_channel() {
    run_test(async |t| {
        t.rule_over(&BOTH, |rule| rule.holdout_percent = 50).await;
        let hasher = t.hasher().await;
        let customer = |n| {
            person(
                Some(&format!("ann{n}@example.net")),
                Some(&format!("+1202555{n:04}")),
            )
        };
        let chats: Vec<String> = (100..112).map(|n| answered(t, customer(n))).collect();
        let (held, reminded): (Vec<&String>, Vec<&String>) = chats
            .iter()
            .partition(|chat| hasher.holdout_bucket(chat) < 50);
        assert!(
            !held.is_empty() && !reminded.is_empty(),
            "a chance of 1 in 2,000: run it again"
        );
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (reminded.len(), 0));
        for _ in 0..25 {
            t.tick().await;
            t.advance(60).await;
        }
        assert_eq!(
            arrived(t),
            (reminded.len(), 0),
            "the second rung, to those who are reminded"
        );
        for chat in &held {
            assert_eq!(steps(t, chat).await, ["1 cancelled (held_out)"]);
            assert_eq!(t.reason(chat).await.unwrap(), "held_out");
        }
        // The next episode is decided about anew, and held out again: once.
        super::answers_again(t, held[0]);
        t.tick().await;
        t.advance(30).await;
        t.tick().await;
        assert_eq!(steps(t, held[0]).await, ["1 cancelled (held_out)"; 2]);
        assert_eq!(arrived(t), (0, 0));
        let effect = told(t).await;
        assert_eq!(
            usize::try_from(effect.total.held_out).unwrap(),
            held.len() + 1
        );
        assert_eq!(
            usize::try_from(effect.total.reminded).unwrap(),
            reminded.len()
        );
        assert_eq!(
            usize::try_from(effect.total.sent).unwrap(),
            2 * reminded.len()
        );
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_is_put_down_to_the_last_message_and_once_per_episode() {
    run_test(async |t| {
        t.rule_over(&BOTH, |rule| {
            rule.steps = vec![step(Email, 10), fallback(Sms, 10), step(Email, 180)];
        })
        .await;
        let customers = ["ann@example.net", "ben@example.net", "cem@example.net"];
        let [early, late, never] = customers.map(|email| answered(t, person(Some(email), None)));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (3, 0));
        t.advance(5).await;
        t.world().consumer_reads(&early);
        t.tick().await;
        t.advance(3 * 60).await;
        assert_eq!(arrived(t), (2, 0), "the second rung");
        t.advance(30).await;
        t.world().consumer_says(&late, "Thank you!");
        t.tick().await;
        t.tick().await;
        let credited: Vec<(String, i16)> =
            sqlx::query_as("select conversation, step from reminders where credited order by id")
                .fetch_all(t.pool())
                .await
                .unwrap();
        assert_eq!(credited.len(), 2, "{credited:?}");
        assert!(
            credited.contains(&(early.clone(), 1)) && credited.contains(&(late.clone(), 3)),
            "{credited:?}"
        );
        assert_eq!(steps(t, &never).await, ["1 sent", "3 sent"]);

        let effect = told(t).await;
        let rule = &effect.rules[0];
        let outcome = rule.outcome;
        assert_eq!(
            (outcome.sent, outcome.reminded, outcome.held_out),
            (5, 3, 0)
        );
        // Of three episodes two; within an hour of the first message, one.
        assert_eq!(percent(outcome.back_24h.unwrap().value), 67);
        assert_eq!(percent(outcome.back_1h.unwrap().value), 33);
        let of_steps: Vec<_> = rule
            .steps
            .iter()
            .map(|of| {
                let back = of.back_24h.as_ref().map(|back| percent(back.value));
                (of.step, of.place, of.channel, of.sent, back)
            })
            .collect();
        let expected = [
            (1, Some(1), Email, 3, Some(33)),
            (2, Some(2), Sms, 0, None),
            (3, Some(3), Email, 2, Some(50)),
        ];
        assert_eq!(of_steps, expected);
        assert!(outcome.lift.is_none(), "nobody is held out");

        // A step that the rule has no more comes last, and keeps what it brought.
        t.edit_rule(|rule| {
            rule.steps.remove(2);
        })
        .await;
        let effect = told(t).await;
        let last = effect.rules[0].steps.last().unwrap();
        assert_eq!((last.step, last.place, last.sent), (3, None, 2));
    })
    .await;
}

#[expect(clippy::cast_possible_truncation, reason = "it is 0 to 100")]
fn percent(share: f64) -> i64 {
    (share * 100.0).round() as i64
}
