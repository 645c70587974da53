//! The HTML around an e-mail's text.
//!
//! The text is the only source: its paragraphs become paragraphs, the line that is the link becomes the button (labelled with the line
//! before it), "Words: address" becomes linked words, and everything from the unsubscribe link's paragraph on becomes the small
//! print. So whoever writes a text, in any language, gets an HTML part that says the same. Only our own two links are ever linked.

use handlebars::Handlebars;
use serde::Serialize;
use serde_json::json;

use super::engine::EmailWords;
use super::vars::Vars;
use crate::channel::clean;
use crate::domain::language::is_right_to_left;

const NAME: &str = "email.html";
/// Characters that mail programs may show of it.
pub(super) const LONGEST_PREHEADER: usize = 140;

pub(super) struct EmailLayout {
    engine: Handlebars<'static>,
}

/// A paragraph, or the button if `button` has a label.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Paragraph {
    button: Option<String>,
    lines: Vec<Vec<TextSpan>>,
}

/// Words, linked or not.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TextSpan {
    text: String,
    href: Option<String>,
}

impl EmailLayout {
    pub fn new() -> Self {
        let mut engine = Handlebars::new();
        engine.set_strict_mode(true);
        engine
            .register_template_string(NAME, include_str!("../../../templates/email.html.hbs"))
            .expect("a test renders it");
        Self { engine }
    }

    /// `language` is that of the text.
    pub fn around(&self, words: &EmailWords<'_>, language: &str, vars: &Vars) -> String {
        let (blocks, footer) = split(words.text, vars);
        let direction = if is_right_to_left(language) {
            "rtl"
        } else {
            "ltr"
        };
        let data = json!({
            "language": language.replace('_', "-"),
            "direction": direction,
            "subject": words.subject,
            "preheader": words.preheader,
            "brand": clean::line(&vars.brand, clean::MAX_NAME),
            "link": vars.link,
            "blocks": blocks,
            "footer": footer,
        });
        self.engine
            .render(NAME, &data)
            .expect("the layout uses only what is given above")
    }
}

/// A value as it stands in HTML.
pub(super) fn escaped(value: &str) -> String {
    handlebars::html_escape(value)
}

/// What mail programs show beside the subject: the first paragraph that says more than hello.
pub(super) fn first_words(text: &str, vars: &Vars) -> String {
    let paragraph = paragraphs(text).find(|p| {
        let words = p
            .iter()
            .map(|line| line.split_whitespace().count())
            .sum::<usize>();
        words > 3 && !p.iter().any(|line| line.contains(&vars.link))
    });
    clean::line(&paragraph.unwrap_or_default().join(" "), LONGEST_PREHEADER)
}

/// The brand's own HTML, with a preheader at the beginning of its body if there is one.
pub(super) fn with_preheader(html: String, preheader: &str) -> String {
    if preheader.is_empty() {
        return html;
    }
    let small = html.to_ascii_lowercase();
    let body = small.find("<body").and_then(|at| {
        let end = small[at..].find('>')?;
        Some(at + end + 1)
    });
    let (before, rest) = html.split_at(body.unwrap_or(0));
    let hidden = "display:none; max-height:0; overflow:hidden; mso-hide:all;";
    let preheader = escaped(preheader);
    format!("{before}<div style=\"{hidden}\">{preheader}</div>{rest}")
}

fn paragraphs(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .split(|line| line.is_empty())
        .filter(|paragraph| !paragraph.is_empty())
        .map(<[&str]>::to_vec)
        .collect::<Vec<_>>()
        .into_iter()
}

fn split(text: &str, vars: &Vars) -> (Vec<Paragraph>, Vec<Paragraph>) {
    let (mut body, mut footer) = (Vec::new(), Vec::new());
    for paragraph in paragraphs(text) {
        let is_small_print = paragraph.iter().any(|l| l.contains(&vars.unsubscribe_link));
        if is_small_print || !footer.is_empty() {
            footer.push(words(&paragraph, vars));
        } else {
            body.extend(blocks(&paragraph, vars));
        }
    }
    (body, footer)
}

fn blocks(paragraph: &[&str], vars: &Vars) -> Vec<Paragraph> {
    let Some(at) = paragraph.iter().position(|line| *line == vars.link) else {
        return vec![words(paragraph, vars)];
    };
    let (before, after) = (&paragraph[..at], &paragraph[at + 1..]);
    let (label, before) = match before.split_last() {
        Some((label, rest)) if label.chars().count() <= 60 => {
            (label.trim_end_matches([':', '：']), rest)
        }
        _ => (clean_host(&vars.link), before),
    };
    let mut blocks = Vec::new();
    if !before.is_empty() {
        blocks.push(words(before, vars));
    }
    blocks.push(Paragraph {
        button: Some(label.trim_end().to_owned()),
        lines: Vec::new(),
    });
    if !after.is_empty() {
        blocks.push(words(after, vars));
    }
    blocks
}

/// A button needs a label in every language; without words of the author's, the host it leads to.
fn clean_host(link: &str) -> &str {
    let host = link.split_once("://").map_or(link, |(_, rest)| rest);
    host.split(['/', '?', '#']).next().unwrap_or(host)
}

fn words(paragraph: &[&str], vars: &Vars) -> Paragraph {
    Paragraph {
        button: None,
        lines: paragraph.iter().map(|line| spans(line, vars)).collect(),
    }
}

/// One after the other, not one inside of the other: a line may hold hundreds of links.
fn spans(line: &str, vars: &Vars) -> Vec<TextSpan> {
    let own = [vars.link.as_str(), vars.unsubscribe_link.as_str()];
    let mut spans = Vec::new();
    let mut push = |text: &str, href: Option<&str>| {
        if !text.is_empty() {
            spans.push(TextSpan {
                text: text.to_owned(),
                href: href.map(str::to_owned),
            });
        }
    };
    let mut rest = line;
    while let Some((at, found)) = own
        .into_iter()
        .filter(|link| !link.is_empty())
        .filter_map(|link| Some((rest.find(link)?, link)))
        .min()
    {
        let (before, after) = (&rest[..at], &rest[at + found.len()..]);
        // "Stop these reminders: https://…" reads better as linked words.
        let label = before.trim_end().strip_suffix([':', '：']);
        if let Some(label) = label.filter(|label| after.is_empty() && !label.is_empty()) {
            push(label.trim_end(), Some(found));
        } else {
            push(before, None);
            push(found, Some(found));
        }
        rest = after;
    }
    push(rest, None);
    spans
}
