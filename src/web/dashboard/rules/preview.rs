//! What a rule's settings mean, for the parts of the editor that change as one writes: sentences, what customers would get, the hours of a
//! week, and the words as they would be read.

use chrono::{NaiveTime, Timelike as _, Weekday};
use serde_json::{Value, json};

use super::customers::customers;
use super::form::{self, FormFields};
use crate::control::ControlError;
use crate::control::accounts::Accounts;
use crate::control::rules::{self, RuleView};
use crate::control::senders::AllowedSenders;
use crate::control::texts::{self, PreviewRecipient, TextPreview};
use crate::domain::ids::{AccountId, Channel};
use crate::domain::owed::Installation;
use crate::domain::quiet::Window;
use crate::domain::rule::{RuleSettings, differences};
use crate::web::AppState;

/// Whom the words are shown for: what the page's fields say, which begin as samples.
pub struct For {
    brand: String,
    first_name: String,
    agent: String,
    skill: String,
    count: String,
}

impl For {
    pub fn sample(state: &AppState, account: &AccountId) -> Self {
        let variables = texts::variables();
        let sample = |name| {
            let found = variables.iter().find(|v| v.name == name);
            found.map_or("", |v| v.sample).to_owned()
        };
        Self {
            brand: state.brand_of(account),
            first_name: sample("first_name"),
            agent: sample("agent"),
            skill: sample("skill"),
            count: sample("count"),
        }
    }

    pub fn written(state: &AppState, account: &AccountId, fields: &FormFields) -> Self {
        if !fields.has("as_first_name") {
            return Self::sample(state, account);
        }
        let word = |name| fields.one(name).to_owned();
        Self {
            brand: state.brand_of(account),
            first_name: word("as_first_name"),
            agent: word("as_agent"),
            skill: word("as_skill"),
            count: word("as_count"),
        }
    }

    /// What a real conversation would have said.
    pub fn conversation(state: &AppState, account: &AccountId, reader: PreviewRecipient) -> Self {
        Self {
            brand: state.brand_of(account),
            first_name: reader.first_name.unwrap_or_default(),
            agent: reader.agent.unwrap_or_default(),
            skill: reader.skill.unwrap_or_default(),
            count: reader.count.unwrap_or(1).to_string(),
        }
    }

    /// The values of the page's fields.
    pub fn model(&self) -> Value {
        json!({
            "first_name": self.first_name,
            "agent": self.agent,
            "skill": self.skill,
            "count": self.count,
        })
    }

    fn reader(&self, language: &str) -> PreviewRecipient {
        PreviewRecipient {
            language: Some(language.to_owned()),
            brand: Some(self.brand.clone()),
            first_name: Some(self.first_name.clone()),
            agent: Some(self.agent.clone()),
            skill: Some(self.skill.clone()),
            count: self.count.parse().ok(),
            ..PreviewRecipient::default()
        }
    }
}

/// The values of `rule_look.hbs`.
pub async fn preview_change(
    state: &AppState,
    (view, accounts): (&RuleView, &Accounts),
    (enabled, given): (bool, Value),
    (form, whom): (&Value, &For),
) -> Result<Value, ControlError> {
    let installation = state.context.installation_of(&view.account);
    let (place, now) = (view.place(), state.clock.now());
    let senders = AllowedSenders::of(&state.context, accounts).await?;
    let with = (&state.pool, &state.context.texts, &senders);
    let around = rules::around(&state.config, Some(&view.account));
    let of = (&installation.channels[..], place.as_str());
    let checked = rules::check(with, &around, of, (enabled, given.clone()), now).await?;
    let faults = form::placed(checked.faults, &given);
    let settings = checked.settings.as_ref();
    let zone = |settings: &RuleSettings| settings.time_zone.unwrap_or(around.zone);
    let customers = settings.map(|settings| customers(settings, installation, zone(settings), now));
    let changes = settings.map(|settings| changes(view, (enabled, settings)));
    let changes = changes.unwrap_or_default();
    let texts = match settings {
        Some(settings) => read(state, settings, (form, whom)).await?,
        None => Vec::new(),
    };
    Ok(json!({
        "summary": checked.summary,
        "enabled": enabled,
        "faults": faults.iter().map(|fault| form::fault(form, fault)).collect::<Vec<_>>(),
        "warnings": checked.warnings.iter().map(|fault| form::fault(form, fault)).collect::<Vec<_>>(),
        "contradictions": checked.contradictions.iter().map(|it| json!({
            "name": form::label(&it.field),
            "sentence": it.sentence,
            "note": it.is_note(),
        })).collect::<Vec<_>>(),
        "customers": customers,
        "weeks": settings.map(weeks).unwrap_or_default(),
        "texts": texts,
        "form": null,
        "changed_texts": null,
        "changes_said": changes_said(&changes),
        "changes": changes,
    }))
}

/// The hours of a week, channel by channel that has any: for everybody, and for the countries that have their own.
fn weeks(settings: &RuleSettings) -> Vec<Value> {
    let mut all = Vec::new();
    for channel in settings.used() {
        let quiet = &settings.channels[channel].quiet_hours;
        if !quiet.is_any() {
            continue;
        }
        let label = channel.names().label;
        all.push(week(
            &format!("{label}, in the customer's own time zone"),
            &quiet.allowed,
        ));
        let own = quiet
            .by_country
            .iter()
            .filter(|_| channel.profile().tells_country);
        all.extend(
            own.map(|(country, windows)| week(&format!("{label}, {country} numbers"), windows)),
        );
    }
    all
}

const WEEK: [Weekday; 7] = [
    Weekday::Mon,
    Weekday::Tue,
    Weekday::Wed,
    Weekday::Thu,
    Weekday::Fri,
    Weekday::Sat,
    Weekday::Sun,
];

/// A week as `rule_look.hbs` draws it: a minute of the day is a unit of its width.
fn week(name: &str, windows: &[Window]) -> Value {
    let minute = |time: NaiveTime| time.hour() * 60 + time.minute();
    let days = WEEK.iter().zip(0..).map(|(day, row)| {
        let of_day = windows
            .iter()
            .filter(|w| w.days.is_empty() || w.days.contains(day));
        let mut bars: Vec<Value> = of_day
            .map(|w| {
                let from = minute(w.from);
                let to = if w.to == NaiveTime::MIN {
                    1440
                } else {
                    minute(w.to)
                };
                json!({ "x": from, "width": to.saturating_sub(from) })
            })
            .collect();
        if windows.is_empty() {
            bars.push(json!({ "x": 0, "width": 1440 }));
        }
        json!({ "name": day.to_string(), "y": row * 90, "text_y": row * 90 + 52, "bars": bars })
    });
    json!({ "name": name, "days": days.collect::<Vec<_>>() })
}

/// The texts that the form shows, filled in.
async fn read(
    state: &AppState,
    settings: &RuleSettings,
    (form, whom): (&Value, &For),
) -> Result<Vec<Value>, ControlError> {
    let mut told = Vec::new();
    for row in rows(form) {
        let word = |name: &str| row[name].as_str().unwrap_or_default();
        let (Ok(channel), language) = (word("channel").parse::<Channel>(), word("language")) else {
            continue;
        };
        let template = settings.channels[channel].templates.get(language);
        let (texts, reader) = (&state.context.texts, whom.reader(language));
        let preview = texts::preview(texts, channel, template, &reader).await?;
        told.push(json!({
            "key": row["key"],
            "tab": row["tab"],
            "is_mail": row["is_mail"],
            "direction": row["direction"],
            "brand": whom.brand,
            "subject": preview.subject,
            "preheader": preview.preheader,
            "text": preview.text,
            "sms": size(&preview),
        }));
    }
    Ok(told)
}

/// The rows of a form's texts.
fn rows(form: &Value) -> impl Iterator<Item = &Value> {
    let channels = form["channels"].as_array().into_iter().flatten();
    channels.flat_map(|channel| channel["texts"]["rows"].as_array().into_iter().flatten())
}

/// Puts what the texts look like beside them.
pub fn place(form: &mut Value, look: &Value) {
    let texts = look["texts"].as_array();
    let channels = form["channels"].as_array_mut().into_iter().flatten();
    let rows = channels.flat_map(|channel| {
        channel["texts"]["rows"]
            .as_array_mut()
            .into_iter()
            .flatten()
    });
    for row in rows {
        let found = texts.and_then(|texts| texts.iter().find(|text| text["key"] == row["key"]));
        row["look"] = found.cloned().unwrap_or_default();
    }
}

fn size(preview: &TextPreview) -> Value {
    let Some(sms) = &preview.sms else {
        return Value::Null;
    };
    let count = match sms.segments {
        1 => "1 SMS".to_owned(),
        several => format!("{several} SMS, {several} times the price"),
    };
    let alphabet = match sms.offender {
        Some(_) => "70 per SMS in this alphabet",
        None => "160 per SMS",
    };
    json!({
        "units": sms.units,
        "room": sms.room,
        "dear": sms.segments > 1,
        "count": count,
        "said": format!("{} of {} characters · {alphabet} ({})", sms.units, sms.room, sms.encoding),
        "offender": sms.offender.map(|o| o.to_string()),
        "offender_at": sms.offender_at,
    })
}

/// Whether what was written is not what is stored.
pub fn differs(
    installation: &Installation,
    view: &RuleView,
    (enabled, written): &(bool, Value),
) -> bool {
    let (stored_enabled, stored) = rules::starting_point(view, &installation.channels);
    let written = RuleSettings::parse(&installation.channels, written.clone());
    *enabled != stored_enabled || !written.is_ok_and(|written| written == stored)
}

/// What would be another if this were published; `Null`: nothing, or nothing is.
fn changes(view: &RuleView, (enabled, settings): (bool, &RuleSettings)) -> Value {
    let Some(live) = &view.published else {
        return Value::Null;
    };
    let found = differences((live.enabled, &live.settings), (enabled, settings));
    let found = found
        .iter()
        .map(|d| (d.field.as_str(), &d.before, &d.after));
    form::differences("Changes", ("Live now", "With your changes"), found)
}

fn changes_said(changes: &Value) -> String {
    match changes["rows"].as_array().map_or(0, Vec::len) {
        1 => "1 change that is not live yet".to_owned(),
        several => format!("{several} changes that are not live yet"),
    }
}

/// Setting by setting, what is stored now and what the person wrote.
pub fn conflict(
    installation: &Installation,
    view: &RuleView,
    written: Option<&(bool, Value)>,
) -> Value {
    let (enabled, theirs) = rules::starting_point(view, &installation.channels);
    let Some((own_enabled, own)) = written else {
        return Value::Null;
    };
    let Ok(own) = RuleSettings::parse(&installation.channels, own.clone()) else {
        return Value::Null;
    };
    let found = differences((enabled, &theirs), (*own_enabled, &own));
    let found = found
        .iter()
        .map(|d| (d.field.as_str(), &d.before, &d.after));
    form::differences("Differences", ("Live now", "With your changes"), found)
}

/// The HTML of a message in a language, with what the form says. Which, its field `show` says: `email/de`, `email/de/dark`.
pub async fn mail(
    state: &AppState,
    view: &RuleView,
    settings: &Value,
    fields: &FormFields,
) -> Result<String, ControlError> {
    const FAULTY: &str = "<p>Fix the marked fields first.</p>";
    let mut wish = fields.one("show").split('/');
    let (word, language) = (
        wish.next().unwrap_or_default(),
        wish.next().unwrap_or_default(),
    );
    let settings = RuleSettings::parse(
        &state.context.installation_of(&view.account).channels,
        settings.clone(),
    );
    let (Ok(settings), Ok(channel)) = (settings, word.parse::<Channel>()) else {
        return Ok(FAULTY.to_owned());
    };
    let template = settings.channels[channel].templates.get(language);
    let reader = For::written(state, &view.account, fields).reader(language);
    let preview = texts::preview(&state.context.texts, channel, template, &reader).await?;
    let html = preview.html.unwrap_or_else(|| FAULTY.to_owned());
    Ok(in_scheme(&html, wish.next() == Some("dark")))
}

/// A mail as it is read in the dark, or in the light, whatever the reader of this page prefers.
fn in_scheme(html: &str, dark: bool) -> String {
    let (on, off) = ("all", "not all");
    let (dark, light) = if dark { (on, off) } else { (off, on) };
    let scheme = if dark == on { "dark" } else { "light" };
    html.replace("(prefers-color-scheme: dark)", dark)
        .replace("(prefers-color-scheme:dark)", dark)
        .replace("(prefers-color-scheme: light)", light)
        .replace("(prefers-color-scheme:light)", light)
        .replace("content=\"light dark\"", &format!("content=\"{scheme}\""))
        .replace(
            "color-scheme: light dark",
            &format!("color-scheme: {scheme}"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_shown_in_the_light_and_in_the_dark() {
        let html = "<meta name=\"color-scheme\" content=\"light dark\">@media (prefers-color-scheme: dark) { a } \
                    @media (prefers-color-scheme:light) { b }";
        let dark = in_scheme(html, true);
        assert_eq!(
            dark,
            "<meta name=\"color-scheme\" content=\"dark\">@media all { a } @media not all { b }"
        );
        let light = in_scheme(html, false);
        assert_eq!(
            light,
            "<meta name=\"color-scheme\" content=\"light\">@media not all { a } @media all { b }"
        );
    }
}
