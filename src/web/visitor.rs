//! Pages for visitors, who know the brand and have never heard of this service: in the language of the message that led here, else in
//! the nearest that their browser asks for.

use std::sync::LazyLock;

use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::templates;
use crate::channel::render;
use crate::domain::channel::Parts;
use crate::domain::ids::Channel;

/// What the pages say in one language. `{brand}` stands for the brand's name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitorWords {
    /// What a brand is called that is not configured any more.
    team: String,
    home: String,
    help: String,
    pub message: PageWords,
    pub stop: ChannelWords,
    pub stopped: ChannelWords,
    pub resumed: ChannelWords,
    pub blocked: PageWords,
    pub expired: PageWords,
    #[serde(skip)]
    language: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageWords {
    pub heading: String,
    pub text: String,
}

/// The same, where it depends on how the message came.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelWords {
    pub heading: String,
    email: String,
    text: String,
    #[serde(default)]
    pub button: String,
}

impl ChannelWords {
    pub fn text(&self, channel: Channel) -> &str {
        match channel.profile().parts {
            Parts::SubjectAndHtml => &self.email,
            Parts::TextAlone => &self.text,
        }
    }
}

macro_rules! words {
    ($($language:literal)*) => {
        [$(($language, include_str!(concat!("../../templates/", $language, "/pages.toml")))),*]
    };
}

/// English first: it is the last resort.
static WORDS: LazyLock<Vec<VisitorWords>> = LazyLock::new(|| {
    let files = words! { "en" "de" "fr" "es" "pt-BR" "it" "nl" "pl" "sv" "ja" };
    let read = |(language, file)| VisitorWords {
        language,
        ..toml::from_str(file).expect("a test reads every file")
    };
    files.into_iter().map(read).collect()
});

impl VisitorWords {
    /// In the language of the message; where there are no words in it, or nobody knows it any more, in one that the browser asks for.
    pub fn choose(of_message: Option<&str>, headers: &HeaderMap) -> &'static Self {
        let browser = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let asked_for = accepted(browser.unwrap_or_default());
        let mut languages = of_message.into_iter().chain(asked_for);
        let nearest = languages.find_map(render::nearest);
        let words = WORDS.iter().find(|words| Some(words.language) == nearest);
        words.unwrap_or(&WORDS[0])
    }
}

/// Languages looked at in a request.
const MOST_LANGUAGES: usize = 20;

/// The languages of an `Accept-Language`, the most wished for first.
fn accepted(header: &str) -> impl Iterator<Item = &str> {
    let mut tags: Vec<(f32, &str)> = header
        .split(',')
        .take(MOST_LANGUAGES)
        .filter_map(|part| {
            let (tag, quality) = part.split_once(';').unwrap_or((part, ""));
            let quality = quality.trim().strip_prefix("q=").unwrap_or("1");
            Some((quality.parse().ok()?, tag.trim()))
        })
        .filter(|(quality, _)| *quality > 0.0)
        .collect();
    tags.sort_by(|(left, _), (right, _)| right.total_cmp(left));
    tags.into_iter().map(|(_, tag)| tag)
}

/// What a visitor may press: it posts, to the page's own address if it names none.
pub struct PageButton<'a> {
    pub label: &'a str,
    pub action: Option<String>,
    /// It is not what most people are here for.
    pub quiet: bool,
}

/// A page that says one thing.
pub struct VisitorPage<'a> {
    pub words: &'static VisitorWords,
    pub brand: Option<&'a str>,
    /// The brand's own page.
    pub home: Option<&'a str>,
    /// Its page with help.
    pub help: Option<&'a str>,
    pub heading: &'a str,
    pub text: &'a str,
    pub button: Option<PageButton<'a>>,
}

impl VisitorPage<'_> {
    pub fn render(&self) -> Response {
        templates::render("visitor.hbs", &self.values())
    }

    fn values(&self) -> serde_json::Value {
        let words = self.words;
        let name = self.brand.unwrap_or(&words.team);
        let filled = |sentence: &str| sentence.replace("{brand}", name);
        let home = self
            .home
            .map(|href| json!({ "href": href, "label": filled(&words.home) }));
        let button = self.button.as_ref().map(|button| {
            json!({ "label": button.label, "action": button.action, "quiet": button.quiet })
        });
        json!({
            "language": words.language,
            "brand": self.brand,
            "heading": filled(self.heading),
            "text": filled(self.text),
            "button": button,
            "home": home,
            "help": self.help.map(|href| json!({ "href": href, "label": words.help })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(of_message: Option<&str>, browser: &str) -> &'static str {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, browser.parse().unwrap());
        VisitorWords::choose(of_message, &headers).language
    }

    #[test]
    fn a_page_is_in_the_message_s_language_else_in_the_browser_s() {
        #[rustfmt::skip]
        let cases = [
            (Some("de"), "fr", "de"), (Some("de-AT"), "", "de"), (Some("pt-PT"), "en", "pt-BR"), (Some("ja"), "en-US,en;q=0.5", "ja"),
            // Texts of the brand's own may be in other languages.
            (Some("cs"), "sv,en;q=0.8", "sv"), (Some("cs"), "", "en"), (None, "", "en"), (None, "*", "en"),
            (None, "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"), (None, "en;q=0.3, nl;q=0.9", "nl"), (None, "cs,pl;q=0.2", "pl"),
            (None, "it;q=0, es", "es"), (None, "it;q=x,es", "es"), (None, ";;;,,,q=1", "en"), (None, "pt", "pt-BR"),
        ];
        for (of_message, browser, language) in cases {
            assert_eq!(
                chosen(of_message, browser),
                language,
                "{of_message:?} {browser}"
            );
        }
    }

    #[test]
    fn there_are_pages_in_every_language_of_the_texts() {
        let pages: Vec<&str> = WORDS.iter().map(|words| words.language).collect();
        assert_eq!(pages, render::languages().collect::<Vec<_>>());
    }

    #[test]
    fn every_sentence_is_there_and_names_the_brand_where_the_english_one_does() {
        let sentences = |words: &VisitorWords| -> Vec<String> {
            let by_channel = |words: &ChannelWords| {
                [
                    words.heading.clone(),
                    words.email.clone(),
                    words.text.clone(),
                ]
            };
            let page = |words: &PageWords| [words.heading.clone(), words.text.clone()];
            [
                [words.home.clone(), words.help.clone(), words.team.clone()].to_vec(),
                page(&words.message).to_vec(),
                by_channel(&words.stop).to_vec(),
                by_channel(&words.stopped).to_vec(),
                by_channel(&words.resumed).to_vec(),
                page(&words.blocked).to_vec(),
                page(&words.expired).to_vec(),
                [words.stop.button.clone(), words.stopped.button.clone()].to_vec(),
            ]
            .concat()
        };
        let english = sentences(&WORDS[0]);
        for words in WORDS.iter() {
            for (own, english) in sentences(words).iter().zip(&english) {
                let brands = |sentence: &str| sentence.matches("{brand}").count();
                assert!(!own.trim().is_empty(), "{}: {english}", words.language);
                assert_eq!(brands(own), brands(english), "{}: {own}", words.language);
                assert_eq!(own.matches('{').count(), brands(own), "{own}");
                let same = words.language != "en" && own == english;
                assert!(!same, "{}: {own}", words.language);
            }
        }
    }

    #[test]
    fn a_page_says_what_it_is_given_escaped_and_in_which_language() {
        for (button, buttons) in [(None, 0), (Some("Stop <now>"), 1)] {
            let button = button.map(|label| PageButton {
                label,
                action: None,
                quiet: false,
            });
            let page = VisitorPage {
                words: VisitorWords::choose(Some("de"), &HeaderMap::new()),
                brand: Some("Us <3"),
                home: Some("https://us.example/?a=1&b=2"),
                help: Some("https://us.example/help"),
                heading: "<b>",
                text: "a & {brand}",
                button,
            };
            let page = templates::rendered("visitor.hbs", &page.values()).unwrap();
            assert_eq!(page.matches("<button").count(), buttons, "{page}");
            for part in [
                "<html lang=\"de\">",
                "&lt;b&gt;",
                "a &amp; Us &lt;3",
                "Zur Website von Us &lt;3",
                ">Hilfe</a>",
                "href=\"https://us.example/?a&#x3D;1&amp;b&#x3D;2\"",
            ] {
                assert!(page.contains(part), "{part}: {page}");
            }
            assert!(!page.contains("<now>"), "{page}");
        }
    }
}
