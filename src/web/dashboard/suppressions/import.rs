//! Importing a list of people who said no elsewhere, and what is told of it.

use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::Response;
use serde::Serialize;

use super::{PATH, SuppressionsPageQuery, SuppressionsView, refused, render};
use crate::control::suppressions::{BadLines, SuppressionImport};
use crate::control::{self, ControlError};
use crate::domain::contact::Suppression;
use crate::domain::ids::AccountId;
use crate::suppressions_file::Defaults;
use crate::web::AppState;
use crate::web::dashboard::{PageError, PageFrame, account_of};

/// Lines that an import left out, on the page.
const MOST_PROBLEMS: usize = 200;

/// Bytes of a list that are put into its field again if it was refused.
const LONGEST_SHOWN: usize = 64 * 1024;

/// The fields of the form, which is read apart from the threads that serve others: a list has megabytes.
#[derive(Default)]
struct ImportForm {
    account: String,
    reason: String,
    leave_out: bool,
    csv: String,
}

impl ImportForm {
    fn read(body: &[u8]) -> Self {
        let mut file = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            match &*name {
                "account" => file.account = value.into_owned(),
                "reason" => file.reason = value.into_owned(),
                "leave_out" => file.leave_out = true,
                "csv" => file.csv = value.into_owned(),
                _ => {}
            }
        }
        file
    }

    /// What is shown again. A long list is not: whoever has it has it as a file.
    fn shown(&self) -> SuppressionsView {
        let csv = if self.csv.len() <= LONGEST_SHOWN {
            self.csv.clone()
        } else {
            String::new()
        };
        SuppressionsView {
            account: self.account.clone(),
            csv,
            ..SuppressionsView::default()
        }
    }
}

pub async fn import(
    page: PageFrame,
    Shared(state): Shared<AppState>,
    body: Bytes,
) -> Result<Response, PageError> {
    let turn = state.imports.begin()?;
    let file = tokio::task::spawn_blocking(move || ImportForm::read(&body)).await;
    let file = file.map_err(|error| ControlError::Internal(error.into()))?;
    let account = account_of(&page.accounts, &file.account)?;
    let defaults = Defaults {
        region: state.region_of(&account),
        account: AccountId::clone(&account),
        accounts: Vec::new(),
        reason: Suppression::parse(&file.reason).unwrap_or(Suppression::OptedOut),
        now: state.clock.now(),
    };
    let shown = file.shown();
    let bad_lines = BadLines::left_out_if(file.leave_out);
    let (pool, hasher, by) = (&state.pool, &state.hasher, page.caller.by());
    let (list, seen) = ((turn, file.csv.into_bytes()), &page.accounts);
    match control::suppressions::import(pool, hasher, by, list, seen, defaults, bad_lines).await {
        Ok(done) if done.skipped.is_empty() && done.problems.is_empty() => {
            page.done(PATH, &summary(&done)).await
        }
        Ok(done) => {
            let shown = SuppressionsView {
                imported: Some(ImportReport::new(&done)),
                ..SuppressionsView::default()
            };
            render(&page, &state, &SuppressionsPageQuery::default(), shown).await
        }
        Err(error) => {
            refused(
                &page,
                &state,
                SuppressionsView {
                    refused_file: true,
                    ..shown
                },
                error,
            )
            .await
        }
    }
}

fn summary(done: &SuppressionImport) -> String {
    let lines = if done.lines == 1 { "line" } else { "lines" };
    format!(
        "{} {lines} read; {} new or changed.",
        done.lines, done.changed
    )
}

/// What is told of a list with lines that suppress nobody.
#[derive(Serialize)]
pub struct ImportReport {
    summary: String,
    layout: &'static str,
    skipped: Vec<String>,
    left_out: Option<usize>,
    problems: Vec<String>,
    more: Option<usize>,
}

impl ImportReport {
    fn new(done: &SuppressionImport) -> Self {
        let skipped = done.skipped.iter();
        let problems = done.problems.iter().take(MOST_PROBLEMS);
        let more = done.problems.len().checked_sub(MOST_PROBLEMS);
        Self {
            summary: summary(done),
            layout: done.layout,
            skipped: skipped
                .map(|(skip, count)| format!("{count} {}", skip.label()))
                .collect(),
            left_out: (!done.problems.is_empty()).then_some(done.problems.len()),
            problems: problems.map(ToString::to_string).collect(),
            more: more.filter(|more| *more > 0),
        }
    }
}
