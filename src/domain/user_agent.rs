//! Whether a program followed a link rather than a person, by what it says of itself.
//!
//! Mail scanners, link previews and crawlers name themselves in one of a few ways. What must not be taken for a name is the model of
//! the phone, which makers choose freely (CUBOT, ScanPal): it stands in the comment that tells of Android, or in the square brackets of
//! an app's own browser.

/// What the names of programs end with: `Googlebot`, `BingPreview`.
const ENDINGS: [&str; 18] = [
    "bot",
    "bots",
    "crawler",
    "crawl",
    "spider",
    "scanner",
    "scan",
    "preview",
    "fetcher",
    "fetch",
    "checker",
    "validator",
    "monitor",
    "imageproxy",
    "linkcheck",
    "mailproxy",
    "scraper",
    "synthetics",
];

/// Names of scanners, previews, checkers and browsers without a screen: each in one word of the text, lower case.
const NAMES: [&str; 37] = [
    "ahrefs",
    "barracuda",
    "bitdefender",
    "chatgpt",
    "cloudmark",
    "detectify",
    "electron-fetch",
    "externalhit",
    "feedfetcher",
    "fireeye",
    "forcepoint",
    "googleother",
    "headless",
    "ironport",
    "libredtail",
    "lighthouse",
    "mediapartners",
    "mimecast",
    "ms-office",
    "msoffice",
    "paloalto",
    "pagespeed",
    "phantomjs",
    "pingdom",
    "playwright",
    "proofpoint",
    "ptst",
    "puppeteer",
    "safelinks",
    "selenium",
    "skypeuripreview",
    "slurp",
    "splash version",
    "symantec",
    "trendmicro",
    "uptimerobot",
    "urldefense",
];

/// What browsers say that begin with neither `Mozilla/` nor `Opera/`: old phones, text and small browsers.
const OTHER_BROWSERS: [&str; 21] = [
    "alcatel",
    "blackberry",
    "dillo/",
    "docomo/",
    "elinks",
    "huawei",
    "kddi-",
    "lg-",
    "lge-",
    "links (",
    "lynx/",
    "mot-",
    "netsurf/",
    "nokia",
    "samsung-",
    "softbank/",
    "sonyericsson",
    "ucweb/",
    "vodafone/",
    "w3m/",
    "zte-",
];

/// True for programs: scanners of links, previews, crawlers, libraries and command lines, and whoever says nothing. `agent` is the
/// header `User-Agent`. What a program that poses as a browser really is cannot be seen from it.
pub fn is_automatic(agent: &str) -> bool {
    let agent = agent.trim().to_ascii_lowercase();
    let browser = ["mozilla/", "opera/"]
        .iter()
        .chain(&OTHER_BROWSERS)
        .any(|start| agent.starts_with(start));
    // A browser says what it runs on, and has nobody to write to; who crawls says where to complain.
    let bare = agent.starts_with("mozilla/") && !agent.contains('(');
    if !browser || bare || agent.contains("://") || agent.contains("www.") || has_mailbox(&agent) {
        return true;
    }
    let agent = without_devices(&agent);
    NAMES.iter().any(|name| agent.contains(name))
        || compatible(&agent).is_some_and(|what| !is_old_browser(what))
        || words(&agent).any(names_a_program)
}

/// Some browsers write a version behind an at sign (`Ecosia android@150.0`); a domain begins with a letter.
fn has_mailbox(agent: &str) -> bool {
    agent
        .split('@')
        .skip(1)
        .any(|domain| domain.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// A word such as `googlebot` or `bingpreview`. The phones of Cubot are none wherever their name stands.
fn names_a_program(word: &str) -> bool {
    let ending = |ending: &&str| word.ends_with(*ending);
    word != "cubot" && ENDINGS.iter().any(ending)
}

/// Letters and digits; a version's number is a word of its own.
fn words(agent: &str) -> impl Iterator<Item = &str> {
    agent
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| !word.is_empty())
}

/// What stands behind `compatible;` as crawlers write it, and Internet Explorer once did.
fn compatible(agent: &str) -> Option<&str> {
    let (_, what) = agent.split_once("compatible")?;
    Some(what.trim_start_matches([';', ',', ' ']))
}

fn is_old_browser(what: &str) -> bool {
    ["msie", "konqueror", "u;", "windows", "googletoolbar"]
        .iter()
        .any(|start| what.starts_with(start))
}

/// Without what devices call themselves: comments that tell of Android, and the brackets of an app's own browser (`[FBAN/…;FBMF/CUBOT;…]`).
fn without_devices(agent: &str) -> String {
    let mut kept = String::with_capacity(agent.len());
    let mut rest = agent;
    while let Some(at) = rest.find(['(', '[']) {
        let (before, open) = rest.split_at(at);
        kept.push_str(before);
        let close = if open.starts_with('(') { ')' } else { ']' };
        // Models have brackets of their own: to the bracket that closes this one.
        let (inside, after) = split_closed(open, close);
        let of_android = inside.contains("android") || before.trim_end().ends_with("android");
        if !of_android && close == ')' {
            kept.push_str(inside);
        }
        kept.push(' ');
        rest = after;
    }
    kept + rest
}

/// What is between the bracket at the beginning and the one that closes it, and what follows; without one, everything is inside.
fn split_closed(text: &str, close: char) -> (&str, &str) {
    let open = if close == ')' { '(' } else { '[' };
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return (&text[1..at], &text[at + 1..]);
            }
        }
    }
    (&text[1..], "")
}

#[cfg(test)]
#[path = "user_agent_tests.rs"]
mod tests;
