//! What an SMTP server's answer means, by the step it answers.
//!
//! The step comes first: before the final dot nothing has been sent, whatever happened, and a 550 to AUTH or MAIL is our own mistake.
//! Then enhanced codes that leave no doubt, then the words, then what a code usually means. Only what names an unknown or disabled
//! mailbox, or a domain that takes no mail, makes an address bad, and only where nothing beside it speaks of us or of now (`doubt`).
//! A bare 550 does not, since servers say it to relaying, to used-up allowances and to senders on block lists, too. Nothing that
//! depends on one recipient or one text may come out as [`Obstacle::Config`]: that opens a circuit and would hold up everyone else.

use super::doubt;
use super::reply::{Names, Reply};
use super::wait::retry_after;
use super::words::{Finding, names_unknown_mailbox, says_any};
use crate::channel::codes::Class;
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
    /// The connection could not be made, or broke.
    Lost,
    /// What came was no reply, or not one to what was asked: the two sides are out of step.
    Unreadable,
    /// TLS could not be agreed: certificate, name or protocol.
    Tls,
    /// The server does not offer what we must have (STARTTLS, a way to log in).
    NotOffered,
}

/// What follows when `phase` ended with `fault`.
pub fn classify(phase: Phase, fault: &Fault) -> Outcome {
    let code = code(phase, fault);
    match fault {
        Fault::Reply(reply) => class(phase, reply).outcome(code, retry_after(&reply.text)),
        Fault::Tls | Fault::NotOffered => Class::Not(Obstacle::Config).outcome(code, None),
        Fault::TimedOut | Fault::Lost | Fault::Unreadable if phase == Phase::Final => {
            Outcome::Unknown { code }
        }
        Fault::TimedOut | Fault::Lost | Fault::Unreadable => {
            Class::Not(Obstacle::Transient).outcome(code, None)
        }
    }
}

/// The failure in a few words without anything personal in it, such as `rcpt 550 5.1.1`, or `rcpt 550 relay` where the words said more
/// than the codes.
pub fn code(phase: Phase, fault: &Fault) -> String {
    let step = phase.as_str();
    match fault {
        Fault::Reply(reply) => {
            let mut code = format!("{step} {}", reply.code);
            if let Some(enhanced) = reply.enhanced {
                code = format!("{code} {enhanced}");
            }
            match said(phase, reply) {
                Some(finding) => format!("{code} {}", finding.as_str()),
                None => code,
            }
        }
        Fault::TimedOut => format!("{step} timed out"),
        Fault::Lost => format!("{step} connection lost"),
        Fault::Unreadable => format!("{step} unreadable reply"),
        Fault::Tls => format!("{step} tls failed"),
        Fault::NotOffered => format!("{step} not offered"),
    }
}

/// Details of the subjects 1 to 7 that leave no doubt, whatever the words: from, to (included), and what they are about.
/// IANA's registry of enhanced codes, and what Microsoft and Google publish of theirs.
#[rustfmt::skip]
const CERTAIN: &[(u16, u16, u16, Finding)] = &[
    // Exchange Online's daily allowance of recipients.
    (1, 90, 90, Finding::Quota),
    // RFC 3463: the sender's address and its system.
    (1, 7, 8, Finding::Sender),
    // Too big, for the server or for this recipient, whoever the sender is.
    (2, 3, 3, Finding::Unclear), (3, 4, 4, Finding::Unclear),
    // Exchange: the mailbox gets more an hour than it takes.
    (2, 121, 122, Finding::MailboxBusy),
    // RFC 7372 (7.20 to 7.26), Google's 7.27, 7.29, 7.30, 7.32 and 7.40, Microsoft's 7.509 and 7.515.
    (7, 20, 27, Finding::DomainChecks), (7, 29, 32, Finding::DomainChecks), (7, 40, 40, Finding::DomainChecks),
    (7, 509, 509, Finding::DomainChecks), (7, 515, 515, Finding::DomainChecks),
    // Exchange: groups and mailboxes that do not take mail from everybody; organisations that have blocked us.
    (7, 12, 12, Finding::Restricted), (7, 17, 19, Finding::Restricted), (7, 703, 703, Finding::Restricted), (7, 120, 136, Finding::Restricted), (7, 504, 505, Finding::Restricted),
    (7, 507, 507, Finding::Restricted), (7, 513, 513, Finding::Restricted),
    // Exchange: relaying, logging in, sending as somebody else.
    (7, 54, 54, Finding::Relay), (7, 64, 64, Finding::Relay), (7, 51, 51, Finding::Relay),
    (7, 57, 57, Finding::Login), (7, 139, 139, Finding::Login), (7, 60, 60, Finding::Sender), (7, 750, 750, Finding::Sender),
    // Exchange Online: banned senders and hosts, tenants past their threshold.
    (7, 501, 503, Finding::BlockList), (7, 508, 508, Finding::BlockList), (7, 511, 511, Finding::BlockList), (7, 606, 649, Finding::BlockList),
    (7, 230, 239, Finding::Quota), (7, 700, 707, Finding::Quota), (7, 708, 749, Finding::BlockList),
    // RFC 7372: mail flood detected; Google's for the host's rate.
    (7, 28, 28, Finding::BlockList),
    // RFC 3463: the message's content.
    (6, 0, 999, Finding::Unclear),
];

/// What a code usually means, if the words do not say otherwise.
#[rustfmt::skip]
const USUAL: &[(u16, u16, u16, Finding)] = &[
    (1, 1, 1, Finding::UnknownMailbox), (1, 6, 6, Finding::UnknownMailbox),
    // A domain that does not exist, an address that cannot be one, a null MX (RFC 7505; Exchange: no such recipient).
    (1, 2, 3, Finding::UnknownDomain), (1, 10, 10, Finding::UnknownDomain),
    (2, 1, 1, Finding::UnknownMailbox), (2, 2, 2, Finding::MailboxFull),
    // 5.7.x: somebody's policy. At RCPT that is one recipient's until another one meets it, too.
    (7, 0, 999, Finding::Restricted),
];

fn of_code(table: &[(u16, u16, u16, Finding)], reply: &Reply) -> Option<Finding> {
    let (subject, detail) = reply.subject();
    let row = table.iter().find(|(s, from, to, _)| {
        reply.enhanced.is_some() && *s == subject && (*from..=*to).contains(&detail)
    });
    row.map(|(.., finding)| *finding)
}

/// What the codes alone say. 556 is RFC 7504's for a domain that takes no mail, and 521 its code for a host that takes none, for
/// reasons of its own. A number among the words proves no mailbox.
fn usual(reply: &Reply) -> Option<Finding> {
    match reply.code {
        521 => return None,
        _ if is_login(reply) => return Some(Finding::Login),
        556 => return Some(Finding::UnknownDomain),
        552 if reply.enhanced.is_none() => return Some(Finding::MailboxFull),
        _ => {}
    }
    of_code(USUAL, reply).filter(|found| !reply.in_passing || !is_bad(*found))
}

/// Codes of RFC 4954 and RFC 5248, about logging in wherever they come: whoever is unknown or disabled then, it is we.
fn is_login(reply: &Reply) -> bool {
    matches!(reply.code, 525 | 530 | 534 | 535 | 538) || matches!(reply.subject(), (7, 8 | 13))
}

fn is_bad(found: Finding) -> bool {
    matches!(found, Finding::UnknownMailbox | Finding::UnknownDomain)
}

/// What a permanent refusal is about.
fn about(reply: &Reply) -> Option<Finding> {
    let code = of_code(USUAL, reply);
    let words = reply.finding.filter(|found| !is_vague(*found, reply));
    if is_login(reply) && !matches!(words, Some(Finding::Quota | Finding::Restricted)) {
        let is_torn = code.is_some_and(is_bad);
        return Some(if is_torn {
            Finding::Unclear
        } else {
            Finding::Login
        });
    }
    let certain = of_code(CERTAIN, reply);
    if certain == Some(Finding::Sender) && speaks_of_recipient(reply) {
        return Some(Finding::Unclear);
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
        && !matches!(reply.names, Names::Sender | Names::SenderDomain)
}

/// Whether the words say less than a code that names the mailbox: "policy", "spam"; or a hint at a block list or at us behind the very
/// words that name it ("User unknown. Senders on block lists see …").
fn is_vague(found: Finding, reply: &Reply) -> bool {
    let bad = usual(reply).is_some_and(is_bad);
    match found {
        Finding::Policy | Finding::Content => matches!(reply.subject(), (1 | 2, _)),
        Finding::BlockList | Finding::DomainChecks => bad && names_unknown_mailbox(&reply.text),
        // A domain's quota is an allowance, unless the code speaks of a full mailbox.
        Finding::Quota => reply.subject() == (2, 2) && says_any(&reply.text, &["domain quota"]),
        Finding::Sender | Finding::Account | Finding::Login => {
            bad && doubt::is_an_aside(&reply.text)
        }
        _ => false,
    }
}

/// What only the words said, and led to the verdict.
fn said(phase: Phase, reply: &Reply) -> Option<Finding> {
    if !matches!(
        phase,
        Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Final
    ) {
        return None;
    }
    if !reply.is_permanent() {
        let quota = of_code(CERTAIN, reply).is_none() && is_quota(reply);
        return quota.then_some(Finding::Quota);
    }
    let codes = of_code(CERTAIN, reply).or_else(|| usual(reply));
    about(reply)
        .filter(|found| Some(*found) != codes && !(is_bad(*found) && codes.is_some_and(is_bad)))
}

fn class(phase: Phase, reply: &Reply) -> Class {
    if !reply.is_permanent() {
        return Class::Not(temporary(phase, reply));
    }
    if is_rate(reply) {
        return Class::Not(Obstacle::Throttled);
    }
    let about = about(reply);
    match phase {
        Phase::Rcpt | Phase::Data | Phase::Final => refusal(phase, reply, about),
        _ if about == Some(Finding::Quota) => Class::Not(Obstacle::Quota),
        // Too big for this server: a matter of one text.
        Phase::Mail if is_too_big(reply) => Class::Refused(Refusal::Other),
        _ => Class::Not(Obstacle::Config),
    }
}

/// A permanent reply to RCPT, to DATA (by servers that only say there that nobody is left to deliver to), or to the final dot.
fn refusal(phase: Phase, reply: &Reply, about: Option<Finding>) -> Class {
    let Some(about) = about else {
        let is_policy = phase == Phase::Final && reply.code == 554 && reply.enhanced.is_none();
        return Class::Refused(if is_policy {
            Refusal::Policy
        } else {
            Refusal::Other
        });
    };
    match about {
        Finding::Quota => Class::Not(Obstacle::Quota),
        Finding::Relay
        | Finding::Login
        | Finding::Sender
        | Finding::Account
        | Finding::DomainChecks
        | Finding::BlockList => Class::Not(Obstacle::Config),
        // Of the whole message a server that says 552 means its size.
        Finding::MailboxFull if phase == Phase::Final && is_too_big(reply) => {
            Class::Refused(Refusal::Other)
        }
        Finding::UnknownMailbox | Finding::UnknownDomain => Class::Refused(Refusal::BadRecipient),
        Finding::MailboxFull | Finding::MailboxBusy | Finding::NotNow => {
            Class::Not(Obstacle::RecipientSoft)
        }
        Finding::Restricted | Finding::Policy if phase != Phase::Final => {
            Class::Not(Obstacle::RecipientPolicy)
        }
        Finding::Restricted | Finding::Policy | Finding::Content => Class::Refused(Refusal::Policy),
        Finding::Unclear => Class::Refused(Refusal::Other),
    }
}

fn is_too_big(reply: &Reply) -> bool {
    matches!(reply.subject(), (3, 4) | (2, 3)) || reply.code == 552 && reply.enhanced.is_none()
}

/// Quotas come as 4xx and as 5xx, and clear by themselves.
fn is_quota(reply: &Reply) -> bool {
    let words = reply.finding.filter(|found| !is_vague(*found, reply));
    of_code(CERTAIN, reply).or(words) == Some(Finding::Quota)
}

/// A rate that is said to be exceeded for good passes like any other, if nothing else is said.
fn is_rate(reply: &Reply) -> bool {
    let found = of_code(CERTAIN, reply).or(reply.finding);
    matches!(found, None | Some(Finding::Policy)) && says_any(&reply.text, SLOW_DOWN)
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
fn temporary(phase: Phase, reply: &Reply) -> Obstacle {
    let recipient = matches!(phase, Phase::Rcpt | Phase::Data | Phase::Final);
    // Gmail delays mail that fails its checks before it refuses it. A 4.7.24 is a failed look-up (RFC 7372): that passes.
    let checks =
        of_code(CERTAIN, reply) == Some(Finding::DomainChecks) && reply.subject() != (7, 24);
    if checks {
        return Obstacle::Config;
    }
    if is_quota(reply) {
        return Obstacle::Quota;
    }
    // The rate at which one recipient is written to is no complaint about ours.
    let busy = reply.finding == Some(Finding::MailboxBusy);
    let slow_down = !busy && says_any(&reply.text, SLOW_DOWN);
    match reply.subject() {
        (2, 2) if recipient => Obstacle::RecipientSoft,
        (7, 28) => Obstacle::Throttled,
        // "Too many recipients" is no complaint about our speed.
        (5, 3) if !slow_down => Obstacle::Transient,
        _ if reply.code == 432 || slow_down => Obstacle::Throttled,
        _ if recipient && reply.finding == Some(Finding::MailboxFull) => Obstacle::RecipientSoft,
        // Greylisting, and mailboxes that are receiving too quickly.
        _ if phase == Phase::Rcpt && matches!(reply.code, 450 | 451) => Obstacle::Slow,
        _ if recipient && busy => Obstacle::RecipientSoft,
        _ => Obstacle::Transient,
    }
}

#[cfg(test)]
mod tests;
