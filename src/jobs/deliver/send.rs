//! Renders a reminder and hands it to its provider. No transaction is open here.

use std::sync::Arc;
use std::time::Duration;

use super::look::Look;
use super::prepare::Dispatch;
use super::record::UNMADE_PAUSE;
use super::sender::{NoTurn, Sender, Turns, wait_for_turn};
use crate::channel::LastLook;
use crate::channel::render::{Rendered, TemplateError, Vars};
use crate::channel::{smtp, twilio};
use crate::domain::ids::Channel;
use crate::domain::outcome::{Obstacle, Outcome, Refusal, UNWRITTEN};
use crate::jobs::context::Context;
use crate::jobs::{report, way_out};

/// The way to a provider, as far as it can be gone before it is known what is to be sent.
pub enum Way {
    Mail(smtp::Reserved),
    Sms,
    /// There is none; this is what becomes of an attempt.
    Closed(Outcome),
}

impl Way {
    /// Connects and logs in, where that is a step of its own.
    pub async fn open(ctx: &Context, channel: Channel) -> Self {
        match (channel, &ctx.mail) {
            (Channel::Email, Some(mail)) => match mail.reserve().await {
                Ok(reserved) => Self::Mail(reserved),
                Err(outcome) => Self::Closed(outcome),
            },
            (Channel::Email, None) => Self::Closed(not_configured()),
            (Channel::Sms, _) => Self::Sms,
        }
    }
}

/// Whose turn a message has, and where turns are taken.
#[derive(Clone, Copy)]
pub struct Of<'a> {
    pub sender: &'a Arc<Sender>,
    pub turns: &'a Turns,
}

/// Makes the attempt and says how it ended.
pub async fn send(
    ctx: &Context,
    dispatch: &Dispatch,
    of: Of<'_>,
    way: Way,
    look: &Look<'_>,
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
        outcome = hand_over(ctx, dispatch, of, way, look) => outcome,
    };
    ctx.metrics.attempted(channel, &outcome, started.elapsed());
    outcome
}

async fn hand_over(
    ctx: &Context,
    dispatch: &Dispatch,
    of: Of<'_>,
    way: Way,
    look: &Look<'_>,
) -> Outcome {
    let last_look = || look.withdrawn();
    let handed_over = match way {
        Way::Closed(outcome) => return outcome,
        Way::Mail(reserved) => email(ctx, dispatch, of, reserved, &last_look).await,
        Way::Sms => sms(ctx, dispatch, of, &last_look).await,
    };
    handed_over.unwrap_or_else(|outcome| outcome)
}

/// Waits for the moment of the turn.
async fn wait_for(ctx: &Context, of: Of<'_>) -> Result<(), Outcome> {
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

async fn email(
    ctx: &Context,
    dispatch: &Dispatch,
    of: Of<'_>,
    reserved: smtp::Reserved,
    last_look: LastLook<'_>,
) -> Result<Outcome, Outcome> {
    let Some(mail) = &ctx.mail else {
        return Err(not_configured());
    };
    let way_out = way_out(ctx, dispatch)?;
    let rendered = render(ctx, dispatch, way_out.clone()).await;
    let rendered = rendered.map_err(|error| broken_template(dispatch, &error))?;
    let owed = &dispatch.owed;
    let own = dispatch.rule.settings.sender.as_deref();
    let brand = ctx.brand(&owed.account);
    let from = mail.settings().from.for_brand(own, brand);
    let from = from.map_err(|_| config("sender is not an address"))?;
    let email = smtp::Email {
        from: Some(&from),
        reply_to: None,
        to: &dispatch.contact.address,
        to_name: dispatch.contact.first_name.as_deref(),
        subject: rendered.subject.as_deref().unwrap_or_default(),
        text: &rendered.text,
        html: rendered.html.as_deref(),
        // The same on every attempt of this reminder, so that a mailbox keeps one copy.
        message_id: &report::message_id(owed.id, &owed.token, from.domain()),
        thread_ref: &format!(
            "conv.{}@{}",
            ctx.hasher.conversation(&owed.conversation),
            from.domain()
        ),
        unsubscribe_url: Some(&way_out),
        unsubscribe_mailto: None,
        feedback_id: None,
        date: ctx.clock.now(),
    };
    let line = reserved.line().await?;
    wait_for(ctx, of).await?;
    Ok(line.send(&email, last_look).await)
}

async fn sms(
    ctx: &Context,
    dispatch: &Dispatch,
    of: Of<'_>,
    last_look: LastLook<'_>,
) -> Result<Outcome, Outcome> {
    let Some(twilio) = &ctx.sms else {
        return Err(not_configured());
    };
    // Short: a longer one is dearer, and a STOP is heard without the reminder.
    let way_out = ctx.link("u", &dispatch.owed.token);
    let rendered = render(ctx, dispatch, way_out).await;
    let rendered = rendered.map_err(|error| broken_template(dispatch, &error))?;
    let own = dispatch
        .rule
        .settings
        .sender
        .as_deref()
        .map(str::parse::<twilio::Sender>);
    let own = own
        .transpose()
        .map_err(|_| config("sender is not a number or a Messaging Service"))?;
    wait_for(ctx, of).await?;
    let sms = twilio::Sms {
        to: &dispatch.contact.address,
        body: &rendered.text,
        status_callback: Some(&ctx.status_callback(dispatch.attempt, &dispatch.owed.token)),
        // Until the deadline, or until quiet hours begin.
        left: &|| {
            let left = dispatch.not_after - ctx.clock.now();
            left.to_std().unwrap_or_default()
        },
        sender: own.as_ref(),
    };
    Ok(twilio.send_unless(last_look, &sms).await)
}

/// The link that stops further e-mails, also if the database loses this reminder.
fn way_out(ctx: &Context, dispatch: &Dispatch) -> Result<String, Outcome> {
    let owed = &dispatch.owed;
    let to = way_out::Recipient {
        account: owed.account.clone(),
        channel: owed.channel,
        hash: ctx.hasher.address(&dispatch.contact.address),
        sent_at: ctx.clock.now(),
    };
    let word = way_out::word(&ctx.hasher, &owed.token, &to);
    let word = word.map_err(|_| config("the link to unsubscribe cannot be sealed"))?;
    Ok(ctx.link("u", &word))
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
    let chosen = dispatch.rule.settings.template_for(language);
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

fn not_configured() -> Outcome {
    config("channel is not configured")
}

fn config(code: &str) -> Outcome {
    Outcome::NotAccepted {
        class: Obstacle::Config,
        code: code.to_owned(),
        retry_after: None,
    }
}
