//! Reading settings that a program stored: perhaps a newer version of this one, which works beside it while an update is rolled out.
//!
//! People's settings are read strictly ([`RuleSettings::parse`]); stored ones are not, since an older worker must go on. A setting that is
//! not known here is passed over. A known one whose value is not understood makes its rule alone stand still: what it would do
//! instead of what was meant (another hour, a second message) is not for this version to guess.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::RuleSettings;
use super::settings::CHANNELS;
use crate::domain::ids::Channel;

/// What a newer version stored among the settings that this version cannot use: the settings' names, as in `steps[0].when`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newer {
    /// Not known here, and passed over.
    pub unknown: Vec<String>,
    /// Known, with a value that is not understood. The default stands in its place, to be shown and not to be sent by.
    pub unreadable: Vec<String>,
}

impl Newer {
    pub fn is_empty(&self) -> bool {
        self.unknown.is_empty() && self.unreadable.is_empty()
    }

    /// Whether the rule must stand still in this version.
    pub fn holds(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// The names of all of them.
    pub fn names(&self) -> Vec<&str> {
        let all = self.unknown.iter().chain(&self.unreadable);
        all.map(String::as_str).collect()
    }
}

/// So many settings are looked at one by one; beyond, nothing of the rule is understood.
const MOST_UNKNOWN: usize = 200;

impl RuleSettings {
    /// Reads settings from a table, in JSON. Never fails: what cannot be used is in [`RuleSettings::newer`].
    pub fn stored(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self::pieced_together(json))
    }

    fn pieced_together(json: &str) -> Self {
        let mut value: Value = serde_json::from_str(json).unwrap_or_default();
        let defaults = serde_json::to_value(Self::default_for(&Channel::ALL)).unwrap_or_default();
        let mut newer = Newer {
            unknown: take_unknown_channels(&mut value),
            unreadable: Vec::new(),
        };
        for _ in 0..MOST_UNKNOWN {
            let error = match serde_path_to_error::deserialize(&value) {
                Ok(settings) => return Self { newer, ..settings },
                Err(error) => error,
            };
            let what = error.inner().to_string();
            let path = error.path();
            if what.starts_with("unknown field") && remove(&mut value, path) {
                newer.unknown.push(path.to_string());
                continue;
            }
            let Some(name) = setting(path, &what) else {
                break;
            };
            if !put_default(&mut value, &defaults, &name) {
                break;
            }
            newer.unreadable.push(name.join("."));
        }
        newer.unreadable = vec!["settings".to_owned()];
        Self {
            newer,
            ..Self::default_for(&Channel::ALL)
        }
    }
}

/// The settings of channels that this version does not have: they are that version's business. (Its steps are not: without them the
/// sequence would be another one.)
fn take_unknown_channels(value: &mut Value) -> Vec<String> {
    let Some(channels) = value.get_mut(CHANNELS).and_then(Value::as_object_mut) else {
        return Vec::new();
    };
    let unknown = channels
        .keys()
        .filter(|word| word.parse::<Channel>().is_err());
    let unknown: Vec<String> = unknown.cloned().collect();
    for word in &unknown {
        channels.remove(word);
    }
    unknown
        .iter()
        .map(|word| format!("{CHANNELS}.{word}"))
        .collect()
}

/// The setting that an error is about: the one it was found in, or the one that is missing. Those of a channel are three words.
fn setting(path: &Path, what: &str) -> Option<Vec<String>> {
    let mut name = Vec::new();
    for segment in path {
        match segment {
            Segment::Map { key } => name.push(key.clone()),
            _ => break,
        }
    }
    let missing = || {
        Some(
            what.strip_prefix("missing field `")?
                .split('`')
                .next()?
                .to_owned(),
        )
    };
    let whole = if name.first().is_some_and(|top| top == CHANNELS) {
        3
    } else {
        1
    };
    if name.len() < whole {
        name.push(missing()?);
    }
    name.truncate(whole);
    (name.len() == whole).then_some(name)
}

/// Puts a setting's default in its place; nothing where it may be left out.
fn put_default(value: &mut Value, defaults: &Value, name: &[String]) -> bool {
    let Some((last, tables)) = name.split_last() else {
        return false;
    };
    let mut place = Some(value);
    for table in tables {
        place = place.and_then(|place| place.get_mut(table));
    }
    let Some(place) = place.and_then(Value::as_object_mut) else {
        return false;
    };
    let default = name.iter().try_fold(defaults, |at, part| at.get(part));
    match default {
        Some(default) => drop(place.insert(last.clone(), default.clone())),
        None => drop(place.remove(last)),
    }
    true
}

/// Takes away what stands at a path. False if nothing does.
fn remove(value: &mut Value, path: &Path) -> bool {
    let mut steps: Vec<&Segment> = path.iter().collect();
    let Some(Segment::Map { key: last }) = steps.pop() else {
        return false;
    };
    let mut place = Some(value);
    for step in steps {
        place = place.and_then(|place| match step {
            Segment::Map { key } => place.get_mut(key),
            Segment::Seq { index } => place.get_mut(*index),
            _ => None,
        });
    }
    let there = place.and_then(Value::as_object_mut);
    there.is_some_and(|there| there.remove(last).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stored(change: impl FnOnce(&mut Value)) -> RuleSettings {
        let mut settings = RuleSettings::default_for(&[Channel::Email, Channel::Sms]);
        settings.holdout_percent = 7;
        settings.remind_in_queue = true;
        let mut json = serde_json::to_value(settings).unwrap();
        change(&mut json);
        RuleSettings::stored(&json.to_string())
    }

    type Change = fn(&mut Value);

    #[test]
    fn what_a_newer_version_added_is_passed_over_wherever_it_stands() {
        let cases: [(&str, Change); 8] = [
            ("of_the_future", |s| {
                s["of_the_future"] = json!({ "a": [1] });
            }),
            ("steps[0].unless", |s| {
                s["steps"][0]["unless"] = json!("clicked");
            }),
            ("caps.per_household_24h", |s| {
                s["caps"]["per_household_24h"] = json!(3);
            }),
            ("channels.post", |s| {
                s["channels"]["post"] = json!({ "stamp": 1 });
            }),
            ("channels.email.colour", |s| {
                s["channels"]["email"]["colour"] = json!("red");
            }),
            ("channels.sms.quiet_hours.by_channel", |s| {
                s["channels"]["sms"]["quiet_hours"]["by_channel"] = json!({});
            }),
            ("channels.sms.quiet_hours.allowed[0].holidays", |s| {
                s["channels"]["sms"]["quiet_hours"]["allowed"][0]["holidays"] = json!(true);
            }),
            ("steps[1].label", |s| {
                s["steps"][1]["label"] = json!("second");
            }),
        ];
        let mine = stored(|_| ());
        assert_eq!(mine.newer, Newer::default());
        for (name, change) in cases {
            let read = stored(change);
            assert_eq!(read.newer.names(), [name]);
            assert!(!read.newer.holds(), "{name}");
            let known = RuleSettings {
                newer: Newer::default(),
                ..read
            };
            assert_eq!(known, mine, "{name}: the others are as they were stored");
        }
        let all = stored(|s| cases.iter().for_each(|(_, change)| change(s)));
        assert_eq!(all.newer.unknown.len(), cases.len());
    }

    #[test]
    fn what_is_not_understood_holds_the_rule_and_nothing_else_is_lost() {
        let cases: [(&str, Change); 12] = [
            ("in_quiet_hours", |s| s["in_quiet_hours"] = json!("ask")),
            ("time_zone", |s| s["time_zone"] = json!("Mars/Olympus_Mons")),
            ("steps", |s| s["steps"][0]["after_minutes"] = json!("PT10M")),
            ("steps", |s| s["steps"] = json!({ "email": [] })),
            ("steps", |s| {
                drop(s.as_object_mut().unwrap().remove("steps"));
            }),
            ("steps", |s| s["steps"][1]["channel"] = json!("post")),
            ("steps", |s| s["steps"][1]["when"] = json!("if_asked")),
            ("channels.sms.max_age_minutes", |s| {
                let sms = s["channels"]["sms"].as_object_mut().unwrap();
                drop(sms.remove("max_age_minutes"));
            }),
            ("caps", |s| s["caps"]["gap_minutes"] = json!(-1)),
            ("channels.sms.quiet_hours", |s| {
                s["channels"]["sms"]["quiet_hours"]["allowed"][0]["days"] = json!(["Holiday"]);
            }),
            ("holdout_percent", |s| s["holdout_percent"] = json!(0.5)),
            ("channels.email.sender", |s| {
                s["channels"]["email"]["sender"] = json!({ "of": "account" });
            }),
        ];
        for (name, change) in cases {
            let read = stored(|s| {
                change(s);
                s["of_the_future"] = json!(true);
            });
            assert_eq!(read.newer.unreadable, [name]);
            assert_eq!(read.newer.unknown, ["of_the_future"]);
            assert!(read.newer.holds() && read.remind_in_queue, "{name}");
        }
        for json in ["", "null", "[]", "7", "{", "\"settings\""] {
            let read = RuleSettings::stored(json);
            assert_eq!(read.newer.unreadable, ["settings"], "{json}");
            let usual = RuleSettings::default_for(&Channel::ALL);
            assert_eq!(read.channels, usual.channels);
        }
    }

    #[test]
    fn what_people_write_is_still_read_strictly() {
        let wrong =
            RuleSettings::parse(&Channel::ALL, json!({ "of_the_future": true })).unwrap_err();
        assert_eq!(wrong[0].field, "of_the_future");
        let wrong = RuleSettings::parse(&Channel::ALL, json!({ "newer": {} })).unwrap_err();
        assert_eq!(wrong[0].field, "newer");
    }

    #[test]
    fn thousands_of_unknown_settings_do_not_take_for_ever() {
        let read = stored(|s| (0..5_000).for_each(|n| s[format!("x{n}")] = json!(n)));
        assert_eq!(read.newer.unreadable, ["settings"]);
    }

    proptest! {
        #[test]
        fn fuzz_stored_settings(key in "[a-z_]{1,12}|steps|caps|channels|in_quiet_hours", value in "\\PC{0,40}", wrap in 0..3_u8) {
            let value = match wrap {
                0 => json!(value),
                1 => json!([{ value.clone(): value }]),
                _ => json!({ value.clone(): { "allowed": value } }),
            };
            let read = stored(|s| s[&key] = value.clone());
            // What is written back is of this version.
            prop_assert!(serde_json::from_value::<RuleSettings>(json!(read)).is_ok());
            let _ = RuleSettings::stored(&value.to_string());
        }
    }
}
