//! When LivePerson does not answer, answers nonsense or only half: nothing is sent blind, nothing is lost, the others go on.

use unread::domain::access::Role;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, FaultRule, FaultSpan};
use unread::sandbox::world::{CUSTOMER_CARE, ORDERS, Partial};

use crate::harness::{Setup, TestApp, run_test, run_test_with};

const ANN: &str = "ann@example.net";

async fn sent(t: &TestApp, conversation: &str) -> bool {
    t.story(conversation).await.first().map(String::as_str) == Some("sent")
}

/// The fault strikes at the look before sending; the reminder waits for its end and is sent then.
async fn waits_out(fault: Fault) {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let faults = t.sandbox.faults();
        faults.set(Endpoint::ById, fault, FaultSpan::UntilCleared);
        t.advance(10).await;
        assert!(
            faults.traffic(Endpoint::ById).faults > 0,
            "{fault:?} struck"
        );
        assert!(t.mails().is_empty(), "{fault:?}: nothing is sent blind");
        let story = t.story(&chat).await;
        assert_eq!(story, ["scheduled (unchecked)"], "{fault:?}");
        faults.clear_all();
        // A failing account is left alone for some real seconds.
        t.tick_until("the reminder is sent", async || sent(t, &chat).await)
            .await;
        assert_eq!(t.mails().len(), 1, "{fault:?}");
    })
    .await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_refuses_its_credentials() {
    waits_out(Fault::Unauthorized).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_forbids() {
    waits_out(Fault::Forbidden).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_throttles() {
    let retry_after_s = Some(2);
    waits_out(Fault::Throttled { retry_after_s }).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_fails() {
    waits_out(Fault::ElasticSearch).await;
}

#[tokio::test]
async fn a_reminder_waits_while_a_proxy_answers_for_liveperson() {
    waits_out(Fault::Unavailable).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_answers_what_is_not_json() {
    waits_out(Fault::Garbage).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_answers_break_off() {
    waits_out(Fault::Truncated).await;
}

#[tokio::test]
async fn a_reminder_waits_while_liveperson_hangs_up() {
    waits_out(Fault::Dropped).await;
}

#[tokio::test]
async fn a_conversation_missing_from_half_an_answer_is_not_taken_for_gone() {
    run_test(async |t| {
        let chats = [ANN, "ben@example.net"].map(|who| t.answered(who));
        t.tick().await;
        let faults = t.sandbox.faults();
        faults.set(
            Endpoint::ById,
            Fault::PartialResult,
            FaultSpan::UntilCleared,
        );
        t.advance(10).await;
        let early = t.mails().len();
        assert!(early < 2, "one of them was left out");
        faults.clear_all();
        for chat in &chats {
            t.tick_until("the reminder is sent", async || sent(t, chat).await)
                .await;
        }
        assert_eq!(early + t.mails().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_reminder_that_could_not_be_checked_until_its_deadline_expires() {
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let faults = t.sandbox.faults();
        faults.set(Endpoint::ById, Fault::Runtime, FaultSpan::UntilCleared);
        t.advance(10).await;
        t.advance(6 * 60).await;
        assert_eq!(t.story(&chat).await, ["expired (unchecked)"]);
        faults.clear_all();
        t.advance(60).await;
        assert!(t.mails().is_empty());
    })
    .await;
}

#[tokio::test]
async fn one_call_that_is_refused_for_an_old_token_is_made_again_with_a_new_one() {
    run_test(async |t| {
        t.answered(ANN);
        t.tick().await;
        t.world().revoke_tokens(ACCOUNT).unwrap();
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_skill_that_cannot_be_scanned_does_not_hold_up_the_others() {
    run_test(async |t| {
        t.sandbox.faults().add(FaultRule {
            endpoint: Some(Endpoint::Search),
            account: None,
            skill: Some(ORDERS),
            fault: Fault::Forbidden,
            when: FaultSpan::UntilCleared,
        });
        t.answered_in(ACCOUNT, CUSTOMER_CARE, ANN);
        let broken = t.answered_in(ACCOUNT, ORDERS, "ben@example.net");
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, [ANN]);
        let (error, succeeded): (Option<String>, bool) = sqlx::query_as(
            "select error, succeeded_at is not null and succeeded_at = finished_at from scans where skill = $1",
        )
        .bind(ORDERS)
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert!(error.is_some() && !succeeded);

        t.sandbox.faults().clear_all();
        t.tick().await;
        t.advance(1).await;
        assert!(sent(t, &broken).await, "late, but within its deadline");
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn an_account_that_fails_does_not_hold_up_another() {
    const OTHER: &str = "87654321";
    let setup = Setup {
        accounts: vec![OTHER],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let fails = t.answered(ANN);
        t.answered_in(OTHER, CUSTOMER_CARE, "ben@example.net");
        t.tick().await;
        t.sandbox.faults().add(FaultRule {
            endpoint: None,
            account: Some(ACCOUNT.to_owned()),
            skill: None,
            fault: Fault::Unavailable,
            when: FaultSpan::UntilCleared,
        });
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, ["ben@example.net"]);
        assert!(mails[0].text.as_deref().unwrap().contains("Brand 87654321"));
        assert_eq!(t.story(&fails).await, ["scheduled (unchecked)"]);
        t.sandbox.faults().clear_all();
        t.tick_until("the other is sent too", async || sent(t, &fails).await)
            .await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_record_cut_short_in_the_search_is_asked_for_by_id() {
    run_test(async |t| {
        let whole_by_id = t.answered(ANN);
        let never_whole = t.answered("ben@example.net");
        t.world().partial(&whole_by_id, Partial::InSearch);
        t.world().partial(&never_whole, Partial::Always);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        assert!(sent(t, &whole_by_id).await);
        assert_eq!(t.story(&never_whole).await, [""; 0]);
        assert_eq!(t.reason(&never_whole).await.unwrap(), "undecided");
    })
    .await;
}

#[tokio::test]
async fn a_truncated_record_is_asked_for_by_id_and_decides_nothing_until_it_is_whole() {
    run_test(async |t| {
        // The receipt that makes it read is what was cut off.
        let read = t.answered(ANN);
        t.world().consumer_reads(&read);
        let unread = t.answered("ben@example.net");
        let never_whole = t.answered("cem@example.net");
        t.world().consumer_reads(&never_whole);
        for conversation in [&read, &unread] {
            let cut = Partial::TruncatedInSearch;
            t.world().partial(conversation, cut);
        }
        t.world().partial(&never_whole, Partial::TruncatedAlways);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        assert!(sent(t, &unread).await);
        assert_eq!(t.story(&read).await, [""; 0]);
        assert_eq!(t.reason(&read).await.unwrap(), "read");
        assert_eq!(t.story(&never_whole).await, [""; 0]);
        assert_eq!(t.reason(&never_whole).await.unwrap(), "undecided");
    })
    .await;
}

#[tokio::test]
async fn hostile_names_and_endless_attributes_neither_break_the_mail_nor_the_pages() {
    run_test(async |t| {
        let world = t.world();
        let opening = world.conversation(ACCOUNT, CUSTOMER_CARE).email(ANN);
        let name = "<b>Ann</b>\r\nBcc: all@example.com\u{202e}\u{0}";
        let opening = opening.consumer(name, &"x".repeat(50_000));
        let chat = opening.start();
        world.consumer_says(&chat, "Do you have it in green?");
        world.agent_says(&chat, "Yes, we do.");
        t.tick().await;
        t.advance(10).await;
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        assert_eq!(mails[0].to, [ANN]);
        assert_eq!(mails[0].header("Bcc"), None);
        assert!(!mails[0].html.as_deref().unwrap().contains("<b>Ann"));
        assert_eq!(t.person(Role::Viewer).await.get("/").await.status, 200);
    })
    .await;
}
