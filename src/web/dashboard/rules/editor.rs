//! The editor of one rule: what its settings mean as they are written, tries of it, and saving.

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::form::{self, FormFields};
use super::preview::{self, For};
use super::{EDITOR, RulePagePath, by, forecast_view, key};
use crate::control::accounts::Allowed;
use crate::control::rules::{self, RuleChange, RuleStamp, RuleView};
use crate::control::senders::AllowedSenders;
use crate::control::test_send::{self, EnteredCode, TestRequest};
use crate::control::{ControlError, Fault, forecast, texts};
use crate::domain::access::Permission;
use crate::domain::channel::Parts;
use crate::domain::pause::Scope;
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::dashboard::{PageError, PageFrame, labels};

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, EDITOR, show);
    table.form(Permission::Edit, EDITOR, change);
}

/// What the editor shows beside the stored rule.
#[derive(Default)]
struct EditorView {
    status: StatusCode,
    /// What the person has written, if it is not what is stored.
    written: Option<(bool, Value)>,
    faults: Vec<Fault>,
    /// Somebody else was quicker: what they did.
    changed: Option<String>,
    /// Setting by setting: theirs and yours.
    conflict: Value,
    tested: Option<Value>,
    test_to: String,
    /// A code was sent there, and is not entered yet.
    asks_code: bool,
    effect: Option<Value>,
    /// Whom the words are shown for, if not a sample.
    whom: Option<For>,
    /// A conversation that was to be the sample, and why it is not.
    conversation: String,
    unfilled: Option<String>,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
) -> Result<Response, PageError> {
    let view = rules::read(&state.pool, &key(&page.accounts, of)?).await?;
    editor(&page, &state, &view, EditorView::default()).await
}

async fn editor(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    shown: EditorView,
) -> Result<Response, PageError> {
    let unsaved = shown.written.as_ref();
    let unsaved = unsaved.is_some_and(|written| preview::differs(view, written));
    let (enabled, settings) = shown.written.unwrap_or_else(|| {
        let (enabled, settings) = rules::starting_point(view);
        (enabled, serde_json::to_value(settings).unwrap_or_default())
    });
    let whom = shown
        .whom
        .unwrap_or_else(|| For::sample(state, &view.account));
    let now = state.clock.now();
    let key = RuleKey {
        account: view.account.clone(),
        skill: view.skill,
        channel: view.channel,
    };
    let name = match view.skill {
        None => "All other skills".to_owned(),
        Some(_) => view.place(),
    };
    let title = format!("{name}: {}", labels::channel(view.channel));
    let mut form = form::model(view.channel, &settings);
    form::mark(&mut form, &shown.faults);
    let names = view.channel.names();
    let values = json!({
        "path": format!("/rules/{key}"),
        "name": name,
        "account": view.account,
        "brand": state.brand_of(&view.account),
        "scope": Scope::Rule(key.clone()).to_string(),
        "channel": labels::channel(view.channel),
        "channel_inside": names.inside,
        "your_address": names.your_address,
        "autocomplete": names.autocomplete,
        "has_html": view.channel.profile().parts == Parts::SubjectAndHtml,
        "is_default": view.skill.is_none(),
        "seen": view.stamp.to_string(),
        "enabled": enabled,
        "unsaved": unsaved && page.caller.may(Permission::Edit),
        "published": view.published.as_ref().map(|p| json!({
            "version": p.version,
            "by": p.changed_by,
            "at": p.changed_at.map(|at| labels::time(at, now)),
        })),
        "draft": view.draft.as_ref().map(|d| json!({
            "by": d.changed_by,
            "at": labels::time(d.changed_at, now),
            "outdated": d.outdated,
        })),
        "can_delete": view.skill.is_some() && view.published.is_some(),
        "falls_back": view.published.is_none() && view.fallback.is_some(),
        "paused": view.paused,
        "form": form,
        "look": preview::preview_change(state, (view, &page.accounts), (enabled, settings), &whom).await?,
        "whom": whom.model(),
        "conversation": shown.conversation,
        "unfilled": shown.unfilled,
        "faults": shown.faults.iter().map(form::fault).collect::<Vec<_>>(),
        "changed": shown.changed,
        "conflict": shown.conflict,
        "tested": shown.tested,
        "test_to": shown.test_to,
        "asks_code": shown.asks_code,
        "effect": shown.effect,
        "variables": texts::variables().iter().map(|v| json!({ "name": v.name, "what": v.what })).collect::<Vec<_>>(),
        "may_edit": page.caller.may(Permission::Edit),
        "can_pause": page.caller.may(Permission::Operate) && view.published.is_some() && !view.paused,
        "csrf": page.session().csrf,
    });
    Ok(page.render_as(shown.status, "rule.hbs", &title, values))
}

async fn change(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
    fields: FormFields,
) -> Result<Response, PageError> {
    let key = key(&page.accounts, of)?;
    let view = rules::read(&state.pool, &key).await?;
    let written = written(&view, &fields);
    match fields.one("do") {
        "test" => test(&page, &state, &view, written, &fields).await,
        "verify" => verify(&page, &state, &view, written, &fields).await,
        "effect" => effect(&page, &state, &view, written, &fields).await,
        "fill" => fill(&page, &state, &view, written, &fields).await,
        wish => {
            let publish = wish == "publish";
            let done = save(&page, &state, &key, &fields, written.clone(), publish).await;
            match done {
                Ok(()) if publish => {
                    let said = "Published. From now on reminders go by this rule.";
                    page.done(&format!("/rules/{key}"), said).await
                }
                Ok(()) => {
                    let said = "Draft saved. Nothing changes until it is published.";
                    page.done(&format!("/rules/{key}"), said).await
                }
                Err(error) => refused(&page, &state, &key, (written, &fields), error).await,
            }
        }
    }
}

/// What a form says, over what is stored: a setting that the form does not show stays as it is.
pub fn written(view: &RuleView, fields: &FormFields) -> (bool, Value) {
    let (_, settings) = rules::starting_point(view);
    let stored = serde_json::to_value(settings).unwrap_or_default();
    (
        fields.has("enabled"),
        form::settings(view.channel, stored, fields),
    )
}

async fn save(
    page: &PageFrame,
    state: &AppState,
    key: &Allowed<RuleKey>,
    fields: &FormFields,
    (enabled, settings): (bool, Value),
    publish: bool,
) -> Result<(), ControlError> {
    let seen: RuleStamp = fields.one("seen").parse().unwrap_or_default();
    let senders = AllowedSenders::of(&state.context, &page.accounts).await?;
    let (with, by) = ((&state.context.texts, &senders), by(page, state));
    let change = RuleChange { enabled, settings };
    let saved = rules::save_draft(&state.pool, with, key, seen, change, by).await?;
    if publish {
        rules::publish(&state.pool, with, key, saved.stamp, by).await?;
    }
    Ok(())
}

/// The editor again, with what the person wrote, and why it was not saved.
async fn refused(
    page: &PageFrame,
    state: &AppState,
    key: &Allowed<RuleKey>,
    (written, fields): ((bool, Value), &FormFields),
    error: ControlError,
) -> Result<Response, PageError> {
    let view = rules::read(&state.pool, key).await?;
    let mut shown = EditorView {
        written: Some(written),
        whom: Some(For::written(state, &view.account, fields)),
        ..EditorView::default()
    };
    match error {
        ControlError::Invalid(faults) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        ControlError::Changed(said) => {
            shown.status = StatusCode::CONFLICT;
            shown.conflict = preview::conflict(&view, shown.written.as_ref());
            shown.changed = Some(said);
        }
        other => return Err(other.into()),
    }
    editor(page, state, &view, shown).await
}

async fn test(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let to = fields.one("test_to").to_owned();
    let account = page.accounts.named(view.account.as_str())?;
    let sent = match rules::checked(&state.context.texts, view.channel, written.1.clone()).await {
        Err(error) => Err(error),
        Ok(settings) => {
            let language = fields.one("test_language");
            let wish = TestRequest {
                account: &account,
                channel: view.channel,
                settings: &settings,
                senders: &AllowedSenders::of(&state.context, &page.accounts).await?,
                language: Some(language).filter(|word| !word.is_empty()),
                to: &to,
                link: &state.link_home(&view.account),
                may_know_why: page.caller.may(Permission::Operate),
            };
            test_send::send(&state.context, &wish, by(page, state)).await
        }
    };
    let mut shown = EditorView {
        written: Some(written),
        test_to: to,
        whom: Some(For::written(state, &view.account, fields)),
        ..EditorView::default()
    };
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
async fn verify(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let to = fields.one("test_to");
    let account = page.accounts.named(view.account.as_str())?;
    let entered = EnteredCode {
        account: &account,
        channel: view.channel,
        to,
        code: fields.one("test_code"),
    };
    let verified = test_send::verify(&state.context, &entered, by(page, state)).await;
    let mut shown = EditorView {
        written: Some(written),
        test_to: to.to_owned(),
        whom: Some(For::written(state, &view.account, fields)),
        ..EditorView::default()
    };
    match verified {
        Ok(()) => {
            let said = "That was the code. Test messages to this address now bring your words.";
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

async fn effect(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let key = page.accounts.rule(RuleKey {
        account: view.account.clone(),
        skill: view.skill,
        channel: view.channel,
    })?;
    let mut shown = EditorView {
        whom: Some(For::written(state, &view.account, fields)),
        ..EditorView::default()
    };
    match rules::checked(&state.context.texts, view.channel, written.1.clone()).await {
        Err(ControlError::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(other) => return Err(other.into()),
        Ok(settings) => {
            let change = Some((written.0, settings));
            let now = state.clock.now();
            let live = forecast::live(&state.context, &key, change, now).await?;
            shown.effect = Some(forecast_view::live(&live, now));
        }
    }
    shown.written = Some(written);
    editor(page, state, view, shown).await
}

/// The editor with the names and numbers of a real conversation in the preview.
async fn fill(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    written: (bool, Value),
    fields: &FormFields,
) -> Result<Response, PageError> {
    let id = fields.one("conversation");
    let mut shown = EditorView {
        written: Some(written),
        conversation: id.to_owned(),
        ..EditorView::default()
    };
    let account = page.accounts.named(view.account.as_str())?;
    match texts::of_conversation(&state.context, &account, view.channel, id).await {
        Ok(reader) => shown.whom = Some(For::conversation(state, &view.account, reader)),
        Err(
            error @ (ControlError::NotFound(_)
            | ControlError::Unavailable(_)
            | ControlError::Busy(..)),
        ) => {
            shown.unfilled = Some(format!("Sorry, {error}."));
            shown.whom = Some(For::written(state, &view.account, fields));
        }
        Err(other) => return Err(other.into()),
    }
    editor(page, state, view, shown).await
}
