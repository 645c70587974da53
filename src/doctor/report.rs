//! What the doctor found, as lines: a table for people, JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it belongs to: `database`, `LivePerson 12345678`.
    pub part: String,
    pub check: String,
    pub state: State,
    /// What was found, or what is wrong. Never a secret.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// Works, but is probably not meant.
    Warning,
    Failed,
    /// Cannot be found out from here.
    Unchecked,
}

impl State {
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
pub fn healthy(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.state != State::Failed)
}

/// The lines as a table, the mend below what needs one, and a sentence at the end.
pub fn table(lines: &[Line]) -> String {
    let width = |cell: &dyn Fn(&Line) -> &str| {
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
        if let Some(mend) = &line.mend {
            let _ = writeln!(text, "{:part$}  {:check$}  {:7}  → {mend}", "", "", "");
        }
    }
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let (failed, warnings) = (count(State::Failed), count(State::Warning));
    let _ = match (failed, warnings) {
        (0, 0) => writeln!(text, "\nEverything that was checked works."),
        (0, n) => writeln!(text, "\nEverything that was checked works; warnings: {n}."),
        (n, _) => writeln!(text, "\nTo be mended: {n}. Then run `unread doctor` again."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: State, mend: Option<&str>) -> Line {
        Line {
            part: "e-mail".into(),
            check: "login".into(),
            state,
            found: "auth 535".into(),
            mend: mend.map(str::to_owned),
        }
    }

    #[test]
    fn the_mend_stands_below_the_failure_and_the_end_counts() {
        let lines = [
            line(State::Failed, Some("Correct it.")),
            line(State::Ok, None),
        ];
        let text = table(&lines);
        assert!(text.contains("FAILED   auth 535\n"), "{text}");
        assert!(text.contains("→ Correct it.\n"), "{text}");
        assert!(text.ends_with("To be mended: 1. Then run `unread doctor` again.\n"));
        assert!(!healthy(&lines));
        assert!(healthy(&[
            line(State::Warning, None),
            line(State::Unchecked, None)
        ]));
    }
}
