//! The rules' pages, as a person's browser sees them.

use reqwest::Method;
use serde_json::{Value, json};
use unread::domain::access::{Permission, Role};
use unread::sandbox::world::CUSTOMER_CARE;

use crate::harness::{TestApp, run_test};
use crate::person::{Answer, Person};
use crate::rules::test_messages::code_in;

pub fn path() -> String {
    format!("/rules/12345678/{CUSTOMER_CARE}")
}

/// The value of a hidden field of a page.
pub fn hidden(page: &str, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Fields as the page has them, with one step by e-mail after so many minutes, without those of SMS.
pub fn fields<'a>(seen: &'a str, minutes: &'a str, wish: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("seen", seen),
        ("enabled", "on"),
        ("step_id", "0"),
        ("step_channel", "email"),
        ("step", minutes),
        ("step_unit", "minutes"),
        ("step_when", "always"),
        ("debounce_minutes", "2"),
        ("in_quiet_hours", "move"),
        ("time_zone", "UTC"),
        ("caps.gap_minutes", "120"),
        ("caps.per_conversation_24h", "2"),
        ("caps.per_consumer_24h", "3"),
        ("channel", "email"),
        ("channels.email.max_age_minutes", "360"),
        ("channels.email.per_address_24h", "4"),
        ("test_channel", "email"),
        ("test_to", "me@example.net"),
        ("do", wish),
    ]
}

async fn people(t: &TestApp) -> (Person, Person) {
    (t.person(Role::Editor).await, t.person(Role::Editor).await)
}

#[tokio::test]
async fn every_page_of_the_rules_is_shown_to_a_viewer_who_may_change_nothing() {
    run_test(async |t| {
        let viewer = t.person(Role::Viewer).await;
        let history = format!("{}/history", path());
        for page in [
            "/rules",
            "/setup",
            "/reminders",
            "/reminders?account=12345678",
            "/reminders/decisions",
            &path(),
            &history,
        ] {
            let shown = viewer.get(page).await;
            assert_eq!(shown.status, 200, "{page}: {}", shown.text);
        }
        let editor = viewer.get(&path()).await.text;
        assert!(editor.contains("<fieldset disabled>") && !editor.contains("value=\"publish\""));
        let refused = viewer.form(&path(), &fields("v0-d0", "5", "publish")).await;
        assert_eq!(refused.status, 403);
        let nothing = viewer.get("/rules/12345678/sales").await;
        assert_eq!(nothing.status, 404);
    })
    .await;
}

#[tokio::test]
async fn a_rule_is_published_from_its_page_and_reminders_go_by_it() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        let seen = hidden(&ann.get(&path()).await.text, "seen");
        let done = ann.form(&path(), &fields(&seen, "3", "publish")).await;
        assert_eq!(
            (done.status.as_u16(), done.location()),
            (303, path().as_str()),
            "{}",
            done.text
        );
        let shown = ann.get(&path()).await.text;
        assert!(
            shown.contains("Version 1 is live") && shown.contains("after 3 minutes"),
            "{shown}"
        );
        t.answered("dana@example.net");
        t.tick().await;
        t.advance(3).await;
        assert_eq!(t.mails().len(), 1);
        let history = ann.get(&format!("{}/history", path())).await.text;
        assert!(
            history.contains("Version 1") && history.contains(&ann.name),
            "{history}"
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_people_on_one_page_the_second_sees_both_versions_and_loses_nothing() {
    run_test(async |t| {
        let (ann, ben) = people(t).await;
        let seen = hidden(&ann.get(&path()).await.text, "seen");
        ann.form(&path(), &fields(&seen, "15", "save")).await;
        let told = ben.form(&path(), &fields(&seen, "30", "save")).await;
        assert_eq!(told.status, 409);
        let page = &told.text;
        assert!(
            page.contains("Someone else published a newer version") && page.contains(&ann.name),
            "{page}"
        );
        assert!(
            page.contains("E-mail 15 min") && page.contains("E-mail 30 min"),
            "{page}"
        );
        // His form still says what he wrote, and now knows what it would be put over; what she wrote is what is stored.
        assert!(
            page.contains("name=\"step\" inputmode=\"numeric\" value=\"30\""),
            "{page}"
        );
        let stored = ann.get(&path()).await.text;
        assert!(
            stored.contains("name=\"step\" inputmode=\"numeric\" value=\"15\""),
            "{stored}"
        );
        let seen = hidden(page, "seen");
        let done = ben.form(&path(), &fields(&seen, "30", "save")).await;
        assert_eq!(done.status, 303, "{}", done.text);
    })
    .await;
}

#[tokio::test]
async fn of_a_person_and_a_program_that_publish_one_rule_at_once_one_does_and_the_other_is_told() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        let program = t.program(&[Permission::View, Permission::Edit]).await;
        let rule = format!("/rules/12345678/{CUSTOMER_CARE}");
        let send = async |method: Method, path: String, seen: &str, body: Option<&Value>| {
            let ask = program.ask(method, &path).header("if-match", seen);
            let ask = match body {
                Some(body) => ask.json(body),
                None => ask,
            };
            Answer::of(ask.send().await.unwrap()).await
        };
        let mut published = 0;
        for round in 1..=6 {
            // Not the same every time, or there would be nothing to publish.
            let (by_page, by_program) = ((10 + round).to_string(), 100 + round);
            let draft =
                json!({ "enabled": true, "settings": { "steps": [{ "channel": "email", "after_minutes": by_program }] } });
            let etag = program.get(&rule).await.headers["etag"].clone();
            let path_of_draft = format!("{rule}/draft");
            let saved = send(
                Method::PUT,
                path_of_draft,
                etag.to_str().unwrap(),
                Some(&draft),
            )
            .await;
            assert_eq!(saved.status, 200, "{}", saved.text);
            let etag = saved.headers["etag"].to_str().unwrap().to_owned();
            let seen = hidden(&ann.get(&path()).await.text, "seen");
            let fields = fields(&seen, &by_page, "publish");
            let editor = path();
            let (page, api) = tokio::join!(
                ann.form(&editor, &fields),
                send(Method::POST, format!("{rule}/publish"), &etag, None)
            );
            let told = (page.status.as_u16(), api.status.as_u16());
            let there = program.get(&rule).await.json();
            let after = &there["published"]["settings"]["steps"][0]["after_minutes"];
            match told {
                (303, 412) => assert_eq!(after, 10 + round),
                (409, 200) => {
                    assert_eq!(after, by_program);
                    assert!(
                        page.text.contains(&format!("value=\"{by_page}\"")),
                        "{}",
                        page.text
                    );
                }
                _ => panic!("both or neither: {told:?} {page:?} {api:?}"),
            }
            published += 1;
            assert_eq!(there["published"]["version"], published);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_told_and_what_was_written_stays() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        let told = ann.form(&path(), &fields("v0-d0", "soon", "save")).await;
        assert_eq!(told.status, 422);
        assert!(
            told.text.contains("Not saved") && told.text.contains("value=\"soon\""),
            "{}",
            told.text
        );
        let mut written = fields("v0-d0", "5", "save");
        written.extend([
            ("email_t0_language", "en"),
            ("email_t0_subject", "Hi"),
            ("email_t0_text", "<b>{{nobody}}"),
        ]);
        let told = ann.form(&path(), &written).await;
        assert_eq!(told.status, 422);
        assert!(
            told.text.contains("unknown variable") && told.text.contains("&lt;b&gt;"),
            "{}",
            told.text
        );
    })
    .await;
}

#[tokio::test]
async fn languages_come_and_go_without_a_script() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        let page = ann.get(&path()).await.text;
        assert!(page.contains("name=\"email_t0_standard\""), "{page}");
        assert!(
            page.contains("{{#if first_name}}Hi {{first_name}},"),
            "{page}"
        );
        let seen = hidden(&page, "seen");
        let mut written = fields(&seen, "5", "text_add_email");
        written.extend([
            ("email_add", "de"),
            ("email_t0_language", "en"),
            ("email_t0_subject", "Ours"),
            ("email_t0_text", "Ours: {{link}}"),
        ]);
        let page = ann.form(&path(), &written).await;
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.contains("Guten Tag") && page.text.contains("Ours: {{link}}"));
        // What was written is stored, and the German text stays the standard one.
        written.retain(|(name, _)| *name != "do");
        written.push(("do", "publish"));
        written.extend([("email_t1_language", "de"), ("email_t1_standard", "on")]);
        let german = ann
            .get("/api/v1/texts/built-in?channel=email&language=de")
            .await
            .json();
        let part = |name: &str| german[name].as_str().unwrap().to_owned();
        let (subject, text) = (part("subject"), part("text"));
        written.extend([
            ("email_t1_subject", subject.as_str()),
            ("email_t1_text", text.as_str()),
        ]);
        let done = ann.form(&path(), &written).await;
        assert_eq!(done.status, 303, "{}", done.text);
        let rule = format!("/api/v1/rules/12345678/{CUSTOMER_CARE}");
        let stored = ann.get(&rule).await.json();
        let templates = &stored["published"]["settings"]["channels"]["email"]["templates"];
        assert_eq!(templates["en"]["text"], "Ours: {{link}}");
        assert!(templates.get("de").is_none(), "{templates}");
    })
    .await;
}

#[tokio::test]
async fn the_page_says_what_the_form_means_sends_a_test_and_asks_what_it_would_do() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        t.answered("dana@example.net");
        let look = ann
            .form(&format!("{}/look", path()), &fields("v0-d0", "45", ""))
            .await;
        assert_eq!(look.status, 200);
        assert!(
            look.text.contains("after 45 minutes") && !look.text.contains("<html"),
            "{}",
            look.text
        );
        let mut shown = fields("v0-d0", "45", "");
        shown.push(("show", "email/de"));
        let mail = ann.form(&format!("{}/preview", path()), &shown).await;
        assert_eq!(mail.headers["x-frame-options"], "SAMEORIGIN");
        assert!(
            mail.headers["content-security-policy"]
                .to_str()
                .unwrap()
                .contains("sandbox")
        );
        assert!(mail.text.contains("<html"), "{}", mail.text);
        let tested = ann.form(&path(), &fields("v0-d0", "45", "test")).await;
        assert!(
            tested.text.contains("Sent, with a six-digit code"),
            "{}",
            tested.text
        );
        let mails = t.mails();
        assert_eq!(mails.len(), 1);
        let code = code_in(&mails[0]);
        let wrong = if code == "000000" { "000001" } else { "000000" };
        for (entered, status, said) in [
            ("12345", 422, "That must be the six digits"),
            (wrong, 422, "That is not the latest code; 4 attempts left"),
            (code.as_str(), 200, "Code confirmed"),
            (code.as_str(), 409, "no valid code for this address"),
        ] {
            let mut form = fields("v0-d0", "45", "verify");
            form.push(("test_code", entered));
            let answer = ann.form(&path(), &form).await;
            assert_eq!(answer.status, status, "{}", answer.text);
            assert!(answer.text.contains(said), "{entered}: {}", answer.text);
            // What was written stays, and so does the place for the code until it is right.
            assert!(answer.text.contains("value=\"45\""), "{}", answer.text);
            assert_eq!(answer.text.contains("name=\"test_code\""), status == 422);
        }
        let tested = ann.form(&path(), &fields("v0-d0", "45", "test")).await;
        assert!(!tested.text.contains("with a code"), "{}", tested.text);
        assert!(t.mails()[0].subject().contains("replied to you"));
        let effect = ann.form(&path(), &fields("v0-d0", "90", "effect")).await;
        assert!(
            effect.text.contains("What it would do now"),
            "{}",
            effect.text
        );
        assert!(!effect.text.contains("dana@example.net"));
    })
    .await;
}

#[tokio::test]
async fn everything_is_paused_and_resumed_from_the_page() {
    run_test(async |t| {
        let (ann, _) = people(t).await;
        let done = ann
            .form(
                "/pauses",
                &[
                    ("what", "everything"),
                    ("do", "pause"),
                    ("note", "moving house"),
                ],
            )
            .await;
        assert_eq!(done.status, 303, "{}", done.text);
        for page in ["/", "/rules", "/activity", "/settings", "/reminders/sent"] {
            let page = ann.get(page).await.text;
            assert!(
                page.contains("All sending is paused")
                    && page.contains("moving house")
                    && page.contains("Resume"),
                "{page}"
            );
        }
        ann.form("/pauses", &[("what", "everything"), ("do", "resume")])
            .await;
        let page = ann.get("/rules").await.text;
        assert!(!page.contains("moving house"), "{page}");
        let api: Value = Answer::of(ann.ask(Method::GET, "/api/v1/pauses").send().await.unwrap())
            .await
            .json();
        assert_eq!(api["items"], serde_json::json!([]));
    })
    .await;
}

/// What the bar tells, and the lists.
#[tokio::test]
async fn a_pause_is_told_on_every_page_and_by_every_reminder_that_it_holds() {
    run_test(async |t| {
        let boss = t.person(Role::Administrator).await;
        let chat = t.answered("ann@example.net");
        t.tick().await;
        let told = async |page: &str| boss.get(page).await.text;
        let story = format!("/reminders/{}", t.reminders().await[0].id);
        for page in ["/reminders", "/", &story] {
            assert!(told(page).await.contains(">Scheduled</span>"), "{page}");
        }
        let rule = [
            ("what", "12345678/default"),
            ("do", "pause"),
            ("note", "new <words>"),
        ];
        boss.form("/pauses", &rule).await;
        for page in ["/reminders", "/", &story] {
            let page = told(page).await;
            assert!(
                page.contains("On hold: paused") && !page.contains(">Scheduled</span>"),
                "{page}"
            );
            assert!(
                page.contains("The rule for all other skills of The Example Shop is paused"),
                "{page}"
            );
            assert!(page.contains("new &lt;words&gt;"), "{page}");
        }
        let person = boss.form("/customers", &[("who", &chat)]).await.text;
        assert!(
            person.contains("Your team has paused reminders."),
            "{person}"
        );
        assert!(!person.contains("A reminder is scheduled."), "{person}");

        // Who may not resume sees what is paused, and no button.
        let viewer = t.person(Role::Viewer).await;
        let page = viewer.get("/results").await.text;
        assert!(
            page.contains("is paused") && !page.contains("Resume"),
            "{page}"
        );

        // Back to where the button was.
        let end = [
            ("what", "12345678/default"),
            ("do", "resume"),
            ("back", "/reminders?account=12345678"),
        ];
        assert_eq!(
            boss.form("/pauses", &end).await.location(),
            "/reminders?account=12345678"
        );
        assert!(told(&story).await.contains(">Scheduled</span>"));
        let away = [
            ("what", "everything"),
            ("do", "pause"),
            ("back", "//evil.example/"),
        ];
        assert_eq!(boss.form("/pauses", &away).await.location(), "/");
    })
    .await;
}
