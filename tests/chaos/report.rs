//! What a run found, in figures and in what was broken.

use std::fmt;
use std::time::Duration;

use unread::sandbox::Sandbox;
use unread::sandbox::faults::Traffic;

use super::processes::Processes;
use super::trouble::{Plan, Stop};

/// What a run found.
#[derive(Default)]
pub struct Report {
    pub violations: Vec<(Promise, String)>,
    figures: Vec<(String, String)>,
}

/// What must hold: a column of the report each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    Lost,
    Doubled,
    AfterRead,
    AfterNo,
    Late,
    WithinGap,
    Reached,
    QuietHours,
    Untrue,
    LeftOver,
}

impl Promise {
    const ALL: [Self; 10] = [
        Self::Lost,
        Self::Doubled,
        Self::AfterRead,
        Self::AfterNo,
        Self::Late,
        Self::WithinGap,
        Self::Reached,
        Self::QuietHours,
        Self::Untrue,
        Self::LeftOver,
    ];

    /// Broken, in words.
    fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::AfterRead => "after read",
            Self::AfterNo => "after no",
            Self::Late => "late",
            Self::WithinGap => "two channels within the gap",
            Self::Reached => "sent although reached",
            Self::QuietHours => "in quiet hours",
            Self::Untrue => "untrue",
            Self::LeftOver => "left over",
        }
    }
}

impl Report {
    pub fn figure(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.figures.push((name.into(), value.to_string()));
    }

    pub fn broken(&mut self, promise: Promise, what: String) {
        self.violations.push((promise, what));
    }

    pub fn count(&self, promise: Promise) -> usize {
        self.violations
            .iter()
            .filter(|(broken, _)| *broken == promise)
            .count()
    }

    pub fn add_run(
        &mut self,
        processes: &Processes,
        stops: &[Stop],
        plan: &Plan,
        sandbox: &Sandbox,
    ) {
        let all: u32 = processes.figures().iter().map(|(_, kills, _)| kills).sum();
        let struck = processes.strikes();
        self.figure(
            "kill -9 made",
            format!("{all}; {struck} strikes upon all workers at an acceptance"),
        );
        for (role, kills, freezes) in processes.figures() {
            self.figure(
                format!("{role}s"),
                format!("{kills} killed -9, {freezes} frozen"),
            );
        }
        let of = |how| stops.iter().filter(|stop| **stop == how).count();
        let (clean, immediate, kill) = (of(Stop::Clean), of(Stop::Immediate), of(Stop::Kill));
        self.figure(
            "PostgreSQL",
            format!("{kill} killed -9, {immediate} immediate, {clean} clean restarts"),
        );
        let cut: i64 = plan.cuts.iter().map(|(_, most)| most).sum();
        self.figure("connections cut", format!("up to {cut}"));
        let traffic = sandbox.faults().all_traffic();
        let sum = |of: fn(&Traffic) -> u64| traffic.values().map(of).sum::<u64>();
        self.figure(
            "LivePerson",
            format!(
                "{} calls, {} faults",
                sum(|t| t.requests),
                sum(|t| t.faults)
            ),
        );
        let (smtp, twilio) = (sandbox.smtp(), sandbox.twilio());
        self.figure("mail server", format!("{} faults", smtp.faults().struck()));
        self.figure("Twilio", format!("{} faults", twilio.faults().struck()));
        self.figure("logs", processes.logs());
    }

    pub fn add_times(&mut self, trouble: Duration, all: Duration) {
        self.figure("trouble lasted", format!("{:.0} s", trouble.as_secs_f64()));
        self.figure("the whole run", format!("{:.0} s", all.as_secs_f64()));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            writeln!(f, "{name:>28}  {value}")?;
        }
        writeln!(f, "{:>28}  {}", "violations", self.violations.len())?;
        for promise in Promise::ALL {
            writeln!(f, "{:>28}  {}", promise.word(), self.count(promise))?;
        }
        for (promise, what) in self.violations.iter().take(50) {
            writeln!(f, "  {}: {what}", promise.word())?;
        }
        Ok(())
    }
}
