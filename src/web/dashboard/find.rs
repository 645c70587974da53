//! One field that finds a page, a rule, a reminder or a customer.
//!
//! What is written there is posted, so that no address stands in the browser's history or in a log. Pages and rules are listed beside it:
//! a script narrows the list as one writes, and opens all of it over any page.

use axum::Form;
use axum::extract::State as Shared;
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::{Deserialize, Serialize};

use super::navigation::{self, NavLink};
use super::{PageError, PageFrame, people, rules};
use crate::control::{self, ControlError};
use crate::domain::access::Permission;
use crate::domain::ids::ReminderId;
use crate::domain::rule::RuleKey;
use crate::web::AppState;
use crate::web::access::RouteTable;

pub fn add(table: &mut RouteTable) {
    table.page(Permission::View, "/find", show);
    table.form(Permission::View, "/find", find);
}

#[derive(Serialize)]
struct FindPage {
    pages: Vec<NavLink>,
    rules: Vec<RuleEntry>,
    may_by_address: bool,
}

/// A rule that can be opened.
#[derive(Serialize)]
struct RuleEntry {
    href: String,
    name: String,
    brand: Option<String>,
}

async fn show(page: PageFrame, Shared(state): Shared<AppState>) -> Result<Response, PageError> {
    let values = FindPage {
        pages: navigation::pages(&page.caller),
        rules: rule_entries(&page, &state).await?,
        may_by_address: page.caller.may(Permission::Operate),
    };
    Ok(page.render("find.hbs", "Find", values))
}

async fn rule_entries(page: &PageFrame, state: &AppState) -> Result<Vec<RuleEntry>, ControlError> {
    let listed =
        control::rules::list(&state.pool, &page.accounts, None, control::rules::MOST).await?;
    let several = page.accounts.ids().len() > 1;
    let entry = listed.into_iter().map(|rule| RuleEntry {
        name: rules::name(rule.skill, rule.skill_name.as_deref()),
        brand: several.then(|| state.brand_of(&rule.account)),
        href: format!(
            "/rules/{}",
            RuleKey {
                account: rule.account,
                skill: rule.skill,
            }
        ),
    });
    Ok(entry.collect())
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    who: String,
}

async fn find(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    Form(wanted): Form<Wanted>,
) -> Result<Response, PageError> {
    let asked = wanted.who.trim();
    if asked.is_empty() {
        return show(page, Shared(state)).await;
    }
    let same = |name: &str| name.to_lowercase() == asked.to_lowercase();
    let mut pages = navigation::pages(&page.caller).into_iter();
    if let Some(found) = pages.find(|link| same(link.label)) {
        return Ok(Redirect::to(found.href).into_response());
    }
    let rules = rule_entries(&page, &state).await?;
    if let Some(found) = rules.iter().find(|rule| same(&rule.name)) {
        return Ok(Redirect::to(&found.href).into_response());
    }
    if let Some(id) = reminder_number(asked)
        && control::reminders::exists(&state.pool, &page.accounts, id).await?
    {
        return Ok(Redirect::to(&format!("/reminders/{id}")).into_response());
    }
    if people::may_not_ask(&page, &state, asked) {
        return Err(PageError::forbidden());
    }
    people::found(&page, &state, asked).await
}

/// The number of a reminder, as the API tells it: `17` or `#17`. What is longer is a telephone number.
fn reminder_number(asked: &str) -> Option<ReminderId> {
    let number = asked.strip_prefix('#').unwrap_or(asked);
    let plain = number.len() <= 18 && number.bytes().all(|byte| byte.is_ascii_digit());
    let short = asked.starts_with('#') || number.len() < 7;
    number
        .parse()
        .ok()
        .filter(|_| plain && short)
        .map(ReminderId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_number_is_a_reminder_and_a_long_one_a_telephone_number() {
        for (asked, number) in [
            ("17", Some(17)),
            ("#17", Some(17)),
            ("#2025550143", Some(2_025_550_143)),
            ("2025550143", None),
            ("+17", None),
            ("-17", None),
            ("ann@example.net", None),
            ("", None),
            ("#", None),
        ] {
            assert_eq!(reminder_number(asked).map(|id| id.0), number, "{asked}");
        }
    }
}
