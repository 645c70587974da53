//! The dashboard: pages for the person in charge of the brand's messaging, who is no engineer.
//!
//! Pages are rendered here and can be read without scripts. A handler asks [`crate::control`] and shows the answer; it does nothing
//! that the config API cannot. The frame around a page (navigation, who is logged in, what was just done) is [`PageFrame`].

mod activity;
mod api;
mod channels;
mod chart;
mod find;
pub mod labels;
mod live;
pub mod login;
mod moved;
mod navigation;
mod opt_outs;
mod overview;
mod own;
mod pauses;
mod people;
mod reminders;
mod removal;
mod rules;
mod second_factor;
mod settings;
mod suppressions;
mod tokens;
mod users;
mod website;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::access::{BrowserSession, Caller, RequestedPath, RouteTable, is_by_itself};
use super::page_error::PageError;
use super::templates::careful;
use super::{AppState, templates};
use crate::control::accounts::{Accounts, Allowed};
use crate::control::{self, ControlError, Fault};
use crate::db;
use crate::domain::access::Role;
use crate::domain::ids::AccountId;

use self::pauses::Notice;

/// Entries of the bar above a page that are shown at once; more are folded.
const MOST_OPEN: usize = 3;

/// Adds the pages to the table.
pub fn add(table: &mut RouteTable) {
    login::add(table);
    overview::add(table);
    rules::add(table);
    reminders::add(table);
    people::add(table);
    opt_outs::add(table);
    suppressions::add(table);
    channels::add(table);
    live::add(table);
    pauses::add(table);
    website::add(table);
    activity::add(table);
    settings::add(table);
    own::add(table);
    second_factor::add(table);
    tokens::add(table);
    users::add(table);
    removal::add(table);
    find::add(table);
    moved::add(table);
}

/// Adds the page that shows the API's document.
pub fn add_reference(table: &mut RouteTable, document: &Value, home: &Url) {
    api::add(table, document, home);
}

/// The frame of the page that was asked for.
pub struct PageFrame {
    pub caller: Caller,
    /// Those that the reader may see.
    pub accounts: Accounts,
    /// Where the reader's days begin: a script of ours leaves the browser's zone in a cookie. Without it, in UTC.
    pub zone: Tz,
    session: BrowserSession,
    asked: String,
    /// Whether `asked` can be opened again.
    is_read: bool,
    /// What every page must tell: entries of the bar above it.
    notices: Vec<Notice>,
    /// Whether every account of the reader's is live: what leads there is not needed any more.
    set_up: bool,
    state: AppState,
}

impl FromRequestParts<AppState> for PageFrame {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let Ok(RequestedPath(asked)) = RequestedPath::from_request_parts(parts, state).await;
        let session = BrowserSession::from_request_parts(parts, state).await;
        let session = session.map_err(StatusCode::into_response)?;
        let caller = Caller::from_request_parts(parts, state).await;
        let caller = caller.map_err(StatusCode::into_response)?;
        let accounts = Accounts::from_request_parts(parts, state).await;
        let accounts = accounts.map_err(StatusCode::into_response)?;
        let notices = pauses::notices(state, &accounts, &caller).await;
        let notices = notices.map_err(|error| PageError::from(error).into_response())?;
        let set_up = control::setup::is_over(&state.pool, &accounts).await;
        let set_up = set_up.map_err(|error| PageError::from(error).into_response())?;
        let shows = parts.method == axum::http::Method::GET && !is_by_itself(&parts.headers);
        if session.flash.is_some() && shows {
            // Told once, to who opens a page. If that cannot be noted it is told twice, which harms nobody.
            let _ = db::sessions::set_flash(&state.pool, &session.token_hash, None).await;
        }
        Ok(Self {
            caller,
            accounts,
            zone: zone(&parts.headers).unwrap_or(Tz::UTC),
            session,
            asked,
            is_read: parts.method.is_safe(),
            notices,
            set_up,
            state: state.clone(),
        })
    }
}

fn zone(headers: &HeaderMap) -> Option<Tz> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, name) = pairs.find(|(name, _)| *name == "zone")?;
    name.parse().ok()
}

impl PageFrame {
    /// The page. `values` is an object, a struct of the page's own; its template is within `layout.hbs`.
    pub fn render(&self, template: &str, title: &str, values: impl Serialize) -> Response {
        self.render_as(StatusCode::OK, template, title, values)
    }

    /// The page as the answer to a form that could not be done: with status 422, and the faults among the values.
    pub fn render_as(
        &self,
        status: StatusCode,
        template: &str,
        title: &str,
        values: impl Serialize,
    ) -> Response {
        match serde_json::to_value(values) {
            Ok(values) => self.framed(status, template, title, values),
            Err(error) => PageError::from(ControlError::Internal(error.into())).into_response(),
        }
    }

    fn framed(
        &self,
        status: StatusCode,
        template: &str,
        title: &str,
        mut values: Value,
    ) -> Response {
        if let Some(values) = values.as_object_mut() {
            values.insert("title".to_owned(), title.into());
            values.insert("frame".to_owned(), self.frame());
        }
        let response = templates::render(template, &values);
        let status = if response.status().is_success() {
            status
        } else {
            response.status()
        };
        (status, careful(response)).into_response()
    }

    fn frame(&self) -> Value {
        let path = self.path();
        json!({
            "now": self.state.clock.now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "back": self.back(),
            "notices": self.notices,
            "many": self.notices.len() > MOST_OPEN,
            "count": self.notices.len(),
            "name": self.caller.by(),
            "role": self.caller.role().map(Role::as_str),
            "csrf": self.session.csrf,
            "navigation": navigation::shown(&self.caller, path, self.set_up),
            "set_up": self.set_up,
            "tabs": navigation::tabs(&self.caller, path, self.set_up),
            "flash": self.session.flash,
            "example": self.state.demo.as_ref().and_then(|demo| demo.example_until)
                .map(|until| labels::time(until, self.state.clock.now())),
            "mailbox": self.state.demo.as_ref().map(|demo| demo.mailbox_url.clone()),
        })
    }

    /// Where a form of the bar leads back to: this page, or the page of the menu above what only a form shows.
    fn back(&self) -> &str {
        if self.is_read {
            return &self.asked;
        }
        navigation::above(self.path())
    }

    fn path(&self) -> &str {
        self.asked.split('?').next().unwrap_or("/")
    }

    /// After a form was done: on to another page, which tells what was done.
    pub async fn done(&self, to: &str, said: &str) -> Result<Response, PageError> {
        self.leave_word(to, "good", said).await
    }

    /// After a form that could not be done and has no fields to fix: back, with the reason.
    pub async fn not_done(&self, to: &str, why: &str) -> Result<Response, PageError> {
        self.leave_word(to, "bad", why).await
    }

    async fn leave_word(&self, to: &str, level: &str, said: &str) -> Result<Response, PageError> {
        let flash = json!({ "level": level, "said": said });
        db::sessions::set_flash(&self.state.pool, &self.session.token_hash, Some(&flash)).await?;
        Ok(Redirect::to(to).into_response())
    }

    pub fn session(&self) -> &BrowserSession {
        &self.session
    }
}

/// The account that a form names; with only one it need not be named.
fn account_of(accounts: &Accounts, named: &str) -> Result<Allowed<AccountId>, ControlError> {
    match accounts.ids() {
        [only] if named.is_empty() => accounts.named(only.as_str()),
        _ => accounts.named(named),
    }
}

/// An account to choose.
#[derive(Serialize)]
struct BrandChoice<'a> {
    id: &'a AccountId,
    brand: String,
    chosen: bool,
}

/// The accounts to choose from; none if there is no choice.
fn brands<'a>(state: &AppState, accounts: &'a Accounts, chosen: &str) -> Vec<BrandChoice<'a>> {
    let ids = accounts.ids();
    let ids = ids.iter().filter(|_| ids.len() > 1);
    ids.map(|id| BrandChoice {
        id,
        brand: state.brand_of(id),
        chosen: id.as_str() == chosen,
    })
    .collect()
}

/// The brands of these accounts in a row.
fn brands_of(state: &AppState, accounts: &[AccountId]) -> String {
    let brands: Vec<String> = accounts.iter().map(|id| state.brand_of(id)).collect();
    brands.join(", ")
}

/// The faults of a form's input, for the fields of their names.
pub fn faults_of(faults: &[Fault]) -> Value {
    let told = faults.iter().map(|fault| {
        let field = fault.field.trim_start_matches('/').replace('/', "_");
        (field, Value::from(fault.detail.clone()))
    });
    Value::Object(told.collect())
}
