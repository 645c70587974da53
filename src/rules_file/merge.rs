//! Putting the rules of single channels together to one for each skill, over all channels.
//!
//! Nobody may get more for it than before, nor two messages at once. A channel that a skill has no rule of its own for follows the
//! account's default, as it did: that was decided channel by channel. Where rules differ in what there is only one of now, the one by
//! which less is sent is taken, and it is said.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;

use chrono::TimeDelta;

use super::per_channel::ChannelRule;
use super::{FileProblem, RuleEntry, RulesFile};
use crate::domain::ids::Channel;
use crate::domain::rule::settings::MOST_STEPS;
use crate::domain::rule::{Caps, InQuietHours, RuleKey, RuleSettings, Step, When, span};

/// Puts them together, in the order of account and skill.
pub(super) fn merge(rules: &[ChannelRule]) -> Result<RulesFile, Vec<FileProblem>> {
    let mut by_key: BTreeMap<RuleKey, Vec<&ChannelRule>> = BTreeMap::new();
    for rule in rules {
        by_key.entry(rule.key.clone()).or_default().push(rule);
    }
    let mut problems = Vec::new();
    let mut file = RulesFile::default();
    if !rules.is_empty() {
        file.merged.push(format!(
            "The file has a rule for each channel: they were merged to one for each skill. The gap and the daily limits now count across \
             all channels, and caps.per_consumer_24h is new: max {} per customer per day.",
            Caps::default().per_consumer_24h
        ));
    }
    for (key, own) in &by_key {
        let default = RuleKey {
            skill: None,
            ..key.clone()
        };
        let defaults = by_key.get(&default).map_or(&[][..], Vec::as_slice);
        match one(key, own, defaults) {
            Ok((entry, said)) => {
                file.rules.push(entry);
                file.merged.push(said);
            }
            Err(what) => problems.push(FileProblem {
                place: format!("rule {key}"),
                what,
            }),
        }
    }
    if problems.is_empty() {
        Ok(file)
    } else {
        Err(problems)
    }
}

/// One rule, of its own channels and, for the others, of its account's default; and how it was put together.
fn one(
    key: &RuleKey,
    own: &[&ChannelRule],
    defaults: &[&ChannelRule],
) -> Result<(RuleEntry, String), String> {
    fn on<'a>(rules: &[&'a ChannelRule], channel: Channel) -> Option<&'a ChannelRule> {
        rules.iter().copied().find(|rule| rule.channel == channel)
    }
    let is_own = |rule: &&ChannelRule| own.iter().any(|own| own.channel == rule.channel);
    let parts = Channel::ALL.into_iter();
    let parts: Vec<&ChannelRule> = parts
        .filter_map(|c| on(own, c).or(on(defaults, c)))
        .collect();
    let enabled = parts.iter().any(|part| part.enabled);
    // Of a rule that is off altogether, everything stays for the day on which somebody switches it on.
    let is_used = |part: &&ChannelRule| if enabled { part.enabled } else { is_own(part) };
    let (used, unused): (Vec<&ChannelRule>, Vec<&ChannelRule>) =
        parts.iter().copied().partition(is_used);

    let mut choice = Choice {
        parts: &used,
        said: Vec::new(),
    };
    let mut settings = RuleSettings {
        caps: choice.caps(),
        debounce: choice.minutes("debounce_minutes", |s| s.debounce),
        remind_in_queue: choice.of(
            "remind_in_queue",
            "which sends less",
            |s| s.remind_in_queue,
            |all| !all.contains(&false),
        ),
        holdout_percent: choice.of("holdout_percent", "the larger", |s| s.holdout_percent, max),
        ..RuleSettings::default_for(&[])
    };
    choice.hours(&mut settings);
    let said = choice.said;
    for part in &parts {
        settings.channels[part.channel] = part.settings.channels[part.channel].clone();
    }
    settings.steps = sequence(&used, settings.caps.gap);
    if settings.steps.len() > MOST_STEPS {
        return Err(format!(
            "has {} steps over {}; one rule over all channels has at most {MOST_STEPS}: take some of them out of the file",
            settings.steps.len(),
            listed(&used)
        ));
    }
    if let Some(problem) = settings.validate().first() {
        return Err(problem.to_string());
    }
    let inherited: Vec<&ChannelRule> = used.iter().copied().filter(|part| !is_own(part)).collect();
    let merged = match used.as_slice() {
        [only] => format!("from {} alone", only.channel.names().inside),
        _ => format!("merged from {}", listed(&used)),
    };
    let mut sentences = vec![format!("{key}: {merged}: {}", steps_said(&settings.steps))];
    if !inherited.is_empty() {
        sentences.push(format!(
            "The skill had no rule of its own for {}: it keeps what the account's default says.",
            listed(&inherited)
        ));
    }
    if !enabled {
        sentences.push("It is off, as before.".to_owned());
    } else if !unused.is_empty() {
        sentences.push(format!("No step by {}, which was off.", listed(&unused)));
    }
    sentences.extend(said);
    let entry = RuleEntry {
        account: key.account.clone(),
        skill: key.skill,
        enabled,
        settings,
    };
    Ok((entry, sentences.join(" ")))
}

/// The steps of all channels in the order of their times, e-mail before SMS. A step on another channel than the last one that is always
/// sent, and sooner after it than the gap, is sent only if the customer was not reached: it could not go right away in any case, and
/// nobody is to be written to over two channels at once.
fn sequence(parts: &[&ChannelRule], gap: TimeDelta) -> Vec<Step> {
    let steps = parts.iter().flat_map(|part| &part.settings.steps);
    let mut steps: Vec<Step> = steps.map(|step| Step { id: 0, ..*step }).collect();
    steps.sort_by_key(|step| (step.after, step.channel));
    let mut always: Option<Step> = None;
    let mut before = TimeDelta::zero();
    for step in &mut steps {
        let apart = always.is_none_or(|always| {
            step.channel == always.channel || step.after - always.after >= gap
        });
        if apart && step.after > before {
            step.when = When::Always;
            always = Some(*step);
        } else {
            step.when = When::IfNotReached;
        }
        before = step.after;
    }
    steps
}

/// Chooses where rules differ, and says so.
struct Choice<'a> {
    parts: &'a [&'a ChannelRule],
    said: Vec<String>,
}

impl Choice<'_> {
    fn of<T: PartialEq + Copy + Display>(
        &mut self,
        name: &str,
        why: &str,
        value: impl Fn(&RuleSettings) -> T,
        choose: impl Fn(&[T]) -> T,
    ) -> T {
        let all: Vec<T> = self
            .parts
            .iter()
            .map(|part| value(&part.settings))
            .collect();
        let chosen = choose(&all);
        if all.iter().any(|one| *one != chosen) {
            let each = self.parts.iter().zip(&all);
            let each: Vec<String> = each
                .map(|(part, one)| format!("{} {one}", part.channel.names().inside))
                .collect();
            self.said
                .push(format!("{name} is {chosen}, {why} ({}).", each.join(", ")));
        }
        chosen
    }

    fn minutes(&mut self, name: &str, value: impl Fn(&RuleSettings) -> TimeDelta) -> TimeDelta {
        let longest = self.of(
            name,
            "the longer",
            |settings| value(settings).num_minutes(),
            max,
        );
        TimeDelta::minutes(longest)
    }

    fn caps(&mut self) -> Caps {
        Caps {
            gap: self.minutes("caps.gap_minutes", |s| s.caps.gap),
            per_conversation_24h: self.of(
                "caps.per_conversation_24h",
                "the smaller",
                |s| s.caps.per_conversation_24h,
                min,
            ),
            ..Caps::default()
        }
    }

    /// What is of the hours, as the channels have it that have hours.
    fn hours(&mut self, settings: &mut RuleSettings) {
        let has_hours =
            |part: &&&ChannelRule| part.settings.channels[part.channel].quiet_hours.is_any();
        let with_hours: Vec<&ChannelRule> = self.parts.iter().filter(has_hours).copied().collect();
        let parts = if with_hours.is_empty() {
            self.parts.to_vec()
        } else {
            with_hours
        };
        let mut choice = Choice {
            parts: &parts,
            said: Vec::new(),
        };
        let drop = choice.of(
            "in_quiet_hours",
            "which sends less",
            |s| Quiet(s.in_quiet_hours),
            |all| {
                *all.iter()
                    .find(|one| one.0 == InQuietHours::Drop)
                    .unwrap_or(&all[0])
            },
        );
        settings.in_quiet_hours = drop.0;
        // By whose clock somebody is woken by a text message matters most.
        let zones: Vec<String> = parts.iter().map(|part| zone_said(&part.settings)).collect();
        if let [.., last] = parts.as_slice() {
            settings.time_zone = last.settings.time_zone;
            if zones.iter().any(|zone| *zone != zone_said(settings)) {
                let said = format!(
                    "time_zone is {}, that of {}.",
                    zone_said(settings),
                    last.channel.names().inside
                );
                choice.said.push(said);
            }
        }
        self.said.append(&mut choice.said);
    }
}

/// With its word.
#[derive(Clone, Copy, PartialEq)]
struct Quiet(InQuietHours);

impl Display for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            InQuietHours::Move => "move",
            InQuietHours::Drop => "drop",
        })
    }
}

fn zone_said(settings: &RuleSettings) -> String {
    settings
        .time_zone
        .map_or("the account's".to_owned(), |zone| zone.to_string())
}

fn max<T: Ord + Copy + Default>(all: &[T]) -> T {
    all.iter().copied().max().unwrap_or_default()
}

fn min<T: Ord + Copy + Default>(all: &[T]) -> T {
    all.iter().copied().min().unwrap_or_default()
}

/// "e-mail after 10 minutes, SMS after 10 minutes if that does not reach the customer."
fn steps_said(steps: &[Step]) -> String {
    let each = steps.iter().map(|step| {
        let (channel, after) = (step.channel.names().inside, span(step.after));
        match step.when {
            When::Always => format!("{channel} after {after}"),
            When::IfNotReached => {
                format!("{channel} after {after} if the customer was not reached")
            }
        }
    });
    each.collect::<Vec<_>>().join(", ") + "."
}

/// "e-mail and SMS"
fn listed(parts: &[&ChannelRule]) -> String {
    let names = parts.iter().map(|part| part.channel.names().inside);
    names.collect::<Vec<_>>().join(" and ")
}
