//! Which templates are let in: variables, `if` and `unless`, and nothing else.
//!
//! Looking at the parsed template, not at one rendering of it, also finds a misspelt variable in a branch that the sample data
//! does not take. The size is limited *before* parsing, because the parser is recursive.

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template};

use super::vars::VARIABLES;
use super::{Field, TemplateError};

const MAX_HTML: usize = 100_000;
const MAX_TEXT: usize = 20_000;
const MAX_SUBJECT: usize = 1_000;
/// A tag names one variable.
const MAX_TAG: usize = 100;
/// Nested `if`s cannot be deeper than there are.
const MAX_BLOCKS: usize = 100;

/// Parses a template and makes sure that it is harmless and complete.
pub(super) fn compile(field: Field, source: &str) -> Result<Template, TemplateError> {
    let error = |(what, mend): (String, String)| TemplateError { field, what, mend };
    let limit = match field {
        Field::Subject => MAX_SUBJECT,
        Field::Text => MAX_TEXT,
        Field::Html => MAX_HTML,
    };
    if source.len() > limit {
        let what = format!("is longer than {limit} bytes");
        return Err(error((what, "shorten it".to_owned())));
    }
    bounded_tags(source).map_err(error)?;
    let template = Template::compile(source).map_err(|e| {
        let at = match e.pos() {
            Some((line, column)) => format!("cannot be read at line {line}, column {column}"),
            None => "cannot be read".to_owned(),
        };
        error((
            at,
            "check that every {{ has its }} and every {{#if}} its {{/if}}".to_owned(),
        ))
    })?;
    vet(&template).map_err(error)?;
    Ok(template)
}

type Fault = (String, String);

fn fault(what: impl Into<String>, mend: impl Into<String>) -> Fault {
    (what.into(), mend.into())
}

fn bounded_tags(source: &str) -> Result<(), Fault> {
    let mut blocks = 0;
    for tag in source.split("{{").skip(1) {
        let length = tag.find("}}").unwrap_or(tag.len());
        // Three and four braces arrive here as a tag that starts with a brace, or as an empty one.
        if length > MAX_TAG && !tag.starts_with('!') {
            return Err(fault(
                "has a {{ without }} soon after it",
                "close it, or write a single {",
            ));
        }
        blocks += usize::from(tag.trim_start_matches('~').starts_with(['#', '^']));
    }
    if blocks > MAX_BLOCKS {
        return Err(fault(
            format!("has more than {MAX_BLOCKS} blocks"),
            "use fewer {{#if}}",
        ));
    }
    Ok(())
}

fn vet(template: &Template) -> Result<(), Fault> {
    template
        .elements
        .iter()
        .try_for_each(|element| match element {
            TemplateElement::RawString(_) | TemplateElement::Comment(_) => Ok(()),
            TemplateElement::Expression(expression) => vet_variable(expression),
            TemplateElement::HelperBlock(block) => vet_block(block),
            TemplateElement::HtmlExpression(_) => Err(fault(
                "has a {{{…}}}, which would put text into the mail unescaped",
                "write two braces",
            )),
            _ => Err(fault(
                "uses partials or decorators ({{>…}}, {{*…}})",
                "write the text out",
            )),
        })
}

fn vet_variable(expression: &HelperTemplate) -> Result<(), Fault> {
    if !expression.params.is_empty() || !expression.hash.is_empty() {
        return Err(fault("has a {{…}} with more than one word in it", hint()));
    }
    known(&expression.name)
}

fn vet_block(block: &HelperTemplate) -> Result<(), Fault> {
    let name = block.name.as_name().unwrap_or_default();
    if !matches!(name, "if" | "unless") {
        return Err(fault(
            format!("uses {{{{#{name}}}}}"),
            "only {{#if …}} and {{#unless …}} are possible",
        ));
    }
    let [condition] = &block.params[..] else {
        return Err(fault(
            format!("has an {{{{#{name}}}}} without exactly one variable"),
            hint(),
        ));
    };
    if !block.hash.is_empty() || block.block_param.is_some() {
        return Err(fault(
            format!("has options in an {{{{#{name}}}}}"),
            "leave them out",
        ));
    }
    known(condition)?;
    let branches = [&block.template, &block.inverse];
    branches.into_iter().flatten().try_for_each(vet)
}

fn known(parameter: &Parameter) -> Result<(), Fault> {
    let name = match parameter {
        Parameter::Name(name) => name.as_str(),
        Parameter::Path(Path::Relative((segments, _))) => match &segments[..] {
            [PathSeg::Named(name)] => name.as_str(),
            _ => return Err(fault("has a {{…}} that is not a plain variable", hint())),
        },
        _ => return Err(fault("has a {{…}} that is not a plain variable", hint())),
    };
    if VARIABLES.iter().any(|v| v.name == name) {
        Ok(())
    } else {
        let name: String = name.chars().take(40).collect();
        Err(fault(
            format!("uses an unknown variable, {{{{{name}}}}}"),
            hint(),
        ))
    }
}

fn hint() -> String {
    let names: Vec<&str> = VARIABLES.iter().map(|v| v.name).collect();
    format!("use one of {}", names.join(", "))
}
