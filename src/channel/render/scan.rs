//! A template's source as tags and the text between them, in one pass.
//!
//! Splits as Handlebars does: blanks and `~` around a sigil, comments with and without dashes, `\{{` for braces that stand for
//! themselves, `\\{{` for a backslash before a tag. A tag is known by what it is, not by how it is spelt, so that whatever nests
//! is counted. What Handlebars knows beyond variables, `if`, `unless` and comments is refused here, with its place.

use super::vars::VARIABLES;

/// Tags of any kind in one text, braces that stand for themselves included.
pub(super) const MAX_TAGS: usize = 300;
/// Bytes between the braces of a tag that is no comment. A tag names one variable.
pub(super) const MAX_TAG: usize = 100;

/// What is wrong, where (as a byte of the source), and what to do about it.
#[derive(Debug)]
pub(super) struct TemplateFault {
    pub at: usize,
    pub what: String,
    pub fix: String,
}

pub(super) fn fault(at: usize, what: impl Into<String>, fix: impl Into<String>) -> TemplateFault {
    let (what, fix) = (what.into(), fix.into());
    TemplateFault { at, what, fix }
}

/// A place in [`VARIABLES`].
pub(super) type VariableIndex = usize;

/// The two blocks that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    If,
    Unless,
}

impl Block {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::Unless => "unless",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TemplateTag {
    Comment,
    /// `{{link}}`
    Value(VariableIndex),
    /// `{{#if link}}`
    Open(Block, VariableIndex),
    /// `{{else}}`, `{{^}}`
    Else,
    /// `{{else if link}}`, `{{^if link}}`
    ElseIf(Block, VariableIndex),
    /// `{{/if}}`
    Close(Block),
}

/// A tag and its place; `{{~ … ~}}` also takes the white space on that side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlacedTag {
    pub tag: TemplateTag,
    pub start: usize,
    pub end: usize,
    pub trims_before: bool,
    pub trims_after: bool,
}

/// A source's pieces in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TemplatePiece {
    /// Text that is not empty, with the backslashes that only escape taken out; `blank` if Handlebars passes over it as the white
    /// space between two tags.
    Text {
        text: String,
        blank: bool,
    },
    Tag(PlacedTag),
}

/// Notes that so many bytes were looked at or written: what reading and filling in cost, counted where tests look at it.
#[cfg(test)]
pub(super) fn note(bytes: usize) {
    COST.with(|cost| cost.set(cost.get() + bytes));
}

#[cfg(not(test))]
pub(super) fn note(_: usize) {}

#[cfg(test)]
thread_local! {
    pub(super) static COST: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Splits a source. Takes time in proportion to its length.
pub(super) fn scan(source: &str) -> Result<Vec<TemplatePiece>, TemplateFault> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    // Where what is not yet in `text` begins.
    let mut from = 0;
    let mut tags = 0;
    let last_dashed_end = source.rfind("--}}");
    note(source.len() - last_dashed_end.unwrap_or_default());
    while let Some(start) = source[from..].find("{{").map(|found| from + found) {
        // Found, and looked at from its end for backslashes, and copied.
        note(3 * (start - from) + 2);
        tags += 1;
        if tags > MAX_TAGS {
            let what = format!("has more than {MAX_TAGS} {{{{…}}}}");
            return Err(fault(start, what, "use fewer of them"));
        }
        let before = &source[from..start];
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        text.push_str(&before[..before.len() - backslashes.min(1)]);
        if backslashes == 1 {
            let braces = if source[start..].starts_with("{{{{") {
                4
            } else {
                2
            };
            text.push_str(&source[start..start + braces]);
            from = start + braces;
            continue;
        }
        flush(&mut pieces, &mut text);
        let token = token(source, start, last_dashed_end)?;
        from = token.end;
        pieces.push(TemplatePiece::Tag(token));
    }
    note(2 * (source.len() - from));
    text.push_str(&source[from..]);
    flush(&mut pieces, &mut text);
    Ok(pieces)
}

fn flush(pieces: &mut Vec<TemplatePiece>, text: &mut String) {
    if !text.is_empty() {
        note(text.len());
        let text = std::mem::take(text);
        let blank = text.chars().all(is_blank);
        pieces.push(TemplatePiece::Text { text, blank });
    }
}

/// White space inside of tags; all else that looks blank is a letter to Handlebars.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The tag that begins at `start`.
fn token(
    source: &str,
    start: usize,
    last_dashed_end: Option<usize>,
) -> Result<PlacedTag, TemplateFault> {
    let inside = start + 2;
    let rest = &source[inside..];
    if rest.starts_with("{{") {
        let what = "has a {{{{…}}}}, which would leave out what is in it";
        return Err(fault(start, what, "write the text out"));
    }
    if rest.starts_with('!') {
        let length = comment(rest, last_dashed_end.map(|end| end.wrapping_sub(inside)))
            .ok_or_else(|| fault(start, "has a {{! without }} after it", "close the comment"))?;
        // Looked at for its dashes, for the end with dashes, and for the end without.
        note(3 * length);
        return Ok(PlacedTag {
            tag: TemplateTag::Comment,
            start,
            end: inside + length,
            trims_before: false,
            trims_after: false,
        });
    }
    let most = rest.floor_char_boundary(MAX_TAG + 2);
    let Some(length) = rest[..most].find("}}") else {
        let what = "has a {{ without }} soon after it";
        return Err(fault(start, what, "close it, or write a single {"));
    };
    // Looked at for its end, for blanks, and for words.
    note(3 * (length + 2));
    let words = rest[..length].trim_matches(is_blank);
    let (trims_before, words) = match words.strip_prefix('~') {
        Some(words) => (true, words.trim_start_matches(is_blank)),
        None => (false, words),
    };
    let (trims_after, words) = match words.strip_suffix('~') {
        Some(words) => (true, words.trim_end_matches(is_blank)),
        None => (false, words),
    };
    Ok(PlacedTag {
        tag: tag(start, words)?,
        start,
        end: inside + length + 2,
        trims_before,
        trims_after,
    })
}

/// Where a comment ends, counted from its `!`: with dashes at the next `--}}` if there is one, else at the next `}}`.
fn comment(rest: &str, last_dashed_end: Option<usize>) -> Option<usize> {
    let words = rest[1..].trim_start_matches(is_blank);
    if let Some(words) = words.strip_prefix("--") {
        let begin = rest.len() - words.len();
        // Without this each of many comments would be searched to the end of the source.
        let may_end = last_dashed_end.is_some_and(|last| last < rest.len() && last >= begin);
        if let Some(found) = may_end.then(|| words.find("--}}")).flatten() {
            return Some(begin + found + 4);
        }
    }
    rest.find("}}").map(|found| found + 2)
}

/// What a tag is, from what stands between its braces.
fn tag(at: usize, words: &str) -> Result<TemplateTag, TemplateFault> {
    let after = |sigil: char| words.strip_prefix(sigil).map(|w| w.trim_matches(is_blank));
    if words.starts_with(['>', '*']) || after('#').is_some_and(|w| w.starts_with(['>', '*'])) {
        let what = "uses partials or decorators ({{>…}}, {{*…}})";
        return Err(fault(at, what, "write the text out"));
    }
    if words.starts_with(['{', '&']) {
        let what = "has a {{{…}}} or {{&…}}, which would put text into the mail unescaped";
        return Err(fault(at, what, "write two braces"));
    }
    if let Some(words) = after('#') {
        let (block, variable) = condition(at, words)?;
        return Ok(TemplateTag::Open(block, variable));
    }
    if let Some(name) = after('/') {
        return close(at, name);
    }
    // To Handlebars `elseif` is `else if`.
    if let Some(words) = after('^').or(words.strip_prefix("else")) {
        let words = words.trim_matches(is_blank);
        if words.is_empty() {
            return Ok(TemplateTag::Else);
        }
        let (block, variable) = condition(at, words)?;
        return Ok(TemplateTag::ElseIf(block, variable));
    }
    if words.contains(is_blank) {
        let what = "has a {{…}} with more than one word in it";
        return Err(fault(at, what, names()));
    }
    Ok(TemplateTag::Value(variable(at, words)?))
}

fn close(at: usize, name: &str) -> Result<TemplateTag, TemplateFault> {
    match name {
        "if" => Ok(TemplateTag::Close(Block::If)),
        "unless" => Ok(TemplateTag::Close(Block::Unless)),
        _ => {
            let what = format!("has a {{{{/{}}}}}", shown(name));
            let fix = "only {{/if}} and {{/unless}} close something";
            Err(fault(at, what, fix))
        }
    }
}

/// `if link`.
fn condition(at: usize, words: &str) -> Result<(Block, VariableIndex), TemplateFault> {
    let mut words = words.split(is_blank).filter(|word| !word.is_empty());
    let name = words.next().unwrap_or_default();
    let block = match name {
        "if" => Block::If,
        "unless" => Block::Unless,
        _ => {
            let what = format!("uses {{{{#{}}}}}", shown(name));
            let fix = "only {{#if …}} and {{#unless …}} are possible";
            return Err(fault(at, what, fix));
        }
    };
    let what = || format!("has an {{{{#{name}}}}} without exactly one variable");
    let condition = words.next().ok_or_else(|| fault(at, what(), names()))?;
    let variable = variable(at, condition)?;
    match words.next() {
        None => Ok((block, variable)),
        Some(_) => Err(fault(at, what(), names())),
    }
}

fn variable(at: usize, name: &str) -> Result<VariableIndex, TemplateFault> {
    if let Some(found) = VARIABLES.iter().position(|v| v.name == name) {
        return Ok(found);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_$:".contains(c) || !c.is_ascii();
    if name.is_empty() || name == "this" || !name.chars().all(is_plain) {
        let what = "has a {{…}} that is not a plain variable";
        return Err(fault(at, what, names()));
    }
    let what = format!("uses an unknown variable, {{{{{}}}}}", shown(name));
    Err(fault(at, what, names()))
}

/// As much of what somebody wrote as fits into a sentence.
fn shown(name: &str) -> String {
    name.chars().take(40).collect()
}

fn names() -> String {
    let names: Vec<&str> = VARIABLES.iter().map(|v| v.name).collect();
    format!("use one of {}", names.join(", "))
}
