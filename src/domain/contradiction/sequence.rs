//! A rule's steps played through for an invented message that stays unread, with the rule's own limits, hours and deadlines.

use chrono::{DateTime, TimeDelta, Utc};

use super::{ALWAYS, Contradiction, Subject};
use crate::domain::decide::{Earlier, History, Limits, Reason};
use crate::domain::ids::Channel;
use crate::domain::quiet::{Hours, LostShare, Week, Window, longest_wait, weeks};
use crate::domain::rule::{RuleSettings, When, span};
use crate::domain::zone::Zone;

/// How far apart the invented messages are.
const EVERY: TimeDelta = TimeDelta::minutes(15);

/// What holds a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepLimit {
    Gap(TimeDelta),
    PerConversation(u32),
    PerConsumer(u32),
    PerAddress(u32),
}

impl StepLimit {
    /// A half sentence.
    pub(super) fn sentence(self) -> String {
        match self {
            Self::Gap(gap) => format!("reminders to one customer are at least {} apart", span(gap)),
            Self::PerConversation(most) => format!("a conversation gets at most {most} a day"),
            Self::PerConsumer(most) => format!("a customer gets at most {most} a day"),
            Self::PerAddress(most) => format!("an address gets at most {most} a day"),
        }
    }

    pub(super) fn fix(self) -> &'static str {
        match self {
            Self::Gap(_) => {
                "Lower the minimum time between reminders, or set the steps further apart."
            }
            Self::PerConversation(_) => "Allow more per conversation, or remove a step.",
            Self::PerConsumer(_) => "Allow more per customer, or remove a step.",
            Self::PerAddress(_) => "Allow more per address, or remove a step.",
        }
    }

    fn of(reason: Reason, settings: &RuleSettings, channel: Channel) -> Option<Self> {
        let caps = settings.caps;
        match reason {
            Reason::Gap => Some(Self::Gap(caps.gap)),
            Reason::CapConversation => Some(Self::PerConversation(caps.per_conversation_24h)),
            Reason::CapConsumer => Some(Self::PerConsumer(caps.per_consumer_24h)),
            Reason::CapAddress => {
                Some(Self::PerAddress(settings.channels[channel].per_address_24h))
            }
            _ => None,
        }
    }
}

/// Whom the steps are played through for: each reached by the first step of a rung that there is a way for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Customer {
    /// Has an address on every channel.
    Everywhere,
    On(Channel),
}

impl Customer {
    /// The one with everything, and one for each channel alone.
    fn of(settings: &RuleSettings) -> Vec<Self> {
        let alone: Vec<Self> = settings.used().map(Self::On).collect();
        match alone[..] {
            [only] => vec![only],
            _ => std::iter::once(Self::Everywhere).chain(alone).collect(),
        }
    }

    fn has(self, channel: Channel) -> bool {
        match self {
            Self::Everywhere => true,
            Self::On(own) => own == channel,
        }
    }

    /// The places of the steps that are for this customer.
    fn steps(self, settings: &RuleSettings) -> Vec<usize> {
        let mut reached = false;
        let mut places = Vec::new();
        for (place, step) in settings.steps.iter().enumerate() {
            reached &= step.when == When::IfNotReached;
            if self.has(step.channel) && !reached {
                places.push(place);
                reached = true;
            }
        }
        places
    }
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StepFate {
    /// So long after it was due, and the last limit that held it back.
    Sent(TimeDelta, Option<StepLimit>),
    /// Too late, because of a limit if there is one; else because of the hours.
    Lost(Option<StepLimit>),
}

/// Steps that the debounce makes later than they say.
pub(super) fn debounced(settings: &RuleSettings) -> impl Iterator<Item = Contradiction> {
    let debounce = settings.debounce;
    let steps = (1..).zip(&settings.steps);
    steps
        .filter(move |(_, step)| step.after < debounce)
        .map(move |(step, it)| Contradiction::Debounce {
            step,
            after: it.after,
            debounce,
        })
}

/// Steps that gap and caps hold back, for the customer for whom it is worst.
pub(super) fn limited(subject: &Subject<'_>) -> Vec<Contradiction> {
    let steps = &subject.settings.steps;
    let mut found: Vec<Option<Contradiction>> = vec![None; steps.len()];
    for customer in Customer::of(subject.settings) {
        let own = limited_for(subject, customer);
        for (place, contradiction) in own {
            let known = &mut found[place];
            if known
                .as_ref()
                .is_none_or(|known| is_worse(&contradiction, known))
            {
                *known = Some(contradiction);
            }
        }
    }
    found.into_iter().flatten().collect()
}

fn is_worse(one: &Contradiction, than: &Contradiction) -> bool {
    match (one, than) {
        (Contradiction::Lost { share: a, .. }, Contradiction::Lost { share: b, .. }) => {
            a.minutes * b.of > b.minutes * a.of
        }
        (Contradiction::Lost { .. }, _) => true,
        (Contradiction::Late { by: a, .. }, Contradiction::Late { by: b, .. }) => a > b,
        _ => false,
    }
}

fn limited_for(subject: &Subject<'_>, customer: Customer) -> Vec<(usize, Contradiction)> {
    let settings = subject.settings;
    let at_any_hour = Player {
        subject,
        customer,
        country: None,
        zones: None,
    };
    let at_any_hour = at_any_hour.play(DateTime::UNIX_EPOCH);
    let lost = lost(subject, customer, &at_any_hour);
    let fates = at_any_hour.into_iter().zip(lost);
    let found = fates.filter_map(|((place, fate), lost)| {
        let step = place + 1;
        if let Some((share, limit)) = lost {
            return Some((place, Contradiction::Lost { step, share, limit }));
        }
        let StepFate::Sent(by, Some(limit)) = fate else {
            return None;
        };
        let after = settings.steps[place].after;
        let late = Contradiction::Late {
            step,
            after,
            by,
            limit,
        };
        Some((place, late))
    });
    found.collect()
}

/// For which share of a week's messages a limit makes a step too late.
type LateShare = Option<(LostShare, StepLimit)>;

/// Step by step; of several kinds of hours, the worst.
fn lost(
    subject: &Subject<'_>,
    customer: Customer,
    at_any_hour: &[(usize, StepFate)],
) -> Vec<LateShare> {
    let always: Vec<LateShare> = at_any_hour
        .iter()
        .map(|(_, fate)| match fate {
            StepFate::Lost(Some(limit)) => Some((LostShare { minutes: 1, of: 1 }, *limit)),
            _ => None,
        })
        .collect();
    let zones = [subject.zone()];
    let channels = || {
        Channel::ALL
            .into_iter()
            .filter(|channel| customer.has(*channel))
    };
    let mut countries: Vec<Option<&String>> = channels()
        .filter(|channel| subject.settings.used().any(|used| used == *channel))
        .flat_map(|channel| subject.all_hours(channel))
        .map(|(country, _)| country)
        .collect();
    countries.sort_unstable();
    countries.dedup();
    let mut worst: Vec<LateShare> = vec![None; always.len()];
    for country in countries {
        let player = Player {
            subject,
            customer,
            country,
            zones: Some(&zones),
        };
        let of_hours = if player.is_always_open() {
            always.clone()
        } else if player.is_apart() {
            continue;
        } else {
            match weeks(zones[0], subject.now).first() {
                Some(week) => player.lost_in(*week),
                None => continue,
            }
        };
        for (worst, next) in worst.iter_mut().zip(of_hours) {
            *worst = worse(*worst, next);
        }
    }
    worst
}

fn worse(one: LateShare, other: LateShare) -> LateShare {
    match (one, other) {
        (Some((a, _)), Some((b, _))) if b.minutes * a.of > a.minutes * b.of => other,
        (None, other) => other,
        _ => one,
    }
}

/// Plays a rule's steps through for a customer whose number is of this country.
struct Player<'a> {
    subject: &'a Subject<'a>,
    customer: Customer,
    country: Option<&'a String>,
    /// By whose clocks hours are read; `None`: at any hour.
    zones: Option<&'a [Zone]>,
}

impl Player<'_> {
    fn hours(&self, channel: Channel) -> Hours<'_> {
        match self.zones {
            Some(zones) => Hours::new(self.windows(channel), zones),
            None => ALWAYS,
        }
    }

    fn steps(&self) -> Vec<usize> {
        self.customer.steps(self.subject.settings)
    }

    fn channels(&self) -> impl Iterator<Item = Channel> {
        let used = self.subject.settings.used();
        used.filter(|channel| self.customer.has(*channel))
    }

    fn windows(&self, channel: Channel) -> &[Window] {
        let country = self
            .country
            .map(String::as_str)
            .filter(|_| channel.profile().tells_country);
        self.subject.settings.channels[channel]
            .quiet_hours
            .windows(country)
    }

    fn is_always_open(&self) -> bool {
        self.channels()
            .all(|channel| self.windows(channel).is_empty())
    }

    /// Whether no step can come too close to the one before it, although that one may wait so long, and no day has more steps than are
    /// allowed.
    fn is_apart(&self) -> bool {
        let settings = self.subject.settings;
        let wait = |channel| longest_wait(self.windows(channel), self.subject.bounds(channel));
        let wait = self.channels().map(wait).max().unwrap_or_default();
        let due = |place: usize| settings.steps[place].after.max(settings.debounce);
        let steps = self.steps();
        let mut pairs = steps.windows(2);
        let count = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let caps = settings.caps;
        let per_address = self
            .channels()
            .map(|channel| settings.channels[channel].per_address_24h)
            .min();
        let most = caps
            .per_conversation_24h
            .min(caps.per_consumer_24h)
            .min(per_address.unwrap_or(u32::MAX));
        count <= most && pairs.all(|pair| due(pair[1]) - due(pair[0]) >= caps.gap + wait)
    }

    fn lost_in(&self, week: Week) -> Vec<LateShare> {
        let steps = self.steps().len();
        let mut minutes = vec![0; steps];
        let mut limits = vec![None; steps];
        let mut of = 0;
        let mut start = week.from;
        while start < week.to {
            of += EVERY.num_minutes();
            let fates = self.play(start);
            for (((_, fate), minutes), limit) in fates.iter().zip(&mut minutes).zip(&mut limits) {
                if let StepFate::Lost(Some(by)) = fate {
                    *minutes += EVERY.num_minutes();
                    limit.get_or_insert(*by);
                }
            }
            start += EVERY;
        }
        let shares = minutes.into_iter().map(|minutes| LostShare { minutes, of });
        let lost = shares.zip(limits);
        lost.map(|(share, limit)| Some((share, limit?))).collect()
    }

    /// What becomes of each step, by its place, for an agent's only message, written at `start`, that is never read: as
    /// [`decide`](crate::domain::decide::decide) would have it, and with a step scheduled when the one before it is done.
    fn play(&self, start: DateTime<Utc>) -> Vec<(usize, StepFate)> {
        let settings = self.subject.settings;
        let mut sent: Vec<(Channel, Earlier)> = Vec::new();
        let mut done_at = start;
        let mut fates = Vec::new();
        for place in self.steps() {
            let step = &settings.steps[place];
            let (hours, bounds) = (self.hours(step.channel), self.subject.bounds(step.channel));
            let due = start + step.after.max(settings.debounce);
            let mut deadline = hours.deadline(due, bounds.max_age, bounds.latest);
            let next_rung = settings.steps[place..]
                .iter()
                .find(|s| s.when == When::Always);
            if let Some(next) = next_rung.filter(|_| step.when == When::IfNotReached) {
                deadline = deadline.min(start + next.after);
            }
            let limits = Limits {
                caps: settings.caps,
                per_address_24h: settings.channels[step.channel].per_address_24h,
                when: step.when,
            };
            let history = History {
                consumer: sent.iter().map(|(_, sent)| *sent).collect(),
                address: sent
                    .iter()
                    .filter(|(on, _)| *on == step.channel)
                    .map(|(_, sent)| sent.at)
                    .collect(),
            };
            let mut now = due.max(done_at);
            let mut held_by = None;
            let fate = loop {
                if now >= deadline {
                    break StepFate::Lost(held_by);
                }
                if let Some((until, reason)) = limits.full_until(&history, now) {
                    held_by = StepLimit::of(reason, settings, step.channel).or(held_by);
                    if until >= deadline {
                        break StepFate::Lost(held_by);
                    }
                    now = until;
                    continue;
                }
                match hours.allowed_at(now) {
                    Some(at) if at <= now => break StepFate::Sent(now - due, held_by),
                    Some(at) if !bounds.drops && at < deadline => now = at,
                    _ => break StepFate::Lost(held_by),
                }
            };
            if matches!(fate, StepFate::Sent(..)) {
                let earlier = Earlier {
                    at: now,
                    same_conversation: true,
                    came_back: false,
                };
                sent.push((step.channel, earlier));
            }
            done_at = now;
            fates.push((place, fate));
        }
        fates
    }
}
