//! What the codes of attempts mean, in words: for whoever answers a customer, and for whoever can fix it.
//!
//! A code is ours: a step and a reply, or `http` and a status, with the provider's own number behind. Each provider has one table of its
//! codes, in its `codes.rs`; nobody else knows a number. An unknown code still gives a true sentence; it only knows less.

use std::fmt;
use std::time::Duration;

use crate::domain::ids::Provider;
use crate::domain::outcome::{Outcome, Refusal, Retryable};

/// What becomes of an attempt that met a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never, to this recipient.
    Refused(Refusal),
    /// Certainly not sent; may be tried again.
    Not(Retryable),
    /// It may have been sent.
    Unknown,
}

impl Class {
    pub fn outcome(self, code: String, retry_after: Option<Duration>) -> Outcome {
        match self {
            Self::Refused(class) => Outcome::Refused { class, code },
            Self::Not(class) => Outcome::NotAccepted {
                class,
                code,
                retry_after,
            },
            Self::Unknown => Outcome::Unknown { code },
        }
    }
}

/// A code in words. As text: what is wrong with a sender that is paused because of it, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What came of one message.
    pub sentence: &'static str,
    /// What is wrong where it pauses a sender: mostly the same.
    pub paused: &'static str,
    /// What helps.
    pub remedy: &'static str,
}

impl Explained {
    pub const fn new(sentence: &'static str, remedy: &'static str) -> Self {
        Self {
            sentence,
            paused: sentence,
            remedy,
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.paused, self.remedy)
    }
}

/// Explains the code of an attempt, or of a sender's pause.
pub fn explain(provider: Provider, code: &str) -> Explained {
    (super::profile(provider).explain)(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusals::RUN;

    #[test]
    fn the_usual_troubles_name_their_remedy() {
        for (provider, code, remedy) in [
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
            (Provider::Smtp, "mail 451", "unread doctor"),
            (Provider::Smtp, RUN, "written to again"),
            (Provider::Twilio, "http 401 20003", "TWILIO_AUTH_TOKEN"),
            (Provider::Twilio, "http 401", "TWILIO_AUTH_TOKEN"),
            (Provider::Twilio, "undelivered 30034", "registration"),
            (Provider::Twilio, "http 400 21606", "TWILIO_FROM"),
            (Provider::Twilio, "http 404 20404", "TWILIO_ACCOUNT_SID"),
            (
                Provider::Twilio,
                "no SMS number in the account",
                "TWILIO_FROM",
            ),
        ] {
            let explained = explain(provider, code);
            assert!(explained.remedy.contains(remedy), "{code}: {explained}");
        }
    }

    #[test]
    fn a_sentence_names_whose_side_the_trouble_is_on() {
        for (provider, code, words) in [
            (Provider::Smtp, "rcpt 550 5.1.1", "this address"),
            (Provider::Smtp, "rcpt 550 unknown mailbox", "this address"),
            (Provider::Smtp, "rcpt 556", "this address"),
            (Provider::Smtp, "final 550 5.1.1", "this address"),
            (Provider::Smtp, "rcpt 550", "without saying"),
            (Provider::Smtp, "rcpt 550 5.4.1", "without saying"),
            (Provider::Smtp, "rcpt 550 5.7.124", "closed group"),
            (Provider::Smtp, "rcpt 550 5.7.26", "our domain"),
            (Provider::Smtp, "rcpt 550 5.7.1 relay", "relay mail"),
            (Provider::Smtp, "rcpt 552 5.2.2", "full"),
            (Provider::Smtp, "rcpt 452 4.4.5", "later"),
            (Provider::Smtp, "rcpt 451 4.7.24", "later"),
            (Provider::Smtp, "rcpt 550 quota", "quota"),
            (Provider::Smtp, "mail unreadable reply", "invalid answer"),
            (Provider::Smtp, "final unreadable reply", "do not know"),
            (Provider::Smtp, "final connection lost", "do not know"),
            (Provider::Smtp, "final timed out", "do not know"),
            (Provider::Smtp, "auth connection lost", "broke"),
            (Provider::Smtp, "auth 535 5.7.8", "user name or password"),
            (Provider::Smtp, "data 451", "later"),
            (Provider::Smtp, "", "mail server"),
            (Provider::Twilio, "http 400 21211", "cannot receive"),
            (Provider::Twilio, "undelivered 30003", "phone was off"),
            (Provider::Twilio, "21610", "asked the carrier"),
            (Provider::Twilio, "http 401 20003", "credentials"),
            (Provider::Twilio, "http 503", "problem of its own"),
            (Provider::Twilio, "", "Twilio"),
        ] {
            let explained = explain(provider, code);
            assert!(explained.sentence.contains(words), "{code}: {explained}");
        }
    }

    #[test]
    fn what_pauses_a_sender_is_said_of_the_sender() {
        let of_one = explain(Provider::Smtp, "rcpt 550 5.7.1");
        assert!(of_one.sentence.contains("recipient's side"));
        assert!(of_one.paused.contains("one recipient after another"));
    }

    #[test]
    fn an_unknown_code_still_gives_a_sentence() {
        for code in ["", "x", "final 5", "http 499 99999", "\u{0}  "] {
            for provider in Provider::ALL {
                let said = explain(provider, code);
                for sentence in [said.sentence, said.paused, said.remedy] {
                    assert!(sentence.ends_with('.'), "{code}: {said}");
                }
            }
        }
    }
}
