//! The bounds of a template in every spelling, and Handlebars itself as the judge of what a template means.

use std::thread;

use handlebars::template::{HelperTemplate, TemplateElement};
use handlebars::{Context, Handlebars, RenderContext, Renderable, StringOutput, Template};
use proptest::prelude::*;
use serde_json::{Map, Value as Json};

use super::super::scan::{COST, MAX_TAG};
use super::super::threads::STACK;
use super::super::{VARIABLES, Vars};
use super::*;
use crate::domain::ids::Channel;

fn read(source: &str) -> Result<Program, TemplateError> {
    Program::read(Field::Html, source)
}

fn refused(source: &str) -> String {
    read(source).expect_err("it is refused").to_string()
}

fn filled(source: &str, vars: &Vars) -> String {
    let program = read(source).unwrap_or_else(|error| panic!("{error}: {source}"));
    program.fill(&vars.values(Channel::Email), Escape::Html)
}

/// Ways to write that a block begins, that a condition follows, and that it ends: all the same to Handlebars.
const OPEN: &[&str] = &[
    "{{#if agent}}",
    "{{ #if agent}}",
    "{{~#if agent}}",
    "{{~ #if agent~}}",
    "{{ ~ # if agent ~ }}",
    "{{\t\r\n#\nif\tagent\n}}",
    "{{#unless agent}}",
    "{{ # unless agent }}",
    "\\\\{{#if agent}}",
];
const CHAIN: &[&str] = &[
    "{{else if agent}}",
    "{{ else if agent }}",
    "{{~else if agent~}}",
    "{{ ~ else\nif agent ~ }}",
    "{{elseif agent}}",
    "{{^if agent}}",
    "{{ ^ if agent}}",
    "{{~^unless agent}}",
    "{{else unless agent}}",
];

fn closing(open: &str) -> &'static str {
    if open.contains("unless") {
        "{{/unless}}"
    } else {
        "{{ / if }}"
    }
}

/// Blocks in one another, as many as are given.
fn nested(open: &str, depth: usize) -> String {
    open.repeat(depth) + "x" + &closing(open).repeat(depth)
}

#[test]
fn twenty_may_be_open_at_once_however_they_are_written() {
    for open in OPEN {
        let limit = filled(&nested(open, MAX_OPEN), &Vars::sample());
        let shown = !open.contains("unless");
        assert_eq!(limit.ends_with('x'), shown, "{open}: {limit}");
        for depth in [MAX_OPEN + 1, MAX_TAGS / 2] {
            let error = refused(&nested(open, depth));
            assert!(error.contains("more than 20"), "{open}: {error}");
        }
        let error = refused(&nested(open, 1_500));
        assert!(error.contains("more than 300"), "{open}: {error}");
        // One after the other there may be more.
        filled(&nested(open, 1).repeat(MAX_TAGS / 2), &Vars::sample());
        for chain in CHAIN {
            let chained = |count: usize| {
                format!(
                    "{open}a{}{}",
                    format!("{chain}b").repeat(count),
                    closing(open)
                )
            };
            filled(&chained(MAX_OPEN - 1), &Vars::sample());
            for count in [MAX_OPEN, MAX_TAGS - 2] {
                let error = refused(&chained(count));
                assert!(error.contains("more than 20"), "{open} {chain}: {error}");
            }
            assert!(refused(&chained(1_500)).contains("more than 300"));
            // A chain in a block in a chain: what is open is counted, not what was.
            let inner = format!("{open}a{}{}", chain.repeat(9), closing(open));
            let outer =
                |count: usize| format!("{open}{}{inner}{}", chain.repeat(count), closing(open));
            filled(&outer(MAX_OPEN - 11), &Vars::sample());
            assert!(refused(&outer(MAX_OPEN - 10)).contains("more than 20"));
        }
    }
}

#[test]
fn the_place_of_what_is_too_deep_is_the_first_one_beyond() {
    let source = format!("ä\n{}x{}", "{{#if link}}".repeat(21), "{{/if}}".repeat(21));
    assert!(refused(&source).contains("at line 2, column 241"));
    let source = format!("{}{{{{else if\nlink}}}}", "{{#if link}}\n".repeat(20));
    assert!(refused(&source).contains("at line 21, column 1"));
}

#[test]
fn three_hundred_tags_of_any_kind_are_possible_and_one_more_is_not() {
    for tag in [
        "{{link}}",
        "{{ ~ link ~ }}",
        "{{!}}",
        "{{!-- --}}",
        "{{! {{link }}",
        "\\{{link}}",
        "\\{{{",
        "\\\\{{link}}",
    ] {
        let inside = tag.matches("{{").count().min(1);
        let most = MAX_TAGS / inside;
        filled(&tag.repeat(most), &Vars::sample());
        let error = refused(&tag.repeat(most + 1));
        assert!(error.contains("more than 300"), "{tag}: {error}");
    }
    // The ends of blocks count as well.
    filled(&"{{#if link}}{{/if}}".repeat(150), &Vars::sample());
    let error = refused(&("{{#if link}}{{/if}}".repeat(150) + "{{link}}"));
    assert!(error.contains("more than 300"), "{error}");
}

#[test]
fn a_source_and_a_tag_have_a_longest_length() {
    for (field, most) in [
        (Field::Subject, 1_000),
        (Field::Text, 20_000),
        (Field::Html, 100_000),
    ] {
        assert!(Program::read(field, &"x".repeat(most)).is_ok());
        let error = Program::read(field, &"x".repeat(most + 1)).err().unwrap();
        assert_eq!(error.field, field);
        assert!(error.what.contains(&most.to_string()), "{error}");
    }
    let padded = |blanks: usize| format!("{{{{{}link}}}}", " ".repeat(blanks));
    filled(&padded(MAX_TAG - 4), &Vars::sample());
    assert!(refused(&padded(MAX_TAG - 3)).contains("without }} soon after"));
    // Cut where a character ends.
    assert!(refused(&format!("{{{{{}", "ä".repeat(200))).contains("without }}"));
    filled(&format!("{{{{!{}}}}}", "x".repeat(50_000)), &Vars::sample());
}

#[test]
fn what_handlebars_knows_beyond_variables_and_conditions_is_refused_at_its_place() {
    for (source, word) in [
        ("{{{{raw}}}} x {{{{/raw}}}}", "{{{{…}}}}"),
        ("{{{link}}}", "unescaped"),
        ("{{~{link}~}}", "unescaped"),
        ("{{ & link}}", "unescaped"),
        ("{{> x}}", "partials"),
        ("{{~ > x}}", "partials"),
        ("{{#> x}}{{/x}}", "partials"),
        ("{{# > x}}{{/x}}", "partials"),
        ("{{* x}}", "decorators"),
        ("{{#*inline \"x\"}}{{/inline}}", "decorators"),
        ("{{#each link}}{{/each}}", "{{#each}}"),
        ("{{#with link}}{{/with}}", "{{#with}}"),
        ("{{#link}}{{/link}}", "{{#link}}"),
        ("{{#}}{{/}}", "{{#}}"),
        ("{{(((((((((link)))))))))}}", "plain"),
        ("{{#if (((((link)))))}}{{/if}}", "plain"),
        ("{{#if \"link\"}}{{/if}}", "plain"),
        ("{{#if [link]}}{{/if}}", "plain"),
        ("{{#if link.link.link}}{{/if}}", "plain"),
        ("{{#if @root}}{{/if}}", "plain"),
        ("{{#if true}}{{/if}}", "unknown variable, {{true}}"),
        ("{{#if link as |x|}}{{/if}}", "exactly one"),
        ("{{#if link includeZero=true}}{{/if}}", "exactly one"),
        ("{{#if link brand}}{{/if}}", "exactly one"),
        ("{{#if}}{{/if}}", "exactly one"),
        ("{{link brand}}", "more than one word"),
        ("{{}}", "plain"),
        ("{{~}}", "plain"),
        ("{{ . }}", "plain"),
        ("{{nobody}}", "unknown variable, {{nobody}}"),
        ("{{lïnk}}", "unknown variable, {{lïnk}}"),
        ("{{\u{a0}link}}", "unknown variable"),
        ("{{elsewhere}}", "{{#where}}"),
        ("{{else}}", "outside of"),
        ("{{^}}", "outside of"),
        ("{{else if link}}", "outside of"),
        ("{{#if link}}{{else}}{{else}}{{/if}}", "second {{else}}"),
        (
            "{{#if link}}{{else}}{{else if link}}{{/if}}",
            "second {{else}}",
        ),
        ("{{/if}}", "closes nothing"),
        ("{{#if link}}{{/unless}}", "where {{#if}} ends"),
        ("{{#if link}}{{/}}", "{{/}}"),
        ("{{#if link}}{{/each}}", "{{/each}}"),
        ("{{#if link}}", "not closed"),
        ("{{#if link}}{{else}}", "not closed"),
        ("{{!-- x --}", "{{! without }}"),
        ("{{", "without }}"),
        ("{{link}", "without }}"),
    ] {
        let error = refused(&format!("a\nbc{source}"));
        assert!(error.contains(word), "{source}: {error}");
        assert!(error.contains("at line 2, column"), "{source}: {error}");
        assert!(!error.ends_with("; "), "{source}: {error}");
        // The judge agrees that it is no template, or it is one that does more than fill in.
        let judged = Template::compile(source);
        assert!(
            !judged.is_ok_and(|template| is_plain(&template)),
            "{source} is harmless"
        );
    }
}

/// Only variables and conditions: the rule that [`scan`] keeps, looked up in what Handlebars itself has read.
fn is_plain(template: &Template) -> bool {
    let is_variable = |text: Option<&str>| VARIABLES.iter().any(|v| Some(v.name) == text);
    let is_bare = |helper: &HelperTemplate| helper.hash.is_empty() && helper.block_param.is_none();
    template.elements.iter().all(|element| match element {
        TemplateElement::RawString(_) | TemplateElement::Comment(_) => true,
        TemplateElement::Expression(helper) => {
            is_bare(helper) && helper.params.is_empty() && is_variable(helper.name.as_name())
        }
        TemplateElement::HelperBlock(helper) => {
            is_bare(helper)
                && matches!(helper.name.as_name(), Some("if" | "unless"))
                && helper.params.len() == 1
                && is_variable(helper.params[0].as_name())
                && [&helper.template, &helper.inverse]
                    .into_iter()
                    .flatten()
                    .all(is_plain)
        }
        _ => false,
    })
}

/// What Handlebars makes of a source; `None` if it is none of its templates.
fn judged(source: &str, vars: &Vars) -> Option<(String, bool)> {
    let template = Template::compile(source).ok()?;
    let values: Map<String, Json> = VARIABLES
        .iter()
        .zip(vars.values(Channel::Email))
        .map(|(variable, value)| {
            let json = match value {
                Value::Text(text) => text.into(),
                Value::Number(number) => number.into(),
                Value::Flag(flag) => flag.into(),
            };
            (variable.name.to_owned(), json)
        })
        .collect();
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    let mut out = StringOutput::new();
    let context = Context::from(Json::Object(values));
    template
        .render(&engine, &context, &mut RenderContext::new(None), &mut out)
        .ok()?;
    Some((out.into_string().ok()?, is_plain(&template)))
}

#[test]
fn white_space_goes_where_handlebars_takes_it() {
    for source in [
        "a\n{{#if link}}\nb\n{{/if}}\nc\n",
        "a\n  {{#if link}}  \n  b\n\t{{else}}\t\n  c\n  {{/if}}\n d",
        "{{#if link}}\r\n a \r\n{{/if}}\r\nb",
        "{{#if link}}\n\n a\n\n{{/if}}\n\nb",
        "{{#if agent}}a{{else}}b{{/if}} c",
        "a {{~#if link~}} b {{~else~}} c {{~/if~}} d",
        "a {{~link~}} \n {{brand}} ",
        "a\n{{! c }}\n b",
        "a {{! c }}\n b",
        "{{link~}} {{! c }} b",
        "{{#if link~}}\n   {{brand}}\n   text\n{{/if}}",
        "{{#if link}}\n{{#if brand}}\nx\n{{/if}}\n{{/if}}\n",
        "{{#unless link}}\nx\n{{else if brand}}\ny\n{{else}}\nz\n{{/unless}}\n",
        "\\{{link}} \\\\{{link}} \\\\\\{{link}} \\{{{link}}} \\{{{{{link}}",
        "  {{#if link}}  ",
        "\u{2003}{{~link~}}\u{2003}x",
        "{{#if link}} {{/if}} \n",
        "{{!--}} x {{!-- y --}} z",
        "{{!--}} x",
        "{{! -- }} x --}} y",
        "{{link}}}}} {",
    ] {
        for vars in [Vars::sample(), Vars::sample().without_names()] {
            let own = read(source)
                .ok()
                .map(|program| program.fill(&vars.values(Channel::Email), Escape::Html));
            let judge = judged(source, &vars).map(|(text, _)| text);
            assert_eq!(own, judge, "{source:?}");
        }
    }
}

/// Pieces of which templates, and what looks like them, are made.
const PIECES: &[&str] = &[
    "{{link}}",
    "{{ first_name }}",
    "{{~agent}}",
    "{{brand~}}",
    "{{~skill~}}",
    "{{count}}",
    "{{#if link}}",
    "{{#if agent}}",
    "{{~#if agent~}}",
    "{{ #if first_name}}",
    "{{#unless agent}}",
    "{{#if several}}",
    "{{/if}}",
    "{{/if}}",
    "{{~/if~}}",
    "{{/unless}}",
    "{{else}}",
    "{{^}}",
    "{{~else~}}",
    "{{else if agent}}",
    "{{~^unless several~}}",
    "{{elseif skill}}",
    "{{!c}}",
    "{{!-- }} --}}",
    "{{!--}}",
    "\\",
    "\\\\",
    "{",
    "{{",
    "}}",
    "{{{",
    "{{{{",
    "~",
    "!",
    "#",
    "^",
    "/",
    "-",
    "(",
    ")",
    "[",
    "]",
    "\"",
    "=",
    "|",
    "if",
    "else",
    "link",
    "each",
    ">",
    "*",
    "&",
    "@",
    ".",
    "..",
    "this",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "a",
    "é",
    "\u{a0}",
    "\u{2028}",
    "<b>",
    "\\{{{{",
    "\\{{{link}}}",
];

fn soup() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(PIECES);
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Mostly whole blocks, so that much of it is a template.
fn template() -> impl Strategy<Value = String> {
    let blank = || {
        proptest::sample::select(
            &[
                "", "", " ", "\n", "  \n", "\r\n", "\t", "x", " x\n", "\\", "\u{2003}",
            ][..],
        )
    };
    let leaf = prop_oneof![
        blank().prop_map(str::to_owned),
        proptest::sample::select(&PIECES[..6]).prop_map(str::to_owned),
        proptest::sample::select(&["{{!c}}", "\\{{x}}", "{{!-- }} --}}", "\\\\{{link}}"][..])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let many = || proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| all.concat());
        let open = proptest::sample::select(
            &[
                "{{#if agent}}",
                "{{~#if several}}",
                "{{#if link~}}",
                "{{ ~#if skill ~}}",
            ][..],
        );
        let chain = proptest::sample::select(CHAIN);
        let otherwise =
            proptest::sample::select(&["{{else}}", "{{~^}}", "{{else~}}", "{{~else~}}"][..]);
        let end = proptest::sample::select(&["{{/if}}", "{{~/if}}", "{{/if~}}", "{{~ /if ~}}"][..]);
        let edge = (blank(), blank(), blank());
        (
            open,
            many(),
            proptest::option::of((chain, many())),
            proptest::option::of((otherwise, many())),
            end,
            edge,
        )
            .prop_map(|(open, body, chained, otherwise, end, (a, b, c))| {
                let chained =
                    chained.map_or(String::new(), |(tag, body)| format!("{tag}{b}{body}"));
                let otherwise =
                    otherwise.map_or(String::new(), |(tag, body)| format!("{a}{tag}{body}"));
                format!("{a}{open}{b}{body}{c}{chained}{otherwise}{c}{end}{a}")
            })
    })
}

fn agrees(source: &str) {
    for vars in [Vars::sample(), Vars::sample().without_names()] {
        let own = read(source).map(|p| p.fill(&vars.values(Channel::Email), Escape::Html));
        match (own, judged(source, &vars)) {
            (Ok(own), judge) => assert_eq!(Some((own, true)), judge, "{source:?}"),
            // What the judge takes and is plain is taken here, up to the bounds.
            (Err(error), Some((_, true))) => {
                assert!(error.what.contains("more than"), "{source:?}: {error}");
            }
            (Err(_), _) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_tags_mean_what_they_mean_to_handlebars(source in soup()) {
        agrees(&source);
    }

    #[test]
    fn random_templates_mean_what_they_mean_to_handlebars(source in template()) {
        agrees(&source);
    }
}

/// A long source of one kind of piece after another.
fn long() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(PIECES);
    (proptest::collection::vec((piece, 1_usize..400), 1..60)).prop_map(|runs| {
        let all: String = runs
            .iter()
            .map(|(piece, times)| piece.repeat(*times))
            .collect();
        all.chars().take(100_000).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_source_is_too_much_for_the_threads_that_read_it(source in long()) {
        let thread = thread::Builder::new().stack_size(STACK);
        let read = thread.spawn(move || {
            if let Ok(program) = Program::read(Field::Html, &source) {
                program.fill(&Vars::sample().values(Channel::Email), Escape::Html);
            }
        });
        prop_assert!(read.unwrap().join().is_ok());
    }
}

/// The largest sources that are let in, of the kinds that are dear to read.
fn largest() -> Vec<String> {
    let most = max_length(Field::Html);
    let padded = |tags: String, pad: &str| {
        let room = (most - tags.len()) / pad.len();
        [
            pad.repeat(room) + &tags,
            tags.clone() + &pad.repeat(room),
            tags.replace("}}", &format!("}}}}{}", pad.repeat(room / MAX_TAGS))),
        ]
    };
    let open = nested("{{~#if link}}", MAX_OPEN);
    ["x", " ", "\\", "\r\n", "{ ", "}}"]
        .into_iter()
        .flat_map(|pad| {
            [
                "{{link}}".repeat(MAX_TAGS),
                "{{!-- --}}".repeat(MAX_TAGS),
                "{{!-- }}".repeat(MAX_TAGS),
                "x\\{{".repeat(MAX_TAGS),
                open.repeat(MAX_TAGS / MAX_OPEN / 2),
                "{{#if link}}{{/if}}".repeat(MAX_TAGS / 2),
            ]
            .into_iter()
            .flat_map(move |tags| padded(tags, pad))
        })
        .filter(|source| source.len() <= most)
        .collect()
}

/// Bytes looked at and written for each byte of the source: a bound that does not depend on how many tags there are.
const COST_PER_BYTE: usize = 20;

#[test]
fn the_largest_templates_cost_in_proportion_to_their_length() {
    let largest = largest();
    assert!(largest.len() > 70, "{}", largest.len());
    let values = Vars::sample().values(Channel::Email);
    for source in largest {
        let shown = &source[..source.floor_char_boundary(60)];
        COST.set(0);
        let program = read(&source).unwrap_or_else(|error| panic!("{error}"));
        program.fill(&values, Escape::Html);
        let cost = COST.get();
        assert!(cost >= source.len(), "{shown}: {cost} is not counted");
        let most = COST_PER_BYTE * source.len();
        assert!(cost <= most, "{shown}: {cost} for {} bytes", source.len());
    }
}
