//! A template, read once and filled in many times: a flat list of instructions.
//!
//! Neither reading nor filling in recurses, so no template is too deep for a stack, and reading takes time in proportion to the
//! source: Handlebars' own parser recurses for each block and counts lines from the top for each tag. Which white space goes is
//! Handlebars' rule (a tag that is alone on its line takes the line with it); a test compares both on random sources.

use handlebars::html_escape;

use super::scan::{
    Block, MAX_TAGS, PlacedTag, TemplateFault, TemplatePiece, TemplateTag, VariableIndex, fault,
    note, scan,
};
use super::vars::Value;
use super::{Field, TemplateError};

/// Blocks that are open at one place; each `{{else if}}` is one inside of the one before.
pub(super) const MAX_OPEN: usize = 20;

/// Bytes of a source.
pub(super) const fn max_length(field: Field) -> usize {
    match field {
        Field::Subject | Field::Preheader => 1_000,
        Field::Text => 20_000,
        Field::Html => 100_000,
    }
}

/// How values are written into the text around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    Html,
    Nothing,
}

/// A template that is known to be harmless: it holds [`MAX_TAGS`] instructions of each kind at most, and they only lead forward.
#[derive(Debug)]
pub(super) struct Program(Vec<ProgramStep>);

#[derive(Debug)]
enum ProgramStep {
    Text(String),
    Value(VariableIndex),
    /// Goes on at `to` unless the block's condition holds.
    Unless {
        block: Block,
        variable: VariableIndex,
        to: usize,
    },
    Jump {
        to: usize,
    },
}

impl Program {
    /// Reads a template, and says what is wrong with it, where, and what to do about it.
    pub fn read(field: Field, source: &str) -> Result<Self, TemplateError> {
        let limit = max_length(field);
        if source.len() > limit {
            return Err(TemplateError {
                field,
                what: format!("is longer than {limit} bytes"),
                fix: "shorten it".to_owned(),
            });
        }
        let program = scan(source).and_then(|pieces| TemplateParser::new(source).read(pieces));
        program.map_err(|TemplateFault { at, what, fix }| {
            let (line, column) = place(source, at);
            let what = format!("{what}, at line {line}, column {column}");
            TemplateError { field, what, fix }
        })
    }

    /// Fills in the values of [`VARIABLES`](super::VARIABLES), in their order.
    pub fn fill(&self, values: &[Value], escape: Escape) -> String {
        let mut out = String::new();
        let mut at = 0;
        while let Some(step) = self.0.get(at) {
            at += 1;
            note(1);
            match step {
                ProgramStep::Text(text) => {
                    note(text.len());
                    out.push_str(text);
                }
                ProgramStep::Value(variable) => {
                    let value = values[*variable].to_string();
                    match escape {
                        Escape::Html => out.push_str(&html_escape(&value)),
                        Escape::Nothing => out.push_str(&value),
                    }
                }
                ProgramStep::Unless {
                    block,
                    variable,
                    to,
                } => {
                    if values[*variable].is_true() != (*block == Block::If) {
                        at = *to;
                    }
                }
                ProgramStep::Jump { to } => at = *to,
            }
        }
        out
    }

    /// Whether the value of this variable is written although it is unknown: whatever else is known.
    pub fn shows_unknown(&self, unknown: VariableIndex) -> bool {
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        for (at, step) in self.0.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            match step {
                ProgramStep::Value(variable) if *variable == unknown => return true,
                ProgramStep::Text(_) | ProgramStep::Value(_) => reached[at + 1] = true,
                ProgramStep::Unless {
                    block,
                    variable,
                    to,
                } => {
                    let is_tested = *variable == unknown;
                    // What is unknown is not true: `if` goes on behind the block, `unless` into it.
                    reached[at + 1] |= !is_tested || *block == Block::Unless;
                    reached[*to] |= !is_tested || *block == Block::If;
                }
                ProgramStep::Jump { to } => reached[*to] = true,
            }
        }
        false
    }
}

/// Line and column of a byte, both from 1; the column in characters.
fn place(source: &str, at: usize) -> (usize, usize) {
    let before = &source[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// A block that is open.
struct Open {
    block: Block,
    at: usize,
    /// The condition whose branch is being read, to be led past it; `None` after `{{else}}`.
    condition: Option<usize>,
    /// Ends of the branches before, to be led to the end of the block.
    ends: Vec<usize>,
}

struct TemplateParser<'s> {
    source: &'s str,
    steps: Vec<ProgramStep>,
    open: Vec<Open>,
    /// The text that stands right before the next tag.
    text_before: Option<usize>,
    /// The last tag ended in `~}}`.
    trims_after: bool,
    /// The last tag was alone on its line.
    takes_line: bool,
}

impl<'s> TemplateParser<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            steps: Vec::new(),
            open: Vec::new(),
            text_before: None,
            trims_after: false,
            takes_line: false,
        }
    }

    fn read(mut self, pieces: Vec<TemplatePiece>) -> Result<Program, TemplateFault> {
        for piece in pieces {
            match piece {
                TemplatePiece::Text { text, blank } => self.text(&text, blank),
                TemplatePiece::Tag(token) => self.tag(token)?,
            }
        }
        if let Some(open) = self.open.last() {
            let name = open.block.as_str();
            let what = format!("has an {{{{#{name}}}}} that is not closed");
            return Err(fault(
                open.at,
                what,
                format!("write {{{{/{name}}}}} where it ends"),
            ));
        }
        Ok(Program(self.steps))
    }

    fn text(&mut self, text: &str, blank: bool) {
        // Trimmed, and copied.
        note(2 * text.len());
        let kept = if self.trims_after {
            // Handlebars drops what is blank before it looks at the line.
            if blank {
                return;
            }
            text.trim_start()
        } else if self.takes_line {
            let rest = text.trim_start_matches(is_space);
            let after = rest.strip_prefix("\r\n").or(rest.strip_prefix('\n'));
            after.unwrap_or(rest)
        } else {
            text
        };
        self.takes_line = false;
        self.text_before = Some(self.steps.len());
        self.steps.push(ProgramStep::Text(kept.to_owned()));
    }

    fn tag(&mut self, token: PlacedTag) -> Result<(), TemplateFault> {
        if token.trims_before {
            self.cut_before(str::trim_end);
        }
        // A comment leaves the text after it to the tag before.
        if token.tag != TemplateTag::Comment {
            self.trims_after = token.trims_after;
        }
        if !matches!(token.tag, TemplateTag::Value(_)) {
            self.takes_line = self.is_alone(token);
        }
        match token.tag {
            TemplateTag::Comment => {}
            TemplateTag::Value(variable) => self.steps.push(ProgramStep::Value(variable)),
            TemplateTag::Open(block, variable) => self.open(token.start, block, variable)?,
            TemplateTag::Else => self.branch(token.start, None)?,
            TemplateTag::ElseIf(block, variable) => {
                self.branch(token.start, Some((block, variable)))?;
            }
            TemplateTag::Close(block) => self.close(token.start, block)?,
        }
        self.text_before = None;
        Ok(())
    }

    fn cut_before(&mut self, cut: impl Fn(&str) -> &str) {
        if let Some(ProgramStep::Text(text)) =
            self.text_before.and_then(|at| self.steps.get_mut(at))
        {
            let length = cut(text).len();
            note(text.len() - length);
            text.truncate(length);
        }
    }

    /// Whether a tag has its line to itself; the blanks before it then go.
    fn is_alone(&mut self, token: PlacedTag) -> bool {
        let after = &self.source[token.end..];
        let behind = after.trim_start_matches(is_space);
        note(after.len() - behind.len());
        let ends_line = behind.starts_with(['\n', '\r']);
        if !ends_line && !after.is_empty() {
            return false;
        }
        let before = self.source[..token.start].trim_end_matches(is_space);
        note(token.start - before.len());
        let begins_line = before.is_empty() || before.ends_with(['\n', '\r']);
        if begins_line {
            self.cut_before(|text| text.trim_end_matches(is_space));
        }
        begins_line
    }

    fn open(
        &mut self,
        at: usize,
        block: Block,
        variable: VariableIndex,
    ) -> Result<(), TemplateFault> {
        let condition = Some(self.steps.len());
        self.steps.push(ProgramStep::Unless {
            block,
            variable,
            to: 0,
        });
        self.open.push(Open {
            block,
            at,
            condition,
            ends: Vec::new(),
        });
        self.bounded(at)
    }

    /// `{{else}}`, or `{{else if …}}` with its condition.
    fn branch(
        &mut self,
        at: usize,
        condition: Option<(Block, VariableIndex)>,
    ) -> Result<(), TemplateFault> {
        let next = self.steps.len() + 1;
        let Some(open) = self.open.last_mut() else {
            let what = "has an {{else}} outside of {{#if}}";
            return Err(fault(at, what, "take it out, or write {{#if …}} before it"));
        };
        let Some(before) = open.condition.take() else {
            let name = open.block.as_str();
            let what = format!("has a second {{{{else}}}} in one {{{{#{name}}}}}");
            return Err(fault(at, what, "keep the last of them only"));
        };
        open.ends.push(self.steps.len());
        self.steps.push(ProgramStep::Jump { to: 0 });
        if let Some(ProgramStep::Unless { to, .. }) = self.steps.get_mut(before) {
            *to = next;
        }
        if let Some((block, variable)) = condition {
            open.condition = Some(next);
            self.steps.push(ProgramStep::Unless {
                block,
                variable,
                to: 0,
            });
        }
        self.bounded(at)
    }

    fn close(&mut self, at: usize, block: Block) -> Result<(), TemplateFault> {
        let name = block.as_str();
        let Some(open) = self.open.pop() else {
            let what = format!("has a {{{{/{name}}}}} that closes nothing");
            let fix = format!("take it out, or write {{{{#{name} …}}}} before it");
            return Err(fault(at, what, fix));
        };
        if open.block != block {
            let own = open.block.as_str();
            let what = format!("has a {{{{/{name}}}}} where {{{{#{own}}}}} ends");
            return Err(fault(at, what, format!("write {{{{/{own}}}}}")));
        }
        let end = self.steps.len();
        for from in open.ends.into_iter().chain(open.condition) {
            if let Some(ProgramStep::Unless { to, .. } | ProgramStep::Jump { to }) =
                self.steps.get_mut(from)
            {
                *to = end;
            }
        }
        Ok(())
    }

    fn bounded(&self, at: usize) -> Result<(), TemplateFault> {
        // A block and the `{{else if}}` in it: as many as have an end or a condition of their own.
        let depth = |open: &Open| open.ends.len() + usize::from(open.condition.is_some());
        let open: usize = self.open.iter().map(depth).sum();
        if open <= MAX_OPEN {
            return Ok(());
        }
        let what = format!(
            "has more than {MAX_OPEN} {{{{#if}}}} open at once (each {{{{else if}}}} counts as one more)"
        );
        Err(fault(at, what, "close some before, or write fewer"))
    }
}

/// Blanks within a line.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

const _: () = assert!(MAX_OPEN < MAX_TAGS);

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
