//! What somebody means who answers a reminder by SMS.
//!
//! Twilio acts on single keywords only; every other wording is ours to honour. When in doubt, a text is a revocation: a reminder
//! too few annoys nobody, and the operator sees it and can lift it. Ordinary answers ("please cancel my order") are not.

use super::webhook::OptOut;

/// What a text means for further reminders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A keyword: no more SMS.
    Stop,
    /// A keyword: SMS again.
    Start,
    /// "Yes": SMS again, but only for somebody who had stopped them by a keyword; otherwise it is an answer to something else.
    Yes,
    /// Twilio answers it.
    Help,
    /// No keyword, but it reads as "leave me alone": no more SMS, and the operator should have a look.
    FreeTextRevocation,
    None,
}

impl From<OptOut> for Meaning {
    /// Twilio's own judgement, where it gives one, comes first: it knows the words an account has added.
    fn from(judged: OptOut) -> Self {
        match judged {
            OptOut::Stop => Self::Stop,
            OptOut::Start => Self::Start,
            OptOut::Help => Self::Help,
        }
    }
}

/// Including what Twilio does not know: "stop all" in two words, and the keywords of some neighbours.
const STOP: &[&str] = &[
    "stop",
    "stopall",
    "stopp",
    "unsubscribe",
    "end",
    "quit",
    "revoke",
    "optout",
    "cancel",
    "arret",
    "arrêt",
    "alto",
    "abmelden",
    "abbestellen",
];
const START: &[&str] = &["start", "unstop"];
const HELP: &[&str] = &["help", "info"];

/// Around a stop word these change nothing.
const FILLERS: &[&str] = &[
    "please",
    "pls",
    "plz",
    "just",
    "kindly",
    "now",
    "it",
    "this",
    "that",
    "thanks",
    "thank",
    "you",
    "hi",
    "hello",
    "hey",
    "already",
    "immediately",
    "bitte",
    "danke",
    "jetzt",
];
const NEGATIONS: &[&str] = &["don't", "dont", "not", "never", "won't", "nicht"];
/// What somebody wants to be spared who says "stop" or "no more".
const CONTACTS: &[&str] = &[
    "text",
    "texts",
    "texting",
    "message",
    "messages",
    "messaging",
    "sms",
    "contact",
    "contacting",
    "send",
    "sending",
    "write",
    "writing",
    "spam",
    "spamming",
    "remind",
    "reminding",
    "reminder",
    "reminders",
    "notification",
    "notifications",
    "nachricht",
    "nachrichten",
];
const PHRASES: &[&str] = &[
    "opt out",
    "opt me out",
    "optout",
    "unsubscribe",
    "remove me",
    "remove my number",
    "delete my number",
    "take me off",
    "leave me alone",
    "wrong number",
    "lass mich in ruhe",
    "lassen sie mich in ruhe",
];
/// A text longer than this is read up to here.
const MAX_WORDS: usize = 60;

/// Reads the body of an inbound SMS.
pub fn meaning(body: &str) -> Meaning {
    let words = words(body);
    if words.is_empty() {
        return Meaning::None;
    }
    // "Opt-out", "stop all": at most two words make a keyword.
    let keyword = if words.len() <= 2 {
        words.concat()
    } else {
        String::new()
    };
    let is = |list: &[&str]| list.contains(&keyword.as_str());
    if is(STOP) {
        Meaning::Stop
    } else if is(START) {
        Meaning::Start
    } else if is(HELP) {
        Meaning::Help
    } else if keyword == "yes" {
        Meaning::Yes
    } else if is_revocation(&words) {
        Meaning::FreeTextRevocation
    } else {
        Meaning::None
    }
}

/// Lower-case words; apostrophes stay in ("don't"), everything else that is no letter or digit separates.
fn words(body: &str) -> Vec<String> {
    body.replace('’', "'")
        .to_lowercase()
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|w| !w.is_empty())
        .take(MAX_WORDS)
        .map(str::to_owned)
        .collect()
}

fn is_revocation(words: &[String]) -> bool {
    let text = format!(" {} ", words.join(" "));
    let says = |phrase: &&str| match text.find(&format!(" {phrase} ")) {
        Some(at) => !ends_negated(&text[..at]),
        None => false,
    };
    PHRASES.iter().any(says) || is_bare_stop(words) || asks_for_silence(words)
}

fn ends_negated(before: &str) -> bool {
    before
        .split_whitespace()
        .next_back()
        .is_some_and(|w| NEGATIONS.contains(&w))
}

/// "please cancel", "stop it now": a stop word and nothing else of substance.
fn is_bare_stop(words: &[String]) -> bool {
    let mut substance = words.iter().filter(|w| !FILLERS.contains(&w.as_str()));
    let (first, second) = (substance.next(), substance.next());
    second.is_none() && first.is_some_and(|w| STOP.contains(&w.as_str()))
}

/// "stop texting me", "do not write to me again", "no more messages", "keine SMS mehr".
fn asks_for_silence(words: &[String]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let before = at.checked_sub(1).map(|b| words[b].as_str());
        let negated = before.is_some_and(|w| NEGATIONS.contains(&w));
        let next = |n: usize| words.iter().skip(at + 1).take(n);
        let contacts = |n| next(n).any(|w| CONTACTS.contains(&w.as_str()));
        match word.as_str() {
            "stop" | "quit" | "end" | "cancel" => !negated && contacts(3),
            // The very next word: "do not text", but not "I did not get your text".
            "don't" | "dont" | "not" | "never" => contacts(1) && addresses_us(words, at),
            "no" => next(1).any(|w| w == "more") && contacts(2),
            "keine" => contacts(1) && words.iter().any(|w| w == "mehr"),
            _ => false,
        }
    })
}

/// An order, not a report: "do not text me", "don't write", but not "you did not send" or "I do not text".
fn addresses_us(words: &[String], negation: usize) -> bool {
    let Some(before) = negation.checked_sub(1).map(|b| words[b].as_str()) else {
        return true;
    };
    match before {
        "do" => {
            negation < 2 || !matches!(words[negation - 2].as_str(), "i" | "you" | "we" | "they")
        }
        "please" | "pls" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_table_mean_what_it_says() {
        let table: Vec<(String, String)> = serde_json::from_str(include_str!(
            "../../tests/fixtures/channels/opt-out-words.json"
        ))
        .unwrap();
        assert_eq!(table.len(), 28);
        for (body, word) in table {
            let expected = match word.as_str() {
                "stop" => Meaning::Stop,
                "start" => Meaning::Start,
                "yes" => Meaning::Yes,
                "help" => Meaning::Help,
                "free_text" => Meaning::FreeTextRevocation,
                "none" => Meaning::None,
                other => panic!("no meaning {other}"),
            };
            assert_eq!(meaning(&body), expected, "{body:?}");
        }
    }

    #[test]
    fn people_say_it_in_their_own_words() {
        for body in [
            "please stop texting me 🙏 & thanks",
            "opt out please",
            "Opt me out.",
            "STOP IT NOW!!!",
            "Don't text me again",
            "Don’t message me",
            "please do not contact me",
            "No more messages!",
            "I want to unsubscribe from this",
            "leave me alone",
            "Wrong number",
            "Keine SMS mehr bitte",
            "can you stop sending me these",
        ] {
            assert_eq!(meaning(body), Meaning::FreeTextRevocation, "{body:?}");
        }
    }

    #[test]
    fn ordinary_answers_are_left_alone() {
        for body in [
            "please cancel my order",
            "When does the sale end?",
            "please don't stop",
            "do not unsubscribe me",
            "which bus stop is nearest",
            "I did not get your message",
            "you do not send to Spain?",
            "yes please",
            "I cannot open the link",
            "👍",
        ] {
            assert_eq!(meaning(body), Meaning::None, "{body:?}");
        }
    }

    #[test]
    fn an_endless_text_is_read_only_so_far() {
        assert_eq!(meaning(&"na ".repeat(100_000)), Meaning::None);
    }
}
