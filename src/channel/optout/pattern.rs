//! Patterns over the words of a clause.
//!
//! A pattern is a row of items between blanks:
//!
//! * `word`, `one|other`, `begin*`: a word, one of several, a word that begins so. `do_not` are two words in a row.
//! * `item?`: it may be missing.
//! * `~3`: up to three words of any kind.
//! * `^`, `$`: the beginning and the end of the clause; `again|$` is either.
//! * `{name}`: the words that the language lists under this name.

use std::collections::HashMap;

use super::text;

/// See the module.
#[derive(Debug)]
pub(super) struct Pattern {
    items: Vec<Item>,
    /// Of each of these lists at least one word must be in a clause: their numbers in the index.
    needs: Vec<Vec<usize>>,
}

/// The words that patterns begin their phrases with, so that most patterns need not be tried on a clause.
#[derive(Debug, Default)]
pub(super) struct Index {
    words: HashMap<String, usize>,
    beginnings: HashMap<String, usize>,
}

impl Index {
    fn number(&mut self, phrase: &Phrase) -> usize {
        let next = self.words.len() + self.beginnings.len();
        let open = phrase.open && phrase.words.len() == 1;
        let map = if open {
            &mut self.beginnings
        } else {
            &mut self.words
        };
        *map.entry(phrase.words[0].clone()).or_insert(next)
    }

    /// Whether a phrase begins with the word.
    pub(super) fn knows(&self, word: &str) -> bool {
        self.words.contains_key(word)
    }

    /// Whether the word begins like one that a phrase needs only the beginning of.
    pub(super) fn knows_beginning(&self, word: &str) -> bool {
        word.char_indices()
            .any(|(at, c)| self.beginnings.contains_key(&word[..at + c.len_utf8()]))
    }

    /// The words that phrases begin with.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.keys().map(String::as_str)
    }

    /// Which of its words are in the clause, by their numbers.
    pub(super) fn present(&self, clause: &[String]) -> Vec<bool> {
        let mut present = vec![false; self.words.len() + self.beginnings.len()];
        for word in clause {
            if let Some(number) = self.words.get(word) {
                present[*number] = true;
            }
            for (at, c) in word.char_indices() {
                if let Some(number) = self.beginnings.get(&word[..at + c.len_utf8()]) {
                    present[*number] = true;
                }
            }
        }
        present
    }
}

#[derive(Debug)]
enum Item {
    Begin,
    End,
    Gap(usize),
    Any {
        phrases: Vec<Phrase>,
        optional: bool,
    },
}

#[derive(Debug)]
struct Phrase {
    /// None at all: the end of the clause.
    words: Vec<String>,
    /// The last word is only the beginning of one.
    open: bool,
}

/// A word that has been explained: no item matches it, no gap crosses it.
pub(super) const EXPLAINED: &str = "";

impl Pattern {
    /// Reads a pattern; `class` gives the words of a `{name}`.
    pub(super) fn parse(
        raw: &str,
        index: &mut Index,
        class: &impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut items = Vec::new();
        for item in raw.split_whitespace() {
            items.push(match item {
                "^" => Item::Begin,
                "$" => Item::End,
                _ => match item.strip_prefix('~') {
                    Some(most) => {
                        Item::Gap(most.parse().map_err(|_| format!("no number: {item}"))?)
                    }
                    None => any(item, class)?,
                },
            });
        }
        let mut needs = Vec::new();
        for item in &items {
            if let Item::Any {
                phrases,
                optional: false,
            } = item
                && phrases.iter().all(|phrase| !phrase.words.is_empty())
            {
                needs.push(phrases.iter().map(|phrase| index.number(phrase)).collect());
            }
        }
        if needs.is_empty() {
            return Err(format!("matches everything: {raw}"));
        }
        Ok(Self { items, needs })
    }

    /// Whether it may fit a clause with these words of the index.
    pub(super) fn may_fit(&self, present: &[bool]) -> bool {
        self.needs
            .iter()
            .all(|words| words.iter().any(|word| present[*word]))
    }

    /// The first place it fits at or after `from`: where it begins and ends.
    pub(super) fn find(&self, clause: &[String], from: usize) -> Option<(usize, usize)> {
        (from..clause.len()).find_map(|at| Some((at, ends(&self.items, clause, at)?)))
    }
}

fn any(item: &str, class: &impl Fn(&str) -> Option<String>) -> Result<Item, String> {
    let (item, optional) = match item.strip_suffix('?') {
        Some(item) => (item, true),
        None => (item, false),
    };
    let mut phrases = Vec::new();
    for one in item.split('|') {
        match one
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            Some(name) => {
                let words = class(name).ok_or_else(|| format!("no words called {name}"))?;
                for word in words.split_whitespace().flat_map(|w| w.split('|')) {
                    phrases.push(phrase(word)?);
                }
            }
            None => phrases.push(phrase(one)?),
        }
    }
    Ok(Item::Any { phrases, optional })
}

fn phrase(raw: &str) -> Result<Phrase, String> {
    if raw == "$" {
        return Ok(Phrase {
            words: Vec::new(),
            open: false,
        });
    }
    let (raw, open) = match raw.strip_suffix('*') {
        Some(raw) => (raw, true),
        None => (raw, false),
    };
    let words: Vec<String> = raw
        .split('_')
        .flat_map(|w| text::tokens(&text::fold(w)))
        .collect();
    if words.is_empty() {
        return Err("an empty word".to_owned());
    }
    Ok(Phrase { words, open })
}

/// Where the items end that begin at `at`.
fn ends(items: &[Item], clause: &[String], at: usize) -> Option<usize> {
    let Some((item, rest)) = items.split_first() else {
        return Some(at);
    };
    match item {
        Item::Begin => (at == 0).then(|| ends(rest, clause, at))?,
        Item::End => (at == clause.len()).then(|| ends(rest, clause, at))?,
        Item::Gap(most) => {
            let free = clause[at..]
                .iter()
                .take(*most)
                .take_while(|w| *w != EXPLAINED)
                .count();
            (0..=free).find_map(|skipped| ends(rest, clause, at + skipped))
        }
        Item::Any { phrases, optional } => phrases
            .iter()
            .filter_map(|phrase| phrase.end(clause, at))
            .find_map(|end| ends(rest, clause, end))
            .or_else(|| optional.then(|| ends(rest, clause, at))?),
    }
}

impl Phrase {
    fn end(&self, clause: &[String], at: usize) -> Option<usize> {
        if self.words.is_empty() {
            return (at == clause.len()).then_some(at);
        }
        let end = at + self.words.len();
        let here = clause.get(at..end)?;
        let last = self.words.len() - 1;
        let fits = here
            .iter()
            .zip(&self.words)
            .enumerate()
            .all(|(n, (word, wanted))| {
                word == wanted || (self.open && n == last && word.starts_with(wanted.as_str()))
            });
        fits.then_some(end)
    }
}
