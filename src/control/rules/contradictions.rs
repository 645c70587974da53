//! What a rule promises and cannot do, as it is told: in the API, on the rule's page, after an import.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;

use super::check::pointer;
use super::{read, starting_point};
use crate::channel::render::Texts;
use crate::config::Config;
use crate::control::ControlError;
use crate::control::accounts::Allowed;
use crate::domain::contradiction::{self, ContradictionLevel};
use crate::domain::ids::AccountId;
use crate::domain::rule::{RuleKey, RuleSettings};
use crate::jobs::contradictions::{self, RuleSurroundings};

/// One thing that a rule promises and cannot do. It can be published all the same.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = Contradiction)]
pub struct ContradictionView {
    /// `hours`, `drops`, `max_age`, `debounce`, `late`, `lost`, `never`, `no_stop_word`, `no_unsubscribe_link`, `no_fallback` or `sender`.
    #[schema(example = "hours")]
    pub kind: &'static str,
    /// `warning`: the rule does not do what it says. `note`: it does what was chosen.
    #[schema(example = "warning")]
    pub level: &'static str,
    /// The setting to change, as a JSON pointer into a draft's body.
    #[schema(example = "/settings/channels/sms/quiet_hours/allowed")]
    pub field: String,
    /// What is promised, what stands against it, and what to do.
    pub sentence: String,
    /// How much: a share, a time or a number.
    #[schema(example = 23.2)]
    pub figure: Option<f64>,
    /// Of what: `percent of a week's due moments`, `minutes` or `count`.
    #[schema(example = "percent of a week's due moments")]
    pub unit: Option<&'static str>,
}

impl From<contradiction::Contradiction> for ContradictionView {
    fn from(found: contradiction::Contradiction) -> Self {
        let figure = found.figure();
        Self {
            kind: found.kind(),
            level: found.level().as_str(),
            field: pointer(&found.field()),
            sentence: found.sentence(),
            figure: figure.map(contradiction::Figure::value),
            unit: figure.map(contradiction::Figure::unit),
        }
    }
}

impl ContradictionView {
    pub fn is_note(&self) -> bool {
        self.level == ContradictionLevel::Note.as_str()
    }
}

/// What an account's rules stand in.
pub fn around(config: &Config, account: Option<&AccountId>) -> RuleSurroundings {
    RuleSurroundings {
        zone: config.time_zone_of(account),
        sender: match account {
            Some(account) => config.channels_of(account).sender_of_mail(),
            None => config.usual_channels().sender_of_mail(),
        },
    }
}

/// The contradictions of settings.
pub async fn of_settings(
    pool: &PgPool,
    texts: &Texts,
    around: &RuleSurroundings,
    settings: &RuleSettings,
    now: DateTime<Utc>,
) -> Result<Vec<ContradictionView>, ControlError> {
    let found: Result<_, ControlError> =
        contradictions::of(texts, Some(pool), around, settings, now).await;
    Ok(found?.into_iter().map(ContradictionView::from).collect())
}

/// What the contradictions of a key are about.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RuleContradictions {
    /// `draft`, `published`, or `fallback`: the account's default, or a rule's defaults where there is none.
    #[schema(example = "draft")]
    pub of: &'static str,
    /// Empty: it does what it says.
    pub contradictions: Vec<ContradictionView>,
}

/// The contradictions of what is under a key: of its draft, else of the rule, else of what applies without one.
pub async fn of_key(
    (pool, texts): (&PgPool, &Texts),
    config: &Config,
    key: &Allowed<RuleKey>,
    now: DateTime<Utc>,
) -> Result<RuleContradictions, ControlError> {
    let view = read(pool, key).await?;
    let of = match (&view.draft, &view.published) {
        (Some(_), _) => "draft",
        (None, Some(_)) => "published",
        (None, None) => "fallback",
    };
    let (_, settings) = starting_point(&view, &config.channels_of(&key.account).channels());
    let around = around(config, Some(&key.account));
    let contradictions = of_settings(pool, texts, &around, &settings, now).await?;
    Ok(RuleContradictions { of, contradictions })
}
