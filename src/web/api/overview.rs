//! `/overview`, `/series`, `/effect` and `/circuits`: how it is, what it did, what that brought about, and what is held up.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::extract::{Json, Query};
use super::paging::Page;
use super::reminders::Reminder;
use crate::control;
use crate::control::accounts::Accounts;
use crate::control::overview::Span;
use crate::db::pages::Scan as Row;
use crate::db::tallies::Sums;
use crate::domain::access::Permission;
use crate::domain::effect::Estimate;
use crate::domain::ids::{AccountId, Channel, Provider};
use crate::domain::round::{Pace, Round};
use crate::web::State;
use crate::web::access::{Caller, Table};
use crate::web::problem::Refusal;

pub fn add(table: &mut Table) {
    table.api(Permission::View, routes!(get_overview));
    table.api(Permission::View, routes!(list_series));
    table.api(Permission::View, routes!(get_effect));
    table.api(Permission::View, routes!(list_circuits));
    table.api(Permission::Operate, routes!(probe_circuit));
    table.api(Permission::Operate, routes!(close_circuit));
}

/// What reminders came to.
#[derive(Debug, Serialize, ToSchema)]
struct Numbers {
    /// Reminders that came to be owed.
    owed: i64,
    sent: i64,
    /// Of those sent, whose consumer came back within an hour.
    back_1h: i64,
    back_24h: i64,
    /// Not sent, because the consumer had read or answered.
    cancelled_because_read: i64,
    cancelled_otherwise: i64,
    expired: i64,
    /// Refused by the provider, or taken and not delivered.
    failed: i64,
    /// Of these, taken and not delivered.
    undelivered: i64,
    unknown: i64,
    held_out: i64,
}

impl From<Sums> for Numbers {
    fn from(sums: Sums) -> Self {
        Self {
            owed: sums.owed,
            sent: sums.sent,
            back_1h: sums.back_1h,
            back_24h: sums.back_24h,
            cancelled_because_read: sums.read,
            cancelled_otherwise: sums.cancelled,
            expired: sums.expired,
            failed: sums.failed,
            undelivered: sums.undelivered,
            unknown: sums.unknown,
            held_out: sums.held_out,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Where {
    /// Where days begin, for example `Europe/Berlin`; left out: `UTC`.
    time_zone: Option<String>,
}

fn zone(name: Option<&str>) -> Result<Tz, Refusal> {
    name.unwrap_or("UTC").parse().map_err(|_| {
        Refusal::fault(
            StatusCode::BAD_REQUEST,
            "time_zone",
            "is no time zone; write one like Europe/Berlin",
        )
    })
}

/// How it is now.
#[derive(Debug, Serialize, ToSchema)]
struct Overview {
    at: DateTime<Utc>,
    /// bad, warn, waiting or good.
    level: &'static str,
    sentence: String,
    /// What needs a person, worst first; without what the person who asks has dismissed on the page.
    attention: Vec<Attention>,
    today: Numbers,
    /// Open conversations with something unread.
    unread_now: i64,
    open_now: i64,
    waiting: i64,
    next: Vec<Reminder>,
    /// The latest look at each skill that has a rule.
    scans: Vec<Scan>,
    /// How long it takes to scan all skills of an account once.
    scan_rounds: Vec<ScanRound>,
}

/// A round over the skills of an account.
#[derive(Debug, Serialize, ToSchema)]
struct ScanRound {
    account: AccountId,
    /// Skills that are scanned; of these, those that no scan has come to yet.
    skills: u32,
    never_scanned: u32,
    /// Seconds that a round takes at the rate at which LivePerson may be called, by what the last scans cost.
    seconds: f64,
    /// Calls per second that the settings allow.
    calls_per_second: f64,
    /// Seconds from one scan of a skill to the next, as the settings want it.
    every_seconds: i64,
    /// Whether a round takes no longer than that.
    keeps_up: bool,
}

impl ScanRound {
    fn new(account: AccountId, round: &Round, pace: Pace) -> Self {
        Self {
            account,
            skills: round.skills,
            never_scanned: round.never_scanned,
            seconds: round.seconds(pace.per_second),
            calls_per_second: pace.per_second,
            every_seconds: pace.every.num_seconds(),
            keeps_up: round.fits(pace),
        }
    }
}

/// The latest scan of a skill.
#[derive(Debug, Serialize, ToSchema)]
struct Scan {
    #[schema(value_type = String)]
    account: AccountId,
    skill: i64,
    skill_name: Option<String>,
    started_at: DateTime<Utc>,
    /// When one last ran to its end.
    succeeded_at: Option<DateTime<Utc>>,
    /// Open conversations that it found; of these, unread ones.
    conversations: i32,
    unread: i32,
    /// Those that could not be understood.
    unreadable: i32,
    /// Why it did not run to its end.
    error: Option<String>,
}

impl From<Row> for Scan {
    fn from(row: Row) -> Self {
        Self {
            account: row.account,
            skill: row.skill.0,
            skill_name: row.name,
            started_at: row.started_at,
            succeeded_at: row.succeeded_at,
            conversations: row.conversations,
            unread: row.unread,
            unreadable: row.unreadable,
            error: row.error,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Attention {
    level: &'static str,
    what: String,
    mend: String,
}

/// Tell how it is
#[utoipa::path(get, path = "/overview", tag = "overview", params(Where), responses((status = 200, body = Overview)))]
async fn get_overview(
    accounts: Accounts,
    caller: Caller,
    Shared(state): Shared<State>,
    Query(wanted): Query<Where>,
) -> Result<axum::Json<Overview>, Refusal> {
    let now = state.clock.now();
    let zone = zone(wanted.time_zone.as_deref())?;
    let overview =
        control::overview::overview(&state.context, &accounts, caller.user(), (zone, now)).await?;
    let attention = overview.attention.iter().map(|item| Attention {
        level: item.level.as_str(),
        what: item.what.clone(),
        mend: item.mend.clone(),
    });
    Ok(axum::Json(Overview {
        at: overview.now,
        level: overview.health.level.as_str(),
        attention: attention.collect(),
        today: overview.total().into(),
        unread_now: overview.unread_now,
        open_now: overview.open_now,
        waiting: overview.waiting,
        sentence: overview.health.sentence,
        next: overview.next.into_iter().map(Reminder::from).collect(),
        scans: overview.scans.into_iter().map(Scan::from).collect(),
        scan_rounds: overview
            .rounds
            .into_iter()
            .map(|(account, round)| ScanRound::new(account, &round, overview.pace))
            .collect(),
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Over {
    /// So many days, today included, by the day; left out: today, by the hour.
    #[param(minimum = 1, maximum = 92)]
    days: Option<u8>,
    /// Instead of days: so many hours, this one included, by the hour.
    #[param(minimum = 1, maximum = 48)]
    hours: Option<u8>,
    /// Where days begin, for example `Europe/Berlin`; left out: `UTC`.
    time_zone: Option<String>,
}

/// An hour or a day.
#[derive(Debug, Serialize, ToSchema)]
struct Piece {
    /// Its beginning.
    at: DateTime<Utc>,
    email: Numbers,
    sms: Numbers,
}

/// List what happened, hour by hour or day by day
#[utoipa::path(get, path = "/series", tag = "overview", params(Over), responses((status = 200, body = Page<Piece>)))]
async fn list_series(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Query(over): Query<Over>,
) -> Result<axum::Json<Page<Piece>>, Refusal> {
    let bad = |field, detail| Err(Refusal::fault(StatusCode::BAD_REQUEST, field, detail));
    let span = match (over.days, over.hours) {
        (None, None) => Span::Today,
        (Some(days @ 1..=92), None) => Span::Days(days),
        (None, Some(hours @ 1..=48)) => Span::Hours(hours),
        (Some(_), None) => return bad("days", "must be from 1 to 92"),
        (None, Some(_)) => return bad("hours", "must be from 1 to 48"),
        (Some(_), Some(_)) => return bad("hours", "give either days or hours"),
    };
    let now = state.clock.now();
    let zone = zone(over.time_zone.as_deref())?;
    let pieces = control::overview::series(&state.pool, &accounts, span, zone, now).await?;
    let pieces = pieces.into_iter().map(|piece| Piece {
        at: piece.at,
        email: piece.email.into(),
        sms: piece.sms.into(),
    });
    Ok(axum::Json(Page::whole(pieces.collect())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Back {
    /// So many days back; left out: 30.
    #[param(minimum = 1, maximum = 365)]
    days: Option<u16>,
}

/// A share and the interval in which the true one lies in 95 of 100 cases.
#[derive(Debug, Serialize, ToSchema)]
struct Share {
    value: f64,
    low: f64,
    high: f64,
}

impl From<Estimate> for Share {
    fn from(estimate: Estimate) -> Self {
        Self {
            value: estimate.value,
            low: estimate.low,
            high: estimate.high,
        }
    }
}

/// The effect of a rule's reminders.
#[derive(Debug, Serialize, ToSchema)]
struct OfRule {
    #[schema(value_type = String)]
    account: AccountId,
    /// Null: the account's default.
    skill: Option<i64>,
    skill_name: Option<String>,
    channel: Channel,
    holdout_percent: u8,
    sent: i64,
    held_out: i64,
    /// Of those sent, who came back within an hour.
    back_1h: Option<Share>,
    back_24h: Option<Share>,
    /// How much larger the share who came back is than among those held out; null without a hold-out share.
    lift: Option<Share>,
}

/// Tell what reminders bring about, rule by rule
///
/// The last 24 hours do not count: their recipients still have time.
#[utoipa::path(get, path = "/effect", tag = "overview", params(Back), responses((status = 200, body = Page<OfRule>)))]
async fn get_effect(
    accounts: Accounts,
    Shared(state): Shared<State>,
    Query(back): Query<Back>,
) -> Result<axum::Json<Page<OfRule>>, Refusal> {
    let days = back.days.unwrap_or(30);
    if !(1..=365).contains(&days) {
        return Err(Refusal::fault(
            StatusCode::BAD_REQUEST,
            "days",
            "must be from 1 to 365",
        ));
    }
    let now = state.clock.now();
    let effect = control::effect::effect(&state.pool, &accounts, days, now).await?;
    let rules = effect.rules.into_iter().map(|rule| OfRule {
        account: rule.account,
        skill: rule.skill.map(|skill| skill.0),
        skill_name: rule.skill_name,
        channel: rule.channel,
        holdout_percent: rule.holdout_percent,
        sent: rule.counts.all.sent,
        held_out: rule.counts.all.held_out,
        back_1h: rule.counts.within_1h().estimate().map(Share::from),
        back_24h: rule.counts.within_24h().estimate().map(Share::from),
        lift: rule.counts.lift().map(Share::from),
    });
    Ok(axum::Json(Page::whole(rules.collect())))
}

/// A sender that is paused because something is wrong with it.
#[derive(Debug, Serialize, ToSchema)]
struct Circuit {
    /// smtp or twilio.
    #[schema(value_type = String)]
    provider: Provider,
    channel: Channel,
    sender: String,
    since: DateTime<Utc>,
    /// When one reminder is let through to see whether the trouble is over.
    probe_at: DateTime<Utc>,
    code: String,
    what: &'static str,
    mend: &'static str,
}

/// List the senders that are paused
///
/// Who is limited to some accounts sees those that the rules of these use.
#[utoipa::path(get, path = "/circuits", tag = "circuits", responses((status = 200, body = Page<Circuit>)))]
async fn list_circuits(
    accounts: Accounts,
    Shared(state): Shared<State>,
) -> Result<axum::Json<Page<Circuit>>, Refusal> {
    let paused = control::senders::paused(&state.context, &accounts).await?;
    let paused = paused.into_iter().map(|paused| Circuit {
        provider: paused.provider,
        channel: paused.channel,
        sender: paused.sender,
        since: paused.since,
        probe_at: paused.probe_at,
        code: paused.code,
        what: paused.trouble.what,
        mend: paused.trouble.mend,
    });
    Ok(axum::Json(Page::whole(paused.collect())))
}

/// Which sender.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Sender {
    /// `smtp` or `twilio`.
    provider: String,
    #[schema(example = "hello@example.com")]
    sender: String,
}

/// Try a paused sender now
///
/// Whoever is limited to some accounts only if no rule of another one comes from it (403).
#[utoipa::path(post, path = "/circuits/probe", tag = "circuits", request_body = Sender, responses((status = 204),
    (status = 404, description = "It is not paused")))]
async fn probe_circuit(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Json(which): Json<Sender>,
) -> Result<StatusCode, Refusal> {
    let key = control::senders::key(&which.provider, &which.sender)?;
    control::senders::probe(&state.context, &accounts, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send from a paused sender again
///
/// Whoever is limited to some accounts only if no rule of another one comes from it (403).
#[utoipa::path(post, path = "/circuits/close", tag = "circuits", request_body = Sender, responses((status = 204),
    (status = 404, description = "It is not paused")))]
async fn close_circuit(
    accounts: Accounts,
    Shared(state): Shared<State>,
    caller: Caller,
    Json(which): Json<Sender>,
) -> Result<StatusCode, Refusal> {
    let key = control::senders::key(&which.provider, &which.sender)?;
    control::senders::close(&state.context, &accounts, caller.by(), key).await?;
    Ok(StatusCode::NO_CONTENT)
}
