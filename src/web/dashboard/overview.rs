//! The first page: is it well, what did it do, what does it do next, and why.
//!
//! It shows no address and no consumer: conversations are named by LivePerson's id, which says nothing to a stranger.

use axum::extract::State as Shared;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::words::{relative, words};
use super::{Page, Unshown};
use crate::control;
use crate::control::overview::Overview;
use crate::db;
use crate::db::pages::{Attempt, Decision, Reminder, Scan};
use crate::domain::access::Permission;
use crate::web::State;
use crate::web::access::Table;

/// Rows in each list.
const SHOWN: i64 = 25;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/", show);
}

async fn show(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    let (pool, now) = (&state.pool, state.clock.now());
    let accounts = state.account_ids();
    let overview = control::overview::overview(pool, &accounts, chrono_tz::UTC, now).await?;
    let newest = db::pages::newest(pool, SHOWN).await?;
    let ids: Vec<i64> = newest.iter().map(|r| r.id).collect();
    let decisions = db::pages::decisions_about(pool, &ids).await?;
    let attempts = db::pages::attempts_of(pool, &ids).await?;
    let log = db::pages::newest_decisions(pool, SHOWN).await?;
    let values = json!({
        "health": { "level": overview.health.level.as_str(), "sentence": overview.health.sentence },
        "now": moment(now),
        "tiles": tiles(&overview),
        "next": overview.next.iter().map(|r| reminder_row(r, now)).collect::<Vec<_>>(),
        "reminders": newest.iter().map(|r| story(r, &decisions, &attempts, now)).collect::<Vec<_>>(),
        "scans": overview.scans.iter().map(|s| scan_row(s, now)).collect::<Vec<_>>(),
        "log": log.iter().map(|d| decision_row(d, now)).collect::<Vec<_>>(),
    });
    Ok(page.render("overview.hbs", "Overview", values))
}

fn tiles(overview: &Overview) -> Value {
    let today = overview.total();
    json!([
        { "label": "Unread right now", "value": overview.unread_now },
        { "label": "Reminders sent today", "value": today.sent },
        { "label": "Came back", "value": today.back_24h },
        { "label": "Cancelled because read", "value": today.read },
        { "label": "Waiting", "value": overview.waiting },
        { "label": "Failed", "value": today.failed },
        { "label": "Unknown whether sent", "value": today.unknown },
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
