//! Every word for an unknown mailbox, beside every word that speaks against one.

use super::*;
use crate::channel::smtp::classify::{SmtpPhase, StepFault, classify};
use crate::channel::smtp::words::{PATTERNS, SETS};
use crate::domain::outcome::{Outcome, Refusal};

fn is_bad(code: u16, text: &str) -> bool {
    let outcome = classify(SmtpPhase::Rcpt, &StepFault::Reply(Reply::new(code, text)));
    matches!(outcome, Outcome::Refused { class, .. } if class == Refusal::BadRecipient)
}

/// Each pattern for an unknown mailbox or domain as a text, with the first word of each set.
fn nobody_there() -> Vec<String> {
    let first = |word: &'static str| {
        let set = SETS.iter().find(|(name, _)| *name == word);
        set.map_or(word, |(_, words)| words[0])
    };
    let bad = |finding: &RefusalTopic| {
        matches!(
            finding,
            RefusalTopic::UnknownMailbox | RefusalTopic::UnknownDomain
        )
    };
    let groups = PATTERNS.iter().filter(|(finding, _)| bad(finding));
    let patterns = groups.flat_map(|(_, patterns)| patterns.iter());
    let text = |pattern: &&'static str| {
        let words = pattern.split(' ').filter(|word| *word != "*").map(first);
        words.collect::<Vec<_>>().join(" ")
    };
    patterns.map(text).collect()
}

#[test]
fn every_pattern_alone_is_a_bad_address_and_none_is_beside_words_that_speak_against_it() {
    let texts = nobody_there();
    assert!(texts.len() > 200, "{}", texts.len());
    for text in texts {
        assert!(is_bad(550, &text), "{text}");
        for (code, doubted) in [
            (550, format!("sender {text}")),
            (550, format!("{text} of sender")),
            (550, format!("Absenderadresse: {text}")),
            (550, format!("отправитель: {text}")),
            (550, format!("发件人 {text}")),
            (550, format!("callback said: {text}")),
            (550, format!("invalid password, {text}")),
            (550, format!("{text}, try again later")),
            (550, format!("5.1.1 {text}: temporary failure")),
            // Codes for senders and of logging in.
            (550, format!("5.1.7 {text}")),
            (550, format!("5.1.8 {text}")),
            (525, format!("5.7.13 {text}")),
            (530, format!("5.7.0 {text}")),
            (535, format!("5.7.8 {text}")),
            (550, format!("5.7.8 {text}")),
        ] {
            assert!(!is_bad(code, &doubted), "{code} {doubted}");
        }
    }
}

#[test]
fn any_word_for_a_sender_speaks_against_an_unknown_mailbox() {
    for sender in SENDERS.iter().chain(SENDERS_UNSPACED) {
        for text in [
            "no such user",
            "domain not found",
            "no existe",
            "不存在",
            "存在しません",
        ] {
            assert!(is_bad(550, text), "{text}");
            assert!(!is_bad(550, &format!("{sender} {text}")), "{sender} {text}");
            assert!(
                !is_bad(550, &format!("5.1.1 {text} {sender}")),
                "{text} {sender}"
            );
        }
    }
}

#[test]
fn words_are_written_as_texts_are_compared() {
    let ours = OURS.iter().flat_map(|(_, words)| words.iter());
    let others = [
        HINTS,
        SENDERS,
        SENDERS_UNSPACED,
        BACK_TO,
        CHECK_FIRST,
        NOT_NOW,
        NOT_NOW_BEGINS,
        NOT_NOW_UNSPACED,
    ];
    for pattern in ours.chain(others.into_iter().flatten()) {
        for word in pattern.split(' ').filter(|word| *word != "*") {
            assert_eq!(plain(word).trim(), word, "{pattern}");
        }
    }
}

#[test]
fn the_name_of_the_recipient_is_no_word_about_us() {
    for (to, text, expected) in [
        ("billing@customer.example", "unknown user billing", true),
        ("dana@customer.example", "unknown user billing", false),
        (
            "Login@customer.example",
            "No such user \"login\" here",
            true,
        ),
        (
            "password@customer.example",
            "Mailbox <password> not found",
            true,
        ),
        (
            "dana@customer.example",
            "Mailbox not found, wrong password",
            false,
        ),
    ] {
        let reply = Reply::new(550, text).answering("robot@acme.example", to, "mail.acme.example");
        let outcome = classify(SmtpPhase::Rcpt, &StepFault::Reply(reply));
        let bad =
            matches!(outcome, Outcome::Refused { class, .. } if class == Refusal::BadRecipient);
        assert_eq!(bad, expected, "{to}: {text}");
    }
}
