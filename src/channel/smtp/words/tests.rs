//! What patterns match, and how they are written.

use proptest::prelude::*;

use super::*;

#[test]
fn a_gap_is_short_and_a_set_is_any_of_its_words() {
    for (text, expected) in [
        (
            "User dana of this shop unknown",
            Some(RefusalTopic::UnknownMailbox),
        ),
        (
            "The user of this very long sentence about nothing is unknown",
            None,
        ),
        ("No such maildrop", Some(RefusalTopic::UnknownMailbox)),
        (
            "IP [192.0.2.9] is, I am afraid, BLOCKED",
            Some(RefusalTopic::BlockList),
        ),
        (
            "L\u{2019}utilisateur n\u{2019}existe pas",
            Some(RefusalTopic::UnknownMailbox),
        ),
        (
            "Empfa\u{308}nger unbekannt",
            Some(RefusalTopic::UnknownMailbox),
        ),
        ("该用户不存在", Some(RefusalTopic::UnknownMailbox)),
        // Addresses and links to them are nobody's reason.
        ("<relay-denied.spamhaus@quota.example> rejected", None),
        (
            "relay-denied@quota.example: user unknown",
            Some(RefusalTopic::UnknownMailbox),
        ),
    ] {
        assert_eq!(finding(text), expected, "{text}");
    }
}

#[test]
fn patterns_are_written_as_texts_are_compared() {
    for (_, patterns) in PATTERNS {
        for pattern in *patterns {
            for word in pattern.split(' ') {
                let known = word == "*" || SETS.iter().any(|(name, _)| *name == word);
                assert!(known || plain(word).trim() == word, "{pattern}: {word}");
            }
            assert!(
                !pattern.starts_with('*') && !pattern.ends_with('*'),
                "{pattern}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_text_has_a_finding_or_none(text in "\\PC{0,400}", words in prop::collection::vec("(user|not|\\*|found|sender|of|@)", 0..60)) {
        let _ = finding(&text);
        let _ = finding(&words.join(" "));
    }
}
