//! Going live with a channel of an account, and back.

use axum::Form;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PageError, PageFrame, labels};
use crate::control::forecast::NotReminded;
use crate::control::labels::why;
use crate::control::live::{
    CheckCaller, Consent, GoLiveRequest, LivePreview, LiveRefusal, LiveStatus, OtherInstallation,
};
use crate::control::rules::ChangeAuthor;
use crate::control::{ControlError, Fault};
use crate::db;
use crate::domain::access::Permission;
use crate::domain::decide::{Cause, Reason};
use crate::domain::ids::{AccountId, Channel};
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/live", page);
    table.form(Permission::Operate, "/live", go);
    table.form(Permission::Operate, "/live/end", end);
}

#[derive(Deserialize)]
struct LivePageQuery {
    account: Option<AccountId>,
    channel: Option<Channel>,
}

async fn page(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Query(which): Query<LivePageQuery>,
) -> Result<Response, PageError> {
    let chosen = which.account.zip(which.channel);
    show(&page, &state, chosen, None).await
}

/// The page, with a channel that was chosen; `refused` is what was written about it, and why it was not done.
async fn show(
    page: &PageFrame,
    state: &AppState,
    chosen: Option<(AccountId, Channel)>,
    refused: Option<(&Going, String)>,
) -> Result<Response, PageError> {
    let chosen = match chosen {
        Some((account, channel)) => {
            let account = page.accounts.named(account.as_str())?;
            let asker = CheckCaller::of(page.caller.may(Permission::Operate));
            let installation = state.installation();
            let standing = installation.standing(&account, channel, asker).await?;
            Some(shown(state, &standing, refused.as_ref()))
        }
        None => None,
    };
    let status = match refused {
        Some(_) => StatusCode::CONFLICT,
        None => StatusCode::OK,
    };
    let values = json!({
        "channels": channels(page, state).await?,
        "chosen": chosen,
        "may": page.caller.may(Permission::Operate),
        "csrf": page.session().csrf,
    });
    Ok(page.render_as(status, "live.hbs", "Go live", values))
}

async fn channels(page: &PageFrame, state: &AppState) -> Result<Vec<Value>, ControlError> {
    let now = state.clock.now();
    let mut channels = Vec::new();
    for id in page.accounts.each() {
        for channel in Channel::ALL
            .into_iter()
            .filter(|c| state.context.has(&id, *c))
        {
            let live = db::live::find(&state.pool, &id, channel).await?;
            let back = db::live::taken_back(&state.pool, &id, channel).await?;
            channels.push(json!({
                "account": id.as_str(),
                "brand": state.brand_of(&id),
                "channel": channel,
                "name": labels::channel(channel),
                "live": live.as_ref().map(|live| labels::time(live.at, now)),
                "by": live.as_ref().map(|live| live.by_whom.clone()),
                "taken_back": back.as_ref().map(|back| labels::time(back.at, now)),
                "taken_by": back.as_ref().map(|back| back.by_whom.clone()),
            }));
        }
    }
    Ok(channels)
}

fn shown(state: &AppState, standing: &LiveStatus, refused: Option<&(&Going, String)>) -> Value {
    let written = refused.map(|(going, _)| *going);
    json!({
        "account": standing.account,
        "brand": state.brand_of(&standing.account),
        "channel": standing.channel,
        "name": labels::channel(standing.channel),
        "needs_consent": standing.channel.profile().needs_consent,
        "live": standing.live,
        "reminded": standing.would_be_reminded,
        "customers": customers(standing.would_be_reminded),
        "outlook": standing.preview.as_ref().map(outlook),
        "by_the_scans": by_the_scans(standing),
        "looked_at": standing.looked_at.map(|at| labels::time(at, state.clock.now())),
        "refusals": standing.refusals.iter().map(refusal).collect::<Vec<_>>(),
        "warnings": standing.warnings,
        "fault": refused.map(|(_, why)| why),
        "others": others(written),
        "consents": consents(written),
        "consent_note": written.map_or("", |going| &going.consent_note),
        "scanned": standing.scanned,
        "includes": standing.scanned && written.is_some_and(|going| going.from == "unread"),
    })
}

fn customers(count: u64) -> String {
    labels::counted(count, "customer")
}

/// What would happen, as it was last looked up.
fn outlook(preview: &LivePreview) -> Value {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let later = match preview.effect.later {
        0 => String::new(),
        n => format!(", {} later", customers(count(n))),
    };
    let without = match preview.without_address {
        0 => String::new(),
        1 => "; 1 has no address for it".to_owned(),
        n => format!("; {n} have no address for it"),
    };
    let partly = usize::try_from(preview.open).is_ok_and(|open| open > preview.conversations);
    let partly = partly.then(|| {
        format!(
            "{} of {} open conversations were checked, oldest first.",
            preview.conversations, preview.open
        )
    });
    let other = preview.effect.not.iter();
    let other = other.filter(|not| not.reason != Cause::Ours(Reason::NoAddress));
    json!({
        "reminded": preview.reminded() > 0,
        "hour": customers(count(preview.effect.within_the_hour)),
        "rest": format!("{later}{without}"),
        "not": other.map(|not| json!({ "why": why_not(not), "count": not.conversations })).collect::<Vec<_>>(),
        "partly": partly,
    })
}

/// Why somebody would not be reminded over a channel.
fn why_not(not: &NotReminded) -> String {
    match not.reason.reason() {
        Some(Reason::Reached) => "They are reached on another channel first.".to_owned(),
        _ => why(&not.reason),
    }
}

/// The same as the last scans know it, of all conversations.
fn by_the_scans(standing: &LiveStatus) -> String {
    let without = match standing.without_address {
        0 => String::new(),
        n => format!("; {n} more have no address for it"),
    };
    format!(
        "According to the last scans, {} would be reminded of messages that are unread now{without}.",
        customers(standing.would_be_reminded)
    )
}

/// What stands in the way, with the page where it can be fixed, if there is one.
fn refusal(refusal: &LiveRefusal) -> Value {
    let way = match refusal.what {
        "test" => Some(("/rules", "Go to rules")),
        "liveperson" => Some(("/connections#scans", "View connection")),
        "channel" => Some(("/connections", "View sender")),
        _ => None,
    };
    json!({
        "said": refusal.said,
        "fix": refusal.fix,
        "way": way.map(|(href, label)| json!({ "href": href, "label": label })),
    })
}

fn others(written: Option<&Going>) -> Vec<Value> {
    use OtherInstallation::{None, Sends, Stopped};
    let chosen = written.and_then(|going| going.other_installation);
    let all = [
        (None, "No"),
        (Stopped, "There was one, but it has been stopped"),
        (
            Sends,
            "Yes, and it keeps running: customers may hear from both",
        ),
    ];
    all.map(
        |(value, label)| json!({ "value": value, "label": label, "chosen": chosen == Some(value) }),
    )
    .to_vec()
}

fn consents(written: Option<&Going>) -> Vec<Value> {
    use Consent::{Conversation, Form, Otherwise};
    let chosen = written.and_then(|going| going.consent);
    let all = [
        (Form, "In a form, at sign-up or in their account"),
        (
            Conversation,
            "They gave the number in the conversation, to be reached about it",
        ),
        (Otherwise, "Another way, described below"),
    ];
    all.map(
        |(value, label)| json!({ "value": value, "label": label, "chosen": chosen == Some(value) }),
    )
    .to_vec()
}

#[derive(Deserialize)]
struct Going {
    account: AccountId,
    channel: Channel,
    other_installation: Option<OtherInstallation>,
    consent: Option<Consent>,
    #[serde(default)]
    consent_note: String,
    /// `now` or `unread`.
    from: String,
    /// As it was shown.
    unread: u64,
}

async fn go(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(going): Form<Going>,
) -> Result<Response, PageError> {
    let account = page.accounts.named(going.account.as_str())?;
    let refused = match going.other_installation {
        None => "Say whether another installation sends reminders for this account.".to_owned(),
        Some(other_installation) => {
            let wish = GoLiveRequest {
                other_installation,
                consent: going.consent,
                consent_note: going.consent_note.clone(),
                include_unread: (going.from == "unread").then_some(going.unread),
            };
            let by = ChangeAuthor {
                name: page.caller.by(),
                now: state.clock.now(),
            };
            let installation = state.installation();
            match installation.go(&account, going.channel, &wish, by).await {
                Ok(()) => {
                    let said = "Live. Reminders are sent from now on.";
                    return page.done("/live", said).await;
                }
                Err(ControlError::Conflict(said) | ControlError::Changed(said)) => said,
                Err(ControlError::Invalid(faults)) => faults_message(&faults),
                Err(other) => return Err(other.into()),
            }
        }
    };
    let chosen = (going.account.clone(), going.channel);
    show(&page, &state, Some(chosen), Some((&going, refused))).await
}

/// The faults of the form, in its words.
fn faults_message(faults: &[Fault]) -> String {
    let each = faults.iter().map(|fault| match fault.field.as_str() {
        "/consent" => "Say how customers agreed to text messages.".to_owned(),
        "/consent_note" => format!("Your own words: this {}.", fault.detail),
        _ => fault.detail.clone(),
    });
    each.collect::<Vec<_>>().join(" ")
}

#[derive(Deserialize)]
struct Ending {
    account: AccountId,
    channel: Channel,
}

async fn end(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(ending): Form<Ending>,
) -> Result<Response, PageError> {
    let by = ChangeAuthor {
        name: page.caller.by(),
        now: state.clock.now(),
    };
    let account = page.accounts.named(ending.account.as_str())?;
    let ended = state
        .installation()
        .back(&account, ending.channel, by)
        .await;
    match ended {
        Ok(()) => {
            page.done("/live", "No longer live: no reminders are sent.")
                .await
        }
        Err(ControlError::Conflict(said)) => page.not_done("/live", &said).await,
        Err(error) => Err(error.into()),
    }
}
