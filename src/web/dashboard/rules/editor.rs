//! The editor of one rule: what its settings mean as they are written, tries of it, and saving.

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::form::{self, Fields};
use super::look::{self, For};
use super::{EDITOR, Of, by, key, outlook};
use crate::control::accounts::Allowed;
use crate::control::rules::{self, Change, RuleView, Stamp};
use crate::control::senders::Senders;
use crate::control::test_send::{self, Entered, Wish};
use crate::control::{Error, Fault, forecast, texts};
use crate::domain::access::Permission;
use crate::domain::channel::Parts;
use crate::domain::pause::Scope;
use crate::domain::rule::Key;
use crate::web::State;
use crate::web::access::Table;
use crate::web::dashboard::{Page, Unshown, words};

pub fn add(table: &mut Table) {
    table.page(Permission::View, EDITOR, show);
    table.form(Permission::Edit, EDITOR, change);
}

/// What the editor shows beside the stored rule.
#[derive(Default)]
struct Shown {
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

async fn show(page: Page, Shared(state): Shared<State>, Path(of): Of) -> Result<Response, Unshown> {
    let view = rules::read(&state.pool, &key(&page.accounts, of)?).await?;
    editor(&page, &state, &view, Shown::default()).await
}

async fn editor(
    page: &Page,
    state: &State,
    view: &RuleView,
    shown: Shown,
) -> Result<Response, Unshown> {
    let unsaved = shown.written.as_ref();
    let unsaved = unsaved.is_some_and(|written| look::differs(view, written));
    let (enabled, settings) = shown.written.unwrap_or_else(|| {
        let (enabled, settings) = rules::starting_point(view);
        (enabled, serde_json::to_value(settings).unwrap_or_default())
    });
    let whom = shown
        .whom
        .unwrap_or_else(|| For::sample(state, &view.account));
    let now = state.clock.now();
    let key = Key {
        account: view.account.clone(),
        skill: view.skill,
        channel: view.channel,
    };
    let name = match view.skill {
        None => "All other skills".to_owned(),
        Some(_) => view.place(),
    };
    let title = format!("{name}: {}", words::channel(view.channel));
    let mut form = form::model(view.channel, &settings);
    form::mark(&mut form, &shown.faults);
    let names = view.channel.names();
    let values = json!({
        "path": format!("/rules/{key}"),
        "name": name,
        "account": view.account,
        "brand": state.brand_of(&view.account),
        "scope": Scope::Rule(key.clone()).to_string(),
        "channel": words::channel(view.channel),
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
            "at": p.changed_at.map(|at| words::time(at, now)),
        })),
        "draft": view.draft.as_ref().map(|d| json!({
            "by": d.changed_by,
            "at": words::time(d.changed_at, now),
            "outdated": d.outdated,
        })),
        "can_delete": view.skill.is_some() && view.published.is_some(),
        "falls_back": view.published.is_none() && view.fallback.is_some(),
        "paused": view.paused,
        "form": form,
        "look": look::look(state, (view, &page.accounts), (enabled, settings), &whom).await?,
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
    page: Page,
    Shared(state): Shared<State>,
    Path(of): Of,
    fields: Fields,
) -> Result<Response, Unshown> {
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
pub fn written(view: &RuleView, fields: &Fields) -> (bool, Value) {
    let (_, settings) = rules::starting_point(view);
    let stored = serde_json::to_value(settings).unwrap_or_default();
    (
        fields.has("enabled"),
        form::settings(view.channel, stored, fields),
    )
}

async fn save(
    page: &Page,
    state: &State,
    key: &Allowed<Key>,
    fields: &Fields,
    (enabled, settings): (bool, Value),
    publish: bool,
) -> Result<(), Error> {
    let seen: Stamp = fields.one("seen").parse().unwrap_or_default();
    let senders = Senders::of(&state.context, &page.accounts).await?;
    let (with, by) = ((&state.context.texts, &senders), by(page, state));
    let change = Change { enabled, settings };
    let saved = rules::save_draft(&state.pool, with, key, seen, change, by).await?;
    if publish {
        rules::publish(&state.pool, with, key, saved.stamp, by).await?;
    }
    Ok(())
}

/// The editor again, with what the person wrote, and why it was not saved.
async fn refused(
    page: &Page,
    state: &State,
    key: &Allowed<Key>,
    (written, fields): ((bool, Value), &Fields),
    error: Error,
) -> Result<Response, Unshown> {
    let view = rules::read(&state.pool, key).await?;
    let mut shown = Shown {
        written: Some(written),
        whom: Some(For::written(state, &view.account, fields)),
        ..Shown::default()
    };
    match error {
        Error::Invalid(faults) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Error::Changed(said) => {
            shown.status = StatusCode::CONFLICT;
            shown.conflict = look::conflict(&view, shown.written.as_ref());
            shown.changed = Some(said);
        }
        other => return Err(other.into()),
    }
    editor(page, state, &view, shown).await
}

async fn test(
    page: &Page,
    state: &State,
    view: &RuleView,
    written: (bool, Value),
    fields: &Fields,
) -> Result<Response, Unshown> {
    let to = fields.one("test_to").to_owned();
    let account = page.accounts.named(view.account.as_str())?;
    let sent = match rules::checked(&state.context.texts, view.channel, written.1.clone()).await {
        Err(error) => Err(error),
        Ok(settings) => {
            let language = fields.one("test_language");
            let wish = Wish {
                account: &account,
                channel: view.channel,
                settings: &settings,
                senders: &Senders::of(&state.context, &page.accounts).await?,
                language: Some(language).filter(|word| !word.is_empty()),
                to: &to,
                link: &state.link_home(&view.account),
                may_know_why: page.caller.may(Permission::Operate),
            };
            test_send::send(&state.context, &wish, by(page, state)).await
        }
    };
    let mut shown = Shown {
        written: Some(written),
        test_to: to,
        whom: Some(For::written(state, &view.account, fields)),
        ..Shown::default()
    };
    match sent {
        Ok(sent) => {
            let level = if sent.accepted { "good" } else { "bad" };
            shown.asks_code = sent.needs_code;
            shown.tested = Some(json!({ "level": level, "said": sent.said, "code": sent.code }));
        }
        Err(Error::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(error) => not_tested(&mut shown, error)?,
    }
    editor(page, state, view, shown).await
}

/// Why no test was made, or no code taken, as the page tells it.
fn not_tested(shown: &mut Shown, error: Error) -> Result<(), Unshown> {
    let (status, said) = match error {
        Error::Conflict(said) | Error::Unavailable(said) => (StatusCode::CONFLICT, said),
        Error::Busy(said, _) => (StatusCode::TOO_MANY_REQUESTS, said + "."),
        other => return Err(other.into()),
    };
    shown.status = status;
    shown.tested = Some(json!({ "level": "bad", "said": said, "code": null }));
    Ok(())
}

/// Takes the code of a test message.
async fn verify(
    page: &Page,
    state: &State,
    view: &RuleView,
    written: (bool, Value),
    fields: &Fields,
) -> Result<Response, Unshown> {
    let to = fields.one("test_to");
    let account = page.accounts.named(view.account.as_str())?;
    let entered = Entered {
        account: &account,
        channel: view.channel,
        to,
        code: fields.one("test_code"),
    };
    let verified = test_send::verify(&state.context, &entered, by(page, state)).await;
    let mut shown = Shown {
        written: Some(written),
        test_to: to.to_owned(),
        whom: Some(For::written(state, &view.account, fields)),
        ..Shown::default()
    };
    match verified {
        Ok(()) => {
            let said = "That was the code. Test messages to this address now bring your words.";
            shown.tested = Some(json!({ "level": "good", "said": said, "code": null }));
        }
        Err(Error::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.asks_code = true;
            let said = Error::Invalid(faults).to_string();
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
    page: &Page,
    state: &State,
    view: &RuleView,
    written: (bool, Value),
    fields: &Fields,
) -> Result<Response, Unshown> {
    let key = page.accounts.rule(Key {
        account: view.account.clone(),
        skill: view.skill,
        channel: view.channel,
    })?;
    let mut shown = Shown {
        whom: Some(For::written(state, &view.account, fields)),
        ..Shown::default()
    };
    match rules::checked(&state.context.texts, view.channel, written.1.clone()).await {
        Err(Error::Invalid(faults)) => {
            shown.status = StatusCode::UNPROCESSABLE_ENTITY;
            shown.faults = faults;
        }
        Err(other) => return Err(other.into()),
        Ok(settings) => {
            let change = Some((written.0, settings));
            let now = state.clock.now();
            let live = forecast::live(&state.context, &key, change, now).await?;
            shown.effect = Some(outlook::live(&live, now));
        }
    }
    shown.written = Some(written);
    editor(page, state, view, shown).await
}

/// The editor with the names and numbers of a real conversation in the preview.
async fn fill(
    page: &Page,
    state: &State,
    view: &RuleView,
    written: (bool, Value),
    fields: &Fields,
) -> Result<Response, Unshown> {
    let id = fields.one("conversation");
    let mut shown = Shown {
        written: Some(written),
        conversation: id.to_owned(),
        ..Shown::default()
    };
    let account = page.accounts.named(view.account.as_str())?;
    match texts::of_conversation(&state.context, &account, view.channel, id).await {
        Ok(reader) => shown.whom = Some(For::conversation(state, &view.account, reader)),
        Err(error @ (Error::NotFound(_) | Error::Unavailable(_) | Error::Busy(..))) => {
            shown.unfilled = Some(format!("Sorry, {error}."));
            shown.whom = Some(For::written(state, &view.account, fields));
        }
        Err(other) => return Err(other.into()),
    }
    editor(page, state, view, shown).await
}
