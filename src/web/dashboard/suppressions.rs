//! Addresses that must not be written to, as a page: look one up, block one, lift what forbids it, files in and out.
//!
//! An address is given by forms that post, so that none stands in the browser's history or in a log. The list knows hashes only.

mod import;
mod row;

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::import::{ImportReport, import};
use self::row::{SuppressionListRow, label};
use super::{BrandChoice, PageError, PageFrame, brands, faults_of, labels, opt_outs};
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::ConsumerSelector;
use crate::control::suppressions::SuppressionView;
use crate::control::{self, ControlError, Fault};
use crate::db::suppressions::{AddressHash, SuppressionCursor, SuppressionFilter};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::suppressions_file;
use crate::web::access::RouteTable;
use crate::web::api::paging::cursor;
use crate::web::{AppState, MAX_LIST};

pub(super) use self::row::code;

/// Entries on a page.
const SHOWN: usize = 50;

pub(super) const PATH: &str = "/opt-outs";

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, PATH, list);
    table.form(Permission::Operate, PATH, look_up);
    table.form(Permission::Operate, "/opt-outs/add", block);
    table.form(Permission::Operate, "/opt-outs/remove", lift);
    table.long_form(Permission::Operate, MAX_LIST, "/opt-outs/import", import);
}

/// What the list is narrowed to: the address of the page says it.
#[derive(Default, Deserialize)]
struct SuppressionsPageQuery {
    #[serde(default)]
    account: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    after: String,
}

impl SuppressionsPageQuery {
    fn filter(&self) -> SuppressionFilter {
        SuppressionFilter {
            channel: self.channel.parse().ok(),
            reason: Suppression::parse(&self.reason),
            ..SuppressionFilter::default()
        }
    }

    fn accounts(&self, seen: &Accounts) -> Accounts {
        seen.narrowed(Some(self.account.as_str()).filter(|id| !id.is_empty()))
    }

    fn is_narrowed(&self) -> bool {
        let filter = self.filter();
        filter.channel.is_some() || filter.reason.is_some() || !self.account.is_empty()
    }

    fn place(&self) -> Option<SuppressionCursor> {
        let key = URL_SAFE_NO_PAD.decode(&self.after).ok()?;
        serde_json::from_slice(&key).ok()
    }

    fn older(&self, last: &SuppressionView) -> String {
        let after = cursor(&last.place());
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("account", &self.account)
            .append_pair("channel", &self.channel)
            .append_pair("reason", &self.reason)
            .append_pair("after", &after)
            .finish();
        format!("{PATH}?{query}")
    }
}

/// What the page shows beside the list.
#[derive(Default)]
struct SuppressionsView {
    status: StatusCode,
    /// What is known of an address that was looked up.
    found: Option<AddressFound>,
    account: String,
    address: String,
    csv: String,
    faults: Vec<Fault>,
    /// How an import went that did not take every line.
    imported: Option<ImportReport>,
    /// A list was not imported.
    refused_file: bool,
}

#[derive(Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
struct SuppressionsPage<'a> {
    accounts: Vec<BrandChoice<'a>>,
    brands: Vec<BrandChoice<'a>>,
    several: bool,
    channels: labels::ChannelChoices,
    reasons: Reasons,
    blockable: Reasons,
    importable: Reasons,
    filtered: bool,
    doubtful: Vec<opt_outs::DoubtfulOptOutRow>,
    rows: Vec<SuppressionListRow>,
    older: Option<String>,
    found: Option<AddressFound>,
    address: String,
    csv: String,
    imported: Option<ImportReport>,
    refused_file: bool,
    faults: Value,
    file_faults: Vec<&'a str>,
    may: bool,
}

type Reasons = [ReasonChoice; Suppression::ALL.len()];

#[derive(Serialize)]
struct ReasonChoice {
    word: Suppression,
    label: &'static str,
    chosen: bool,
}

fn reasons(chosen: Option<Suppression>) -> Reasons {
    Suppression::ALL.map(|word| ReasonChoice {
        word,
        label: label(word),
        chosen: chosen == Some(word),
    })
}

/// An address that was looked up.
#[derive(Serialize)]
struct AddressFound {
    account: AccountId,
    brand: String,
    channel: Channel,
    channel_name: &'static str,
    hash: String,
    /// What forbids to write to it.
    rows: Vec<SuppressionListRow>,
}

async fn list(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(wanted): Query<SuppressionsPageQuery>,
) -> Result<Response, PageError> {
    render(&page, &state, &wanted, SuppressionsView::default()).await
}

async fn render(
    page: &PageFrame,
    state: &AppState,
    wanted: &SuppressionsPageQuery,
    shown: SuppressionsView,
) -> Result<Response, PageError> {
    let (filter, accounts) = (wanted.filter(), wanted.accounts(&page.accounts));
    let most = i64::try_from(SHOWN).unwrap_or_default() + 1;
    let (pool, after) = (&state.pool, wanted.place());
    let mut rows =
        control::suppressions::list(pool, &accounts, filter.clone(), after, most).await?;
    let more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    let now = state.clock.now();
    let of_file = shown.faults.iter().filter(|f| f.field == "/file");
    let values = SuppressionsPage {
        accounts: brands(state, &page.accounts, &wanted.account),
        brands: brands(state, &page.accounts, &shown.account),
        several: page.accounts.ids().len() > 1,
        channels: labels::channels(filter.channel),
        reasons: reasons(filter.reason),
        blockable: reasons(Some(Suppression::Blocked)),
        importable: reasons(Some(Suppression::OptedOut)),
        filtered: wanted.is_narrowed() || !wanted.after.is_empty(),
        doubtful: opt_outs::to_review(state, &page.accounts, now).await?,
        older: rows.last().filter(|_| more).map(|last| wanted.older(last)),
        rows: rows
            .into_iter()
            .map(|r| SuppressionListRow::new(state, r, now))
            .collect(),
        found: shown.found,
        address: shown.address,
        csv: shown.csv,
        imported: shown.imported,
        refused_file: shown.refused_file,
        faults: faults_of(&shown.faults),
        file_faults: of_file.map(|f| f.detail.as_str()).collect(),
        may: page.caller.may(Permission::Operate),
    };
    Ok(page.render_as(shown.status, "suppressions.hbs", "Opt-outs", values))
}

#[derive(Default, Deserialize)]
struct AddressForm {
    #[serde(default)]
    account: String,
    /// An address as somebody writes it …
    #[serde(default)]
    address: String,
    /// … or, from the list, its hash and channel.
    #[serde(default)]
    hash: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    reason: String,
}

impl AddressForm {
    async fn key(
        &self,
        state: &AppState,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, Channel, AddressHash), ControlError> {
        let account = super::account_of(accounts, &self.account)?;
        let from_list = self
            .channel
            .parse()
            .ok()
            .zip(suppressions_file::unhex(&self.hash));
        if let (true, Some((channel, hash))) = (self.address.is_empty(), from_list) {
            return Ok((account, channel, hash));
        }
        let region = state.region_of(&account);
        let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
        match ConsumerSelector::address(pool, clock, hasher, (&self.address, region.as_deref()))
            .await?
        {
            ConsumerSelector::Address(channel, hash) => Ok((account, channel, hash)),
            ConsumerSelector::Consumer(_) | ConsumerSelector::Conversation(_) => {
                unreachable!("an address was read")
            }
        }
    }

    fn shown(&self) -> SuppressionsView {
        SuppressionsView {
            account: self.account.clone(),
            address: self.address.trim().to_owned(),
            ..SuppressionsView::default()
        }
    }
}

/// The page again, with what was wrong.
async fn refused(
    page: &PageFrame,
    state: &AppState,
    shown: SuppressionsView,
    error: ControlError,
) -> Result<Response, PageError> {
    match error {
        ControlError::Invalid(faults) => {
            let shown = SuppressionsView {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                faults,
                ..shown
            };
            render(page, state, &SuppressionsPageQuery::default(), shown).await
        }
        other => Err(other.into()),
    }
}

async fn look_up(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(given): Form<AddressForm>,
) -> Result<Response, PageError> {
    let mut shown = given.shown();
    let (account, channel, hash) = match given.key(&state, &page.accounts).await {
        Ok(key) => key,
        Err(error) => return refused(&page, &state, shown, error).await,
    };
    let rows = control::suppressions::of(&state.pool, &account, &hash).await?;
    let now = state.clock.now();
    let own = rows.into_iter().filter(|r| r.channel == channel);
    let in_force = own.filter(|r| r.expires_at.is_none_or(|at| at > now));
    shown.found = Some(AddressFound {
        account: AccountId::clone(&account),
        brand: state.brand_of(&account),
        channel,
        channel_name: labels::channel(channel),
        hash: suppressions_file::hex(&hash),
        rows: in_force
            .map(|r| SuppressionListRow::new(&state, r, now))
            .collect(),
    });
    render(&page, &state, &SuppressionsPageQuery::default(), shown).await
}

async fn block(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(given): Form<AddressForm>,
) -> Result<Response, PageError> {
    let (account, channel, hash) = match given.key(&state, &page.accounts).await {
        Ok(key) => key,
        Err(error) => return refused(&page, &state, given.shown(), error).await,
    };
    let reason = Suppression::parse(&given.reason).unwrap_or(Suppression::Blocked);
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    control::suppressions::add(pool, clock, by, (&account, channel, &hash), reason).await?;
    page.done(PATH, "Opted out. No more reminders go to this address.")
        .await
}

async fn lift(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(given): Form<AddressForm>,
) -> Result<Response, PageError> {
    let (account, channel, hash) = given.key(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let done = control::suppressions::remove(pool, clock, by, (&account, channel, &hash)).await;
    match done {
        Ok(()) => {
            page.done(PATH, "Allowed again. This address can get reminders.")
                .await
        }
        Err(ControlError::NotFound(_)) => page.done(PATH, "It was already allowed again.").await,
        Err(other) => Err(other.into()),
    }
}
