//! What is wrong with settings that somebody has written, and what they say in plain words. Stores nothing.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::contradictions::{ContradictionView, of_settings};
use crate::channel::render::{Severity, Texts};
use crate::control::senders::AllowedSenders;
use crate::control::{ControlError, Fault};
use crate::domain::ids::Channel;
use crate::domain::rule::{RuleSettings, summary};
use crate::jobs::contradictions::RuleSurroundings;

/// Settings, looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Checked)]
pub struct RuleCheck {
    /// What the rule does, sentence by sentence; empty if it cannot be read.
    pub summary: Vec<String>,
    /// What must be fixed before it can be saved.
    pub faults: Vec<Fault>,
    /// What can be saved, but is probably not meant.
    pub warnings: Vec<Fault>,
    /// What the rule would promise and cannot do. It can be saved and published all the same.
    pub contradictions: Vec<ContradictionView>,
    #[serde(skip)]
    pub settings: Option<RuleSettings>,
}

/// Looks at settings. `place` is where they would apply, in plain words.
pub async fn check(
    (pool, texts, senders): (&PgPool, &Texts, &AllowedSenders),
    around: &RuleSurroundings,
    (channel, place): (Channel, &str),
    (enabled, given): (bool, Value),
    now: DateTime<Utc>,
) -> Result<RuleCheck, ControlError> {
    let mut looked_at = check_settings(texts, channel, place, enabled, given).await?;
    if let Some(settings) = &looked_at.settings {
        looked_at.faults.extend(senders.fault(channel, settings));
        let settings = (channel, settings);
        looked_at.contradictions = of_settings(pool, texts, around, settings, now).await?;
    }
    Ok(looked_at)
}

/// The same without contradictions.
async fn check_settings(
    texts: &Texts,
    channel: Channel,
    place: &str,
    enabled: bool,
    given: Value,
) -> Result<RuleCheck, ControlError> {
    let settings = match RuleSettings::parse(channel, given) {
        Ok(settings) => settings,
        Err(problems) => {
            let faults = problems.into_iter().map(|problem| Fault {
                field: pointer(&problem.field),
                detail: problem.message,
            });
            return Ok(RuleCheck {
                summary: Vec::new(),
                faults: faults.collect(),
                warnings: Vec::new(),
                contradictions: Vec::new(),
                settings: None,
            });
        }
    };
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
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
    Ok(RuleCheck {
        summary: summary(channel, place, enabled, &settings),
        faults,
        warnings,
        contradictions: Vec::new(),
        settings: Some(settings),
    })
}

/// Settings that can be stored, or everything that is wrong with them.
pub async fn checked(
    texts: &Texts,
    channel: Channel,
    given: Value,
) -> Result<RuleSettings, ControlError> {
    let looked_at = check_settings(texts, channel, "", true, given).await?;
    match looked_at.settings {
        Some(settings) if looked_at.faults.is_empty() => Ok(settings),
        _ => Err(ControlError::Invalid(looked_at.faults)),
    }
}

/// `steps[1].after_minutes` as the API's bodies name it: `/settings/steps/1/after_minutes`.
pub(super) fn pointer(field: &str) -> String {
    if field == "settings" {
        return "/settings".to_owned();
    }
    format!(
        "/settings/{}",
        field.replace(['.', '['], "/").replace(']', "")
    )
}
