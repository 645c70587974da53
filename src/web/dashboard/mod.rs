//! The dashboard: pages for the person in charge of the brand's messaging, who is no engineer.
//!
//! Pages are rendered here and can be read without scripts. A handler asks [`crate::control`] and shows the answer; it does nothing
//! that the config API cannot. The frame around a page (navigation, who is logged in, what was just done) is [`Page`].

mod api;
mod audit;
mod channels;
mod chart;
mod opt_outs;
mod overview;
mod people;
mod reminders;
mod rules;
mod settings;
mod suppressions;
mod tokens;
mod users;
mod website;
pub mod words;

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono_tz::Tz;
use serde_json::{Value, json};

use super::access::{Asked, Caller, Session, Table};
use super::{State, templates};
use crate::control::{self, Error, Fault};
use crate::db;
use crate::domain::access::{Permission, Role};
use crate::domain::ids::AccountId;

/// Where a page is, what it is called, and what it needs.
type Entry = (&'static str, &'static str, Permission);

/// The navigation: groups of pages.
const NAVIGATION: &[(&str, &[Entry])] = &[
    (
        "Messaging",
        &[
            ("/", "Overview", Permission::View),
            ("/setup", "Set up", Permission::View),
            ("/rules", "Rules", Permission::View),
            ("/forecast", "The next hour", Permission::View),
            ("/reminders", "Reminders", Permission::View),
            ("/people", "People", Permission::View),
            ("/suppressions", "Suppressions", Permission::View),
            ("/channels", "Channels", Permission::View),
            ("/website", "Badge", Permission::View),
            ("/effect", "Effect", Permission::View),
        ],
    ),
    (
        "Administration",
        &[
            ("/users", "People who log in", Permission::Administer),
            ("/tokens", "API tokens", Permission::Administer),
            ("/audit", "Audit trail", Permission::View),
            ("/settings", "Settings", Permission::View),
            ("/api", "API", Permission::View),
        ],
    ),
];

/// Adds the pages to the table.
pub fn add(table: &mut Table) {
    overview::add(table);
    rules::add(table);
    reminders::add(table);
    people::add(table);
    opt_outs::add(table);
    suppressions::add(table);
    channels::add(table);
    website::add(table);
    audit::add(table);
    settings::add(table);
    tokens::add(table);
    users::add(table);
}

/// Adds the page that shows the API's document.
pub fn add_reference(table: &mut Table, document: &Value) {
    api::add(table, document);
}

/// The frame of the page that was asked for.
pub struct Page {
    pub caller: Caller,
    /// Where the reader's days begin: a script of ours leaves the browser's zone in a cookie. Without it, in UTC.
    pub zone: Tz,
    session: Session,
    asked: String,
    state: State,
}

impl FromRequestParts<State> for Page {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, StatusCode> {
        let Ok(Asked(asked)) = Asked::from_request_parts(parts, state).await;
        let session = Session::from_request_parts(parts, state).await?;
        if session.flash.is_some() && parts.method == axum::http::Method::GET {
            // Told once. If that cannot be noted it is told twice, which harms nobody.
            let _ = db::sessions::set_flash(&state.pool, &session.token_hash, None).await;
        }
        Ok(Self {
            caller: Caller::from_request_parts(parts, state).await?,
            zone: zone(&parts.headers).unwrap_or(Tz::UTC),
            session,
            asked,
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

impl Page {
    /// The page. `values` is an object; its template is within `layout.hbs`.
    pub fn render(&self, template: &str, title: &str, values: Value) -> Response {
        self.render_as(StatusCode::OK, template, title, values)
    }

    /// The page as the answer to a form that could not be done: with status 422, and the faults among the values.
    pub fn render_as(
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
        let path = self.asked.split('?').next().unwrap_or("/");
        let groups = NAVIGATION.iter().map(|(name, entries)| {
            let allowed = entries
                .iter()
                .filter(|(_, _, needs)| self.caller.may(*needs));
            let entries: Vec<Value> = allowed
                .map(|(href, label, _)| {
                    let below = *href != "/" && path.starts_with(&format!("{href}/"));
                    json!({ "href": href, "label": label, "current": path == *href || below })
                })
                .collect();
            json!({ "name": name, "entries": entries })
        });
        let groups: Vec<Value> = groups
            .filter(|group| group["entries"].as_array().is_some_and(|e| !e.is_empty()))
            .collect();
        json!({
            "name": self.caller.by(),
            "role": self.caller.role().map(Role::as_str),
            "csrf": self.session.csrf,
            "navigation": groups,
            "flash": self.session.flash,
            "mailbox": self.state.demo.as_ref().map(|demo| demo.mailbox_url.clone()),
        })
    }

    /// After a form was done: on to another page, which tells what was done.
    pub async fn done(&self, to: &str, said: &str) -> Result<Response, Unshown> {
        self.leave_word(to, "good", said).await
    }

    /// After a form that could not be done and has no fields to mend: back, with the reason.
    pub async fn not_done(&self, to: &str, why: &str) -> Result<Response, Unshown> {
        self.leave_word(to, "bad", why).await
    }

    async fn leave_word(&self, to: &str, level: &str, said: &str) -> Result<Response, Unshown> {
        let flash = json!({ "level": level, "said": said });
        db::sessions::set_flash(&self.state.pool, &self.session.token_hash, Some(&flash)).await?;
        Ok(Redirect::to(to).into_response())
    }

    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// The account that a form names; with only one it need not be named.
fn account_of(state: &State, named: &str) -> Result<AccountId, Error> {
    let configured = state.account_ids();
    match configured.as_slice() {
        [only] => Ok(only.clone()),
        all => control::accounts::find(all, named).cloned(),
    }
}

/// The accounts to choose from; none if there is no choice.
fn brands(state: &State, chosen: &str) -> Vec<Value> {
    let ids = state.account_ids();
    let ids = ids.iter().filter(|_| ids.len() > 1);
    ids.map(|id| {
        json!({ "id": id, "brand": state.brand_of(id.as_str()), "chosen": id.as_str() == chosen })
    })
    .collect()
}

/// The faults of a form's input, for the fields of their names.
pub fn faults_of(faults: &[Fault]) -> Value {
    let told = faults.iter().map(|fault| {
        let field = fault.field.trim_start_matches('/').replace('/', "_");
        (field, Value::from(fault.detail.clone()))
    });
    Value::Object(told.collect())
}

/// The headers of a page of ours. The origin is told to ourselves, so that our forms can be recognised.
pub fn careful(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, templates::DASHBOARD_POLICY);
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Why a page cannot be shown, as a page.
#[derive(Debug)]
pub struct Unshown {
    status: StatusCode,
    heading: &'static str,
    text: String,
    /// When the same may be asked again.
    retry_after: Option<Duration>,
}

impl Unshown {
    fn new(status: StatusCode, heading: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            heading,
            text: text.into(),
            retry_after: None,
        }
    }

    pub fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "This is not for your role",
            "Ask an administrator if you should be able to see or do this.",
        )
    }

    pub fn not_ours() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Nothing was changed",
            "The form is too old, or did not come from this site. Go back, reload the page and try again.",
        )
    }

    pub fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Too much at once",
            "A form may be 4 MB in all. Send it in several parts.",
        )
    }

    pub fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too fast",
            "There were too many requests. Wait a moment and reload the page.",
        )
    }
}

impl From<Error> for Unshown {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "Not found",
                format!("Sorry, {error}."),
            ),
            Error::Invalid(_) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "That does not fit",
                format!("{error}."),
            ),
            Error::Changed(_) | Error::Conflict(_) => Self::new(
                StatusCode::CONFLICT,
                "Nothing was changed",
                format!("{error}."),
            ),
            Error::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not at the moment",
                format!("{error}."),
            ),
            Error::Busy(ref said, wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Not at the moment",
                    format!("Sorry, {said}."),
                )
            },
            Error::Internal(error) => {
                tracing::error!("A page cannot be shown: {error:#}");
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong",
                    "The fault is on our side; the log says what it is. Try again in a moment.",
                )
            }
        }
    }
}

impl From<sqlx::Error> for Unshown {
    fn from(error: sqlx::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Unshown {
    fn into_response(self) -> Response {
        let page = templates::message(self.heading, &self.text, Some(("/", "To the overview")));
        let mut response = (self.status, careful(page)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().max(1);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
