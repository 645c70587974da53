//! The editor of one rule: what its settings mean as they are written, and saving.

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::form::{self, FormFields, OpenLanguages, StepChange, TextChange};
use super::preview::{self, For};
use super::{EDITOR, RulePagePath, by, key, name, tries};
use crate::control::accounts::Allowed;
use crate::control::rules::{self, RuleChange, RuleStamp, RuleView};
use crate::control::senders::AllowedSenders;
use crate::control::{ControlError, Fault, texts};
use crate::domain::access::Permission;
use crate::domain::ids::Channel;
use crate::domain::language;
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
pub struct EditorView {
    pub status: StatusCode,
    /// What the person has written, if it is not what is stored.
    pub written: Option<(bool, Value)>,
    pub faults: Vec<Fault>,
    /// Somebody else was quicker: what they did.
    pub changed: Option<String>,
    /// Setting by setting: theirs and yours.
    pub conflict: Value,
    pub tested: Option<Value>,
    pub test_to: String,
    /// Over which channel a test goes, if it was chosen.
    pub test_channel: Option<Channel>,
    /// In which language, if it was chosen.
    pub test_language: String,
    /// A code was sent there, and is not entered yet.
    pub asks_code: bool,
    pub effect: Option<Value>,
    /// Whom the words are shown for, if not a sample.
    pub whom: Option<For>,
    /// A conversation that was to be the sample, and why it is not.
    pub conversation: String,
    pub unfilled: Option<String>,
    /// The languages whose texts are shown although nothing is stored of them.
    pub languages: OpenLanguages,
}

async fn show(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path(of): RulePagePath,
) -> Result<Response, PageError> {
    let view = rules::read(&state.pool, &key(&page.accounts, of)?).await?;
    editor(&page, &state, &view, EditorView::default()).await
}

/// The page.
pub async fn editor(
    page: &PageFrame,
    state: &AppState,
    view: &RuleView,
    shown: EditorView,
) -> Result<Response, PageError> {
    let installation = state.context.installation_of(&view.account);
    let unsaved = shown.written.as_ref();
    let unsaved = unsaved.is_some_and(|written| preview::differs(installation, view, written));
    let (enabled, settings) = shown.written.unwrap_or_else(|| {
        let (enabled, settings) = rules::starting_point(view, &installation.channels);
        (enabled, serde_json::to_value(settings).unwrap_or_default())
    });
    let whom = shown
        .whom
        .unwrap_or_else(|| For::sample(state, &view.account));
    let now = state.clock.now();
    let key = RuleKey {
        account: view.account.clone(),
        skill: view.skill,
    };
    let name = name(view.skill, view.skill_name.as_deref());
    let title = format!("{name}: rule");
    let mut form = form::model(&installation.channels, &settings, &shown.languages);
    let faults = form::placed(shown.faults, &settings);
    form::mark(&mut form, &faults);
    let written = (enabled, settings);
    let mut test = test_form(&installation.channels, &written.1, shown.test_channel);
    test["languages"] = languages(&form, &shown.test_language);
    let look =
        preview::preview_change(state, (view, &page.accounts), written, (&form, &whom)).await?;
    preview::place(&mut form, &look);
    let paused_in_part = view
        .paused_channels
        .iter()
        .map(|channel| channel.names().label);
    let values = json!({
        "path": format!("/rules/{key}"),
        "name": name,
        "account": view.account,
        "brand": state.brand_of(&view.account),
        "scope": Scope::Rule(key.clone()).to_string(),
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
        "paused_in_part": paused_in_part.collect::<Vec<_>>().join(" and "),
        "test": test,
        "form": form,
        "look": look,
        "whom": whom.model(),
        "conversation": shown.conversation,
        "unfilled": shown.unfilled,
        "faults": faults.iter().map(|fault| form::fault(&form, fault)).collect::<Vec<_>>(),
        "changed": shown.changed,
        "conflict": shown.conflict,
        "tested": shown.tested,
        "test_to": shown.test_to,
        "asks_code": shown.asks_code,
        "effect": shown.effect,
        "variables": variables(),
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
    let written = written(&state, &view, &fields);
    match fields.one("do") {
        "test" => tries::test(&page, &state, &view, written, &fields).await,
        "verify" => tries::verify(&page, &state, &view, written, &fields).await,
        "effect" => tries::effect(&page, &state, &view, written, &fields).await,
        "fill" => tries::fill(&page, &state, &view, written, &fields).await,
        // Without a script: the page again, with the steps or texts as the button has changed them.
        wish if StepChange::parse(wish).is_some() || TextChange::parse(wish).is_some() => {
            let shown = EditorView {
                written: Some(written),
                languages: OpenLanguages::of(&fields),
                whom: Some(For::written(&state, &view.account, &fields)),
                ..EditorView::default()
            };
            editor(&page, &state, &view, shown).await
        }
        wish => {
            let publish = wish == "publish";
            let done = save(&page, &state, &key, &fields, written.clone(), publish).await;
            match done {
                Ok(()) if publish => {
                    let said = "Published. This rule is live now.";
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

/// The languages in which a test can be read: those of the form, and those of the standard texts.
fn languages(form: &Value, chosen: &str) -> Value {
    let channels = form["channels"].as_array().into_iter().flatten();
    let rows =
        channels.flat_map(|channel| channel["texts"]["rows"].as_array().into_iter().flatten());
    let rows = rows.filter_map(|row| row["language"].as_str());
    let mut tags: Vec<&str> = rows.chain(texts::built_in_languages()).collect();
    tags.sort_by_cached_key(|tag| language::name(tag));
    tags.dedup();
    let chosen = if chosen.is_empty() { "en" } else { chosen };
    let offered = tags
        .into_iter()
        .map(|tag| json!({ "tag": tag, "name": language::name(tag), "chosen": tag == chosen }));
    offered.collect()
}

/// What can be put into a text: what most need first.
pub fn variables() -> Vec<Value> {
    const MOST: [&str; 5] = ["first_name", "agent", "brand", "several", "link"];
    let mut all = texts::variables();
    all.sort_by_key(|v| {
        MOST.iter()
            .position(|name| *name == v.name)
            .unwrap_or(MOST.len())
    });
    let shown = all.iter().map(|v| {
        json!({ "name": v.name, "label": v.label, "what": v.what, "often": MOST.contains(&v.name) })
    });
    shown.collect()
}

/// What a form says, over what is stored: a setting that the form does not show stays as it is.
pub fn written(state: &AppState, view: &RuleView, fields: &FormFields) -> (bool, Value) {
    let (_, settings) =
        rules::starting_point(view, &state.context.installation_of(&view.account).channels);
    let stored = serde_json::to_value(settings).unwrap_or_default();
    (fields.has("enabled"), form::settings(stored, fields))
}

/// Over which channels a test may go, those that the form's steps use or else all that are configured; and what is asked for.
fn test_form(configured: &[Channel], settings: &Value, chosen: Option<Channel>) -> Value {
    let steps = settings["steps"].as_array();
    let is_used = |channel: &Channel| {
        steps.is_some_and(|steps| steps.iter().any(|step| step["channel"] == channel.as_str()))
    };
    let mut offered: Vec<Channel> = configured.iter().copied().filter(is_used).collect();
    if offered.is_empty() {
        offered = configured.to_vec();
    }
    let addresses: Vec<&str> = offered
        .iter()
        .map(|channel| channel.names().your_address)
        .collect();
    let autocomplete = match offered[..] {
        [only] => only.names().autocomplete,
        _ => "on",
    };
    let choices = offered.iter().map(|channel| {
        json!({ "word": channel, "label": channel.names().label, "chosen": chosen == Some(*channel) })
    });
    json!({
        "channels": choices.collect::<Vec<_>>(),
        "several": offered.len() > 1,
        "address": addresses.join(" or ").replace(" or Your ", " or "),
        "autocomplete": autocomplete,
    })
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
    let by = by(page, state);
    let (texts, channels) = (
        &state.context.texts,
        &state.context.installation_of(&key.account).channels[..],
    );
    let change = RuleChange { enabled, settings };
    let saved = rules::save_draft(
        &state.pool,
        (texts, &senders, channels),
        key,
        seen,
        change,
        by,
    )
    .await?;
    if publish {
        rules::publish(&state.pool, (texts, &senders), key, saved.stamp, by).await?;
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
        languages: OpenLanguages::of(fields),
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
            shown.conflict = preview::conflict(
                state.context.installation_of(&view.account),
                &view,
                shown.written.as_ref(),
            );
            shown.changed = Some(said);
        }
        other => return Err(other.into()),
    }
    editor(page, state, &view, shown).await
}
