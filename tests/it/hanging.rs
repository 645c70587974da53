//! Who hangs holds up nobody else: an account whose LivePerson does not answer, a sender for whom Twilio does not, a mail server that says
//! nothing. In real time, with the usual limits.
//!
//! Shown by who has the slots, not by a clock: whoever hangs never has more than half of them, and others are served while it has that
//! half. How late they are is measured by `cargo bench --bench load -- hanging`.

use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::ids::{Channel, ReminderId};
use unread::domain::quiet::QuietHours;
use unread::domain::rule::RuleKey;
use unread::jobs::names;
use unread::jobs::queue;
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, FaultRule, FaultSpan as LivePersonWhen};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::{Operation, TwilioAnswer, TwilioFault};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, TestApp, eventually, run_test_with};

/// The account that hangs is the sandbox's own; this is its neighbour.
const NEIGHBOUR: &str = "87654321";

/// Slots of each channel, and how many of them one of two accounts may have.
const SLOTS: &str = "8";
const SHARE: usize = 4;

/// Reminders of the one that hangs: several times as many as there are slots.
const HANGING: usize = 24;

/// Those of the others, which go out one after the other: more than there are slots, too.
const OTHERS: usize = 12;

async fn run_hanging(test: impl AsyncFnOnce(&TestApp)) {
    let setup = Setup {
        settings: vec![
            ("UNREAD_WORKER_SLOTS", SLOTS),
            ("SMTP_RATE_PER_SECOND", "10"),
            ("TWILIO_RATE_PER_SECOND", "10"),
            ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "5"),
        ],
        accounts: vec![NEIGHBOUR],
        real_time: Some(TimeDelta::zero()),
        ..Setup::default()
    };
    run_test_with(setup, test).await;
}

/// Reminds after three days at all hours, with a sender of the account's own if it is to have one: nothing is due before the test says so.
async fn rule(t: &TestApp, account: &str, channels: &[Channel], sender: Option<&str>) {
    let key = RuleKey {
        account: account.parse().unwrap(),
        skill: None,
    };
    t.rule_for(&key, channels, |rule| {
        rule.steps.truncate(channels.len());
        for step in &mut rule.steps {
            step.after = TimeDelta::days(3);
        }
        for channel in channels {
            let own = &mut rule.channels[*channel];
            own.sender = sender.map(str::to_owned);
            own.quiet_hours = QuietHours {
                allowed: Vec::new(),
                by_country: std::collections::BTreeMap::default(),
            };
        }
    })
    .await;
}

/// Somebody who was answered an hour ago.
fn answered(t: &TestApp, account: &str, address: &str) -> String {
    let then = t.world().minutes_from_now(-60.0);
    let opening = then.conversation(account, CUSTOMER_CARE).time_zone("UTC");
    let opening = if address.starts_with('+') {
        opening.phone(address)
    } else {
        opening.email(address)
    };
    let chat = opening.start();
    then.consumer_says(&chat, "Do you have it in green?");
    then.agent_says(&chat, "Yes, we do.");
    chat
}

/// The conversations of the one that hangs, and the others'.
struct Chats {
    hanging: Vec<String>,
    others: Vec<String>,
}

/// Everything is scheduled when this returns, and nothing is due.
async fn scheduled(
    t: &TestApp,
    hanging: impl Fn(usize) -> String,
    (account, other): (&str, impl Fn(usize) -> String),
) -> Chats {
    let hanging = (0..HANGING).map(|n| answered(t, ACCOUNT, &hanging(n)));
    let others = (0..OTHERS).map(|n| answered(t, account, &other(n)));
    let chats = Chats {
        hanging: hanging.collect(),
        others: others.collect(),
    };
    t.tick_until("everything is scheduled", async || {
        t.reminders().await.len() == HANGING + OTHERS
    })
    .await;
    chats
}

/// Makes these conversations' reminders due, with the jobs that a scan would have written.
async fn make_due(t: &TestApp, queue: &'static str, chats: &[String]) {
    let now = t.now();
    let mut tx = t.pool().begin().await.unwrap();
    let due: Vec<(i64, String)> = sqlx::query_as(
        "update reminders set due_at = $1, next_at = $1, deadline = $1 + interval '6 hours'
         where conversation = any($2) returning id, account",
    )
    .bind(now)
    .bind(chats)
    .fetch_all(&mut *tx)
    .await
    .unwrap();
    assert_eq!(due.len(), chats.len());
    let jobs = due
        .iter()
        .map(|(id, account)| names::deliver(&account.parse().unwrap(), ReminderId(*id), now));
    queue::schedule(&mut tx, &t.clock, queue, queue::When::At, jobs)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

/// The slots of the queue in which something hangs.
struct Slots<'a> {
    t: &'a TestApp,
    queue: &'static str,
}

/// Jobs in hand, each with the moment at which it was taken.
type InHand = Vec<(String, DateTime<Utc>)>;

impl<'a> Slots<'a> {
    /// Everything of the one that hangs is due, and it has its share of the slots.
    async fn filled(t: &'a TestApp, queue: &'static str, chats: &Chats) -> Self {
        let slots = Self { t, queue };
        make_due(t, queue, &chats.hanging).await;
        slots.are_filled().await;
        slots
    }

    async fn are_filled(&self) {
        eventually("it has its share of the slots", async || {
            self.of_the_one_that_hangs().await.len() == SHARE
        })
        .await;
    }

    /// Never more than its share. Without shares it has all of them within a moment, for as long as patience with it lasts.
    async fn of_the_one_that_hangs(&self) -> InHand {
        let own = format!("\"account\":\"{ACCOUNT}\"").into_bytes();
        let held: InHand = sqlx::query_as(
            "select id, lock_at from apalis.jobs
             where job_type = $1 and lock_by is not null and position($2 in job) > 0 order by id",
        )
        .bind(self.queue)
        .bind(own)
        .fetch_all(self.t.pool())
        .await
        .unwrap();
        assert!(held.len() <= SHARE, "it has {} slots", held.len());
        held
    }

    /// Does it with one after the other. At least one of them is done with, from beginning to end, while the very same jobs hang: whoever
    /// had to wait for one of these would be done only after it. On a slow machine patience with them may end first; then they hang again.
    async fn beside<T>(&self, things: impl IntoIterator<Item = T>, mut done: impl AsyncFnMut(T)) {
        let (mut beside, mut all) = (0, 0);
        for thing in things {
            if beside == 0 {
                self.are_filled().await;
            }
            let before = self.of_the_one_that_hangs().await;
            done(thing).await;
            let after = self.of_the_one_that_hangs().await;
            beside += usize::from(before.len() == SHARE && before == after);
            all += 1;
        }
        println!("{beside} of {all} were done with while the same jobs hung");
        assert!(beside > 0, "all of them waited for what hangs");
    }

    async fn sends_beside(&self, queue: &'static str, others: &[String]) {
        self.beside(others, async |chat: &String| {
            make_due(self.t, queue, std::slice::from_ref(chat)).await;
            eventually("it is sent", async || {
                self.of_the_one_that_hangs().await;
                let reminders = self.t.reminders().await;
                let sent =
                    |r: &crate::harness::Reminder| r.conversation == *chat && r.sent_at.is_some();
                reminders.iter().any(sent)
            })
            .await;
        })
        .await;
    }
}

/// Nothing of those that hung is sent any more, and nothing of them counts as lost.
fn read(t: &TestApp, chats: &Chats) {
    for chat in &chats.hanging {
        t.world().consumer_reads(chat);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_liveperson_hangs_holds_up_no_other() {
    run_hanging(async |t| {
        for account in [ACCOUNT, NEIGHBOUR] {
            rule(t, account, &[Channel::Email], None).await;
        }
        let hanging = |n| format!("hanging{n}@example.net");
        let other = |n| format!("other{n}@example.net");
        let chats = scheduled(t, hanging, (NEIGHBOUR, other)).await;
        t.sandbox.faults().add(FaultRule {
            endpoint: Some(Endpoint::ById),
            account: Some(ACCOUNT.to_owned()),
            skill: None,
            fault: Fault::Delay { ms: 120_000 },
            when: LivePersonWhen::UntilCleared,
        });
        let slots = Slots::filled(t, names::deliver_queue(Channel::Email), &chats).await;
        slots
            .sends_beside(names::deliver_queue(Channel::Email), &chats.others)
            .await;
        assert_eq!(t.mails().len(), OTHERS);
        read(t, &chats);
        t.sandbox.faults().clear_all();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_for_whose_texts_twilio_hangs_holds_up_no_other() {
    run_hanging(async |t| {
        rule(t, ACCOUNT, &[Channel::Sms], None).await;
        rule(t, NEIGHBOUR, &[Channel::Sms], Some("+15005550009")).await;
        let hanging = |n| format!("+1202555{n:04}");
        let other = |n| format!("+1415555{n:04}");
        let chats = scheduled(t, hanging, (NEIGHBOUR, other)).await;
        let silence = TwilioAnswer::Silence { accepted: false };
        let fault = TwilioFault::answer(When::to("+1202555*"), silence).on(Operation::Create);
        t.sandbox.twilio().faults().add(fault);
        let slots = Slots::filled(t, names::deliver_queue(Channel::Sms), &chats).await;
        slots
            .sends_beside(names::deliver_queue(Channel::Sms), &chats.others)
            .await;
        assert_eq!(t.texts().len(), OTHERS);
        read(t, &chats);
        t.sandbox.twilio().faults().clear();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_hangs_holds_up_neither_texts_nor_scans() {
    run_hanging(async |t| {
        for account in [ACCOUNT, NEIGHBOUR] {
            rule(t, account, &[Channel::Email, Channel::Sms], None).await;
        }
        let hanging = |n| format!("hanging{n}@example.net");
        let other = |n| format!("+1415555{n:04}");
        let chats = scheduled(t, hanging, (ACCOUNT, other)).await;
        let fault = SmtpFault::silence(Phase::Mail, When::always(), false);
        t.sandbox.smtp().faults().add(fault);
        let slots = Slots::filled(t, names::deliver_queue(Channel::Email), &chats).await;
        slots
            .sends_beside(names::deliver_queue(Channel::Sms), &chats.others)
            .await;
        assert_eq!(t.texts().len(), OTHERS);
        slots
            .beside(0..3, async |n| {
                let chat = t.answered(&format!("new{n}@example.net"));
                eventually("what is new is scanned", async || {
                    slots.of_the_one_that_hangs().await;
                    t.tick_only().await;
                    let reminders = t.reminders().await;
                    reminders.iter().any(|r| r.conversation == chat)
                })
                .await;
            })
            .await;
        read(t, &chats);
        t.sandbox.smtp().faults().clear();
    })
    .await;
}
