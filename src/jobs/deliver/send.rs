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

/// An attempt that has not been made so long after it was begun is not made any more: longer than a turn under the provider's
/// limit may take, far shorter than the lease.
const STALE: Duration = Duration::from_secs(20);

/// Makes the attempt and says how it ended.
pub async fn send(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let channel = dispatch.owed.channel;
    let asked = std::time::Instant::now();
    tokio::time::sleep_until(dispatch.not_before).await;
    ctx.metrics
        .waited(Context::provider(channel), asked.elapsed());
    let started = std::time::Instant::now();
    let left = dispatch.owed.deadline - ctx.clock.now();
    let outcome = match too_late(dispatch.began.elapsed(), left) {
        Some(outcome) => outcome,
        None => hand_over(ctx, dispatch).await,
    };
    ctx.metrics.attempted(channel, &outcome, started.elapsed());
    outcome
}

/// Why an attempt of this age is not made at all. A process that stood still (a frozen machine, a starved one) goes on where it
/// was, with an answer of LivePerson's that is old, perhaps past the deadline, or past a lease that has made the attempt somebody
/// else's.
fn too_late(age: Duration, left: TimeDelta) -> Option<Outcome> {
    if left < TimeDelta::zero() {
        return Some(Outcome::Refused {
            class: Refusal::Expired,
            code: "deadline".to_owned(),
        });
    }
    (age > STALE).then(|| Outcome::NotAccepted {
        class: Obstacle::Transient,
        code: "stalled".to_owned(),
        retry_after: None,
    })
}

/// Calls the provider, and breaks off when the lease ends: looked at first, so that a process that wakes up after it says no more.
async fn hand_over(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let channel = dispatch.owed.channel;
    let lease = Context::lease(channel).to_std().unwrap_or_default();
    let handed_over = async {
        match channel {
            Channel::Email => email(ctx, dispatch).await,
            Channel::Sms => sms(ctx, dispatch).await,
        }
    };
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(dispatch.began + lease) => Outcome::Unknown {
            code: "lease".to_owned(),
        },
        outcome = handed_over => outcome,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_still_between_its_beginning_and_the_provider_is_not_sent() {
        let (now, minute) = (Duration::from_secs(1), TimeDelta::minutes(1));
        assert_eq!(too_late(now, minute), None);
        let code = |age, left| too_late(age, left).map(|outcome| outcome.code().to_owned());
        assert_eq!(code(STALE + now, minute).as_deref(), Some("stalled"));
        assert_eq!(code(now, -minute).as_deref(), Some("deadline"));
        assert!(STALE * 2 < Context::lease(Channel::Sms).to_std().unwrap());
    }
}
