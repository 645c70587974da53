//! Who is limited to an account sees nothing of another one and changes nothing there, whatever is asked and however.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use unread::db;
use unread::db::tokens::TokenInsert;
use unread::domain::access::{AccountLimit, Permission, Rights, Role};
use unread::domain::contact::Suppression;
use unread::domain::ids::{AccountId, Channel, SkillId};
use unread::domain::rule::{RuleKey, RuleSettings, Template};
use unread::hashing;
use unread::sandbox::world::CUSTOMER_CARE;
use unread::suppressions_file::{HEADER, hex};
use unread::web::access::{Route, RouteAccess};

use crate::harness::{Setup, TestApp, account, run_test_with};
use crate::person::{Answer, Person};

const OTHER: &str = "b0000001";

/// Stands in whatever is told of the other account, but for its id.
const MARK: &str = "zebra";

fn other() -> AccountId {
    OTHER.parse().unwrap()
}

fn limit() -> AccountLimit {
    AccountLimit::to([account()])
}

/// What there is in the other account.
struct Planted {
    reminder: i64,
    conversation: String,
    consumer: String,
    hash: String,
    sender: String,
}

impl Planted {
    async fn new(t: &TestApp) -> Self {
        let sender = format!("{MARK}@example.org");
        rule_of_other(t, &sender).await;
        let address = format!("{MARK}@example.net");
        let conversation = t.answered_in(OTHER, CUSTOMER_CARE, &address);
        t.tick().await;
        let consumer = t.world().consumer_ids(&conversation).pop().unwrap();
        let reminder: i64 = sqlx::query_scalar("select id from reminders where account = $1")
            .bind(OTHER)
            .fetch_one(t.pool())
            .await
            .unwrap();
        let hash = [0xab; 16];
        let mut conn = t.pool().acquire().await.unwrap();
        let why = (Suppression::OptedOut, db::suppressions::Source::SmsText);
        db::suppressions::add(&mut conn, &[other()], Channel::Sms, &hash, why, t.now())
            .await
            .unwrap();
        for sql in [
            "update skills set name = 'zebra skill' where account = 'b0000001'",
            "update suppressions set doubt = 'stop_word'",
            "update scans set error = 'zebra error' where account = 'b0000001'",
            "insert into pauses (account, of_rule, paused_by, paused_at, note) values ('b0000001', false, 'zebra', now(), 'zebra')",
            "insert into circuits (provider, sender, opened_at, code, probe_at, proof)
             values ('smtp', 'zebra@example.org', now(), 'auth 535', now() + interval '1 hour', 'answer')",
            "insert into audit (at, by, action, account, subject, detail) values
                 (now(), 'ann', 'rule.draft', 'b0000001', 'zebra', '{}'), (now(), 'ann', 'user.add', null, 'zebra', '{}')",
        ] {
            sqlx::query(sql).execute(&mut *conn).await.unwrap();
        }
        Self {
            reminder,
            conversation,
            consumer,
            hash: hex(&hash),
            sender,
        }
    }

    /// What must not be told to who did not say it.
    fn strings(&self) -> [&str; 5] {
        [MARK, OTHER, &self.conversation, &self.consumer, &self.hash]
    }
}

/// A rule of the other account, with words and a sender of its own, and a draft.
async fn rule_of_other(t: &TestApp, sender: &str) {
    let mut settings = RuleSettings::default_for(&[Channel::Email]);
    let email = &mut settings.channels[Channel::Email];
    email.sender = Some(sender.to_owned());
    let template = Template {
        subject: Some(format!("{MARK} {{{{brand}}}}")),
        preheader: None,
        text: format!("{MARK} {{{{link}}}}"),
        html: None,
    };
    email.templates.insert("en".parse().unwrap(), template);
    let key = RuleKey {
        account: other(),
        skill: None,
    };
    let mut conn = t.pool().acquire().await.unwrap();
    db::rules::put(&mut conn, &key, true, &settings, MARK, t.now())
        .await
        .unwrap();
    let draft = (true, &settings);
    db::drafts::save(&mut conn, &key, 1, draft, MARK, t.now())
        .await
        .unwrap();
}

async fn token(t: &TestApp) -> String {
    let token = format!("{}{}", unread::control::tokens::PREFIX, hashing::token());
    let scopes = [Permission::View, Permission::Edit, Permission::Operate];
    let new = TokenInsert {
        name: "of one brand",
        token_hash: &hashing::digest(&token),
        scopes: &scopes,
        accounts: &limit(),
        created_by: "test",
        owner: None,
        expires_at: None,
    };
    let mut conn = t.pool().acquire().await.unwrap();
    let added = db::tokens::add(&mut conn, &new, t.now()).await.unwrap();
    added.expect("a free name");
    token
}

/// Somebody who is limited, as a person with a session or as a program.
enum Caller {
    Person(Person, String),
    Program(String),
}

impl Caller {
    fn dress(&self, ask: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self {
            Self::Person(person, csrf) => ask
                .header("cookie", &person.cookie)
                .header("sec-fetch-site", "same-origin")
                .header("x-csrf-token", csrf),
            Self::Program(token) => ask.bearer_auth(token),
        }
    }

    async fn ask(
        &self,
        t: &TestApp,
        method: &Method,
        path: &str,
        body: Option<Body<'_>>,
    ) -> Answer {
        let ask = t.http.request(method.clone(), format!("{}{path}", t.web));
        let ask = self.dress(ask).header("if-match", "\"v1-d1\"");
        let ask = match body {
            Some(Body::Json(body)) => ask.json(body),
            Some(Body::Form(fields)) => ask.form(fields),
            None => ask,
        };
        Answer::of(ask.send().await.unwrap()).await
    }
}

#[derive(Clone, Copy)]
enum Body<'a> {
    Json(&'a Value),
    Form(&'a [(&'a str, &'a str)]),
}

async fn person(t: &TestApp) -> Caller {
    let rights = Rights::limited(Role::Editor, limit()).unwrap();
    let person = t.person(rights).await;
    let csrf = person.csrf().await;
    Caller::Person(person, csrf)
}

fn stage() -> Setup {
    Setup {
        accounts: vec![OTHER],
        ..Setup::default()
    }
}

/// The pattern's paths: of the own account, of the other one, and of the other one's things.
fn paths(pattern: &str, planted: &Planted) -> Vec<String> {
    let filled = |account: &str| {
        let part = |part: &str| match part {
            "{account}" => account.to_owned(),
            "{skill}" => "default".to_owned(),
            "{channel}" => "email".to_owned(),
            "{id}" => planted.reminder.to_string(),
            "{conversation}" => planted.conversation.clone(),
            part => part.to_owned(),
        };
        pattern.split('/').map(part).collect::<Vec<_>>().join("/")
    };
    let mut paths = vec![filled(account().as_str()), filled(OTHER)];
    paths.dedup();
    paths
}

/// Queries that name the other account or what is in it.
fn queries(path: &str, planted: &Planted) -> Vec<String> {
    let of_account = format!("account={OTHER}");
    let of_channel = format!("{of_account}&channel=email");
    let queries = match path {
        "/api/v1/forecast" => vec![of_account],
        "/live" => vec![String::new(), of_channel],
        "/api/v1/reminders" | "/reminders" => vec![
            String::new(),
            format!("account={OTHER}"),
            format!("conversation={}", planted.conversation),
            format!("consumer={}", planted.consumer),
        ],
        "/api/v1/decisions" => vec![
            String::new(),
            format!("account={OTHER}"),
            format!("conversation={}", planted.conversation),
        ],
        "/api/v1/rules" | "/api/v1/suppressions" | "/opt-outs" | "/website" => {
            vec![String::new(), format!("account={OTHER}")]
        }
        "/api/v1/audit" | "/activity" => vec![String::new(), "action=rule".to_owned()],
        "/api/v1/texts/built-in" => vec!["channel=email".to_owned()],
        _ => vec![String::new()],
    };
    let join = |query: String| {
        if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{query}")
        }
    };
    queries.into_iter().map(join).collect()
}

fn is_for(caller: &Caller, route: &Route) -> bool {
    match (caller, route.needs) {
        (_, RouteAccess::Caller(needs)) | (Caller::Person(..), RouteAccess::Person(needs)) => {
            needs != Permission::Administer
        }
        _ => false,
    }
}

/// Asks for every page and every operation that reads, and searches the answers.
async fn reads_nothing(t: &TestApp, caller: &Caller, planted: &Planted) {
    let mut asked = 0;
    for route in t.routes() {
        if route.method != Method::GET || !is_for(caller, &route) {
            continue;
        }
        for path in paths(&route.path, planted) {
            for asks in queries(&path, planted) {
                let answer = caller.ask(t, &Method::GET, &asks, None).await;
                assert!(answer.status.as_u16() < 500, "{asks}: {answer:?}");
                let names_theirs = path.ends_with(&format!("/reminders/{}", planted.reminder));
                if path.contains(OTHER) || names_theirs {
                    assert_eq!(answer.status, 404, "{asks}: {answer:?}");
                }
                for told in planted.strings() {
                    // Who names something may read the name again.
                    let found = !asks.contains(told) && answer.text.contains(told);
                    assert!(!found, "{asks} tells {told}: {}", answer.text);
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 25, "{asked} were asked");
}

#[tokio::test]
async fn who_is_limited_to_an_account_reads_nothing_of_another_one() {
    run_test_with(stage(), async |t| {
        let planted = Planted::new(t).await;
        let (person, program) = (person(t).await, Caller::Program(token(t).await));
        reads_nothing(t, &person, &planted).await;
        reads_nothing(t, &program, &planted).await;
        // The strings are where they are looked for: without a limit they are found.
        let unlimited = t.person(Role::Editor).await;
        for path in [
            "/",
            "/rules",
            "/opt-outs",
            "/activity",
            "/connections",
            "/reminders/decisions",
            "/reminders",
        ] {
            let page = unlimited.get(path).await.text;
            let found = planted.strings().iter().any(|told| page.contains(told));
            assert!(
                found,
                "{path} tells nothing of the other account to anybody"
            );
        }
        let own = person
            .ask(t, &Method::GET, "/api/v1/accounts", None)
            .await
            .json();
        assert_eq!(own["items"].as_array().unwrap().len(), 1);
        let me = program
            .ask(t, &Method::GET, "/api/v1/me", None)
            .await
            .json();
        assert_eq!(me["accounts"], json!([account()]));
    })
    .await;
}

/// What is posted to the config API about the other account.
fn operations(planted: &Planted) -> Vec<(Method, String, Option<Value>)> {
    let post = |path: &str, body: Value| (Method::POST, path.to_owned(), Some(body));
    let reminder = |what: &str| {
        let path = format!("/reminders/{}/{what}", planted.reminder);
        (Method::POST, path, None)
    };
    let whom = json!({ "account": OTHER, "conversation": planted.conversation });
    let address = json!({ "account": OTHER, "address": "somebody@example.net" });
    let hash = json!({ "hash": planted.hash, "channel": "sms", "verdict": "undo" });
    let sender = json!({ "provider": "smtp", "sender": planted.sender });
    let test = json!({ "account": OTHER, "channel": "email", "to": "me@example.net" });
    let code =
        json!({ "account": OTHER, "channel": "email", "to": "me@example.net", "code": "123456" });
    let rule = format!("/rules/{OTHER}/default");
    let written = json!({ "enabled": false, "settings": {} });
    vec![
        post(
            &format!("/accounts/{OTHER}/badge/look-up"),
            json!({ "consumer": planted.consumer }),
        ),
        post("/circuits/probe", sender.clone()),
        post("/circuits/close", sender),
        reminder("cancel"),
        reminder("send-again"),
        reminder("opt-out"),
        reminder("reveal"),
        post("/consumers/look-up", whom.clone()),
        post("/consumers/opt-out", whom.clone()),
        post("/consumers/allow", whom),
        post("/suppressions", address.clone()),
        post(
            "/suppressions/remove",
            json!({ "account": OTHER, "hash": planted.hash, "channel": "sms" }),
        ),
        post(
            "/suppressions/import",
            json!({ "account": OTHER, "csv": "somebody@example.net" }),
        ),
        post("/suppressions/review", hash),
        (
            Method::PUT,
            format!("/accounts/{OTHER}/live/email"),
            Some(json!({ "other_installation": "none" })),
        ),
        (
            Method::DELETE,
            format!("/accounts/{OTHER}/live/email"),
            None,
        ),
        (Method::DELETE, rule.clone(), None),
        (Method::PUT, format!("{rule}/draft"), Some(written)),
        (Method::DELETE, format!("{rule}/draft"), None),
        (Method::POST, format!("{rule}/publish"), None),
        post(&format!("{rule}/restore"), json!({ "version": 1 })),
        post(
            "/rules/check",
            json!({ "account": OTHER, "enabled": true, "settings": {} }),
        ),
        post(
            "/texts/preview",
            json!({ "channel": "email", "account": OTHER, "conversation": planted.conversation }),
        ),
        post("/test-messages", test),
        post("/test-messages/verify", code),
        post("/forecast/live", json!({ "account": OTHER })),
        post("/pauses", json!({ "account": OTHER, "channel": "email" })),
        (Method::DELETE, format!("/pauses?account={OTHER}"), None),
    ]
}

fn names(route: &Route, path: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let pattern = route.path.split('/');
    pattern.clone().count() == path.split('/').count()
        && pattern
            .zip(path.split('/'))
            .all(|(own, asked)| own == asked || own.starts_with('{'))
}

/// Everything of the other account that could have been changed.
async fn state(t: &TestApp) -> Value {
    sqlx::query_scalar(
        "select jsonb_build_object(
             'rules', (select jsonb_agg(r) from rules r where account = $1),
             'drafts', (select jsonb_agg(d) from rule_drafts d where account = $1),
             'pauses', (select jsonb_agg(p) from pauses p),
             'suppressions', (select jsonb_agg(s) from suppressions s),
             'circuits', (select jsonb_agg(c) from circuits c),
             'reminders', (select jsonb_agg(r) from reminders r where account = $1),
             'audit', (select jsonb_agg(a) from audit a))",
    )
    .bind(OTHER)
    .fetch_one(t.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn who_is_limited_to_an_account_changes_nothing_in_another_one() {
    run_test_with(stage(), async |t| {
        let planted = Planted::new(t).await;
        let (person, program) = (person(t).await, Caller::Program(token(t).await));
        let before = state(t).await;
        let operations = operations(&planted);
        for (method, path, body) in &operations {
            let path = format!("/api/v1{path}");
            for caller in [&person, &program] {
                let body = body.as_ref().map(Body::Json);
                let answer = caller.ask(t, method, &path, body).await;
                assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
                assert!(
                    !answer.text.contains(MARK) || path.contains("circuits"),
                    "{path}: {answer:?}"
                );
            }
        }
        for caller in [&person, &program] {
            let everything = json!({ "note": "all" });
            let pause = caller
                .ask(
                    t,
                    &Method::POST,
                    "/api/v1/pauses",
                    Some(Body::Json(&everything)),
                )
                .await;
            assert_eq!(pause.status, 403, "{pause:?}");
            let resume = caller.ask(t, &Method::DELETE, "/api/v1/pauses", None).await;
            assert_eq!(resume.status, 403, "{resume:?}");
        }
        assert_eq!(state(t).await, before);

        // No operation was left out.
        let left: BTreeSet<String> = t
            .routes()
            .into_iter()
            .filter(|route| is_for(&program, route) && route.method != Method::GET)
            .filter(|route| {
                let asked = |(method, path, _): &(Method, String, _)| {
                    *method == route.method && names(route, &format!("/api/v1{path}"))
                };
                !operations.iter().any(asked)
            })
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    })
    .await;
}

/// What is posted by forms of pages about the other account.
fn forms(planted: &Planted) -> Vec<(String, Vec<(&'static str, String)>)> {
    let rule = format!("/rules/{OTHER}/default");
    let own = |name: &'static str, value: &str| (name, value.to_owned());
    let of = || own("account", OTHER);
    let reminder = |what: &str| (format!("/reminders/{}/{what}", planted.reminder), vec![]);
    let address = || own("address", "somebody@example.net");
    let sender = || vec![own("provider", "smtp"), own("sender", &planted.sender)];
    let mut forms = vec![
        (
            format!("{rule}/drop"),
            vec![own("do", "discard"), own("seen", "v1-d1")],
        ),
        (
            "/live".to_owned(),
            vec![
                of(),
                own("channel", "email"),
                own("other_installation", "none"),
                own("from", "now"),
                own("unread", "0"),
            ],
        ),
        ("/live/end".to_owned(), vec![of(), own("channel", "email")]),
        (
            "/attention/dismiss".to_owned(),
            vec![own("key", &format!("not_live/{OTHER}/email"))],
        ),
        (format!("{rule}/save"), vec![own("seen", "v1-d1")]),
        (format!("{rule}/look"), vec![]),
        (format!("{rule}/preview"), vec![]),
        (
            "/pauses".to_owned(),
            vec![own("what", OTHER), own("do", "resume")],
        ),
        (
            "/pauses".to_owned(),
            vec![own("what", &format!("{OTHER}/email"))],
        ),
        ("/connections/probe".to_owned(), sender()),
        ("/connections/close".to_owned(), sender()),
        reminder("cancel"),
        reminder("send-again"),
        reminder("opt-out"),
        reminder("reveal"),
        (
            "/customers".to_owned(),
            vec![of(), own("who", &planted.conversation)],
        ),
        ("/find".to_owned(), vec![own("who", &planted.conversation)]),
        (
            "/customers/opt-out".to_owned(),
            vec![of(), own("who", &planted.conversation)],
        ),
        (
            "/customers/allow".to_owned(),
            vec![of(), own("who", &planted.conversation)],
        ),
        ("/opt-outs".to_owned(), vec![of(), address()]),
        ("/opt-outs/add".to_owned(), vec![of(), address()]),
        (
            "/opt-outs/remove".to_owned(),
            vec![of(), own("hash", &planted.hash), own("channel", "sms")],
        ),
        (
            "/opt-outs/import".to_owned(),
            vec![of(), own("csv", "somebody@example.net")],
        ),
        (
            "/opt-outs/review".to_owned(),
            vec![
                own("hash", &planted.hash),
                own("channel", "sms"),
                own("verdict", "undo"),
            ],
        ),
        (
            "/website".to_owned(),
            vec![of(), own("consumer", &planted.consumer)],
        ),
    ];
    for wish in ["draft", "publish", "test", "verify", "effect", "fill"] {
        let fields = vec![
            own("do", wish),
            own("seen", "v1-d1"),
            own("test_to", "me@example.net"),
        ];
        forms.push((rule.clone(), fields));
    }
    forms
}

#[tokio::test]
async fn no_form_of_a_page_reaches_another_account() {
    run_test_with(stage(), async |t| {
        let planted = Planted::new(t).await;
        let person = person(t).await;
        let before = state(t).await;
        let forms = forms(&planted);
        for (path, fields) in &forms {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let answer = person.ask(t, &Method::POST, path, Some(Body::Form(&fields))).await;
            // A form that finds nothing leads back to its page and says so.
            let back = ["/connections/", "/opt-outs/review"];
            let back = back.iter().any(|page| path.starts_with(page));
            // It looks in the accounts of whoever asks.
            let looks = path == "/find";
            let expected = match (back, looks) {
                (true, _) => 303,
                (_, true) => 200,
                _ => 404,
            };
            assert_eq!(answer.status, expected, "{path} {fields:?}: {answer:?}");
            assert!(!answer.text.contains(MARK), "{path}: {}", answer.text);
        }
        let all = person.ask(t, &Method::POST, "/pauses", Some(Body::Form(&[("what", "everything"), ("do", "pause")]))).await;
        assert_eq!(all.status, 403);
        assert_eq!(state(t).await, before);
        let left: BTreeSet<String> = t
            .routes()
            .into_iter()
            .filter(|route| matches!(route.needs, RouteAccess::Person(needs) if needs != Permission::Administer))
            .filter(|route| route.method == Method::POST && !route.path.starts_with("/settings/"))
            .filter(|route| !forms.iter().any(|(path, _)| names(route, path)))
            .map(|route| route.path)
            .collect();
        assert_eq!(left, BTreeSet::from(["/logout".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn who_is_limited_can_do_everything_in_their_own_account() {
    run_test_with(stage(), async |t| {
        let planted = Planted::new(t).await;
        let person = person(t).await;
        let chat = t.answered("ann@example.net");
        t.tick().await;
        let own: i64 = sqlx::query_scalar("select id from reminders where conversation = $1")
            .bind(&chat)
            .fetch_one(t.pool())
            .await
            .unwrap();
        let story = person
            .ask(t, &Method::GET, &format!("/api/v1/reminders/{own}"), None)
            .await;
        assert_eq!(story.status, 200);
        let cancelled = person
            .ask(
                t,
                &Method::POST,
                &format!("/api/v1/reminders/{own}/cancel"),
                None,
            )
            .await;
        assert_eq!(cancelled.status, 204, "{cancelled:?}");
        let pause = json!({ "account": account() });
        let paused = person
            .ask(t, &Method::POST, "/api/v1/pauses", Some(Body::Json(&pause)))
            .await;
        assert_eq!(paused.status, 204, "{paused:?}");
        let new = json!({ "account": account(), "address": "cid@example.net" });
        let added = person
            .ask(
                t,
                &Method::POST,
                "/api/v1/suppressions",
                Some(Body::Json(&new)),
            )
            .await;
        assert_eq!(added.status, 204, "{added:?}");
        // The same address of the other account is still its own business.
        let listed = person
            .ask(t, &Method::GET, "/api/v1/suppressions", None)
            .await
            .json();
        assert_eq!(listed["items"].as_array().unwrap().len(), 1);
        let export = person
            .ask(t, &Method::GET, "/api/v1/suppressions/export", None)
            .await
            .text;
        assert_eq!(export.lines().count(), 2);
        // A line of a list that names the other account names none.
        let hash = "cd".repeat(16);
        let csv =
            format!("{HEADER}{OTHER},email,{hash},opted_out,operator,2026-01-01T00:00:00Z,\n");
        let list = json!({ "account": account(), "csv": csv });
        let refused = person
            .ask(
                t,
                &Method::POST,
                "/api/v1/suppressions/import",
                Some(Body::Json(&list)),
            )
            .await;
        assert_eq!(refused.status, 422, "{refused:?}");
        let trail = person
            .ask(t, &Method::GET, "/api/v1/audit", None)
            .await
            .json();
        let actions: Vec<&Value> = trail["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["action"])
            .collect();
        assert_eq!(actions, ["suppression.add", "pause", "reminder.cancel"]);
        assert!(planted.reminder != own);
    })
    .await;
}

/// A rule of a skill of the own account, with a draft that comes from another sender.
async fn own_rule(t: &TestApp, published: &str, drafted: &str) {
    let from = |sender: &str| {
        let mut settings = RuleSettings::default_for(&[Channel::Email]);
        settings.channels[Channel::Email].sender = Some(sender.to_owned());
        settings
    };
    let key = RuleKey {
        account: account(),
        skill: Some(SkillId(CUSTOMER_CARE)),
    };
    let mut conn = t.pool().acquire().await.unwrap();
    db::rules::put(&mut conn, &key, true, &from(published), "test", t.now())
        .await
        .unwrap();
    let settings = from(drafted);
    db::drafts::save(&mut conn, &key, 1, (true, &settings), "test", t.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn who_is_limited_writes_in_no_other_account_s_name_and_opens_no_sender_for_it() {
    run_test_with(stage(), async |t| {
        const OWN: &str = "own@example.org";
        // The first draft of all: its stamp is the one that is asked with.
        own_rule(t, OWN, &format!("{MARK}@example.org")).await;
        let planted = Planted::new(t).await;
        let person = person(t).await;
        let rule = format!("/api/v1/rules/{}/{}", account(), CUSTOMER_CARE);
        let own_sender = |sender: &str| json!({ "channels": { "email": { "sender": sender } } });
        let from = |sender: &str| json!({ "enabled": true, "settings": own_sender(sender) });
        let ask = async |method: Method, path: &str, body: Option<&Value>| {
            person.ask(t, &method, path, body.map(Body::Json)).await
        };
        let draft = format!("{rule}/draft");
        let message = json!({
            "account": account(), "channel": "email", "to": "me@example.net", "settings": own_sender(&planted.sender),
        });
        let publish = format!("{rule}/publish");
        for (method, path, body) in [
            (Method::PUT, &*draft, Some(&from(&planted.sender))),
            (Method::PUT, &*draft, Some(&from("Own@example.org"))),
            (Method::POST, &*publish, None),
            (Method::POST, "/api/v1/test-messages", Some(&message)),
        ] {
            let refused = ask(method, path, body).await;
            assert_eq!(refused.status, 422, "{path}: {refused:?}");
            assert!(refused.text.contains("/settings/channels/email/sender"), "{refused:?}");
        }
        let mut to_check = from(&planted.sender);
        to_check["account"] = json!(account());
        let checked = ask(Method::POST, "/api/v1/rules/check", Some(&to_check)).await;
        assert_eq!(checked.json()["faults"][0]["field"], "/settings/channels/email/sender");
        let saved = ask(Method::PUT, &draft, Some(&from(OWN))).await;
        assert_eq!(saved.status, 200, "{saved:?}");

        // The own sender is paused, and another account's rule comes from it as well.
        sqlx::query(
            "insert into circuits (provider, sender, opened_at, code, probe_at, proof)
             values ('smtp', $1, now(), 'auth 535', now() + interval '1 hour', 'answer')",
        )
        .bind(OWN)
        .execute(t.pool())
        .await
        .unwrap();
        rule_of_other(t, OWN).await;
        let sender = json!({ "provider": "smtp", "sender": OWN });
        for what in ["probe", "close"] {
            let path = format!("/api/v1/circuits/{what}");
            assert_eq!(ask(Method::POST, &path, Some(&sender)).await.status, 403);
        }
        let page = ask(Method::GET, "/connections", None).await.text;
        assert!(page.contains(OWN) && !page.contains("/connections/close"), "{page}");
        rule_of_other(t, &planted.sender).await;
        let closed = ask(Method::POST, "/api/v1/circuits/close", Some(&sender)).await;
        assert_eq!(closed.status, 204, "{closed:?}");
        let noted: (Option<String>, Value) = sqlx::query_as(
            "select account, detail -> 'accounts' from audit where action = 'circuit.close'",
        )
        .fetch_one(t.pool())
        .await
        .unwrap();
        assert_eq!(noted, (Some(account().to_string()), json!([account()])));
    })
    .await;
}

#[tokio::test]
async fn accounts_are_given_and_taken_and_a_token_follows_its_owner() {
    run_test_with(stage(), async |t| {
        let ann = t.person(Role::Administrator).await;
        let ben = t.person(Role::Administrator).await;
        let new = json!({ "name": "both", "scopes": ["view"] });
        let made = ben.api(Method::POST, "/tokens", Some(&new)).await.json();
        let program = Caller::Program(made["token"].as_str().unwrap().to_owned());
        let seen = async || {
            let accounts = program
                .ask(t, &Method::GET, "/api/v1/accounts", None)
                .await
                .json();
            accounts["items"].as_array().unwrap().len()
        };
        assert_eq!(seen().await, 2);
        let path = format!("/users/{}", ben.id);
        let set = async |change: Value| ann.api(Method::PATCH, &path, Some(&change)).await;
        let limited = set(json!({ "role": "viewer", "accounts": [OTHER] })).await;
        assert_eq!(
            (limited.status.as_u16(), &limited.json()["accounts"]),
            (200, &json!([OTHER]))
        );
        assert_eq!(seen().await, 1, "the token follows");
        let kept = set(json!({ "role": "editor" })).await.json();
        assert_eq!(kept["accounts"], json!([OTHER]), "left out is as before");
        for (wrong, field) in [
            (json!({ "role": "administrator" }), "/accounts"),
            (json!({ "role": "viewer", "accounts": [] }), "/accounts"),
            (
                json!({ "role": "viewer", "accounts": [OTHER, "nowhere"] }),
                "/accounts/1",
            ),
        ] {
            let refused = set(wrong.clone()).await;
            assert_eq!(refused.status, 422, "{wrong}: {refused:?}");
            assert_eq!(refused.json()["errors"][0]["field"], field, "{wrong}");
        }
        let all = set(json!({ "role": "administrator", "accounts": null }))
            .await
            .json();
        assert_eq!(all["accounts"], Value::Null);
        assert_eq!(seen().await, 2);
        let administers = json!({ "name": "x", "scopes": ["administer"], "accounts": [OTHER] });
        let refused = ann.api(Method::POST, "/tokens", Some(&administers)).await;
        assert_eq!(refused.json()["errors"][0]["field"], "/accounts");
        let one = json!({ "name": "one", "scopes": ["view"], "accounts": [OTHER] });
        assert_eq!(
            ann.api(Method::POST, "/tokens", Some(&one)).await.status,
            201
        );
        let page = ann.get("/tokens").await.text;
        assert!(page.contains("only "), "{page}");

        // The same on the page.
        let form = [("role", "viewer"), ("account", OTHER)];
        let done = ann.form(&format!("/team/{}/role", ben.id), &form).await;
        assert_eq!(done.location(), "/team");
        assert!(
            ann.get("/team")
                .await
                .text
                .contains("now viewer of some accounts")
        );
        let form = [("name", "cid"), ("role", "viewer"), ("account", OTHER)];
        assert_eq!(ann.form("/team", &form).await.status, 200);
        let form = [
            ("name", "dan"),
            ("role", "administrator"),
            ("account", OTHER),
        ];
        assert_eq!(ann.form("/team", &form).await.status, 422);
    })
    .await;
}
