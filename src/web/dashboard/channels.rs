//! Channels and connections, and what reminders bring about: where reminders go out and conversations are read, what is paused and
//! why; how many people came back, and how sure that is.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, words};
use crate::control;
use crate::control::Error;
use crate::control::effect::{Counts, OfRule};
use crate::domain::access::Permission;
use crate::domain::effect::Estimate;
use crate::domain::ids::Channel;
use crate::jobs::context::ACCOUNT_DEFAULT;
use crate::web::State;
use crate::web::access::Table;

pub fn add(table: &mut Table) {
    table.page(Permission::View, "/channels", channels);
    table.form(Permission::Operate, "/channels/probe", probe);
    table.form(Permission::Operate, "/channels/close", close);
    table.page(Permission::View, "/effect", effect);
}

async fn channels(page: Page, Shared(state): Shared<State>) -> Result<Response, Unshown> {
    let now = state.clock.now();
    let paused = control::senders::paused(&state.context, &page.accounts).await?;
    let accounts = page.accounts.ids();
    let scans = control::overview::scans(&state.pool, &page.accounts).await?;
    let (may, csrf) = (page.caller.may(Permission::Operate), &page.session().csrf);
    let senders = Channel::ALL.map(|channel| {
        let troubles = paused.iter().filter(|p| p.channel == channel).count();
        json!({
            "name": words::channel(channel),
            "on": state.context.has(channel),
            "sender": state.context.usual_sender(channel).filter(|sender| sender != ACCOUNT_DEFAULT),
            "through": match channel {
                Channel::Email => "SMTP",
                Channel::Sms => "Twilio",
            },
            "paused": troubles > 0,
            "mend": match channel {
                Channel::Email => "Whoever runs the server sets SMTP_USER and SMTP_PASS.",
                Channel::Sms => "Whoever runs the server sets TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN.",
            },
        })
    });
    let paused = paused.iter().map(|paused| {
        json!({
            "channel": words::channel(paused.channel),
            "provider": paused.provider,
            "sender": paused.sender,
            "since": words::time(paused.since, now),
            "again": words::time(paused.probe_at, now),
            "what": paused.trouble.what,
            "mend": paused.trouble.mend,
            "code": paused.code,
            "may": may && paused.is_theirs,
            "shared": !paused.is_theirs,
            "csrf": csrf,
        })
    });
    let scans = scans.iter().map(|scan| {
        json!({
            "brand": state.brand_of(&scan.account),
            "skill": words::skill(scan.name.as_deref(), scan.skill),
            "last": scan.succeeded_at.map(|at| words::time(at, now)),
            "took": scan.duration_ms.map(|ms| format!("{:.1} s", std::time::Duration::from_millis(ms.unsigned_abs()).as_secs_f64())),
            "conversations": scan.conversations,
            "unread": scan.unread,
            "unreadable": scan.unreadable,
            "error": scan.error,
        })
    });
    let values = json!({
        "senders": senders,
        "paused": paused.collect::<Vec<_>>(),
        "several": accounts.len() > 1,
        "set_up": !accounts.is_empty(),
        "scans": scans.collect::<Vec<_>>(),
    });
    Ok(page.render("channels.hbs", "Channels and connections", values))
}

#[derive(Deserialize)]
struct Sender {
    provider: String,
    sender: String,
}

async fn probe(
    page: Page,
    Shared(state): Shared<State>,
    Form(which): Form<Sender>,
) -> Result<Response, Unshown> {
    let by = page.caller.by();
    let done = match control::senders::key(&which.provider, &which.sender) {
        Ok(key) => control::senders::probe(&state.context, &page.accounts, by, key).await,
        Err(error) => Err(error),
    };
    told(
        &page,
        done,
        "One reminder is tried now. If it goes, the others follow.",
    )
    .await
}

async fn close(
    page: Page,
    Shared(state): Shared<State>,
    Form(which): Form<Sender>,
) -> Result<Response, Unshown> {
    let by = page.caller.by();
    let done = match control::senders::key(&which.provider, &which.sender) {
        Ok(key) => control::senders::close(&state.context, &page.accounts, by, key).await,
        Err(error) => Err(error),
    };
    told(&page, done, "Sending goes on.").await
}

async fn told(page: &Page, done: Result<(), Error>, said: &str) -> Result<Response, Unshown> {
    match done {
        Ok(()) => page.done("/channels", said).await,
        Err(Error::NotFound(_)) => page.done("/channels", "It was not paused any more.").await,
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct Back {
    days: Option<u16>,
}

async fn effect(
    page: Page,
    Shared(state): Shared<State>,
    Query(back): Query<Back>,
) -> Result<Response, Unshown> {
    let days = back.days.unwrap_or(30).clamp(1, 365);
    let now = state.clock.now();
    let effect = control::effect::effect(&state.pool, &page.accounts, days, now).await?;
    let spans = [7_u16, 30, 90].map(|span| json!({ "days": span, "chosen": span == days }));
    let values = json!({
        "spans": spans,
        "total": counts(&effect.total),
        "rules": effect.rules.iter().map(|rule| rule_row(&state, rule)).collect::<Vec<_>>(),
    });
    Ok(page.render("effect.hbs", "Effect", values))
}

fn rule_row(state: &State, rule: &OfRule) -> Value {
    let skill = match (&rule.skill_name, rule.skill) {
        (Some(name), _) => name.clone(),
        (None, Some(skill)) => format!("Skill {skill}"),
        (None, None) => "All other skills".to_owned(),
    };
    json!({
        "brand": state.brand_of(&rule.account),
        "skill": skill,
        "channel": words::channel(rule.channel),
        "holdout": rule.holdout_percent,
        "counts": counts(&rule.counts),
    })
}

fn counts(counts: &Counts) -> Value {
    json!({
        "sent": counts.all.sent,
        "held_out": counts.all.held_out,
        "within_1h": counts.within_1h().estimate().map(share),
        "within_24h": counts.within_24h().estimate().map(share),
        "lift": counts.lift().map(share),
    })
}

/// In percent, with the range in which the true share is.
fn share(estimate: Estimate) -> Value {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    json!({
        "value": percent(estimate.value),
        "range": format!("{} to {}", percent(estimate.low), percent(estimate.high)),
        "width": format!("{:.0}", (estimate.value * 100.0).clamp(0.0, 100.0)),
    })
}
