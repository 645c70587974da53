//! What the codes of e-mails mean, in words.
//!
//! A code is a step, a reply's number and its enhanced code if it had one; and a word where only the reply's text said what it is about:
//! `rcpt 550 5.1.1`, `rcpt 550 relay`, `final timed out`. Which class it is of has been decided from the whole reply (`classify`), of which
//! the code is all that is kept; the table is read from the top.

use super::words::RefusalTopic;
use crate::channel::codes::Explained;
use crate::domain::refusals::RUN;

/// A code, taken apart.
struct Code<'a> {
    whole: &'a str,
    step: &'a str,
    /// What comes behind the step.
    rest: &'a str,
    reply: &'a str,
    /// The enhanced code, if it has one.
    enhanced: &'a str,
    /// Subject and detail of it.
    detail: (u16, u16),
}

impl<'a> Code<'a> {
    fn of(whole: &'a str) -> Self {
        let (step, rest) = whole.split_once(' ').unwrap_or((whole, ""));
        let mut words = rest.split(' ');
        let reply = words.next().unwrap_or_default();
        let enhanced = words.next().unwrap_or_default();
        Self {
            whole,
            step,
            rest,
            reply,
            enhanced,
            detail: detail(enhanced).unwrap_or_default(),
        }
    }

    /// To one recipient: at a step at which others can still be served.
    fn is_of_one(&self) -> bool {
        matches!(self.step, "rcpt" | "data" | "final")
    }

    fn is_permanent(&self) -> bool {
        self.reply.starts_with('5')
    }

    fn is_temporary(&self) -> bool {
        self.reply.starts_with('4')
    }

    /// Microsoft's number.
    fn ends_in_number(&self, numbers: &[u32]) -> bool {
        self.enhanced
            .parse()
            .is_ok_and(|number| numbers.contains(&number))
    }

    fn ends_with(&self, found: RefusalTopic) -> bool {
        let before = self.whole.strip_suffix(found.as_str());
        before.is_some_and(|before| before.ends_with(' '))
    }
}

/// Subject and detail of an enhanced code.
fn detail(enhanced: &str) -> Option<(u16, u16)> {
    let (class, rest) = enhanced.split_once('.')?;
    let (subject, detail) = rest.split_once('.')?;
    matches!(class, "4" | "5").then_some(())?;
    Some((subject.parse().ok()?, detail.parse().ok()?))
}

struct SmtpCodeRow {
    is: fn(&Code<'_>) -> bool,
    said: Explained,
}

const fn row(
    is: fn(&Code<'_>) -> bool,
    sentence: &'static str,
    remedy: &'static str,
) -> SmtpCodeRow {
    SmtpCodeRow {
        is,
        said: Explained::new(sentence, remedy),
    }
}

/// Of one recipient, unless several meet it.
const fn of_one(is: fn(&Code<'_>) -> bool, sentence: &'static str) -> SmtpCodeRow {
    SmtpCodeRow {
        is,
        said: Explained {
            sentence,
            paused: "The mail server refuses our mail to one recipient after another.",
            remedy: "Check that it may be used for sending to others (login, allowed networks), its reputation, and what the code means at your \
                     provider.",
        },
    }
}

/// Code in words.
pub fn explain(code: &str) -> Explained {
    let code = Code::of(code);
    let row = CODES.iter().find(|row| (row.is)(&code));
    row.map_or(OTHER, |row| row.said)
}

const OTHER: Explained = Explained::new("The mail server does not accept our messages.", TRY);
const TRY: &str =
    "Check the mail settings (`unread doctor` tries them) or ask the mail provider about the code.";

#[rustfmt::skip]
const CODES: &[SmtpCodeRow] = &[
    row(|c| c.whole == RUN,
        "The mail server reports one address after another as unknown, at different domains. More likely it does not want our mail.",
        "Ask the mail provider whether the account may send to others. The addresses concerned can be written to again; a reminder that \
         gets through ends the pause."),
    // Reported after the mail was taken.
    row(|c| c.whole == "hard bounce",
        "The e-mail bounced: the address does not exist or does not accept mail.",
        "Nothing more is sent to it. Ask the customer for another address."),
    row(|c| c.whole == "soft bounce",
        "The e-mail bounced: the mailbox could not accept it, for example because it is full.",
        "The next reminder is tried anyway."),
    // A token to log in with.
    row(|c| c.step == "token" && c.ends_in_number(&[7_000_215, 7_000_216, 7_000_222]),
        "Microsoft does not accept the app's secret: it is wrong or has expired.",
        "Create a new client secret in the app registration in Entra, and set SMTP_OAUTH_CLIENT_SECRET to its value (not to its id)."),
    row(|c| c.step == "token" && c.ends_in_number(&[700_027, 700_023, 700_024, 700_021, 50_027]),
        "Microsoft does not accept the app's certificate: it is not the one in the app registration, or it has expired.",
        "Upload the certificate to the app registration in Entra, set SMTP_OAUTH_CERTIFICATE to it and its key, and check this machine's clock."),
    row(|c| c.step == "token" && c.ends_in_number(&[700_016, 90_002, 900_023, 90_023, 7_000_112]),
        "Microsoft does not know the app in this tenant.",
        "Register an app in Entra; set SMTP_OAUTH_CLIENT_ID to its application (client) id and SMTP_OAUTH_TENANT to the directory (tenant) id."),
    row(|c| c.step == "token" && c.ends_in_number(&[65_001, 7_000_229]),
        "The app has no permission to send mail in this tenant.",
        "In Entra, give it the application permission SMTP.SendAsApp of Office 365 Exchange Online, with an administrator's consent."),
    row(|c| c.step == "token" && matches!(c.reply, "unauthorized_client" | "access_denied"),
        "The service account, or the app, may not act for this mailbox.",
        "In Google's Admin console, delegate the scope https://mail.google.com/ to the service account's client id (domain-wide delegation); at Microsoft, check the app \
         registration."),
    row(|c| c.step == "token" && c.reply == "invalid_grant",
        "Google issues no token for this mailbox: it does not exist in the domain, the key was deleted, or this machine's clock is wrong.",
        "Check SMTP_USER, SMTP_OAUTH_GOOGLE_KEY and the clock."),
    row(|c| c.step == "token" && (matches!(c.rest, "timed out" | "connection lost") || c.reply == "http"),
        "We could not get a login token: the provider did not answer or has a problem.",
        "We will try again. Check that outgoing HTTPS connections to the token endpoint are allowed."),
    row(|c| c.step == "token" && matches!(c.rest, "redirect" | "no token" | "ended token" | "too much" | "no answer of a token endpoint"),
        "The answer from the token endpoint contains no usable token.",
        "Check SMTP_OAUTH_TOKEN_URL and SMTP_OAUTH_TENANT, and that no proxy answers instead of the provider."),
    row(|c| c.step == "token",
        "The provider refuses to issue us a login token.",
        "Check the SMTP_OAUTH_… settings; `unread doctor` tries them."),
    row(|c| c.step == "xoauth2" && c.reply == "not",
        "The mail server does not accept login tokens (XOAUTH2).",
        "Check SMTP_HOST and SMTP_PORT: Microsoft's is smtp.office365.com with 587, Google's smtp.gmail.com with 465."),
    row(|c| c.step == "xoauth2" && c.detail == (7, 139),
        "SMTP AUTH is turned off for the mailbox or the tenant.",
        "Turn it on: Set-CASMailbox -SmtpClientAuthenticationDisabled $false for the mailbox; `unread doctor` says which."),
    row(|c| c.step == "xoauth2" && c.is_permanent(),
        "The mail server does not let the token's owner into the mailbox.",
        "Check SMTP_USER, and what the app or service account may do; `unread doctor` walks through the steps."),
    // No answer, at whatever step.
    row(|c| c.step == "final" && (c.rest.starts_with("connection") || c.rest.starts_with("timed")),
        "The connection broke while the e-mail was being sent, so we do not know whether it went out.", TRY),
    row(|c| c.step == "final" && c.rest.starts_with("unreadable"),
        "The mail server's answer could not be read, so we do not know whether the e-mail went out.", TRY),
    row(|c| c.rest.starts_with("connection"), "The connection to the mail server broke.", TRY),
    row(|c| c.rest.starts_with("timed"), "The mail server did not answer in time.", TRY),
    row(|c| c.rest.starts_with("unreadable"), "The mail server gave an invalid answer.", TRY),
    // Before there is a message.
    row(|c| c.step == "auth" && c.reply == "not",
        "The mail server offers no login method that we support.",
        "Check SMTP_PORT and SMTP_TLS: most servers let clients log in on port 587 or 465 only."),
    row(|c| c.step == "auth",
        "The mail server refuses our user name or password.",
        "Check SMTP_USER and SMTP_PASS. Gmail requires an app password; Microsoft 365 may have password logins turned off."),
    row(|c| c.step == "starttls" && c.reply == "not",
        "The mail server offers no encryption on this port.",
        "Set SMTP_PORT and SMTP_TLS to what your provider names: 465 with implicit, or 587 with starttls."),
    row(|c| c.reply == "tls",
        "No trusted encrypted connection to the mail server can be made.",
        "Check SMTP_HOST against the name in the server's certificate, and SMTP_PORT with SMTP_TLS (465 implicit, 587 starttls)."),
    // About us, by a code that leaves no doubt or by the word at the code's end.
    row(|c| c.ends_with(RefusalTopic::Quota) || matches!(c.detail, (1, 90) | (7, 230..=239 | 700..=702 | 704..=707))
            || c.detail == (4, 5) && !c.is_temporary(),
        "The mail server's sending quota is used up.",
        "It clears by itself, usually within a day; ask the provider for a higher limit if this happens again."),
    row(|c| c.ends_with(RefusalTopic::DomainChecks)
            || matches!(c.detail, (7, 20..=27 | 29..=32 | 40 | 509 | 515)) && (c.step != "mail" || c.is_temporary())
                // A look-up that failed: that passes.
                && !(c.detail == (7, 24) && c.is_temporary()),
        "Mail from our domain fails the recipients' checks (SPF, DKIM, DMARC or reverse DNS).",
        "Have the domain's DNS records set up as your mail provider describes; `unread doctor` checks them. No address was blocked."),
    row(|c| c.ends_with(RefusalTopic::Relay),
        "The mail server does not relay mail for us.",
        "Set SMTP_USER and SMTP_PASS if it requires a login, or have this machine's address allowed; and check that SMTP_HOST is your own \
         provider's server."),
    row(|c| c.ends_with(RefusalTopic::Login),
        "The mail server requires a login.",
        "Set SMTP_USER and SMTP_PASS, with the port and encryption that your provider names."),
    row(|c| c.ends_with(RefusalTopic::Sender),
        "The mail server does not accept our sender address, or our account there.",
        "Check SMTP_FROM and the rule's own sender: the address must exist, its domain must be able to receive mail, and the account must be active and allowed to use it."),
    row(|c| c.ends_with(RefusalTopic::BlockList),
        "Our mail server's address is on a block list, or its reputation is bad.",
        "Ask the mail provider for another address or for its removal from the list; the server's own log names the list."),
    // About one recipient.
    of_one(|c| c.is_of_one() && (c.is_permanent() || c.is_temporary())
            && (c.ends_with(RefusalTopic::MailboxFull) || c.rest.contains(".2.2")),
        "The mailbox is full."),
    of_one(|c| c.is_of_one() && c.is_permanent() && names_the_address(c),
        "The mail server says that this address does not accept mail."),
    of_one(|c| c.is_of_one() && c.step != "final" && c.is_permanent()
            && (c.rest.contains(" 5.7.") || c.ends_with(RefusalTopic::Policy) || c.ends_with(RefusalTopic::Restricted)),
        "The recipient's side does not accept this e-mail: a closed group, a restricted mailbox, or a policy."),
    of_one(|c| c.is_of_one() && c.step != "final" && c.is_permanent(),
        "The mail server refused this e-mail, without saying that the address is wrong."),
    SmtpCodeRow {
        is: |c| c.step == "final" && c.is_permanent(),
        // What pauses a sender is about us.
        said: Explained { sentence: "The recipient's mail server refuses the message.", paused: OTHER.sentence, remedy: TRY },
    },
    row(|c| c.step == "mail" && matches!(c.reply, "530" | "535" | "550" | "553" | "554"),
        "The mail server does not let us send from this address.",
        "Check SMTP_FROM and the rule's own sender: the address must belong to the account that logs in, or be verified there."),
    of_one(|c| matches!(c.step, "rcpt" | "data") && c.is_temporary(), "The mail server asks to try again later."),
    row(|c| matches!(c.step, "mail" | "final") && c.is_temporary(), "The mail server asks to try again later.", TRY),
    of_one(|c| matches!(c.step, "rcpt" | "data"), "The mail server refuses our mail to one recipient after another."),
    row(|c| matches!(c.step, "connect" | "greeting"),
        "The mail server rejects our connection right away.",
        "Check SMTP_HOST and SMTP_PORT, and whether the server blocks this machine's address."),
    // Ours: nothing was tried.
    row(|c| c.step == "sender", "The rule's own sender is not an e-mail address.", "Correct the sender in the rule."),
    row(|c| c.step == "channel",
        "No mail server is configured.",
        "Set SMTP_HOST (and SMTP_USER and SMTP_PASS) for the workers, or turn off the rules for e-mail."),
];

/// The refusals that make an address bad, by code or by the word at its end.
fn names_the_address(code: &Code<'_>) -> bool {
    code.ends_with(RefusalTopic::UnknownMailbox)
        || code.ends_with(RefusalTopic::UnknownDomain)
        || code.reply == "556"
        || ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"].contains(&code.enhanced)
}
