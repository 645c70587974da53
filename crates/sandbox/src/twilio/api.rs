//! Requests in, answers out: routes, sign-in, faults; and the requests that only read or change what is there.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::faults::{Answer, Operation, Refusal, TwilioFault};
use super::store::Filter;
use super::{Account, create};
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

pub fn router(account: Account) -> Router {
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

impl IntoResponse for Refusal {
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

async fn not_found(uri: axum::http::Uri) -> Refusal {
    Refusal::of(20404, "", uri.path())
}

async fn create(
    State(account): State<Account>,
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
    State(account): State<Account>,
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
    State(account): State<Account>,
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
    State(account): State<Account>,
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
            let record = record.ok_or_else(|| Refusal::of(20404, "", &path))?;
            Ok((StatusCode::OK, Some(record.to_json(&sid))))
        })
        .await
}

/// An empty `Body` takes the text away; nothing else can be changed.
async fn redact(
    State(account): State<Account>,
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
            let record = record.ok_or_else(|| Refusal::of(20404, "", &path))?;
            if field(&fields, "Body") != Some("") {
                return Err(Refusal::new(
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
    State(account): State<Account>,
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
            _ => Err(Refusal::of(20404, "", &path)),
        })
        .await
}

/// A request about to be answered.
struct Request<'a> {
    account: &'a Account,
    line: Scissors,
    operation: Operation,
    /// The number concerned; may be empty.
    to: &'a str,
    path: &'a str,
}

impl Request<'_> {
    /// Signs in, draws a fault, carries out `work` if the fault lets it, and answers as the fault wants.
    async fn handle(
        self,
        headers: &HeaderMap,
        account_sid: &str,
        work: impl FnOnce(&TwilioFault) -> Result<(StatusCode, Option<Value>), Refusal>,
    ) -> Response {
        let inner = &self.account.inner;
        inner.requests.fetch_add(1, Ordering::SeqCst);
        let counted = Concurrent::new(self.account);
        if inner
            .options
            .max_concurrent
            .is_some_and(|most| counted.now > most)
        {
            return Refusal::too_many(None).into_response();
        }
        if let Err(refusal) = self.sign_in(headers, account_sid) {
            return refusal.into_response();
        }
        let fault = inner
            .faults
            .strike(&[self.to], |fault| fault.on == self.operation)
            .unwrap_or_else(|| TwilioFault::answer(crate::rules::When::always(), Answer::Proceed));
        let done = fault.answer.accepts().then(|| work(&fault));
        let delay = tokio::time::sleep(Duration::from_millis(fault.delay_ms));
        inner.stop.run_until_cancelled(delay).await;
        self.answer(fault.answer, done).await
    }

    /// The answer. `done` is what the work came to, if it was carried out.
    async fn answer(
        &self,
        answer: Answer,
        done: Option<Result<(StatusCode, Option<Value>), Refusal>>,
    ) -> Response {
        match (answer, done) {
            (Answer::Error { code }, _) => Refusal::of(code, self.to, self.path).into_response(),
            (Answer::TooMany { retry_after }, _) => Refusal::too_many(retry_after).into_response(),
            (
                Answer::Raw {
                    status,
                    content_type,
                    body,
                },
                _,
            ) => {
                let status =
                    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
            }
            (Answer::Silence { .. }, _) => {
                self.account.inner.stop.cancelled().await;
                self.line.cut();
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            (Answer::CutBody, Some(Ok((status, Some(body))))) => cut_body(status, &body),
            (Answer::Close { .. } | Answer::CutBody, _) | (_, None) => {
                self.line.cut();
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            (_, Some(Err(refusal))) => refusal.into_response(),
            (_, Some(Ok((status, body)))) => {
                let body = body.map(|body| body.to_string()).unwrap_or_default();
                (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
        }
    }

    fn sign_in(&self, headers: &HeaderMap, account_sid: &str) -> Result<(), Refusal> {
        let options = &self.account.inner.options;
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| BASE64_STANDARD.decode(encoded.trim()).ok())
            .and_then(|octets| String::from_utf8(octets).ok())
            .unwrap_or_default();
        let key = options
            .api_key
            .as_ref()
            .map(|(key, secret)| format!("{key}:{secret}"));
        if given != format!("{}:{}", options.account_sid, options.auth_token) && Some(given) != key
        {
            return Err(Refusal::of(20003, self.to, self.path));
        }
        if account_sid != options.account_sid {
            return Err(Refusal::of(20404, self.to, self.path));
        }
        Ok(())
    }
}

/// A request in progress, counted until it is answered or the client has gone.
struct Concurrent<'a> {
    account: &'a Account,
    now: usize,
}

impl<'a> Concurrent<'a> {
    fn new(account: &'a Account) -> Self {
        let now = account.inner.concurrent.fetch_add(1, Ordering::SeqCst) + 1;
        account
            .inner
            .most_concurrent
            .fetch_max(now, Ordering::SeqCst);
        Self { account, now }
    }
}

impl Drop for Concurrent<'_> {
    fn drop(&mut self) {
        self.account.inner.concurrent.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The whole head and half of the body, then the connection closes.
fn cut_body(status: StatusCode, body: &Value) -> Response {
    let body = body.to_string();
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    let pieces = futures_util::stream::unfold(Some(half), |half| async {
        let Some(half) = half else {
            tokio::task::yield_now().await; // lets the first half leave
            return Some((Err(io::Error::from(io::ErrorKind::BrokenPipe)), None));
        };
        Some((Ok(half), None))
    });
    let length = body.len().to_string();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_LENGTH, length),
    ];
    (status, headers, Body::from_stream(pieces)).into_response()
}

/// A page of the list.
fn page(account: &Account, path: &str, query: &Fields) -> Value {
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
