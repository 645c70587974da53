//! Whether a text of ours tells its reader how to stop the next ones.

use super::{FILES, GRAMMAR, text};

/// Twilio and the carriers act on English keywords everywhere.
const EVERYWHERE: &str = "en";

/// Whether a text message names a word that stops further ones: a keyword of its language, or an English one. A word that means
/// something else as often counts only in capitals, as such words are written: "Reply END".
pub fn is_explained_in(message: &str, language: &str) -> bool {
    let primary = language.split(['-', '_']).next().unwrap_or_default();
    let primary = primary.to_ascii_lowercase();
    let known = FILES.iter().any(|(name, _)| *name == primary);
    let languages = FILES.iter().zip(&GRAMMAR.languages);
    // Of a language without a file of its own, any keyword will do.
    let heard = languages
        .filter(|((name, _), _)| !known || *name == primary || *name == EVERYWHERE)
        .map(|(_, language)| language);
    let folded = text::fold(message);
    heard.into_iter().any(|language| {
        let words = message.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| !word.is_empty()).any(|word| {
            let is_loud = word.chars().all(|c| !c.is_lowercase()) && word.chars().count() > 2;
            let word = text::fold(word);
            language.keywords.contains(&word) || (is_loud && language.alone.contains(&word))
        }) || language.keywords.iter().any(|keyword| {
            // Written without blanks, a keyword is a part of the sentence.
            !keyword.is_ascii()
                && keyword.chars().all(is_ideographic)
                && folded.contains(keyword.as_str())
        })
    })
}

fn is_ideographic(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_says_how_to_stop_in_its_own_language_or_by_stop() {
        #[rustfmt::skip]
        let cases = [
            ("en", "Acme: an unread message. Reply STOP to opt out.", true),
            ("en", "Text stop to end these.", true),
            ("en", "Reply END to end.", true),
            ("en", "Acme: an unread message, by the end of the day.", false),
            ("en", "Acme: you have an unread message.", false),
            ("en-GB", "Acme: you have an unread message.", false),
            ("de", "Acme: Abmelden mit STOP.", true),
            ("de", "Acme: Antworten Sie ABMELDEN.", true),
            ("de", "Acme: Sie haben eine Nachricht. Ende der Woche ist sie weg.", false),
            ("fr", "Acme : répondez STOP pour ne plus en recevoir.", true),
            ("fr", "Acme : répondez ARRÊT.", true),
            ("fr", "Acme : un message non lu.", false),
            ("es", "Acme: responde BAJA para no recibir más.", true),
            ("es", "Acme: baja a la tienda.", false),
            ("ja", "Acme：未読のメッセージがあります。配信停止はこちら", true),
            ("ja", "Acme：未読のメッセージがあります。", false),
            ("tr", "Acme: IPTAL yazın.", true),
            ("tr", "Acme: okunmamış bir mesajınız var.", false),
        ];
        for (language, message, says) in cases {
            assert_eq!(
                is_explained_in(message, language),
                says,
                "{language}: {message}"
            );
        }
    }
}
