//! The badge seen from inside: how it is set up, and what a consumer's page is told at this moment. For the dashboard and the config
//! API; it goes the same way as a page view, and tells no secret.

use std::time::Instant;

use super::answer::{answer, plausible};
use super::cache::{Answer, Ids};
use super::token::Verified;
use super::{Site, State};
use crate::control::accounts::Allowed;
use crate::control::{Error, Fault};
use crate::domain::ids::AccountId;
use crate::metrics::BadgeSource;

pub use super::token::Kind;

/// How an account's badge is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Pages of these may show it.
    pub origins: Vec<String>,
    /// Without a token only LivePerson's own ids are answered.
    pub customer_ids_need_token: bool,
    pub tokens: Vec<Kind>,
}

/// What a page is told.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub answer: Answer,
    pub source: BadgeSource,
}

/// What is told of one consumer.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// To a page with the consumer's token.
    pub with_token: Told,
    /// To a page that only knows the id: what the old address answers.
    pub without: bool,
}

fn site<'a>(state: &'a State, account: &Allowed<AccountId>) -> Result<&'a Site, Error> {
    state
        .sites
        .get(&**account)
        .ok_or_else(|| Error::NotFound(format!("account {account}")))
}

pub fn setup(state: &State, account: &Allowed<AccountId>) -> Result<Setup, Error> {
    let site = site(state, account)?;
    let origins = site.origins.iter();
    Ok(Setup {
        origins: origins.map(|own| own.as_str().to_owned()).collect(),
        customer_ids_need_token: site.customer_ids_need_token,
        tokens: site.tokens.kinds(),
    })
}

/// What the badge of a consumer says now. The id is LivePerson's or the brand's own.
pub async fn look(
    state: &State,
    account: &Allowed<AccountId>,
    consumer: &str,
) -> Result<Look, Error> {
    let site = site(state, account)?;
    if !plausible(consumer) {
        return Err(Error::Invalid(vec![Fault {
            field: "/consumer".to_owned(),
            detail: "must be an id of 1 to 256 characters".to_owned(),
        }]));
    }
    let ask = async |ids| {
        let told = answer(state, account, consumer, ids, Instant::now()).await;
        told.map_err(|_| {
            Error::Unavailable("the badge cannot be answered at the moment".to_owned())
        })
    };
    let (told, source) = ask(Ids::Both).await?;
    let without = if site.customer_ids_need_token {
        ask(Ids::LivePerson).await?.0.unread
    } else {
        told.unread
    };
    Ok(Look {
        with_token: Told {
            answer: told,
            source,
        },
        without,
    })
}

/// Whose token it is, if the account believes it.
pub async fn whose(
    state: &State,
    account: &Allowed<AccountId>,
    token: &str,
) -> Result<Option<Verified>, Error> {
    let tokens = &site(state, account)?.tokens;
    Ok(tokens.verify(token.trim(), state.clock.now()).await.ok())
}

/// A token to try the badge out with, if this installation can sign one.
pub fn sign(
    state: &State,
    account: &Allowed<AccountId>,
    consumer: &str,
) -> Result<Option<String>, Error> {
    Ok(site(state, account)?
        .tokens
        .sign(consumer, state.clock.now()))
}
