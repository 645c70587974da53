//! What a template says, for who looks for contradictions in a rule.

use super::engine::{Engine, Reads};
use super::program::{Escape, Program};
use super::vars::{MAY_BE_MISSING, VARIABLES};
use super::{Field, TemplateError, layout};
use crate::channel::optout;
use crate::domain::channel::WayOut;
use crate::domain::contradiction::TextFacts;
use crate::domain::ids::Channel;
use crate::domain::rule::Template;

impl Engine {
    /// What each part of a template says. `language` is the tag under which the rule has it.
    pub fn facts(
        &self,
        channel: Channel,
        language: &str,
        template: &Template,
    ) -> Result<Vec<TextFacts>, TemplateError> {
        let own = self.read(channel, template, Reads::ForPeople)?;
        let parts = [
            (Field::Subject, own.subject.as_deref(), Escape::Nothing),
            (Field::Preheader, own.preheader.as_deref(), Escape::Nothing),
            (Field::Text, Some(&*own.text), Escape::Nothing),
            (Field::Html, own.html.as_deref(), Escape::Html),
        ];
        let facts = parts.into_iter().filter_map(|(field, program, escape)| {
            let program = program?;
            Some(TextFacts {
                channel,
                language: language.to_owned(),
                part: field.as_str(),
                without_fallback: without_fallback(program),
                says_how_to_stop: self.says_how_to_stop(channel, language, (program, escape)),
            })
        });
        Ok(facts.collect())
    }

    /// Whether it is said with and without names: what stands within `{{#if first_name}}` is not always said.
    fn says_how_to_stop(
        &self,
        channel: Channel,
        language: &str,
        (program, escape): (&Program, Escape),
    ) -> bool {
        let all = [self.sample.clone(), self.sample.clone().without_names()];
        all.iter().all(|vars| {
            let said = program.fill(&vars.values(channel), escape);
            let link = &vars.unsubscribe_link;
            match channel.profile().way_out {
                // Letters of the links would count as words.
                WayOut::StopWord => {
                    let words = said.replace(&vars.link, " ").replace(link, " ");
                    optout::is_explained_in(&words, language)
                }
                WayOut::Link => said.contains(link) || said.contains(&layout::escaped(link)),
            }
        })
    }
}

fn without_fallback(program: &Program) -> Vec<&'static str> {
    let all = (0..).zip(VARIABLES);
    let may_be_missing = all.filter(|(_, variable)| MAY_BE_MISSING.contains(&variable.name));
    may_be_missing
        .filter(|(place, _)| program.shows_unknown(*place))
        .map(|(_, variable)| variable.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(
        channel: Channel,
        language: &str,
        parts: (&str, &str, Option<&str>),
    ) -> Vec<TextFacts> {
        let template = Template {
            subject: Some(parts.0.to_owned()),
            preheader: None,
            text: parts.1.to_owned(),
            html: parts.2.map(str::to_owned),
        };
        Engine::new().facts(channel, language, &template).unwrap()
    }

    #[test]
    fn a_name_needs_something_in_its_place() {
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 13] = [
            ("Hi {{first_name}} {{link}}", &["first_name"]),
            ("{{skill}} {{agent}} {{link}}", &["agent", "skill"]),
            ("{{brand}} {{count}} {{since_minutes}} {{link}}", &[]),
            ("{{#if agent}}{{agent}}{{/if}} {{link}}", &[]),
            ("{{#if agent}}{{agent}}{{else}}{{brand}}{{/if}} {{link}}", &[]),
            ("{{#if agent}}x{{else}}{{agent}}{{/if}} {{link}}", &["agent"]),
            ("{{#unless agent}}{{agent}}{{/unless}} {{link}}", &["agent"]),
            ("{{#unless agent}}we{{else}}{{agent}}{{/unless}} {{link}}", &[]),
            ("{{#if first_name}}{{agent}}{{/if}} {{link}}", &["agent"]),
            ("{{#if first_name}}x{{else if agent}}{{agent}}{{/if}} {{link}}", &[]),
            ("{{#if first_name}}{{#if agent}}{{agent}} {{first_name}}{{/if}}{{/if}} {{link}}", &[]),
            ("{{#if agent}}a{{/if}}{{agent}} {{link}}", &["agent"]),
            ("{{#if several}}{{agent}}{{/if}} {{link}}", &["agent"]),
        ];
        for (text, expected) in cases {
            let told = facts(Channel::Sms, "en", ("", text, None));
            assert_eq!(told[0].without_fallback, expected, "{text}");
        }
    }

    #[test]
    fn an_email_says_it_by_the_link_and_a_text_message_by_a_word() {
        let link = "{{unsubscribe_link}}";
        let html = "<p>{{link}} {{#if agent}}{{unsubscribe_link}}{{/if}}</p>";
        let told = facts(Channel::Email, "en", ("{{agent}}", link, Some(html)));
        let parts: Vec<_> = told.iter().map(|f| (f.part, f.says_how_to_stop)).collect();
        assert_eq!(parts, [("subject", false), ("text", true), ("html", false)]);
        assert_eq!(told[0].without_fallback, ["agent"]);
        for (text, says) in [
            ("{{link}} Reply STOP to opt out", true),
            ("{{link}} {{#if agent}}Reply STOP to opt out{{/if}}", false),
            ("{{link}}", false),
        ] {
            let told = facts(Channel::Sms, "en", ("", text, None));
            assert_eq!((told.len(), told[0].says_how_to_stop), (1, says), "{text}");
        }
    }

    #[test]
    fn the_built_in_texts_leave_nothing_out() {
        for language in super::super::languages() {
            for channel in Channel::ALL {
                let built_in = super::super::built_in(channel, language);
                for told in Engine::new().facts(channel, language, &built_in).unwrap() {
                    assert_eq!(told.without_fallback, [""; 0], "{channel} in {language}");
                    let says = told.says_how_to_stop || told.part == "subject";
                    assert!(says, "{channel} in {language}");
                }
            }
        }
    }
}
