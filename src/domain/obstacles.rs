//! What keeps reminders that wait from going at their moment, whatever becomes of their conversations until then: for those who look them up
//! and must not be promised a message that will not go.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::decide::Reason;
use super::hold::HoldGate;
use super::ids::{AccountId, Channel, SkillId};
use super::pause::PausedScopes;

#[derive(Clone, Debug, Default)]
pub struct Obstacles {
    pub pauses: PausedScopes,
    /// What is held until somebody has decided about the database.
    pub gate: HoldGate,
    /// The channels that are live; one that was taken back is none.
    pub live: HashSet<(AccountId, Channel)>,
}

impl Obstacles {
    /// Why a reminder will not go at its moment, in the order in which it is decided then; `None`: as far as this tells it will.
    pub fn reason(
        &self,
        account: &AccountId,
        (skill, channel): (SkillId, Channel),
        due_at: DateTime<Utc>,
    ) -> Option<Reason> {
        if !self.live.contains(&(account.clone(), channel)) {
            return Some(Reason::NotLive);
        }
        // What one process remembers of the counter is its own matter.
        if self.gate.holds(due_at, 0) {
            return Some(Reason::Held);
        }
        let paused = self.pauses.holds(account, skill, channel);
        paused.then_some(Reason::Paused)
    }
}

/// Whether this is one of those reasons.
pub fn is_obstacle(reason: Reason) -> bool {
    matches!(reason, Reason::NotLive | Reason::Held | Reason::Paused)
}

#[cfg(test)]
mod tests {
    use super::super::pause::Scope;
    use super::super::sample::minute;
    use super::*;

    #[test]
    fn what_is_not_live_or_held_is_said_before_what_is_paused() {
        let account: AccountId = "12345678".parse().unwrap();
        let live = HashSet::from([(account.clone(), Channel::Email)]);
        let free = Obstacles {
            live,
            ..Obstacles::default()
        };
        let paused = Obstacles {
            pauses: PausedScopes {
                scopes: vec![Scope::Everything],
                ..PausedScopes::default()
            },
            ..free.clone()
        };
        let closed = HoldGate {
            counter: Some(7),
            closed: true,
            due_before: None,
        };
        let partly = HoldGate {
            closed: false,
            due_before: Some(minute(10)),
            ..closed
        };
        let with = |gate| Obstacles {
            gate,
            ..paused.clone()
        };
        let open = HoldGate {
            closed: false,
            ..closed
        };
        for (obstacles, channel, due, reason) in [
            (&free, Channel::Email, 9, None),
            (&free, Channel::Sms, 9, Some(Reason::NotLive)),
            (&paused, Channel::Email, 9, Some(Reason::Paused)),
            (&with(closed), Channel::Email, 9, Some(Reason::Held)),
            (&with(closed), Channel::Sms, 9, Some(Reason::NotLive)),
            (&with(partly), Channel::Email, 9, Some(Reason::Held)),
            (&with(partly), Channel::Email, 10, Some(Reason::Paused)),
            (&with(open), Channel::Email, 9, Some(Reason::Paused)),
        ] {
            let told = obstacles.reason(&account, (SkillId(7), channel), minute(due));
            assert_eq!(told, reason, "{obstacles:?} {channel} {due}");
            assert!(reason.is_none_or(is_obstacle));
        }
        assert!(!is_obstacle(Reason::QuietHours));
    }
}
