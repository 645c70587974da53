use proptest::prelude::*;

use super::*;
use crate::channel::{optout, sms};
use crate::domain::rule::ChannelSettings;

fn vars() -> Vars {
    Vars::sample()
}

fn render(channel: Channel, template: Option<&Template>, language: &str, vars: &Vars) -> Rendered {
    Engine::new()
        .render(channel, template, Some(language), vars, Reads::ForReminders)
        .unwrap()
}

fn template(subject: &str, text: &str, html: Option<&str>) -> Template {
    Template {
        subject: Some(subject.to_owned()),
        preheader: None,
        text: text.to_owned(),
        html: html.map(str::to_owned),
    }
}

#[test]
fn the_built_in_email_reads_well() {
    let mail = render(Channel::Email, None, "en", &vars());
    assert_eq!(
        mail.subject.as_deref(),
        Some("Sam from Acme replied to you")
    );
    assert_eq!(
        mail.text,
        "Hi Dana,\n\n\
         Sam from Acme sent you a message that you have not read yet.\n\n\
         Read the message:\n\
         https://unread.example.com/r/7Kq2ZxT94mPw8RvB3nYd6L\n\n\
         You get this e-mail because you have an open conversation with Acme. To answer, please use the link above: replies to this e-mail do not reach the conversation.\n\
         Stop these reminders: https://unread.example.com/u/7Kq2ZxT94mPw8RvB3nYd6L\n"
    );
}

#[test]
fn unknown_names_leave_no_holes() {
    let vars = Vars {
        count: 3,
        ..vars().without_names()
    };
    let mail = render(Channel::Email, None, "en", &vars);
    assert_eq!(mail.subject.as_deref(), Some("Acme replied to you"));
    assert!(
        mail.text.starts_with(
            "Hello,\n\nAcme sent you 3 messages that you have not read yet.\n\nRead the messages:\n"
        ),
        "{}",
        mail.text
    );
}

#[tokio::test]
async fn samples_have_links_as_long_as_those_that_are_sent() {
    let sent = link(
        &"https://reminders.shop.example/".parse().unwrap(),
        "r",
        &crate::hashing::token(),
    );
    let texts = Texts::linking_to(&"https://reminders.shop.example".parse().unwrap());
    for sample in [texts.sample().link, texts.sample().unsubscribe_link] {
        assert!(sample.starts_with("https://reminders.shop.example/"));
        assert_eq!(sample.len(), sent.len(), "{sample}");
    }
    // A check counts with them, too.
    let fits = template(
        "",
        &format!("{{{{link}}}}{}", "x".repeat(160 - sent.len())),
        None,
    );
    assert_eq!(texts.check(Channel::Sms, &fits).await.unwrap(), []);
    let paid_twice = template("", &format!("{}x", fits.text), None);
    assert_eq!(
        texts.check(Channel::Sms, &paid_twice).await.unwrap().len(),
        1
    );
}

#[test]
fn the_built_in_sms_is_cheap_in_every_language() {
    let link = "https://reminders.example.com/m/7Kq2ZxT9";
    assert_eq!(link.len(), 40);
    for language in languages() {
        let (segments, encoding) = match language {
            "ja" => (2, sms::Encoding::Ucs2),
            _ => (1, sms::Encoding::Gsm7),
        };
        for count in [1, 12] {
            let vars = Vars {
                link: link.to_owned(),
                brand: "Acme Outdoor".to_owned(),
                count,
                ..vars()
            };
            let text = render(Channel::Sms, None, language, &vars).text;
            let size = sms::measure(&text);
            assert_eq!(
                (size.segments, size.encoding),
                (segments, encoding),
                "{text}"
            );
            assert!(text.contains(link), "{text}");
        }
    }
}

/// Links are as long as the address of the service allows, and brands as long as they like, in whatever script.
#[test]
fn the_built_in_sms_takes_two_segments_at_most() {
    let brands = [
        "Acme",
        "The Amalgamated Consolidated Company of Outdoor Supplies and Sons, Ltd",
        "Żółte Łąki Sp. z o.o.",
        "日本旅行株式会社お客様サポートセンター東京本社第一営業部",
        "LangerNameOhneJedesLeerzeichenDerEinfachNichtAufhörenWillUndWeiterGeht",
        "🏔️ Citroën 🏔️",
    ];
    for language in languages() {
        for brand in brands {
            for count in [1, 2, 5, 22, 1_000] {
                let vars = Vars {
                    link: "https://reminders.longest-shop.example/r/7Kq2ZxT94mPw8RvB3nYd6L"
                        .to_owned(),
                    brand: brand.to_owned(),
                    count,
                    ..vars()
                };
                let text = render(Channel::Sms, None, language, &vars).text;
                let begin: String = brand.chars().take(4).collect();
                let begin = match &*begin {
                    "Żółt" if !text.contains("Żółt") => "Zolt".to_owned(),
                    _ => begin,
                };
                assert!(sms::measure(&text).segments <= 2, "{language}: {text}");
                assert!(text.contains(&begin) && text.contains(&vars.link), "{text}");
            }
        }
    }
}

#[test]
fn the_word_that_a_text_message_asks_for_is_understood() {
    for built_in in BUILT_IN {
        let BuiltInTexts {
            language,
            stop_word,
            sms,
            ..
        } = built_in;
        assert!(sms.contains(stop_word), "{language}: {sms}");
        assert!(optout::is_explained_in(stop_word, language), "{language}");
        let lower = stop_word.to_lowercase();
        for answer in [
            *stop_word,
            &lower,
            &format!("{stop_word}."),
            &format!(" {lower}!"),
        ] {
            assert_eq!(
                optout::meaning(answer),
                optout::Meaning::Stop,
                "{language}: {answer}"
            );
        }
    }
}

/// Nothing is left over: no variable, no blank where a name is missing, no number without its noun.
#[test]
fn the_built_in_texts_read_well_in_every_language() {
    for language in languages() {
        for count in [1, 2, 5, 12] {
            for vars in [vars(), vars().without_names()] {
                let vars = Vars { count, ..vars };
                let mail = render(Channel::Email, None, language, &vars);
                let sms = render(Channel::Sms, None, language, &vars).text;
                let subject = mail.subject.as_deref().unwrap();
                for text in [subject, &mail.text, &sms] {
                    let odd = ["{{", "}}", "  ", " ,", " .", "()", "( ", "Acme.."];
                    assert!(
                        odd.iter().all(|odd| !text.contains(odd)),
                        "{language}: {text}"
                    );
                    assert!(!text.starts_with([' ', ',']), "{language}: {text}");
                }
                let numbered = mail.text.lines().any(|l| l.contains(&count.to_string()));
                assert!(numbered || count == 1, "{language}: {}", mail.text);
                let html = mail.html.unwrap();
                assert!(
                    html.contains(&format!("<html lang=\"{language}\"")),
                    "{language}"
                );
                // The button has words, and so has the link that stops them.
                assert!(
                    !html.contains(">https://unread.example.com/u/"),
                    "{language}: {html}"
                );
                assert_eq!(html.matches("class=\"button\"").count(), 1, "{language}");
            }
        }
    }
}

#[test]
fn every_built_in_text_passes_the_check_for_custom_ones() {
    let texts = Engine::new();
    for built_in in BUILT_IN {
        let BuiltInTexts {
            language,
            subject,
            email,
            sms,
            ..
        } = built_in;
        assert_eq!(
            texts.check(Channel::Email, &template(subject, email, None)),
            []
        );
        let told = texts.check(Channel::Sms, &template("", sms, None));
        let told: Vec<&str> = told.iter().map(|problem| &*problem.what).collect();
        // What is not written in the SMS alphabet has room for 70 characters.
        let expected: &[&str] = match *language {
            "ja" => &["takes 2 SMS, each charged separately"],
            _ => &[],
        };
        assert_eq!(told, expected, "{language}");
    }
}

#[test]
fn a_language_falls_back_to_its_primary_and_then_to_english() {
    for (wanted, subject) in [
        ("de", "Sam von Acme hat Ihnen geantwortet"),
        ("de-AT", "Sam von Acme hat Ihnen geantwortet"),
        ("DE_ch", "Sam von Acme hat Ihnen geantwortet"),
        ("fr-CA", "Sam (Acme) vous a répondu"),
        ("pt", "Sam (Acme) respondeu para você"),
        ("pt-PT", "Sam (Acme) respondeu para você"),
        ("es_MX", "Sam (Acme) le ha respondido"),
        ("cs", "Sam from Acme replied to you"),
        ("", "Sam from Acme replied to you"),
    ] {
        let mail = render(Channel::Email, None, wanted, &vars());
        assert_eq!(mail.subject.as_deref(), Some(subject), "{wanted}");
    }
    let html = render(Channel::Email, None, "de-AT", &vars()).html.unwrap();
    assert!(html.contains("<html lang=\"de\" dir=\"ltr\""));
}

#[test]
fn values_are_escaped_in_html_and_nowhere_else() {
    let vars = Vars {
        brand: "Tom & <b>Jerry</b>".to_owned(),
        first_name: "D'Arcy".to_owned(),
        ..vars()
    };
    let custom = template(
        "{{brand}}",
        "{{first_name}}, {{brand}} {{link}} {{unsubscribe_link}}",
        Some("<p>{{first_name}} {{brand}}</p>{{unsubscribe_link}}"),
    );
    let mail = render(Channel::Email, Some(&custom), "en", &vars);
    assert_eq!(mail.subject.as_deref(), Some("Tom & <b>Jerry</b>"));
    assert!(mail.text.starts_with("D'Arcy, Tom & <b>Jerry</b> https://"));
    let html = mail.html.unwrap();
    assert!(
        html.starts_with("<p>D&#x27;Arcy Tom &amp; &lt;b&gt;Jerry&lt;/b&gt;</p>https://"),
        "{html}"
    );
    let in_layout = render(Channel::Email, None, "en", &vars).html.unwrap();
    assert!(in_layout.contains("Tom &amp; &lt;b&gt;Jerry") && !in_layout.contains("<b>"));
    let sms = render(Channel::Sms, None, "en", &vars).text;
    assert!(sms.starts_with("Tom & <b>Jerry</b>: "), "{sms}");
}

#[test]
fn a_name_that_is_an_advertisement_is_left_out() {
    let vars = Vars {
        first_name: "win at evil.example".to_owned(),
        ..vars()
    };
    assert!(
        render(Channel::Email, None, "en", &vars)
            .text
            .starts_with("Hello,")
    );
}

#[test]
fn the_layout_says_what_the_text_says() {
    let html = render(Channel::Email, None, "en", &vars()).html.unwrap();
    for part in [
        "<title>Sam from Acme replied to you</title>",
        ">Hi Dana,</p>",
        ">Sam from Acme sent you a message that you have not read yet.</p>",
        "Read the message<!--",
        ">Stop these reminders</a>",
    ] {
        assert!(html.contains(part), "{part} is missing in {html}");
    }
    assert_eq!(
        html.matches("href=\"https://unread.example.com/r/7Kq2ZxT94mPw8RvB3nYd6L\"")
            .count(),
        2
    );
    assert_eq!(
        html.matches("href=\"https://unread.example.com/u/7Kq2ZxT94mPw8RvB3nYd6L\"")
            .count(),
        1
    );
    assert_eq!(html.matches("href=").count(), 3, "nothing else is linked");
    assert!(!html.contains("<img"), "no tracking");
}

#[test]
fn a_custom_text_gets_the_layout_with_its_own_words() {
    let text = "Olá!\n\nTemos uma resposta.\nVeja aqui {{link}} agora\nLer:\n{{link}}\n\nhttps://elsewhere.example\n\nSair em {{unsubscribe_link}} quando quiser\n\nAcme";
    let html = render(
        Channel::Email,
        Some(&template("s", text, None)),
        "pt-BR",
        &vars(),
    )
    .html
    .unwrap();
    assert!(html.contains("<html lang=\"pt-BR\""));
    assert!(
        html.contains("Temos uma resposta.<br>Veja aqui <a href"),
        "{html}"
    );
    assert!(html.contains("Ler<!--"), "{html}");
    assert!(html.contains("Sair em <a href"), "{html}");
    assert!(!html.contains("href=\"https://elsewhere"), "{html}");
}

/// The HTML says in which language its words are, whoever reads them: screen readers pronounce by it, and mail programs align by it.
#[test]
fn the_html_is_in_the_language_of_the_text_that_was_chosen() {
    let cases: [(&[&str], &str, &str, &str); 21] = [
        // The brand's texts, the reader's language, and what the HTML says.
        (&["en"], "he-IL", "en", "ltr"),
        (&["en"], "ar", "en", "ltr"),
        (&["en"], "cs", "en", "ltr"),
        // A built-in text is better than one in a language that the reader may not know.
        (&["en"], "de-AT", "de", "ltr"),
        (&["en", "he"], "he-IL", "he", "rtl"),
        (&["en", "he"], "iw_IL", "he", "rtl"),
        (&["en", "he-IL"], "he_IL", "he-IL", "rtl"),
        (&["ar", "en"], "ar-EG", "ar", "rtl"),
        (&["ar", "en"], "AR", "ar", "rtl"),
        (&["AR-EG", "en"], "ar-eg", "AR-EG", "rtl"),
        (&["fa", "en"], "fa-AF", "fa", "rtl"),
        (&["ur", "en"], "ur-PK", "ur", "rtl"),
        (&["ur-Latn", "en"], "ur-Latn-PK", "ur-Latn", "ltr"),
        (&["az-Arab", "en"], "az-Arab-IR", "az-Arab", "rtl"),
        (&["pt", "pt-BR", "en"], "pt-BR", "pt-BR", "ltr"),
        (&["pt", "pt-BR", "en"], "pt-PT", "pt", "ltr"),
        (&["pt-BR", "en"], "pt-PT", "pt-BR", "ltr"),
        (&["zh-Hant", "en"], "zh-Hant-TW", "zh-Hant", "ltr"),
        // The built-in texts, where none of the brand's is near.
        (&["he"], "de-AT", "de", "ltr"),
        (&["he"], "ar", "en", "ltr"),
        (&[], "fa-IR", "en", "ltr"),
    ];
    for (own, reader, language, direction) in cases {
        let text = template(
            "Hi",
            "Read it: {{link}}\n\nStop: {{unsubscribe_link}}",
            None,
        );
        let settings = ChannelSettings {
            templates: own
                .iter()
                .map(|tag| ((*tag).to_owned(), text.clone()))
                .collect(),
            ..ChannelSettings::default_for(Channel::Email)
        };
        let (tag, template) = own_text(&settings, Some(reader)).unzip();
        let html = render(Channel::Email, template, tag.unwrap_or(reader), &vars()).html;
        let expected = format!("<html lang=\"{language}\" dir=\"{direction}\"");
        assert!(html.unwrap().contains(&expected), "{own:?} for {reader}");
    }
}

fn error_of(channel: Channel, template: &Template) -> TemplateError {
    Engine::new()
        .render(channel, Some(template), None, &vars(), Reads::ForPeople)
        .err()
        .expect("an error")
}

#[test]
fn a_template_that_could_do_more_than_fill_in_is_refused() {
    for (text, word) in [
        ("{{#each this}}{{this}}{{/each}}", "each"),
        ("{{#*inline \"a\"}}{{> a}}{{/inline}}{{> a}}", "partials"),
        ("{{> x}}", "partials"),
        ("{{{first_name}}}", "unescaped"),
        ("{{&first_name}}", "unescaped"),
        ("{{lookup this \"link\"}}", "more than one word"),
        ("{{log first_name}}", "more than one word"),
        ("{{#if (eq count 1)}}x{{/if}}", "not a plain variable"),
        ("{{#if}}x{{/if}}", "exactly one"),
        ("{{../link}}", "not a plain variable"),
        ("{{@root.link}}", "not a plain variable"),
        ("{{this}}", "not a plain variable"),
        ("{{fist_name}}", "{{fist_name}}"),
        // Also where the sample data does not lead.
        ("{{#if first_name}}x{{else}}{{nmae}}{{/if}}", "{{nmae}}"),
        ("{{#if frist_name}}x{{/if}}", "{{frist_name}}"),
        ("{{#if agent}}x", "not closed"),
        ("{{link", "without }}"),
        ("", "empty"),
        ("{{#if first_name}}{{/if}}", "empty"),
    ] {
        let error = error_of(Channel::Sms, &template("", text, None));
        assert_eq!(error.field, Field::Text);
        assert!(error.what.contains(word), "{text}: {error}");
        assert!(!error.fix.is_empty());
    }
}

#[test]
fn an_email_needs_a_subject() {
    let error = error_of(
        Channel::Email,
        &Template {
            subject: None,
            ..template("", "{{link}}", None)
        },
    );
    assert_eq!(error.field, Field::Subject);
    let only_a_name = template("{{first_name}}", "{{link}} {{unsubscribe_link}}", None);
    let problems = Engine::new().check(Channel::Email, &only_a_name);
    assert_eq!(
        (problems[0].severity, problems[0].field),
        (Severity::Error, Field::Subject)
    );
}

#[test]
fn a_check_warns_of_what_would_surprise() {
    let texts = Engine::new();
    let warnings = |channel, template: &Template| -> Vec<(Field, String)> {
        let problems = texts.check(channel, template);
        assert!(
            problems.iter().all(|p| p.severity == Severity::Warning),
            "{problems:?}"
        );
        problems.into_iter().map(|p| (p.field, p.what)).collect()
    };
    let sms = |text: &str| warnings(Channel::Sms, &template("", text, None));
    assert_eq!(sms("Read {{link}}"), []);
    // Without the word in its link, an SMS of unknown fate could not be found again at the provider.
    let lost = texts.check(Channel::Sms, &template("", "Read it", None));
    assert_eq!(lost[0].severity, Severity::Error);
    assert!(lost[0].what.contains("{{link}}"));
    assert!(
        sms(&("x".repeat(150) + "{{link}}"))[0]
            .1
            .contains("takes 2 SMS")
    );
    assert!(sms(&("it’s ".repeat(20) + "{{link}}"))[0].1.contains('’'));
    let mail = warnings(
        Channel::Email,
        &template("s", "{{link}}", Some("<p>{{agent}}</p>")),
    );
    assert_eq!(mail.len(), 1, "the link that stops them is added: {mail:?}");
    assert_eq!(mail[0].0, Field::Html);
}

#[test]
fn every_variable_can_be_used() {
    let names: Vec<&str> = VARIABLES.iter().map(|v| v.name).collect();
    let all = format!("{{{{{}}}}}|", names.join("}}|{{"));
    let text = render(Channel::Sms, Some(&template("", &all, None)), "en", &vars()).text;
    assert_eq!(
        text,
        "https://unread.example.com/r/7Kq2ZxT94mPw8RvB3nYd6L|Dana|Acme|Sam|Support|1|false|10|https://unread.example.com/u/7Kq2ZxT94mPw8RvB3nYd6L|sms|"
    );
}

proptest! {
    #[test]
    fn fuzz_templates(source in "(?s)(\\{\\{[#/~^]?(if|else|link|each|>)? ?(link|first_name|\\(|\\))?\\}\\}|.){0,12}", name in any::<String>()) {
        let texts = Engine::new();
        let custom = template(&source, &source, Some(&source));
        let vars = Vars { first_name: name.clone(), brand: name.clone(), agent: name.clone(), ..vars() };
        for channel in Channel::ALL {
            let _ = texts.render(channel, Some(&custom), Some(&name), &vars, Reads::ForReminders);
            prop_assert!(texts.render(channel, None, Some(&name), &vars, Reads::ForReminders).is_ok());
            let _ = texts.check(channel, &custom);
        }
    }
}

#[tokio::test]
async fn a_text_is_read_once_for_all_reminders_and_people_displace_none() {
    let texts = Texts::new();
    let own = template("{{brand}}", "{{link}}", Some("<p>{{link}}</p>"));
    let kept = || texts.engine.kept();
    for _ in 0..3 {
        assert!(texts.check(Channel::Email, &own).await.unwrap().len() < 3);
    }
    assert_eq!(kept(), 0);
    for language in ["en", "de", "en"] {
        let (own, language) = (Some(&own), Some(language));
        let rendered = texts.render(Channel::Email, own, language, vars()).await;
        assert_eq!(rendered.unwrap().subject.as_deref(), Some("Acme"));
        assert_eq!(kept(), 3, "subject, text and HTML");
    }
    let changed = template("{{brand}}", "{{link}}!", Some("<p>{{link}}</p>"));
    let rendered = texts.render(Channel::Email, Some(&changed), None, vars());
    let text = rendered.await.unwrap().text;
    let (own, added) = text.split_once("!\n\n").unwrap();
    assert!(own.starts_with("https://") && added.starts_with("Stop these reminders: "));
    assert_eq!(kept(), 4, "only what changed is read anew");
}

#[tokio::test]
async fn reminders_are_written_while_people_fill_their_threads() {
    let texts = Arc::new(Texts::new());
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let mut waiting = Vec::new();
    for _ in 0..FOR_PEOPLE + PEOPLE_WAITING {
        let (texts, held) = (texts.clone(), held.clone());
        waiting.push(tokio::spawn(async move {
            let block = move |_: &Engine| held.lock().unwrap().recv().is_ok();
            texts.for_people(block).await
        }));
    }
    let own = template("{{brand}}", "{{link}}", None);
    // Until all of them have asked, a check may still wait behind them.
    while !waiting.iter().all(tokio::task::JoinHandle::is_finished) {
        tokio::task::yield_now().await;
        if texts.people.is_full() {
            break;
        }
    }
    assert_eq!(texts.check(Channel::Sms, &own).await, Err(Unanswered::Busy));
    let rendered = texts.render(Channel::Email, Some(&own), None, vars()).await;
    assert_eq!(rendered.unwrap().subject.as_deref(), Some("Acme"));
    drop(release);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Ok(false));
    }
    assert!(texts.check(Channel::Sms, &own).await.is_ok());
}
