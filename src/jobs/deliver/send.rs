//! Renders a reminder and hands it to its provider. No transaction is open here.

use std::time::Duration;

use chrono::TimeDelta;

use super::prepare::Dispatch;
use crate::channel::render::{Rendered, TemplateError, Vars};
use crate::channel::{smtp, twilio};
use crate::domain::ids::Channel;
use crate::domain::outcome::{Obstacle, Outcome, Refusal};
use crate::jobs::context::Context;
use crate::jobs::report;

/// Makes the attempt and says how it ended.
pub async fn send(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let channel = dispatch.owed.channel;
    let asked = std::time::Instant::now();
    tokio::time::sleep_until(dispatch.not_before).await;
    ctx.metrics
        .waited(Context::provider(channel), asked.elapsed());
    let started = std::time::Instant::now();
    let outcome = match channel {
        Channel::Email => email(ctx, dispatch).await,
        Channel::Sms => sms(ctx, dispatch).await,
    };
    ctx.metrics.attempted(channel, &outcome, started.elapsed());
    outcome
}

async fn email(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let Some(mail) = &ctx.mail else {
        return not_configured();
    };
    let rendered = match render(ctx, dispatch) {
        Ok(rendered) => rendered,
        Err(error) => return broken_template(dispatch, &error),
    };
    let default = &mail.settings().from;
    let own = dispatch
        .rule
        .settings
        .sender
        .as_deref()
        .map(|address| smtp::Mailbox::new(address, default.name()));
    let Ok(own) = own.transpose() else {
        return config("sender is not an address");
    };
    let from = own.as_ref().unwrap_or(default);
    let owed = &dispatch.owed;
    mail.send(&smtp::Email {
        from: Some(from),
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
        unsubscribe_url: Some(&ctx.link("u", &owed.token)),
        unsubscribe_mailto: None,
        feedback_id: None,
        date: ctx.clock.now(),
    })
    .await
}

async fn sms(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let Some(twilio) = &ctx.sms else {
        return not_configured();
    };
    let rendered = match render(ctx, dispatch) {
        Ok(rendered) => rendered,
        Err(error) => return broken_template(dispatch, &error),
    };
    let own = dispatch
        .rule
        .settings
        .sender
        .as_deref()
        .map(str::parse::<twilio::Sender>);
    let Ok(own) = own.transpose() else {
        return config("sender is not a number or a Messaging Service");
    };
    twilio
        .send(&twilio::Sms {
            to: &dispatch.contact.address,
            body: &rendered.text,
            status_callback: Some(&ctx.status_callback(dispatch.attempt, &dispatch.owed.token)),
            validity: validity(dispatch.owed.deadline - ctx.clock.now()),
            sender: own.as_ref(),
        })
        .await
}

/// How long Twilio may still deliver it: until shortly before the deadline.
fn validity(left: TimeDelta) -> Duration {
    Duration::from_secs((left.num_seconds() - 10).clamp(10, 36_000).unsigned_abs())
}

fn render(ctx: &Context, dispatch: &Dispatch) -> Result<Rendered, TemplateError> {
    let owed = &dispatch.owed;
    let language = dispatch.language.as_deref();
    let vars = Vars {
        first_name: dispatch.contact.first_name.clone().unwrap_or_default(),
        brand: ctx
            .accounts
            .get(&owed.account)
            .map(|account| account.brand.clone())
            .unwrap_or_default(),
        agent: dispatch.episode.agent.clone().unwrap_or_default(),
        skill: dispatch.skill_name.clone().unwrap_or_default(),
        count: dispatch.episode.count,
        since_minutes: (ctx.clock.now() - dispatch.episode.since)
            .num_minutes()
            .unsigned_abs(),
        link: ctx.link("r", &owed.token),
        unsubscribe_link: ctx.link("u", &owed.token),
    };
    ctx.texts.render(
        owed.channel,
        dispatch.rule.settings.template_for(language),
        language,
        &vars,
    )
}

fn broken_template(dispatch: &Dispatch, error: &TemplateError) -> Outcome {
    tracing::error!(reminder = %dispatch.owed.id, rule = dispatch.rule.id, "The rule's text cannot be rendered: {error}");
    Outcome::Refused {
        class: Refusal::Other,
        code: "template".to_owned(),
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
