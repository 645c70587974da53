//! The words and rules of one language, read from its file (`en.txt` …).
//!
//! A file has lists of words (`keywords: stop …`, several lines add up) and rules, one a line, tried in their order:
//!
//! * `- pattern`: an ordinary use of these words; what it matches is explained and no later rule sees it.
//! * `+ pattern`: a revocation.
//! * `? doubt pattern`: perhaps one, for this reason.
//!
//! `{name} = words` names words for patterns. `#` begins a comment.

use std::collections::{HashMap, HashSet};

use super::pattern::{EXPLAINED, Index, Pattern};
use super::text;
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
    rules: Vec<(Verdict, Pattern)>,
    index: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Other,
    Revocation,
    Perhaps(Doubt),
}

/// What the rules find in a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
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
            "-" => (Verdict::Other, rest),
            "+" => (Verdict::Revocation, rest),
            "?" => {
                let (doubt, pattern) = rest.split_once(' ').ok_or("a doubt without a pattern")?;
                let doubt = Doubt::parse(doubt).ok_or_else(|| format!("no doubt {doubt}"))?;
                (Verdict::Perhaps(doubt), pattern)
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
        let lists = [&self.keywords, &self.alone, &self.fillers, &self.stems];
        let known = |word: &&String| {
            self.index.knows(word) || lists.iter().any(|list| list.contains(*word))
        };
        clause.iter().filter(known).count()
    }

    /// Tries the rules on a clause. Marks in `explained` which words an ordinary use explains; a doubt about words that are
    /// explained already, perhaps by another language, is none.
    pub(super) fn judge(&self, clause: &[String], explained: &mut [bool]) -> Found {
        let mut clause = clause.to_vec();
        let mut found = Found::Nothing;
        let present = self.index.present(&clause);
        for (verdict, pattern) in self
            .rules
            .iter()
            .filter(|(_, pattern)| pattern.may_fit(&present))
        {
            let mut from = 0;
            while let Some((begin, end)) = pattern.find(&clause, from) {
                match verdict {
                    Verdict::Revocation => return Found::Revocation,
                    Verdict::Perhaps(doubt) => {
                        let open = !explained[begin..end].contains(&true);
                        if open && found == Found::Nothing {
                            found = Found::Perhaps(*doubt);
                        }
                        from = begin + 1;
                    }
                    Verdict::Other => {
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
