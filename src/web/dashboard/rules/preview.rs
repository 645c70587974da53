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
    whom: &For,
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
    let texts = match settings {
        Some(settings) => read(state, settings, whom).await?,
        None => Vec::new(),
    };
    Ok(json!({
        "summary": checked.summary,
        "enabled": enabled,
        "faults": faults.iter().map(form::fault).collect::<Vec<_>>(),
        "warnings": checked.warnings.iter().map(form::fault).collect::<Vec<_>>(),
        "contradictions": checked.contradictions.iter().map(|it| json!({
            "name": form::label(&it.field),
            "sentence": it.sentence,
            "note": it.is_note(),
        })).collect::<Vec<_>>(),
        "customers": customers,
        "has_html": texts.iter().any(|text| text["has_html"] == true),
        "weeks": settings.map(weeks).unwrap_or_default(),
        "texts": texts,
        "form": null,
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

/// The words of each channel that the steps use, in each language, filled in.
async fn read(
    state: &AppState,
    settings: &RuleSettings,
    whom: &For,
) -> Result<Vec<Value>, ControlError> {
    let mut told = Vec::new();
    for channel in settings.used() {
        let own = &settings.channels[channel].templates;
        let mut all: Vec<_> = own
            .iter()
            .map(|(language, t)| (language.as_str(), Some(t)))
            .collect();
        if all.is_empty() {
            let built_in = texts::built_in_languages().into_iter();
            all.extend(built_in.map(|language| (language, None)));
        }
        for (language, template) in all {
            let (texts, reader) = (&state.context.texts, whom.reader(language));
            let preview = texts::preview(texts, channel, template, &reader).await?;
            told.push(json!({
                "key": format!("{channel}/{language}"),
                "channel": channel.names().label,
                "has_html": preview.html.is_some(),
                "language": language,
                "built_in": template.is_none(),
                "subject": preview.subject,
                "text": preview.text,
                "sms": size(&preview),
            }));
        }
    }
    Ok(told)
}

fn size(preview: &TextPreview) -> Value {
    let Some(sms) = &preview.sms else {
        return Value::Null;
    };
    let count = if sms.segments == 1 {
        "1 SMS".to_owned()
    } else {
        format!("{} text messages, each charged separately", sms.segments)
    };
    json!({
        "units": sms.units,
        "room": sms.room,
        "level": if sms.segments == 1 { "good" } else { "waiting" },
        "said": format!("{}: {} of {} characters, {count}", sms.encoding, sms.units, sms.room),
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

/// The HTML of a message in a language, with what the form says. Which, its field `show` says: `email/de`.
pub async fn mail(
    state: &AppState,
    view: &RuleView,
    settings: &Value,
    fields: &FormFields,
) -> Result<String, ControlError> {
    const FAULTY: &str = "<p>Fix the marked fields first.</p>";
    let (word, language) = fields.one("show").split_once('/').unwrap_or_default();
    let settings = RuleSettings::parse(
        &state.context.installation_of(&view.account).channels,
        settings.clone(),
    );
    let (Ok(settings), Ok(channel)) = (settings, word.parse::<Channel>()) else {
        return Ok(FAULTY.to_owned());
    };
    let (tag, template) = settings.channels[channel]
        .template_for(Some(language))
        .unzip();
    let reader = For::written(state, &view.account, fields).reader(tag.unwrap_or(language));
    let preview = texts::preview(&state.context.texts, channel, template, &reader).await?;
    Ok(preview.html.unwrap_or_else(|| FAULTY.to_owned()))
}
