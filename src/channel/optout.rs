//! What somebody means who answers a reminder by SMS.
//!
//! Twilio acts on single English keywords only; every other wording is ours to honour: "any reasonable means" revoke consent
//! (47 CFR 64.1200(a)(10)). When in doubt, a text is a revocation: a reminder too few annoys nobody, and the operator sees it and can
//! lift it. Ordinary answers ("please cancel my order", "I am at the bus stop") are not.
//!
//! The words of each language are in `words/`, in files that need no Rust to be read; `language.rs` says how.

mod explained;
mod language;
mod lookalikes;
mod numbers;
mod pattern;
mod reactions;
mod text;
mod typo;

use std::collections::HashSet;
use std::sync::LazyLock;

pub use self::explained::is_explained_in;
use self::language::{ClauseFinding, Language};
use self::text::Clause;
use super::twilio::webhook::OptOut;
use crate::domain::opt_out::Doubt;

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
    /// In other words than a keyword: no more SMS.
    FreeTextRevocation,
    /// Perhaps so: no more SMS, and the operator should have a look.
    PerhapsRevocation(Doubt),
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

const START: [&str; 2] = ["start", "unstop"];
const YES: [&str; 1] = ["yes"];
const HELP: [&str; 2] = ["help", "info"];

/// Signs that say stop without a word.
const SIGNS: [&str; 7] = ["🛑", "⛔", "🚫", "🔕", "📵", "🖕", "✋"];

/// A language that knows so many words fewer of a clause than another is not what it is written in.
const TOO_FOREIGN: usize = 3;

/// Figures of a number that somebody gives: of an order, a house, their own.
const LEAST_FOR_NUMBER: usize = 3;

/// The file of languages of which only keywords are known.
const OTHER: &str = "other";

const FILES: [(&str, &str); 11] = [
    ("en", include_str!("optout/words/en.txt")),
    ("de", include_str!("optout/words/de.txt")),
    ("fr", include_str!("optout/words/fr.txt")),
    ("es", include_str!("optout/words/es.txt")),
    ("pt", include_str!("optout/words/pt.txt")),
    ("it", include_str!("optout/words/it.txt")),
    ("nl", include_str!("optout/words/nl.txt")),
    ("pl", include_str!("optout/words/pl.txt")),
    ("sv", include_str!("optout/words/sv.txt")),
    ("ja", include_str!("optout/words/ja.txt")),
    (OTHER, include_str!("optout/words/other.txt")),
];

/// All languages at once: nothing says which one somebody answers in.
struct Grammar {
    languages: Vec<Language>,
    keywords: HashSet<String>,
    alone: HashSet<String>,
    unsure: HashSet<String>,
    fillers: HashSet<String>,
    things: HashSet<String>,
    stems: HashSet<String>,
    over: HashSet<String>,
}

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| {
    let languages: Vec<Language> = FILES
        .iter()
        .map(|(name, file)| Language::parse(file).unwrap_or_else(|why| panic!("{name}.txt: {why}")))
        .collect();
    let all = |list: fn(&Language) -> &HashSet<String>| {
        languages.iter().flat_map(list).cloned().collect()
    };
    Grammar {
        keywords: all(|l| &l.keywords),
        alone: all(|l| &l.alone),
        unsure: all(|l| &l.unsure),
        fillers: all(|l| &l.fillers),
        things: all(|l| &l.things),
        stems: all(|l| &l.stems),
        over: all(|l| &l.over),
        languages,
    }
});

/// Reads the body of an inbound SMS.
pub fn meaning(body: &str) -> Meaning {
    let clauses = text::clauses(body);
    if clauses.is_empty() {
        return Meaning::None;
    }
    let words: Clause = clauses.concat();
    let only = |list: &[&str]| {
        words
            .iter()
            .all(|word| list.iter().any(|w| text::fold(w) == *word))
    };
    if only(&START) {
        Meaning::Start
    } else if only(&HELP) {
        Meaning::Help
    } else if only(&YES) {
        Meaning::Yes
    } else if GRAMMAR.asks_whether_over(body, &words) {
        Meaning::None
    } else {
        GRAMMAR.read(&clauses, &words)
    }
}

/// The language that a text seems to be written in (`de`): the one that knows most of its words, if there is one.
pub fn language(body: &str) -> Option<&'static str> {
    let words = text::clauses(body).concat();
    let known = FILES
        .iter()
        .zip(&GRAMMAR.languages)
        .map(|((name, _), language)| (language.familiarity(&words), *name));
    let mut best: Vec<(usize, &str)> = known.collect();
    best.sort_unstable_by(|left, right| right.cmp(left));
    match best[..] {
        [(most, name), (next, _), ..] if most > next && name != OTHER => Some(name),
        _ => None,
    }
}

impl Grammar {
    fn read(&self, clauses: &[Clause], words: &[String]) -> Meaning {
        let plain = self.plain(words);
        if let Some(meaning) = self.keyword_with_number(&plain) {
            return meaning;
        }
        if self.is_keyword(words) || is(words, &self.alone) || only_signs(words) {
            return Meaning::Stop;
        }
        let only_sign = plain.is_empty() && words.iter().any(|word| SIGNS.contains(&word.as_str()));
        if only_sign
            || is(&plain, &self.alone)
            || self.is_glued(&plain)
            || clauses.iter().any(|c| self.is_keyword(&self.plain(c)))
        {
            return Meaning::FreeTextRevocation;
        }
        if is(words, &self.unsure) {
            return Meaning::PerhapsRevocation(Doubt::AmbiguousWord);
        }
        let clauses = &self.without_explained(clauses, words);
        let faint = !self.is_about_something(clauses, words);
        let mut perhaps = None;
        for clause in clauses {
            match self.judge(clause, faint) {
                ClauseFinding::Revocation => return Meaning::FreeTextRevocation,
                ClauseFinding::Perhaps(doubt) => perhaps = perhaps.or(Some(doubt)),
                ClauseFinding::Nothing => {}
            }
        }
        perhaps
            .or_else(|| self.is_misspelt(&plain).then_some(Doubt::Misspelling))
            .or_else(|| {
                let typo = faint
                    && clauses
                        .iter()
                        .any(|clause| self.revokes_but_for_a_typo(clause));
                typo.then_some(Doubt::Misspelling)
            })
            .or_else(|| {
                self.has_lone_keyword(clauses, words)
                    .then_some(Doubt::AmbiguousWord)
            })
            .map_or(Meaning::None, Meaning::PerhapsRevocation)
    }

    /// "Koniec?", "Slut nu?": words that say stop, and asked, only whether something is over.
    fn asks_whether_over(&self, body: &str, words: &[String]) -> bool {
        let is_question = body.trim_end().ends_with(['?', '？']);
        let plain = self.plain(words);
        is_question && !plain.is_empty() && plain.iter().all(|word| self.over.contains(word))
    }

    /// Without the words and signs that change nothing.
    fn plain(&self, words: &[String]) -> Clause {
        let changes =
            |word: &&String| !self.fillers.contains(*word) && !SIGNS.contains(&word.as_str());
        words.iter().filter(changes).cloned().collect()
    }

    fn is_keyword(&self, words: &[String]) -> bool {
        is(words, &self.keywords)
    }

    /// "stopnow", "STOPSTOP", "stoptexting", "ST0P", "stop2".
    fn is_glued(&self, words: &[String]) -> bool {
        let [word] = words else { return false };
        let letters = |c| match c {
            '0' => 'o',
            '1' => 'i',
            '3' => 'e',
            '5' => 's',
            c => c,
        };
        if word.contains(char::is_alphabetic)
            && self
                .keywords
                .contains(&word.chars().map(letters).collect::<String>())
        {
            return true;
        }
        let without_figures = word.trim_end_matches(|c: char| c.is_ascii_digit());
        if without_figures != word && self.keywords.contains(without_figures) {
            return true;
        }
        word.char_indices().skip(4).any(|(at, _)| {
            let (begin, end) = word.split_at(at);
            let known =
                self.keywords.contains(end) || self.fillers.contains(end) || end == "texting";
            end.len() > 1 && known && self.keywords.contains(begin)
        })
    }

    /// "Cancel. I have it already": a word that says stop only as a whole message, and more that is not about an order.
    fn has_lone_keyword(&self, clauses: &[Clause], words: &[String]) -> bool {
        let about_a_thing = words.iter().any(|word| self.things.contains(word));
        !about_a_thing
            && clauses
                .iter()
                .any(|clause| is(&self.plain(clause), &self.alone))
    }

    /// The clauses, without what an ordinary use that reaches over several of them explains.
    fn without_explained(&self, clauses: &[Clause], words: &[String]) -> Vec<Clause> {
        let mut words = words.to_vec();
        for language in &self.languages {
            language.explain_across(&mut words);
        }
        let mut words = words.into_iter();
        clauses
            .iter()
            .map(|clause| words.by_ref().take(clause.len()).collect())
            .collect()
    }

    /// Whether a message names what customers have with a brand, in any language: then it is hardly about our messages.
    fn is_about_something(&self, clauses: &[Clause], words: &[String]) -> bool {
        let figures = words.iter().flat_map(|word| word.chars());
        figures.filter(char::is_ascii_digit).count() >= LEAST_FOR_NUMBER
            || words.iter().any(|word| self.things.contains(word))
            || clauses.iter().any(|clause| {
                self.read_by(clause)
                    .any(|language| language.is_on_topic(clause))
            })
    }

    /// The languages that a clause may be written in: those that know nearly as many of its words as any.
    fn read_by<'g>(&'g self, clause: &'g [String]) -> impl Iterator<Item = &'g Language> {
        let known = |language: &Language| language.familiarity(clause);
        let most = self.languages.iter().map(known).max().unwrap_or_default();
        self.languages
            .iter()
            .filter(move |language| language.familiarity(clause) + 1 >= most)
    }

    /// Each language first says which words it knows in an ordinary use. Words that languages share ("stop") are then explained
    /// also for those that know less of the clause: a Dutch rule about the bus stop counts for a French rule about stopping.
    fn judge(&self, clause: &[String], faint: bool) -> ClauseFinding {
        let first: Vec<(usize, Vec<bool>)> = self
            .languages
            .iter()
            .map(|language| {
                let mut explained = vec![false; clause.len()];
                language.judge(clause, &mut explained, faint);
                (language.familiarity(clause), explained)
            })
            .collect();
        // Which words are explained by languages that know at least so much of the clause.
        let explained = |least: usize| -> Vec<bool> {
            let by_these = |at| {
                first
                    .iter()
                    .any(|(known, explained)| *known >= least && explained[at])
            };
            (0..clause.len()).map(by_these).collect()
        };
        let most = first
            .iter()
            .map(|(known, _)| *known)
            .max()
            .unwrap_or_default();
        let mut perhaps = ClauseFinding::Nothing;
        for (language, (known, _)) in self.languages.iter().zip(&first) {
            if known + TOO_FOREIGN <= most {
                continue;
            }
            let better = explained(known + 1);
            let hide = |(at, word): (usize, &String)| {
                if better[at] {
                    pattern::EXPLAINED.to_owned()
                } else {
                    word.clone()
                }
            };
            let clause: Clause = clause.iter().enumerate().map(hide).collect();
            match language.judge(&clause, &mut explained(*known), faint) {
                ClauseFinding::Revocation => return ClauseFinding::Revocation,
                found if perhaps == ClauseFinding::Nothing => perhaps = found,
                _ => {}
            }
        }
        let unexplained =
            |(word, explained): (&String, &bool)| !explained && self.stems.contains(word);
        if perhaps == ClauseFinding::Nothing
            && clause
                .iter()
                .zip(&explained(most.saturating_sub(1)))
                .any(unexplained)
        {
            return ClauseFinding::Perhaps(Doubt::StopWord);
        }
        perhaps
    }
}

/// The words are all of the list, or together are one of it: "STOP STOP", "opt out".
fn is(words: &[String], list: &HashSet<String>) -> bool {
    !words.is_empty()
        && (words.iter().all(|word| list.contains(word)) || list.contains(&words.concat()))
}

fn only_signs(words: &[String]) -> bool {
    words.iter().all(|word| SIGNS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests;
