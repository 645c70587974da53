//! Values of every setting, for tests that go over the table: a new setting of a known kind is tested with them by itself.

use serde_json::{Value, json};

use super::{Input, Setting};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::rule::RuleSettings;

impl Setting {
    /// Valid values, each of which says something else. For a setting of the rule: of one on any channel.
    pub fn examples(&self, of: Option<Channel>) -> Vec<Value> {
        let channel = of.unwrap_or(Channel::Email);
        match &self.input {
            Input::Number(number) => [0, 1, 2, 3, 7, 24, 50, 90, 1500, 10_080, 129_600]
                .into_iter()
                .filter(|n| number.allows(*n))
                .map(Value::from)
                .collect(),
            Input::Switch => vec![json!(true), json!(false)],
            Input::Choice(choices) => choices.iter().map(|(word, _)| json!(word)).collect(),
            Input::TimeZone => vec![json!("Asia/Kolkata"), json!("UTC-03:00")],
            Input::Text(_) => ["help@example.com", "+12025550143", "shop"]
                .into_iter()
                .filter(|sender| (channel.profile().is_sender)(sender))
                .map(Value::from)
                .collect(),
            Input::Steps => vec![
                json!([{ "id": 1, "channel": "email", "after_minutes": 5, "when": "always" }]),
                json!([
                    { "id": 1, "channel": "email", "after_minutes": 5, "when": "always" },
                    { "id": 7, "channel": "sms", "after_minutes": 180, "when": "if_not_reached" },
                    { "id": 2, "channel": "email", "after_minutes": 5760, "when": "always" },
                ]),
            ],
            Input::Hours => {
                let window = json!({ "days": ["Mon", "Sat"], "from": "10:30", "to": "00:00" });
                let mut hours = vec![json!({ "allowed": [window] })];
                if channel.profile().tells_country {
                    let by_country = json!({ "DE": [window] });
                    hours.push(json!({ "allowed": [window], "by_country": by_country }));
                }
                hours
            }
            Input::Texts => {
                let mut text = json!({ "text": "One line,\n{{link}}" });
                if channel.profile().parts == Parts::SubjectAndHtml {
                    text["subject"] = json!("Hello");
                }
                vec![
                    json!({ "de": text.clone() }),
                    json!({ "de": text.clone(), "pt-BR": text }),
                ]
            }
        }
    }

    /// The base with this setting changed; `None` leaves it out.
    pub fn changed(
        &self,
        of: Option<Channel>,
        base: &RuleSettings,
        value: Option<Value>,
    ) -> RuleSettings {
        let Ok(Value::Object(mut settings)) = serde_json::to_value(base) else {
            unreachable!("settings are an object");
        };
        let said = format!("{}: {value:?}", self.path(of));
        self.put(of, &mut settings, value);
        RuleSettings::parse(&Channel::ALL, Value::Object(settings))
            .unwrap_or_else(|problems| panic!("{said} is refused: {problems:?}"))
    }
}
