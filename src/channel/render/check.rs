//! What to tell somebody who saves a template.

use std::collections::BTreeSet;

use super::{Engine, Field, Reads, Rendered, TemplateError, Vars, layout};
use crate::channel::sms;
use crate::domain::channel::{Length, UnknownPolicy};
use crate::domain::ids::Channel;
use crate::domain::rule::Template;

/// Something to tell the person who wrote a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateProblem {
    pub severity: Severity,
    pub field: Field,
    pub what: String,
    pub fix: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The template cannot be saved.
    Error,
    /// It works, but probably not as meant.
    Warning,
}

impl From<TemplateError> for TemplateProblem {
    fn from(error: TemplateError) -> Self {
        Self {
            severity: Severity::Error,
            field: error.field,
            what: error.what,
            fix: error.fix,
        }
    }
}

impl Engine {
    /// What is wrong with a template or might surprise its author, errors first.
    pub fn check(&self, channel: Channel, template: &Template) -> Vec<TemplateProblem> {
        let own = match self.read(channel, template, Reads::ForPeople) {
            Ok(own) => own,
            Err(error) => return vec![error.into()],
        };
        let mut problems = Vec::new();
        for vars in [self.sample.clone(), self.sample.clone().without_names()] {
            let rendered = match self.own(channel, &own, None, &vars) {
                Ok(rendered) => rendered,
                Err(error) => return vec![error.into()],
            };
            for problem in surprises(channel, &rendered, &vars) {
                if !problems.contains(&problem) {
                    problems.push(problem);
                }
            }
        }
        problems
    }
}

/// So many different characters outside the SMS alphabet can be replaced; more are how the language is written.
const A_FEW: usize = 10;

fn surprises(channel: Channel, rendered: &Rendered, vars: &Vars) -> Vec<TemplateProblem> {
    let warning = |field, what: String, fix: &str| TemplateProblem {
        severity: Severity::Warning,
        field,
        what,
        fix: fix.to_owned(),
    };
    let mut problems = Vec::new();
    let parts = [
        (Field::Text, Some(&rendered.text)),
        (Field::Html, rendered.html.as_ref()),
    ];
    for (field, part) in parts {
        let Some(part) = part else { continue };
        let lacks = |value: &str| !part.contains(value) && !part.contains(&layout::escaped(value));
        if lacks(&vars.link) {
            let what = "has no link back to the conversation, {{link}}".to_owned();
            // The word in the link is also how a message is found again whose fate at the provider is unknown.
            let severity = match channel.profile().unknown {
                UnknownPolicy::Settled => Severity::Error,
                UnknownPolicy::Final => Severity::Warning,
            };
            problems.push(TemplateProblem {
                severity,
                ..warning(field, what, "insert the link")
            });
        }
    }
    if channel.profile().length == Length::Segments {
        let size = sms::measure(&rendered.text);
        let others = rendered.text.chars().filter(|c| !sms::is_gsm(*c));
        if others.collect::<BTreeSet<char>>().len() > A_FEW && size.segments > 1 {
            let what = format!("takes {} SMS, each charged separately", size.segments);
            problems.push(warning(Field::Text, what, "shorten it to 70 characters"));
        } else if let Some(offender) = size.offender.filter(|_| size.segments > 1) {
            let what = format!(
                "takes {} SMS, because “{offender}” is not in the SMS alphabet",
                size.segments
            );
            problems.push(warning(Field::Text, what, "replace that character"));
        } else if size.segments > 1 {
            let what = format!("takes {} SMS, each charged separately", size.segments);
            problems.push(warning(Field::Text, what, "shorten it to 160 characters"));
        }
    }
    problems
}
