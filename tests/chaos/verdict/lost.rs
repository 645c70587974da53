//! Nothing is lost: every step that is owed has a reminder, every reminder an end with a reason, and each end is true.

use std::collections::{HashMap, HashSet};

use unread::domain::rule::When;

use super::super::people::{Deed, Person};
use super::{Evidence, Promise, Reminder, Report};

impl Evidence<'_> {
    pub(super) fn nothing_lost(&self, report: &mut Report) {
        let mut by_conversation: HashMap<&str, HashMap<i16, &Reminder>> = HashMap::new();
        for reminder in &self.reminders {
            let of = by_conversation.entry(&reminder.conversation).or_default();
            of.insert(reminder.step, reminder);
        }
        for person in &self.people.0 {
            let id = person.conversation.as_str();
            let of_steps = by_conversation.remove(id).unwrap_or_default();
            for step in forgotten(person, &of_steps) {
                let what = format!("{id} ({:?}) has no reminder for step {step}", person.deed);
                report.broken(Promise::Lost, what);
            }
        }
        for id in by_conversation.keys() {
            report.broken(
                Promise::Untrue,
                format!("{id} has reminders, and is nobody's"),
            );
        }
        self.nothing_unheard(report);
        let got: HashSet<i64> = self.messages.iter().filter_map(|m| m.reminder).collect();
        let came_back = self.messages.iter().filter(|m| m.came_back.is_some());
        let came_back: HashSet<i64> = came_back.filter_map(|m| m.reminder).collect();
        for r in &self.reminders {
            let received = got.contains(&r.id);
            let reason = r.reason.as_deref().unwrap_or("no reason");
            let told = format!("reminder {}, {} ({reason})", r.id, r.state);
            if r.open || r.final_at.is_none() {
                report.broken(Promise::Lost, format!("{told} is not final"));
            }
            match r.state.as_str() {
                "sent" | "delivered" | "undelivered" if !received => {
                    report.broken(Promise::Lost, format!("{told} never reached its provider"));
                }
                "undelivered" if !came_back.contains(&r.id) => {
                    report.broken(Promise::Untrue, format!("{told} did not come back"));
                }
                // Twilio may take a message and then say that it has failed.
                "failed" | "expired" if came_back.contains(&r.id) => {}
                "cancelled" | "expired" | "failed" if received => {
                    report.broken(Promise::Untrue, format!("{told} was accepted all the same"));
                }
                "cancelled" | "expired" | "failed" if r.reason.is_none() => {
                    report.broken(Promise::Lost, format!("{told} has no reason"));
                }
                _ => {}
            }
            let world = self.sandbox.world();
            let acted = world
                .was_read_at(&r.conversation)
                .or(world.closed_at(&r.conversation));
            if r.state == "cancelled"
                && matches!(reason, "read" | "answered" | "closed" | "gone")
                && acted.is_none()
            {
                report.broken(Promise::Lost, format!("{told}, but nobody ever read it"));
            }
        }
    }

    /// What the service was told of mail that came back is what it knows.
    fn nothing_unheard(&self, report: &mut Report) {
        let by_id = self.by_id();
        for message in self.messages.iter().filter(|message| message.told) {
            let reminder = message.reminder.and_then(|id| by_id.get(&id));
            if let Some(r) = reminder.filter(|r| r.state != "undelivered") {
                let what = format!(
                    "that reminder {} came back was told, and it is {}",
                    r.id, r.state
                );
                report.broken(Promise::Lost, what);
            }
        }
    }
}

/// The steps that are owed and have no reminder. A step for who was not reached is owed to those whom no earlier one of its rung has reached;
/// not where another rung follows so soon that there may have been no time for it.
fn forgotten(person: &Person, of_steps: &HashMap<i16, &Reminder>) -> Vec<i16> {
    if !person.is_owed_for_certain() {
        return Vec::new();
    }
    let steps = person.rule.steps;
    let has_address = |at: &usize| person.address(steps[*at].channel).is_some();
    let mut forgotten = Vec::new();
    for place in (0..steps.len()).filter(has_address) {
        let step = &steps[place];
        let has_time = !steps[place + 1..]
            .iter()
            .any(|later| later.when == When::Always);
        let mut earlier = person.rule.earlier(place).iter();
        let was_not_reached = earlier.all(|step| {
            let is_unreachable = person.address(step.channel).is_none();
            is_unreachable || of_steps.get(&step.id).is_some_and(|r| did_not_reach(r))
        });
        let is_owed = step.when == When::Always || has_time && was_not_reached;
        let is_there = of_steps.contains_key(&step.id);
        if is_owed && !is_there {
            forgotten.push(step.id);
        }
        // What comes after an opt-out is not owed.
        if person.deed != Deed::Nothing && (is_owed || is_there) {
            break;
        }
    }
    forgotten
}

fn did_not_reach(reminder: &Reminder) -> bool {
    matches!(
        reminder.state.as_str(),
        "undelivered" | "failed" | "expired" | "cancelled"
    )
}
