//! What the doctor found, as lines: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorFinding {
    /// What it belongs to: `database`, `LivePerson 12345678`.
    pub part: String,
    pub check: String,
    pub state: CheckState,
    /// What was found, or what is wrong. Never a secret.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    /// Works, but is probably not meant.
    Warning,
    Failed,
    /// Cannot be found out from here.
    Unchecked,
}

impl CheckState {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
            Self::Unchecked => "?",
        }
    }
}

/// Whether the service can do its work.
pub fn healthy(lines: &[DoctorFinding]) -> bool {
    lines.iter().all(|line| line.state != CheckState::Failed)
}

/// The lines as a table, the fix below what needs one, and a sentence at the end.
pub fn table(lines: &[DoctorFinding]) -> String {
    let width = |cell: &dyn Fn(&DoctorFinding) -> &str| {
        let lengths = lines.iter().map(|line| cell(line).chars().count());
        lengths.max().unwrap_or_default()
    };
    let (part, check) = (width(&|l| &l.part), width(&|l| &l.check));
    let mut text = String::new();
    for line in lines {
        let _ = writeln!(
            text,
            "{:part$}  {:check$}  {:7}  {}",
            line.part,
            line.check,
            line.state.word(),
            line.found
        );
        if let Some(fix) = &line.fix {
            let _ = writeln!(text, "{:part$}  {:check$}  {:7}  → {fix}", "", "", "");
        }
    }
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let (failed, warnings) = (count(CheckState::Failed), count(CheckState::Warning));
    let _ = match (failed, warnings) {
        (0, 0) => writeln!(text, "\nEverything that was checked works."),
        (0, n) => writeln!(text, "\nEverything that was checked works. Warnings: {n}."),
        (n, _) => writeln!(text, "\nTo fix: {n}. Then run `unread doctor` again."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: CheckState, fix: Option<&str>) -> DoctorFinding {
        DoctorFinding {
            part: "e-mail".into(),
            check: "login".into(),
            state,
            found: "auth 535".into(),
            fix: fix.map(str::to_owned),
        }
    }

    #[test]
    fn the_fix_stands_below_the_failure_and_the_end_counts() {
        let lines = [
            line(CheckState::Failed, Some("Correct it.")),
            line(CheckState::Ok, None),
        ];
        let text = table(&lines);
        assert!(text.contains("FAILED   auth 535\n"), "{text}");
        assert!(text.contains("→ Correct it.\n"), "{text}");
        assert!(text.ends_with("To fix: 1. Then run `unread doctor` again.\n"));
        assert!(!healthy(&lines));
        assert!(healthy(&[
            line(CheckState::Warning, None),
            line(CheckState::Unchecked, None)
        ]));
    }
}
