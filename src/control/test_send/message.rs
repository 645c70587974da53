//! The message of a test: its words, and the way to the provider.

use std::time::Duration;

use super::{TestRequest, fault};
use crate::channel;
use crate::channel::adapter::{OutgoingMessage, SendGate};
use crate::channel::render::{self, Reads, Rendered};
use crate::control::ControlError;
use crate::control::rules::ChangeAuthor;
use crate::control::texts::PreviewRecipient;
use crate::domain::contact::Address;
use crate::domain::ids::Channel;
use crate::domain::outcome::Outcome;
use crate::domain::rule::settings::CHANNELS;
use crate::hashing;
use crate::jobs::context::Context;

/// How long a provider may try.
const VALIDITY: Duration = Duration::from_mins(5);

pub(super) async fn render(
    ctx: &Context,
    wish: &TestRequest<'_>,
    brand: &str,
) -> Result<Rendered, ControlError> {
    let reader = PreviewRecipient {
        brand: Some(brand.to_owned()),
        link: Some(wish.link.to_owned()),
        unsubscribe_link: Some(ctx.link("u", "test")),
        ..PreviewRecipient::default()
    };
    let own = &wish.settings.channels[wish.channel];
    let (tag, template) = render::own_text(own, wish.language).unzip();
    let language = tag.or(wish.language).map(str::to_owned);
    let (channel, template) = (wish.channel, template.cloned());
    let vars = reader.vars(&ctx.texts);
    let rendered = ctx.texts.for_people(move |engine| {
        let (template, language) = (template.as_ref(), language.as_deref());
        engine.render(channel, template, language, &vars, Reads::ForPeople)
    });
    rendered.await?.map_err(|error| {
        let part = error.field.as_str();
        let field = format!("/settings/{CHANNELS}/{channel}/templates/{part}");
        fault(&field, format!("{}; {}", error.what, error.fix))
    })
}

/// Hands the message over as a reminder would be, but for what only reminders have: a turn under the limit, reports, and an end to
/// further ones.
pub(super) async fn hand_over(
    ctx: &Context,
    wish: &TestRequest<'_>,
    to: &Address,
    rendered: Rendered,
    by: ChangeAuthor<'_>,
) -> Result<Outcome, ControlError> {
    let adapter = ctx.channels.of(wish.account, wish.channel);
    let adapter = adapter.ok_or_else(|| not_configured(wish.channel))?;
    let words = Rendered {
        subject: rendered.subject.map(|subject| format!("[Test] {subject}")),
        ..rendered
    };
    let word = hashing::token();
    let message = OutgoingMessage {
        to,
        to_name: None,
        words: &words,
        sender: wish.settings.channels[wish.channel].sender.as_deref(),
        brand: ctx.brand(wish.account),
        name: &format!("test.{word}"),
        thread: &format!("test.{word}.thread"),
        attempt: None,
        way_out: None,
        left: &|| VALIDITY,
        date: by.now,
    };
    let is_sender = wish.channel.profile().is_sender;
    if message.sender.is_some_and(|own| !is_sender(own)) {
        let field = format!("/settings/{CHANNELS}/{}/sender", wish.channel);
        return Err(fault(&field, "is not a sender for this channel"));
    }
    Ok(match adapter.open().await {
        Ok(way) => way.send(&message, SendGate::open()).await,
        Err(outcome) => outcome,
    })
}

fn not_configured(channel: Channel) -> ControlError {
    ControlError::Conflict(format!(
        "{} is not set up on this server: your server administrator sets {} and the settings that go with it.",
        channel.names().label,
        channel::profile(channel.provider()).switched_on_by
    ))
}
