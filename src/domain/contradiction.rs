//! What a rule promises and cannot do, as far as it can be known beforehand: each with the setting to change, a sentence and a figure.
//!
//! Nothing here forbids anything: a rule with contradictions can be published, and does what it can. What only the moment of sending
//! decides is not guessed: the rule's own functions are asked, with invented messages.

mod sequence;
#[cfg(test)]
mod tests;
mod words;

use chrono::{DateTime, TimeDelta, Utc};

use super::channel::WayOut;
use super::ids::Channel;
use super::quiet::{Bounds, Hours, LostShare, longest_quiet, lost_share};
use super::rule::settings::CHANNELS;
use super::rule::{InQuietHours, RuleSettings};
use super::zone::Zone;

pub use sequence::StepLimit;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub settings: &'a RuleSettings,
    /// The account's time zone, where the rule has none.
    pub zone: Zone,
    /// What the rule's own texts say, channel by channel and language by language.
    pub texts: &'a [TextFacts],
    /// What is not right about the senders' domains, as they were last looked up.
    pub senders: &'a [(Channel, SenderFault)],
    pub now: DateTime<Utc>,
}

/// What one part of a text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextFacts {
    pub channel: Channel,
    /// The tag under which the rule has it.
    pub language: String,
    /// `subject`, `preheader`, `text` or `html`.
    pub part: &'static str,
    /// Names that may be unknown and are used where nothing stands in for them.
    pub without_fallback: Vec<&'static str>,
    /// How reminders are stopped is said: the word to answer with, or the link.
    pub says_how_to_stop: bool,
}

/// A record of the sender's domain that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderFault {
    pub domain: String,
    /// SPF, DKIM or DMARC.
    pub check: String,
    pub found: String,
    pub fix: Option<String>,
    pub looked_at: DateTime<Utc>,
}

/// How much somebody should mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContradictionLevel {
    /// The rule does not do what it says.
    Warning,
    /// It does what was chosen; good to know all the same.
    Note,
}

impl ContradictionLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A figure with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Figure {
    Percent(f64),
    Minutes(i64),
    Count(u32),
}

impl Figure {
    pub fn value(self) -> f64 {
        match self {
            Self::Percent(percent) => percent,
            Self::Minutes(minutes) => i32::try_from(minutes).map_or(f64::MAX, f64::from),
            Self::Count(count) => f64::from(count),
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Percent(_) => "percent of a week's due moments",
            Self::Minutes(_) => "minutes",
            Self::Count(_) => "count",
        }
    }
}

/// One thing that a rule promises and cannot do. Steps count from 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Contradiction {
    /// `max_age` is longer than what bounds it.
    MaxAge {
        channel: Channel,
        max_age: TimeDelta,
        latest: TimeDelta,
    },
    /// For some due moments no allowed hour comes in time.
    Hours {
        channel: Channel,
        country: Option<String>,
        quiet: TimeDelta,
        latest: TimeDelta,
        lost: LostShare,
        /// So it is only in a week in which clocks are changed, or worst then.
        clock_change: bool,
    },
    /// What falls into quiet hours is dropped, as was chosen.
    Drops {
        channel: Channel,
        country: Option<String>,
        lost: LostShare,
    },
    /// The agent must be quiet for longer than the step waits.
    Debounce {
        step: usize,
        after: TimeDelta,
        debounce: TimeDelta,
    },
    /// A limit makes a step later than it says.
    Late {
        step: usize,
        after: TimeDelta,
        by: TimeDelta,
        limit: StepLimit,
    },
    /// A limit holds a step back until it is too late: always, or for a share of a week's messages.
    Lost {
        step: usize,
        share: LostShare,
        limit: StepLimit,
    },
    /// A text message that does not say how to stop them.
    NoStopWord { channel: Channel, language: String },
    /// An e-mail text without the link that stops them. It is added.
    NoUnsubscribeLink {
        channel: Channel,
        language: String,
        part: &'static str,
    },
    /// A name that may be unknown, and nothing in its place.
    NoFallback {
        channel: Channel,
        language: String,
        part: &'static str,
        variable: &'static str,
    },
    /// The sender's domain.
    Sender(Channel, SenderFault),
}

impl Contradiction {
    /// The word in the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MaxAge { .. } => "max_age",
            Self::Hours { .. } => "hours",
            Self::Drops { .. } => "drops",
            Self::Debounce { .. } => "debounce",
            Self::Late { .. } => "late",
            Self::Lost { share, .. } if share.minutes == share.of => "never",
            Self::Lost { .. } => "lost",
            Self::NoStopWord { .. } => "no_stop_word",
            Self::NoUnsubscribeLink { .. } => "no_unsubscribe_link",
            Self::NoFallback { .. } => "no_fallback",
            Self::Sender(..) => "sender",
        }
    }

    pub fn level(&self) -> ContradictionLevel {
        match self {
            Self::Drops { .. } | Self::NoUnsubscribeLink { .. } => ContradictionLevel::Note,
            _ => ContradictionLevel::Warning,
        }
    }

    /// Path of the setting to change, as in files: `steps[1].after_minutes`. Empty: none of the rule's.
    pub fn field(&self) -> String {
        let step = |step: &usize| format!("steps[{}].after_minutes", step.saturating_sub(1));
        let of = |channel: &Channel, name: &str| format!("{CHANNELS}.{channel}.{name}");
        match self {
            Self::MaxAge { channel, .. } => of(channel, "latest_minutes"),
            Self::Hours {
                channel, country, ..
            }
            | Self::Drops {
                channel, country, ..
            } => match country {
                Some(country) => of(channel, &format!("quiet_hours.by_country.{country}")),
                None => of(channel, "quiet_hours.allowed"),
            },
            Self::Debounce { step: nth, .. }
            | Self::Late { step: nth, .. }
            | Self::Lost { step: nth, .. } => step(nth),
            Self::NoStopWord { channel, language } => {
                of(channel, &format!("templates.{language}.text"))
            }
            Self::NoUnsubscribeLink {
                channel,
                language,
                part,
            }
            | Self::NoFallback {
                channel,
                language,
                part,
                ..
            } => of(channel, &format!("templates.{language}.{part}")),
            Self::Sender(channel, _) => of(channel, "sender"),
        }
    }

    pub fn figure(&self) -> Option<Figure> {
        match self {
            Self::MaxAge { max_age, .. } => Some(Figure::Minutes(max_age.num_minutes())),
            Self::Hours { lost, .. } | Self::Drops { lost, .. } => {
                Some(Figure::Percent(lost.percent()))
            }
            Self::Lost { share, .. } => Some(Figure::Percent(share.percent())),
            Self::Debounce { debounce, .. } => Some(Figure::Minutes(debounce.num_minutes())),
            Self::Late { by, .. } => Some(Figure::Minutes(by.num_minutes())),
            Self::NoStopWord { .. }
            | Self::NoUnsubscribeLink { .. }
            | Self::NoFallback { .. }
            | Self::Sender(..) => None,
        }
    }
}

/// Everything that a rule promises and cannot do: its sequence first, then channel by channel, in the order of the settings.
pub fn contradictions(subject: &Subject<'_>) -> Vec<Contradiction> {
    let settings = subject.settings;
    let mut found = Vec::new();
    found.extend(sequence::debounced(settings));
    found.extend(sequence::limited(subject));
    for channel in settings.used() {
        let (max_age, latest) = (settings.channels[channel].max_age, settings.latest(channel));
        if max_age > latest {
            found.push(Contradiction::MaxAge {
                channel,
                max_age,
                latest,
            });
        }
        found.extend(hours(subject, channel));
        found.extend(texts(subject, channel));
        let faults = subject
            .senders
            .iter()
            .filter(|(of, _)| *of == channel && channel.profile().has_sender_domain);
        found.extend(faults.map(|(channel, fault)| Contradiction::Sender(*channel, fault.clone())));
    }
    found
}

impl Subject<'_> {
    fn zone(&self) -> Zone {
        self.settings.time_zone.unwrap_or(self.zone)
    }

    fn bounds(&self, channel: Channel) -> Bounds {
        Bounds {
            max_age: self.settings.channels[channel].max_age,
            latest: self.settings.latest(channel),
            drops: self.settings.in_quiet_hours == InQuietHours::Drop,
        }
    }

    /// A channel's hours for everybody, and those of countries that have their own; only a phone number tells a country.
    fn all_hours(
        &self,
        channel: Channel,
    ) -> impl Iterator<Item = (Option<&String>, &[super::quiet::Window])> {
        let quiet = &self.settings.channels[channel].quiet_hours;
        let countries = quiet
            .by_country
            .iter()
            .filter(move |_| channel.profile().tells_country);
        let countries = countries.map(|(country, windows)| (Some(country), windows.as_slice()));
        std::iter::once((None, quiet.allowed.as_slice())).chain(countries)
    }
}

fn hours(subject: &Subject<'_>, channel: Channel) -> Vec<Contradiction> {
    let bounds = subject.bounds(channel);
    let all = subject.all_hours(channel);
    let found = all.filter_map(|(country, windows)| {
        let (lost, week) = lost_share(windows, bounds, subject.zone(), subject.now);
        let country = country.cloned();
        (!lost.is_none()).then(|| {
            if bounds.drops {
                return Contradiction::Drops {
                    channel,
                    country,
                    lost,
                };
            }
            Contradiction::Hours {
                channel,
                country,
                quiet: longest_quiet(windows),
                latest: bounds.latest,
                lost,
                clock_change: week.clock_change,
            }
        })
    });
    found.collect()
}

fn texts(subject: &Subject<'_>, channel: Channel) -> Vec<Contradiction> {
    let mut found = Vec::new();
    for text in subject.texts.iter().filter(|text| text.channel == channel) {
        let (language, part) = (text.language.clone(), text.part);
        for &variable in &text.without_fallback {
            let language = language.clone();
            found.push(Contradiction::NoFallback {
                channel,
                language,
                part,
                variable,
            });
        }
        if text.says_how_to_stop || matches!(part, "subject" | "preheader") {
            continue;
        }
        found.push(match channel.profile().way_out {
            WayOut::StopWord => Contradiction::NoStopWord { channel, language },
            WayOut::Link => Contradiction::NoUnsubscribeLink {
                channel,
                language,
                part,
            },
        });
    }
    found
}

/// Hours that are always open.
const ALWAYS: Hours<'static> = Hours::new(&[], &[]);
