//! What differs between two versions of a rule, setting by setting, so that a person sees what a change is.

use serde_json::Value;

use super::RuleSettings;

/// One setting that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Path of the setting as in files and in the API: `caps.gap_minutes`, `templates.en.text`; `enabled` for the switch.
    pub field: String,
    /// `Null`: it is not there.
    pub before: Value,
    pub after: Value,
}

/// The settings that differ, in the order of their names. A list (of steps, of hours) is one setting: half of it says nothing.
pub fn differences(before: (bool, &RuleSettings), after: (bool, &RuleSettings)) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("enabled", &before.0.into(), &after.0.into(), &mut found);
    let as_value = |settings| serde_json::to_value(settings).unwrap_or_default();
    compare("", &as_value(before.1), &as_value(after.1), &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        found.push(Difference {
            field: path.to_owned(),
            before: before.clone(),
            after: after.clone(),
        });
        return;
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let inner = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        let value = |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
        compare(&inner, &value(old), &value(new), found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Template;
    use super::*;
    use crate::domain::ids::Channel;

    #[test]
    fn only_what_differs_is_told_and_a_list_is_one_setting() {
        let old = RuleSettings::default_for(&[Channel::Sms]);
        let mut new = old.clone();
        assert_eq!(differences((true, &old), (true, &new)), []);
        new.steps.pop();
        new.caps.per_consumer_24h = 1;
        let text = Template {
            subject: None,
            preheader: None,
            text: "{{link}}".to_owned(),
            html: None,
        };
        new.channels[Channel::Sms]
            .templates
            .insert("pt-BR".to_owned(), text);
        let told = differences((true, &old), (false, &new));
        let told: Vec<(&str, &Value, &Value)> = told
            .iter()
            .map(|d| (d.field.as_str(), &d.before, &d.after))
            .collect();
        let both = [
            json!({ "id": 1, "channel": "sms", "after_minutes": 10, "when": "always" }),
            json!({ "id": 2, "channel": "sms", "after_minutes": 1440, "when": "always" }),
        ];
        let steps = |n: usize| json!(both[..n]);
        assert_eq!(
            told,
            [
                ("enabled", &json!(true), &json!(false)),
                ("caps.per_consumer_24h", &json!(3), &json!(1)),
                (
                    "channels.sms.templates.pt-BR",
                    &Value::Null,
                    &json!({ "text": "{{link}}" })
                ),
                ("steps", &steps(2), &steps(1)),
            ]
        );
    }
}
