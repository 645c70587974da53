//! The badge seen from inside: how it is set up, and what a consumer's page is told at this moment. For the dashboard and the config
//! API; it goes the same way as a page view, and tells no secret.

use std::time::Instant;

use super::answer::{answer, plausible};
use super::cache::{BadgeState, Ids};
use super::token::Verified;
use super::{AppState, Site};
use crate::control::accounts::Allowed;
use crate::control::{ControlError, Fault};
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;

pub use super::token::TrustedTokenKind;

/// How an account's badge is set up.
#[derive(Clone, Debug)]
pub struct BadgeSetup {
    /// Pages of these may show it.
    pub origins: Vec<String>,
    /// Without a token only LivePerson's own ids are answered.
    pub customer_ids_need_token: bool,
    pub tokens: Vec<TrustedTokenKind>,
}

/// What a page is told.
#[derive(Clone, Copy, Debug)]
pub struct BadgeReport {
    pub answer: BadgeState,
    pub source: BadgeSource,
}

/// What is told of one consumer.
#[derive(Clone, Copy, Debug)]
pub struct SetupCheck {
    /// To a page with the consumer's token.
    pub with_token: BadgeReport,
    /// To a page that only knows the id: what the old address answers.
    pub without: bool,
}

fn site<'a>(state: &'a AppState, account: &Allowed<AccountId>) -> Result<&'a Site, ControlError> {
    state
        .sites
        .get(&**account)
        .ok_or_else(|| ControlError::NotFound(format!("account {account}")))
}

pub fn setup(state: &AppState, account: &Allowed<AccountId>) -> Result<BadgeSetup, ControlError> {
    let site = site(state, account)?;
    let origins = site.origins.iter();
    Ok(BadgeSetup {
        origins: origins.map(|own| own.as_str().to_owned()).collect(),
        customer_ids_need_token: site.customer_ids_need_token,
        tokens: site.tokens.kinds(),
    })
}

/// What the badge of a consumer says now. The id is LivePerson's or the brand's own.
pub async fn check_setup(
    state: &AppState,
    account: &Allowed<AccountId>,
    consumer: &str,
) -> Result<SetupCheck, ControlError> {
    let site = site(state, account)?;
    if !plausible(consumer) {
        return Err(ControlError::Invalid(vec![Fault {
            field: "/consumer".to_owned(),
            detail: "must be an id of 1 to 256 characters".to_owned(),
        }]));
    }
    let ask = async |ids| {
        let told = answer(state, account, consumer, ids, Instant::now()).await;
        told.map_err(|_| {
            ControlError::Unavailable("the badge cannot be answered at the moment".to_owned())
        })
    };
    let (told, source) = ask(Ids::Both).await?;
    let without = if site.customer_ids_need_token {
        ask(Ids::LivePerson).await?.0.unread
    } else {
        told.unread
    };
    Ok(SetupCheck {
        with_token: BadgeReport {
            answer: told,
            source,
        },
        without,
    })
}

/// Whose token it is, if the account believes it.
pub async fn whose(
    state: &AppState,
    account: &Allowed<AccountId>,
    token: &str,
) -> Result<Option<Verified>, ControlError> {
    let tokens = &site(state, account)?.tokens;
    Ok(tokens.verify(token.trim(), state.clock.now()).await.ok())
}

/// A token to try the badge out with, if this installation can sign one.
pub fn sign(
    state: &AppState,
    account: &Allowed<AccountId>,
    consumer: &str,
) -> Result<Option<String>, ControlError> {
    Ok(site(state, account)?
        .tokens
        .sign(consumer, state.clock.now()))
}
