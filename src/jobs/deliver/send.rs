//! Renders a reminder and hands it to its provider. No transaction is open here.

use std::time::Duration;

use chrono::TimeDelta;

use super::prepare::Dispatch;
use crate::channel::LastLook;
use crate::channel::render::{Rendered, TemplateError, Vars};
use crate::channel::{smtp, twilio};
use crate::domain::ids::Channel;
use crate::domain::outcome::{Obstacle, Outcome, Refusal};
use crate::jobs::context::Context;
use crate::jobs::report;

/// An attempt that has not been made so long after it was begun is not made any more: longer than a turn under the provider's
/// limit may take, far shorter than the lease. For an SMS this holds when its request leaves.
const STALE: Duration = Duration::from_secs(20);

/// The same for the content of an e-mail, which follows a wait for a connection and a conversation with the server.
const STALE_CONTENT: Duration = Duration::from_mins(1);

/// Makes the attempt and says how it ended.
pub async fn send(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let channel = dispatch.owed.channel;
    let asked = std::time::Instant::now();
    tokio::time::sleep_until(dispatch.not_before).await;
    ctx.metrics
        .waited(Context::provider(channel), asked.elapsed());
    let started = std::time::Instant::now();
    let outcome = match withdrawn(ctx, dispatch, STALE) {
        Some(outcome) => outcome,
        None => hand_over(ctx, dispatch).await,
    };
    ctx.metrics.attempted(channel, &outcome, started.elapsed());
    outcome
}

/// Why an attempt is not made at all. A process that stood still (a frozen machine, a starved one) goes on where it was, with an
/// answer of LivePerson's that is old, perhaps past the deadline, into quiet hours, or past a lease that has made the attempt
/// somebody else's.
fn withdrawn(ctx: &Context, dispatch: &Dispatch, stale: Duration) -> Option<Outcome> {
    let now = ctx.clock.now();
    let to_deadline = dispatch.owed.deadline - now;
    let to_quiet = dispatch.not_after - now;
    too_late(dispatch.began.age(), stale, to_deadline, to_quiet)
}

fn too_late(
    age: Duration,
    stale: Duration,
    to_deadline: TimeDelta,
    to_quiet: TimeDelta,
) -> Option<Outcome> {
    // Decided anew: the rule says what becomes of it.
    let again = |code: &str| Outcome::NotAccepted {
        class: Obstacle::Transient,
        code: code.to_owned(),
        retry_after: None,
    };
    if to_deadline < TimeDelta::zero() {
        Some(Outcome::Refused {
            class: Refusal::Expired,
            code: "deadline".to_owned(),
        })
    } else if age > stale {
        Some(again("stalled"))
    } else if to_quiet <= TimeDelta::zero() {
        Some(again("quiet hours"))
    } else {
        None
    }
}

/// Calls the provider, and breaks off when the lease ends: looked at first, so that a process that wakes up after it says no more.
async fn hand_over(ctx: &Context, dispatch: &Dispatch) -> Outcome {
    let channel = dispatch.owed.channel;
    let lease = Context::lease(channel).to_std().unwrap_or_default();
    let handed_over = async {
        match channel {
            Channel::Email => {
                let last_look = || withdrawn(ctx, dispatch, STALE_CONTENT);
                email(ctx, dispatch, &last_look).await
            }
            Channel::Sms => {
                let last_look = || withdrawn(ctx, dispatch, STALE);
                sms(ctx, dispatch, &last_look).await
            }
        }
    };
    tokio::select! {
        biased;
        () = tokio::time::sleep_until(dispatch.began.steady + lease) => Outcome::Unknown {
            code: "lease".to_owned(),
        },
        outcome = handed_over => outcome,
    }
}

async fn email(ctx: &Context, dispatch: &Dispatch, last_look: LastLook<'_>) -> Outcome {
    let Some(mail) = &ctx.mail else {
        return not_configured();
    };
    let rendered = match render(ctx, dispatch) {
        Ok(rendered) => rendered,
        Err(error) => return broken_template(dispatch, &error),
    };
    let owed = &dispatch.owed;
    let own = dispatch.rule.settings.sender.as_deref();
    let brand = ctx.brand(&owed.account);
    let Ok(from) = mail.settings().from.for_brand(own, brand) else {
        return config("sender is not an address");
    };
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
        unsubscribe_url: Some(&ctx.link("u", &owed.token)),
        unsubscribe_mailto: None,
        feedback_id: None,
        date: ctx.clock.now(),
    };
    mail.send_unless(last_look, &email).await
}

async fn sms(ctx: &Context, dispatch: &Dispatch, last_look: LastLook<'_>) -> Outcome {
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
    let sms = twilio::Sms {
        to: &dispatch.contact.address,
        body: &rendered.text,
        status_callback: Some(&ctx.status_callback(dispatch.attempt, &dispatch.owed.token)),
        validity: validity(dispatch.not_after - ctx.clock.now()),
        sender: own.as_ref(),
    };
    twilio.send_unless(last_look, &sms).await
}

/// How long Twilio may still deliver it: until shortly before the deadline, or before quiet hours begin.
fn validity(left: TimeDelta) -> Duration {
    Duration::from_secs((left.num_seconds() - 10).clamp(10, 36_000).unsigned_abs())
}

fn render(ctx: &Context, dispatch: &Dispatch) -> Result<Rendered, TemplateError> {
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
        unsubscribe_link: ctx.link("u", &owed.token),
    };
    let chosen = dispatch.rule.settings.template_for(language);
    let (tag, template) = chosen.unzip();
    ctx.texts
        .render(owed.channel, template, tag.or(language), &vars)
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
    use crate::jobs::deliver::prepare::Moment;

    #[test]
    fn what_stood_still_between_its_beginning_and_the_provider_is_not_sent() {
        let (now, minute) = (Duration::from_secs(1), TimeDelta::minutes(1));
        let code = |age, deadline, quiet| {
            too_late(age, STALE, deadline, quiet).map(|outcome| outcome.code().to_owned())
        };
        assert_eq!(code(now, minute, minute), None);
        assert_eq!(
            code(STALE + now, minute, minute).as_deref(),
            Some("stalled")
        );
        assert_eq!(code(now, -minute, -minute).as_deref(), Some("deadline"));
        assert_eq!(code(now, minute, -minute).as_deref(), Some("quiet hours"));
        let lease = |channel| Context::lease(channel).to_std().unwrap();
        assert!(STALE * 2 < lease(Channel::Sms));
        assert!(STALE_CONTENT * 2 < lease(Channel::Email));
    }

    #[test]
    fn an_age_is_the_longer_one_of_two_clocks() {
        let began = Moment::now();
        assert!(began.age() < STALE);
        // The machine was suspended: its steady clock stood still.
        let suspended = Moment {
            wall: began.wall - TimeDelta::minutes(5),
            ..began
        };
        assert!(suspended.age() >= Duration::from_mins(5));
        // Somebody set the clock back.
        let set_back = Moment {
            wall: began.wall + TimeDelta::minutes(5),
            ..began
        };
        assert!(set_back.age() < STALE);
    }
}
