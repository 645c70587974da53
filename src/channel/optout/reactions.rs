//! Reactions: what a phone writes as a text message when somebody taps a heart on one of ours. Of its words, none is the sender's.
//!
//! The forms are in `words/reactions.txt`, as the phones' makers word them in each language.

use std::sync::LazyLock;

use super::text::{self, STOP_SIGNS};

/// What opens a quotation, in whatever language, and what closes one.
const OPENING: &str = "\"“”„‟«‹「『‘‚'";
const CLOSING: &str = "\"“”‟»›」』’'";

/// Behind these no quotation opens: the mark closes one.
const ENDS: &str = ".,;:!?…";

/// Marks that are tried as the beginning of the quotation: a form may quote its own words first.
const MOST_OPENINGS: usize = 4;

/// Words of a quotation that is one of ours. Shorter ones ("STOP") are part of what is said.
const LONG: usize = 3;

/// What is in every link of ours.
const LINK: &str = "://";

/// What may stand beside the emoji: "👍 to".
const MOST_BESIDE: usize = 2;
const LONGEST_BESIDE: usize = 5;

/// How a phone words a reaction: `before` the quoted message and `after` it.
struct Form {
    before: Vec<ReactionWord>,
    after: Vec<ReactionWord>,
    /// Only the emoji says that it is one: "👍 para …".
    needs_emoji: bool,
}

struct ReactionWord {
    letters: String,
    /// Only the beginning of a word.
    open: bool,
}

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    let lines = include_str!("words/reactions.txt").lines();
    let forms = lines.filter_map(|line| line.split('#').next()?.split_once('…'));
    forms
        .map(|(before, after)| Form {
            before: form_words(before),
            after: form_words(after),
            needs_emoji: before.chars().any(is_emoji),
        })
        .collect()
});

fn form_words(text: &str) -> Vec<ReactionWord> {
    let read = |raw: &str| {
        let open = raw.ends_with('*');
        let words = words(raw);
        let last = words.len();
        words
            .into_iter()
            .enumerate()
            .map(move |(n, letters)| ReactionWord {
                letters,
                open: open && n + 1 == last,
            })
    };
    text.split_whitespace().flat_map(read).collect()
}

/// The words of a text, folded, without signs.
fn words(text: &str) -> Vec<String> {
    let mut words = text::tokens(&text::fold(text));
    words.retain(|word| !word.starts_with(STOP_SIGNS));
    words
}

/// What the sender of a reaction says themselves, mostly nothing; `None` if the text is no reaction. 🛑 and its like stay: that is an
/// answer.
pub(super) fn own_part(text: &str) -> Option<String> {
    let mut before_it = None;
    let opens = |(_, c): &(usize, char)| {
        let before = before_it.replace(*c);
        OPENING.contains(*c) && before.is_none_or(|b| !b.is_alphanumeric() && !ENDS.contains(b))
    };
    let openings: Vec<(usize, char)> = text
        .char_indices()
        .filter(opens)
        .take(MOST_OPENINGS)
        .collect();
    openings
        .into_iter()
        .find_map(|(at, mark)| own_part_around(&text[..at], &text[at + mark.len_utf8()..]))
}

/// The same, of what stands before a quotation and what stands behind its opening mark.
fn own_part_around(before: &str, quoted: &str) -> Option<String> {
    let (inside, rest) = quoted.split_at(closing(quoted).unwrap_or(quoted.len()));
    let (said, told, rest_said) = (words(before), words(quoted), words(rest));
    let has_emoji = before.chars().any(is_emoji);
    let forms = || {
        FORMS
            .iter()
            .filter(move |form| has_emoji || !form.needs_emoji)
    };
    if forms().any(|form| form.fits(&said, &told, &rest_said)) {
        return Some(before.chars().filter(|c| STOP_SIGNS.contains(c)).collect());
    }
    if told.len().saturating_sub(rest_said.len()) <= LONG {
        return None;
    }
    let only_signs = said.is_empty() && !before.trim().is_empty();
    let short = |word: &String| word.chars().count() <= LONGEST_BESIDE;
    let beside_emoji = has_emoji && said.len() <= MOST_BESIDE && said.iter().all(short);
    let begins_like_one = || {
        forms().any(|form| {
            let begin = said.get(..form.before.len());
            !form.needs_emoji
                && !form.before.is_empty()
                && begin.is_some_and(|begin| are(begin, &form.before))
        })
    };
    // Our texts have a link before they say how to stop, and nobody types one in quotation marks: however a phone words it.
    let has_our_link = inside.contains(LINK) && !(said.is_empty() && rest_said.is_empty());
    (only_signs || beside_emoji || has_our_link || begins_like_one())
        .then(|| format!("{before}\n{rest}"))
}

/// Behind the last mark that closes a quotation.
fn closing(quoted: &str) -> Option<usize> {
    quoted.char_indices().rev().find_map(|(at, c)| {
        let behind = at + c.len_utf8();
        let is_apostrophe = "’'".contains(c) && quoted[behind..].starts_with(char::is_alphanumeric);
        (CLOSING.contains(c) && !is_apostrophe).then_some(behind)
    })
}

impl Form {
    /// Whether this is said before the quotation, and behind it or, where nothing is, that nothing else is.
    fn fits(&self, said: &[String], told: &[String], rest: &[String]) -> bool {
        let ends = || {
            if self.after.is_empty() {
                return rest.is_empty();
            }
            let begin = told.len().checked_sub(self.after.len());
            begin.is_some_and(|begin| begin > 0 && are(&told[begin..], &self.after))
        };
        are(said, &self.before) && ends()
    }
}

fn are(said: &[String], words: &[ReactionWord]) -> bool {
    said.len() == words.len()
        && said.iter().zip(words).all(|(said, word)| {
            *said == word.letters || (word.open && said.starts_with(word.letters.as_str()))
        })
}

/// Signs and pictures.
fn is_emoji(c: char) -> bool {
    matches!(c, '‼' | '⁉' | '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}
