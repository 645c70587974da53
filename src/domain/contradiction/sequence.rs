//! A rule's steps played through for an invented message that stays unread, with the rule's own limits, hours and deadlines.

use chrono::{DateTime, TimeDelta, Utc};

use super::{ALWAYS, Contradiction, Subject};
use crate::domain::decide::{History, Reason, capped_until};
use crate::domain::quiet::{Bounds, Hours, LostShare, Week, longest_wait, weeks};
use crate::domain::rule::{RuleSettings, span};

/// How far apart the invented messages are.
const EVERY: TimeDelta = TimeDelta::minutes(15);

/// What holds a step back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepLimit {
    Gap(TimeDelta),
    PerConversation(u32),
    PerRecipient(u32),
}

impl StepLimit {
    /// A half sentence.
    pub(super) fn sentence(self) -> String {
        match self {
            Self::Gap(gap) => format!(
                "reminders in one conversation are at least {} apart",
                span(gap)
            ),
            Self::PerConversation(most) => format!("a conversation gets at most {most} a day"),
            Self::PerRecipient(most) => format!("a customer gets at most {most} a day"),
        }
    }

    pub(super) fn fix(self) -> &'static str {
        match self {
            Self::Gap(_) => {
                "Lower the minimum time between reminders, or set the steps further apart."
            }
            Self::PerConversation(_) => "Let a conversation get more, or leave a step out.",
            Self::PerRecipient(_) => "Let a customer get more, or leave a step out.",
        }
    }

    fn of(reason: Reason, settings: &RuleSettings) -> Option<Self> {
        let caps = settings.caps;
        match reason {
            Reason::Gap => Some(Self::Gap(caps.gap)),
            Reason::CapConversation => Some(Self::PerConversation(caps.per_conversation_24h)),
            Reason::CapRecipient => Some(Self::PerRecipient(caps.per_recipient_24h)),
            _ => None,
        }
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

/// Steps that gap and caps hold back.
pub(super) fn limited(subject: &Subject<'_>) -> Vec<Contradiction> {
    let settings = subject.settings;
    let at_any_hour = play(settings, subject.bounds(), &ALWAYS, DateTime::UNIX_EPOCH);
    let lost = lost(subject, &at_any_hour);
    let steps = settings.steps.iter().zip(at_any_hour).zip(lost);
    let found = (1..).zip(steps).filter_map(|(step, ((it, fate), lost))| {
        if let Some((share, limit)) = lost {
            return Some(Contradiction::Lost { step, share, limit });
        }
        let StepFate::Sent(by, Some(limit)) = fate else {
            return None;
        };
        let after = it.after;
        Some(Contradiction::Late {
            step,
            after,
            by,
            limit,
        })
    });
    found.collect()
}

/// For which share of a week's messages a limit makes a step too late.
type LateShare = Option<(LostShare, StepLimit)>;

/// Step by step; of several kinds of hours, the worst.
fn lost(subject: &Subject<'_>, at_any_hour: &[StepFate]) -> Vec<LateShare> {
    let always: Vec<LateShare> = at_any_hour
        .iter()
        .map(|fate| match fate {
            StepFate::Lost(Some(limit)) => Some((LostShare { minutes: 1, of: 1 }, *limit)),
            _ => None,
        })
        .collect();
    let (settings, bounds) = (subject.settings, subject.bounds());
    let zones = [subject.zone()];
    let mut worst: Vec<LateShare> = vec![None; always.len()];
    for (_, windows) in subject.all_hours() {
        let of_hours = if windows.is_empty() {
            always.clone()
        } else if is_apart(settings, longest_wait(windows, bounds)) {
            continue;
        } else {
            let hours = Hours::new(windows, &zones);
            match weeks(zones[0], subject.now).first() {
                Some(week) => lost_in(settings, bounds, &hours, *week),
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

/// Whether no step can come too close to the one before it, although that one may wait so long, and no day has more steps than are
/// allowed.
fn is_apart(settings: &RuleSettings, wait: TimeDelta) -> bool {
    let due = |after: TimeDelta| after.max(settings.debounce);
    let mut pairs = settings.steps.windows(2);
    let steps = u32::try_from(settings.steps.len()).unwrap_or(u32::MAX);
    let caps = settings.caps;
    steps <= caps.per_conversation_24h.min(caps.per_recipient_24h)
        && pairs.all(|pair| due(pair[1].after) - due(pair[0].after) >= caps.gap + wait)
}

fn lost_in(
    settings: &RuleSettings,
    bounds: Bounds,
    hours: &Hours<'_>,
    week: Week,
) -> Vec<LateShare> {
    let mut minutes = vec![0; settings.steps.len()];
    let mut limits = vec![None; settings.steps.len()];
    let mut of = 0;
    let mut start = week.from;
    while start < week.to {
        of += EVERY.num_minutes();
        let fates = play(settings, bounds, hours, start);
        for ((fate, minutes), limit) in fates.iter().zip(&mut minutes).zip(&mut limits) {
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

/// What becomes of each step for an agent's only message, written at `start`, that is never read: as
/// [`decide`](crate::domain::decide::decide) would have it, and with a step scheduled when the one before it is done.
fn play(
    settings: &RuleSettings,
    bounds: Bounds,
    hours: &Hours<'_>,
    start: DateTime<Utc>,
) -> Vec<StepFate> {
    let mut history = History::default();
    let mut done_at = start;
    let mut fates = Vec::new();
    for step in &settings.steps {
        let due = start + step.after.max(settings.debounce);
        let deadline = hours.deadline(due, bounds.max_age, bounds.latest);
        let mut now = due.max(done_at);
        let mut held_by = None;
        let fate = loop {
            if now >= deadline {
                break StepFate::Lost(held_by);
            }
            if let Some((until, reason)) = capped_until(settings.caps, &history, now) {
                held_by = StepLimit::of(reason, settings).or(held_by);
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
            history.conversation.push(now);
            history.recipient.push(now);
        }
        done_at = now;
        fates.push(fate);
    }
    fates
}
