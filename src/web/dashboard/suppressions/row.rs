//! A suppression in a list, in words.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::control::labels::because;
use crate::control::suppressions::SuppressionView;
use crate::db::suppressions::{AddressHash, Source};
use crate::domain::contact::Suppression;
use crate::suppressions_file;
use crate::web::AppState;
use crate::web::dashboard::labels::{self, Moment};

#[derive(Serialize)]
pub struct SuppressionListRow {
    #[serde(flatten)]
    suppression: SuppressionView,
    brand: String,
    channel_name: &'static str,
    label: &'static str,
    why: &'static str,
    from: &'static str,
    since: Moment,
    until: Option<Moment>,
    over: bool,
    code: String,
    question: &'static str,
}

impl SuppressionListRow {
    pub fn new(state: &AppState, suppression: SuppressionView, now: DateTime<Utc>) -> Self {
        let (reason, source) = (suppression.reason, suppression.source);
        let expires_at = suppression.expires_at;
        Self {
            brand: state.brand_of(&suppression.account),
            channel_name: labels::channel(suppression.channel),
            label: match (reason, source) {
                (Suppression::Blocked, Source::Provider) => "Blocked by the provider",
                _ => label(reason),
            },
            why: because(reason.into()),
            from: from(source),
            since: labels::time(suppression.created_at, now),
            until: expires_at.map(|at| labels::time(at, now)),
            over: expires_at.is_some_and(|at| at <= now),
            code: code(&suppression.hash),
            question: question(reason),
            suppression,
        }
    }
}

/// The beginning of a hash, which tells it from the others of a page.
pub fn code(hash: &AddressHash) -> String {
    let mut code = suppressions_file::hex(hash);
    code.truncate(8);
    code
}

/// A reason in a few words, for lists.
pub fn label(reason: Suppression) -> &'static str {
    match reason {
        Suppression::OptedOut => "Opted out",
        Suppression::BadAddress => "Invalid address",
        Suppression::Complaint => "Reported as spam",
        Suppression::Blocked => "Blocked by your team",
    }
}

fn from(source: Source) -> &'static str {
    match source {
        Source::Provider => "provider's answer",
        Source::SmsKeyword => "text message, keyword",
        Source::SmsText => "text message, free text",
        Source::UnsubscribeLink => "unsubscribe link",
        Source::MailEvent => "mail provider's report",
        Source::Operator => "your team",
        Source::Import => "imported list",
    }
}

/// What is asked before a suppression is lifted.
fn question(reason: Suppression) -> &'static str {
    match reason {
        Suppression::OptedOut | Suppression::Complaint => {
            "This customer opted out. Allow reminders again only if the customer asked for them. Send reminders to this address again?"
        }
        Suppression::BadAddress | Suppression::Blocked => "Send reminders to this address again?",
    }
}
