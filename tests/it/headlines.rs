//! "Why did customer@example.com get no reminder?": one sentence for everybody whom a scan has met, found by address.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use unread::db;
use unread::domain::access::{Permission, Role};
use unread::domain::contact::{Address, Suppression};
use unread::domain::ids::{Channel, SkillId};
use unread::domain::rule::RuleKey;
use unread::hashing::Hasher;
use unread::sandbox::ACCOUNT;
use unread::sandbox::people::{Play, RULES, cases};
use unread::sandbox::world::{CUSTOMER_CARE, Person as Customer};

use crate::harness::{
    Setup, TestApp, account, default_rule, fallback, run_test, run_test_with, step,
};
use crate::person::Program;

const ANN: &str = "ann@example.net";
const PHONE: &str = "+12025550143";

/// The rules that the scripts presume, and no others.
async fn presumed_rules(t: &TestApp) {
    let mut conn = t.pool().acquire().await.unwrap();
    db::rules::remove(&mut conn, &default_rule(), "test", t.now())
        .await
        .unwrap();
    drop(conn);
    for presumed in RULES {
        let steps = presumed.steps.iter().map(|presumed| {
            let kind = if presumed.if_not_reached {
                fallback
            } else {
                step
            };
            kind(
                presumed.channel.parse().unwrap(),
                presumed.after_minutes.into(),
            )
        });
        let key = RuleKey {
            account: account(),
            skill: Some(SkillId(presumed.skill)),
        };
        t.rule_for(&key, &[], |rule| rule.steps = steps.collect())
            .await;
    }
}

async fn look_up(program: &Program, whom: Value) -> Value {
    let mut body = json!({ "account": account() });
    body.as_object_mut()
        .unwrap()
        .extend(whom.as_object().unwrap().clone());
    let answer = program
        .send(Method::POST, "/consumers/look-up", &body)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// What the program is answered about an address.
async fn answer(program: &Program, address: &str) -> Value {
    look_up(program, json!({ "address": address })).await["answer"].clone()
}

#[tokio::test]
async fn scripted_people_without_a_reminder_have_a_headline_each_by_address() {
    // Who, and the reason and the words of their headline.
    #[rustfmt::skip]
    let expected = [
        ("c_read", "chloe.marsh@example.com", "read", "No reminder was sent by e-mail: the customer had read the message."),
        ("d_consumer_replied_later", "dev.nair@example.com", "answered", "No reminder was sent by e-mail: the customer had answered."),
        ("e_private_note", "eli.stone@example.com", "read", "No reminder was sent by e-mail: the customer had read the message."),
        ("f_system_message_in_queue", "fay.hill@example.com", "no_agent_message",
            "No reminder was sent by e-mail: no agent had written, so there was nothing to remind the customer about."),
        ("g_bot_rich_content", "+12025550145", "no_agent_message",
            "No reminder was sent by text message: no agent had written, so there was nothing to remind the customer about."),
        ("m_bot_then_queue", "mo.diaz@example.com", "no_agent_message",
            "No reminder was sent by e-mail: no agent had written, so there was nothing to remind the customer about."),
        ("queued_after_an_agent", "uli.kern@example.com", "in_queue",
            "No reminder was sent by e-mail: the conversation was waiting for an agent."),
        ("no_phone_for_a_text", "abel.strand@example.com", "no_address",
            "No reminder was sent"),
        ("reads_at_the_last_minute", "olga.sand@example.com", "read", "No reminder was sent by e-mail: the customer had read the message."),
        ("answers_before_due", "pia.vogel@example.com", "answered", "No reminder was sent by e-mail: the customer had answered."),
        ("closes_before_due", "quinn.hart@example.com", "closed", "No reminder was sent by e-mail: the conversation had been closed."),
        ("opts_out_before_due", "+12025550153", "opted_out", "No reminder was sent by text message: the customer had opted out."),
        ("quiet_hours_at_the_recipients", "+12025550152", "quiet_hours",
            "A reminder by text message is postponed. It waits for the allowed hours, until 09:"),
        ("opened_on_another_channel", "yves.roux@example.com", "never_seen", "Never seen: there is no conversation with this customer."),
    ];
    run_test(async |t| {
        presumed_rules(t).await;
        let (play, _texts) = Play::new(t.world(), ACCOUNT);
        let start = t.now();
        for scene in cases(start) {
            if expected.iter().any(|(case, ..)| *case == scene.case) {
                play.enter(scene, start.timestamp_millis()).unwrap();
            }
        }
        let zoe = Address::phone("+12025550153", None).unwrap();
        let hash = t.context().hasher.address(&zoe);
        let why = (Suppression::OptedOut, db::suppressions::Source::SmsKeyword);
        let mut conn = t.pool().acquire().await.unwrap();
        db::suppressions::add(&mut conn, &[account()], Channel::Sms, &hash, why, t.now())
            .await
            .unwrap();
        drop(conn);
        for _ in 0..8 {
            t.tick().await;
            t.advance_by(TimeDelta::seconds(29)).await;
            play.play_until_now();
        }
        t.tick().await;
        assert!(t.mails().is_empty() && t.texts().is_empty());

        let program = t.program(&[Permission::Operate, Permission::View]).await;
        for (case, address, reason, headline) in expected {
            let told = answer(&program, address).await;
            assert_eq!(told["reason"], reason, "{case}: {told}");
            let said = told["headline"].as_str().unwrap();
            assert!(said.starts_with(headline), "{case}: {said}");
            let seen = reason != "never_seen";
            assert_eq!(told["when"].is_string(), seen, "{case}: {told}");
            assert_eq!(told["conversation"].is_string(), seen, "{case}: {told}");
            // The rule that was in force.
            assert_eq!(told["rule"].is_object(), seen, "{case}: {told}");
        }
        let chloe = answer(&program, "chloe.marsh@example.com").await;
        let rule = json!({ "skill": CUSTOMER_CARE, "version": 1 });
        assert_eq!(chloe["rule"], rule);
        let olga = answer(&program, "olga.sand@example.com").await;
        assert!(olga["reminder"].is_i64(), "she had one: {olga}");
        // Nothing of an address is stored but the hash.
        let spelt: i64 = sqlx::query_scalar(
            "select count(*) from decisions d, conversations c where d::text || c::text ~* 'example.com|202555'",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(spelt, 0);
    })
    .await;
}

#[tokio::test]
async fn who_has_no_address_is_found_by_conversation_and_consumer_id() {
    run_test(async |t| {
        let world = t.world();
        let chat = world.conversation(ACCOUNT, CUSTOMER_CARE).start();
        world.consumer_says(&chat, "Hello?");
        world.agent_says(&chat, "Yes?");
        t.tick().await;
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        let consumer = world.consumer_ids(&chat).pop().unwrap();
        for whom in [
            json!({ "conversation": chat }),
            json!({ "consumer": consumer }),
        ] {
            let told = look_up(&program, whom).await["answer"].clone();
            assert_eq!(told["reason"], "no_address", "{told}");
            assert_eq!(told["conversation"], chat);
        }
        let told = answer(&program, "nobody@example.net").await;
        assert_eq!(
            (&told["reason"], &told["when"]),
            (&json!("never_seen"), &Value::Null)
        );
    })
    .await;
}

#[tokio::test]
async fn what_was_sent_or_waits_is_told_and_an_address_of_a_channel_without_steps_is_known() {
    run_test(async |t| {
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        t.answered(ANN);
        t.tick().await;
        let told = look_up(&program, json!({ "address": ANN })).await;
        assert_eq!(told["answer"]["reason"], "scheduled", "{told}");
        assert_eq!(
            told["reminders"].as_array().unwrap().len(),
            1,
            "also one that waits"
        );
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let told = answer(&program, ANN).await;
        assert_eq!(told["headline"], "A reminder was sent by e-mail.");
        assert_eq!(
            told["when"].as_str().unwrap()[..16],
            t.now().format("%Y-%m-%dT%H:%M").to_string()
        );

        t.rule(Channel::Email, |_| ()).await;
        t.answered(PHONE);
        t.tick().await;
        let told = answer(&program, PHONE).await;
        assert_eq!(
            (&told["reason"], &told["channel"]),
            (&json!("no_address"), &json!(null)),
            "no channel of the rule has one: {told}"
        );
    })
    .await;
}

/// Decisions of a conversation that have an address.
async fn addressed(t: &TestApp, chat: &str) -> Vec<String> {
    sqlx::query_scalar(
        "select reason from decisions where conversation = $1 and address_hashes is not null order by id",
    )
    .bind(chat)
    .fetch_all(t.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn an_address_that_turns_up_later_is_known_although_nothing_else_changes() {
    run_test(async |t| {
        let world = t.world();
        let chat = world.conversation(ACCOUNT, CUSTOMER_CARE).start();
        world.consumer_says(&chat, "Hello?");
        t.tick().await;
        assert_eq!(addressed(t, &chat).await, [""; 0]);
        let customer = |email: &str| Customer {
            email: Some(email.to_owned()),
            ..Customer::default()
        };
        for email in [ANN, "ann.other@example.net"] {
            let person = customer(email);
            world.step_up(&chat, person);
            t.tick().await;
            t.tick().await;
        }
        let known = addressed(t, &chat).await;
        assert_eq!(known, ["no_agent_message"; 2], "once for each address");
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        for email in [ANN, "ann.other@example.net"] {
            assert_eq!(
                answer(&program, email).await["conversation"],
                chat,
                "{email}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_page_stays_with_the_person_and_offers_to_undo_what_can_be_undone() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let chat = t.answered(ANN);
        t.tick().await;
        let page = boss.form("/customers", &[("who", ANN)]).await.text;
        assert!(page.contains("A reminder by e-mail is scheduled."), "{page}");
        assert!(page.contains("/rules/12345678/default/history"), "{page}");
        assert!(!page.contains("Undo: allow"), "{page}");

        let page = boss.form("/customers/opt-out", &[("who", ANN)]).await;
        assert_eq!(page.status, 200);
        for told in [
            "Opted out. This customer gets no more reminders.",
            "The reminder by e-mail that is scheduled will not be sent: the customer has opted out.",
            "Will not be sent: opted out",
            "Undo: allow reminders again",
            &chat,
        ] {
            assert!(page.text.contains(told), "{told}: {}", page.text);
        }
        let list = boss.get("/reminders").await.text;
        assert!(list.contains("Will not be sent: opted out"), "{list}");

        let page = boss.form("/customers/allow", &[("who", ANN)]).await.text;
        assert!(page.contains("This customer can get reminders again."), "{page}");
        assert!(page.contains("A reminder by e-mail is scheduled."), "{page}");
        assert!(!page.contains("Opted out or blocked") && !page.contains("Undo: allow"), "{page}");
        let again = boss.form("/customers/allow", &[("who", ANN)]).await.text;
        assert!(again.contains("Nothing was changed"), "{again}");
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1, "undone");

        // What the customer says is not ours to undo.
        let token = t.reminders().await[0].token.clone();
        let stopped = t.http.post(format!("{}/u/{token}", t.web)).send().await;
        assert!(stopped.unwrap().status().is_success());
        let page = boss.form("/customers", &[("who", ANN)]).await.text;
        assert!(page.contains("Opted out or blocked") && !page.contains("Undo: allow"), "{page}");
        let body = json!({ "account": account(), "address": ANN });
        let refused = boss.api(Method::POST, "/consumers/allow", Some(&body)).await;
        assert_eq!(refused.status, 409);

        let page = boss.form("/customers/erase", &[("who", ANN)]).await;
        assert_eq!(page.status, 200);
        assert!(page.text.contains("Erased: 1 conversation,"), "{}", page.text);
        assert!(page.text.contains("This cannot be undone."), "{}", page.text);
        assert!(page.text.contains("It appears in no conversation."), "{}", page.text);
        let trail = boss.get("/activity").await.text;
        assert!(trail.contains("allowed a customer again") && !trail.contains(ANN));
    })
    .await;
}

#[tokio::test]
async fn who_never_got_a_reminder_is_opted_out_and_erased_by_address() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let chat = t.answered(ANN);
        t.world().consumer_reads(&chat);
        t.tick().await;
        assert!(t.reminders().await.is_empty());
        let id = boss.form("/customers/opt-out", &[("who", &chat)]).await;
        assert_eq!(
            id.status, 200,
            "the address is known without a reminder: {}",
            id.text
        );
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        let told = answer(&program, ANN).await;
        assert_eq!(told["reason"], "read");
        assert!(
            told["headline"]
                .as_str()
                .unwrap()
                .ends_with("Besides, the customer has opted out.")
        );

        let erased = boss.form("/customers/erase", &[("who", ANN)]).await.text;
        assert!(erased.contains("Erased: 1 conversation,"), "{erased}");
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from decisions where conversation = $1)
                  + (select count(*) from conversations where address_hashes <> '{}')",
        )
        .bind(&chat)
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(left, 0);
        t.tick().await;
        assert_eq!(
            answer(&program, ANN).await["reason"],
            "opted_out",
            "all that is left is the no"
        );
    })
    .await;
}

const OLD: &str = "the-key-of-last-year-0123456789abcdef";
const NEW: &str = "the-key-of-this-year-0123456789abcdef";

#[tokio::test]
async fn who_was_met_under_an_older_key_is_found_and_no_decision_is_logged_twice() {
    let setup = Setup {
        settings: vec![("UNREAD_SECRET", NEW), ("UNREAD_SECRET_OLD", OLD)],
        ..Setup::default()
    };
    run_test_with(setup, async |t| {
        let chat = t.answered(ANN);
        t.world().consumer_reads(&chat);
        t.tick().await;
        let ann = Address::email(ANN).unwrap();
        let old = Hasher::new(OLD.as_bytes()).address(&ann);
        for sql in [
            "update decisions set address_hashes = array[$1] where address_hashes is not null",
            "update conversations set address_hashes = jsonb_build_object('email', encode($1, 'hex'))
             where address_hashes ->> 'email' is not null",
        ] {
            sqlx::query(sql)
                .bind(old.as_slice())
                .execute(t.pool())
                .await
                .unwrap();
        }
        let before = t.decisions(&chat).await;
        t.tick().await;
        assert_eq!(
            t.decisions(&chat).await,
            before,
            "the same address under another key is no news"
        );
        let program = t.program(&[Permission::View, Permission::Operate]).await;
        assert_eq!(answer(&program, ANN).await["conversation"], chat);
        let hashes: Vec<Vec<u8>> = sqlx::query_scalar(
            "select unnest(address_hashes) from decisions where address_hashes is not null
             union select decode(address_hashes ->> 'email', 'hex') from conversations
             where address_hashes ->> 'email' is not null",
        )
        .fetch_all(t.pool())
        .await
        .unwrap();
        assert_eq!(hashes, [Hasher::new(NEW.as_bytes()).address(&ann).to_vec()]);
    })
    .await;
}
