//! What an SMTP server's answer means, by the step it answers.
//!
//! A bare 550 is a bad recipient at RCPT, a policy at the final dot and our own mistake at AUTH or MAIL; so the step comes
//! first, then the enhanced code (RFC 3463), then the basic code. Before the final dot nothing has been sent, whatever
//! happened. Nothing that depends on one recipient or one text may come out as [`Obstacle::Config`]: that opens a circuit
//! and would hold up everyone else.

use std::fmt;
use std::time::Duration;

use crate::domain::outcome::{Obstacle, Outcome, Refusal};

/// The steps of handing over one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Name look-up and TCP, up to the server's greeting.
    Connect,
    /// The greeting and EHLO.
    Greeting,
    StartTls,
    Auth,
    /// RSET between two messages of one connection.
    Reset,
    Mail,
    Rcpt,
    Data,
    /// The message itself, from its first byte to the reply to the final dot.
    Final,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Reset => "rset",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Final => "final",
        }
    }
}

/// How a step ended, if not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server said so.
    Reply(Reply),
    /// No answer in the time allowed.
    TimedOut,
    /// The connection could not be made, broke, or carried something that is not SMTP.
    Lost,
    /// TLS could not be agreed: certificate, name or protocol.
    Tls,
    /// The server does not offer what we must have (STARTTLS, a way to log in).
    NotOffered,
}

/// A negative reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub enhanced: Option<Enhanced>,
    /// What follows the codes, lines joined.
    pub text: String,
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Reply {
    /// Splits the enhanced code, if there is one, off the text. It counts only if its class agrees with the basic code.
    pub fn new(code: u16, text: &str) -> Self {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        match Enhanced::parse(first).filter(|e| u16::from(e.0) == code / 100) {
            Some(enhanced) => Self {
                code,
                enhanced: Some(enhanced),
                text: rest.to_owned(),
            },
            None => Self {
                code,
                enhanced: None,
                text: text.to_owned(),
            },
        }
    }

    fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Subject and detail of the enhanced code; (0, 0), which means nothing in particular, without one.
    fn subject(&self) -> (u16, u16) {
        self.enhanced.map_or((0, 0), |e| (e.1, e.2))
    }

    fn says(&self, words: &str) -> bool {
        self.text.to_ascii_lowercase().contains(words)
    }
}

impl Enhanced {
    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let code = Self(
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
            parts.next()?.parse().ok()?,
        );
        parts.next().is_none().then_some(code)
    }
}

/// What follows when `phase` ended with `fault`.
pub fn classify(phase: Phase, fault: &Fault) -> Outcome {
    let code = code(phase, fault);
    match fault {
        Fault::Reply(reply) => verdict(phase, reply).outcome(code, retry_after(&reply.text)),
        Fault::Tls | Fault::NotOffered => Verdict::Not(Obstacle::Config).outcome(code, None),
        Fault::TimedOut | Fault::Lost if phase == Phase::Final => Outcome::Unknown { code },
        Fault::TimedOut | Fault::Lost => Verdict::Not(Obstacle::Transient).outcome(code, None),
    }
}

/// The failure in a few words without anything personal in it, such as `rcpt 550 5.1.1`.
pub fn code(phase: Phase, fault: &Fault) -> String {
    let phase = phase.as_str();
    match fault {
        Fault::Reply(Reply {
            code,
            enhanced: Some(enhanced),
            ..
        }) => format!("{phase} {code} {enhanced}"),
        Fault::Reply(reply) => format!("{phase} {}", reply.code),
        Fault::TimedOut => format!("{phase} timed out"),
        Fault::Lost => format!("{phase} connection lost"),
        Fault::Tls => format!("{phase} tls failed"),
        Fault::NotOffered => format!("{phase} not offered"),
    }
}

#[derive(Clone, Copy)]
enum Verdict {
    Not(Obstacle),
    Refused(Refusal),
}

impl Verdict {
    fn outcome(self, code: String, retry_after: Option<Duration>) -> Outcome {
        match self {
            Self::Not(class) => Outcome::NotAccepted {
                class,
                code,
                retry_after,
            },
            Self::Refused(class) => Outcome::Refused { class, code },
        }
    }
}

fn verdict(phase: Phase, reply: &Reply) -> Verdict {
    if is_quota(reply) {
        return Verdict::Not(Obstacle::Quota);
    }
    if !reply.is_permanent() {
        return Verdict::Not(temporary(phase, reply));
    }
    match phase {
        Phase::Rcpt | Phase::Data => recipient(reply),
        Phase::Final => message(reply),
        // Too big for this server: a matter of one text.
        Phase::Mail if is_too_big(reply) => Verdict::Refused(Refusal::Other),
        _ => Verdict::Not(Obstacle::Config),
    }
}

/// Quotas come as 4xx and as 5xx, and clear by themselves.
fn is_quota(reply: &Reply) -> bool {
    reply.subject() == (4, 5) && reply.says("limit") || reply.says("daily message quota exceeded")
}

fn is_too_big(reply: &Reply) -> bool {
    matches!(reply.subject(), (3, 4) | (2, 3)) || reply.code == 552 && reply.enhanced.is_none()
}

fn temporary(phase: Phase, reply: &Reply) -> Obstacle {
    let slow_down = reply.says("too many")
        || reply.says("throttling")
        || matches!(reply.subject(), (7, 28))
        || reply.code == 432;
    match (phase, reply.subject()) {
        (Phase::Rcpt, (2, 2)) => Obstacle::RecipientSoft,
        // "Too many recipients" is no complaint about our speed.
        (Phase::Rcpt, (5, 3)) => Obstacle::Transient,
        // Greylisting, and mailboxes that are receiving too quickly.
        (Phase::Rcpt, _) if matches!(reply.code, 450 | 451) => Obstacle::Slow,
        _ if slow_down => Obstacle::Throttled,
        _ => Obstacle::Transient,
    }
}

/// A permanent reply to RCPT (or to DATA, by servers that only say there that nobody is left to deliver to).
fn recipient(reply: &Reply) -> Verdict {
    match reply.subject() {
        (2, 2) => Verdict::Not(Obstacle::RecipientSoft),
        // The server cannot take a non-ASCII address; another one could.
        (6, _) => Verdict::Refused(Refusal::Other),
        // Relaying denied, our host on a block list: us, not the recipient.
        (7, _) => Verdict::Not(Obstacle::Config),
        // 5.4.1 is Microsoft's word for an address unknown at its edge.
        (1, 1..=6 | 10) | (2, 0 | 1) | (4, 1) => Verdict::Refused(Refusal::BadRecipient),
        _ if reply.says("no valid recipients") => Verdict::Refused(Refusal::BadRecipient),
        (0, 0) if matches!(reply.code, 550 | 551 | 553) => Verdict::Refused(Refusal::BadRecipient),
        (0, 0) if reply.code == 552 => Verdict::Not(Obstacle::RecipientSoft),
        _ => Verdict::Refused(Refusal::Other),
    }
}

/// A permanent reply to the final dot.
fn message(reply: &Reply) -> Verdict {
    match reply.subject() {
        (1, _) => Verdict::Refused(Refusal::BadRecipient),
        (2, 2) => Verdict::Not(Obstacle::RecipientSoft),
        // SPF, DKIM or DMARC of our domain fail: it will go on until somebody mends the DNS.
        (7, 23..=27) => Verdict::Not(Obstacle::Config),
        (7, _) => Verdict::Refused(Refusal::Policy),
        // Amazon SES while the account is in its trial mode.
        _ if reply.says("not verified") => Verdict::Not(Obstacle::Config),
        (0, 0) if reply.code == 554 => Verdict::Refused(Refusal::Policy),
        _ => Verdict::Refused(Refusal::Other),
    }
}

/// "try again in 5 minutes": servers put the wait into the text.
fn retry_after(text: &str) -> Option<Duration> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(3).find_map(|w| {
        let [before, number, unit] = w else {
            return None;
        };
        let number: u64 = number.parse().ok()?;
        let unit = unit.to_ascii_lowercase();
        let seconds = match unit.as_str() {
            _ if !matches!(before.to_ascii_lowercase().as_str(), "in" | "after" | "for") => {
                return None;
            }
            u if u.starts_with("second") || u.starts_with("sec") => number,
            u if u.starts_with("minute") || u.starts_with("min") => number.checked_mul(60)?,
            u if u.starts_with("hour") => number.checked_mul(3600)?,
            _ => return None,
        };
        // A week: beyond any reminder's deadline, and far from overflowing anybody's arithmetic.
        Some(Duration::from_secs(seconds.min(604_800)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row of the table of replies, by the words of the table.
    fn outcome_of(class: &str, code: String) -> Outcome {
        let not = |class| Outcome::NotAccepted {
            class,
            code: code.clone(),
            retry_after: None,
        };
        let refused = |class| Outcome::Refused {
            class,
            code: code.clone(),
        };
        match class {
            "transient" => not(Obstacle::Transient),
            "slow" => not(Obstacle::Slow),
            "throttled" => not(Obstacle::Throttled),
            "recipient_soft" => not(Obstacle::RecipientSoft),
            "config" => not(Obstacle::Config),
            "quota" => not(Obstacle::Quota),
            "bad_recipient" => refused(Refusal::BadRecipient),
            "policy" => refused(Refusal::Policy),
            "other" => refused(Refusal::Other),
            "unknown" => Outcome::Unknown { code },
            other => panic!("no class {other}"),
        }
    }

    fn phase_of(name: &str) -> Phase {
        match name {
            "connect" => Phase::Connect,
            "greeting" => Phase::Greeting,
            "starttls" => Phase::StartTls,
            "auth" => Phase::Auth,
            "mail" => Phase::Mail,
            "rcpt" => Phase::Rcpt,
            "data" => Phase::Data,
            "final" => Phase::Final,
            other => panic!("no phase {other}"),
        }
    }

    fn fault_of(reply: &str) -> Fault {
        match reply {
            "(timed out)" => Fault::TimedOut,
            "(lost)" => Fault::Lost,
            "(tls)" => Fault::Tls,
            "(not offered)" => Fault::NotOffered,
            reply => {
                let (code, text) = reply.split_once(' ').unwrap();
                Fault::Reply(Reply::new(code.parse().unwrap(), text))
            }
        }
    }

    #[test]
    fn every_reply_of_the_table_is_understood_by_its_phase() {
        let table = include_str!("../../../tests/fixtures/channels/smtp-replies.tsv");
        let mut rows = 0;
        for row in table.lines().filter(|l| !l.starts_with('#')) {
            let [phase, reply, class] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("not three columns: {row}");
            };
            let (phase, fault) = (phase_of(phase), fault_of(reply));
            let expected = outcome_of(class, code(phase, &fault));
            assert_eq!(classify(phase, &fault), expected, "{row}");
            rows += 1;
        }
        assert_eq!(rows, 54);
    }

    #[test]
    fn a_code_never_carries_the_text() {
        let reply = Reply::new(550, "5.1.1 <dana@customer.example>: unknown");
        assert_eq!(code(Phase::Rcpt, &Fault::Reply(reply)), "rcpt 550 5.1.1");
    }

    #[test]
    fn a_wait_in_the_text_is_kept() {
        for (text, seconds) in [
            ("Greylisted, try again in 5 minutes", Some(300)),
            ("come back after 90 seconds.", Some(90)),
            ("wait for 99999999999999999 hours", None),
            ("in 2 mailboxes", None),
            ("see 5 minutes", None),
        ] {
            assert_eq!(
                retry_after(text),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_text() {
        assert_eq!(Reply::new(550, "4.2.2 odd").enhanced, None);
        assert_eq!(Reply::new(550, "5.1.1.1 odd").enhanced, None);
        assert_eq!(Reply::new(550, "").enhanced, None);
    }
}
