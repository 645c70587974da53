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
use super::rule::{InQuietHours, RuleSettings};
use super::zone::Zone;

pub use sequence::StepLimit;

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub channel: Channel,
    pub settings: &'a RuleSettings,
    /// The account's time zone, where the rule has none.
    pub zone: Zone,
    /// What the rule's own texts say, language by language.
    pub texts: &'a [TextFacts],
    /// What is not right about the sender's domain, as it was last looked up.
    pub sender: &'a [SenderFault],
    pub now: DateTime<Utc>,
}

/// What one part of a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextFacts {
    /// The tag under which the rule has it.
    pub language: String,
    /// `subject`, `text` or `html`.
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
        max_age: TimeDelta,
        latest: TimeDelta,
    },
    /// For some due moments no allowed hour comes in time.
    Hours {
        country: Option<String>,
        quiet: TimeDelta,
        latest: TimeDelta,
        lost: LostShare,
        /// So it is only in a week in which clocks are changed, or worst then.
        clock_change: bool,
    },
    /// What falls into quiet hours is dropped, as was chosen.
    Drops {
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
    NoStopWord { language: String },
    /// An e-mail text without the link that stops them. It is added.
    NoUnsubscribeLink {
        language: String,
        part: &'static str,
    },
    /// A name that may be unknown, and nothing in its place.
    NoFallback {
        language: String,
        part: &'static str,
        variable: &'static str,
    },
    /// The sender's domain.
    Sender(SenderFault),
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
            Self::Sender(_) => "sender",
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
        match self {
            Self::MaxAge { .. } => "latest_minutes".to_owned(),
            Self::Hours { country, .. } | Self::Drops { country, .. } => match country {
                Some(country) => format!("quiet_hours.by_country.{country}"),
                None => "quiet_hours.allowed".to_owned(),
            },
            Self::Debounce { step: nth, .. }
            | Self::Late { step: nth, .. }
            | Self::Lost { step: nth, .. } => step(nth),
            Self::NoStopWord { language } => format!("templates.{language}.text"),
            Self::NoUnsubscribeLink { language, part }
            | Self::NoFallback { language, part, .. } => format!("templates.{language}.{part}"),
            Self::Sender(_) => "sender".to_owned(),
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
            | Self::Sender(_) => None,
        }
    }
}

/// Everything that a rule promises and cannot do, in the order of its settings.
pub fn contradictions(subject: &Subject<'_>) -> Vec<Contradiction> {
    let settings = subject.settings;
    let mut found = Vec::new();
    found.extend(sequence::debounced(settings));
    found.extend(sequence::limited(subject));
    let latest = settings.latest(subject.channel);
    if settings.max_age > latest {
        let max_age = settings.max_age;
        found.push(Contradiction::MaxAge { max_age, latest });
    }
    found.extend(hours(subject));
    found.extend(texts(subject));
    if subject.channel.profile().has_sender_domain {
        found.extend(subject.sender.iter().cloned().map(Contradiction::Sender));
    }
    found
}

impl Subject<'_> {
    fn zone(&self) -> Zone {
        self.settings.time_zone.unwrap_or(self.zone)
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            max_age: self.settings.max_age,
            latest: self.settings.latest(self.channel),
            drops: self.settings.in_quiet_hours == InQuietHours::Drop,
        }
    }

    /// The hours for everybody, and those of countries that have their own; only a phone number tells a country.
    fn all_hours(&self) -> impl Iterator<Item = (Option<&String>, &[super::quiet::Window])> {
        let quiet = &self.settings.quiet_hours;
        let countries = quiet
            .by_country
            .iter()
            .filter(|_| self.channel.profile().tells_country);
        let countries = countries.map(|(country, windows)| (Some(country), windows.as_slice()));
        std::iter::once((None, quiet.allowed.as_slice())).chain(countries)
    }
}

fn hours(subject: &Subject<'_>) -> Vec<Contradiction> {
    let bounds = subject.bounds();
    let all = subject.all_hours();
    let found = all.filter_map(|(country, windows)| {
        let (lost, week) = lost_share(windows, bounds, subject.zone(), subject.now);
        let country = country.cloned();
        (!lost.is_none()).then(|| {
            if bounds.drops {
                return Contradiction::Drops { country, lost };
            }
            Contradiction::Hours {
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

fn texts(subject: &Subject<'_>) -> Vec<Contradiction> {
    let mut found = Vec::new();
    for text in subject.texts {
        let (language, part) = (text.language.clone(), text.part);
        for &variable in &text.without_fallback {
            let language = language.clone();
            found.push(Contradiction::NoFallback {
                language,
                part,
                variable,
            });
        }
        if text.says_how_to_stop || part == "subject" {
            continue;
        }
        found.push(match subject.channel.profile().way_out {
            WayOut::StopWord => Contradiction::NoStopWord { language },
            WayOut::Link => Contradiction::NoUnsubscribeLink { language, part },
        });
    }
    found
}

/// Hours that are always open.
const ALWAYS: Hours<'static> = Hours::new(&[], &[]);
