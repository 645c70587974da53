//! Texts at their bounds, in every place where one is read: preview, check, draft, publication, page, file and delivery.

use reqwest::Method;
use serde_json::{Value, json};
use unread::channel::render::Engine;
use unread::control::ControlError;
use unread::control::rules::{self, ChangeAuthor};
use unread::domain::access::{Permission, Role};
use unread::domain::ids::Channel;
use unread::domain::rule::Template;
use unread::rules_file;

use super::pages::fields;
use crate::harness::{TestApp, eventually, run_test};
use crate::person::Answer;

const ALL: [Permission; 3] = [Permission::View, Permission::Edit, Permission::Operate];
const RULE: &str = "/rules/12345678/default";
/// Those of the stage.
const BOTH: [Channel; 2] = [Channel::Email, Channel::Sms];
const LINKS: &str = "{{link}} {{unsubscribe_link}}";

/// A text that has everything it needs, and in front of it what is tried.
fn template(tried: &str) -> Template {
    Template {
        subject: Some("Hello".to_owned()),
        preheader: None,
        text: LINKS.to_owned(),
        html: Some(format!("{tried}{LINKS}")),
    }
}

fn settings(template: &Template) -> Value {
    json!({ "channels": { "email": { "templates": { "en": template } } } })
}

/// Blocks, written in so many ways, of which `depth` are open at once. The middle is for who has no name.
fn nestings(depth: usize) -> Vec<String> {
    let chain = |tag: &str| {
        let links = tag.repeat(depth - 1);
        format!("{{{{#if first_name}}}}a{links}{{{{/if}}}}")
    };
    let nest = |open: &str| format!("{}x{}", open.repeat(depth), "{{/if}}".repeat(depth));
    vec![
        chain("{{else if first_name}}"),
        chain("{{ ~ else if\nfirst_name}}"),
        chain("{{^if first_name}}"),
        nest("{{ #if agent}}"),
        nest("{{~ # if agent ~}}"),
    ]
}

/// The largest that are let in, and the same with one more of what is bounded.
fn at_the_bounds() -> Vec<(String, String)> {
    let mut both: Vec<(String, String)> = nestings(20).into_iter().zip(nestings(21)).collect();
    // The links are two of the three hundred.
    for tag in ["{{brand}}", "{{!-- --}}", "{{ ~ count ~ }}", "\\{{brand}}"] {
        let room = (100_000 - 300 * tag.len()) / 300 - 2;
        let padded = format!("{tag}{}", "x".repeat(room));
        both.push((padded.repeat(298), tag.repeat(299)));
    }
    let most = 100_000 - LINKS.len();
    // One byte more is refused with the rule's other settings, and has its tests there.
    both.push(("x".repeat(most), "{{brand}}".repeat(299)));
    both
}

async fn preview(t: &TestApp, template: &Template) -> Answer {
    let program = t.program(&[Permission::View]).await;
    let wish = json!({ "channel": "email", "nameless": true, "template": template });
    program.send(Method::POST, "/texts/preview", &wish).await
}

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

/// Saves a draft and publishes it, as a program does.
async fn publish(t: &TestApp, template: &Template) -> Answer {
    let program = t.program(&ALL).await;
    let seen = etag(&program.get(RULE).await);
    let draft = json!({ "enabled": true, "settings": settings(template) });
    let ask = program.ask(Method::PUT, &format!("{RULE}/draft"));
    let saved = Answer::of(
        ask.header("if-match", seen)
            .json(&draft)
            .send()
            .await
            .unwrap(),
    )
    .await;
    if saved.status != 200 {
        return saved;
    }
    let ask = program.ask(Method::POST, &format!("{RULE}/publish"));
    Answer::of(ask.header("if-match", etag(&saved)).send().await.unwrap()).await
}

async fn import(t: &TestApp, template: &Template) -> Result<rules::ImportedRules, ControlError> {
    let settings = unread::domain::rule::RuleSettings::parse(&BOTH, settings(template)).unwrap();
    let entry = rules_file::RuleEntry {
        account: crate::harness::account(),
        skill: None,
        enabled: true,
        settings,
    };
    let by = ChangeAuthor {
        name: "file",
        now: t.now(),
    };
    let around = |account: &_| rules::around(t.config(), Some(account));
    let file = rules_file::print(&[entry]);
    rules::import((t.pool(), t.wording(), &Channel::ALL), around, &file, by).await
}

#[tokio::test]
async fn what_is_at_the_bounds_passes_everywhere_and_is_delivered() {
    run_test(async |t| {
        for (number, (tried, _)) in at_the_bounds().into_iter().enumerate() {
            let template = template(&tried);
            let shown: String = tried.chars().take(60).collect();
            let previewed = preview(t, &template).await;
            assert_eq!(previewed.status, 200, "{shown}");
            assert_eq!(previewed.json()["faults"], json!([]), "{shown}");
            assert!(previewed.json()["html"].is_string(), "{shown}");
            let published = publish(t, &template).await;
            assert_eq!(published.status, 200, "{shown}: {}", published.text);
            let imported = import(t, &template).await.unwrap();
            assert_eq!(imported.changed(), 0, "it is what was published");
            t.answered(&format!("visitor{number}@example.net"));
            t.tick().await;
            t.advance(10).await;
            let mails = t.mails();
            assert_eq!(mails.len(), 1, "{shown}");
            assert!(mails[0].html.as_deref().unwrap().contains("/r/"), "{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_one_past_the_bounds_is_told_in_every_place_and_stored_in_none() {
    run_test(async |t| {
        let editor = t.person(Role::Editor).await;
        let stored = async || -> String {
            let all = sqlx::query_scalar(
                "select concat((select string_agg(r::text, ' ') from rules r), (select string_agg(d::text, ' ') from rule_drafts d))",
            );
            all.fetch_one(t.pool()).await.unwrap()
        };
        let before = stored().await;
        for (_, tried) in at_the_bounds() {
            let template = template(&tried);
            let shown: String = tried.chars().take(60).collect();
            let is_told = |told: &str| {
                let bound = ["more than 20", "more than 300"];
                assert!(bound.iter().any(|b| told.contains(b)), "{shown}: {told}");
            };
            let previewed = preview(t, &template).await;
            assert_eq!(previewed.status, 200, "{shown}");
            let fault = &previewed.json()["faults"][0];
            assert_eq!(fault["field"], "/template/html");
            is_told(fault["detail"].as_str().unwrap());

            let program = t.program(&[Permission::View]).await;
            let wish = json!({ "enabled": true, "settings": settings(&template) });
            let checked = program.send(Method::POST, "/rules/check", &wish).await.json();
            assert_eq!(checked["faults"][0]["field"], "/settings/channels/email/templates/en/html");

            let refused = publish(t, &template).await;
            assert_eq!(refused.status, 422, "{shown}: {}", refused.text);
            let error = &refused.json()["errors"][0];
            assert_eq!(error["field"], "/settings/channels/email/templates/en/html");
            is_told(error["detail"].as_str().unwrap());

            let Err(ControlError::Invalid(faults)) = import(t, &template).await else {
                panic!("{shown} was imported");
            };
            assert_eq!(faults[0].field, "rule 12345678/default, channels.email.templates.en.html");
            is_told(&faults[0].detail);

            let html = template.html.clone().unwrap();
            let form = [
                ("email_t0_language", "en"), ("email_t0_subject", "Hello"), ("email_t0_text", LINKS), ("email_t0_html", &html),
            ];
            let form = [fields("v0-d0", "5", "publish"), form.to_vec()].concat();
            let page = editor.form(RULE, &form).await;
            assert_eq!(page.status, 422, "{shown}");
            assert!(page.text.contains("aria-describedby=\"email_t0_html_fault\""), "{shown}");
            let (_, at_field) = page.text.split_once("id=\"email_t0_html_fault\">").unwrap();
            is_told(at_field.split("</p>").next().unwrap());
        }
        assert_eq!(stored().await, before);
    })
    .await;
}

#[tokio::test]
async fn a_text_that_an_older_version_stored_fails_its_own_reminders_and_nothing_else() {
    run_test(async |t| {
        let deep =
            "{{#if first_name}}a".to_owned() + &"{{else if first_name}}".repeat(1_155) + "{{/if}}";
        for bad in [deep, "{{brand}}".repeat(9_000), "{{> x}}".to_owned()] {
            t.rule_over(&BOTH, |settings| {
                settings.channels[Channel::Email]
                    .templates
                    .insert("en".to_owned(), template(&bad));
            })
            .await;
            let chat = t.answered("ann@example.net");
            let other = t.answered("+12025550143");
            t.tick().await;
            t.advance(10).await;
            assert!(t.mails().is_empty());
            assert_eq!(t.texts().len(), 1, "text messages go on");
            let reminders = t.reminders().await;
            let first = |chat: &str| {
                let of = reminders.iter().find(|r| r.conversation == *chat);
                of.map(|r| (r.state.clone(), r.reason.clone(), r.tries))
            };
            let failed = ("failed".to_owned(), Some("template".to_owned()), 1);
            assert_eq!(first(&chat), Some(failed));
            let state = first(&other).unwrap().0;
            assert!(["sent", "delivered"].contains(&state.as_str()), "{state}");
            t.world().consumer_reads(&chat);
            t.world().consumer_reads(&other);
            t.advance(24 * 60).await;
            t.tick().await;
            let chat = t.answered("bob@example.net");
            t.tick().await;
            t.advance(10).await;
            t.world().consumer_reads(&chat);
            let told = t.program(&ALL).await.get("/overview").await.json();
            let attention = told["attention"].to_string();
            assert!(
                attention.contains("not sent today, because a rule's text cannot be used"),
                "{told}"
            );
            let circuits: i64 = sqlx::query_scalar("select count(*) from circuits")
                .fetch_one(t.pool())
                .await
                .unwrap();
            assert_eq!(circuits, 0, "no sender is paused for a text");
            t.texts();
            t.advance(24 * 60).await;
        }
        // Once it is repaired, reminders go out again.
        t.rule(Channel::Email, |_| ()).await;
        t.answered("carl@example.net");
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn while_people_fill_the_threads_for_texts_probes_and_deliveries_go_on() {
    run_test(async |t| {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Arc::new(std::sync::Mutex::new(held));
        let own = template("<b>Ours</b>");
        t.rule_over(&BOTH, |settings| {
            settings.channels[Channel::Email]
                .templates
                .insert("en".to_owned(), own.clone());
        })
        .await;
        let block = || {
            let held = held.clone();
            t.wording().for_people(move |_: &Engine| {
                let _ = held.lock().unwrap().recv();
            })
        };
        // More than there is room for: those beyond it are refused at once, the others wait.
        let attack = futures_util::future::join_all((0..200).map(|_| block()));
        let beside = async {
            eventually("there is no room", async || {
                preview(t, &own).await.status == 429
            })
            .await;
            let busy = preview(t, &own).await;
            assert_eq!(busy.headers["retry-after"], "5", "{}", busy.text);
            let editor = t.person(Role::Editor).await;
            assert_eq!(editor.get(RULE).await.status, 429);
            assert_eq!(t.get("/healthz").await.0, 200);
            assert_eq!(t.get("/readyz").await.0, 200);
            t.answered("ann@example.net");
            t.answered("+12025550143");
            t.tick().await;
            t.advance(10).await;
            let mails = t.mails();
            assert!(mails[0].html.as_deref().unwrap().contains("<b>Ours</b>"));
            assert_eq!((mails.len(), t.texts().len()), (1, 1));
            drop(release);
        };
        let (attack, ()) = futures_util::future::join(attack, beside).await;
        let refused = attack.iter().filter(|answer| answer.is_err()).count();
        assert!(
            (100..200).contains(&refused),
            "{refused} of 200 were refused"
        );
        assert_eq!(preview(t, &own).await.status, 200);
    })
    .await;
}
