//! A word that says stop, and a number beside it: mostly the sender's own.

use super::{Grammar, Meaning, is};
use crate::domain::opt_out::Doubt;

/// Figures of a telephone number. Fewer are as often those of an order, or a choice: "cancel 2".
const LEAST_FOR_TELEPHONE: usize = 9;

impl Grammar {
    /// "remove 4155551234", "07700 900123 stop".
    pub(super) fn keyword_with_number(&self, plain: &[String]) -> Option<Meaning> {
        let (numbers, said): (Vec<String>, Vec<String>) =
            plain.iter().cloned().partition(|word| is_number(word));
        if numbers.is_empty() {
            return None;
        }
        let figures: usize = numbers.iter().map(String::len).sum();
        if is(&said, &self.keywords) || (figures >= LEAST_FOR_TELEPHONE && is(&said, &self.alone)) {
            Some(Meaning::FreeTextRevocation)
        } else if is(&said, &self.alone) {
            Some(Meaning::PerhapsRevocation(Doubt::AmbiguousWord))
        } else {
            None
        }
    }
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit())
}
