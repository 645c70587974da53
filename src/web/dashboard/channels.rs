//! Channels and connections, and what reminders bring about: where reminders go out and conversations are read, what is paused and
//! why; how many people came back, and how sure that is.

use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::labels::{self, Moment};
use super::{PageError, PageFrame};
use crate::channel;
use crate::channel::adapter::Adapter;
use crate::control;
use crate::control::ControlError;
use crate::control::effect::{OfRule, OfStep, ReturnOutcome};
use crate::control::incidents::IncidentView;
use crate::control::overview::{ScanRound, ScanView};
use crate::control::senders::CircuitView;
use crate::domain::access::Permission;
use crate::domain::effect::Estimate;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::round;
use crate::jobs::context::ACCOUNT_DEFAULT;
use crate::web::AppState;
use crate::web::access::RouteTable;

/// Shown on the page.
const INCIDENTS: i64 = 20;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/connections", channels);
    table.form(Permission::Operate, "/connections/probe", probe);
    table.form(Permission::Operate, "/connections/close", close);
    table.page(Permission::View, "/results", effect);
}

#[derive(Serialize)]
struct ChannelsPage<'a> {
    senders: Vec<ChannelCard>,
    paused: Vec<PausedCard<'a>>,
    several: bool,
    set_up: bool,
    scans: Vec<ScanRow<'a>>,
    passes: Vec<PassesRow>,
    incidents: Vec<IncidentRow>,
    /// Who hears of them.
    audience: String,
}

#[derive(Serialize)]
struct IncidentRow {
    #[serde(flatten)]
    incident: IncidentView,
    began: Moment,
    over: Option<Moment>,
}

/// How conversations of an account are looked at.
#[derive(Serialize)]
struct PassesRow {
    #[serde(flatten)]
    passes: ScanRound,
    brand: String,
    full_pass_time: Option<Moment>,
    recent_pass_time: Option<Moment>,
    distrusted_time: Option<Moment>,
    badge_check_time: Option<Moment>,
    whole_calls: String,
    takes: String,
}

impl PassesRow {
    fn new(passes: ScanRound, state: &AppState, now: DateTime<Utc>) -> Self {
        let time = |at: Option<DateTime<Utc>>| at.map(|at| labels::time(at, now));
        Self {
            brand: state.brand_of(&passes.account),
            full_pass_time: time(passes.full_pass_at),
            recent_pass_time: time(passes.recent_pass_at),
            distrusted_time: time(passes.filter_distrusted_at),
            badge_check_time: time(passes.badge_check_at),
            whole_calls: format!("{:.0}", passes.full_pass_calls),
            takes: round::duration(passes.seconds),
            passes,
        }
    }
}

#[derive(Serialize)]
struct ChannelCard {
    name: &'static str,
    /// Whose it is, where not all brands send with the same.
    brands: String,
    on: bool,
    sender: Option<String>,
    through: &'static str,
    paused: bool,
    fix: String,
}

#[derive(Serialize)]
struct PausedCard<'a> {
    #[serde(flatten)]
    circuit: &'a CircuitView,
    channel_name: &'static str,
    paused_since: Moment,
    again: Moment,
    may: bool,
    shared: bool,
}

#[derive(Serialize)]
struct ScanRow<'a> {
    #[serde(flatten)]
    scan: &'a ScanView,
    brand: String,
    skill_label: String,
    last: Option<Moment>,
    took: Option<String>,
}

async fn channels(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    let now = state.clock.now();
    let paused = control::senders::paused(&state.context, &page.accounts).await?;
    let accounts = page.accounts.ids();
    let scans = control::overview::scans(&state.pool, &page.accounts).await?;
    let passes = control::overview::passes(&state.context, &page.accounts, now).await?;
    let may = page.caller.may(Permission::Operate);
    let senders = Channel::ALL
        .into_iter()
        .flat_map(|channel| cards_of(&state, accounts, channel, &paused))
        .collect();
    let cards = paused.iter().map(|circuit| PausedCard {
        circuit,
        channel_name: labels::channel(circuit.channel),
        paused_since: labels::time(circuit.since, now),
        again: labels::time(circuit.probe_at, now),
        may: may && circuit.is_theirs,
        shared: !circuit.is_theirs,
    });
    let incidents = control::incidents::list(&state.context, &page.accounts, INCIDENTS).await?;
    let values = ChannelsPage {
        incidents: incidents
            .into_iter()
            .map(|incident| IncidentRow {
                began: labels::time(incident.since, now),
                over: incident.until.map(|at| labels::time(at, now)),
                incident,
            })
            .collect(),
        audience: control::incidents::audience(&state.context).await?,
        senders,
        paused: cards.collect(),
        several: accounts.len() > 1,
        set_up: !accounts.is_empty(),
        passes: passes
            .into_iter()
            .map(|passes| PassesRow::new(passes, &state, now))
            .collect(),
        scans: scans
            .iter()
            .map(|scan| ScanRow {
                scan,
                brand: state.brand_of(&scan.account),
                skill_label: labels::skill(scan.skill_name.as_deref(), scan.skill),
                last: scan.succeeded_at.map(|at| labels::time(at, now)),
                took: scan.duration_ms.map(seconds),
            })
            .collect(),
    };
    Ok(page.render("channels.hbs", "Connections", values))
}

/// A channel's card for what the brands share, and one for each brand that has its own.
fn cards_of(
    state: &AppState,
    accounts: &[AccountId],
    channel: Channel,
    paused: &[CircuitView],
) -> Vec<ChannelCard> {
    let channels = &state.context.channels;
    let (own, sharing): (Vec<&AccountId>, Vec<&AccountId>) = accounts
        .iter()
        .partition(|account| channels.has_own(account, channel));
    let brands = |of: &[&AccountId]| {
        let names: Vec<String> = of.iter().map(|account| state.brand_of(account)).collect();
        if own.is_empty() {
            String::new()
        } else {
            names.join(", ")
        }
    };
    let mut groups: Vec<Vec<&AccountId>> = own.iter().map(|account| vec![*account]).collect();
    if !sharing.is_empty() {
        groups.insert(0, sharing);
    }
    let card = |of: &Vec<&AccountId>| {
        let account = of.first()?;
        Some(ChannelCard {
            brands: brands(of),
            ..card_of(state, account, channel, paused)
        })
    };
    groups.iter().filter_map(card).collect()
}

fn card_of(
    state: &AppState,
    account: &AccountId,
    channel: Channel,
    paused: &[CircuitView],
) -> ChannelCard {
    let channels = &state.context.channels;
    let profile = channel::profile(channel.provider());
    let usual = state.context.usual_sender(account, channel);
    let connection = |adapter: &dyn Adapter| adapter.connection();
    let present = channels.of(account, channel).map(connection);
    let is_its = |pause: &&CircuitView| {
        let paused = channels.of_key(account, channel, &pause.sender);
        pause.channel == channel && paused.map(connection) == present
    };
    ChannelCard {
        name: labels::channel(channel),
        brands: String::new(),
        on: present.is_some(),
        sender: usual.filter(|sender| sender != ACCOUNT_DEFAULT),
        through: profile.name,
        paused: paused.iter().any(|pause| is_its(&pause)),
        fix: format!("Your server administrator sets {}.", profile.set_up_by),
    }
}

fn seconds(ms: i64) -> String {
    let took = Duration::from_millis(ms.unsigned_abs());
    format!("{:.1} s", took.as_secs_f64())
}

#[derive(Deserialize)]
struct SenderForm {
    provider: String,
    sender: String,
}

async fn probe(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(which): Form<SenderForm>,
) -> Result<Response, PageError> {
    let by = page.caller.by();
    let done = match control::senders::key(&which.provider, &which.sender) {
        Ok(key) => control::senders::probe(&state.context, &page.accounts, by, key).await,
        Err(error) => Err(error),
    };
    told(
        &page,
        done,
        "One reminder is being tried. If it is accepted, the others follow.",
    )
    .await
}

async fn close(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(which): Form<SenderForm>,
) -> Result<Response, PageError> {
    let by = page.caller.by();
    let done = match control::senders::key(&which.provider, &which.sender) {
        Ok(key) => control::senders::close(&state.context, &page.accounts, by, key).await,
        Err(error) => Err(error),
    };
    told(&page, done, "Sending resumed.").await
}

async fn told(
    page: &PageFrame,
    done: Result<(), ControlError>,
    said: &str,
) -> Result<Response, PageError> {
    match done {
        Ok(()) => page.done("/connections", said).await,
        Err(ControlError::NotFound(_)) => {
            page.done("/connections", "It was no longer paused.").await
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct ChannelsPageQuery {
    days: Option<u16>,
}

async fn effect(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(back): Query<ChannelsPageQuery>,
) -> Result<Response, PageError> {
    let days = back.days.unwrap_or(30).clamp(1, 365);
    let now = state.clock.now();
    let effect = control::effect::effect(&state.pool, &page.accounts, days, now).await?;
    let values = EffectPage {
        spans: [7, 30, 90].map(|span| DaysChoice {
            days: span,
            chosen: span == days,
        }),
        total: OutcomePercents::new(&effect.total),
        rules: effect
            .rules
            .iter()
            .map(|rule| RuleRow::new(rule, &state))
            .collect(),
    };
    Ok(page.render("effect.hbs", "Results", values))
}

#[derive(Serialize)]
struct EffectPage<'a> {
    spans: [DaysChoice; 3],
    total: OutcomePercents,
    rules: Vec<RuleRow<'a>>,
}

#[derive(Serialize)]
struct DaysChoice {
    days: u16,
    chosen: bool,
}

#[derive(Serialize)]
struct RuleRow<'a> {
    #[serde(flatten)]
    rule: &'a OfRule,
    brand: String,
    skill_label: String,
    counts: OutcomePercents,
    of_steps: Vec<StepRow>,
}

impl<'a> RuleRow<'a> {
    fn new(rule: &'a OfRule, state: &AppState) -> Self {
        Self {
            rule,
            brand: state.brand_of(&rule.account),
            skill_label: match rule.skill {
                Some(skill) => labels::skill(rule.skill_name.as_deref(), skill),
                None => "All other skills".to_owned(),
            },
            counts: OutcomePercents::new(&rule.outcome),
            of_steps: rule.steps.iter().map(StepRow::new).collect(),
        }
    }
}

/// The messages of one step.
#[derive(Serialize)]
struct StepRow {
    name: String,
    sent: i64,
    within_1h: Option<Percent>,
    within_24h: Option<Percent>,
}

impl StepRow {
    fn new(step: &OfStep) -> Self {
        let channel = labels::channel(step.channel);
        Self {
            name: match step.place {
                Some(place) => format!("Step {place}: {channel}"),
                None => format!("{channel}, a removed step"),
            },
            sent: step.sent,
            within_1h: step.back_1h.map(Percent::from),
            within_24h: step.back_24h.map(Percent::from),
        }
    }
}

/// An outcome in percent.
#[derive(Serialize)]
struct OutcomePercents {
    sent: i64,
    reminded: i64,
    held_out: i64,
    within_1h: Option<Percent>,
    within_24h: Option<Percent>,
    lift: Option<Percent>,
}

impl OutcomePercents {
    fn new(outcome: &ReturnOutcome) -> Self {
        Self {
            sent: outcome.sent,
            reminded: outcome.reminded,
            held_out: outcome.held_out,
            within_1h: outcome.back_1h.map(Percent::from),
            within_24h: outcome.back_24h.map(Percent::from),
            lift: outcome.lift.map(Percent::points),
        }
    }
}

/// With the range in which the true share is.
#[derive(Serialize)]
struct Percent {
    value: String,
    range: String,
}

impl Percent {
    /// Of a difference between two shares.
    fn points(estimate: Estimate) -> Self {
        let points = |share: f64| format!("{:.0}", share * 100.0);
        Self {
            value: format!("{} points", points(estimate.value)),
            range: format!(
                "{} to {} points",
                points(estimate.low),
                points(estimate.high)
            ),
        }
    }
}

impl From<Estimate> for Percent {
    fn from(estimate: Estimate) -> Self {
        let percent = |share: f64| format!("{:.0}%", share * 100.0);
        Self {
            value: percent(estimate.value),
            range: format!("{} to {}", percent(estimate.low), percent(estimate.high)),
        }
    }
}
