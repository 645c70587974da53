//! A template as its author may see it: words, and between them names and numbers as pieces that are moved and edited as a whole.
//!
//! Three kinds of pieces cover what texts need: a value, a name with what stands in its place if it is unknown, and words that depend
//! on how many messages are unread. A source that says anything else has no pieces and is edited as code. One that has them is what
//! they write, to the byte, so that nothing is lost on the way there and back.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Formatter};

use super::scan::{Block, TemplatePiece, TemplateTag, VariableIndex, scan};
use super::vars::{MAY_BE_MISSING, VARIABLES};

/// Stands for the number of messages in [`TextPiece::Count`].
const NUMBER: &str = "#";

/// A part of a text. It displays as its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPiece {
    Words(String),
    /// `{{link}}`
    Value(&'static str),
    /// `{{#if agent}}{{agent}} of {{brand}}{{else}}{{brand}}{{/if}}`: the words around a name are said only with it. They, and what is said
    /// instead, may have `BRAND` in them.
    Name {
        variable: &'static str,
        before: String,
        after: String,
        otherwise: String,
    },
    /// `{{#if several}}{{count}} messages{{else}}a message{{/if}}`; `#` is the number.
    Count {
        one: String,
        several: String,
    },
}

/// The brand's name within words: it is always known.
const BRAND: &str = "{{brand}}";

impl Display for TextPiece {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let otherwise = |words: &str| match words {
            "" => String::new(),
            words => format!("{{{{else}}}}{words}"),
        };
        match self {
            Self::Words(words) => f.write_str(words),
            Self::Value(variable) => write!(f, "{{{{{variable}}}}}"),
            Self::Name {
                variable,
                before,
                after,
                otherwise: words,
            } => write!(
                f,
                "{{{{#if {variable}}}}}{before}{{{{{variable}}}}}{after}{}{{{{/if}}}}",
                otherwise(words)
            ),
            Self::Count { one, several } => write!(
                f,
                "{{{{#if several}}}}{}{}{{{{/if}}}}",
                several.replace(NUMBER, "{{count}}"),
                otherwise(one)
            ),
        }
    }
}

/// The pieces of a source; `None`: it can be edited as code alone.
pub fn pieces(source: &str) -> Option<Vec<TextPiece>> {
    read(source, as_it_stands).filter(|pieces| written(pieces) == source)
}

/// The same text, in a source that has pieces if there is one.
pub(super) fn simplified(source: &str) -> String {
    read(source, common_apart).map_or_else(|| source.to_owned(), |pieces| written(&pieces))
}

fn written(pieces: &[TextPiece]) -> String {
    pieces.iter().map(ToString::to_string).collect()
}

/// What stands in a branch of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Atom {
    Words(String),
    Value(VariableIndex),
}

/// The pieces of a block: its variable and both of its branches.
type ReadBlock = fn(VariableIndex, &[Atom], &[Atom]) -> Option<Vec<TextPiece>>;

/// Pieces that say what the source says.
fn read(source: &str, read_block: ReadBlock) -> Option<Vec<TextPiece>> {
    let mut found = Vec::new();
    let mut rest = scan(source).ok()?.into_iter();
    while let Some(piece) = rest.next() {
        match tag_of(piece)? {
            Ok(atom) => found.push(outside(atom)),
            Err(TemplateTag::Open(Block::If, variable)) => {
                let (yes, no) = branches(&mut rest)?;
                found.extend(read_block(variable, &yes, &no)?);
            }
            Err(_) => return None,
        }
    }
    Some(found)
}

/// An atom, or else the tag of a block; `None` for what pieces would not write in the same way.
fn tag_of(piece: TemplatePiece) -> Option<Result<Atom, TemplateTag>> {
    match piece {
        TemplatePiece::Text { text, .. } => {
            let is_plain = !text.contains("{{") && !text.ends_with('\\');
            is_plain.then_some(Ok(Atom::Words(text)))
        }
        TemplatePiece::Tag(tag) if tag.trims_before || tag.trims_after => None,
        TemplatePiece::Tag(tag) => Some(match tag.tag {
            TemplateTag::Value(variable) => Ok(Atom::Value(variable)),
            other => Err(other),
        }),
    }
}

fn outside(atom: Atom) -> TextPiece {
    match atom {
        Atom::Words(words) => TextPiece::Words(words),
        Atom::Value(variable) => TextPiece::Value(VARIABLES[variable].name),
    }
}

/// Both branches of an `{{#if …}}` that has just begun.
fn branches(rest: &mut impl Iterator<Item = TemplatePiece>) -> Option<(Vec<Atom>, Vec<Atom>)> {
    let (mut yes, mut no) = (Vec::new(), None);
    loop {
        match tag_of(rest.next()?)? {
            // A tag that is alone on its line takes the line with it.
            Ok(Atom::Words(words)) if words.contains(['\n', '\r']) => return None,
            Ok(atom) => no.as_mut().unwrap_or(&mut yes).push(atom),
            Err(TemplateTag::Else) if no.is_none() => no = Some(Vec::new()),
            Err(TemplateTag::Close(Block::If)) => return Some((yes, no.unwrap_or_default())),
            Err(_) => return None,
        }
    }
}

fn as_it_stands(variable: VariableIndex, yes: &[Atom], no: &[Atom]) -> Option<Vec<TextPiece>> {
    Some(vec![chip(variable, yes, no)?])
}

/// What both branches begin with, and what both end with, stands outside.
fn common_apart(variable: VariableIndex, yes: &[Atom], no: &[Atom]) -> Option<Vec<TextPiece>> {
    let pairs = || yes.iter().rev().zip(no.iter().rev());
    let after = pairs().take_while(|(a, b)| a == b).count();
    let (short_yes, short_no) = (&yes[..yes.len() - after], &no[..no.len() - after]);
    let pairs = short_yes.iter().zip(short_no);
    let before = pairs.take_while(|(a, b)| a == b).count();
    let Some(piece) = chip(variable, &short_yes[before..], &short_no[before..]) else {
        return as_it_stands(variable, yes, no);
    };
    let outside = |atoms: &[Atom]| atoms.iter().cloned().map(outside).collect::<Vec<_>>();
    let after = outside(&yes[yes.len() - after..]);
    Some([outside(&yes[..before]), vec![piece], after].concat())
}

fn chip(variable: VariableIndex, yes: &[Atom], no: &[Atom]) -> Option<TextPiece> {
    let name = VARIABLES[variable].name;
    if name == "several" {
        let (one, several) = (words(no)?, counted(yes)?);
        let says_something = !one.is_empty() || !several.is_empty();
        return says_something.then_some(TextPiece::Count { one, several });
    }
    if !MAY_BE_MISSING.contains(&name) {
        return None;
    }
    let at = yes.iter().position(|atom| *atom == Atom::Value(variable))?;
    Some(TextPiece::Name {
        variable: name,
        before: words(&yes[..at])?,
        after: words(&yes[at + 1..])?,
        otherwise: words(no)?,
    })
}

/// Words alone, with the brand's name among them.
fn words(atoms: &[Atom]) -> Option<String> {
    let words = atoms.iter().map(|atom| match atom {
        Atom::Words(words) => Some(words.as_str()),
        Atom::Value(variable) if VARIABLES[*variable].name == "brand" => Some(BRAND),
        Atom::Value(_) => None,
    });
    words.collect()
}

/// Words with the number of messages in them once, or never.
fn counted(atoms: &[Atom]) -> Option<String> {
    let mut found = String::new();
    for atom in atoms {
        match atom {
            Atom::Words(words) if !words.contains(NUMBER) => found.push_str(words),
            Atom::Value(variable)
                if VARIABLES[*variable].name == "count" && !found.contains(NUMBER) =>
            {
                found.push_str(NUMBER);
            }
            _ => return None,
        }
    }
    Some(found)
}
