//! What is wrong with settings that somebody has written, and what they say in plain words. Stores nothing.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::channel::render::{Severity, Texts};
use crate::control::{Error, Fault};
use crate::domain::ids::Channel;
use crate::domain::rule::{Settings, summary};

/// Settings, looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Checked {
    /// What the rule does, sentence by sentence; empty if it cannot be read.
    pub summary: Vec<String>,
    /// What must be mended before it can be saved.
    pub faults: Vec<Fault>,
    /// What can be saved, but is probably not meant.
    pub warnings: Vec<Fault>,
    #[serde(skip)]
    pub settings: Option<Settings>,
}

/// Looks at settings. `place` is where they would apply, in plain words.
pub async fn check(
    texts: &Texts,
    channel: Channel,
    place: &str,
    enabled: bool,
    given: Value,
) -> Result<Checked, Error> {
    let settings = match Settings::parse(channel, given) {
        Ok(settings) => settings,
        Err(problems) => {
            let faults = problems.into_iter().map(|problem| Fault {
                field: pointer(&problem.field),
                detail: problem.message,
            });
            return Ok(Checked {
                summary: Vec::new(),
                faults: faults.collect(),
                warnings: Vec::new(),
                settings: None,
            });
        }
    };
    let mut faults = Vec::new();
    let contradictions = settings.contradictions(channel).into_iter();
    let mut warnings: Vec<Fault> = contradictions
        .map(|problem| Fault {
            field: pointer(&problem.field),
            detail: problem.message,
        })
        .collect();
    for (language, template) in &settings.templates {
        for problem in texts.check(channel, template).await? {
            let fault = Fault {
                field: pointer(&format!("templates.{language}.{}", problem.field.as_str())),
                detail: format!("{}; {}", problem.what, problem.fix),
            };
            match problem.severity {
                Severity::Error => faults.push(fault),
                Severity::Warning => warnings.push(fault),
            }
        }
    }
    Ok(Checked {
        summary: summary(channel, place, enabled, &settings),
        faults,
        warnings,
        settings: Some(settings),
    })
}

/// Settings that can be stored, or everything that is wrong with them.
pub async fn checked(texts: &Texts, channel: Channel, given: Value) -> Result<Settings, Error> {
    let looked_at = check(texts, channel, "", true, given).await?;
    match looked_at.settings {
        Some(settings) if looked_at.faults.is_empty() => Ok(settings),
        _ => Err(Error::Invalid(looked_at.faults)),
    }
}

/// `steps[1].after_minutes` as the API's bodies name it: `/settings/steps/1/after_minutes`.
fn pointer(field: &str) -> String {
    if field == "settings" {
        return "/settings".to_owned();
    }
    format!(
        "/settings/{}",
        field.replace(['.', '['], "/").replace(']', "")
    )
}
