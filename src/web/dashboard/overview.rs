//! The first page: is it well, what did it do, what does it do next, and why.
//!
//! It shows no address and no consumer: conversations are named by LivePerson's id, which says nothing to a stranger.

use std::collections::HashMap;

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::words::{ago, relative, span, words};
use super::{Page, Unshown};
use crate::db;
use crate::db::circuits::Circuit;
use crate::db::pages::{Attempt, Decision, Reminder, Scan, Tally};
use crate::domain::access::Permission;
use crate::domain::trouble::Trouble;
use crate::web::State;
use crate::web::access::Table;

/// Rows in each list.
const SHOWN: i64 = 25;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/", show);
}

async fn show(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    let (pool, now) = (&state.pool, state.clock.now());
    let scans = db::pages::scans(pool).await?;
    let circuits = db::circuits::open_ones(pool).await?;
    let tallies = db::pages::tallies(pool, now).await?;
    let conversations = db::pages::conversations(pool).await?;
    let newest = db::pages::newest(pool, SHOWN).await?;
    let next = db::pages::due_next(pool, 10).await?;
    let ids: Vec<i64> = newest.iter().map(|r| r.id).collect();
    let decisions = db::pages::decisions_about(pool, &ids).await?;
    let attempts = db::pages::attempts_of(pool, &ids).await?;
    let log = db::pages::newest_decisions(pool, SHOWN).await?;
    let health = Health::of(&scans, &circuits, now);
    let values = json!({
        "health": { "level": health.level, "sentence": health.sentence },
        "now": moment(now),
        "tiles": tiles(&tallies, &conversations),
        "next": next.iter().map(|r| reminder_row(r, now)).collect::<Vec<_>>(),
        "reminders": newest.iter().map(|r| story(r, &decisions, &attempts, now)).collect::<Vec<_>>(),
        "scans": scans.iter().map(|s| scan_row(s, now)).collect::<Vec<_>>(),
        "log": log.iter().map(|d| decision_row(d, now)).collect::<Vec<_>>(),
    });
    Ok(page.render("overview.hbs", "Overview", values))
}

/// One sentence about how it is, and how bad that is.
#[derive(Debug, PartialEq, Eq)]
struct Health {
    level: &'static str,
    sentence: String,
}

impl Health {
    /// Worst first: what stops reminders comes before what delays them.
    fn of(scans: &[Scan], circuits: &[Circuit], now: DateTime<Utc>) -> Self {
        let level = |level, sentence| Self { level, sentence };
        if let Some(circuit) = circuits.first() {
            let trouble = Trouble::of(&circuit.provider, &circuit.code);
            let since = ago(now - circuit.opened_at);
            return level(
                "bad",
                format!(
                    "{} {} Sending from {} is paused since {since} ({}) and tried again every minute.",
                    trouble.what, trouble.mend, circuit.sender, circuit.code
                ),
            );
        }
        if let Some(failed) = scans.iter().find(|s| s.error.is_some()) {
            return level(
                "bad",
                format!(
                    "LivePerson cannot be read: {}.",
                    failed.error.as_deref().unwrap_or_default()
                ),
            );
        }
        let Some(oldest) = scans
            .iter()
            .map(|s| s.succeeded_at.unwrap_or(s.started_at))
            .min()
        else {
            return level(
                "waiting",
                "Waiting for the first scan of the account.".to_owned(),
            );
        };
        if now - oldest > TimeDelta::minutes(10) {
            return level(
                "bad",
                format!(
                    "The last complete scan was {}: is a scheduler and a worker running?",
                    ago(now - oldest)
                ),
            );
        }
        if scans.iter().any(|s| s.succeeded_at.is_none()) {
            return level("waiting", "The first scan is under way.".to_owned());
        }
        level(
            "good",
            format!(
                "All is well: every skill was scanned within the last {}.",
                span(now - oldest)
            ),
        )
    }
}

fn tiles(tallies: &[Tally], conversations: &HashMap<String, i64>) -> Value {
    let sum = |pick: &dyn Fn(&Tally) -> bool| {
        tallies
            .iter()
            .filter(|t| pick(t))
            .map(|t| t.reminders)
            .sum::<i64>()
    };
    let sent = |t: &Tally| matches!(t.state.as_str(), "sent" | "delivered" | "undelivered");
    let cancelled_because = |t: &Tally, reasons: &[&str]| {
        t.state == "cancelled" && t.reason.as_deref().is_some_and(|r| reasons.contains(&r))
    };
    let returned: i64 = tallies.iter().map(|t| t.returned).sum();
    json!([
        { "label": "Unread right now", "value": conversations.get("unread").copied().unwrap_or_default() },
        { "label": "Reminders sent", "value": sum(&sent) },
        { "label": "Came back", "value": returned },
        { "label": "Cancelled because read", "value": sum(&|t| cancelled_because(t, &["read", "answered", "new_episode"])) },
        { "label": "Scheduled", "value": sum(&|t| matches!(t.state.as_str(), "scheduled" | "sending")) },
        { "label": "Failed", "value": sum(&|t| matches!(t.state.as_str(), "failed" | "undelivered")) },
        { "label": "Unknown whether sent", "value": sum(&|t| t.state == "unknown") },
    ])
}

fn reminder_row(r: &Reminder, now: DateTime<Utc>) -> Value {
    let when = r.sent_at.or(r.next_at).unwrap_or(r.due_at);
    json!({
        "id": r.id,
        "conversation": r.conversation,
        "skill": r.skill_name.clone().unwrap_or_else(|| skill(r.skill)),
        "channel": if r.channel == "sms" { "SMS" } else { "E-mail" },
        "step": r.step,
        "state": r.state,
        "reason": r.reason.as_deref().filter(|_| r.state != "sent" && r.state != "delivered").map(words),
        "when": moment(when),
        "relative": relative(when, now),
        "returned": r.returned_at.map(|at| relative(at, now)),
    })
}

fn story(r: &Reminder, decisions: &[Decision], attempts: &[Attempt], now: DateTime<Utc>) -> Value {
    let mut lines: Vec<(DateTime<Utc>, String)> = vec![(
        r.created_at,
        format!(
            "Scheduled for {} (step {})",
            r.due_at.format("%Y-%m-%d %H:%M:%S UTC"),
            r.step
        ),
    )];
    for d in decisions.iter().filter(|d| d.reminder == Some(r.id)) {
        let until = d
            .until
            .map(|at| format!(", again at {}", at.format("%H:%M:%S UTC")))
            .unwrap_or_default();
        lines.push((
            d.at,
            format!("Decided: {} ({}){until}", d.verdict, words(&d.reason)),
        ));
    }
    for a in attempts.iter().filter(|a| a.reminder == r.id) {
        let code = a
            .code
            .as_deref()
            .map(|code| format!(" ({code})"))
            .unwrap_or_default();
        let outcome = a.outcome.as_deref().map_or("under way", |o| {
            if o == "not_accepted" {
                "not accepted"
            } else {
                o
            }
        });
        lines.push((
            a.ended_at.unwrap_or(a.started_at),
            format!("Attempt {}: {outcome}{code}", a.number),
        ));
    }
    for (at, what) in [
        (r.clicked_at, "The link was followed"),
        (r.returned_at, "The consumer came back"),
    ] {
        lines.extend(at.map(|at| (at, what.to_owned())));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut row = reminder_row(r, now);
    row["story"] = lines
        .iter()
        .map(|(at, what)| json!({ "at": moment(*at), "what": what }))
        .collect();
    row
}

fn scan_row(s: &Scan, now: DateTime<Utc>) -> Value {
    json!({
        "account": s.account,
        "skill": s.name.clone().unwrap_or_else(|| skill(s.skill)),
        "last": s.succeeded_at.map_or_else(|| "not yet".to_owned(), |at| relative(at, now)),
        "conversations": s.conversations,
        "unreadable": s.unreadable,
        "took": s.duration_ms.map(|ms| format!("{ms} ms")),
        "error": s.error,
    })
}

fn decision_row(d: &Decision, now: DateTime<Utc>) -> Value {
    json!({
        "at": moment(d.at),
        "relative": relative(d.at, now),
        "conversation": d.conversation,
        "channel": if d.channel == "sms" { "SMS" } else { "E-mail" },
        "stage": d.stage,
        "verdict": if d.verdict == "none" { "no reminder" } else { &d.verdict },
        "reason": words(&d.reason),
    })
}

fn skill(id: i64) -> String {
    if id == -1 {
        "Unassigned".to_owned()
    } else {
        format!("skill {id}")
    }
}

/// For `<time datetime>`, and to read.
fn moment(at: DateTime<Utc>) -> Value {
    json!({ "iso": at.format("%Y-%m-%dT%H:%M:%SZ").to_string(), "text": at.format("%Y-%m-%d %H:%M:%S UTC").to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    fn scan(succeeded: Option<i64>, error: Option<&str>) -> Scan {
        Scan {
            account: "12345678".to_owned(),
            skill: -1,
            name: None,
            started_at: at(0),
            succeeded_at: succeeded.map(at),
            duration_ms: None,
            conversations: 0,
            unreadable: 0,
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn the_health_sentence_names_the_worst_first() {
        let circuit = Circuit {
            provider: "smtp".to_owned(),
            sender: "a@example.com".to_owned(),
            opened_at: at(0),
            code: "auth 535 5.7.8".to_owned(),
            probe_at: at(1),
        };
        let fresh = scan(Some(0), None);
        let stopped = scan(Some(0), Some("LivePerson throttles search"));
        let level =
            |scans: &[Scan], circuits: &[Circuit], now| Health::of(scans, circuits, at(now)).level;
        assert_eq!(level(&[], &[], 0), "waiting");
        assert_eq!(level(std::slice::from_ref(&fresh), &[], 1), "good");
        assert_eq!(level(&[fresh.clone(), scan(None, None)], &[], 1), "waiting");
        assert_eq!(level(std::slice::from_ref(&fresh), &[], 20), "bad");
        let both = Health::of(&[fresh, stopped], &[circuit], at(1));
        assert!(
            both.sentence.starts_with("The mail server"),
            "{}",
            both.sentence
        );
    }
}
