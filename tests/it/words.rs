//! The words of pages, of the API and of commands: what reads like a translation, and what only engineers say, does not come back.
//!
//! Every template, every script and every string literal of `src/` is read from its source. How a sentence is filled in changes its names
//! and numbers only, so what is refused here is on no page.

use std::fs;
use std::path::Path;

use crate::architecture::sources;

/// Words that are never right, and what to write instead. Whole words, in any case.
const WORDS: &[(&str, &str)] = &[
    (
        "somebody",
        "someone, or who it is: an agent, a customer, a user",
    ),
    (
        "nobody",
        "no one, or what is missing: no customers, no messages",
    ),
    ("everybody", "everyone, or who they are"),
    ("anybody", "anyone"),
    (
        "whoever",
        "anyone who, or who it is: your server administrator",
    ),
    ("whom", "who, or which customers"),
    ("anew", "again"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("dearer", "more expensive"),
];

/// Phrases that are never right, and what to write instead. In any case; `{}` is what a sentence is filled in with.
const PHRASES: &[(&str, &str)] = &[
    ("for its moment", "Scheduled"),
    ("said no", "Opted out"),
    ("for good", "permanently"),
    ("stood in the way", "Cleared to send"),
    ("may go.", "Cleared to send"),
    ("as you write it", "With your changes"),
    ("was quicker", "Someone else published a newer version"),
    ("published anew", "Someone else published a newer version"),
    ("write or open", "New rule"),
    ("write or edit", "New rule or edit"),
    ("switched on", "Active"),
    ("switched off", "Off"),
    (
        "the agent's last message",
        "Wait until the agent has been quiet for",
    ),
    ("not sent any more when", "Don't send if late by more than"),
    ("late is not sent any more", "Not sent if more than … late"),
    ("late by at most", "Don't send if late by more than"),
    (
        "falls outside",
        "Outside these hours: send when they open, don't send",
    ),
    ("apart by at least", "Minimum time between reminders"),
    ("so many minutes apart", "Minimum time between reminders"),
    (
        "at most a day",
        "Max per conversation per day, max per customer per day",
    ),
    ("whose own is not known", "Time zone if unknown"),
    ("built-in words", "Standard text"),
    ("what can be filled in", "Insert…"),
    ("given up", "Expired, or not sent"),
    ("too late to be of use", "Expired: too late to be useful"),
    ("put off", "Postponed"),
    ("perhaps sent", "May have been sent"),
    ("perhaps not as you mean it", "Check this before publishing"),
    (
        "never as text",
        "We do not store addresses, only a fingerprint",
    ),
    ("are believed", "Accepted sign-in tokens"),
    ("is believed", "accepted"),
    ("how it went", "Status"),
    ("last looked at", "Last checked"),
    ("not understood", "Unreadable, or not valid"),
    ("cannot be understood", "could not be read, or is not valid"),
    ("why, for the others", "Reason (your team sees it)"),
    ("look whether", "Check your inbox"),
    ("where links lead", "Where links go"),
    ("people who log in", "Team"),
    ("share without reminders", "Control group"),
    ("held out", "Control group"),
    ("is no e-mail", "is not a valid e-mail address"),
    ("is no phone", "is not a phone number"),
    ("is no time zone", "is not a time zone"),
    ("at this moment", "right now"),
    ("a day in one conversation", "per conversation per day"),
    ("a day to one", "per customer per day"),
    ("customer's own clock", "in the customer's own time zone"),
    ("{} %", "a per cent sign without a space"),
    ("expected i64", "a whole number"),
];

/// Of the pages alone: words of the code, of the API and of commands.
const ON_PAGES: &[(&str, &str)] = &[
    ("suppression", "Opt-out"),
    ("suppressions", "Opt-outs"),
    ("suppressed", "opted out"),
    ("suppress", "opt out"),
    ("consumer", "customer"),
    ("audit", "activity"),
];

/// Where such words are data: what mail servers write.
const NOT_OURS: &[&str] = &[
    "src/channel/smtp/doubt.rs",
    "src/channel/smtp/words.rs",
    "src/channel/optout/",
    "src/db/",
];

/// The string literals of a source file, without its tests and comments; what continues on the next line is joined.
fn literals(code: &str) -> Vec<String> {
    let code = code
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let before = &rest[..at];
        rest = &rest[at..];
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with('"') {
            let hashes = before.len() - before.trim_end_matches('#').len();
            let is_raw = before.trim_end_matches('#').ends_with('r');
            let (text, after) = if is_raw {
                raw(rest, hashes)
            } else {
                escaped(rest)
            };
            found.push(text);
            rest = after;
        } else if rest.starts_with("'\\\"'") || rest.starts_with("'\"'") {
            rest = &rest[rest[1..].find('\'').map_or(1, |end| end + 2)..];
        } else if rest.starts_with("'\\'") {
            rest = &rest[4.min(rest.len())..];
        } else {
            rest = &rest[1..];
        }
    }
    found
}

fn raw(rest: &str, hashes: usize) -> (String, &str) {
    let end = format!("\"{}", "#".repeat(hashes));
    let (text, after) = rest[1..].split_once(&end).unwrap_or((&rest[1..], ""));
    (text.to_owned(), after)
}

fn escaped(rest: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = rest[1..].char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &rest[at + 2..]),
            '\\' => match letters.next() {
                Some((_, '\n')) => {
                    while letters.next_if(|(_, next)| next.is_whitespace()).is_some() {}
                }
                Some((_, 'n')) => text.push('\n'),
                Some((_, other)) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    (text, "")
}

/// What is read of a template: without its tags, but with the words of their attributes; without names of values. A line for each part.
fn visible(template: &str) -> String {
    const SPOKEN: [&str; 5] = [
        "aria-label=\"",
        "placeholder=\"",
        "title=\"",
        "alt=\"",
        "data-confirm=\"",
    ];
    let template = without_values(template, ("{{", "}}"));
    let mut parts = Vec::new();
    let mut rest = template.as_str();
    while let Some((text, after)) = rest.split_once('<') {
        parts.push(text);
        let (tag, after) = after.split_once('>').unwrap_or((after, ""));
        let values = SPOKEN
            .iter()
            .filter_map(|spoken| Some(tag.split_once(spoken)?.1));
        parts.extend(values.filter_map(|value| value.split('"').next()));
        rest = after;
    }
    parts.push(rest);
    let lines = parts
        .iter()
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// What a text is filled in with becomes `{}`.
fn without_values(text: &str, (begin, end): (&str, &str)) -> String {
    let mut parts = text.split(begin);
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let text = part.split_once(end).map_or("", |(_, text)| text);
        all.push_str("{}");
        all.push_str(text);
    }
    all
}

fn is_word(text: &str, at: usize, length: usize) -> bool {
    let inside = |letter: char| letter.is_alphanumeric() || letter == '_';
    let before = text[..at].chars().next_back();
    let after = text[at + length..].chars().next();
    !before.is_some_and(inside) && !after.is_some_and(inside)
}

/// The refused words in a text, each with what to write instead.
fn refused(text: &str, on_pages: bool) -> Vec<String> {
    let text = text.to_lowercase();
    let on_pages = ON_PAGES.iter().filter(|_| on_pages);
    let whole = |word: &&(&str, &str)| {
        let mut places = text.match_indices(word.0);
        places.any(|(at, _)| is_word(&text, at, word.0.len()))
    };
    let words = WORDS.iter().chain(on_pages).filter(whole);
    let phrases = PHRASES.iter().filter(|(phrase, _)| text.contains(phrase));
    words
        .chain(phrases)
        .map(|(old, new)| format!("“{old}” in “{}”: {new}", text.trim()))
        .collect()
}

fn templates() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/web");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<(String, String)> = files
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn pages_speak_plain_english() {
    let mut found = Vec::new();
    for (name, source) in templates() {
        let is_page = Path::new(&name)
            .extension()
            .is_some_and(|kind| kind == "hbs");
        let text = match name.rsplit('.').next() {
            Some("hbs") => visible(&source),
            Some("js") => source,
            _ => continue,
        };
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| line.split(" // ").next().unwrap_or(line));
        for words in lines.flat_map(|line| refused(line, is_page)) {
            found.push(format!("templates/web/{name}: {words}"));
        }
        if is_page && text.contains('`') {
            found.push(format!(
                "templates/web/{name}: a backtick; the helper `code` shows what is typed"
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn sentences_speak_plain_english() {
    let mut found = Vec::new();
    let ours = sources().into_iter().filter(|file| {
        file.path.starts_with("src/") && !NOT_OURS.iter().any(|path| file.path.starts_with(path))
    });
    for file in ours {
        let is_of_pages = file.path.starts_with("src/web/dashboard/");
        for text in literals(&file.text) {
            // A single word without a capital is a name: of a value, a field, a route.
            let is_name = !text.contains(' ') && !text.starts_with(char::is_uppercase);
            if is_name {
                continue;
            }
            for words in refused(&without_values(&text, ("{", "}")), is_of_pages) {
                found.push(format!("{}: {words}", file.path));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_old_words_are_seen() {
    let code = r#"
        // Somebody in a comment is nobody's business.
        let it = ("A reminder waits for its \
                   moment.", '"', "Fine", r"Whoever");
        #[cfg(test)]
mod tests { "somebody" }"#;
    let found: Vec<String> = literals(code)
        .iter()
        .flat_map(|text| refused(text, false))
        .collect();
    assert_eq!(found.len(), 2, "{found:?}");
    let page = visible(
        "<h1 title=\"Suppressions\">Opt-outs</h1><a href=\"/suppressions\">{{suppressed}}</a>",
    );
    assert_eq!(refused(&page, true).len(), 1, "{page}");
    assert_eq!(refused(&visible("{{share}} % of those"), false).len(), 1);
}
