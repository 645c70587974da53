//! Letters of other alphabets that look like Latin ones: "ѕтоp" is read as the eye reads it. The idea is that of Unicode's
//! confusables (UTS 39): a word is folded only where it mixes alphabets, so that Russian and Greek stay what they are.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Letters, and below each the Latin one that it looks like. Capitals and small letters look like different ones.
const ALIKE: [(&str, &str); 4] = [
    ("аевіјкмнорстухѕԁԛԝһѵ", "aebijkmhopctyxsdqwhv"),
    ("АВЕЅІЈКМНОРСТУХԌԚԜҺ", "abesijkmhopctyxgqwh"),
    ("αβεικνορτυχϲηϳ", "abeikvoptuxcnj"),
    ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹ", "abezhikmnoptyxc"),
];

/// Latin small capitals, which are letters of their own.
const SMALL: (&str, &str) = ("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz");

/// The one word that is written in look-alikes alone, to get past filters.
const WHOLE: &str = "stop";

static LATIN: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    ALIKE
        .iter()
        .flat_map(|(from, to)| pairs(from, to))
        .collect()
});

static PLAIN: LazyLock<HashMap<char, char>> = LazyLock::new(|| pairs(SMALL.0, SMALL.1).collect());

fn pairs<'a>(from: &'a str, to: &'a str) -> impl Iterator<Item = (char, char)> + 'a {
    from.chars().zip(to.chars())
}

/// The text with its look-alikes made Latin.
pub(super) fn made_latin(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars() {
        if c.is_alphanumeric() {
            word.push(PLAIN.get(&c).copied().unwrap_or(c));
        } else {
            take(&mut out, &mut word);
            out.push(c);
        }
    }
    take(&mut out, &mut word);
    out
}

fn take(out: &mut String, word: &mut String) {
    out.push_str(&latin_word(word).unwrap_or_else(|| word.clone()));
    word.clear();
}

/// The word in Latin letters, if it is otherwise Latin.
fn latin_word(word: &str) -> Option<String> {
    if word.is_ascii() {
        return None;
    }
    let read: String = word
        .chars()
        .map(|c| LATIN.get(&c).copied().unwrap_or(c))
        .collect();
    let all_latin = read.chars().all(|c| c.is_ascii_digit() || is_latin(c));
    let mixed = word.chars().any(is_latin);
    (all_latin && (mixed || read == WHOLE)).then_some(read)
}

fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_has_one_that_it_looks_like() {
        for (from, to) in ALIKE.iter().chain([&SMALL]) {
            assert_eq!(from.chars().count(), to.chars().count(), "{from}");
            assert!(
                to.is_ascii() && !from.chars().any(|c| c.is_ascii()),
                "{from}"
            );
        }
    }

    #[test]
    fn a_word_is_folded_where_it_mixes_alphabets() {
        for (word, read) in [
            ("ѕтоp", "stop"),
            ("SТОP", "StoP"),
            ("ЅТОР", "stop"),
            ("unsubsсribe 5", "unsubscribe 5"),
            ("аrrêt", "arrêt"),
            ("Αbmelden", "abmelden"),
            ("ꜱᴛᴏᴘ", "stop"),
            // These are Russian, Ukrainian and Greek.
            ("стоп", "стоп"),
            ("сор", "сор"),
            ("нет", "нет"),
            ("ні", "ні"),
            ("διακοπή", "διακοπή"),
            ("停止", "停止"),
        ] {
            assert_eq!(made_latin(word), read);
        }
    }
}
