//! The service as it is run: real processes, real time, a sandbox in place of the outside world.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Timelike as _};
use serde_json::{Value, json};
use sqlx::PgPool;
use unread::clock::Clock;
use unread::db;
use unread::demo;
use unread::sandbox::faults::{Fault, FaultRule, FaultSpan};
use unread::sandbox::rules;
use unread::sandbox::smtp::{Phase, SmtpFault};
use unread::sandbox::world::{CUSTOMER_CARE, Person};
use unread::sandbox::{ACCOUNT, Options, Sandbox};

use crate::database::{database, own_server};
use crate::harness::{eventually, free_port, migrate, migrated};
use crate::process::{Process, Settings};

const PHONE: &str = "+12025550143";

/// A zone in which it is early afternoon, so that no quiet hours hold anything up whenever the tests run.
pub fn afternoon() -> String {
    let hour = i64::from(Clock::System.now().hour());
    // The signs of these names are the other way round.
    format!("Etc/GMT{:+}", hour - 13)
}

fn person(address: &str) -> Person {
    let address = Some(address.to_owned());
    let (email, phone) = if address.as_ref().is_some_and(|a| a.starts_with('+')) {
        (None, address)
    } else {
        (address, None)
    };
    Person {
        email,
        phone,
        time_zone: Some(afternoon()),
        ..Person::default()
    }
}

/// Somebody was answered so long ago that a reminder is due in `seconds`.
pub fn answered(sandbox: &Sandbox, address: &str, seconds: i64) -> String {
    let then = Clock::System.now() - TimeDelta::minutes(10) + TimeDelta::seconds(seconds);
    let world = sandbox.world().at(then.timestamp_millis());
    let opening = world
        .conversation(ACCOUNT, CUSTOMER_CARE)
        .person(person(address));
    let chat = opening.start();
    world.consumer_says(&chat, "Do you have it in green?");
    world.agent_says(&chat, "Yes, we do.");
    chat
}

pub async fn sandbox() -> Sandbox {
    let options = Options {
        smtp: demo::smtp_options(),
        ..Options::default()
    };
    Sandbox::start(options).await.unwrap()
}

/// Settings of a process of the service, before this sandbox and on this database.
pub fn settings_for(sandbox: &Sandbox, database: &str, more: &[(&str, &str)]) -> Settings {
    let mut settings = demo::environment(sandbox.endpoints());
    let port = free_port().to_string();
    let own = [
        ("DATABASE_URL", database),
        ("UNREAD_DATABASE_CONNECTIONS", "6"),
        // Below the process's own folder: a journal of this machine's own installation is not the test's.
        ("UNREAD_DATA_DIR", "data"),
        ("UNREAD_METRICS_PORT", "0"),
        ("UNREAD_BIND", "127.0.0.1"),
        ("PORT", &port),
        ("UNREAD_SCAN_INTERVAL_SECONDS", "1"),
        ("UNREAD_LIVEPERSON_RATE_PER_SECOND", "1000"),
        ("UNREAD_LOG_LEVEL", "warn"),
    ];
    for (key, value) in own.iter().chain(more) {
        settings.insert((*key).to_owned(), (*value).to_owned());
    }
    settings.into_iter().collect()
}

/// The first start reads and decides, and writes to nobody. Then all channels go live, what is unread included.
async fn writes_to_nobody_until_live(pool: &PgPool) {
    eventually("both conversations are decided about", async || {
        let decided: sqlx::Result<i64> =
            sqlx::query_scalar("select count(*) from conversations where reason = 'not_live'")
                .fetch_one(pool)
                .await;
        decided.is_ok_and(|decided| decided == 2)
    })
    .await;
    let reminders: i64 = sqlx::query_scalar("select count(*) from reminders")
        .fetch_one(pool)
        .await
        .unwrap();
    assert_eq!(reminders, 0);
    sqlx::query(
        "insert into live (account, channel, since, by_whom, at)
         select id, c, 'epoch', 'test', now() from accounts, unnest(array['email', 'sms']) c",
    )
    .execute(pool)
    .await
    .unwrap();
}

/// The sandbox in a process of its own, and the service in another that knows nothing but what an old `.env` says and where the
/// sandbox is.
async fn reminders_arrive_with(credentials: &[(&str, &str)]) {
    let sandbox = Process::start(&["sandbox", "--empty"], &Vec::new());
    let mut at = Value::Null;
    eventually("the sandbox has said where it is", async || {
        at = serde_json::from_str(&sandbox.printed()).unwrap_or_default();
        at.is_object()
    })
    .await;
    let http = unread::liveperson::http_client();
    let post = async |path: String, body: Value| -> Value {
        let url = format!("{}{path}", at["admin_url"].as_str().unwrap());
        let answer = http.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}");
        answer.json().await.unwrap_or_default()
    };
    let then = Clock::System.now() - TimeDelta::minutes(10);
    let then = then.timestamp_millis();
    for address in ["ann@example.net", PHONE] {
        let opening = json!({"skill": CUSTOMER_CARE, "at": then, "person": person(address)});
        let chat = post("/conversations".to_owned(), opening).await;
        let act = format!(
            "/conversations/{}/actions?at={then}",
            chat["conversation"].as_str().unwrap()
        );
        post(
            act.clone(),
            json!({"do": "consumer_says", "text": "Do you have it in green?"}),
        )
        .await;
        post(act, json!({"do": "agent_says", "text": "Yes, we do."})).await;
    }

    // An empty database: `run` brings it up to date by itself.
    let db = database(b"empty", async |_| Ok(())).await;
    let told = |path: &str| match at.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => panic!("the sandbox does not tell {path}"),
    };
    let web_port = free_port().to_string();
    let mut settings: Settings = [
        ("DATABASE_URL", db.url.clone()),
        ("PORT", web_port),
        ("UNREAD_METRICS_PORT", "0".to_owned()),
        ("LE_ACCOUNT", told("/account")),
        ("SMTP_USER", told("/smtp/user")),
        ("SMTP_PASS", told("/smtp/password")),
        ("TWILIO_ACCOUNT_SID", told("/twilio/account_sid")),
        ("TWILIO_AUTH_TOKEN", told("/twilio/auth_token")),
        ("UNREAD_LIVEPERSON_URL", told("/liveperson/domain_url")),
        ("TWILIO_BASE_URL", told("/twilio/base_url")),
        ("SMTP_HOST", told("/smtp/host")),
        ("SMTP_PORT", told("/smtp/port")),
        ("SMTP_TLS", "none".to_owned()),
        ("UNREAD_DATA_DIR", "data".to_owned()),
        // Nobody waits a minute for the scan after going live.
        ("UNREAD_SCAN_INTERVAL_SECONDS", "1".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    for (key, field) in credentials {
        let value = told(&format!("/liveperson/credentials/{field}"));
        settings.push(((*key).to_owned(), value));
    }
    let mut service = Process::start(&["run"], &settings);
    let messages = format!("{}/api/messages", at["mailbox_url"].as_str().unwrap());
    let mut counts = Value::Null;
    writes_to_nobody_until_live(&db.pool).await;
    eventually("one e-mail and one SMS arrive", async || {
        let answer: Value = http
            .get(&messages)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        counts = answer["counts"].clone();
        counts["mails"] == 1 && counts["texts"] == 1
    })
    .await;
    eventually("the SMS is reported delivered", async || {
        let state: Option<String> = sqlx::query_scalar(
            "select state from reminders where channel = 'sms' and state <> 'scheduled'",
        )
        .fetch_optional(&db.pool)
        .await
        .unwrap();
        state.as_deref() == Some("delivered")
    })
    .await;
    assert_eq!(service.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn an_old_env_file_is_enough_for_reminders_to_arrive_over_oauth_1() {
    reminders_arrive_with(&[
        ("LE_CONSUMER_KEY", "consumer_key"),
        ("LE_CONSUMER_SECRET", "consumer_secret"),
        ("LE_TOKEN", "token"),
        ("LE_TOKEN_SECRET", "token_secret"),
    ])
    .await;
}

#[tokio::test]
async fn with_an_oauth_2_client_reminders_arrive_too() {
    reminders_arrive_with(&[
        ("LE_CLIENT_ID", "client_id"),
        ("LE_CLIENT_SECRET", "client_secret"),
    ])
    .await;
}

async fn states(pool: &PgPool) -> BTreeMap<String, i64> {
    let states: Vec<(String, i64)> =
        sqlx::query_as("select state, count(*) from reminders where step = 1 group by 1")
            .fetch_all(pool)
            .await
            .unwrap();
    states.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_of_every_role_send_each_reminder_once_and_log_every_decision() {
    const VISITORS: usize = 60;
    let (db, sandbox) = (migrated().await, sandbox().await);
    let settings = || settings_for(&sandbox, &db.url, &[("SMTP_RATE_PER_SECOND", "1000")]);
    let chats: Vec<String> = (0..VISITORS)
        .map(|n| answered(&sandbox, &format!("visitor{n}@example.net"), 3))
        .collect();
    let roles = [
        "scheduler",
        "scheduler",
        "worker",
        "worker",
        "worker",
        "web",
        "web",
    ];
    let mut processes: Vec<Process> = roles
        .iter()
        .map(|role| Process::start(&[role], &settings()))
        .collect();
    eventually("every reminder is sent", async || {
        states(&db.pool).await.get("sent").copied() == i64::try_from(VISITORS).ok()
    })
    .await;
    for process in &mut processes {
        assert_eq!(process.terminate().await.code(), Some(0));
    }
    let mails = sandbox.outbox().mails();
    assert_eq!(mails.len(), VISITORS);
    let mut to: Vec<&String> = mails.iter().flat_map(|mail| &mail.to).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), VISITORS, "everybody once");
    for chat in &chats {
        let log: Vec<String> = sqlx::query_scalar(
            "select stage || ' ' || verdict from decision_log where conversation = $1 and channel = 'email' order by id",
        )
        .bind(chat)
        .fetch_all(&db.pool)
        .await
        .unwrap();
        let of = |what: &str| log.iter().filter(|line| line.as_str() == what).count();
        assert_eq!(of("deliver send"), 1, "{log:?}");
        assert!(of("scan schedule") >= 1, "{log:?}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_outlives_its_database_s_restart_and_the_absence_of_everybody_it_talks_to() {
    let (mut server, sandbox) = (own_server().await, sandbox().await);
    let url = server.server().url("postgres");
    let pool = db::pool(url.parse().unwrap(), 2);
    migrate(&pool).await.unwrap();
    let mut processes: Vec<Process> = ["scheduler", "worker"]
        .iter()
        .map(|role| Process::start(&[role], &settings_for(&sandbox, &url, &[])))
        .collect();
    let arrived = async |what: &str, address: &str| {
        eventually(what, async || {
            let outbox = sandbox.outbox();
            outbox.mails_to(address).len() + outbox.texts_to(address).len() == 1
        })
        .await;
    };
    answered(&sandbox, "before@example.net", 0);
    arrived("a mail arrives", "before@example.net").await;

    answered(&sandbox, "database@example.net", 2);
    server.restart().await;
    arrived("a mail arrives after the restart", "database@example.net").await;

    let anything = sandbox.faults();
    anything.add(FaultRule {
        endpoint: None,
        account: None,
        skill: None,
        fault: Fault::Dropped,
        when: FaultSpan::UntilCleared,
    });
    sandbox.smtp().latch().shut();
    // Connections that exist would outlive the shut door.
    let hang_up = SmtpFault::close(Phase::Mail, rules::When::always(), false);
    sandbox.smtp().faults().add(hang_up);
    sandbox.twilio().latch().shut();
    answered(&sandbox, "outage@example.net", 0);
    answered(&sandbox, PHONE, 0);
    // Looks fail, again and again; then everybody is found, and can be told by neither provider.
    eventually("looks have failed", async || {
        anything
            .all_traffic()
            .values()
            .map(|t| t.faults)
            .sum::<u64>()
            >= 3
    })
    .await;
    anything.clear_all();
    eventually("both channels were tried in vain", async || {
        let tried =
            "select count(distinct channel) from attempts a join reminders r on r.id = a.reminder
                     where a.outcome = 'not_accepted'";
        let tried: i64 = sqlx::query_scalar(tried).fetch_one(&pool).await.unwrap();
        tried == 2
    })
    .await;
    sandbox.smtp().faults().clear();
    sandbox.smtp().latch().open();
    sandbox.twilio().latch().open();
    arrived("a mail arrives after the outage", "outage@example.net").await;
    arrived("an SMS arrives after the outage", PHONE).await;

    for process in &mut processes {
        assert_eq!(process.terminate().await.code(), Some(0));
    }
    pool.close().await;
    sandbox.stop().await;
}
