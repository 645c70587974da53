//! The words and rules of one language, read from its file (`en.txt` …).
//!
//! A file has lists of words (`keywords: stop …`, several lines add up) and rules, one a line, tried in their order:
//!
//! * `- pattern`: an ordinary use of these words; what it matches is explained and no later rule sees it.
//! * `-- pattern`: the same, beyond commas: "don't call, text me".
//! * `+ pattern`: a revocation.
//! * `? doubt pattern`: perhaps one, for this reason.
//! * `?? doubt pattern`: the same, but only in a message that is about none of the `topics` of any language.
//!
//! `{name} = words` names words for patterns. `#` begins a comment.

use std::collections::{HashMap, HashSet};

use super::pattern::{EXPLAINED, Index, Pattern};
use super::{text, typo};
use crate::domain::opt_out::Doubt;

/// What a language calls what.
#[derive(Debug, Default)]
pub(super) struct Language {
    /// Say stop wherever they stand alone between two punctuation marks.
    pub keywords: HashSet<String>,
    /// Say stop as the whole message.
    pub alone: HashSet<String>,
    /// Perhaps say stop as the whole message, and are ordinary answers in this or another language.
    pub unsure: HashSet<String>,
    /// Change nothing beside a keyword.
    pub fillers: HashSet<String>,
    /// What customers have with a brand: their order, an appointment.
    pub things: HashSet<String>,
    /// Perhaps mean stop in a sentence that no rule explains.
    pub stems: HashSet<String>,
    /// Of the words that say stop, those that also say that something is over.
    pub over: HashSet<String>,
    /// Frequent words, which only tell the language.
    common: HashSet<String>,
    /// What customers write about when they do not mean the messages themselves: a word, several, or the beginning of one.
    topics: Vec<Pattern>,
    /// Ordinary uses that reach over several clauses.
    across: Vec<Pattern>,
    rules: Vec<(TextVerdict, Pattern)>,
    index: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextVerdict {
    Other,
    Revocation,
    Perhaps(Doubt),
    /// Only where the message is about nothing else.
    Faintly(Doubt),
}

/// What the rules find in a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClauseFinding {
    Revocation,
    Perhaps(Doubt),
    Nothing,
}

impl Language {
    /// Reads a file. The error names its line.
    pub(super) fn parse(file: &str) -> Result<Self, String> {
        let mut language = Self::default();
        let mut classes: HashMap<String, String> = HashMap::new();
        for (n, line) in file.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                language
                    .read(line, &mut classes)
                    .map_err(|why| format!("line {}: {why}", n + 1))?;
            }
        }
        let things = classes.get("thing").map(String::as_str).unwrap_or_default();
        language.things = things
            .split(['|', ' '])
            .map(|w| text::fold(w.trim_end_matches('*')))
            .collect();
        language.things.remove("");
        Ok(language)
    }

    fn read(&mut self, line: &str, classes: &mut HashMap<String, String>) -> Result<(), String> {
        if let Some((name, words)) = line.strip_prefix('{').and_then(|l| l.split_once("} =")) {
            classes.entry(name.to_owned()).or_default().push_str(words);
            return Ok(());
        }
        let (begin, rest) = line.split_once(' ').ok_or("neither words nor a rule")?;
        let (verdict, pattern) = match begin {
            "-" => (TextVerdict::Other, rest),
            "+" => (TextVerdict::Revocation, rest),
            "?" | "??" => {
                let (doubt, pattern) = rest.split_once(' ').ok_or("a doubt without a pattern")?;
                let doubt = Doubt::parse(doubt).ok_or_else(|| format!("no doubt {doubt}"))?;
                let verdict = if begin == "?" {
                    TextVerdict::Perhaps(doubt)
                } else {
                    TextVerdict::Faintly(doubt)
                };
                (verdict, pattern)
            }
            "--" => {
                let class = |name: &str| classes.get(name).cloned();
                let across = Pattern::parse(rest, &mut self.index, &class)?;
                self.across.push(across);
                return Ok(());
            }
            "topics:" => {
                let any = rest.split_whitespace().collect::<Vec<_>>().join("|");
                let topics = Pattern::parse(&any, &mut self.index, &|_| None)?;
                self.topics.push(topics);
                return Ok(());
            }
            list => return self.words(list, rest),
        };
        let class = |name: &str| classes.get(name).cloned();
        let pattern = Pattern::parse(pattern, &mut self.index, &class)?;
        self.rules.push((verdict, pattern));
        Ok(())
    }

    fn words(&mut self, list: &str, words: &str) -> Result<(), String> {
        let list = match list {
            "keywords:" => &mut self.keywords,
            "alone:" => &mut self.alone,
            "unsure:" => &mut self.unsure,
            "fillers:" => &mut self.fillers,
            "stems:" => &mut self.stems,
            "over:" => &mut self.over,
            "common:" => &mut self.common,
            other => return Err(format!("no list {other}")),
        };
        list.extend(
            words
                .split_whitespace()
                .map(|word| text::tokens(&text::fold(word)).concat()),
        );
        Ok(())
    }

    /// How many words of a clause the language knows: what it says of a clause counts for more, the more it knows of it.
    pub(super) fn familiarity(&self, clause: &[String]) -> usize {
        let known = |word: &&String| self.index.knows(word) || self.lists(word);
        clause.iter().filter(known).count()
    }

    fn lists(&self, word: &str) -> bool {
        [
            &self.keywords,
            &self.alone,
            &self.fillers,
            &self.stems,
            &self.common,
        ]
        .iter()
        .any(|list| list.contains(word))
    }

    /// Whether a word is one of the language as far as this file goes, be it by its beginning.
    pub(super) fn knows(&self, word: &str) -> bool {
        self.index.knows(word) || self.index.knows_beginning(word) || self.lists(word)
    }

    /// The words that a typing error may have made this one of.
    pub(super) fn neighbours<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.index
            .words()
            .filter(move |known| typo::begin_alike(known, word) && typo::one_edit(known, word))
    }

    /// Hides what an ordinary use that reaches over several clauses explains.
    pub(super) fn explain_across(&self, words: &mut [String]) {
        for pattern in &self.across {
            if let Some((begin, end)) = pattern.find(words, 0) {
                words[begin..end].fill(EXPLAINED.to_owned());
            }
        }
    }

    /// Whether a clause is about one of the topics.
    pub(super) fn is_on_topic(&self, clause: &[String]) -> bool {
        let present = self.index.present(clause);
        self.topics
            .iter()
            .any(|topics| topics.may_fit(&present) && topics.find(clause, 0).is_some())
    }

    /// Tries the rules on a clause, the faint ones only if `faint`. Marks in `explained` which words an ordinary use explains; a doubt about words that are
    /// explained already, perhaps by another language, is none.
    pub(super) fn judge(
        &self,
        clause: &[String],
        explained: &mut [bool],
        faint: bool,
    ) -> ClauseFinding {
        let mut clause = clause.to_vec();
        let mut found = ClauseFinding::Nothing;
        let present = self.index.present(&clause);
        for (verdict, pattern) in self
            .rules
            .iter()
            .filter(|(_, pattern)| pattern.may_fit(&present))
        {
            let mut from = 0;
            while let Some((begin, end)) = pattern.find(&clause, from) {
                match verdict {
                    TextVerdict::Revocation => return ClauseFinding::Revocation,
                    TextVerdict::Faintly(_) if !faint => break,
                    TextVerdict::Perhaps(doubt) | TextVerdict::Faintly(doubt) => {
                        let open = !explained[begin..end].contains(&true);
                        if open && found == ClauseFinding::Nothing {
                            found = ClauseFinding::Perhaps(*doubt);
                        }
                        from = begin + 1;
                    }
                    TextVerdict::Other => {
                        for at in begin..end {
                            EXPLAINED.clone_into(&mut clause[at]);
                            explained[at] = true;
                        }
                        from = end.max(begin + 1);
                    }
                }
            }
        }
        found
    }
}
