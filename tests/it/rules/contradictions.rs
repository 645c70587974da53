//! What a rule promises and cannot do, wherever it is told: by the API, on the rule's page, after an import, by a dry run.

use reqwest::Method;
use serde_json::{Value, json};
use unread::clock::Clock;
use unread::control::rules::{self, ChangeAuthor};
use unread::db;
use unread::db::sender_checks::RecordCheck;
use unread::domain::access::{Permission, Role};
use unread::domain::ids::Channel;
use unread::domain::rule::RuleSettings;
use unread::dry_run::{self, DryRunOptions};
use unread::rules_file::{self, RuleEntry};

use crate::harness::{TestApp, account, run_test};
use crate::person::{Answer, Program};

const RULE: &str = "/rules/12345678/default";

/// Closer than the gap, a night without an hour in time, a name without a stand-in, and no link that stops it.
fn doubtful() -> Value {
    json!({
        "steps": [{ "channel": "email", "after_minutes": 10 }, { "channel": "email", "after_minutes": 30 }],
        "channels": { "email": {
            "latest_minutes": 600,
            "quiet_hours": { "allowed": [{ "from": "09:00", "to": "20:00" }] },
            "templates": { "en": { "subject": "{{agent}} replied", "text": "Read it: {{link}}" } },
        } },
    })
}

fn kinds(told: &Value) -> Vec<(String, String)> {
    let word = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    let all = told["contradictions"].as_array().unwrap().iter();
    all.map(|it| (word(it, "kind"), word(it, "field")))
        .collect()
}

const EXPECTED: [(&str, &str); 4] = [
    ("lost", "/settings/steps/1/after_minutes"),
    ("hours", "/settings/channels/email/quiet_hours/allowed"),
    (
        "no_fallback",
        "/settings/channels/email/templates/en/subject",
    ),
    (
        "no_unsubscribe_link",
        "/settings/channels/email/templates/en/text",
    ),
];

fn expected() -> Vec<(String, String)> {
    EXPECTED
        .map(|(kind, field)| (kind.to_owned(), field.to_owned()))
        .to_vec()
}

async fn save(program: &Program, settings: Value) -> Answer {
    let read = program.get(RULE).await;
    let seen = read.headers["etag"].to_str().unwrap().to_owned();
    let body = json!({ "enabled": true, "settings": settings });
    let ask = program
        .ask(Method::PUT, &format!("{RULE}/draft"))
        .header("if-match", seen);
    Answer::of(ask.json(&body).send().await.unwrap()).await
}

#[tokio::test]
async fn they_are_told_before_and_after_publishing_and_forbid_nothing() {
    run_test(async |t| {
        let program = t.program(&[Permission::View, Permission::Edit]).await;
        let path = format!("{RULE}/contradictions");
        let told = program.get(&path).await.json();
        assert_eq!(
            told,
            json!({ "of": "published", "contradictions": [] }),
            "the defaults"
        );

        let checked = json!({ "account": account(), "enabled": true, "settings": doubtful() });
        let checked = program
            .send(Method::POST, "/rules/check", &checked)
            .await
            .json();
        assert_eq!(kinds(&checked), expected());
        let hours = &checked["contradictions"][1];
        // Thirteen hours of night, ten of patience.
        assert_eq!(hours["figure"].as_f64(), Some(12.5), "{hours}");
        assert_eq!(hours["level"], "warning");
        assert_eq!(checked["contradictions"][3]["level"], "note");

        let saved = save(&program, doubtful()).await;
        assert_eq!(saved.status, 200, "{}", saved.text);
        let told = program.get(&path).await.json();
        assert_eq!(told["of"], "draft");
        assert_eq!(kinds(&told), expected());

        let editor = t.person(Role::Editor).await;
        let page = editor.get(RULE).await.text;
        let list = page.find("Check this before publishing").expect("a list");
        let button = page.find("value=\"publish\"").expect("a button");
        assert!(list < button, "{page}");
        assert!(
            page.contains("About 12% of the e-mails that fall due in a week are never sent"),
            "{page}"
        );
        let look = editor
            .form(&format!("{RULE}/look"), &[("enabled", "on")])
            .await
            .text;
        assert!(
            look.contains("<template data-part=\"contradictions\">"),
            "{look}"
        );

        let seen = saved.headers["etag"].to_str().unwrap().to_owned();
        let ask = program
            .ask(Method::POST, &format!("{RULE}/publish"))
            .header("if-match", seen);
        let published = Answer::of(ask.send().await.unwrap()).await;
        assert_eq!(published.status, 200, "{}", published.text);
        let told = program.get(&path).await.json();
        assert_eq!(
            (told["of"].as_str(), kinds(&told)),
            (Some("published"), expected())
        );
    })
    .await;
}

fn file(settings: Value) -> String {
    let entry = RuleEntry {
        account: account(),
        skill: None,
        enabled: true,
        settings: RuleSettings::parse(&[Channel::Email], settings).unwrap(),
    };
    rules_file::print(&[entry])
}

#[tokio::test]
async fn an_import_and_a_dry_run_tell_them() {
    run_test(async |t| {
        let by = ChangeAuthor {
            name: "test",
            now: t.now(),
        };
        let around = |account: &_| rules::around(t.config(), Some(account));
        let with = (t.pool(), t.wording(), &Channel::ALL[..]);
        let done = rules::import(with, around, &file(doubtful()), by)
            .await
            .unwrap();
        assert_eq!(done.changed(), 1, "it is stored all the same");
        let fields: Vec<&str> = done.warnings.iter().map(|w| w.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "rule 12345678/default, steps[1].after_minutes",
                "rule 12345678/default, channels.email.quiet_hours.allowed",
                "rule 12345678/default, channels.email.templates.en.subject",
                "rule 12345678/default, channels.email.templates.en.text"
            ]
        );
        let mut out = Vec::new();
        let clock = Clock::manual(t.now());
        dry_run::run(
            t.config(),
            &DryRunOptions::default(),
            &clock,
            &mut out,
            &|_| (),
        )
        .await
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.contains("rule 12345678/default: warning: About 12%"),
            "{text}"
        );
    })
    .await;
}

async fn found(t: &TestApp, domain: &str, spf: bool) {
    let check = RecordCheck {
        record: "SPF".to_owned(),
        well: spf,
        found: format!("{domain} has none"),
        fix: (!spf).then(|| "Publish one.".to_owned()),
    };
    db::sender_checks::store(t.pool(), domain, &[check], t.now())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_sender_s_domain_is_told_of_as_it_was_last_looked_up() {
    run_test(async |t| {
        let program = t.program(&[Permission::View, Permission::Edit]).await;
        let path = format!("{RULE}/contradictions");
        let usual = t
            .config()
            .channels
            .smtp
            .as_ref()
            .unwrap()
            .from
            .address()
            .to_owned();
        let usual = unread::jobs::contradictions::domain_of(&usual).unwrap();
        found(t, &usual, false).await;
        let told = program.get(&path).await.json();
        assert_eq!(
            kinds(&told),
            [(
                "sender".to_owned(),
                "/settings/channels/email/sender".to_owned()
            )]
        );
        let said = told["contradictions"][0]["sentence"].as_str().unwrap();
        assert!(
            said.contains("SPF") && said.contains("5 January 2026"),
            "{said}"
        );
        assert!(said.ends_with("Publish one."), "{said}");
        // Of a channel that no step uses nothing is told.
        save(
            &program,
            json!({ "steps": [{ "channel": "sms", "after_minutes": 10 }] }),
        )
        .await;
        assert_eq!(kinds(&program.get(&path).await.json()), []);

        // A rule's own sender has a domain of its own, of which nothing is known yet.
        save(
            &program,
            json!({ "channels": { "email": { "sender": "help@other.example" } } }),
        )
        .await;
        assert_eq!(kinds(&program.get(&path).await.json()), []);
        found(t, "other.example", false).await;
        assert_eq!(kinds(&program.get(&path).await.json()).len(), 1);
        found(t, "other.example", true).await;
        assert_eq!(
            kinds(&program.get(&path).await.json()),
            [],
            "it has been put right"
        );
    })
    .await;
}

#[tokio::test]
async fn an_email_without_a_way_out_gets_one() {
    run_test(async |t| {
        t.rule(Channel::Email, |settings| {
            let template = json!({ "subject": "Hello", "text": "Lies es: {{link}}", "html": "<html><body>{{link}}</body></html>" });
            let template = serde_json::from_value(template).unwrap();
            settings.channels[Channel::Email].templates.insert("de".to_owned(), template);
        })
        .await;
        let world = t.world();
        let chat = world
            .conversation(unread::sandbox::ACCOUNT, unread::sandbox::world::CUSTOMER_CARE)
            .consumer("Ann", "Other")
            .language("de")
            .email("ann@example.net")
            .start();
        world.consumer_says(&chat, "Hallo?");
        world.agent_says(&chat, "Ja?");
        t.tick().await;
        t.advance(10).await;
        let [mail] = &t.mails()[..] else {
            panic!("one mail");
        };
        // Sealed, and so another one each time; it ends with the reminder's word.
        let token = &t.reminders().await[0].token;
        let text = mail.text.clone().unwrap_or_default();
        let (_, link) = text.split_once("Erinnerungen abbestellen: ").expect(&text);
        let link = link.trim();
        assert!(link.starts_with(&format!("{}/u/", t.web)) && link.ends_with(token.as_str()), "{text}");
        let html = mail.html.clone().unwrap_or_default();
        assert!(html.contains(&format!("<p><a href=\"{link}\">Erinnerungen abbestellen</a></p></body>")), "{html}");
    })
    .await;
}
