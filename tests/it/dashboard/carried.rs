//! How pages come: compressed where that tells nothing, and from where they are by now.

use reqwest::Method;
use unread::domain::access::Role;

use crate::chromium::Browser;
use crate::harness::run_test;
use crate::person::Person;

async fn encoding(
    person: &Person,
    method: Method,
    path: &str,
    form: &[(&str, &str)],
) -> Option<String> {
    let asked = person.ask(method, path).header("accept-encoding", "gzip");
    let asked = if form.is_empty() {
        asked
    } else {
        asked.form(form)
    };
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let encoding = answer.headers().get("content-encoding");
    encoding.map(|encoding| encoding.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_was_only_asked_for_is_compressed_and_what_answers_a_form_is_not() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        let page = ann.get("/").await;
        let (_, style) = page.text.split_once("rel=\"stylesheet\" href=\"").unwrap();
        let style = style.split('"').next().unwrap();
        for path in ["/", "/rules", "/find", style] {
            let found = encoding(&ann, Method::GET, path, &[]).await;
            assert_eq!(found.as_deref(), Some("gzip"), "{path}");
        }
        let (_, font) = page
            .text
            .split_once("as=\"font\" type=\"font/woff2\" href=\"")
            .unwrap();
        let font = font.split('"').next().unwrap();
        for path in ["/api/v1/overview", font] {
            assert_eq!(encoding(&ann, Method::GET, path, &[]).await, None, "{path}");
        }
        // A new token is told once.
        let csrf = ann.csrf().await;
        let form = [
            ("csrf", csrf.as_str()),
            ("name", "export"),
            ("scope", "view"),
            ("days", "30"),
        ];
        assert_eq!(encoding(&ann, Method::POST, "/tokens", &form).await, None);
        let plain = ann.ask(Method::GET, "/").send().await.unwrap();
        assert_eq!(
            plain.headers().get("content-encoding"),
            None,
            "nobody asked for it"
        );
    })
    .await;
}

#[tokio::test]
async fn the_word_of_a_session_s_forms_is_another_text_on_every_page() {
    run_test(async |t| {
        let ann = t.person(Role::Editor).await;
        let (one, other) = (ann.csrf().await, ann.csrf().await);
        assert_ne!(one, other);
        for word in [&one, &other] {
            let asked = ann
                .ask(Method::POST, "/find")
                .form(&[("csrf", word.as_str()), ("who", "rules")]);
            let answer = asked.send().await.unwrap();
            assert_eq!(answer.headers()["location"], "/rules");
        }
        let asked = ann
            .ask(Method::POST, "/find")
            .form(&[("csrf", "AAAA"), ("who", "rules")]);
        assert_eq!(asked.send().await.unwrap().status(), 403);
    })
    .await;
}

#[tokio::test]
async fn addresses_of_earlier_lead_to_where_the_pages_are() {
    run_test(async |t| {
        let ann = t.person(Role::Administrator).await;
        for (from, to) in [
            ("/people", "/customers"),
            ("/suppressions?channel=sms", "/opt-outs?channel=sms"),
            ("/channels", "/connections"),
            ("/effect?days=30", "/results?days=30"),
            ("/users", "/team"),
            ("/audit?by=ann", "/activity?by=ann"),
            ("/forecast", "/reminders"),
        ] {
            let answer = ann.get(from).await;
            assert_eq!(
                (answer.status.as_u16(), answer.location()),
                (308, to),
                "{from}"
            );
            assert_eq!(ann.get(to).await.status, 200, "{to}");
        }
        for (from, to) in [
            ("/reminders?state=sent", "/reminders/sent?state=sent"),
            (
                "/reminders?state=failed&channel=sms",
                "/reminders/not-sent?state=failed&channel=sms",
            ),
        ] {
            let answer = ann.get(from).await;
            assert_eq!((answer.status.as_u16(), answer.location()), (303, to));
        }
    })
    .await;
}

#[tokio::test]
async fn one_field_finds_pages_rules_reminders_and_customers_but_no_addresses_for_who_may_not_see_them()
 {
    const ANN: &str = "ann@example.net";
    run_test(async |t| {
        let chat = t.answered(ANN);
        t.tick().await;
        let id = t.reminders().await[0].id.to_string();
        let boss = t.person(Role::Administrator).await;
        for (asked, leads) in [
            ("Connections", "/connections".to_owned()),
            ("opt-outs", "/opt-outs".to_owned()),
            ("all other skills", "/rules/12345678/default".to_owned()),
            (id.as_str(), format!("/reminders/{id}")),
        ] {
            let found = boss.form("/find", &[("who", asked)]).await;
            assert_eq!(found.location(), leads, "{asked}");
        }
        for asked in [ANN, &chat] {
            let found = boss.form("/find", &[("who", asked)]).await;
            assert!(
                found.text.contains("id=\"conversations\""),
                "{asked}: {}",
                found.text
            );
        }
        let nobody = boss.form("/find", &[("who", "nobody@example.net")]).await;
        assert!(nobody.text.contains("No match"), "{}", nobody.text);
        // The same by the address that a row of the decisions leads to.
        let page = boss.get(&format!("/customers/12345678/{chat}")).await;
        assert!(page.text.contains("id=\"conversations\""), "{}", page.text);
        assert_eq!(
            boss.get(&format!("/customers/nobodys/{chat}")).await.status,
            404
        );

        let viewer = t.person(Role::Viewer).await;
        assert_eq!(viewer.form("/find", &[("who", ANN)]).await.status, 403);
        assert_eq!(
            viewer.form("/find", &[("who", "12025550143")]).await.status,
            403
        );
        assert_eq!(viewer.form("/find", &[("who", &chat)]).await.status, 200);
    })
    .await;
}

/// Where the browser is.
async fn address(b: &Browser) -> String {
    b.run("return location.href")
        .await
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_list_comes_back_with_its_filter_and_an_address_is_found_without_standing_in_a_url() {
    const ANN: &str = "ann@example.net";
    let Some(browser) = Browser::start().await else {
        return;
    };
    run_test(async |t| {
        let b = &browser;
        t.answered(ANN);
        t.tick().await;
        t.advance(10).await;
        assert_eq!(t.mails().len(), 1);
        let person = t.person(Role::Administrator).await;
        b.open(&format!("{}/healthz", t.web)).await;
        b.take_cookie(&person.cookie).await;
        b.open(&format!("{}/reminders/sent", t.web)).await;
        b.choose("Channel", "E-mail").await;
        // Its address stands above what a page says.
        b.sees("channel=email").await;
        b.follow("Customer ").await;
        b.sees("What happened").await;
        b.follow("Back to reminders").await;
        b.arrives_at("/reminders/sent").await;
        assert!(address(b).await.contains("channel=email"), "{}", address(b).await);

        b.run("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'k', ctrlKey: true, bubbles: true }))")
            .await;
        b.sees("Press Enter to look up a customer.").await;
        b.write("E-mail address, phone number, ID", ANN).await;
        b.press("Find").await;
        b.sees("What you can do").await;
        assert!(!address(b).await.contains("ann"), "{}", address(b).await);
    })
    .await;
}
