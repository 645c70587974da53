//! Tries of a rule as it is being written: a test message, its code, what it would do now, and the words of a real conversation.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::editor::{EditorView, editor};
use super::form::{FormFields, OpenLanguages};
use super::preview::For;
use super::{by, forecast_view};
use crate::control::rules::{self, RuleView};
use crate::control::senders::AllowedSenders;
use crate::control::test_send::{self, EnteredCode, TestRequest};
use crate::control::{ControlError, forecast, texts};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::dashboard::{PageError, PageFrame};
use crate::web::page_error::sentence;

/// The editor as a try leaves it, with what the form says.
fn shown(
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> EditorView {
    EditorView {
        written: Some(written),
        languages: OpenLanguages::of(fields),
        test_to: fields.one("test_to").to_owned(),
        test_language: fields.one("test_language").to_owned(),
        test_channel: fields.one("test_channel").parse().ok(),
        whom: Some(For::written(state, &view.account, fields)),
        ..EditorView::default()
    }
}

/// Over which channel a test goes: the one that was chosen, or else the first that there is.
fn test_channel(state: &AppState, account: &AccountId, fields: &FormFields) -> Channel {
    let chosen = fields.one("test_channel").parse().ok();
    let channels = &state.context.installation_of(account).channels;
    let first = || channels.first().copied();
    chosen.or_else(first).unwrap_or(Channel::ALL[0])
}

pub async fn test(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let account = page.accounts.named(view.account.as_str())?;
    let channels = &state.context.installation_of(&view.account).channels;
    let sent = match rules::checked(&state.context.texts, channels, written.1.clone()).await {
        Err(error) => Err(error),
        Ok(settings) => {
            let language = fields.one("test_language");
            let wish = TestRequest {
                account: &account,
                channel: test_channel(state, &view.account, fields),
                settings: &settings,
                senders: &AllowedSenders::of(&state.context, &page.accounts).await?,
                language: Some(language).filter(|word| !word.is_empty()),
                to: fields.one("test_to"),
                link: &state.link_home(&view.account),
                may_know_why: page.caller.may(Permission::Operate),
            };
            test_send::send(&state.context, &wish, by(page, state)).await
        }
    };
    let mut shown = shown(state, view, written, fields);
    match sent {
        Ok(sent) => {
            let level = if sent.accepted { "good" } else { "bad" };
            shown.asks_code = sent.needs_code;
            shown.tested = Some(json!({ "level": level, "said": sent.said, "code": sent.code }));
        }
        Err(ControlError::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(error) => not_tested(&mut shown, error)?,
    }
    editor(page, state, view, shown).await
}

/// Why no test was made, or no code taken, as the page tells it.
fn not_tested(shown: &mut EditorView, error: ControlError) -> Result<(), PageError> {
    let (status, said) = match error {
        ControlError::Conflict(said) | ControlError::Unavailable(said) => {
            (StatusCode::CONFLICT, said)
        }
        ControlError::Busy(said, _) => (StatusCode::TOO_MANY_REQUESTS, said + "."),
        other => return Err(other.into()),
    };
    shown.status = status;
    shown.tested = Some(json!({ "level": "bad", "said": said, "code": null }));
    Ok(())
}

/// Takes the code of a test message.
pub async fn verify(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let account = page.accounts.named(view.account.as_str())?;
    let entered = EnteredCode {
        account: &account,
        channel: test_channel(state, &view.account, fields),
        to: fields.one("test_to"),
        code: fields.one("test_code"),
    };
    let verified = test_send::verify(&state.context, &entered, by(page, state)).await;
    let mut shown = shown(state, view, written, fields);
    match verified {
        Ok(()) => {
            let said = "Code confirmed. Test messages to this address now contain your text.";
            shown.tested = Some(json!({ "level": "good", "said": said, "code": null }));
        }
        Err(ControlError::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.asks_code = true;
            let said = ControlError::Invalid(faults).to_string();
            let said = said
                .replace("/code: ", "That ")
                .replace("/to: ", "The address ");
            shown.tested = Some(json!({ "level": "bad", "said": said, "code": null }));
        }
        Err(error) => not_tested(&mut shown, error)?,
    }
    editor(page, state, view, shown).await
}

pub async fn effect(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let key = page.accounts.rule(RuleKey {
        account: view.account.clone(),
        skill: view.skill,
    })?;
    let (enabled, given) = written.clone();
    let mut shown = shown(state, view, written, fields);
    match rules::checked(
        &state.context.texts,
        &state.context.installation_of(&view.account).channels,
        given,
    )
    .await
    {
        Err(ControlError::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(other) => return Err(other.into()),
        Ok(settings) => {
            let change = Some((enabled, settings));
            let now = state.clock.now();
            let live = forecast::live(&state.context, &key, change, now).await?;
            shown.effect = Some(forecast_view::live(&live, now));
        }
    }
    editor(page, state, view, shown).await
}

/// The editor with the names and numbers of a real conversation in the preview.
pub async fn fill(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let id = fields.one("conversation");
    let mut shown = shown(state, view, written, fields);
    id.clone_into(&mut shown.conversation);
    // Any: what differs by channel is whose first name is known.
    let channel = test_channel(state, &view.account, fields);
    let account = page.accounts.named(view.account.as_str())?;
    match texts::of_conversation(&state.context, &account, channel, id).await {
        Ok(reader) => shown.whom = Some(For::conversation(state, &view.account, reader)),
        Err(
            error @ (ControlError::NotFound(_)
            | ControlError::Unavailable(_)
            | ControlError::Busy(..)),
        ) => {
            shown.unfilled = Some(sentence(&format!("Sorry, {error}")));
        }
        Err(other) => return Err(other.into()),
    }
    editor(page, state, view, shown).await
}
