//! People: what is known of one customer, no more reminders for them, forgetting them.
//!
//! The page is asked for by a form that posts, so that no address stands in the browser's history or in a log.

use axum::Form;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::labels::{self, Moment};
use super::reminders::{ReminderRow, RuleLink, governing, rows};
use super::{BrandChoice, PageError, PageFrame, account_of, brands};
use crate::control::accounts::{Accounts, Allowed};
use crate::control::consumers::{
    ConsumerSelector, ConsumerView, ConversationView, reads_as_address,
};
use crate::control::labels::{because, why};
use crate::control::{self, ControlError};
use crate::domain::access::Permission;
use crate::domain::ids::{AccountId, ReminderId};
use crate::domain::read_state::ReadStatus;
use crate::web::AppState;
use crate::web::access::RouteTable;
use crate::web::page_error::sentence;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/customers", ask);
    table.page(
        Permission::View,
        "/customers/{account}/{conversation}",
        of_conversation,
    );
    table.form(Permission::View, "/customers", look_up);
    table.form(Permission::Operate, "/customers/opt-out", opt_out);
    table.form(Permission::Operate, "/customers/allow", allow);
    table.form(Permission::Administer, "/customers/erase", erase);
}

#[derive(Deserialize)]
struct ConsumerForm {
    #[serde(default)]
    account: String,
    #[serde(default)]
    who: String,
}

impl ConsumerForm {
    async fn read(
        &self,
        state: &AppState,
        accounts: &Accounts,
    ) -> Result<(Allowed<AccountId>, ConsumerSelector), PageError> {
        let account = account_of(accounts, &self.account)?;
        let region = state.region_of(&account);
        let (pool, clock, hasher) = (&state.pool, &state.clock, &state.hasher);
        let who =
            ConsumerSelector::guess(pool, clock, hasher, (&self.who, region.as_deref())).await?;
        Ok((account, who))
    }
}

#[derive(Default, Serialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a question of its own"
)]
struct PeoplePage<'a> {
    accounts: Vec<BrandChoice<'a>>,
    account: &'a str,
    who: &'a str,
    done: Option<ActionNotice>,
    may_by_address: bool,
    person: Option<PersonShown<'a>>,
    may_opt_out: bool,
    may_allow: bool,
    may_erase: bool,
}

async fn ask(page: PageFrame, Shared(state): Shared<AppState>) -> Response {
    let values = PeoplePage {
        accounts: brands(&state, &page.accounts, ""),
        may_by_address: page.caller.may(Permission::Operate),
        ..PeoplePage::default()
    };
    page.render("people.hbs", "Customers", values)
}

async fn look_up(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(named): Form<ConsumerForm>,
) -> Result<Response, PageError> {
    if named.who.trim().is_empty() {
        return Ok(ask(page, Shared(state)).await);
    }
    let region = state.region_of(&*account_of(&page.accounts, &named.account)?);
    if reads_as_address(&named.who, region.as_deref()) && !page.caller.may(Permission::Operate) {
        return Err(PageError::forbidden());
    }
    let (account, who) = named.read(&state, &page.accounts).await?;
    let who = known(&state, &account, who).await?;
    show(&page, &state, (&account, &who), &named.who, None).await
}

/// The customer of a conversation. Its id is LivePerson's and names nobody, so that it may stand in an address.
async fn of_conversation(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Path((account, conversation)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let account = page.accounts.named(&account)?;
    let who = ConsumerSelector::Conversation(conversation.clone());
    show(&page, &state, (&account, &who), &conversation, None).await
}

/// Where the customer of a conversation is shown, in whichever account it is; `None`: in none.
pub async fn path_of(
    page: &PageFrame,
    state: &AppState,
    conversation: &str,
) -> Result<Option<String>, ControlError> {
    let who = ConsumerSelector::Conversation(conversation.to_owned());
    for account in page.accounts.each() {
        let person = control::consumers::look_up(&state.context, &account, &who).await?;
        if !person.is_unknown() {
            return Ok(Some(format!("/customers/{}/{conversation}", *account)));
        }
    }
    Ok(None)
}

/// Whoever `asked` means, in whichever account they are known; in the first, if in none.
pub async fn found(page: &PageFrame, state: &AppState, asked: &str) -> Result<Response, PageError> {
    let mut first = None;
    for account in page.accounts.each() {
        let named = ConsumerForm {
            account: account.to_string(),
            who: asked.to_owned(),
        };
        let (account, who) = named.read(state, &page.accounts).await?;
        let who = known(state, &account, who).await?;
        let person = control::consumers::look_up(&state.context, &account, &who).await?;
        if !person.is_unknown() {
            return show(page, state, (&account, &who), asked, None).await;
        }
        first.get_or_insert((account, who));
    }
    let Some((account, who)) = first else {
        return Err(ControlError::NotFound("account".to_owned()).into());
    };
    show(page, state, (&account, &who), asked, None).await
}

/// Whether an address is looked for: it takes the right to see addresses.
pub fn may_not_ask(page: &PageFrame, state: &AppState, asked: &str) -> bool {
    let regions = page.accounts.ids().iter().map(|id| state.region_of(id));
    let mut regions = regions.chain([None]);
    !page.caller.may(Permission::Operate)
        && regions.any(|region| reads_as_address(asked, region.as_deref()))
}

/// What was just done to somebody, or why not.
#[derive(Serialize)]
struct ActionNotice {
    level: &'static str,
    said: String,
}

impl ActionNotice {
    fn well(said: impl Into<String>) -> Self {
        Self {
            level: "good",
            said: said.into(),
        }
    }
}

/// The person's page. `asked` is what the search box holds; `done` says what was just done to them: the page stays with the person.
async fn show(
    page: &PageFrame,
    state: &AppState,
    (account, who): (&Allowed<AccountId>, &ConsumerSelector),
    asked: &str,
    done: Option<ActionNotice>,
) -> Result<Response, PageError> {
    let person = control::consumers::look_up(&state.context, account, who).await?;
    let operates = page.caller.may(Permission::Operate);
    let values = PeoplePage {
        accounts: brands(state, &page.accounts, account.as_str()),
        account: account.as_str(),
        who: asked.trim(),
        may_by_address: operates,
        done,
        may_opt_out: operates && person.can_be_opted_out,
        may_allow: operates && person.is_opted_out_by_us(),
        may_erase: page.caller.may(Permission::Administer) && !person.is_unknown(),
        person: Some(PersonShown::new(&person, account, state.clock.now())),
    };
    Ok(page.render("people.hbs", "Customers", values))
}

#[derive(Serialize)]
struct PersonShown<'a> {
    unknown: bool,
    answer: AnswerShown<'a>,
    conversations: Vec<ConversationRow<'a>>,
    reminders: Vec<ReminderRow<'a>>,
    suppressed: Vec<Suppressed>,
}

impl<'a> PersonShown<'a> {
    fn new(person: &'a ConsumerView, account: &AccountId, now: DateTime<Utc>) -> Self {
        let (answer, conversations) = (&person.answer, person.conversations.iter());
        Self {
            unknown: person.is_unknown(),
            answer: AnswerShown {
                headline: &answer.headline,
                when: answer.when.map(|at| labels::time(at, now)),
                reminder: answer.reminder,
                rule: answer.rule.as_ref().map(|rule| governing(rule, account)),
            },
            conversations: conversations
                .map(|c| ConversationRow::new(c, now))
                .collect(),
            reminders: rows(&person.reminders, now),
            suppressed: person
                .suppressions
                .iter()
                .map(|one| Suppressed {
                    channel: labels::channel(one.channel),
                    why: because(one.reason.into()),
                    since: labels::time(one.created_at, now),
                })
                .collect(),
        }
    }
}

#[derive(Serialize)]
struct AnswerShown<'a> {
    headline: &'a str,
    when: Option<Moment>,
    reminder: Option<ReminderId>,
    rule: Option<RuleLink>,
}

#[derive(Serialize)]
struct Suppressed {
    channel: &'static str,
    why: &'static str,
    since: Moment,
}

#[derive(Serialize)]
struct ConversationRow<'a> {
    #[serde(flatten)]
    conversation: &'a ConversationView,
    started: Moment,
    unread: bool,
    /// Why they were not reminded, or that they will be.
    said: String,
    /// Why they are not reminded over some channels.
    passed_over: Vec<PassedOver>,
}

impl<'a> ConversationRow<'a> {
    fn new(conversation: &'a ConversationView, now: DateTime<Utc>) -> Self {
        let passed_over = conversation
            .passed_over
            .iter()
            .map(|(channel, reason)| PassedOver {
                channel: labels::channel(*channel),
                why: why(reason),
            });
        Self {
            conversation,
            started: labels::time(conversation.started_at, now),
            unread: conversation.read_state == ReadStatus::Unread,
            said: conversation.reason.as_ref().map(why).unwrap_or_default(),
            passed_over: passed_over.collect(),
        }
    }
}

#[derive(Serialize)]
struct PassedOver {
    channel: &'static str,
    why: String,
}

async fn opt_out(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(named): Form<ConsumerForm>,
) -> Result<Response, PageError> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    control::consumers::opt_out(pool, clock, by, &account, &who).await?;
    let done = ActionNotice::well("Opted out. This customer gets no more reminders.");
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

async fn allow(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(named): Form<ConsumerForm>,
) -> Result<Response, PageError> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    let done = match control::consumers::allow(pool, clock, by, &account, &who).await {
        Ok(_) => ActionNotice::well("This customer can get reminders again."),
        Err(ControlError::Conflict(why)) => ActionNotice {
            level: "bad",
            said: sentence(&format!("Nothing was changed: {why}")),
        },
        Err(other) => return Err(other.into()),
    };
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

async fn erase(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(named): Form<ConsumerForm>,
) -> Result<Response, PageError> {
    let (account, who) = named.read(&state, &page.accounts).await?;
    let (pool, clock, by) = (&state.pool, &state.clock, page.caller.by());
    let who = known(&state, &account, who).await?;
    let erased =
        control::consumers::erase(pool, (clock, &state.hasher), by, &account, &who).await?;
    let done = ActionNotice::well(format!(
        "Erased: {}, {} anonymised. This cannot be undone.",
        labels::counted(erased.conversations, "conversation"),
        labels::counted(erased.reminders, "reminder")
    ));
    show(&page, &state, (&account, &who), &named.who, Some(done)).await
}

/// A customer on the phone has no id; what the agent has is the conversation's: an id that is no consumer's.
async fn known(
    state: &AppState,
    account: &Allowed<AccountId>,
    who: ConsumerSelector,
) -> Result<ConsumerSelector, PageError> {
    let ConsumerSelector::Consumer(id) = &who else {
        return Ok(who);
    };
    let person = control::consumers::look_up(&state.context, account, &who).await?;
    Ok(if person.is_unknown() {
        ConsumerSelector::Conversation(id.clone())
    } else {
        who
    })
}
