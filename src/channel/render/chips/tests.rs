use proptest::prelude::*;

use super::*;
use crate::channel::render::program::{Escape, Program};
use crate::channel::render::{Field, Vars, built_in, languages};
use crate::domain::ids::Channel;

fn name(variable: &'static str, before: &str, after: &str, otherwise: &str) -> TextPiece {
    let (before, after, otherwise) = (before.into(), after.into(), otherwise.into());
    TextPiece::Name {
        variable,
        before,
        after,
        otherwise,
    }
}

fn count(one: &str, several: &str) -> TextPiece {
    let (one, several) = (one.to_owned(), several.to_owned());
    TextPiece::Count { one, several }
}

#[test]
fn what_has_pieces_and_what_is_code() {
    let words = |words: &str| TextPiece::Words(words.to_owned());
    let value = TextPiece::Value;
    #[rustfmt::skip]
    let cases = [
        ("", Some(vec![])),
        ("Hello {first_name}}, #1\n", Some(vec![words("Hello {first_name}}, #1\n")])),
        ("{{link}}", Some(vec![value("link")])),
        ("Hi {{#if first_name}}{{first_name}}{{else}}there{{/if}},", Some(vec![words("Hi "), name("first_name", "", "", "there"), words(",")])),
        ("{{#if agent}}{{agent}} from {{/if}}{{brand}}", Some(vec![name("agent", "", " from ", ""), value("brand")])),
        ("{{#if agent}}{{agent}}{{else}}{{brand}}{{/if}}", Some(vec![name("agent", "", "", BRAND)])),
        ("Hej{{#if skill}} ({{skill}}){{/if}}", Some(vec![words("Hej"), name("skill", " (", ")", "")])),
        ("{{#if agent}}{{agent}} ({{brand}}){{else}}our {{brand}}{{/if}}", Some(vec![name("agent", "", " ({{brand}})", "our {{brand}}")])),
        ("{{#if several}}{{count}} messages{{else}}a message{{/if}}", Some(vec![count("a message", "# messages")])),
        ("message{{#if several}}s{{/if}}", Some(vec![words("message"), count("", "s")])),
        ("{{#if several}}{{else}}one{{/if}}", Some(vec![count("one", "")])),
        // What pieces would not say, or not in the same words.
        ("{{ link }}", None), ("{{~link}}", None), ("{{! why }}{{link}}", None), ("\\{{link}}", None), ("\\\\{{link}}", None),
        ("{{#if first_name}}Hello{{/if}}", None), ("{{#unless agent}}we{{/unless}}", None), ("{{#if link}}{{link}}{{/if}}", None),
        ("{{#if agent}}{{agent}}{{agent}}{{/if}}", None), ("{{#if agent}}{{agent}} {{first_name}}{{/if}}", None),
        ("{{#if agent}}{{agent}}{{else}}{{/if}}", None), ("{{#if agent}}{{agent}}\n{{/if}}", None),
        ("{{#if agent}}{{agent}}{{else}}{{#if skill}}{{skill}}{{/if}}{{/if}}", None), 
        ("{{#if several}}{{count}} of {{count}}{{/if}}", None), ("{{#if several}}# {{count}}{{/if}}", None), ("{{#if several}}{{/if}}", None),
        ("{{#if agent}}{{agent}}", None), ("{{nobody}}", None),
        ("{{#if agent}}{{brand}}{{/if}}", None),
    ];
    for (source, expected) in cases {
        assert_eq!(pieces(source), expected, "{source}");
    }
}

#[test]
fn what_both_branches_say_stands_outside() {
    for (source, simple) in [
        (
            "{{#if agent}}{{agent}} from {{brand}}{{else}}{{brand}}{{/if}}",
            "{{#if agent}}{{agent}} from {{/if}}{{brand}}",
        ),
        (
            "{{#if agent}}{{brand}}の{{agent}}{{else}}{{brand}}{{/if}}",
            "{{brand}}{{#if agent}}の{{agent}}{{/if}}",
        ),
        (
            "{{#if agent}}{{agent}}\n{{else}}{{brand}}{{/if}}",
            "{{#if agent}}{{agent}}\n{{else}}{{brand}}{{/if}}",
        ),
        (
            "{{#if agent}}{{agent}} ({{brand}}){{else}}{{brand}}{{/if}}",
            "{{#if agent}}{{agent}} ({{brand}}){{else}}{{brand}}{{/if}}",
        ),
    ] {
        assert_eq!(simplified(source), simple);
    }
}

#[test]
fn every_built_in_text_is_written_without_code() {
    for language in languages() {
        for channel in Channel::ALL {
            let text = built_in(channel, language);
            for part in text.subject.iter().chain([&text.text]) {
                assert!(pieces(part).is_some(), "{channel} in {language}: {part}");
            }
        }
    }
}

/// What a source says to everybody: with and without names, for one message and for several.
fn said(source: &str) -> Vec<String> {
    let program = Program::read(Field::Text, source).unwrap();
    let sample = Vars::sample();
    let several = Vars {
        count: 3,
        ..sample.clone()
    };
    let all = [
        sample.clone(),
        several.clone(),
        sample.without_names(),
        several.without_names(),
    ];
    let fill = |vars: &Vars| program.fill(&vars.values(Channel::Sms), Escape::Nothing);
    all.iter().map(fill).collect()
}

const FRAGMENTS: [&str; 20] = [
    "{{#if agent}}",
    "{{#if several}}",
    "{{#if first_name}}",
    "{{#if link}}",
    "{{#unless agent}}",
    "{{else}}",
    "{{/if}}",
    "{{/unless}}",
    "{{agent}}",
    "{{first_name}}",
    "{{count}}",
    "{{brand}}",
    "{{link}}",
    "{{~link}}",
    "{{! x }}",
    "\n",
    " ",
    " word ",
    "\\",
    "#",
];

fn source() -> impl Strategy<Value = String> {
    let tags = prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..14);
    let whole = prop::sample::select(vec![
        "{{#if agent}}{{agent}} of {{/if}}",
        "{{#if agent}}{{agent}}, {{brand}}{{else}}{{brand}}{{/if}}",
        "{{#if several}}{{count}} new{{else}}one{{/if}}",
        "\n{{#if several}}x{{/if}}\n",
        " {{#if first_name}} {{first_name}}{{/if}} \n",
    ]);
    prop::collection::vec(
        prop_oneof![
            whole.prop_map(str::to_owned),
            tags.prop_map(|tags| tags.concat())
        ],
        0..5,
    )
    .prop_map(|parts| parts.concat())
}

fn piece() -> impl Strategy<Value = TextPiece> {
    let plain = || "[a-zé .,!']{0,8}";
    let of = prop::sample::select(&MAY_BE_MISSING[..]);
    prop_oneof![
        "[a-zé \n#}{]{1,12}"
            .prop_filter("no braces", |words| !words.contains("{{")
                && !words.ends_with('{'))
            .prop_map(TextPiece::Words),
        prop::sample::select(VARIABLES).prop_map(|variable| TextPiece::Value(variable.name)),
        (
            of,
            plain(),
            plain(),
            prop_oneof![plain().boxed(), Just(BRAND.to_owned()).boxed()]
        )
            .prop_map(|(variable, before, after, otherwise)| TextPiece::Name {
                variable,
                before,
                after,
                otherwise
            }),
        ("[a-z]{1,8}", "[a-z ]{0,6}#?[a-z ]{0,6}")
            .prop_map(|(one, several)| TextPiece::Count { one, several }),
    ]
}

/// Words that follow each other are the same words.
fn joined(pieces: Vec<TextPiece>) -> Vec<TextPiece> {
    let mut found: Vec<TextPiece> = Vec::new();
    for piece in pieces {
        match (found.last_mut(), piece) {
            (Some(TextPiece::Words(before)), TextPiece::Words(words)) => before.push_str(&words),
            (_, piece) => found.push(piece),
        }
    }
    found
}

proptest! {
    #[test]
    fn pieces_are_lossless_or_there_are_none(source in source()) {
        if let Some(found) = pieces(&source) {
            prop_assert_eq!(written(&found), source.clone());
        }
        // Another way to write it says the same, and has pieces.
        if Program::read(Field::Text, &source).is_ok() {
            let simple = simplified(&source);
            prop_assert_eq!(said(&simple), said(&source));
            prop_assert_eq!(simplified(&simple), simple);
        }
    }

    #[test]
    fn what_pieces_write_has_these_pieces(given in prop::collection::vec(piece(), 0..8)) {
        let given = joined(given);
        let source = written(&given);
        prop_assert_eq!(pieces(&source), Some(given));
    }

    #[test]
    fn fuzz_pieces(source in "\\PC{0,60}") {
        let _ = (pieces(&source), simplified(&source));
    }
}
