//! Reading a rule of a file from before: of one channel, with that channel's settings among its own. The form is what it was for ever.

use serde_json::{Map, Value, json};
use toml::Table;

use super::{RuleFileFault, head, json as as_json, required};
use crate::domain::ids::Channel;
use crate::domain::rule::settings::CHANNELS;
use crate::domain::rule::{RuleKey, RuleSettings};

/// A rule of one channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChannelRule {
    pub key: RuleKey,
    pub channel: Channel,
    pub enabled: bool,
    /// Of a rule over this channel alone.
    pub settings: RuleSettings,
}

/// Settings that are the rule's today, too.
const OF_RULE: &[&str] = &[
    "steps",
    "debounce_minutes",
    "caps",
    "in_quiet_hours",
    "time_zone",
    "remind_in_queue",
    "holdout_percent",
];
/// Settings that are each channel's today.
const OF_CHANNEL: &[&str] = &[
    "max_age_minutes",
    "latest_minutes",
    "quiet_hours",
    "resend_unknown",
    "sender",
    "templates",
];
/// Among the caps then; of each channel, and under another name, today.
const PER_RECIPIENT: &str = "per_recipient_24h";
const PER_ADDRESS: &str = "per_address_24h";

const OF_VERSION_2: &str = "is of version 2: write version = 2 in the first line of the file, and name channels in steps and not in rules";

pub(super) fn rule(mut table: Table) -> Result<ChannelRule, Vec<RuleFileFault>> {
    let mut faults = Vec::new();
    let head = head(&mut table, &mut faults);
    let channel = required(&mut table, "channel");
    let channel = channel.map_err(|fault| faults.push(fault)).ok();
    let Value::Object(given) = as_json(table) else {
        unreachable!("a table is an object");
    };
    let settings = settings(channel, &given);
    let settings = settings.map_err(|found| faults.extend(found));
    match (head, channel, settings) {
        (Some(head), Some(channel), Ok(settings)) => Ok(ChannelRule {
            key: head.key,
            channel,
            enabled: head.enabled,
            settings,
        }),
        _ => Err(faults),
    }
}

/// The settings over the channel's defaults. Without a channel, only what is wrong on every channel.
fn settings(
    channel: Option<Channel>,
    given: &Map<String, Value>,
) -> Result<RuleSettings, Vec<RuleFileFault>> {
    let Some(channel) = channel else {
        let mut of_each = Channel::ALL
            .into_iter()
            .map(|channel| of_channel(channel, given).err().unwrap_or_default());
        let mut of_all = of_each.next().unwrap_or_default();
        for other in of_each {
            of_all.retain(|fault| other.contains(fault));
        }
        return Err(of_all);
    };
    of_channel(channel, given)
}

fn of_channel(
    channel: Channel,
    given: &Map<String, Value>,
) -> Result<RuleSettings, Vec<RuleFileFault>> {
    let mut faults = Vec::new();
    let mut fault = |field: String, what: &str| faults.push((field, what.to_owned()));
    let (mut of_rule, mut of_channel) = (Map::new(), Map::new());
    for (name, value) in given {
        match name.as_str() {
            name if OF_RULE.contains(&name) => drop(of_rule.insert(name.to_owned(), value.clone())),
            name if OF_CHANNEL.contains(&name) => {
                of_channel.insert(name.to_owned(), value.clone());
            }
            CHANNELS | PER_ADDRESS => fault(name.clone(), OF_VERSION_2),
            _ => {
                let known = [OF_RULE, OF_CHANNEL].concat().join(", ");
                fault(
                    name.clone(),
                    &format!("there is no such setting; there are {known}"),
                );
            }
        }
    }
    if let Some(caps) = of_rule.get_mut("caps").and_then(Value::as_object_mut) {
        if caps.contains_key("per_consumer_24h") {
            fault("caps.per_consumer_24h".to_owned(), OF_VERSION_2);
        }
        if let Some(most) = caps.remove(PER_RECIPIENT) {
            of_channel.insert(PER_ADDRESS.to_owned(), most);
        }
    }
    let steps = of_rule.get_mut("steps").and_then(Value::as_array_mut);
    for (nth, step) in steps.into_iter().flatten().enumerate() {
        let Some(step) = step.as_object_mut() else {
            continue;
        };
        for newer in ["id", "channel", "when"] {
            if step.contains_key(newer) {
                fault(format!("steps[{nth}].{newer}"), OF_VERSION_2);
            }
        }
        step.insert("channel".to_owned(), json!(channel));
    }
    of_rule.insert(CHANNELS.to_owned(), json!({ channel.as_str(): of_channel }));
    match RuleSettings::parse(&[channel], of_rule.into()) {
        Ok(settings) if faults.is_empty() => Ok(settings),
        Ok(_) => Err(faults),
        Err(problems) => {
            let told = problems.into_iter();
            faults
                .extend(told.map(|problem| (name_before(channel, problem.field), problem.message)));
            Err(faults)
        }
    }
}

/// What a setting was called in such a file.
fn name_before(channel: Channel, field: String) -> String {
    let of_channel = format!("{CHANNELS}.{channel}.");
    match field.strip_prefix(&of_channel) {
        Some(PER_ADDRESS) => format!("caps.{PER_RECIPIENT}"),
        Some(own) => own.to_owned(),
        None => field,
    }
}
