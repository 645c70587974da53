//! Which browser and system somebody uses, in plain words, from what the browser says of itself.

/// Marks in a `User-Agent`, and what they stand for. In the order in which they are looked for: many browsers also name those that they
/// are like.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "an iPhone"),
    ("iPad", "an iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "a Mac"),
    ("Linux", "Linux"),
];

/// `Firefox on Windows`. Nothing of what was sent is in it but these words.
pub fn device(agent: &str) -> String {
    let named = |table: &[(&str, &'static str)]| {
        let found = table.iter().find(|(mark, _)| agent.contains(mark));
        found.map(|(_, name)| *name)
    };
    match (named(BROWSERS), named(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, Some(system)) => format!("A browser on {system}"),
        (None, None) => "An unknown device".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_what_they_say_of_themselves() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        let like = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
        for (agent, told) in [
            (format!("{windows} {like}"), "Chrome on Windows"),
            (format!("{windows} {like} Edg/140.0.0.0"), "Edge on Windows"),
            (format!("{windows} {like} OPR/120.0.0.0"), "Opera on Windows"),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
                    .to_owned(),
                "Safari on a Mac",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Safari/604.1"
                    .to_owned(),
                "Chrome on an iPhone",
            ),
            (
                format!("Mozilla/5.0 (Linux; Android 15; SM-S921B) {like} SamsungBrowser/28.0"),
                "Samsung Internet on Android",
            ),
            (format!("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {like}"), "Chrome on ChromeOS"),
            ("curl/8.9.1".to_owned(), "curl"),
            ("Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X)".to_owned(), "A browser on an iPad"),
            (String::new(), "An unknown device"),
            ("<script>alert(1)</script>".to_owned(), "An unknown device"),
        ] {
            assert_eq!(device(&agent), told, "{agent}");
        }
    }
}
