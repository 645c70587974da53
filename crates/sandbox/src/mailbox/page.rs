//! The mailbox for people: a list, newest first, and the message that is open.

use axum::extract::{Form, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use handlebars::Handlebars;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use crate::outbox::{Mail, OutboxMessage, Text};
use crate::twilio::TwilioAccount;

/// Messages in the list.
const SHOWN: usize = 200;
/// Characters of a preview.
const PREVIEW: usize = 90;

#[derive(Deserialize)]
pub struct Search {
    /// Words that must all occur in addresses, subject or text.
    #[serde(default)]
    q: String,
    /// The open message, for the list alone.
    open: Option<u64>,
}

pub fn templates() -> Handlebars<'static> {
    let mut templates = Handlebars::new();
    templates.set_strict_mode(true);
    for (name, source) in [
        ("page", include_str!("../../templates/mailbox.html")),
        ("list", include_str!("../../templates/mailbox_list.html")),
        ("mail", include_str!("../../templates/mailbox_mail.html")),
        ("text", include_str!("../../templates/mailbox_text.html")),
    ] {
        templates
            .register_template_string(name, source)
            .expect("the templates are part of the program, and tested");
    }
    templates
}

pub async fn all(State(desk): State<Desk>, Query(search): Query<Search>) -> Response {
    desk.page(&search, None)
}

pub async fn one(
    State(desk): State<Desk>,
    Path(id): Path<u64>,
    Query(search): Query<Search>,
) -> Response {
    match desk.mailbox.outbox.message(id) {
        Some(message) => desk.page(&search, Some(&message)),
        None => (StatusCode::NOT_FOUND, desk.page(&search, None)).into_response(),
    }
}

/// The list alone, for refreshing.
pub async fn list(State(desk): State<Desk>, Query(search): Query<Search>) -> Response {
    desk.render("list", &desk.list(&search.q, search.open))
}

/// The mail as it was received; as text, whatever it contains.
pub async fn raw(State(desk): State<Desk>, Path(id): Path<u64>) -> Response {
    match desk.mailbox.outbox.message(id) {
        Some(OutboxMessage::Mail(mail)) => (
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            mail.raw.clone(),
        )
            .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[derive(Deserialize)]
pub struct ReplyForm {
    body: String,
}

/// The person answers a text.
pub async fn reply(
    State(desk): State<Desk>,
    Path(id): Path<u64>,
    Form(answer): Form<ReplyForm>,
) -> Response {
    let (Some(OutboxMessage::Text(text)), Some(account)) =
        (desk.mailbox.outbox.message(id), &desk.mailbox.twilio)
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Some(number) = &text.from else {
        return (
            StatusCode::CONFLICT,
            "The message has no sending number yet.",
        )
            .into_response();
    };
    match account.inbound(&text.to, number, &answer.body, None).await {
        Ok(_) => Redirect::to(&format!("/messages/{id}")).into_response(),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

pub async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("../../templates/mailbox.css"),
    )
}

pub async fn script() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("../../templates/mailbox.js"),
    )
}

impl Desk {
    fn page(&self, search: &Search, open: Option<&OutboxMessage>) -> Response {
        let opened = match open {
            Some(OutboxMessage::Mail(mail)) => self.template("mail", &mail_view(mail)),
            Some(OutboxMessage::Text(text)) => {
                self.template("text", &text_view(text, self.mailbox.twilio.as_ref()))
            }
            None => Ok(String::new()),
        };
        let listed = self.template("list", &self.list(&search.q, open.map(OutboxMessage::id)));
        let (Ok(opened), Ok(listed)) = (opened, listed) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let title = match open {
            Some(OutboxMessage::Mail(mail)) => mail.subject().to_owned(),
            Some(OutboxMessage::Text(text)) => format!("SMS to {}", text.to),
            None => String::new(),
        };
        let page = json!({
            "title": title,
            "q": search.q,
            "open": open.map(OutboxMessage::id),
            "list": listed,
            "opened": opened,
        });
        self.render("page", &page)
    }

    fn list(&self, q: &str, open: Option<u64>) -> Value {
        let words: Vec<String> = q.split_whitespace().map(str::to_lowercase).collect();
        let messages = self.mailbox.outbox.messages();
        let found = messages
            .iter()
            .rev()
            .filter(|message| matches(message, &words));
        let items: Vec<Value> = found
            .take(SHOWN)
            .map(|message| item(message, q, open))
            .collect();
        let counts = self.mailbox.outbox.counts();
        json!({
            "items": items,
            "searching": !words.is_empty(),
            "mails": counts.mails,
            "mails_plural": counts.mails != 1,
            "texts": counts.texts,
            "texts_plural": counts.texts != 1,
        })
    }

    fn template(&self, name: &str, view: &Value) -> Result<String, handlebars::RenderError> {
        self.templates.render(name, view)
    }

    fn render(&self, name: &str, view: &Value) -> Response {
        match self.template(name, view) {
            Ok(html) => Html(html).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

fn matches(message: &OutboxMessage, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let hay = match message {
        OutboxMessage::Mail(mail) => {
            format!(
                "{} {} {} {}",
                mail.from,
                mail.to.join(" "),
                mail.subject(),
                mail.text.as_deref().unwrap_or_default()
            )
        }
        OutboxMessage::Text(text) => format!(
            "{} {} {}",
            text.from.as_deref().unwrap_or_default(),
            text.to,
            text.body
        ),
    };
    let hay = hay.to_lowercase();
    words.iter().all(|word| hay.contains(word))
}

/// A line of the list.
fn item(message: &OutboxMessage, q: &str, open: Option<u64>) -> Value {
    let (is_mail, at, to, title, preview, status) = match message {
        OutboxMessage::Mail(mail) => {
            let preview = mail.text.as_deref().unwrap_or_default();
            (
                true,
                mail.at,
                mail.to.join(", "),
                mail.subject(),
                preview,
                mail.returned.map(|_| "returned"),
            )
        }
        OutboxMessage::Text(text) => (
            false,
            text.at,
            text.to.clone(),
            "",
            text.body.as_str(),
            Some(text.status()),
        ),
    };
    let preview: Vec<&str> = preview.split_whitespace().collect();
    let query = if q.is_empty() {
        String::new()
    } else {
        format!("?q={}", encode(q))
    };
    json!({
        "href": format!("/messages/{}{query}", message.id()),
        "is_mail": is_mail,
        "is_open": open == Some(message.id()),
        "to": to,
        "title": title,
        "preview": preview.join(" ").chars().take(PREVIEW).collect::<String>(),
        "at": at.to_rfc3339(),
        "time": at.format("%H:%M:%S").to_string(),
        "status": status,
        "tone": status.map_or("", tone),
    })
}

fn mail_view(mail: &Mail) -> Value {
    json!({
        "id": mail.id,
        "subject": mail.subject(),
        "from": mail.header("From").unwrap_or(&mail.from),
        "to": mail.to.join(", "),
        "at": mail.at.to_rfc3339(),
        "time": long_time(mail.at),
        "returned": mail.returned.map(|returned| long_time(returned.at)),
        "size": mail.size,
        // Links open in a new tab: the frame itself may not go anywhere.
        "html": mail.html.as_ref().map(|html| format!("<base target=\"_blank\">{html}")),
        "text": mail.text,
        "raw": (!mail.raw.is_empty()).then(|| String::from_utf8_lossy(&mail.raw)),
        "headers": mail.headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
        "unsubscribe": mail.list_unsubscribe().iter().filter(|uri| uri.starts_with("http")).collect::<Vec<_>>(),
    })
}

fn text_view(text: &Text, account: Option<&TwilioAccount>) -> Value {
    let history: Vec<Value> = text
        .history
        .iter()
        .map(|change| {
            json!({
                "status": change.status,
                "tone": tone(&change.status),
                "error_code": change.error_code,
                "at": change.at.to_rfc3339(),
                "time": change.at.format("%H:%M:%S").to_string(),
            })
        })
        .collect();
    json!({
        "id": text.id,
        "to": text.to,
        "from": text.from.as_deref().or(text.messaging_service.as_deref()).unwrap_or_default(),
        "sid": text.sid,
        "pieces": pieces(&text.body),
        "at": text.at.to_rfc3339(),
        "time": long_time(text.at),
        "segments": text.segments,
        "plural": text.segments != 1,
        "characters": text.body.chars().count(),
        "validity_period": text.validity_period,
        "status_callback": text.status_callback,
        "history": history,
        "may_reply": account.is_some() && text.from.is_some(),
        "answers": account.map(|account| account.received(&text.to, text.at)).unwrap_or_default(),
    })
}

/// The text in pieces, so that links can be tapped as on a phone.
fn pieces(body: &str) -> Vec<Value> {
    body.split_inclusive(char::is_whitespace)
        .flat_map(|word| {
            let link = word.trim_end();
            let space = &word[link.len()..];
            let is_link = link.starts_with("https://") || link.starts_with("http://");
            [
                json!({ "text": link, "is_link": is_link }),
                json!({ "text": space, "is_link": false }),
            ]
        })
        .collect()
}

fn tone(status: &str) -> &'static str {
    match status {
        "delivered" | "read" => "good",
        "failed" | "undelivered" | "canceled" | "returned" => "bad",
        _ => "calm",
    }
}

fn long_time(at: DateTime<Utc>) -> String {
    at.format("%A, %-d %B %Y, %H:%M:%S UTC").to_string()
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
