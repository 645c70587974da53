//! Which reminder is owed next, and when: one sequence over all channels.
//!
//! A rule's steps keep their order. A *rung* is a step that is always sent with those after it that are sent only if it did not reach the
//! consumer. Only the next step is scheduled at any time; what is next is asked again at every look, so that an address that turns up, a
//! report that comes late or a rule that was edited count from then on.

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};

use super::channel::PerChannel;
use super::decide::Reason;
use super::ids::Channel;
use super::local_time::LocalTime;
use super::reached::{DoneStep, Rung, Standing, earlier_of_rung, is_past, rung_of};
use super::read_state::Episode;
use super::rule::{Rule, RuleSettings, Step, StepId, When};

/// How a consumer can be reached on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// There is an address; by whose clocks its hours are read, as they are known now.
    By(LocalTime),
    NoAddress,
    /// The installation does not have the channel.
    NotConfigured,
}

/// What the answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    pub rule: &'a Rule,
    pub episode: &'a Episode,
    pub reach: &'a PerChannel<Reach>,
    /// The steps of this episode that have, or had, a reminder.
    pub done: &'a [DoneStep],
    pub now: DateTime<Utc>,
}

/// The next reminder of an episode under a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueStep {
    pub step: StepId,
    pub channel: Channel,
    pub at: DateTime<Utc>,
    /// Past this moment it is not sent any more.
    pub deadline: DateTime<Utc>,
    /// What the rule says: not before this, whatever the agent does meanwhile.
    pub not_before: DateTime<Utc>,
}

/// The answer to "what is owed next?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Due(DueStep),
    /// A step that has been tried is to be tried again.
    Trying(StepId, Channel),
    Nothing(Reason),
}

/// The answer, and the channels whose steps it passes over for now, each with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextStep {
    pub next: Next,
    pub passed_over: Vec<(Channel, Reason)>,
}

/// The first step that is left, in time, and for which there is a way to the consumer.
///
/// A step that is scheduled and was not tried yet is not done and is answered again, if nothing that comes before it has become possible. What
/// was due before a later step was sent is not gone back to. A step that waits for its hours gives way to the next rung when that is due and
/// may go.
///
/// Steps that fell due in a time that the database has lost, and are not in the ledger, are passed over: they may have been sent. Steps whose
/// deadline has passed make room for later ones: a service installed today finds conversations of last week.
pub fn next_step(sequence: &Sequence<'_>) -> NextStep {
    let steps = &sequence.rule.settings.steps;
    let done = |step: &Step| {
        let mut done = sequence.done.iter();
        done.find(|d| d.step == step.id && d.channel == step.channel)
    };
    let nothing = |reason| NextStep {
        next: Next::Nothing(reason),
        passed_over: Vec::new(),
    };
    for done in sequence.done {
        match done.standing {
            Standing::Ends(reason) => return nothing(reason),
            Standing::Trying => {
                return NextStep {
                    next: Next::Trying(done.step, done.channel),
                    passed_over: Vec::new(),
                };
            }
            _ => {}
        }
    }
    let mut found = Passed::default();
    let mut first: Option<DueStep> = None;
    for (place, step) in steps.iter().enumerate() {
        let standing = done(step).map(|done| done.standing);
        if !matches!(
            standing,
            None | Some(Standing::Scheduled | Standing::PassedOver)
        ) || is_past(
            &sequence.rule.settings,
            place,
            sequence.episode,
            sequence.done,
        ) {
            continue;
        }
        match (sequence.ask(place, step), first) {
            (Ok(due), None) if !sequence.waits_for_hours(&due) => return found.next(due),
            (Ok(due), None) => first = Some(due),
            // What waits for its hours gives way to the next rung, if that is due and may go now.
            (Ok(due), Some(_))
                if step.when == When::Always
                    && due.at <= sequence.now
                    && !sequence.waits_for_hours(&due) =>
            {
                return found.next(due);
            }
            (Err(reason), None) => found.pass(step.channel, reason),
            (_, Some(_)) => {}
        }
    }
    match first {
        Some(due) => found.next(due),
        None => NextStep {
            next: Next::Nothing(found.reason()),
            passed_over: found.channels,
        },
    }
}

impl Sequence<'_> {
    /// Whether a step is due, and nothing may be sent on its channel at this hour.
    fn waits_for_hours(&self, due: &DueStep) -> bool {
        let Reach::By(local) = &self.reach[due.channel] else {
            return false;
        };
        let hours = local.hours(&self.rule.settings.channels[due.channel]);
        due.at <= self.now && hours.allowed_at(self.now).is_none_or(|at| at > self.now)
    }

    fn is_known(&self, step: &Step) -> bool {
        let mut done = self.done.iter();
        done.any(|d| d.step == step.id && d.channel == step.channel)
    }

    /// When a step is due, or why it is not.
    fn ask(&self, place: usize, step: &Step) -> Result<DueStep, Reason> {
        let (rule, channel) = (self.rule, step.channel);
        let settings = &rule.settings;
        // An earlier step that reached them decides before the lack of an address does.
        let rung = rung_of(settings, place, self.done, self.now);
        match rung {
            Rung::Reached => return Err(Reason::Reached),
            Rung::Open { .. } => return Err(Reason::AwaitingReport),
            Rung::Free { .. } => {}
        }
        let local = match &self.reach[channel] {
            Reach::By(local) => local,
            Reach::NoAddress => return Err(Reason::NoAddress),
            Reach::NotConfigured => return Err(Reason::NotConfigured),
        };
        // Where nothing of the rule is live, what would happen is told.
        if rule.is_live() && rule.live[channel].is_none() {
            return Err(Reason::NotLive);
        }
        let episode = rule
            .concerns(channel, self.episode)
            .ok_or(Reason::BeforeLive)?;
        let not_before = episode.since + step.after;
        let own = own_moment(settings, step, &episode);
        let at = match rung {
            Rung::Free { since: Some(since) } => own.max(since),
            _ => own,
        };
        // What fell due in a time that the database has lost may have been sent, and may have reached them.
        let rung = earlier_of_rung(settings, place).chain([place]);
        let lost = |at: usize| {
            let due = own_moment(settings, &settings.steps[at], &episode);
            rule.lost_until.is_some_and(|lost| due <= lost) && !self.is_known(&settings.steps[at])
        };
        if rung.into_iter().any(lost) {
            return Err(Reason::TooLate);
        }
        let deadline = deadline(settings, place, local, &episode, at);
        if self.now >= deadline || at >= deadline {
            return Err(Reason::TooLate);
        }
        Ok(DueStep {
            step: step.id,
            channel,
            at,
            deadline,
            not_before,
        })
    }
}

/// When a step is due by what it says itself. The debounce raises all steps alike.
pub(super) fn own_moment(settings: &RuleSettings, step: &Step, episode: &Episode) -> DateTime<Utc> {
    (episode.since + step.after).max(episode.last_at + settings.debounce)
}

/// Past which moment a reminder for the step at `place` that is due at `due` is not sent any more. One that was brought forward keeps the
/// bound that it would have had at its own moment, and gives way to the next rung.
pub fn deadline(
    settings: &RuleSettings,
    place: usize,
    local: &LocalTime,
    episode: &Episode,
    due: DateTime<Utc>,
) -> DateTime<Utc> {
    let step = &settings.steps[place];
    if step.when == When::Always {
        return local.deadline(settings, step.channel, due);
    }
    let own = own_moment(settings, step, episode).min(due);
    let bound = local.deadline(settings, step.channel, own);
    let mut later = settings.steps[place..].iter();
    let next_rung = later.find(|step| step.when == When::Always);
    next_rung.map_or(bound, |next| bound.min(episode.since + next.after))
}

/// What was passed over on the way.
#[derive(Default)]
struct Passed {
    channels: Vec<(Channel, Reason)>,
    reasons: Vec<Reason>,
}

impl Passed {
    fn next(self, due: DueStep) -> NextStep {
        NextStep {
            next: Next::Due(due),
            passed_over: self.channels,
        }
    }

    fn pass(&mut self, channel: Channel, reason: Reason) {
        self.reasons.push(reason);
        let is_lack = matches!(
            reason,
            Reason::NoAddress | Reason::NotConfigured | Reason::NotLive | Reason::BeforeLive
        );
        if is_lack && !self.channels.iter().any(|(known, _)| *known == channel) {
            self.channels.push((channel, reason));
        }
    }

    /// Why nothing is due: what may still change first, then what a person would ask for.
    fn reason(&self) -> Reason {
        let first = |wanted: Reason| self.reasons.contains(&wanted).then_some(wanted);
        let none_left = || {
            self.reasons
                .iter()
                .all(|r| *r == Reason::Reached)
                .then_some(Reason::AllStepsDone)
        };
        first(Reason::AwaitingReport)
            .or_else(none_left)
            .or_else(|| first(Reason::TooLate))
            .or_else(|| first(Reason::NoAddress))
            .or_else(|| self.reasons.iter().copied().find(|r| *r != Reason::Reached))
            .unwrap_or(Reason::AllStepsDone)
    }
}
