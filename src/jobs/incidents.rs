//! Watches for incidents and tells people of them: each once when it begins and once when it is over, whichever process finds it.
//!
//! Level-triggered: what is wrong is read from the tables, compared with what is known, and what follows is written in one transaction.
//! Telling comes after it, outside of any: notices are taken under a lease, so that one process tells them, and if it dies another tells
//! them again under the same name.

use std::collections::BTreeSet;

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::context::Context;
use super::queue;
use super::tell;
use crate::db;
use crate::db::incidents::{Incident, NoticeKind};
use crate::domain::incident::{IncidentKind, IncidentStep, Trouble};

/// A scan that is older is missed.
const STALE_SCAN: TimeDelta = TimeDelta::minutes(10);

/// An entry of the journal that waits for longer is held up.
const JOURNAL_LAG_SECONDS: f64 = 300.0;

/// Looks what is wrong, and tells who is to hear of it.
pub async fn watch(ctx: &Context) -> anyhow::Result<()> {
    let now = ctx.clock.now();
    let found = troubles(ctx, now).await.context("looking for trouble")?;
    let mut tx = ctx.pool.begin().await?;
    db::incidents::lock(&mut tx).await?;
    let known = db::incidents::going_on(&mut *tx).await?;
    let mut seen = Vec::new();
    for trouble in &found {
        let incident = match known.iter().find(|known| is_same(&known.trouble, trouble)) {
            Some(known) => known.clone(),
            None => db::incidents::watch(&mut tx, trouble, now).await?,
        };
        match incident.watched().step(true, now) {
            IncidentStep::Begins => begins(ctx, &mut tx, &incident, now).await?,
            IncidentStep::Anew => db::incidents::restart(&mut tx, incident.id, now).await?,
            _ => seen.push(incident.id),
        }
    }
    db::incidents::seen(&mut tx, &seen, now).await?;
    let gone = known
        .iter()
        .filter(|known| !found.iter().any(|found| is_same(&known.trouble, found)));
    for incident in gone {
        match incident.watched().step(false, now) {
            IncidentStep::Ends => ends(ctx, &mut tx, incident, now).await?,
            IncidentStep::Forgotten => db::incidents::forget(&mut tx, incident.id).await?,
            _ => {}
        }
    }
    tx.commit().await.context("writing down incidents")?;
    tell::incidents(ctx).await
}

fn is_same(one: &Trouble, other: &Trouble) -> bool {
    (one.kind, &one.about) == (other.kind, &other.about)
}

async fn begins(
    ctx: &Context,
    tx: &mut PgConnection,
    incident: &Incident,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    db::incidents::begins(tx, incident.id, now).await?;
    let kind = incident.trouble.kind;
    tracing::error!(incident = incident.id, %kind, "An incident has begun");
    let told = Incident {
        begun_at: Some(now),
        ..incident.clone()
    };
    note(ctx, tx, &told, "begins", now).await
}

async fn ends(
    ctx: &Context,
    tx: &mut PgConnection,
    incident: &Incident,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    // It ended when it was last seen; that it is over is known now.
    db::incidents::ends(tx, incident.id, incident.last_seen).await?;
    let kind = incident.trouble.kind;
    tracing::info!(incident = incident.id, %kind, "An incident is over");
    let told = Incident {
        ended_at: Some(incident.last_seen),
        ..incident.clone()
    };
    note(ctx, tx, &told, "ends", now).await
}

async fn note(
    ctx: &Context,
    tx: &mut PgConnection,
    incident: &Incident,
    what: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let subject = format!("incident/{}/{what}", incident.id);
    let targets = ctx.notify.targets(&ctx.hasher);
    let of = (NoticeKind::Incident, subject.as_str());
    db::incidents::notify(tx, of, &targets, &body(incident), now).await?;
    Ok(())
}

/// An incident as it is posted; mails are written from it.
fn body(incident: &Incident) -> Value {
    let Trouble {
        kind,
        about,
        account,
    } = &incident.trouble;
    json!({
        "type": if incident.ended_at.is_some() { "incident.ended" } else { "incident.began" },
        "timestamp": incident.ended_at.or(incident.begun_at),
        "data": {
            "id": incident.id,
            "kind": kind.as_str(),
            "about": about,
            "account": account,
            "what": kind.sentence(about),
            "fix": kind.remedy(),
            "since": incident.first_seen,
            "until": incident.ended_at,
        },
    })
}

/// What is wrong now.
async fn troubles(ctx: &Context, now: DateTime<Utc>) -> anyhow::Result<Vec<Trouble>> {
    let pool = &ctx.pool;
    let trouble = |kind, about: String, account| Trouble {
        kind,
        about,
        account,
    };
    let mut found = Vec::new();
    if !db::holds::active(pool).await?.is_empty() {
        found.push(trouble(IncidentKind::Hold, String::new(), None));
    }
    for circuit in db::circuits::open_ones(pool).await? {
        found.push(trouble(IncidentKind::SenderPaused, circuit.sender, None));
    }
    let scans = db::reports::scans(pool, None).await?;
    let unreadable: BTreeSet<_> = scans
        .iter()
        .filter(|s| s.error.is_some())
        .map(|s| &s.account)
        .collect();
    let stale = scans
        .iter()
        .filter(|scan| now - scan.succeeded_at.unwrap_or(scan.started_at) > STALE_SCAN);
    let stale: BTreeSet<_> = stale.map(|scan| &scan.account).collect();
    let configured = |account: &&&_| ctx.accounts.contains_key(**account);
    for account in unreadable.iter().filter(configured) {
        found.push(trouble(
            IncidentKind::LivePerson,
            account.to_string(),
            Some((*account).clone()),
        ));
    }
    // Where LivePerson cannot be read, that is why it was not scanned.
    for account in stale.difference(&unreadable).filter(configured) {
        found.push(trouble(
            IncidentKind::NotScanned,
            account.to_string(),
            Some((*account).clone()),
        ));
    }
    for (sink, seconds) in db::journal::lag(pool).await? {
        if seconds > JOURNAL_LAG_SECONDS {
            found.push(trouble(
                IncidentKind::Journal,
                sink.as_str().to_owned(),
                None,
            ));
        }
    }
    if queue::dead(pool).await? > 0 {
        found.push(trouble(IncidentKind::DeadJobs, String::new(), None));
    }
    Ok(found)
}
