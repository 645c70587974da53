//! What an SMTP server's answer means, by the step it answers.
//!
//! The step comes first: before the final dot nothing has been sent, whatever happened, and a 550 to AUTH or MAIL is our own mistake.
//! Then enhanced codes that leave no doubt, then the words, then what a code usually means. Only what names an unknown or disabled
//! mailbox, or a domain that takes no mail, makes an address bad, and only where nothing beside it speaks of us or of now (`doubt`).
//! A bare 550 does not, since servers say it to relaying, to used-up allowances and to senders on block lists, too. Nothing that
//! depends on one recipient or one text may come out as [`Retryable::Config`]: that opens a circuit and would hold up everyone else.

use super::doubt;
use super::oauth::TokenFault;
use super::reply::{QuotedParty, Reply};
use super::wait::retry_after;
use super::words::{RefusalTopic, names_unknown_mailbox, says_any};
use crate::channel::codes::Class;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

/// The steps of handing over one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpPhase {
    /// Name look-up and TCP, up to the server's greeting.
    Connect,
    /// The greeting and EHLO.
    Greeting,
    StartTls,
    /// A token is asked for, before the server is.
    Token,
    Auth,
    /// AUTH with a token in place of a password.
    AuthToken,
    /// RSET between two messages of one connection.
    Reset,
    Mail,
    Rcpt,
    Data,
    /// The message itself, from its first byte to the reply to the final dot.
    Final,
}

impl SmtpPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::StartTls => "starttls",
            Self::Token => "token",
            Self::Auth => "auth",
            Self::AuthToken => "xoauth2",
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
pub enum StepFault {
    /// The server said so.
    Reply(Reply),
    /// No answer in the time allowed.
    TimedOut,
    /// The connection could not be made, or broke.
    Lost,
    /// What came was no reply, or not one to what was asked: the two sides are out of step.
    Unreadable,
    /// TLS could not be agreed: certificate, name or protocol.
    Tls,
    /// The server does not offer what we must have (STARTTLS, a way to log in).
    NotOffered,
    /// There is no token to log in with.
    NoToken(TokenFault),
}

/// What follows when `phase` ended with `fault`.
pub fn classify(phase: SmtpPhase, fault: &StepFault) -> Outcome {
    let code = code(phase, fault);
    match fault {
        StepFault::Reply(reply) => class(phase, reply).outcome(code, retry_after(&reply.text)),
        StepFault::NoToken(fault) => Class::Not(fault.class()).outcome(code, fault.retry_after()),
        StepFault::Tls | StepFault::NotOffered => Class::Not(Retryable::Config).outcome(code, None),
        StepFault::TimedOut | StepFault::Lost | StepFault::Unreadable
            if phase == SmtpPhase::Final =>
        {
            Outcome::Unknown { code }
        }
        StepFault::TimedOut | StepFault::Lost | StepFault::Unreadable => {
            Class::Not(Retryable::Transient).outcome(code, None)
        }
    }
}

/// The failure in a few words without anything personal in it, such as `rcpt 550 5.1.1`, or `rcpt 550 relay` where the words said more
/// than the codes.
pub fn code(phase: SmtpPhase, fault: &StepFault) -> String {
    let step = phase.as_str();
    match fault {
        StepFault::Reply(reply) => {
            let mut code = format!("{step} {}", reply.code);
            if let Some(enhanced) = reply.enhanced {
                code = format!("{code} {enhanced}");
            }
            match said(phase, reply) {
                Some(finding) => format!("{code} {}", finding.as_str()),
                None => code,
            }
        }
        StepFault::TimedOut => format!("{step} timed out"),
        StepFault::Lost => format!("{step} connection lost"),
        StepFault::Unreadable => format!("{step} unreadable reply"),
        StepFault::Tls => format!("{step} tls failed"),
        StepFault::NotOffered => format!("{step} not offered"),
        StepFault::NoToken(fault) => format!("{step} {}", fault.code()),
    }
}

/// Details of the subjects 1 to 7 that leave no doubt, whatever the words: from, to (included), and what they are about.
/// IANA's registry of enhanced codes, and what Microsoft and Google publish of theirs.
#[rustfmt::skip]
const CERTAIN: &[(u16, u16, u16, RefusalTopic)] = &[
    // Exchange Online's daily allowance of recipients.
    (1, 90, 90, RefusalTopic::Quota),
    // RFC 3463: the sender's address and its system.
    (1, 7, 8, RefusalTopic::Sender),
    // Too big, for the server or for this recipient, whoever the sender is.
    (2, 3, 3, RefusalTopic::Unclear), (3, 4, 4, RefusalTopic::Unclear),
    // Exchange: the mailbox gets more an hour than it takes.
    (2, 121, 122, RefusalTopic::MailboxBusy),
    // RFC 7372 (7.20 to 7.26), Google's 7.27, 7.29, 7.30, 7.32 and 7.40, Microsoft's 7.509 and 7.515.
    (7, 20, 27, RefusalTopic::DomainChecks), (7, 29, 32, RefusalTopic::DomainChecks), (7, 40, 40, RefusalTopic::DomainChecks),
    (7, 509, 509, RefusalTopic::DomainChecks), (7, 515, 515, RefusalTopic::DomainChecks),
    // Exchange: groups and mailboxes that do not take mail from everybody; organisations that have blocked us.
    (7, 12, 12, RefusalTopic::Restricted), (7, 17, 19, RefusalTopic::Restricted), (7, 703, 703, RefusalTopic::Restricted), (7, 120, 136, RefusalTopic::Restricted), (7, 504, 505, RefusalTopic::Restricted),
    (7, 507, 507, RefusalTopic::Restricted), (7, 513, 513, RefusalTopic::Restricted),
    // Exchange: relaying, logging in, sending as somebody else.
    (7, 54, 54, RefusalTopic::Relay), (7, 64, 64, RefusalTopic::Relay), (7, 51, 51, RefusalTopic::Relay),
    (7, 57, 57, RefusalTopic::Login), (7, 139, 139, RefusalTopic::Login), (7, 60, 60, RefusalTopic::Sender), (7, 750, 750, RefusalTopic::Sender),
    // Exchange Online: banned senders and hosts, tenants past their threshold.
    (7, 501, 503, RefusalTopic::BlockList), (7, 508, 508, RefusalTopic::BlockList), (7, 511, 511, RefusalTopic::BlockList), (7, 606, 649, RefusalTopic::BlockList),
    (7, 230, 239, RefusalTopic::Quota), (7, 700, 707, RefusalTopic::Quota), (7, 708, 749, RefusalTopic::BlockList),
    // RFC 7372: mail flood detected; Google's for the host's rate.
    (7, 28, 28, RefusalTopic::BlockList),
    // RFC 3463: the message's content.
    (6, 0, 999, RefusalTopic::Unclear),
];

/// What a code usually means, if the words do not say otherwise.
#[rustfmt::skip]
const USUAL: &[(u16, u16, u16, RefusalTopic)] = &[
    (1, 1, 1, RefusalTopic::UnknownMailbox), (1, 6, 6, RefusalTopic::UnknownMailbox),
    // A domain that does not exist, an address that cannot be one, a null MX (RFC 7505; Exchange: no such recipient).
    (1, 2, 3, RefusalTopic::UnknownDomain), (1, 10, 10, RefusalTopic::UnknownDomain),
    (2, 1, 1, RefusalTopic::UnknownMailbox), (2, 2, 2, RefusalTopic::MailboxFull),
    // 5.7.x: somebody's policy. At RCPT that is one recipient's until another one meets it, too.
    (7, 0, 999, RefusalTopic::Restricted),
];

fn of_code(table: &[(u16, u16, u16, RefusalTopic)], reply: &Reply) -> Option<RefusalTopic> {
    let (subject, detail) = reply.subject();
    let row = table.iter().find(|(s, from, to, _)| {
        reply.enhanced.is_some() && *s == subject && (*from..=*to).contains(&detail)
    });
    row.map(|(.., finding)| *finding)
}

/// What the codes alone say. 556 is RFC 7504's for a domain that takes no mail, and 521 its code for a host that takes none, for
/// reasons of its own. A number among the words proves no mailbox.
fn usual(reply: &Reply) -> Option<RefusalTopic> {
    match reply.code {
        521 => return None,
        _ if is_login(reply) => return Some(RefusalTopic::Login),
        556 => return Some(RefusalTopic::UnknownDomain),
        552 if reply.enhanced.is_none() => return Some(RefusalTopic::MailboxFull),
        _ => {}
    }
    of_code(USUAL, reply).filter(|found| !reply.in_passing || !is_bad(*found))
}

/// Codes of RFC 4954 and RFC 5248, about logging in wherever they come: whoever is unknown or disabled then, it is we.
fn is_login(reply: &Reply) -> bool {
    matches!(reply.code, 525 | 530 | 534 | 535 | 538) || matches!(reply.subject(), (7, 8 | 13))
}

fn is_bad(found: RefusalTopic) -> bool {
    matches!(
        found,
        RefusalTopic::UnknownMailbox | RefusalTopic::UnknownDomain
    )
}

/// What a permanent refusal is about.
fn about(reply: &Reply) -> Option<RefusalTopic> {
    let code = of_code(USUAL, reply);
    let words = reply.finding.filter(|found| !is_vague(*found, reply));
    if is_login(reply) && !matches!(words, Some(RefusalTopic::Quota | RefusalTopic::Restricted)) {
        let is_torn = code.is_some_and(is_bad);
        return Some(if is_torn {
            RefusalTopic::Unclear
        } else {
            RefusalTopic::Login
        });
    }
    let certain = of_code(CERTAIN, reply);
    if certain == Some(RefusalTopic::Sender) && speaks_of_recipient(reply) {
        return Some(RefusalTopic::Unclear);
    }
    let found = certain.or(words).or_else(|| usual(reply))?;
    if !is_bad(found) {
        return Some(found);
    }
    let is_coded = usual(reply).is_some_and(is_bad);
    Some(doubt::instead(found, reply, is_coded).unwrap_or(found))
}

/// Whether a code for senders stands beside words for a recipient and none for us.
fn speaks_of_recipient(reply: &Reply) -> bool {
    reply.finding.is_some_and(is_bad)
        && says_any(&reply.text, &["recipient", "recipient s", "rcpt"])
        && !matches!(reply.names, QuotedParty::Sender | QuotedParty::SenderDomain)
}

/// Whether the words say less than a code that names the mailbox: "policy", "spam"; or a hint at a block list or at us behind the very
/// words that name it ("User unknown. Senders on block lists see …").
fn is_vague(found: RefusalTopic, reply: &Reply) -> bool {
    let bad = usual(reply).is_some_and(is_bad);
    match found {
        RefusalTopic::Policy | RefusalTopic::Content => matches!(reply.subject(), (1 | 2, _)),
        RefusalTopic::BlockList | RefusalTopic::DomainChecks => {
            bad && names_unknown_mailbox(&reply.text)
        }
        // A domain's quota is an allowance, unless the code speaks of a full mailbox.
        RefusalTopic::Quota => {
            reply.subject() == (2, 2) && says_any(&reply.text, &["domain quota"])
        }
        RefusalTopic::Sender | RefusalTopic::Account | RefusalTopic::Login => {
            bad && doubt::is_an_aside(&reply.text)
        }
        _ => false,
    }
}

/// What only the words said, and led to the verdict.
fn said(phase: SmtpPhase, reply: &Reply) -> Option<RefusalTopic> {
    if !matches!(
        phase,
        SmtpPhase::Mail | SmtpPhase::Rcpt | SmtpPhase::Data | SmtpPhase::Final
    ) {
        return None;
    }
    if !reply.is_permanent() {
        let quota = of_code(CERTAIN, reply).is_none() && is_quota(reply);
        return quota.then_some(RefusalTopic::Quota);
    }
    let codes = of_code(CERTAIN, reply).or_else(|| usual(reply));
    about(reply)
        .filter(|found| Some(*found) != codes && !(is_bad(*found) && codes.is_some_and(is_bad)))
}

fn class(phase: SmtpPhase, reply: &Reply) -> Class {
    if !reply.is_permanent() {
        return Class::Not(temporary(phase, reply));
    }
    if is_rate(reply) {
        return Class::Not(Retryable::Throttled);
    }
    let about = about(reply);
    match phase {
        SmtpPhase::Rcpt | SmtpPhase::Data | SmtpPhase::Final => refusal(phase, reply, about),
        _ if about == Some(RefusalTopic::Quota) => Class::Not(Retryable::Quota),
        // Too big for this server: a matter of one text.
        SmtpPhase::Mail if is_too_big(reply) => Class::Refused(Refusal::Other),
        _ => Class::Not(Retryable::Config),
    }
}

/// A permanent reply to RCPT, to DATA (by servers that only say there that nobody is left to deliver to), or to the final dot.
fn refusal(phase: SmtpPhase, reply: &Reply, about: Option<RefusalTopic>) -> Class {
    let Some(about) = about else {
        let is_policy = phase == SmtpPhase::Final && reply.code == 554 && reply.enhanced.is_none();
        return Class::Refused(if is_policy {
            Refusal::Policy
        } else {
            Refusal::Other
        });
    };
    match about {
        RefusalTopic::Quota => Class::Not(Retryable::Quota),
        RefusalTopic::Relay
        | RefusalTopic::Login
        | RefusalTopic::Sender
        | RefusalTopic::Account
        | RefusalTopic::DomainChecks
        | RefusalTopic::BlockList => Class::Not(Retryable::Config),
        // Of the whole message a server that says 552 means its size.
        RefusalTopic::MailboxFull if phase == SmtpPhase::Final && is_too_big(reply) => {
            Class::Refused(Refusal::Other)
        }
        RefusalTopic::UnknownMailbox | RefusalTopic::UnknownDomain => {
            Class::Refused(Refusal::BadRecipient)
        }
        RefusalTopic::MailboxFull | RefusalTopic::MailboxBusy | RefusalTopic::NotNow => {
            Class::Not(Retryable::RecipientSoft)
        }
        RefusalTopic::Restricted | RefusalTopic::Policy if phase != SmtpPhase::Final => {
            Class::Not(Retryable::RecipientPolicy)
        }
        RefusalTopic::Restricted | RefusalTopic::Policy | RefusalTopic::Content => {
            Class::Refused(Refusal::Policy)
        }
        RefusalTopic::Unclear => Class::Refused(Refusal::Other),
    }
}

fn is_too_big(reply: &Reply) -> bool {
    matches!(reply.subject(), (3, 4) | (2, 3)) || reply.code == 552 && reply.enhanced.is_none()
}

/// Quotas come as 4xx and as 5xx, and clear by themselves.
fn is_quota(reply: &Reply) -> bool {
    let words = reply.finding.filter(|found| !is_vague(*found, reply));
    of_code(CERTAIN, reply).or(words) == Some(RefusalTopic::Quota)
}

/// A rate that is said to be exceeded for good passes like any other, if nothing else is said.
fn is_rate(reply: &Reply) -> bool {
    let found = of_code(CERTAIN, reply).or(reply.finding);
    matches!(found, None | Some(RefusalTopic::Policy)) && says_any(&reply.text, SLOW_DOWN)
}

/// "Slow down", in the words of servers that mean all of us.
const SLOW_DOWN: &[&str] = &[
    "too many connections",
    "too many concurrent",
    "too many sessions",
    "too many messages",
    "too many emails",
    "too many mails",
    "too many login attempts",
    "too many requests",
    "too many * connections",
    "too many * from",
    "too much mail from",
    "submission rate",
    "too many * this hour",
    "too many errors",
    "too many bad",
    "throttling",
    "throttled",
    "rate limit",
    "rate limited",
    "rate limiting",
    "ratelimit",
    "ratelimited",
    "rate exceeded",
    "sending rate",
    "slow down",
    "unusual rate",
    "concurrent connections",
    "connection limit",
    "connections exceeded",
    "connections limit",
    "thread limit",
];

/// A temporary reply: 4xx, or what a server that is out of practice means by it.
fn temporary(phase: SmtpPhase, reply: &Reply) -> Retryable {
    let recipient = matches!(phase, SmtpPhase::Rcpt | SmtpPhase::Data | SmtpPhase::Final);
    // Gmail delays mail that fails its checks before it refuses it. A 4.7.24 is a failed look-up (RFC 7372): that passes.
    let checks =
        of_code(CERTAIN, reply) == Some(RefusalTopic::DomainChecks) && reply.subject() != (7, 24);
    if checks {
        return Retryable::Config;
    }
    if is_quota(reply) {
        return Retryable::Quota;
    }
    // The rate at which one recipient is written to is no complaint about ours.
    let busy = reply.finding == Some(RefusalTopic::MailboxBusy);
    let slow_down = !busy && says_any(&reply.text, SLOW_DOWN);
    match reply.subject() {
        (2, 2) if recipient => Retryable::RecipientSoft,
        (7, 28) => Retryable::Throttled,
        // "Too many recipients" is no complaint about our speed.
        (5, 3) if !slow_down => Retryable::Transient,
        _ if reply.code == 432 || slow_down => Retryable::Throttled,
        _ if recipient && reply.finding == Some(RefusalTopic::MailboxFull) => {
            Retryable::RecipientSoft
        }
        // Greylisting, and mailboxes that are receiving too quickly.
        _ if phase == SmtpPhase::Rcpt && matches!(reply.code, 450 | 451) => Retryable::Slow,
        _ if recipient && busy => Retryable::RecipientSoft,
        _ => Retryable::Transient,
    }
}

#[cfg(test)]
mod tests;
