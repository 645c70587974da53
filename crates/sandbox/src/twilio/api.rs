//! Requests in, answers out: routes, sign-in, faults; and the requests that only read or change what is there.

mod request;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use self::request::Request;
use super::faults::{Operation, TwilioRefusal};
use super::store::Filter;
use super::{TwilioAccount, create};
use crate::door::Scissors;

const PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 1_000;

/// Decoded form fields or query parameters, in order.
pub type Fields = Vec<(String, String)>;

pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// The fields of a form; anything else has none.
fn form(headers: &HeaderMap, body: &[u8]) -> Fields {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if kind.starts_with("application/x-www-form-urlencoded") {
        url::form_urlencoded::parse(body).into_owned().collect()
    } else {
        Fields::new()
    }
}

pub fn router(account: TwilioAccount) -> Router {
    Router::new()
        .route(
            "/2010-04-01/Accounts/{account}/Messages.json",
            get(list).post(create),
        )
        .route(
            "/2010-04-01/Accounts/{account}/Messages/{message}",
            get(fetch).post(redact).delete(delete),
        )
        .route(
            "/2010-04-01/Accounts/{account}/IncomingPhoneNumbers.json",
            get(numbers),
        )
        .fallback(post(not_found).get(not_found))
        .with_state(account)
}

impl IntoResponse for TwilioRefusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (
            status,
            [(header::CONTENT_TYPE, self.content_type)],
            self.body,
        )
            .into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

async fn not_found(uri: axum::http::Uri) -> TwilioRefusal {
    TwilioRefusal::of(20404, "", uri.path())
}

async fn create(
    State(account): State<TwilioAccount>,
    Path(sid): Path<String>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/Messages.json");
    let fields = form(&headers, &body);
    let to = field(&fields, "To").unwrap_or_default().to_owned();
    let request = Request {
        account: &account,
        line,
        operation: Operation::Create,
        to: &to,
        path: &path,
    };
    request
        .handle(&headers, &sid, |fault| {
            let created = create::create(&account, &fields, fault)?;
            Ok((StatusCode::CREATED, Some(created)))
        })
        .await
}

async fn list(
    State(account): State<TwilioAccount>,
    Path(sid): Path<String>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/Messages.json");
    let query: Fields = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes())
        .into_owned()
        .collect();
    let to = field(&query, "To").unwrap_or_default().to_owned();
    let request = Request {
        account: &account,
        line,
        operation: Operation::List,
        to: &to,
        path: &path,
    };
    request
        .handle(&headers, &sid, |_| {
            Ok((StatusCode::OK, Some(page(&account, &path, &query))))
        })
        .await
}

/// The account's own numbers, of which a client may pick its sender.
async fn numbers(
    State(account): State<TwilioAccount>,
    Path(sid): Path<String>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/IncomingPhoneNumbers.json");
    let request = Request {
        account: &account,
        line,
        operation: Operation::List,
        to: "",
        path: &path,
    };
    request
        .handle(&headers, &sid, |_| {
            let numbers = serde_json::json!([{
                "sid": "PN00000000000000000000000000000001",
                "account_sid": sid,
                "phone_number": account.number(),
                "capabilities": { "voice": true, "sms": true, "mms": true, "fax": false },
                "sms_url": account.inbound_url().unwrap_or_default(),
                "sms_method": "POST",
            }]);
            let page = serde_json::json!({
                "incoming_phone_numbers": numbers,
                "page": 0,
                "page_size": 50,
                "uri": path,
                "first_page_uri": format!("{path}?PageSize=50&Page=0"),
                "next_page_uri": null,
                "previous_page_uri": null,
            });
            Ok((StatusCode::OK, Some(page)))
        })
        .await
}

async fn fetch(
    State(account): State<TwilioAccount>,
    Path((sid, message)): Path<(String, String)>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/Messages/{message}");
    let request = Request {
        account: &account,
        line,
        operation: Operation::Fetch,
        to: "",
        path: &path,
    };
    request
        .handle(&headers, &sid, |_| {
            let store = account.store();
            let record = message
                .strip_suffix(".json")
                .and_then(|message| store.get(message));
            let record = record.ok_or_else(|| TwilioRefusal::of(20404, "", &path))?;
            Ok((StatusCode::OK, Some(record.to_json(&sid))))
        })
        .await
}

/// An empty `Body` takes the text away; nothing else can be changed.
async fn redact(
    State(account): State<TwilioAccount>,
    Path((sid, message)): Path<(String, String)>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/Messages/{message}");
    let fields = form(&headers, &body);
    let request = Request {
        account: &account,
        line,
        operation: Operation::Change,
        to: "",
        path: &path,
    };
    request
        .handle(&headers, &sid, |_| {
            let mut store = account.store();
            let record = message
                .strip_suffix(".json")
                .and_then(|message| store.get_mut(message));
            let record = record.ok_or_else(|| TwilioRefusal::of(20404, "", &path))?;
            if field(&fields, "Body") != Some("") {
                return Err(TwilioRefusal::new(
                    400,
                    20001,
                    "A message can only be changed by an empty Body.",
                ));
            }
            record.body = String::new();
            record.updated = account.inner.clock.now();
            Ok((StatusCode::OK, Some(record.to_json(&sid))))
        })
        .await
}

async fn delete(
    State(account): State<TwilioAccount>,
    Path((sid, message)): Path<(String, String)>,
    ConnectInfo(line): ConnectInfo<Scissors>,
    headers: HeaderMap,
) -> Response {
    let path = format!("/2010-04-01/Accounts/{sid}/Messages/{message}");
    let request = Request {
        account: &account,
        line,
        operation: Operation::Change,
        to: "",
        path: &path,
    };
    request
        .handle(&headers, &sid, |_| match message.strip_suffix(".json") {
            Some(message) if account.store().remove(message) => Ok((StatusCode::NO_CONTENT, None)),
            _ => Err(TwilioRefusal::of(20404, "", &path)),
        })
        .await
}

/// A page of the list.
fn page(account: &TwilioAccount, path: &str, query: &Fields) -> Value {
    let number = |name| field(query, name).and_then(|value| value.parse::<usize>().ok());
    let size = number("PageSize")
        .unwrap_or(PAGE_SIZE)
        .clamp(1, MAX_PAGE_SIZE);
    let page = number("Page").unwrap_or(0);
    let token = field(query, "PageToken").and_then(|token| token.strip_prefix("PA"));
    let filter = Filter {
        to: field(query, "To").map(str::to_owned),
        from: field(query, "From").map(str::to_owned),
        date_sent: query
            .iter()
            .filter_map(|(name, value)| {
                Some((
                    name.strip_prefix("DateSent")?.chars().next().unwrap_or('='),
                    value.clone(),
                ))
            })
            .collect(),
    };
    let uri = |page: usize, token: Option<&str>| {
        let kept = query
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "PageSize" | "Page" | "PageToken"));
        let kept: Vec<String> = kept
            .map(|(name, value)| format!("{}={}&", encode(name), encode(value)))
            .collect();
        let kept = kept.concat();
        let token = token
            .map(|sid| format!("&PageToken=PA{sid}"))
            .unwrap_or_default();
        format!("{path}?{kept}PageSize={size}&Page={page}{token}")
    };
    let store = account.store();
    let skip = if token.is_some() {
        0
    } else {
        page.saturating_mul(size)
    };
    let records = store.list(&filter, token, skip, size, account.inner.clock.now());
    let shown = &records[..records.len().min(size)];
    let next = (records.len() > size)
        .then(|| uri(page + 1, shown.last().map(|record| record.sid.as_str())));
    let start = page.saturating_mul(size);
    json!({
        "end": start + shown.len().saturating_sub(1),
        "first_page_uri": uri(0, None),
        "messages": shown.iter().map(|record| record.to_json(&account.inner.options.account_sid)).collect::<Vec<_>>(),
        "next_page_uri": next,
        "page": page,
        "page_size": size,
        "previous_page_uri": page.checked_sub(1).map(|previous| uri(previous, None)),
        "start": start,
        "uri": uri(page, token),
    })
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
