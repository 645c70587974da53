//! Incidents as people and programs see them, and who hears of them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::ControlError;
use super::accounts::Accounts;
use crate::db;
use crate::db::incidents::Incident;
use crate::domain::ids::AccountId;
use crate::jobs::context::Context;
use crate::jobs::tell;

/// Something that kept reminders from going out until somebody did something.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
pub struct IncidentView {
    pub id: i64,
    /// `hold`, `sender_paused`, `liveperson`, `not_scanned`, `journal` or `dead_jobs`.
    #[schema(example = "sender_paused")]
    pub kind: &'static str,
    /// Whose it is, if it is one account's.
    pub account: Option<AccountId>,
    pub what: String,
    pub fix: &'static str,
    pub since: DateTime<Utc>,
    /// When people were told.
    pub told_at: Option<DateTime<Utc>>,
    /// `null`: it is not over.
    pub until: Option<DateTime<Utc>>,
}

impl From<Incident> for IncidentView {
    fn from(row: Incident) -> Self {
        let kind = row.trouble.kind;
        Self {
            id: row.id,
            kind: kind.as_str(),
            what: kind.sentence(&row.trouble.about),
            fix: kind.remedy(),
            account: row.trouble.account,
            since: row.first_seen,
            told_at: row.begun_at,
            until: row.ended_at,
        }
    }
}

/// The newest first. Who is limited to some accounts sees theirs, and none that are the installation's.
pub async fn list(
    ctx: &Context,
    accounts: &Accounts,
    most: i64,
) -> Result<Vec<IncidentView>, ControlError> {
    let only = accounts.is_limited().then(|| accounts.ids());
    let rows = db::incidents::told(&ctx.pool, only, most).await?;
    Ok(rows.into_iter().map(IncidentView::from).collect())
}

/// In a sentence, who hears of incidents.
pub async fn audience(ctx: &Context) -> Result<String, ControlError> {
    let emails = ctx.notify.emails.len();
    let addresses = if emails == 1 { "address" } else { "addresses" };
    let mail = format!("an e-mail to {emails} {addresses}");
    let mails_work = emails == 0 || tell::mail_adapter(ctx).await?.is_some();
    let said = match (emails > 0, ctx.notify.posts) {
        (false, false) => {
            return Ok("No one is told of incidents: they are on this page and in the log only. Your server administrator sets \
                       UNREAD_NOTIFY_EMAILS or UNREAD_NOTIFY_URL."
                .to_owned());
        }
        (true, false) => format!("Incidents are told by {mail}."),
        (false, true) => "Incidents are told by webhook.".to_owned(),
        (true, true) => format!("Incidents are told by {mail} and by webhook."),
    };
    let without = match (mails_work, ctx.notify.posts) {
        (true, _) => "",
        (false, true) => {
            " E-mail itself does not work at the moment: until it does, only the webhook tells."
        }
        (false, false) => {
            " E-mail itself does not work at the moment: until it does, only this page and the log tell."
        }
    };
    Ok(said + without)
}
