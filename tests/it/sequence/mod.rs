//! One rule over all channels: who gets what over which channel and when, what comes back, noes, caps, and edits under way.

mod caps;
mod edits;
mod effect;
mod noes;
mod reports;
mod who;

use serde_json::json;
use unread::domain::ids::Channel;
use unread::domain::ids::Channel::{Email, Sms};
use unread::sandbox::ACCOUNT;
use unread::sandbox::outbox::Mail;
use unread::sandbox::rules::When;
use unread::sandbox::twilio::{Callback, Delivery, TwilioFault};
use unread::sandbox::world::{CUSTOMER_CARE, Person};

use crate::harness::TestApp;

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";

/// The channels of the stage.
const BOTH: [Channel; 2] = [Email, Sms];

/// By the clock of the tests.
fn person(email: Option<&str>, phone: Option<&str>) -> Person {
    Person {
        email: email.map(str::to_owned),
        phone: phone.map(str::to_owned),
        time_zone: Some("UTC".to_owned()),
        ..Person::default()
    }
}

/// A customer has asked, and an agent has answered just now.
fn answered(t: &TestApp, person: Person) -> String {
    let world = t.world();
    let opening = world.conversation(ACCOUNT, CUSTOMER_CARE);
    let chat = opening.person(person).start();
    world.consumer_says(&chat, "Do you have it in green?");
    world.agent_says(&chat, "Yes, we do.");
    chat
}

/// The same, of who can be reached over both channels.
pub fn answered_with_both(t: &TestApp) -> String {
    answered(t, person(Some(ANN), Some(PHONE)))
}

/// The customer writes, and the agent answers once more: the next episode.
fn answers_again(t: &TestApp, chat: &str) {
    t.world().consumer_says(chat, "In small, too?");
    t.world().agent_says(chat, "In small, too.");
}

/// How many e-mails and text messages have arrived since the test last asked.
fn arrived(t: &TestApp) -> (usize, usize) {
    (t.mails().len(), t.texts().len())
}

/// A mail server of the customer's tells that a message came back: `hard` or `soft`.
async fn comes_back(t: &TestApp, mail: &Mail, kind: &str) {
    let list = json!([{ "kind": kind, "message_id": mail.message_id() }]);
    let (status, answer) = crate::opt_outs::events(t, &list).await;
    assert_eq!((status, &answer["applied"]), (200, &json!(1)), "{answer}");
    t.settle().await;
}

/// From here on Twilio reports nothing by itself.
fn reports_nothing(t: &TestApp) {
    let mute = Delivery::delivered().calling_back(Callback::Missing);
    t.sandbox
        .twilio()
        .faults()
        .add(TwilioFault::delivery(When::always(), mute));
}

/// The reminders of a conversation, oldest first: which step, and what became of it, as `1 sent`.
async fn steps(t: &TestApp, chat: &str) -> Vec<String> {
    let reminders = t.reminders().await.into_iter();
    reminders
        .filter(|reminder| reminder.conversation == chat)
        .map(|reminder| format!("{} {}", reminder.step, reminder.told()))
        .collect()
}

/// Reminders of a conversation that wait or are being sent.
async fn pending(t: &TestApp, chat: &str) -> i64 {
    sqlx::query_scalar(
        "select count(*) from reminders where conversation = $1 and next_at is not null",
    )
    .bind(chat)
    .fetch_one(t.pool())
    .await
    .unwrap()
}
