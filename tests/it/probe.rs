//! A third channel, as a test build has it (feature `test-channel`): everything that a channel does, through all parts. CONTRIBUTING.md
//! says what adding one takes.

use chrono::TimeDelta;
use serde_json::json;
use unread::channel::adapter::Health;
use unread::domain::access::Permission;
use unread::domain::ids::Channel::Probe;
use unread::domain::ids::{Channel, Provider};
use unread::sandbox::ACCOUNT;
use unread::sandbox::probe::{ProbeFault, ProbeMessage, SECRET};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, TestApp, account, run_test_with};

fn setup() -> Setup {
    Setup {
        probe: true,
        ..Setup::default()
    }
}

/// A customer who can be reached by their id alone has asked, and an agent has answered just now.
fn answered(t: &TestApp, customer: &str) -> String {
    let world = t.world();
    let opening = world.conversation(ACCOUNT, CUSTOMER_CARE);
    let chat = opening.customer_id(customer).time_zone("UTC").start();
    world.consumer_says(&chat, "Do you have it in green?");
    world.agent_says(&chat, "Yes, we do.");
    chat
}

fn messages_to(t: &TestApp, customer: &str) -> Vec<ProbeMessage> {
    let messages = t.sandbox.probe().messages().into_iter();
    messages.filter(|message| message.to == customer).collect()
}

async fn let_settlements_come(t: &TestApp) {
    sqlx::query("update attempts set settle_at = now() where settle_at is not null")
        .execute(t.pool())
        .await
        .unwrap();
    // Settling has a slot every ten seconds.
    t.advance_by(TimeDelta::seconds(10)).await;
    t.tick().await;
}

#[tokio::test]
async fn a_reminder_goes_over_it_and_only_a_signed_report_is_believed() {
    run_test_with(setup(), async |t| {
        let chat = answered(t, "customer-1");
        t.tick().await;
        t.advance(10).await;
        let [message] = &messages_to(t, "customer-1")[..] else {
            panic!("one message");
        };
        assert!(message.text.contains("/r/") && message.seconds > 0);
        assert_eq!(t.story(&chat).await, ["sent"]);

        let probe = t.sandbox.probe();
        let forged = probe.report(message, "delivered", None, "guessed").await;
        assert_eq!(forged.unwrap(), 403);
        assert_eq!(t.story(&chat).await, ["sent"]);
        let signed = probe.report(message, "delivered", None, SECRET).await;
        assert_eq!(signed.unwrap(), 204);
        assert_eq!(t.story(&chat).await, ["delivered"]);
        assert_eq!(
            t.reason(&chat).await.as_deref(),
            Some("scheduled"),
            "the scan's own word"
        );
    })
    .await;
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_asking() {
    run_test_with(setup(), async |t| {
        t.sandbox.probe().add_fault(ProbeFault::AnswerLost);
        let chat = answered(t, "customer-2");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(messages_to(t, "customer-2").len(), 1, "it had arrived");
        assert_eq!(t.story(&chat).await, ["sending"]);
        let_settlements_come(t).await;
        assert_eq!(t.story(&chat).await[0], "sent");
        t.advance(40).await;
        assert_eq!(messages_to(t, "customer-2").len(), 1, "not sent twice");
    })
    .await;
}

#[tokio::test]
async fn what_never_arrived_is_sent_again_after_two_looks() {
    run_test_with(setup(), async |t| {
        t.sandbox.probe().add_fault(ProbeFault::Nothing);
        let chat = answered(t, "customer-3");
        t.tick().await;
        t.advance(10).await;
        let_settlements_come(t).await;
        assert_eq!(
            messages_to(t, "customer-3").len(),
            0,
            "one look is not enough"
        );
        assert_eq!(t.story(&chat).await, ["sending"]);
        let_settlements_come(t).await;
        // The retry policy's next wait.
        t.advance(1).await;
        assert_eq!(messages_to(t, "customer-3").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn its_codes_suppress_an_address_or_pause_the_sender_with_their_remedy() {
    run_test_with(setup(), async |t| {
        let probe = t.sandbox.probe();
        probe.add_fault(ProbeFault::Refused("P10"));
        let unknown = answered(t, "customer-4");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&unknown).await, ["failed (P10)", "scheduled"]);
        let suppressed: Vec<(Channel, String)> =
            sqlx::query_as("select channel, reason from suppressions")
                .fetch_all(t.pool())
                .await
                .unwrap();
        assert_eq!(suppressed, [(Probe, "bad_address".to_owned())]);

        probe.add_fault(ProbeFault::Refused("P20"));
        answered(t, "customer-5");
        t.tick().await;
        t.advance(10).await;
        let program = t.program(&[Permission::View]).await;
        let paused = program.get("/circuits").await.json();
        assert_eq!(paused["items"][0]["provider"], json!(Provider::Probe));
        assert_eq!(paused["items"][0]["fix"], "Check PROBE_SECRET.");
    })
    .await;
}

#[tokio::test]
async fn doctor_tries_it_and_its_rate_and_label_are_its_own() {
    run_test_with(setup(), async |t| {
        let adapter = t.context().channels.of(&account(), Probe).unwrap();
        assert_eq!(adapter.per_second(), Some(10_000.0));
        let checks = adapter.examine().await;
        assert_eq!(
            (checks[0].name, checks[0].health),
            ("endpoint", Health::Well)
        );
        let lines = unread::doctor::of_channel(t.config(), &t.config().accounts[0], Probe).await;
        assert!(lines.iter().any(|line| line.check == "endpoint"));
        let boss = t.person(unread::domain::access::Role::Administrator).await;
        let page = boss.get("/connections").await.text;
        assert!(page.contains(Probe.names().label), "{page}");
        let said = unread::channel::codes::explain(Provider::Probe, "no answer");
        assert!(said.sentence.contains("nobody knows"));
    })
    .await;
}
