//! What an open circuit means, in words for the person who can mend it.
//!
//! Codes are ours (`channel::smtp`, `channel::twilio`): a phase and a reply, or `http` and a status, with the provider's own
//! number behind. An unknown code still gives a true sentence; it only knows less.

use std::fmt;

use super::ids::Provider;

/// What is wrong and what helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub what: &'static str,
    pub mend: &'static str,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.mend)
    }
}

impl Trouble {
    /// Explains the code of a provider's circuit.
    pub fn of(provider: Provider, code: &str) -> Self {
        let (what, mend) = match provider {
            Provider::Smtp => mail(code),
            Provider::Twilio => sms(code),
        };
        Self { what, mend }
    }
}

/// Codes are a step, a reply's number and its enhanced code if it had one; and a word where only the reply's text said what it is about.
fn mail(code: &str) -> (&'static str, &'static str) {
    let mut words = code.split(' ');
    let (phase, reply) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let enhanced = code.split(' ').nth(2).and_then(detail).unwrap_or_default();
    match (phase, reply, enhanced) {
        _ if code == super::refusals::RUN => (
            "The mail server calls one address after another unknown, in different places: more likely it does not want our mail.",
            "Ask the mail provider whether the account may send to others. The addresses of this run are free again; a reminder that gets through ends the pause.",
        ),
        ("auth", "not", _) => (
            "The mail server offers no way to log in that we know.",
            "Check SMTP_PORT and SMTP_TLS: most servers let clients log in on port 587 or 465 only.",
        ),
        ("auth", ..) => (
            "The mail server refuses our user name or password.",
            "Check SMTP_USER and SMTP_PASS. Gmail wants an app password; Microsoft 365 may have password logins switched off.",
        ),
        ("starttls", "not", _) => (
            "The mail server offers no encryption on this port.",
            "Set SMTP_PORT and SMTP_TLS to what your provider names: 465 with implicit, or 587 with starttls.",
        ),
        (_, "tls", _) => (
            "No trusted encrypted connection to the mail server can be made.",
            "Check SMTP_HOST against the name in the server's certificate, and SMTP_PORT with SMTP_TLS (465 implicit, 587 starttls).",
        ),
        (_, _, (4, 5) | (1, 90) | (7, 230..=239 | 700..=702 | 704..=707)) => QUOTA,
        (_, _, (7, 20..=27 | 29..=32 | 40 | 509 | 515))
            if phase != "mail" || reply.starts_with('4') =>
        {
            DOMAIN_CHECKS
        }
        _ => said(code).unwrap_or_else(|| by_step(phase, reply)),
    }
}

/// Subject and detail of an enhanced code.
fn detail(enhanced: &str) -> Option<(u16, u16)> {
    let (class, rest) = enhanced.split_once('.')?;
    let (subject, detail) = rest.split_once('.')?;
    matches!(class, "4" | "5").then_some(())?;
    Some((subject.parse().ok()?, detail.parse().ok()?))
}

const QUOTA: (&str, &str) = (
    "The mail server's sending quota is used up.",
    "It clears by itself, usually within a day; ask the provider for a higher limit if this comes back.",
);

const DOMAIN_CHECKS: (&str, &str) = (
    "Mail from our domain fails the recipients' checks (SPF, DKIM, DMARC or reverse DNS).",
    "Have the domain's DNS records set up as your mail provider describes; `unread doctor` looks at them. No address was struck off.",
);

/// By the word at the code's end.
fn said(code: &str) -> Option<(&'static str, &'static str)> {
    const SAID: [(&str, (&str, &str)); 6] = [
        (" quota", QUOTA),
        (" domain checks", DOMAIN_CHECKS),
        (
            " relay",
            (
                "The mail server does not pass mail on for us.",
                "Set SMTP_USER and SMTP_PASS if it wants a login, or have this machine's address let in; and check that SMTP_HOST is your own provider's server.",
            ),
        ),
        (
            " login",
            (
                "The mail server wants us to log in first.",
                "Set SMTP_USER and SMTP_PASS, with the port and encryption that your provider names.",
            ),
        ),
        (
            " sender",
            (
                "The mail server does not accept our sender address, or our account there.",
                "Check SMTP_FROM and the rule's own sender: the address must exist, its domain must be able to receive mail, and the account must be active and allowed to use it.",
            ),
        ),
        (
            " block list",
            (
                "Our mail server's address is on a block list, or its reputation is bad.",
                "Ask the mail provider for another address or for its removal from the list; the server's own log names the list.",
            ),
        ),
    ];
    let row = SAID.iter().find(|(word, _)| code.ends_with(word));
    row.map(|(_, trouble)| *trouble)
}

fn by_step(phase: &str, reply: &str) -> (&'static str, &'static str) {
    match (phase, reply) {
        ("mail", "530" | "535" | "550" | "553" | "554") => (
            "The mail server does not let us send from this address.",
            "Check SMTP_FROM and the rule's own sender: the address must belong to the account that logs in, or be verified there.",
        ),
        ("rcpt" | "data", _) => (
            "The mail server refuses our mail to one recipient after another.",
            "Check that it may be used for sending to others (login, allowed networks), its reputation, and what the code means at your provider.",
        ),
        ("connect" | "greeting", _) => (
            "The mail server turns us away before we could say anything.",
            "Check SMTP_HOST and SMTP_PORT, and whether the server blocks this machine's address.",
        ),
        ("sender", _) => (
            "The rule's own sender is not an e-mail address.",
            "Correct the sender in the rule.",
        ),
        ("channel", _) => (
            "No mail server is configured.",
            "Set SMTP_HOST (and SMTP_USER and SMTP_PASS) for the workers, or switch the rules for e-mail off.",
        ),
        _ => (
            "The mail server does not take our messages.",
            "Check the mail settings (`unread doctor` tries them) or ask the mail provider about the code.",
        ),
    }
}

fn sms(code: &str) -> (&'static str, &'static str) {
    // The last number is Twilio's own, where there is one: "http 401 20003", "undelivered 30034".
    let number: u32 = code
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or_default();
    match number {
        20003 | 401 => (
            "Twilio refuses our credentials.",
            "Check TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN, or TWILIO_API_KEY with TWILIO_API_SECRET; a rotated token stops at once.",
        ),
        20404 | 404 => (
            "Twilio does not know the account.",
            "Check TWILIO_ACCOUNT_SID, and TWILIO_BASE_URL if your account is in another region.",
        ),
        403 => (
            "Twilio does not permit this key to send.",
            "Give the API key access to Messages, or use another.",
        ),
        10001 | 30002 => (
            "The Twilio account is suspended or not active.",
            "Look into the Twilio console for the reason (usually billing).",
        ),
        21603 | 21606 | 21659..=21661 | 30018 | 30037 => (
            "Twilio does not let us send from this number or name.",
            "Check TWILIO_FROM, TWILIO_MESSAGING_SERVICE_SID and the rule's own sender: it must be yours and able to send SMS.",
        ),
        21703..=21705 => (
            "The Messaging Service has no sender that can be used.",
            "Add a number to its sender pool in the Twilio console.",
        ),
        21609 => (
            "Twilio cannot use our address for status reports.",
            "Set UNREAD_PUBLIC_URL to the https address under which Twilio reaches this service.",
        ),
        30032 => (
            "The toll-free number is not verified, so carriers block it.",
            "Finish the toll-free verification in the Twilio console.",
        ),
        30024 | 30033..=30035 => (
            "The number is not registered for business messages (A2P 10DLC), so carriers block it.",
            "Finish brand and campaign registration in the Twilio console.",
        ),
        30023 | 30027 | 63038 => (
            "The daily quota of SMS is used up.",
            "It starts anew tomorrow; ask Twilio for a higher limit if this comes back.",
        ),
        _ if code.starts_with("no SMS number") => (
            "The Twilio account has no number that can send SMS.",
            "Buy one, or set TWILIO_FROM or TWILIO_MESSAGING_SERVICE_SID.",
        ),
        _ if code.starts_with("sender is not") => (
            "The rule's own sender is neither a number nor a Messaging Service.",
            "Correct the sender in the rule.",
        ),
        _ if code.starts_with("channel is not") => (
            "Twilio is not configured.",
            "Set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN for the workers, or switch the rules for SMS off.",
        ),
        300..=399 => (
            "Twilio's address answers with a redirect.",
            "Check TWILIO_BASE_URL.",
        ),
        _ => (
            "Twilio does not take our messages.",
            "Look the number up at twilio.com/docs/api/errors and mend what it says in the Twilio console.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_troubles_name_their_mend() {
        for (provider, code, mend) in [
            (Provider::Smtp, "auth 535 5.7.8", "SMTP_PASS"),
            (Provider::Smtp, "auth not offered", "SMTP_PORT"),
            (Provider::Smtp, "starttls not offered", "587"),
            (Provider::Smtp, "connect tls failed", "SMTP_HOST"),
            (Provider::Smtp, "mail 550 5.4.5", "higher limit"),
            (Provider::Smtp, "mail 553 5.7.1", "SMTP_FROM"),
            (Provider::Smtp, "final 550 5.7.26", "DNS"),
            (Provider::Smtp, "final 550 5.7.515", "DNS"),
            (Provider::Smtp, "final 421 4.7.40", "DNS"),
            (Provider::Smtp, "mail 421 4.7.26", "DNS"),
            (Provider::Smtp, "rcpt 554 domain checks", "DNS"),
            (Provider::Smtp, "rcpt 550 relay", "SMTP_USER"),
            (Provider::Smtp, "rcpt 550 5.7.1 relay", "SMTP_USER"),
            (Provider::Smtp, "rcpt 550 login", "SMTP_PASS"),
            (Provider::Smtp, "rcpt 550 sender", "SMTP_FROM"),
            (Provider::Smtp, "rcpt 554 5.7.1 block list", "removal"),
            (Provider::Smtp, "rcpt 550 quota", "higher limit"),
            (Provider::Smtp, "rcpt 550 5.7.1", "allowed networks"),
            // Of the tenant's numbers beside those of its quota: its own list of blocked recipients.
            (Provider::Smtp, "rcpt 550 5.7.703", "allowed networks"),
            (Provider::Smtp, "rcpt 550 5.7.705", "higher limit"),
            (Provider::Smtp, super::super::refusals::RUN, "free again"),
            (Provider::Twilio, "http 401 20003", "TWILIO_AUTH_TOKEN"),
            (Provider::Twilio, "http 401", "TWILIO_AUTH_TOKEN"),
            (Provider::Twilio, "undelivered 30034", "registration"),
            (Provider::Twilio, "http 400 21606", "TWILIO_FROM"),
            (
                Provider::Twilio,
                "no SMS number in the account",
                "TWILIO_FROM",
            ),
        ] {
            let trouble = Trouble::of(provider, code);
            assert!(trouble.mend.contains(mend), "{code}: {trouble}");
        }
    }

    #[test]
    fn an_unknown_code_still_gives_a_sentence() {
        for code in ["", "x", "final 5", "http 499 99999", "\u{0}  "] {
            for provider in Provider::ALL {
                let trouble = Trouble::of(provider, code);
                assert!(trouble.what.ends_with('.') && trouble.mend.ends_with('.'));
            }
        }
    }
}
