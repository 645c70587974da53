//! The texts of a channel as rows of the form, a row for each language: read, changed by the buttons beside them, and shown.
//!
//! A language that has no text of the rule's own shows the standard one. It is stored once it is no longer that.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::{FormFields, text};
use crate::control::texts::{self, TextPiece};
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;
use crate::domain::language::{self, is_right_to_left};
use crate::domain::rule::Template;

/// Rows that are looked for.
const MOST_ROWS: usize = 60;
/// The language that is always shown: who reads no other gets its text.
const ENGLISH: &str = "en";

/// What a button beside the texts asks for; rows count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextChange {
    /// A row in the language that was chosen.
    Add,
    Remove(usize),
    /// A row says the standard text of its language.
    Standard(usize),
    /// A row says what another one says.
    Copy {
        to: usize,
        from: usize,
    },
    /// Nothing: the rows are shown again, as pieces where they were code.
    Show,
}

impl TextChange {
    /// As the button's value has it: `text_add_email`, `text_copy_email_0_2`.
    pub fn parse(wish: &str) -> Option<(Channel, Self)> {
        let mut words = wish.strip_prefix("text_")?.split('_');
        let (what, channel) = (words.next()?, words.next()?.parse().ok()?);
        let mut row = || words.next().and_then(|row| row.parse().ok());
        let change = match what {
            "add" => Self::Add,
            "show" => Self::Show,
            "remove" => Self::Remove(row()?),
            "standard" => Self::Standard(row()?),
            "copy" => Self::Copy {
                to: row()?,
                from: row()?,
            },
            _ => return None,
        };
        Some((channel, change))
    }
}

/// The languages that a form shows: also those of which nothing is stored.
#[derive(Default)]
pub struct OpenLanguages {
    all: Vec<(Channel, String)>,
    /// The one that a button has just brought or changed.
    chosen: Option<(Channel, String)>,
}

impl OpenLanguages {
    pub fn of(fields: &FormFields) -> Self {
        let change = TextChange::parse(fields.one("do"));
        let mut open = Self::default();
        for channel in Channel::ALL {
            let rows = rows(channel, fields);
            open.all
                .extend(rows.into_iter().map(|row| (channel, row.language)));
        }
        let chosen = change.and_then(|(channel, change)| {
            let language = match change {
                TextChange::Add => fields.one(&format!("{channel}_add")).to_owned(),
                TextChange::Standard(row) | TextChange::Copy { to: row, .. } => {
                    let row = format!("{channel}_t{row}_language");
                    fields.one(&row).to_owned()
                }
                TextChange::Remove(_) | TextChange::Show => return None,
            };
            Some((channel, language))
        });
        open.chosen = chosen;
        open
    }
}

/// A language's text as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    language: String,
    subject: String,
    preheader: String,
    text: String,
    html: String,
    /// It was shown as the standard text.
    standard: bool,
}

impl Row {
    fn new(language: &str, template: Template, standard: bool) -> Self {
        Self {
            language: language.to_owned(),
            subject: template.subject.unwrap_or_default(),
            preheader: template.preheader.unwrap_or_default(),
            text: template.text,
            html: template.html.unwrap_or_default(),
            standard,
        }
    }

    fn standard(channel: Channel, language: &str) -> Option<Self> {
        let template = texts::standard(channel, language)?;
        Some(Self::new(language, template, true))
    }

    fn template(self, channel: Channel) -> Value {
        let mut template = json!({ "text": self.text });
        if channel.profile().parts == Parts::SubjectAndHtml {
            template["subject"] = self.subject.into();
            for (name, part) in [("preheader", self.preheader), ("html", self.html)] {
                if !part.is_empty() {
                    template[name] = part.into();
                }
            }
        }
        template
    }
}

/// The texts that a form says, by language.
pub fn written(channel: Channel, fields: &FormFields) -> Value {
    let own = rows(channel, fields).into_iter().filter(|row| {
        let standard = row.standard.then(|| Row::standard(channel, &row.language));
        standard.flatten().as_ref() != Some(row)
    });
    let templates: Map<String, Value> = own
        .map(|row| (row.language.clone(), row.template(channel)))
        .collect();
    Value::Object(templates)
}

/// The rows of a form, as the button has changed them.
fn rows(channel: Channel, fields: &FormFields) -> Vec<Row> {
    let mut rows = Vec::new();
    for at in 0..MOST_ROWS {
        let name = |part: &str| format!("{channel}_t{at}_{part}");
        let value = |part: &str| fields.one(&name(part)).replace("\r\n", "\n");
        let row = Row {
            language: value("language"),
            subject: value("subject"),
            preheader: value("preheader"),
            text: value("text"),
            html: value("html"),
            standard: fields.has(&name("standard")),
        };
        if !(row.language.is_empty() && row.text.is_empty()) {
            rows.push(row);
        }
    }
    match TextChange::parse(fields.one("do")) {
        Some((of, change)) if of == channel => {
            let added = fields.one(&format!("{channel}_add"));
            apply(&mut rows, (channel, change), added);
        }
        _ => {}
    }
    rows
}

fn apply(rows: &mut Vec<Row>, (channel, change): (Channel, TextChange), added: &str) {
    let has = |rows: &[Row], language: &str| rows.iter().any(|row| row.language == language);
    match change {
        TextChange::Add if !added.is_empty() && !has(rows, added) => {
            let english = rows.iter().find(|row| row.language == ENGLISH).cloned();
            let english = english.or_else(|| Row::standard(channel, ENGLISH));
            rows.extend(Row::standard(channel, added).or_else(|| {
                Some(Row {
                    language: added.to_owned(),
                    standard: false,
                    ..english?
                })
            }));
        }
        TextChange::Remove(at) if at < rows.len() => {
            rows.remove(at);
        }
        TextChange::Standard(at) if at < rows.len() => {
            let standard = Row::standard(channel, &rows[at].language);
            rows[at] = standard.unwrap_or_else(|| rows[at].clone());
        }
        TextChange::Copy { to, from } if to < rows.len() && from < rows.len() => {
            let language = std::mem::take(&mut rows[to].language);
            rows[to] = Row {
                language,
                standard: false,
                ..rows[from].clone()
            };
        }
        _ => {}
    }
}

/// The values of `rule_texts.hbs`.
pub fn shown(channel: Channel, own: &Value, open: &OpenLanguages) -> Value {
    let rows = rows_shown(channel, own, open);
    let chosen = open.chosen.as_ref().filter(|(of, _)| *of == channel);
    let chosen = chosen.map_or(rows[0].language.as_str(), |(_, language)| language);
    let tabs: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| model(channel, (at, row), &rows, chosen))
        .collect();
    let open = |tag: &str| rows.iter().any(|row| row.language == tag);
    let offered = language::NAMES.iter().filter(|(tag, _)| !open(tag));
    let offered = offered.map(|(tag, name)| {
        let standard = texts::standard(channel, tag).is_some();
        json!({ "tag": tag, "name": name, "standard": standard })
    });
    let standard: Vec<String> = texts::built_in_languages()
        .into_iter()
        .filter(|tag| !open(tag))
        .map(language::name)
        .collect();
    json!({
        "channel": channel,
        "label": channel.names().label,
        "is_mail": channel.profile().parts == Parts::SubjectAndHtml,
        "rows": tabs,
        "offered": offered.collect::<Vec<_>>(),
        "others": standard.join(", "),
        "wrong": null,
    })
}

/// English first, then the others by name.
fn rows_shown(channel: Channel, own: &Value, open: &OpenLanguages) -> Vec<Row> {
    let empty = Map::new();
    let own = own["templates"].as_object().unwrap_or(&empty);
    let mut rows: Vec<Row> = own.iter().map(|(tag, t)| stored(tag, t)).collect();
    let open = open.all.iter().filter(|(of, _)| *of == channel);
    let open = open.map(|(_, language)| language.as_str());
    for language in open.chain([ENGLISH]) {
        if !rows.iter().any(|row| row.language == language) {
            rows.extend(Row::standard(channel, language));
        }
    }
    rows.sort_by_cached_key(|row| (row.language != ENGLISH, language::name(&row.language)));
    rows
}

fn stored(language: &str, template: &Value) -> Row {
    let part = |name: &str| text(&template[name]);
    Row {
        language: language.to_owned(),
        subject: part("subject"),
        preheader: part("preheader"),
        text: part("text"),
        html: part("html"),
        standard: false,
    }
}

fn model(channel: Channel, (at, row): (usize, &Row), rows: &[Row], chosen: &str) -> Value {
    let name = format!("{channel}_t{at}");
    let part = |part: &str, label: &str, value: &str| {
        json!({
            "id": format!("{name}_{part}"),
            "label": label,
            "line": matches!(part, "subject" | "preheader"),
            "hint": if part == "preheader" { "The first words of the text" } else { "" },
            "value": value,
            "pieces": (part != "html").then(|| pieces(value)).flatten(),
            "wrong": null,
        })
    };
    let copies = rows.iter().enumerate().filter(|(from, _)| *from != at);
    let copies = copies.map(|(from, other)| {
        let whose = if other.standard { "Standard" } else { "Your" };
        json!({
            "wish": format!("text_copy_{channel}_{at}_{from}"),
            "label": format!("{whose} text in {}", language::name(&other.language)),
        })
    });
    let has_standard = texts::standard(channel, &row.language).is_some();
    json!({
        "row": name,
        "at": at,
        "channel": channel,
        "key": format!("{channel}/{}", row.language),
        "tab": format!("{channel}-{}", row.language),
        "language": row.language,
        "name": language::name(&row.language),
        "direction": if is_right_to_left(&row.language) { "rtl" } else { "ltr" },
        "standard": row.standard,
        "chosen": row.language == chosen,
        "is_mail": channel.profile().parts == Parts::SubjectAndHtml,
        "subject": part("subject", "Subject", &row.subject),
        "preheader": part("preheader", "Preheader", &row.preheader),
        "text": part("text", "Text", &row.text),
        "html": part("html", "HTML", &row.html),
        "copies": copies.collect::<Vec<_>>(),
        "back": (has_standard && !row.standard).then(|| format!("text_standard_{channel}_{at}")),
        "remove": (row.language != ENGLISH).then(|| format!("text_remove_{channel}_{at}")),
        "look": null,
    })
}

/// The pieces of a text, for the script; nothing if it is code.
fn pieces(source: &str) -> Option<String> {
    let pieces = texts::pieces(source)?.into_iter().map(|piece| match piece {
        TextPiece::Words(words) => json!({ "words": words }),
        TextPiece::Value(variable) => json!({ "value": variable }),
        TextPiece::Name {
            variable,
            before,
            after,
            otherwise,
        } => json!({ "name": variable, "before": before, "after": after, "otherwise": otherwise }),
        TextPiece::Count { one, several } => json!({ "one": one, "several": several }),
    });
    Some(Value::Array(pieces.collect()).to_string())
}

/// Puts faults beside the parts that they are about. `own` is the channel's path among the settings.
pub fn mark(texts: &mut Value, own: &str, fault_of: impl Fn(&str) -> Option<String>) {
    for row in texts["rows"].as_array_mut().into_iter().flatten() {
        let language = text(&row["language"]);
        for part in ["subject", "preheader", "text", "html"] {
            row[part]["wrong"] = json!(fault_of(&format!("{own}/templates/{language}/{part}")));
        }
    }
}
