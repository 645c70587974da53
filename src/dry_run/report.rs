//! What a dry run found: a line for each conversation and a summary for each account, as text or as JSON Lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use crate::control::labels;
use crate::domain::decide::Reason;
use crate::domain::ids::{AccountId, Channel};
use crate::domain::rule::RuleKey;
use crate::jobs::forecast::{ForecastOutcome, Verdict};

/// How it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportForm {
    #[default]
    Text,
    /// An object a line: `rule`, `conversation` and, behind those of an account, `account` (`kind` says which).
    Json,
}

impl ReportForm {
    /// As the switch `--json` asks for it.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

pub(super) struct Report<W> {
    out: W,
    form: ReportForm,
}

/// What was found in one account.
#[derive(Default)]
pub(super) struct AccountSummary {
    pub open: usize,
    pub unreadable: usize,
    /// Reminders that would be sent, by channel.
    remind: BTreeMap<Channel, usize>,
    /// Conversations without one, by reason.
    not: BTreeMap<Reason, usize>,
}

impl AccountSummary {
    pub fn count(&mut self, verdict: &Verdict) {
        let count = match &verdict.what {
            ForecastOutcome::Remind { channel, .. } => self.remind.entry(*channel).or_default(),
            ForecastOutcome::Not(reason) => self.not.entry(*reason).or_default(),
        };
        *count += 1;
    }

    pub fn reminders(&self) -> usize {
        self.remind.values().sum()
    }

    /// The commonest first.
    fn reasons(&self) -> Vec<(Reason, usize)> {
        let mut reasons: Vec<_> = self.not.iter().map(|(r, n)| (*r, *n)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

impl<W: Write> Report<W> {
    pub fn new(out: W, form: ReportForm) -> Self {
        Self { out, form }
    }

    /// Something that a rule promises and cannot do.
    pub fn contradiction(
        &mut self,
        rule: &RuleKey,
        level: &str,
        sentence: &str,
    ) -> std::io::Result<()> {
        match self.form {
            ReportForm::Text => writeln!(self.out, "rule {rule}: {level}: {sentence}"),
            ReportForm::Json => self.json(&json!({
                "kind": "rule",
                "account": rule.account,
                "skill": rule.skill,
                "level": level,
                "contradiction": sentence,
            })),
        }
    }

    pub fn conversation(
        &mut self,
        account: &AccountId,
        conversation: &str,
        verdict: &Verdict,
    ) -> std::io::Result<()> {
        match self.form {
            ReportForm::Text => writeln!(self.out, "{conversation} {}", line(verdict)),
            ReportForm::Json => {
                let mut found = object(verdict);
                found["kind"] = json!("conversation");
                found["account"] = json!(account);
                found["conversation"] = json!(conversation);
                self.json(&found)
            }
        }
    }

    pub fn account(
        &mut self,
        account: &AccountId,
        summary: &AccountSummary,
    ) -> std::io::Result<()> {
        match self.form {
            ReportForm::Text => self.out.write_all(text(account, summary).as_bytes()),
            ReportForm::Json => self.json(&json!({
                "kind": "account",
                "account": account,
                "open": summary.open,
                "unreadable": summary.unreadable,
                "remind": summary.remind,
                "not": summary.not,
            })),
        }
    }

    fn json(&mut self, found: &Value) -> std::io::Result<()> {
        writeln!(self.out, "{found}")
    }
}

fn text(account: &AccountId, summary: &AccountSummary) -> String {
    let mut text = format!(
        "account {account}: {} open conversations, {} reminders, {} conversations that cannot be read\n",
        summary.open,
        summary.reminders(),
        summary.unreadable
    );
    for (channel, count) in &summary.remind {
        let _ = writeln!(text, "{count:8}  would be reminded: {channel}");
    }
    for (reason, count) in summary.reasons() {
        let _ = writeln!(text, "{count:8}  {reason}: {}", labels::because(reason));
    }
    text
}

fn line(verdict: &Verdict) -> String {
    let mut passed_over = String::new();
    for (channel, reason) in &verdict.passed_over {
        let _ = write!(passed_over, ", {channel}: {reason}");
    }
    let what = match &verdict.what {
        ForecastOutcome::Remind {
            step,
            channel,
            at,
            to,
            waits_until,
        } => {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            let waits = waits_until
                .as_ref()
                .map(|until| format!(", waits until {until}"));
            let waits = waits.unwrap_or_default();
            let channel = channel.as_str();
            format!("remind  {at}  {channel:5}  step {step} to {to}{waits}")
        }
        ForecastOutcome::Not(reason) => format!("not     {reason}"),
    };
    what + &passed_over
}

fn object(verdict: &Verdict) -> Value {
    let mut found = match &verdict.what {
        ForecastOutcome::Remind {
            step,
            channel,
            at,
            to,
            waits_until,
        } => json!({
            "outcome": "remind",
            "step": step,
            "channel": channel,
            "at": at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "to": to,
            "waits_until": waits_until,
        }),
        ForecastOutcome::Not(reason) => json!({ "outcome": "not", "reason": reason }),
    };
    let passed_over: BTreeMap<Channel, Reason> = verdict.passed_over.iter().copied().collect();
    found["passed_over"] = json!(passed_over);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> AccountId {
        "12345678".parse().unwrap()
    }

    fn verdicts() -> [Verdict; 3] {
        [
            Verdict {
                what: ForecastOutcome::Remind {
                    step: 2,
                    channel: Channel::Sms,
                    at: "2026-03-02T09:30:00Z".parse().unwrap(),
                    to: "+12…43".to_owned(),
                    waits_until: Some("09:00, America/New_York time".to_owned()),
                },
                passed_over: vec![(Channel::Email, Reason::NoAddress)],
            },
            Verdict {
                what: ForecastOutcome::Not(Reason::Read),
                passed_over: Vec::new(),
            },
            Verdict {
                what: ForecastOutcome::Not(Reason::Read),
                passed_over: Vec::new(),
            },
        ]
    }

    fn written(form: ReportForm) -> String {
        let mut out = Vec::new();
        let mut report = Report::new(&mut out, form);
        let mut summary = AccountSummary {
            open: 3,
            unreadable: 1,
            ..AccountSummary::default()
        };
        let rule = RuleKey {
            account: account(),
            skill: None,
        };
        report
            .contradiction(&rule, "warning", "It cannot.")
            .unwrap();
        for verdict in &verdicts() {
            summary.count(verdict);
            report.conversation(&account(), "c1", verdict).unwrap();
        }
        report.account(&account(), &summary).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_has_a_line_for_each_conversation_and_the_reasons_at_the_end() {
        assert_eq!(
            written(ReportForm::Text),
            "rule 12345678/default: warning: It cannot.\n\
             c1 remind  2026-03-02T09:30:00Z  sms    step 2 to +12…43, waits until 09:00, America/New_York time, email: no_address\n\
             c1 not     read\n\
             c1 not     read\n\
             account 12345678: 3 open conversations, 1 reminders, 1 conversations that cannot be read\n       1  would be reminded: sms\n       \
             2  read: The customer has read the message.\n"
        );
    }

    #[test]
    fn json_has_an_object_a_line() {
        let lines: Vec<Value> = written(ReportForm::Json)
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            lines[1],
            json!({
                "kind": "conversation", "account": "12345678", "conversation": "c1", "outcome": "remind", "step": 2, "channel": "sms",
                "at": "2026-03-02T09:30:00Z", "to": "+12…43", "waits_until": "09:00, America/New_York time",
                "passed_over": { "email": "no_address" },
            })
        );
        assert_eq!(
            (&lines[2]["outcome"], &lines[2]["reason"]),
            (&json!("not"), &json!("read"))
        );
        assert_eq!(
            lines[4],
            json!({ "kind": "account", "account": "12345678", "open": 3, "unreadable": 1, "remind": { "sms": 1 }, "not": { "read": 2 } })
        );
        assert_eq!(
            (&lines[0]["kind"], &lines[0]["level"], lines.len()),
            (&json!("rule"), &json!("warning"), 5)
        );
    }
}
