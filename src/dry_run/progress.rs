//! How far a dry run is: lines in a log, a bar on a terminal.

use std::io::{IsTerminal as _, Write as _};

use crate::domain::ids::AccountId;

/// News of a run.
#[derive(Clone, Copy, Debug)]
pub enum DryRunProgress<'a> {
    /// Something to know.
    Note(&'a str),
    /// So many of an account's conversations are read, of so many as far as LivePerson knows by now.
    Read {
        account: &'a AccountId,
        read: usize,
        expected: usize,
    },
    /// Lines of the result come next.
    Result,
}

/// Where the cursor's line begins, with nothing on it.
const CLEAR: &str = "\r\x1b[K";

const WIDTH: usize = 30;

/// Shows news on standard error.
pub fn show(news: DryRunProgress<'_>) {
    let mut out = std::io::stderr().lock();
    let is_terminal = out.is_terminal();
    // Nobody is there to be told that nobody can be told.
    let _ = write!(out, "{}", shown(news, is_terminal)).and_then(|()| out.flush());
}

fn shown(news: DryRunProgress<'_>, is_terminal: bool) -> String {
    match (news, is_terminal) {
        (DryRunProgress::Note(text), true) => format!("{CLEAR}{text}\n"),
        (DryRunProgress::Note(text), false) => format!("{text}\n"),
        // The bar does not stay between the lines of the result.
        (DryRunProgress::Result, true) => CLEAR.to_owned(),
        (DryRunProgress::Result, false) => String::new(),
        (
            DryRunProgress::Read {
                account,
                read,
                expected,
            },
            is_terminal,
        ) => {
            let told = format!("Account {account}: {read} of {expected} conversations read");
            if !is_terminal {
                format!("{told}\n")
            } else if read < expected {
                format!("{CLEAR}{} {told}", bar(read, expected))
            } else {
                format!("{CLEAR}{} {told}\n", bar(read, expected))
            }
        }
    }
}

fn bar(done: usize, of: usize) -> String {
    let full = (done * WIDTH).checked_div(of).unwrap_or(WIDTH).min(WIDTH);
    format!("[{}{}]", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(read: usize, expected: usize, is_terminal: bool) -> String {
        let account: AccountId = "12345678".parse().unwrap();
        let account = &account;
        let news = DryRunProgress::Read {
            account,
            read,
            expected,
        };
        shown(news, is_terminal)
    }

    #[test]
    fn a_terminal_has_one_line_that_fills_up() {
        let half = read(50, 100, true);
        assert!(half.starts_with(CLEAR) && !half.ends_with('\n'), "{half:?}");
        assert!(half.contains(&format!("[{}{}]", "#".repeat(15), "-".repeat(15))));
        assert!(half.contains("50 of 100"), "{half}");
        let whole = read(100, 100, true);
        assert!(whole.contains(&"#".repeat(30)) && whole.ends_with("read\n"));
        assert_eq!(shown(DryRunProgress::Result, true), CLEAR);
    }

    #[test]
    fn a_log_has_plain_lines() {
        let line = read(50, 100, false);
        assert_eq!(line, "Account 12345678: 50 of 100 conversations read\n");
        assert_eq!(shown(DryRunProgress::Result, false), "");
        assert_eq!(shown(DryRunProgress::Note("a"), false), "a\n");
    }

    #[test]
    fn no_number_breaks_the_bar() {
        for (done, of) in [(0, 0), (0, 9), (9, 9), (10, 9)] {
            assert_eq!(bar(done, of).len(), WIDTH + 2, "{done} of {of}");
        }
        assert!(!bar(0, 9).contains('#') && !bar(9, 9).contains('-'));
    }
}
