//! Addresses that must not be written to, as a page: look one up, block one, lift what forbids it, files in and out.
//!
//! An address is given by forms that post, so that none stands in the browser's history or in a log. The list knows hashes only.

use axum::Form;
use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, Unshown, faults_of, opt_outs, words};
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::Who;
use crate::control::suppressions::{BadLines, Imported};
use crate::control::words::because;
use crate::control::{self, Error, Fault};
use crate::db::suppressions::{AddressHash, Filter, Place, Row, Source};
use crate::domain::access::Permission;
use crate::domain::contact::Suppression;
use crate::domain::ids::{AccountId, Channel};
use crate::suppressions_file::{self, Defaults};
use crate::web::access::Table;
use crate::web::api::paging::cursor;
use crate::web::{MAX_LIST, State};

/// Entries on a page.
const SHOWN: usize = 50;

/// Lines that an import left out, on the page.
const MOST_PROBLEMS: usize = 200;

/// Bytes of a list that are put into its field again if it was refused.
const LONGEST_SHOWN: usize = 64 * 1024;

pub(super) const PATH: &str = "/suppressions";

pub fn add(table: &mut Table) {
    table.page(Permission::View, PATH, list);
    table.form(Permission::Operate, PATH, look_up);
    table.form(Permission::Operate, "/suppressions/add", block);
    table.form(Permission::Operate, "/suppressions/remove", lift);
    table.long_form(
        Permission::Operate,
        MAX_LIST,
        "/suppressions/import",
        import,
    );
}

/// What the list is narrowed to: the address of the page says it.
#[derive(Default, Deserialize)]
struct Wanted {
    #[serde(default)]
    account: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    after: String,
}

impl Wanted {
    fn filter(&self) -> Filter {
        Filter {
            channel: self.channel.parse().ok(),
            reason: Suppression::parse(&self.reason),
            ..Filter::default()
        }
    }

    fn accounts(&self, seen: &Accounts) -> Accounts {
        seen.narrowed(Some(self.account.as_str()).filter(|id| !id.is_empty()))
    }

    fn is_narrowed(&self) -> bool {
        let filter = self.filter();
        filter.channel.is_some() || filter.reason.is_some() || !self.account.is_empty()
    }

    fn place(&self) -> Option<Place> {
        let key = URL_SAFE_NO_PAD.decode(&self.after).ok()?;
        serde_json::from_slice(&key).ok()
    }

    fn older(&self, last: &Row) -> String {
        let after = cursor(&(last.created_at, last.hash, last.channel, &last.account));
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
struct Shown {
    status: StatusCode,
    /// The account, the address and what is known of it.
    found: Option<Value>,
    account: String,
    address: String,
    csv: String,
    faults: Vec<Fault>,
    /// How an import went that did not take every line.
    imported: Option<Value>,
    /// A list was not imported.
    refused_file: bool,
}

async fn list(
    page: Page,
    Shared(state): Shared<State>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Unshown> {
    render(&page, &state, &wanted, Shown::default()).await
}

async fn render(
    page: &Page,
    state: &State,
    wanted: &Wanted,
    shown: Shown,
) -> Result<Response, Unshown> {
    let (filter, accounts) = (wanted.filter(), wanted.accounts(&page.accounts));
    let most = i64::try_from(SHOWN).unwrap_or_default() + 1;
    let (pool, after) = (&state.pool, wanted.place());
    let mut rows =
        control::suppressions::list(pool, &accounts, filter.clone(), after, most).await?;
    let more = rows.len() > SHOWN;
    rows.truncate(SHOWN);
    let now = state.clock.now();
    let reasons = |chosen: Option<Suppression>| {
        Suppression::ALL.map(|reason| {
            json!({
                "word": reason.as_str(),
                "label": label(reason),
                "chosen": chosen == Some(reason),
            })
        })
    };
    let several = page.accounts.ids().len() > 1;
    let values = json!({
        "accounts": super::brands(state, &page.accounts, &wanted.account),
        "brands": super::brands(state, &page.accounts, &shown.account),
        "several": several,
        "email": filter.channel == Some(Channel::Email),
        "sms": filter.channel == Some(Channel::Sms),
        "reasons": reasons(filter.reason),
        "blockable": reasons(Some(Suppression::Blocked)),
        "importable": reasons(Some(Suppression::OptedOut)),
        "filtered": wanted.is_narrowed() || !wanted.after.is_empty(),
        "doubtful": opt_outs::to_review(state, &page.accounts, now).await?,
        "rows": rows.iter().map(|r| row(state, r, now)).collect::<Vec<_>>(),
        "older": rows.last().filter(|_| more).map(|last| wanted.older(last)),
        "found": shown.found,
        "address": shown.address,
        "csv": shown.csv,
        "imported": shown.imported,
        "refused_file": shown.refused_file,
        "faults": faults_of(&shown.faults),
        "file_faults": shown.faults.iter().filter(|f| f.field == "/file").map(|f| &f.detail).collect::<Vec<_>>(),
        "may": page.caller.may(Permission::Operate),
    });
    Ok(page.render_as(shown.status, "suppressions.hbs", "Suppressions", values))
}

fn row(state: &State, row: &Row, now: DateTime<Utc>) -> Value {
    let hash = suppressions_file::hex(&row.hash);
    json!({
        "account": row.account,
        "brand": state.brand_of(&row.account),
        "channel": words::channel(row.channel),
        "channel_word": row.channel,
        "reason": match (row.reason, row.source) {
            (Suppression::Blocked, Source::Provider) => "Blocked by the provider",
            (reason, _) => label(reason),
        },
        "why": because(row.reason.into()),
        "source": source(row.source),
        "since": words::time(row.created_at, now),
        "until": row.expires_at.map(|at| words::time(at, now)),
        "over": row.expires_at.is_some_and(|at| at <= now),
        "code": &hash[..8],
        "hash": hash,
        "question": question(row.reason),
    })
}

/// A reason in a few words, for lists.
fn label(reason: Suppression) -> &'static str {
    match reason {
        Suppression::OptedOut => "Said no",
        Suppression::BadAddress => "Does not work",
        Suppression::Complaint => "Reported as spam",
        Suppression::Blocked => "Blocked by your team",
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Provider => "provider's answer",
        Source::SmsKeyword => "text message, keyword",
        Source::SmsText => "text message, own words",
        Source::UnsubscribeLink => "unsubscribe link",
        Source::MailEvent => "mail provider's report",
        Source::Operator => "your team",
        Source::Import => "imported file",
    }
}

/// What is asked before a suppression is lifted.
fn question(reason: Suppression) -> &'static str {
    match reason {
        Suppression::OptedOut | Suppression::Complaint => {
            "This customer said no. Lift it only if the customer asked for that. Send reminders to this address again?"
        }
        Suppression::BadAddress | Suppression::Blocked => "Send reminders to this address again?",
    }
}

#[derive(Default, Deserialize)]
struct Given {
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

impl Given {
    async fn key(
        &self,
        state: &State,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, Channel, AddressHash), Error> {
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
        match Who::address(pool, clock, hasher, (&self.address, region.as_deref())).await? {
            Who::Address(channel, hash) => Ok((account, channel, hash)),
            Who::Consumer(_) | Who::Conversation(_) => unreachable!("an address was read"),
        }
    }

    fn shown(&self) -> Shown {
        Shown {
            account: self.account.clone(),
            address: self.address.trim().to_owned(),
            ..Shown::default()
        }
    }
}

/// The page again, with what was wrong.
async fn refused(
    page: &Page,
    state: &State,
    shown: Shown,
    error: Error,
) -> Result<Response, Unshown> {
    match error {
        Error::Invalid(faults) => {
            let shown = Shown {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                faults,
                ..shown
            };
            render(page, state, &Wanted::default(), shown).await
        }
        other => Err(other.into()),
    }
}

async fn look_up(
    page: Page,
    Shared(state): Shared<State>,
    Form(given): Form<Given>,
) -> Result<Response, Unshown> {
    let mut shown = given.shown();
    let (account, channel, hash) = match given.key(&state, &page.accounts).await {
        Ok(key) => key,
        Err(error) => return refused(&page, &state, shown, error).await,
    };
    let rows = control::suppressions::of(&state.pool, &account, &hash).await?;
    let now = state.clock.now();
    let own = rows.iter().filter(|r| r.channel == channel);
    let in_force = own.filter(|r| r.expires_at.is_none_or(|at| at > now));
    shown.found = Some(json!({
        "account": *account,
        "brand": state.brand_of(&account),
        "channel": words::channel(channel),
        "channel_word": channel,
        "hash": suppressions_file::hex(&hash),
        "rows": in_force.map(|r| row(&state, r, now)).collect::<Vec<_>>(),
    }));
    render(&page, &state, &Wanted::default(), shown).await
}

async fn block(
    page: Page,
    Shared(state): Shared<State>,
    Form(given): Form<Given>,
) -> Result<Response, Unshown> {
    let (account, channel, hash) = match given.key(&state, &page.accounts).await {
        Ok(key) => key,
        Err(error) => return refused(&page, &state, given.shown(), error).await,
    };
    let reason = Suppression::parse(&given.reason).unwrap_or(Suppression::Blocked);
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    control::suppressions::add(pool, clock, by, (&account, channel, &hash), reason).await?;
    page.done(PATH, "No more reminders go to this address.")
        .await
}

async fn lift(
    page: Page,
    Shared(state): Shared<State>,
    Form(given): Form<Given>,
) -> Result<Response, Unshown> {
    let (account, channel, hash) = given.key(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let done = control::suppressions::remove(pool, clock, by, (&account, channel, &hash)).await;
    match done {
        Ok(()) => {
            page.done(PATH, "Lifted. Reminders may go to this address again.")
                .await
        }
        Err(Error::NotFound(_)) => page.done(PATH, "It was lifted already.").await,
        Err(other) => Err(other.into()),
    }
}

/// The fields of the form, which is read apart from the threads that serve others: a list has megabytes.
#[derive(Default)]
struct File {
    account: String,
    reason: String,
    leave_out: bool,
    csv: String,
}

impl File {
    fn read(body: &[u8]) -> Self {
        let mut file = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            match &*name {
                "account" => file.account = value.into_owned(),
                "reason" => file.reason = value.into_owned(),
                "leave_out" => file.leave_out = true,
                "csv" => file.csv = value.into_owned(),
                _ => {}
            }
        }
        file
    }

    /// What is shown again. A long list is not: whoever has it has it as a file.
    fn shown(&self) -> Shown {
        let csv = if self.csv.len() <= LONGEST_SHOWN {
            self.csv.clone()
        } else {
            String::new()
        };
        Shown {
            account: self.account.clone(),
            csv,
            ..Shown::default()
        }
    }
}

async fn import(
    page: Page,
    Shared(state): Shared<State>,
    body: Bytes,
) -> Result<Response, Unshown> {
    let turn = state.imports.begin()?;
    let file = tokio::task::spawn_blocking(move || File::read(&body)).await;
    let file = file.map_err(|error| Error::Internal(error.into()))?;
    let account = super::account_of(&page.accounts, &file.account)?;
    let defaults = Defaults {
        region: state.region_of(&account),
        account: AccountId::clone(&account),
        accounts: Vec::new(),
        reason: Suppression::parse(&file.reason).unwrap_or(Suppression::OptedOut),
        now: state.clock.now(),
    };
    let shown = file.shown();
    let bad_lines = BadLines::left_out_if(file.leave_out);
    let (pool, hasher, by) = (&state.pool, &state.hasher, page.caller.by());
    let (list, seen) = ((turn, file.csv.into_bytes()), &page.accounts);
    match control::suppressions::import(pool, hasher, by, list, seen, defaults, bad_lines).await {
        Ok(done) if done.skipped.is_empty() && done.problems.is_empty() => {
            page.done(PATH, &summary(&done)).await
        }
        Ok(done) => {
            let shown = Shown {
                imported: Some(report(&done)),
                ..Shown::default()
            };
            render(&page, &state, &Wanted::default(), shown).await
        }
        Err(error) => {
            refused(
                &page,
                &state,
                Shown {
                    refused_file: true,
                    ..shown
                },
                error,
            )
            .await
        }
    }
}

fn summary(done: &Imported) -> String {
    let lines = if done.lines == 1 { "line" } else { "lines" };
    format!(
        "{} {lines} read; {} new or changed.",
        done.lines, done.changed
    )
}

/// What is told of a list with lines that suppress nobody.
fn report(done: &Imported) -> Value {
    let skipped = done.skipped.iter();
    let skipped: Vec<String> = skipped
        .map(|(skip, count)| format!("{count} {}", skip.label()))
        .collect();
    let problems = done.problems.iter().take(MOST_PROBLEMS);
    json!({
        "summary": summary(done),
        "layout": done.layout,
        "skipped": skipped,
        "left_out": (!done.problems.is_empty()).then_some(done.problems.len()),
        "problems": problems.map(ToString::to_string).collect::<Vec<_>>(),
        "more": done.problems.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0),
    })
}
