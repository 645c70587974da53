use serde_json::{Value, json};

use super::*;

/// What a browser sends for the rows of a channel's texts, and for one of the buttons.
fn sent(texts: &Value, wish: &str) -> FormFields {
    let mut pairs = vec![("do".to_owned(), wish.to_owned())];
    for row in texts["rows"].as_array().unwrap() {
        let name = |part: &str| format!("{}_{part}", text(&row["row"]));
        pairs.push((name("language"), text(&row["language"])));
        if row["standard"] == true {
            pairs.push((name("standard"), "on".to_owned()));
        }
        for part in ["subject", "preheader", "text", "html"] {
            pairs.push((name(part), text(&row[part]["value"])));
        }
    }
    FormFields(pairs)
}

fn set(fields: &mut FormFields, name: &str, value: &str) {
    fields.0.retain(|(own, _)| own != name);
    fields.0.push((name.to_owned(), value.to_owned()));
}

/// The page after the button: what it stores, and what it shows.
fn press(channel: Channel, fields: &FormFields) -> (Value, Value) {
    let stored = written(channel, fields);
    let own = json!({ "templates": stored });
    (stored, shown(channel, &own, &OpenLanguages::of(fields)))
}

fn languages(texts: &Value) -> Vec<String> {
    let rows = texts["rows"].as_array().unwrap().iter();
    rows.map(|row| text(&row["language"])).collect()
}

#[test]
fn the_standard_text_stands_in_the_fields_and_is_not_stored_until_it_is_changed() {
    for channel in Channel::ALL {
        let texts = shown(channel, &json!({}), &OpenLanguages::default());
        assert_eq!(languages(&texts), ["en"]);
        let row = &texts["rows"][0];
        assert_eq!(row["standard"], true);
        assert!(text(&row["text"]["value"]).contains("{{link}}"));
        assert!(!row["text"]["pieces"].is_null(), "no code");
        let mut fields = sent(&texts, "save");
        assert_eq!(written(channel, &fields), json!({}));
        // As a browser sends line ends.
        let same = text(&row["text"]["value"]).replace('\n', "\r\n");
        set(&mut fields, &format!("{channel}_t0_text"), &same);
        assert_eq!(written(channel, &fields), json!({}));
        set(
            &mut fields,
            &format!("{channel}_t0_text"),
            "Come back: {{link}}",
        );
        assert_eq!(
            written(channel, &fields)["en"]["text"],
            "Come back: {{link}}"
        );
    }
    let texts = shown(Channel::Email, &json!({}), &OpenLanguages::default());
    let mut fields = sent(&texts, "save");
    set(&mut fields, "email_t0_preheader", "An agent answered");
    let stored = written(Channel::Email, &fields);
    assert_eq!(stored["en"]["preheader"], "An agent answered");
}

#[test]
fn languages_come_go_and_begin_with_another_text() {
    let channel = Channel::Email;
    let texts = shown(channel, &json!({}), &OpenLanguages::default());
    // One with a standard text: nothing is stored, and its tab is there.
    let mut fields = sent(&texts, "text_add_email");
    set(&mut fields, "email_add", "de");
    let (stored, texts) = press(channel, &fields);
    assert_eq!(
        (stored, languages(&texts)),
        (json!({}), vec!["en".to_owned(), "de".to_owned()])
    );
    assert_eq!(texts["rows"][1]["chosen"], true);
    assert!(text(&texts["rows"][1]["text"]["value"]).starts_with("Guten Tag"));
    assert!(
        !texts["offered"]
            .as_array()
            .unwrap()
            .iter()
            .any(|offer| offer["tag"] == "de")
    );
    // One without: it begins with the English text.
    let mut fields = sent(&texts, "text_add_email");
    set(&mut fields, "email_add", "cs");
    set(&mut fields, "email_t0_text", "Ours: {{link}}");
    let (stored, texts) = press(channel, &fields);
    assert_eq!(languages(&texts), ["en", "cs", "de"]);
    assert_eq!(stored["cs"]["text"], "Ours: {{link}}");
    assert!(stored.get("de").is_none(), "{stored}");
    // A copy of another language's text.
    let (stored, texts) = press(channel, &sent(&texts, "text_copy_email_2_0"));
    assert_eq!(stored["de"]["text"], "Ours: {{link}}");
    // Back to the standard text.
    let (stored, texts) = press(channel, &sent(&texts, "text_standard_email_2"));
    assert!(stored.get("de").is_none(), "{stored}");
    assert_eq!(texts["rows"][2]["standard"], true);
    // Gone.
    let (stored, texts) = press(channel, &sent(&texts, "text_remove_email_1"));
    assert!(stored.get("cs").is_none(), "{stored}");
    assert_eq!(languages(&texts), ["en", "de"]);
    // English is always there.
    let (stored, texts) = press(channel, &sent(&texts, "text_remove_email_0"));
    assert_eq!(
        (stored, languages(&texts)),
        (json!({}), vec!["en".to_owned(), "de".to_owned()])
    );
}

#[test]
fn wishes_are_read_and_nonsense_changes_nothing() {
    let email = Channel::Email;
    for (wish, expected) in [
        ("text_add_email", Some((email, TextChange::Add))),
        ("text_show_sms", Some((Channel::Sms, TextChange::Show))),
        ("text_remove_email_3", Some((email, TextChange::Remove(3)))),
        (
            "text_standard_email_0",
            Some((email, TextChange::Standard(0))),
        ),
        (
            "text_copy_email_0_2",
            Some((email, TextChange::Copy { to: 0, from: 2 })),
        ),
        ("text_copy_email_0", None),
        ("text_remove_email_x", None),
        ("text_add_fax", None),
        ("text_", None),
        ("publish", None),
    ] {
        assert_eq!(TextChange::parse(wish), expected, "{wish}");
    }
    let texts = shown(email, &json!({}), &OpenLanguages::default());
    for wish in [
        "text_remove_email_9",
        "text_standard_email_9",
        "text_copy_email_9_0",
        "text_copy_email_0_9",
        "text_add_email",
        "text_add_sms",
    ] {
        let (stored, shown) = press(email, &sent(&texts, wish));
        assert_eq!(
            (stored, languages(&shown)),
            (json!({}), vec!["en".to_owned()]),
            "{wish}"
        );
    }
}
