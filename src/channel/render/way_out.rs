//! The line that stops further e-mails, added where a text of the brand's own has none: mail without a way out ends as spam, and so
//! does the next.

use super::layout;
use crate::domain::language::lookup;

/// What stands before the link, by language.
const LABELS: [(&str, &str); 14] = [
    ("en", "Stop these reminders"),
    ("cs", "Zrušit tato připomenutí"),
    ("da", "Stop disse påmindelser"),
    ("de", "Erinnerungen abbestellen"),
    ("es", "Dejar de recibir estos recordatorios"),
    ("fi", "Lopeta nämä muistutukset"),
    ("fr", "Ne plus recevoir ces rappels"),
    ("it", "Non ricevere più questi promemoria"),
    ("ja", "このリマインダーの配信を停止する"),
    ("nb", "Stopp disse påminnelsene"),
    ("nl", "Deze herinneringen stoppen"),
    ("pl", "Nie chcę otrzymywać tych przypomnień"),
    ("pt", "Deixar de receber estes lembretes"),
    ("sv", "Sluta få de här påminnelserna"),
];

fn label(language: &str) -> &'static str {
    let tag = lookup(LABELS.iter().map(|(tag, _)| *tag), language);
    let found = LABELS.iter().find(|(of, _)| Some(*of) == tag);
    found.map_or(LABELS[0].1, |(_, label)| label)
}

/// What stands between a label and its link.
fn colon(language: &str) -> &'static str {
    match lookup(["fr", "ja"], language) {
        Some("fr") => "\u{a0}: ",
        Some("ja") => "：",
        _ => ": ",
    }
}

/// A line of small print: the words and their link.
pub(super) fn line(label: &str, language: &str, link: &str) -> String {
    format!("{label}{}{link}", colon(language))
}

/// The text, with the link at its end if it has none.
pub(super) fn in_text(text: String, language: &str, link: &str) -> String {
    if text.contains(link) {
        return text;
    }
    let way_out = line(label(language), language, link);
    format!("{}\n\n{way_out}\n", text.trim_end())
}

/// The HTML, with the link at the end of its body if it has none.
pub(super) fn in_html(html: String, language: &str, link: &str) -> String {
    let escaped = layout::escaped(link);
    if html.contains(link) || html.contains(&escaped) {
        return html;
    }
    let paragraph = format!("<p><a href=\"{escaped}\">{}</a></p>", label(language));
    let end = html
        .to_ascii_lowercase()
        .rfind("</body>")
        .unwrap_or(html.len());
    let (body, rest) = html.split_at(end);
    format!("{body}{paragraph}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://unread.example.com/u/word";

    #[test]
    fn what_has_no_way_out_gets_one_in_its_language() {
        let added = |text: &str, language| in_text(text.to_owned(), language, LINK);
        assert_eq!(
            added("Read it.\n", "en"),
            format!("Read it.\n\nStop these reminders: {LINK}\n")
        );
        assert!(added("Lies es.", "de-AT").contains(&format!("Erinnerungen abbestellen: {LINK}")));
        assert!(added("Прочитайте.", "ru").contains("Stop these reminders"));
        let has = format!("Read it. {LINK}");
        assert_eq!(in_text(has.clone(), "en", LINK), has);

        let html = in_html("<html><BODY><p>x</p></BODY></html>".to_owned(), "fr", LINK);
        let paragraph = format!("<p><a href=\"{LINK}\">Ne plus recevoir ces rappels</a></p>");
        assert_eq!(
            html,
            format!("<html><BODY><p>x</p>{paragraph}</BODY></html>")
        );
        assert_eq!(in_html(html.clone(), "fr", LINK), html, "once is enough");
        assert!(in_html("<p>x</p>".to_owned(), "en", LINK).ends_with("</a></p>"));
    }

    #[test]
    fn the_built_in_texts_say_the_same() {
        for language in super::super::languages() {
            let built_in = super::super::built_in(crate::domain::ids::Channel::Email, language);
            let line = line(label(language), language, "{{unsubscribe_link}}");
            assert!(built_in.text.ends_with(&line), "{language}");
        }
    }
}
