//! The steps as rows of the form: read, put in order, changed by the buttons beside them, and shown.
//!
//! A row is a channel, a wait, a condition and the step's id, which stays with its channel. The buttons work without a script: the whole
//! form is sent, the rows are changed here, and the page comes back with them.

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::read::number;
use super::{FormFields, text};
use crate::control::Fault;
use crate::domain::ids::Channel;
use crate::domain::rule::settings::MOST_STEPS;

const ALWAYS: &str = "always";
const IF_NOT_REACHED: &str = "if_not_reached";
/// What a new step waits, after the one before it where that waits as long.
const NEW_AFTER: i64 = 24 * 60;
/// In which waits are written, in minutes.
const UNITS: [(&str, i64); 3] = [("minutes", 1), ("hours", 60), ("days", 1440)];

/// What a button beside the steps asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepChange {
    Add,
    Remove(usize),
    /// Its channel changes places with that of the row before it; waits and conditions stay where they are.
    Up(usize),
}

impl StepChange {
    /// As the button's value has it: `step_up_2`; rows count from 0.
    pub fn parse(wish: &str) -> Option<Self> {
        let wish = wish.strip_prefix("step_")?;
        if wish == "add" {
            return Some(Self::Add);
        }
        let (what, row) = wish.split_once('_')?;
        let row = row.parse().ok()?;
        match what {
            "remove" => Some(Self::Remove(row)),
            "up" => Some(Self::Up(row)),
            "down" => Some(Self::Up(row + 1)),
            _ => None,
        }
    }
}

/// A row as it was written.
#[derive(Clone, Debug)]
struct Row {
    id: Value,
    channel: Value,
    after: Value,
    is_always: bool,
}

impl Row {
    fn minutes(&self) -> Option<i64> {
        self.after.as_i64()
    }
}

/// The steps that a form says, in the order of their waits.
pub fn written(fields: &FormFields) -> Value {
    let mut rows = rows(fields);
    if let Some(change) = StepChange::parse(fields.one("do")) {
        apply(&mut rows, change);
    }
    let rows = in_order(rows).into_iter().map(|row| {
        let when = if row.is_always {
            ALWAYS
        } else {
            IF_NOT_REACHED
        };
        json!({ "id": row.id, "channel": row.channel, "after_minutes": row.after, "when": when })
    });
    rows.collect()
}

fn rows(fields: &FormFields) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let nth = |name: &str, row: usize| fields.all(name).nth(row).unwrap_or_default().to_owned();
    for at in 0..fields.all("step").count().min(2 * MOST_STEPS) {
        let (count, id) = (nth("step", at), nth("step_id", at));
        let is_always = nth("step_when", at) != IF_NOT_REACHED;
        let after = match rows.last() {
            // At once: as soon as it is known of the one before.
            Some(before) if count.is_empty() && !is_always => before.after.clone(),
            _ => minutes(&count, &nth("step_unit", at)),
        };
        rows.push(Row {
            id: if id.is_empty() { 0.into() } else { number(&id) },
            channel: nth("step_channel", at).into(),
            after,
            is_always,
        });
    }
    rows
}

/// What is no number keeps its unit, so that only the number must be mended.
fn minutes(count: &str, unit: &str) -> Value {
    let unit = UNITS.into_iter().find(|(name, _)| *name == unit);
    let (unit, factor) = unit.unwrap_or(UNITS[0]);
    match number(count) {
        Value::Number(n) => n.as_i64().and_then(|n| n.checked_mul(factor)).into(),
        other if factor == 1 => other,
        _ => format!("{count} {unit}").into(),
    }
}

/// What [`minutes`] made of a count that is no number, and of its unit.
fn as_written(after: &str) -> (String, &'static str) {
    let split = |(unit, _)| {
        Some((
            after.strip_suffix(unit)?.strip_suffix(' ')?.to_owned(),
            unit,
        ))
    };
    let written = UNITS.into_iter().find_map(split);
    written.unwrap_or_else(|| (after.to_owned(), UNITS[0].0))
}

fn apply(rows: &mut Vec<Row>, change: StepChange) {
    match change {
        StepChange::Add => {
            let Some(last) = rows.last() else {
                return;
            };
            let after = match last.minutes() {
                Some(last) if last >= NEW_AFTER => last.saturating_add(NEW_AFTER),
                _ => NEW_AFTER,
            };
            let channel = last.channel.clone();
            rows.push(Row {
                id: 0.into(),
                channel,
                after: after.into(),
                is_always: true,
            });
        }
        StepChange::Remove(at) if at < rows.len() => {
            let removed = rows.remove(at);
            // The next of its rung takes its place, so that the others still have what they look at.
            if let Some(next) = rows.get_mut(at).filter(|_| removed.is_always) {
                next.is_always = true;
            }
        }
        StepChange::Up(at) if (1..rows.len()).contains(&at) => {
            let (before, own) = (rows[at - 1].clone(), rows[at].clone());
            (rows[at - 1].id, rows[at - 1].channel) = (own.id, own.channel);
            (rows[at].id, rows[at].channel) = (before.id, before.channel);
        }
        StepChange::Remove(_) | StepChange::Up(_) => {}
    }
}

/// Rungs by the waits of their first steps, so that somebody who makes a wait longer need not move what comes after it. Where a wait is no
/// number, all stay where they are: the fault must stand at the row that was written.
fn in_order(rows: Vec<Row>) -> Vec<Row> {
    let mut rungs: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match rungs.last_mut() {
            Some(rung) if !row.is_always => rung.push(row),
            _ => rungs.push(vec![row]),
        }
    }
    let wait = |rung: &Vec<Row>| rung.first().and_then(Row::minutes);
    if rungs.iter().all(|rung| wait(rung).is_some()) {
        rungs.sort_by_key(wait);
    }
    rungs.into_iter().flatten().collect()
}

/// The rows of `rule_steps.hbs`. Channels to choose from: those that are configured, and the row's own.
pub fn shown(configured: &[Channel], settings: &Value) -> Value {
    let none = Vec::new();
    let steps = settings["steps"].as_array().unwrap_or(&none);
    let mut before: Option<&Value> = None;
    let mut rows = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let is_always = step["when"] != IF_NOT_REACHED;
        let after = &step["after_minutes"];
        let (count, unit) = match after.as_i64() {
            _ if is_at_once(before, step) => (String::new(), UNITS[0].0),
            Some(n) => in_units(n),
            None => as_written(&text(after)),
        };
        let units = UNITS.map(|(name, _)| json!({ "name": name, "chosen": name == unit }));
        let conditions = [(ALWAYS, "Always"), (IF_NOT_REACHED, "If not reached yet")];
        let conditions = conditions.map(|(word, means)| json!({ "word": word, "means": means, "chosen": (word == ALWAYS) == is_always }));
        let own = text(&step["channel"]);
        let channel = own.parse::<Channel>().ok();
        rows.push(json!({
            "id": format!("step-{at}"),
            "at": at,
            "number": at + 1,
            "step_id": text(&step["id"]),
            "channel": own,
            "message": channel.map(|channel| channel.names().message),
            "channels": channels(configured, &own),
            "count": count,
            "units": units,
            "conditions": conditions,
            "follows": !is_always && at > 0,
            "first": at == 0,
            "last": at + 1 == steps.len(),
            "only": steps.len() == 1,
            "wrong": null,
        }));
        before = Some(step);
    }
    json!({ "rows": rows, "full": steps.len() >= MOST_STEPS })
}

/// Whether a step waits for nothing but the one before it, whatever was written there: it has no wait of its own to fix.
fn is_at_once(before: Option<&Value>, step: &Value) -> bool {
    let waits_as = |before: &Value| before["after_minutes"] == step["after_minutes"];
    step["when"] == IF_NOT_REACHED && before.is_some_and(waits_as)
}

/// Minutes in the largest unit in which they are whole.
fn in_units(minutes: i64) -> (String, &'static str) {
    match minutes {
        n if n >= 2880 && n % 1440 == 0 => ((n / 1440).to_string(), "days"),
        n if n >= 60 && n % 60 == 0 => ((n / 60).to_string(), "hours"),
        n => (n.to_string(), "minutes"),
    }
}

fn channels(configured: &[Channel], own: &str) -> Vec<Value> {
    let offered = Channel::ALL
        .into_iter()
        .filter(|channel| configured.contains(channel) || channel.as_str() == own);
    let offered = offered.map(|channel| {
        let label = channel.names().label;
        let label = if configured.contains(&channel) {
            label.to_owned()
        } else {
            format!("{label} (not set up)")
        };
        json!({ "word": channel, "label": label, "chosen": channel.as_str() == own })
    });
    let mut offered: Vec<Value> = offered.collect();
    // What somebody sent that is no channel stays, to be told that it is none.
    if own.parse::<Channel>().is_err() {
        offered.insert(0, json!({ "word": own, "label": own, "chosen": true }));
    }
    offered
}

/// Without those of a wait that is another step's: what is wrong with it is told there.
pub fn placed(mut faults: Vec<Fault>, settings: &Value) -> Vec<Fault> {
    let steps = settings["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let follows = |at: usize| at > 0 && is_at_once(Some(&steps[at - 1]), &steps[at]);
    let waits = (0..steps.len()).filter(|at| follows(*at));
    let waits: Vec<String> = waits
        .map(|at| format!("/settings/steps/{at}/after_minutes"))
        .collect();
    faults.retain(|fault| !waits.contains(&fault.field));
    faults
}

/// Puts the faults of steps beside the rows that they are about.
pub fn mark(rows: &mut Value, fault_of: impl Fn(&str) -> Option<String>) {
    for (at, row) in rows.as_array_mut().into_iter().flatten().enumerate() {
        let mut wrong = ["", "/after_minutes", "/when", "/channel", "/id"].iter();
        let wrong = wrong.find_map(|name| fault_of(&format!("steps/{at}{name}")));
        row["wrong"] = json!(wrong);
    }
}
