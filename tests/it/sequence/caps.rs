//! One voice: the gap and the caps hold for a customer over all channels and conversations of an account, whoever decides at the same
//! moment. Over accounts only the address counts.

use chrono::TimeDelta;
use unread::clock::Clock;
use unread::domain::access::{AccountLimit, Permission, Rights, Role};
use unread::domain::ids::Channel::{Email, Sms};
use unread::domain::rule::{RuleKey, RuleSettings};
use unread::sandbox::ACCOUNT;
use unread::sandbox::world::{CUSTOMER_CARE, Person};

use super::{ANN, BOTH, PHONE, answered, arrived, person, steps};
use crate::harness::{Setup, TestApp, account, eventually, migrated, run_test, run_test_with};
use crate::process::Process;
use crate::roles::{afternoon, sandbox, settings_for};

const OTHER: &str = "87654321";

/// Two conversations of one customer, by what both of them name.
fn one_customer() -> [(&'static str, [Person; 2]); 3] {
    let known = |id: &str, of: Person| Person {
        consumer_id: Some(id.to_owned()),
        ..of
    };
    let mail = |address| person(Some(address), None);
    [
        ("the address", [mail(ANN), mail("ANN@example.net")]),
        (
            "LivePerson's id",
            [
                known("c-1", mail(ANN)),
                known("c-1", mail("ann.other@example.net")),
            ],
        ),
        (
            "LivePerson's id, over two channels",
            [
                known("c-2", mail(ANN)),
                known("c-2", person(None, Some(PHONE))),
            ],
        ),
    ]
}

/// A text may be as late as an e-mail, so that what waits for the gap is still in time; one step.
fn patient(rule: &mut RuleSettings) {
    rule.steps.truncate(2);
    rule.channels[Sms].max_age = rule.channels[Email].max_age;
}

/// What became of the reminders of both.
async fn stories(t: &TestApp, chats: &[String; 2]) -> Vec<String> {
    [t.story(&chats[0]).await, t.story(&chats[1]).await].concat()
}

fn total((mails, texts): (usize, usize)) -> usize {
    mails + texts
}

#[tokio::test]
async fn two_that_fall_due_in_one_batch_are_a_gap_apart() {
    for (by, [one, other]) in one_customer() {
        run_test(async |t| {
            t.rule_over(&BOTH, patient).await;
            let chats = [answered(t, one), answered(t, other)];
            t.tick().await;
            t.advance(10).await;
            assert_eq!(total(arrived(t)), 1, "by {by}");
            let stories = stories(t, &chats).await;
            assert!(
                stories.contains(&"scheduled (gap)".to_owned()),
                "by {by}: {stories:?}"
            );
            t.advance(119).await;
            assert_eq!(total(arrived(t)), 0, "by {by}");
            t.advance(2).await;
            assert_eq!(total(arrived(t)), 1, "by {by}");
        })
        .await;
    }
}

#[tokio::test]
async fn one_that_falls_due_soon_after_another_waits_for_the_gap() {
    for (by, [one, other]) in one_customer() {
        run_test(async |t| {
            t.rule_over(&BOTH, patient).await;
            answered(t, one);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(total(arrived(t)), 1);
            t.advance(30).await;
            let later = answered(t, other);
            t.tick().await;
            t.advance(10).await;
            assert_eq!(total(arrived(t)), 0, "by {by}");
            assert_eq!(t.story(&later).await, ["scheduled (gap)"], "by {by}");
            t.advance(81).await;
            assert_eq!(total(arrived(t)), 1, "by {by}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_customer_gets_no_more_in_a_day_than_the_cap_over_all_conversations_and_channels() {
    for (by, [one, other]) in one_customer() {
        run_test(async |t| {
            t.rule_over(&BOTH, |rule| {
                patient(rule);
                rule.caps.gap = TimeDelta::zero();
                rule.caps.per_consumer_24h = 1;
            })
            .await;
            let chats = [answered(t, one), answered(t, other)];
            t.tick().await;
            t.advance(10).await;
            assert_eq!(total(arrived(t)), 1, "by {by}");
            let stories = stories(t, &chats).await;
            assert!(
                stories.contains(&"expired (cap_consumer)".to_owned()),
                "by {by}: {stories:?}"
            );
        })
        .await;
    }
}

/// Two customers in one batch, and of other names: nobody holds up anybody else.
#[tokio::test]
async fn two_customers_are_not_taken_for_one() {
    run_test(async |t| {
        answered(t, person(Some(ANN), None));
        answered(t, person(Some("ben@example.net"), Some(PHONE)));
        answered(t, person(None, Some("+12025550144")));
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (2, 1));
    })
    .await;
}

/// What did not arrive counts towards the address, and not towards the customer.
#[tokio::test]
async fn what_came_back_leaves_room_for_another_message_and_none_at_its_address() {
    run_test_with(crate::opt_outs::with_mail_events(), async |t| {
        t.rule_over(&BOTH, |rule| {
            patient(rule);
            rule.caps.gap = TimeDelta::zero();
            rule.caps.per_consumer_24h = 1;
            rule.channels[Email].per_address_24h = 1;
        })
        .await;
        let first = answered(t, person(Some(ANN), None));
        t.tick().await;
        t.advance(10).await;
        let mail = t.mails().pop().unwrap();
        super::comes_back(t, &mail, "soft").await;
        assert_eq!(steps(t, &first).await, ["1 undelivered (soft bounce)"]);
        let second = answered(t, person(Some(ANN), Some(PHONE)));
        t.tick().await;
        t.advance(10).await;
        // The address has had its one; the customer has had none.
        assert_eq!(arrived(t), (0, 1));
        let told = steps(t, &second).await;
        assert_eq!(told[0], "1 expired (cap_address)");
        assert!(told[1].starts_with("2 "), "{told:?}");
    })
    .await;
}

async fn rule_of_both_accounts(t: &TestApp, per_address_24h: u32) {
    for id in [ACCOUNT, OTHER] {
        let key = RuleKey {
            account: id.parse().unwrap(),
            skill: None,
        };
        t.rule_for(&key, &[Email], |rule| {
            rule.steps.truncate(1);
            rule.channels[Email].per_address_24h = per_address_24h;
        })
        .await;
    }
}

fn with_another_account() -> Setup {
    Setup {
        accounts: vec![OTHER],
        ..Setup::default()
    }
}

#[tokio::test]
async fn two_accounts_write_to_one_address_without_a_gap_until_the_address_has_had_enough() {
    for (per_address_24h, mails) in [(2, 2), (1, 1)] {
        run_test_with(with_another_account(), async |t| {
            rule_of_both_accounts(t, per_address_24h).await;
            let chats = [ACCOUNT, OTHER].map(|id| t.answered_in(id, CUSTOMER_CARE, ANN));
            t.tick().await;
            t.advance(10).await;
            assert_eq!(arrived(t), (mails, 0));
            let mut stories = stories(t, &chats).await;
            stories.sort();
            let other = if mails == 2 {
                "sent"
            } else {
                "expired (cap_address)"
            };
            assert_eq!(stories, [other, "sent"]);
        })
        .await;
    }
}

/// One brand does not learn from its own pages that the other writes to the same customer.
#[tokio::test]
async fn what_another_account_has_sent_is_not_named_where_it_counts() {
    run_test_with(with_another_account(), async |t| {
        rule_of_both_accounts(t, 1).await;
        let theirs = t.answered_in(OTHER, CUSTOMER_CARE, ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(arrived(t), (1, 0));
        let ours = t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.story(&ours).await, ["expired (cap_address)"]);
        let id = t
            .reminders()
            .await
            .iter()
            .find(|r| r.conversation == ours)
            .unwrap()
            .id;
        let rights = Rights::limited(Role::Editor, AccountLimit::to([account()])).unwrap();
        let ann = t.person(rights).await;
        for page in [
            format!("/reminders/{id}"),
            format!("/api/v1/reminders/{id}"),
        ] {
            let page = ann.get(&page).await;
            assert_eq!(page.status, 200, "{}", page.text);
            assert!(
                !page.text.contains(OTHER) && !page.text.contains(&theirs),
                "{}",
                page.text
            );
        }
        let program = t.program(&[Permission::View]).await;
        let told = program
            .get(&format!("/decisions?conversation={ours}"))
            .await;
        assert!(
            told.text.contains("cap_address") && !told.text.contains(OTHER),
            "{}",
            told.text
        );
    })
    .await;
}

/// Conversations of one customer, answered at the same moment so that they fall due together.
const EACH: usize = 3;
const CUSTOMERS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_that_decide_at_the_same_moment_write_once_to_each_customer() {
    let (db, sandbox) = (migrated().await, sandbox().await);
    // Long enough from now that all of them are scheduled by then.
    let then = Clock::System.now() - TimeDelta::minutes(10) + TimeDelta::seconds(8);
    let world = sandbox.world().at(then.timestamp_millis());
    for n in 0..CUSTOMERS {
        let (one, other) = (format!("ann{n}@example.net"), format!("ann{n}@example.org"));
        let phone = format!("+1202555{:04}", 100 + n);
        let addresses = [(Some(one), None), (Some(other), None), (None, Some(phone))];
        assert_eq!(addresses.len(), EACH);
        for (email, phone) in addresses {
            let opening = world.conversation(ACCOUNT, CUSTOMER_CARE).person(Person {
                email,
                phone,
                consumer_id: Some(format!("consumer-{n}")),
                time_zone: Some(afternoon()),
                ..Person::default()
            });
            let chat = opening.start();
            world.consumer_says(&chat, "Do you have it in green?");
            world.agent_says(&chat, "Yes, we do.");
        }
    }
    let rates = [
        ("SMTP_RATE_PER_SECOND", "1000"),
        ("TWILIO_RATE_PER_SECOND", "1000"),
    ];
    let mut processes: Vec<Process> = ["scheduler", "worker", "worker", "worker"]
        .iter()
        .map(|role| Process::start(&[role], &settings_for(&sandbox, &db.url, &rates)))
        .collect();
    let wait_for_the_gap = i64::try_from(CUSTOMERS * (EACH - 1)).unwrap();
    eventually(
        "everybody has one message, and the others wait",
        async || {
            let waiting =
                // A text would be too late when the gap is over.
                "select count(*) from reminders where state in ('scheduled', 'expired') and reason = 'gap'";
            let waiting: sqlx::Result<i64> = sqlx::query_scalar(waiting).fetch_one(&db.pool).await;
            waiting.is_ok_and(|waiting| waiting == wait_for_the_gap)
        },
    )
    .await;
    for process in &mut processes {
        assert_eq!(process.terminate().await.code(), Some(0));
    }
    let outbox = sandbox.outbox();
    for n in 0..CUSTOMERS {
        let mails =
            ["net", "org"].map(|top| outbox.mails_to(&format!("ann{n}@example.{top}")).len());
        let texts = outbox.texts_to(&format!("+1202555{:04}", 100 + n)).len();
        assert_eq!(
            mails[0] + mails[1] + texts,
            1,
            "customer {n}: {mails:?} {texts}"
        );
    }
    sandbox.stop().await;
}
