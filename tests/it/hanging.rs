//! Who hangs holds up nobody else: an account whose LivePerson does not answer, a sender for whom Twilio does not, a mail server that says
//! nothing. In real time, with the usual limits.

use chrono::{DateTime, TimeDelta, Utc};
use unread::domain::ids::{AccountId, Channel};
use unread::domain::quiet::QuietHours;
use unread::domain::rule::{Key, Settings};
use unread::sandbox::ACCOUNT;
use unread::sandbox::faults::{Endpoint, Fault, Rule, When as LivePersonWhen};
use unread::sandbox::rules::When;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::twilio::{Answer, Operation, TwilioFault};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{Setup, Stage, eventually, run_test_with};

/// The account that hangs is the sandbox's own; this is its neighbour.
const NEIGHBOUR: &str = "87654321";

/// Reminders of the one that hangs, all due at one moment.
const HANGING: usize = 200;

/// The neighbour's come one by one from a second later on, longer than the time-outs that would set the slots free again.
const OTHERS: usize = 100;
const EVERY: TimeDelta = TimeDelta::milliseconds(250);

/// From the beginning until the first reminder is due: time to scan them all.
const AHEAD: TimeDelta = TimeDelta::seconds(14);

/// What a busy machine may add to one in a hundred. Without shares the others wait for five seconds and more.
const NOISE: TimeDelta = TimeDelta::seconds(2);

/// One after another, and so in one test: each is busy enough to make another's reminders late.
#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_delays_nobody_else() {
    an_account_whose_liveperson_hangs_delays_no_other().await;
    an_account_for_whose_texts_twilio_hangs_delays_no_other().await;
    a_mail_server_that_hangs_delays_neither_texts_nor_scans().await;
}

async fn run_hanging(test: impl AsyncFnOnce(&Stage)) {
    let setup = Setup {
        settings: vec![
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

/// Reminds after ten minutes at all hours, with a sender of the account's own if it is to have one.
async fn rule(t: &Stage, account: &str, channel: Channel, sender: Option<&str>) {
    let mut settings = Settings::default_for(channel);
    settings.sender = sender.map(str::to_owned);
    settings.quiet_hours = QuietHours {
        allowed: Vec::new(),
        by_country: std::collections::BTreeMap::default(),
    };
    let account: AccountId = account.parse().unwrap();
    let key = Key {
        account,
        skill: None,
        channel,
    };
    let mut conn = t.pool().acquire().await.unwrap();
    unread::db::rules::put(&mut conn, &key, true, &settings, "test", t.now())
        .await
        .unwrap();
}

/// Somebody whose reminder is due at that time from now.
fn due_in(t: &Stage, account: &str, wait: TimeDelta, address: &str) -> String {
    let minutes = wait.as_seconds_f64() / 60.0 - 10.0;
    let then = t.world().minutes_from_now(minutes);
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

/// What is due, of both: the conversations of the one that hangs and the others'.
struct Due {
    hanging: Vec<String>,
    others: Vec<String>,
}

/// Everything is scheduled when this returns, and nothing is due.
async fn scheduled(
    t: &Stage,
    hanging: impl Fn(usize) -> String,
    (account, other): (&str, impl Fn(usize) -> String),
) -> Due {
    let began = t.now();
    let hanging = (0..HANGING)
        .map(|n| due_in(t, ACCOUNT, AHEAD, &hanging(n)))
        .collect();
    let others = (0..OTHERS)
        .map(|n| {
            let nth = i32::try_from(n).unwrap();
            let wait = AHEAD + TimeDelta::seconds(1) + EVERY * nth;
            due_in(t, account, wait, &other(n))
        })
        .collect();
    t.tick_until("everything is scheduled", async || {
        t.reminders().await.len() == HANGING + OTHERS
    })
    .await;
    assert!(t.now() < began + AHEAD, "scanned too slowly to begin");
    Due { hanging, others }
}

impl Due {
    /// How late the others' reminders were, the latest last.
    async fn lateness(&self, t: &Stage) -> Vec<TimeDelta> {
        let mut late: Vec<TimeDelta> = Vec::new();
        eventually("the others' are sent", async || {
            let sent: Vec<(DateTime<Utc>, DateTime<Utc>)> = sqlx::query_as(
                "select due_at, sent_at from reminders where conversation = any($1) and sent_at is not null",
            )
            .bind(&self.others)
            .fetch_all(t.pool())
            .await
            .unwrap();
            late = sent.iter().map(|(due, sent)| *sent - *due).collect();
            late.len() == OTHERS
        })
        .await;
        late.sort_unstable();
        late
    }

    async fn nobody_else_is_late(&self, t: &Stage) {
        let late = self.lateness(t).await;
        let (median, p99) = (late[late.len() / 2], late[late.len() * 99 / 100 - 1]);
        let second = TimeDelta::seconds(1);
        assert!(median < second && p99 < second + NOISE, "{late:?}");
    }

    /// Nothing of those that hung is sent any more, and nothing of them counts as lost.
    fn read(&self, t: &Stage) {
        for chat in &self.hanging {
            t.world().consumer_reads(chat);
        }
    }
}

async fn an_account_whose_liveperson_hangs_delays_no_other() {
    run_hanging(async |t| {
        for account in [ACCOUNT, NEIGHBOUR] {
            rule(t, account, Channel::Email, None).await;
        }
        let hanging = |n| format!("hanging{n}@example.net");
        let other = |n| format!("other{n}@example.net");
        let due = scheduled(t, hanging, (NEIGHBOUR, other)).await;
        t.sandbox.faults().add(Rule {
            endpoint: Some(Endpoint::ById),
            account: Some(ACCOUNT.to_owned()),
            skill: None,
            fault: Fault::Delay { ms: 120_000 },
            when: LivePersonWhen::UntilCleared,
        });
        due.nobody_else_is_late(t).await;
        assert_eq!(t.mails().len(), OTHERS);
        due.read(t);
    })
    .await;
}

async fn an_account_for_whose_texts_twilio_hangs_delays_no_other() {
    run_hanging(async |t| {
        rule(t, ACCOUNT, Channel::Sms, None).await;
        rule(t, NEIGHBOUR, Channel::Sms, Some("+15005550009")).await;
        let hanging = |n| format!("+1202555{n:04}");
        let other = |n| format!("+1415555{n:04}");
        let due = scheduled(t, hanging, (NEIGHBOUR, other)).await;
        let silence = Answer::Silence { accepted: false };
        let fault = TwilioFault::answer(When::to("+1202555*"), silence).on(Operation::Create);
        t.sandbox.twilio().faults().add(fault);
        due.nobody_else_is_late(t).await;
        assert_eq!(t.texts().len(), OTHERS);
        due.read(t);
    })
    .await;
}

async fn a_mail_server_that_hangs_delays_neither_texts_nor_scans() {
    run_hanging(async |t| {
        for account in [ACCOUNT, NEIGHBOUR] {
            rule(t, account, Channel::Email, None).await;
            rule(t, account, Channel::Sms, None).await;
        }
        let hanging = |n| format!("hanging{n}@example.net");
        let other = |n| format!("+1415555{n:04}");
        let due = scheduled(t, hanging, (ACCOUNT, other)).await;
        let fault = SmtpFault::silence(Phase::Mail, When::always(), false);
        t.sandbox.smtp().faults().add(fault);
        due.nobody_else_is_late(t).await;
        assert_eq!(t.texts().len(), OTHERS);
        let chat = t.answered("late@example.net");
        eventually("what is new is scanned", async || {
            t.tick_only().await;
            let reminders = t.reminders().await;
            reminders.iter().any(|r| r.conversation == chat)
        })
        .await;
        due.read(t);
        t.sandbox.smtp().faults().clear();
    })
    .await;
}
