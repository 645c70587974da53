//! What was done, as a sentence about whoever did it: `published version 3 of Orders`.

use chrono::DateTime;
use serde_json::Value;

use crate::control::audit::EntryView;
use crate::web::dashboard::{labels, rules};

/// What follows the name. `{…}` is a value of the entry's detail, or `subject`: what was done it to, as `Subjects` calls it.
const PHRASES: &[(&str, &str)] = &[
    ("circuit.close", "resumed the paused sender {subject}"),
    ("circuit.probe", "tested the paused sender {subject}"),
    (
        "consumer.allow",
        "allowed a customer again, found by {subject}",
    ),
    ("consumer.erase", "erased a customer, found by {subject}"),
    (
        "consumer.opt_out",
        "opted out a customer, found by {subject}",
    ),
    ("live.begin", "went live with {subject}"),
    ("live.end", "took {subject} offline"),
    ("hold.end", "ended the hold on all sending"),
    ("hold.restored", "confirmed a restored database"),
    ("pause", "paused {subject}"),
    ("reminder.cancel", "cancelled {subject}"),
    (
        "reminder.reveal_address",
        "viewed the customer's address of {subject}",
    ),
    ("reminder.send_again", "sent {subject} again"),
    ("resume", "resumed {subject}"),
    ("rule.delete", "deleted the rule for {subject}"),
    ("rule.discard", "discarded the draft for {subject}"),
    ("rule.draft", "saved a draft for {subject}"),
    (
        "rule.import",
        "imported version {version} of {subject} from a file",
    ),
    ("rule.publish", "published version {version} of {subject}"),
    (
        "rule.restore",
        "made version {version} of {subject} the draft",
    ),
    (
        "suppression.add",
        "opted out an address ({subject}): {reason}",
    ),
    ("suppression.import", "imported opt-outs from a file"),
    ("suppression.keep", "kept a doubtful opt-out ({subject})"),
    ("suppression.undo", "undid a doubtful opt-out ({subject})"),
    ("suppression.remove", "allowed an address again ({subject})"),
    ("test.send", "sent a test message by {subject}"),
    ("test.verify", "confirmed a test message by {subject}"),
    ("token.add", "created the token {subject}"),
    ("token.remove", "removed the token {subject}"),
    ("token.take_over", "took over the token {subject} of {from}"),
    ("user.add", "added {subject} as {role}"),
    ("user.bind_sso", "connected {subject} to single sign-on"),
    ("user.end_sessions", "ended logins of {subject}"),
    (
        "user.locked_out",
        "had to wait {seconds} s after too many login attempts",
    ),
    ("user.log_in", "logged in"),
    ("user.log_out", "logged {subject} out everywhere"),
    ("user.login_link", "created a login link for {subject}"),
    ("user.password", "changed the password of {subject}"),
    (
        "user.password_link",
        "created a password link for {subject}",
    ),
    (
        "user.recovery_codes",
        "created new recovery codes for {subject}",
    ),
    ("user.remove", "removed {subject}, {role}"),
    (
        "user.role",
        "changed the role of {subject} from {from} to {to}",
    ),
    (
        "user.second_factor_off",
        "turned off the second factor of {subject}",
    ),
    (
        "user.second_factor_on",
        "turned on the second factor of {subject}",
    ),
    (
        "user.second_factor_reset",
        "reset the second factor of {subject}",
    ),
    (
        "user.unbind_sso",
        "disconnected {subject} from single sign-on",
    ),
];

/// A sentence, and what it leaves out.
#[derive(Debug, PartialEq, Eq)]
pub struct Sentence {
    pub said: String,
    /// The rest of the detail: `accounts: 12345678; expires at: 2026-12-01 16:01 UTC`.
    pub rest: Option<String>,
}

/// `subject` is what it was done to, in words.
pub fn sentence(entry: &EntryView, subject: &str) -> Sentence {
    let phrase = PHRASES.iter().find(|(action, _)| *action == entry.action);
    let Some((_, phrase)) = phrase else {
        // Written by another version of the program: better raw than silent.
        return Sentence {
            said: format!(
                "{}: {subject}",
                labels::words(&entry.action.replace('.', " "))
            ),
            rest: rest(&entry.detail, &[]),
        };
    };
    let mut said_so_far = String::new();
    let mut used = Vec::new();
    for (at, part) in phrase.split(['{', '}']).enumerate() {
        match (at % 2, part) {
            (0, words) => said_so_far.push_str(words),
            (_, "subject") => said_so_far.push_str(subject),
            (_, name) => {
                said_so_far.push_str(&said(entry.detail.get(name).unwrap_or(&Value::Null)));
                used.push(name);
            }
        }
    }
    Sentence {
        said: said_so_far,
        rest: rest(&entry.detail, &used),
    }
}

fn rest(detail: &Value, used: &[&str]) -> Option<String> {
    let details = detail.as_object().into_iter().flatten();
    let told = details.filter(|(name, value)| !is_empty(value) && !used.contains(&name.as_str()));
    let told: Vec<String> = told
        .map(|(name, value)| {
            let value = match value {
                Value::Array(settings) if name == "changes" => changed(settings),
                other => said(other),
            };
            format!("{}: {value}", labels::words(name))
        })
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// A value as people write it: no brackets, no fractions of a second, no more of a hash than tells it from another.
fn said(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text_said(text),
        Value::Array(values) => values.iter().map(said).collect::<Vec<_>>().join(", "),
        Value::Object(values) => {
            let values = values.iter().filter(|(_, value)| !value.is_null());
            let values =
                values.map(|(name, value)| format!("{} {}", labels::words(name), said(value)));
            values.collect::<Vec<_>>().join(", ")
        }
    }
}

fn text_said(text: &str) -> String {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return moment.to_utc().format("%Y-%m-%d %H:%M UTC").to_string();
    }
    if text.len() >= 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return format!("{}…", &text[..8]);
    }
    if text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return labels::words(text);
    }
    text.to_owned()
}

/// The settings of a rule that a change touched, as its page calls them.
fn changed(settings: &[Value]) -> String {
    let names = settings.iter().filter_map(Value::as_str);
    names.map(rules::label).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn details_are_words_and_not_json() {
        for (value, words) in [
            (json!(["view", "edit"]), "view, edit"),
            (
                json!("2026-12-01T16:01:02.123456789Z"),
                "2026-12-01 16:01 UTC",
            ),
            (json!({ "role": "editor", "accounts": null }), "role editor"),
            (json!(true), "yes"),
            (json!("bad_address"), "bad address"),
            (json!("Ask Jo_1 first"), "Ask Jo_1 first"),
            (json!("0123456789abcdef0123456789abcdef"), "01234567…"),
        ] {
            assert_eq!(said(&value), words);
        }
    }

    fn entry(action: &str, detail: Value) -> EntryView {
        EntryView {
            id: 1,
            at: DateTime::UNIX_EPOCH.to_utc(),
            by: "ann".to_owned(),
            action: action.to_owned(),
            account: None,
            subject: "x".to_owned(),
            detail,
        }
    }

    #[test]
    fn what_was_done_is_a_sentence_and_nothing_is_lost() {
        let version = json!({ "version": 3, "changes": ["email.steps"] });
        for (action, detail, sentence_is, rest_is) in [
            (
                "rule.publish",
                version,
                "published version 3 of Orders",
                true,
            ),
            (
                "user.role",
                json!({ "from": "viewer", "to": "editor", "accounts": null }),
                "changed the role of Orders from viewer to editor",
                false,
            ),
            (
                "token.add",
                json!({ "scopes": ["view"], "accounts": [] }),
                "created the token Orders",
                true,
            ),
            ("user.log_in", json!({}), "logged in", false),
            (
                "robot.dance",
                json!({ "steps": 2 }),
                "robot dance: Orders",
                true,
            ),
        ] {
            let found = sentence(&entry(action, detail), "Orders");
            assert_eq!(found.said, sentence_is);
            assert_eq!(found.rest.is_some(), rest_is, "{action}: {found:?}");
        }
    }

    #[test]
    fn every_phrase_closes_what_it_opens() {
        for (action, phrase) in PHRASES {
            assert_eq!(
                phrase.matches('{').count(),
                phrase.matches('}').count(),
                "{action}"
            );
        }
    }
}
