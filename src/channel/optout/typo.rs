//! Typing errors: a word that is nearly another one.

use super::language::ClauseFinding;
use super::{Grammar, text};

/// One letter away from a keyword, and words of their own.
const OTHER_WORDS: [&str; 25] = [
    "shop",
    "step",
    "top",
    "stow",
    "slop",
    "stomp",
    "strop",
    "stock",
    "sto",
    "atop",
    "sop",
    "stops",
    "stopped",
    "stoppt",
    "anmelden",
    "aanmelden",
    "avslutad",
    "avslutat",
    "avslut",
    "resign",
    "toppen",
    "reaktivieren",
    "reactiveren",
    "anschalten",
    "anstellen",
];

/// Shorter keywords than this have too many neighbours among other words; "stop" is the exception.
const LEAST_FOR_TYPO: usize = 6;

/// Words of a sentence in which a typing error is looked for, and letters of the word that has it.
const MOST_FOR_TYPO: usize = 12;
const LEAST_FOR_WORD_TYPO: usize = 6;

impl Grammar {
    /// One word, one letter away from a keyword.
    pub(super) fn is_misspelt(&self, words: &[String]) -> bool {
        let [word] = words else { return false };
        let other =
            OTHER_WORDS.iter().any(|w| text::fold(w) == *word) || self.things.contains(word);
        let near = |keyword: &&String| {
            (keyword.len() >= LEAST_FOR_TYPO || *keyword == "stop")
                && keyword.is_ascii()
                && one_edit(keyword, word)
        };
        !other
            && self
                .keywords
                .iter()
                .chain(&self.alone)
                .any(|keyword| near(&keyword))
    }

    /// "prosze przestc pisac": a clause that says nothing until the spelling of a word is put right.
    pub(super) fn revokes_but_for_a_typo(&self, clause: &[String]) -> bool {
        if clause.len() > MOST_FOR_TYPO {
            return false;
        }
        let strange = |word: &String| {
            word.chars().count() >= LEAST_FOR_WORD_TYPO
                && !self.languages.iter().any(|language| language.knows(word))
        };
        let strangers: Vec<usize> = (0..clause.len())
            .filter(|at| strange(&clause[*at]))
            .collect();
        self.read_by(clause).any(|language| {
            strangers.iter().any(|at| {
                language.neighbours(&clause[*at]).any(|neighbour| {
                    let mut clause = clause.to_vec();
                    neighbour.clone_into(&mut clause[*at]);
                    let mut explained = vec![false; clause.len()];
                    language.judge(&clause, &mut explained, true) != ClauseFinding::Nothing
                })
            })
        })
    }
}

/// The first letter is rarely the wrong one, and comparing it spares comparing the rest.
pub(super) fn begin_alike(left: &str, right: &str) -> bool {
    left.chars().next() == right.chars().next() && left.len().abs_diff(right.len()) <= 4
}

/// One letter more, less, another or two swapped.
pub(super) fn one_edit(left: &str, right: &str) -> bool {
    let letters = |word: &str| word.chars().collect::<Vec<char>>();
    let (left, right) = (letters(left), letters(right));
    let same = left.iter().zip(&right).take_while(|(l, r)| l == r).count();
    let (left, right) = (&left[same..], &right[same..]);
    let swapped = match (left, right) {
        ([first, second, left @ ..], [other, another, right @ ..]) => {
            (first, second) == (another, other) && left == right
        }
        _ => false,
    };
    let rest = |word| <[char]>::get(word, 1..);
    swapped
        || rest(left) == Some(right)
        || rest(right) == Some(left)
        || (rest(left).is_some() && rest(left) == rest(right))
}
