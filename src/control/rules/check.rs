//! What is wrong with settings that somebody has written, and what they say in plain words. Stores nothing.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::contradictions::{ContradictionView, of_settings};
use crate::channel::render::{Severity, TemplateProblem, Texts};
use crate::control::senders::AllowedSenders;
use crate::control::{ControlError, Fault};
use crate::domain::ids::Channel;
use crate::domain::rule::settings::CHANNELS;
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

/// Looks at settings. What is left out is the default of a rule over these channels, those that are configured. `place` is where they
/// would apply, in plain words.
pub async fn check(
    (pool, texts, senders): (&PgPool, &Texts, &AllowedSenders),
    around: &RuleSurroundings,
    (channels, place): (&[Channel], &str),
    (enabled, given): (bool, Value),
    now: DateTime<Utc>,
) -> Result<RuleCheck, ControlError> {
    let mut looked_at = check_settings(texts, channels, place, enabled, given).await?;
    if let Some(settings) = &looked_at.settings {
        looked_at.faults.extend(senders.faults(settings));
        looked_at.contradictions = of_settings(pool, texts, around, settings, now).await?;
    }
    Ok(looked_at)
}

/// The same without contradictions.
async fn check_settings(
    texts: &Texts,
    channels: &[Channel],
    place: &str,
    enabled: bool,
    given: Value,
) -> Result<RuleCheck, ControlError> {
    let settings = match RuleSettings::parse(channels, given) {
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
    let problems = text_problems(texts, &settings).await?;
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    for (field, problem) in problems {
        let fault = Fault {
            field: pointer(&field),
            detail: format!("{}; {}", problem.what, problem.fix),
        };
        match problem.severity {
            Severity::Error => faults.push(fault),
            Severity::Warning => warnings.push(fault),
        }
    }
    Ok(RuleCheck {
        summary: summary(place, enabled, &settings),
        faults,
        warnings,
        contradictions: Vec::new(),
        settings: Some(settings),
    })
}

/// What is wrong with the texts of settings, each with its path. Those of channels that no step uses count: a step may be added that does.
pub(super) async fn text_problems(
    texts: &Texts,
    settings: &RuleSettings,
) -> Result<Vec<(String, TemplateProblem)>, ControlError> {
    let mut problems = Vec::new();
    for (channel, own) in settings.channels.iter() {
        for (language, template) in &own.templates {
            for problem in texts.check(channel, template).await? {
                let part = problem.field.as_str();
                let field = format!("{CHANNELS}.{channel}.templates.{language}.{part}");
                problems.push((field, problem));
            }
        }
    }
    Ok(problems)
}

/// Settings that can be stored, or everything that is wrong with them. What is left out is the default of a rule over these channels.
pub async fn checked(
    texts: &Texts,
    channels: &[Channel],
    given: Value,
) -> Result<RuleSettings, ControlError> {
    let looked_at = check_settings(texts, channels, "", true, given).await?;
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
