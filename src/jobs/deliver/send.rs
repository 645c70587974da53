//! Renders a reminder and hands it to its provider. No transaction is open here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::prepare::Dispatch;
use super::recheck::Recheck;
use super::record::UNMADE_PAUSE;
use super::sender::{NoTurn, Sender, TurnBatcher, wait_for_turn};
use crate::channel::adapter::{self, OutgoingMessage, SendGate};
use crate::channel::render::{self, Rendered, TemplateError, Vars};
use crate::domain::channel::WayOut;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::outcome::{Outcome, Refusal, Retryable, UNWRITTEN};
use crate::jobs::context::Context;
use crate::jobs::{report, way_out};

/// The way to a provider, as far as it can be gone before it is known what is to be sent; or what becomes of an attempt, since there is
/// none.
pub type ProviderRoute = Result<Box<dyn adapter::PreparedSend>, Outcome>;

/// Connects and logs in, where that is a step of its own.
pub async fn open(ctx: &Context, account: &AccountId, channel: Channel) -> ProviderRoute {
    match ctx.channels.of(account, channel) {
        Some(adapter) => adapter.open().await,
        None => Err(adapter::not_configured()),
    }
}

/// Whose turn a message has, and where turns are taken.
#[derive(Clone, Copy)]
pub struct TurnSource<'a> {
    pub sender: &'a Arc<Sender>,
    pub turns: &'a TurnBatcher,
}

/// Makes the attempt and says how it ended.
pub async fn send(
    ctx: &Context,
    dispatch: &Dispatch,
    of: TurnSource<'_>,
    way: ProviderRoute,
    look: &Recheck<'_>,
) -> Outcome {
    let started = std::time::Instant::now();
    let channel = dispatch.owed.channel;
    let lease = Context::lease(channel).to_std().unwrap_or_default();
    // Breaks off when the lease ends: looked at first, so that a process that wakes up after it says no more.
    let outcome = tokio::select! {
        biased;
        () = tokio::time::sleep_until(dispatch.began.steady + lease) => Outcome::Unknown {
            code: "lease".to_owned(),
        },
        outcome = hand_over(ctx, dispatch, of, way, look) => outcome.unwrap_or_else(|outcome| outcome),
    };
    ctx.metrics
        .attempted(&dispatch.owed.account, channel, &outcome, started.elapsed());
    outcome
}

async fn hand_over(
    ctx: &Context,
    dispatch: &Dispatch,
    of: TurnSource<'_>,
    way: ProviderRoute,
    look: &Recheck<'_>,
) -> Result<Outcome, Outcome> {
    let way = way?;
    let owed = &dispatch.owed;
    let way_out = way_out(ctx, dispatch)?;
    let rendered = render(ctx, dispatch, way_out.clone()).await;
    let rendered = rendered.map_err(|error| broken_template(dispatch, &error))?;
    // Until the deadline, or until quiet hours begin.
    let left = || {
        let left = dispatch.not_after - ctx.clock.now();
        left.to_std().unwrap_or_default()
    };
    let message = OutgoingMessage {
        to: &dispatch.contact.address,
        to_name: dispatch.contact.first_name.as_deref(),
        words: &rendered,
        sender: dispatch.rule.settings.channels[owed.channel]
            .sender
            .as_deref(),
        brand: ctx.brand(&owed.account),
        name: &report::message_name(owed.id, &owed.token),
        thread: &format!("conv.{}", ctx.hasher.conversation(&owed.conversation)),
        attempt: Some(&report::attempt_name(dispatch.attempt, &owed.token)),
        way_out: Some(&way_out),
        left: &left,
        date: ctx.clock.now(),
    };
    let turn = || -> BoxFuture<'_, Result<(), Outcome>> { Box::pin(wait_for(ctx, of)) };
    let last_look = || look.withdrawn();
    let gate = SendGate {
        turn: &turn,
        last_look: &last_look,
    };
    Ok(way.send(&message, gate).await)
}

/// Waits for the moment of the turn.
async fn wait_for(ctx: &Context, of: TurnSource<'_>) -> Result<(), Outcome> {
    let asked = std::time::Instant::now();
    let turn = wait_for_turn(of.turns, of.sender).await;
    ctx.metrics
        .waited(of.sender.provider().as_str(), asked.elapsed());
    turn.map_err(|why| match why {
        // It is lined up behind the pause at once.
        NoTurn::Held => Outcome::not_tried("provider's pause", Duration::ZERO),
        NoTurn::Late => Outcome::not_tried("no turn in time", UNMADE_PAUSE),
    })
}

/// The link that stops further messages, also if the database loses this reminder: where that must be, it says whom it is about.
fn way_out(ctx: &Context, dispatch: &Dispatch) -> Result<String, Outcome> {
    let owed = &dispatch.owed;
    match owed.channel.profile().way_out {
        WayOut::StopWord => Ok(ctx.link("u", &owed.token)),
        WayOut::Link => {
            let to = way_out::RemindedAddress {
                account: owed.account.clone(),
                channel: owed.channel,
                hash: ctx.hasher.address(&dispatch.contact.address),
                sent_at: ctx.clock.now(),
            };
            let word = way_out::word(&ctx.hasher, &owed.token, &to);
            let word = word.map_err(|_| Outcome::NotAccepted {
                class: Retryable::Config,
                code: "the link to unsubscribe cannot be sealed".to_owned(),
                retry_after: None,
            })?;
            Ok(ctx.link("u", &word))
        }
    }
}

async fn render(
    ctx: &Context,
    dispatch: &Dispatch,
    unsubscribe_link: String,
) -> Result<Rendered, TemplateError> {
    let owed = &dispatch.owed;
    let language = dispatch.language.as_deref();
    let vars = Vars {
        first_name: dispatch.contact.first_name.clone().unwrap_or_default(),
        brand: ctx.brand(&owed.account).to_owned(),
        agent: dispatch.episode.agent.clone().unwrap_or_default(),
        skill: dispatch.skill_name.clone().unwrap_or_default(),
        count: dispatch.episode.count,
        since_minutes: (ctx.clock.now() - dispatch.episode.since)
            .num_minutes()
            .unsigned_abs(),
        link: ctx.link("r", &owed.token),
        unsubscribe_link,
    };
    let own = &dispatch.rule.settings.channels[owed.channel];
    let chosen = render::own_text(own, language);
    let (tag, template) = chosen.unzip();
    ctx.texts
        .render(owed.channel, template, tag.or(language), vars)
        .await
}

fn broken_template(dispatch: &Dispatch, error: &TemplateError) -> Outcome {
    let rule = dispatch.rule.key();
    tracing::error!(reminder = %dispatch.owed.id, %rule, version = dispatch.rule.version, "Not sent, the rule's text cannot be used: {error}");
    Outcome::Refused {
        class: Refusal::Other,
        code: UNWRITTEN.to_owned(),
    }
}
