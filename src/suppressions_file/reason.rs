//! Why an address is on a provider's list, as mail servers' replies tell it.

use crate::domain::contact::Suppression;

/// Why a row suppresses nobody, although it was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// An ordinary message, a subscriber, a person who has not said no.
    NotAnOptOut,
    /// A failure that passes: a full mailbox, a server that was away.
    Temporary,
    /// A refusal of the sender or of the content, which says nothing of the mailbox.
    AboutTheSender,
    /// The address is empty, or a placeholder such as "N/A".
    NoAddress,
    /// It was in force until a moment that has passed.
    Expired,
}

impl Skip {
    pub const ALL: [Self; 5] = [
        Self::NotAnOptOut,
        Self::Temporary,
        Self::AboutTheSender,
        Self::NoAddress,
        Self::Expired,
    ];

    /// The word in the API and the audit trail.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAnOptOut => "not_an_opt_out",
            Self::Temporary => "temporary_failure",
            Self::AboutTheSender => "about_the_sender",
            Self::NoAddress => "no_address",
            Self::Expired => "expired",
        }
    }

    /// For people, after a number: "12 …".
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAnOptOut => "that are no opt-outs",
            Self::Temporary => "about failures that pass",
            Self::AboutTheSender => "refused because of the sender or the content",
            Self::NoAddress => "without an address",
            Self::Expired => "no longer in force",
        }
    }
}

/// What a list says of an address.
pub type Verdict = Result<Suppression, Skip>;

/// What a reason in somebody's own words says, if it is a mail server's reply or sounds like one.
pub fn of_text(text: &str) -> Option<Verdict> {
    let is_reply = text.get(..3).is_some_and(|code| {
        code.bytes().all(|b| b.is_ascii_digit()) && code.starts_with(['4', '5'])
    });
    let text_lower = text.to_lowercase();
    let names_a_fault = NO_MAILBOX.iter().any(|phrase| text_lower.contains(phrase));
    (is_reply || names_a_fault).then(|| of_replies(&[text]))
}

/// What replies say of a mailbox that does not exist, whatever their code.
const NO_MAILBOX: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "unknown recipient",
    "recipient unknown",
    "mailbox unavailable",
    "mailbox not found",
    "mailbox disabled",
    "does not exist",
    "doesn't exist",
    "invalid recipient",
    "invalid mailbox",
    "account disabled",
    "account is disabled",
    "address rejected: undeliverable",
    "no mailbox",
    "domain mentioned in email address is unknown",
    "domain not found",
    "rfc compliant",
];

/// What replies say of the sender or of the content.
const ABOUT_THE_SENDER: &[&str] = &[
    "spam",
    "blocked",
    "blacklist",
    "blocklist",
    "block list",
    "reputation",
    "policy",
    "content",
    "dmarc",
    "spf",
    "dkim",
    "relay",
    "rate limit",
    "too many",
    "authentication",
    "not authorized",
    "access denied",
    "virus",
    "message size",
    "too large",
];

/// A list of bounces has what mail servers answered: a status (`5.1.1`), a code (`550`), their text, in any of the cells. Only what
/// names an unknown or disabled mailbox, or a domain without mail, makes an address bad (RFC 3463: `X.1` addressing, `X.2.1`
/// mailbox disabled, `X.4.4` no route to the domain); the rest passes or is about the sender.
pub fn of_replies(cells: &[&str]) -> Verdict {
    let text = cells.join(" ").to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
    // The text knows best: the provider's own status is often the general one.
    let statuses = || {
        text.split(|c: char| !c.is_ascii_digit() && c != '.')
            .filter_map(status)
    };
    let mut specific = statuses().filter(|(_, subject, detail)| (*subject, *detail) != (0, 0));
    match specific.next_back() {
        Some((_, 7, _) | (_, 1, 7 | 8) | (_, 2, 3) | (_, 3, 4)) => {
            return Err(Skip::AboutTheSender);
        }
        Some((5, 1, _) | (5, 2, 1) | (5, 4, 4)) => return Ok(Suppression::BadAddress),
        Some((4, ..) | (_, 2..=4, _)) => return Err(Skip::Temporary),
        Some(_) => return Err(Skip::AboutTheSender),
        None => {}
    }
    if says(NO_MAILBOX) {
        return Ok(Suppression::BadAddress);
    }
    if says(ABOUT_THE_SENDER) {
        return Err(Skip::AboutTheSender);
    }
    if says(&[
        "full",
        "quota",
        "timed out",
        "timeout",
        "try again",
        "temporar",
        "greylist",
    ]) {
        return Err(Skip::Temporary);
    }
    let code = text
        .split(|c: char| !c.is_ascii_digit())
        .find(|word| word.len() == 3);
    let general = statuses().next().map(|(class, ..)| class);
    let class = code
        .and_then(|code| code.bytes().next())
        .map(|digit| digit - b'0')
        .or(general);
    if class == Some(4) {
        Err(Skip::Temporary)
    } else {
        // It is on a list of addresses that came back for good.
        Ok(Suppression::BadAddress)
    }
}

/// An enhanced status code: class, subject, detail.
fn status(word: &str) -> Option<(u8, u16, u16)> {
    let mut parts = word.trim_end_matches('.').split('.');
    let class = parts
        .next()?
        .parse()
        .ok()
        .filter(|class| matches!(class, 2 | 4 | 5))?;
    let mut number = || {
        let digits = parts
            .next()
            .filter(|digits| (1..=3).contains(&digits.len()))?;
        digits.parse().ok()
    };
    let code = (class, number()?, number()?);
    parts.next().is_none().then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Verdict = Ok(Suppression::BadAddress);

    /// Status and text as lists of bounces have them.
    #[test]
    fn only_an_unknown_or_disabled_mailbox_makes_an_address_bad() {
        for (cells, verdict) in [
            (
                [
                    "5.1.1",
                    "550 5.1.1 The email account that you tried to reach does not exist.",
                ],
                BAD,
            ),
            (
                [
                    "5.0.0",
                    "550 5.1.1 <a@example.com>: Recipient address rejected: User unknown",
                ],
                BAD,
            ), // the text is more specific
            (["5.0.0", "550 No such user here"], BAD),
            (
                [
                    "550",
                    "5.2.1 The email account that you tried to reach is disabled",
                ],
                BAD,
            ),
            (["5.1.2", "Host or domain name not found"], BAD),
            (["5.4.4", "unable to route: no mail hosts for domain"], BAD),
            (["5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound"], BAD),
            (["605", "Not delivering to previously bounced address"], BAD), // Mailgun
            (["", ""], BAD), // on the list of bounces, nothing else said
            (
                ["550", "550 Requested action not taken: mailbox unavailable"],
                BAD,
            ),
            (
                ["5.2.2", "552 5.2.2 The email account is over quota"],
                Err(Skip::Temporary),
            ),
            (["4.0.0", "Connection timed out"], Err(Skip::Temporary)),
            (
                ["4.2.1", "450 4.2.1 The user is receiving mail too quickly"],
                Err(Skip::Temporary),
            ),
            (["", "452 Mailbox full"], Err(Skip::Temporary)),
            (["421", ""], Err(Skip::Temporary)),
            (
                [
                    "5.7.1",
                    "550 5.7.1 Message rejected due to the reputation of the IP",
                ],
                Err(Skip::AboutTheSender),
            ),
            (
                [
                    "5.0.0",
                    "550 #5.7.1 Your access to submit messages has been rejected",
                ],
                Err(Skip::AboutTheSender),
            ),
            (
                [
                    "5.7.26",
                    "unauthenticated email from example.com is not accepted due to its DMARC policy",
                ],
                Err(Skip::AboutTheSender),
            ),
            (
                ["550", "Message contains spam or virus content"],
                Err(Skip::AboutTheSender),
            ),
            (
                ["554", "554 IP address is block listed"],
                Err(Skip::AboutTheSender),
            ),
            (
                ["5.1.8", "501 5.1.8 Sender domain not found"],
                Err(Skip::AboutTheSender),
            ),
            (["5.6.0", "message malformed"], Err(Skip::AboutTheSender)),
            (
                ["5.3.4", "message too big for system"],
                Err(Skip::AboutTheSender),
            ),
        ] {
            assert_eq!(of_replies(&cells), verdict, "{cells:?}");
        }
    }
}
