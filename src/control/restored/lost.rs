//! The time that a restore has lost.

use chrono::{DateTime, TimeDelta, Utc};

use super::RestoredRequest;
use crate::control::{ControlError, Fault};
use crate::db;
use crate::db::restored::LostPeriod;
use crate::domain::heartbeat::judge;
use crate::domain::hold::Hold;
use crate::jobs::context::Context;
use crate::jobs::heartbeat;

/// Who knew the database last was heard of at most so long before it sent last.
const LAST_BEAT: TimeDelta = TimeDelta::minutes(1);

/// Where all is well, what is due by now and has not been sent would never be.
const NOTHING_HELD: &str = "Nothing is on hold, and no journal here remembers more than this database has: there is nothing to do. If a \
                            backup was restored and this could not be detected, because no process that knew the database is still \
                            running and no journal file was kept, add --unnoticed.";

/// The time that is lost, by what the person says and what the hold and the journal know: the longest of all. Refuses where nothing says
/// that any is.
pub async fn lost_time(
    ctx: &Context,
    wish: &RestoredRequest,
    now: DateTime<Utc>,
) -> Result<LostPeriod, ControlError> {
    let holds = db::holds::active(&ctx.pool).await?;
    if holds.is_empty() && !wish.unnoticed && !would_hold(ctx, wish).await? {
        return Err(ControlError::Conflict(NOTHING_HELD.to_owned()));
    }
    checked(&holds, wish, now)
}

/// Whether the first process that comes would hold sending: none has come yet that could have found it out.
async fn would_hold(ctx: &Context, wish: &RestoredRequest) -> Result<bool, ControlError> {
    let mut tx = ctx.pool.begin().await?;
    let beat = heartbeat::read_beat(&mut tx, &ctx.clock).await?;
    let journal = heartbeat::recall(&mut tx, wish.remembered.clone()).await?;
    let verdict = judge(None, journal.as_ref(), &beat);
    Ok(Hold::of(&verdict, beat.after.beat_at).is_some())
}

pub(super) fn checked(
    holds: &[Hold],
    wish: &RestoredRequest,
    now: DateTime<Utc>,
) -> Result<LostPeriod, ControlError> {
    let fault = |field: &str, detail: String| {
        Err(ControlError::Invalid(vec![Fault {
            field: field.to_owned(),
            detail,
        }]))
    };
    if let Some(until) = wish.lost_until.filter(|until| *until > now) {
        return fault(
            "until",
            format!(
                "{until} is still to come: what falls due until then would never be sent; name the moment of the last message, or leave \
                 it out"
            ),
        );
    }
    let lost = lost(holds, wish, now);
    if lost.from > lost.until {
        return fault(
            "lost_from",
            format!(
                "{} is after {}, the end of the lost time; name the moment at which the backup was made",
                lost.from, lost.until
            ),
        );
    }
    Ok(lost)
}

fn lost(holds: &[Hold], wish: &RestoredRequest, now: DateTime<Utc>) -> LostPeriod {
    let from = holds.iter().filter_map(|hold| hold.lost_from).min();
    let found = holds.iter().map(|hold| hold.found_at).min();
    let from = from.map_or(wish.lost_from, |from| from.min(wish.lost_from));
    // A journal that nobody has kept since before the backup knows nothing of that time.
    let remembered = wish.remembered.as_ref().map(|seen| seen.at);
    let last = holds.iter().filter_map(|hold| hold.lost_until);
    let last = last.chain(remembered.filter(|at| *at > from)).max();
    let until = last.map_or(now, |last| {
        (last + LAST_BEAT).min(found.unwrap_or(now).max(last))
    });
    LostPeriod {
        from,
        until: wish.lost_until.map_or(until, |wished| wished.max(until)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::heartbeat::RememberedHeartbeat;
    use crate::domain::hold::HoldKind;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-01-05T{time}:00Z").parse().unwrap()
    }

    #[test]
    fn the_lost_time_is_the_longer_of_what_a_person_says_and_what_is_known() {
        let hold = |kind, from, until, found: &str| Hold {
            kind,
            found_at: at(found),
            lost_from: Some(at(from)),
            lost_until: Some(at(until)),
            due_before: None,
            counter: 7,
            installation: None,
        };
        let restored = hold(HoldKind::Restored, "12:00", "13:00", "15:00");
        let at_once = hold(HoldKind::Restored, "12:00", "13:00", "13:00");
        // As `unread restore` leaves it.
        let filled = Hold {
            lost_until: None,
            ..hold(HoldKind::Copied, "12:00", "12:00", "15:00")
        };
        let (none, one) = (&[][..], std::slice::from_ref(&restored));
        let (at_once, filled) = (
            std::slice::from_ref(&at_once),
            std::slice::from_ref(&filled),
        );
        #[rustfmt::skip]
        let cases = [
            // What, holds, the journal's last beat, --lost-from, --until, lost time.
            ("as it is known", one, None, "12:00", None, ("12:00", "13:01")),
            ("the backup is older", one, None, "11:50", None, ("11:50", "13:01")),
            ("it cannot be newer", one, None, "12:30", None, ("12:00", "13:01")),
            ("a person knows a later end", one, None, "12:00", Some("14:00"), ("12:00", "14:00")),
            ("somebody knew the database later than that", one, None, "12:00", Some("12:10"), ("12:00", "13:01")),
            ("found at once", at_once, None, "12:00", None, ("12:00", "13:00")),
            ("nobody has found out", none, None, "12:00", None, ("12:00", "16:00")),
            ("but a journal knows", none, Some("13:00"), "12:00", None, ("12:00", "13:01")),
            ("restored by our command, with a journal", filled, Some("13:00"), "12:00", None, ("12:00", "13:01")),
            ("restored by our command, without", filled, None, "12:00", None, ("12:00", "16:00")),
            ("restored by our command, with a journal from before", filled, Some("11:00"), "12:00", None, ("12:00", "16:00")),
        ];
        for (what, holds, remembered, from, until, expected) in cases {
            let wish = RestoredRequest {
                lost_from: at(from),
                lost_until: until.map(at),
                journal: None,
                remembered: remembered.map(|time| RememberedHeartbeat {
                    installation: "ours".to_owned(),
                    counter: 7,
                    at: at(time),
                    server: None,
                    process: None,
                    decided_at: None,
                }),
                unnoticed: false,
            };
            let lost = lost(holds, &wish, at("16:00"));
            assert_eq!(
                (lost.from, lost.until),
                (at(expected.0), at(expected.1)),
                "{what}"
            );
        }
    }

    #[test]
    fn a_lost_time_that_ends_in_the_future_or_before_it_begins_is_refused() {
        for (from, until, field) in [
            ("12:00", Some("15:59"), None),
            ("12:00", Some("16:01"), Some("until")),
            ("16:01", None, Some("lost_from")),
        ] {
            let wish = RestoredRequest {
                lost_from: at(from),
                lost_until: until.map(at),
                journal: None,
                remembered: None,
                unnoticed: true,
            };
            let refused = match checked(&[], &wish, at("16:00")) {
                Err(ControlError::Invalid(faults)) => Some(faults[0].field.clone()),
                Ok(_) => None,
                Err(error) => panic!("{error:?}"),
            };
            assert_eq!(refused.as_deref(), field, "{from} {until:?}");
        }
    }
}
