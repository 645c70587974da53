//! What is answered before a channel goes live, by a person or by the settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters of an answer in somebody's own words.
pub const LONGEST_NOTE: usize = 1_000;

/// How the customers agreed to text messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// They agreed in a form, at sign-up or in their account.
    Form,
    /// They gave the number in the conversation, to be reached about it.
    Conversation,
    /// Otherwise; the note says how.
    Otherwise,
}

/// Whether another installation reminds this account's customers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherInstallation {
    /// There is none.
    None,
    /// There was one; it has been stopped.
    Stopped,
    /// There is one, and it goes on: customers may be reminded by both.
    Sends,
}

impl OtherInstallation {
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "none" => Some(Self::None),
            "stopped" => Some(Self::Stopped),
            "sends" => Some(Self::Sends),
            _ => None,
        }
    }
}

/// How the customers agreed, as a setting says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    pub consent: Consent,
    /// Empty where the choice says it all.
    pub note: String,
}

impl Agreed {
    /// One of the choices, or a sentence. A single other word is none: a slip (`forms`, `true`) must not pass for an answer that is kept
    /// as evidence.
    pub fn parse(raw: &str) -> Option<Self> {
        let raw = raw.trim();
        let choice = |consent| Self {
            consent,
            note: String::new(),
        };
        match raw.to_ascii_lowercase().as_str() {
            "form" => Some(choice(Consent::Form)),
            "conversation" => Some(choice(Consent::Conversation)),
            _ => {
                let fits =
                    raw.chars().count() <= LONGEST_NOTE && !raw.chars().any(char::is_control);
                let is_sentence = raw.split_whitespace().count() > 1;
                (fits && is_sentence).then(|| Self {
                    consent: Consent::Otherwise,
                    note: raw.to_owned(),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_a_choice_or_a_sentence_and_never_a_slip() {
        let of = |raw: &str| Agreed::parse(raw).map(|agreed| (agreed.consent, agreed.note));
        assert_eq!(of("form"), Some((Consent::Form, String::new())));
        assert_eq!(
            of(" Conversation "),
            Some((Consent::Conversation, String::new()))
        );
        let words = "On the order form since 2024";
        assert_eq!(of(words), Some((Consent::Otherwise, words.to_owned())));
        for slip in ["", "  ", "otherwise", "true", "yes", "forms", "two\nlines"] {
            assert_eq!(of(slip), None, "{slip}");
        }
        assert_eq!(of(&"so ".repeat(400)), None, "too long");
    }

    #[test]
    fn another_installation_is_named_by_the_words_of_the_api() {
        for (word, answer) in [
            ("none", OtherInstallation::None),
            ("stopped", OtherInstallation::Stopped),
            ("sends", OtherInstallation::Sends),
        ] {
            assert_eq!(OtherInstallation::parse(word), Some(answer));
            assert_eq!(serde_json::to_value(answer).unwrap(), word);
        }
        assert_eq!(OtherInstallation::parse("true"), None);
    }
}
