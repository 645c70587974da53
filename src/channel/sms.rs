//! How much SMS a text is.
//!
//! A text whose every character is in the GSM 03.38 alphabet costs seven bits a character; a single other character (a curly
//! apostrophe, a no-break space, an emoji) puts the whole text into UCS-2 and more than doubles the price. So the first such
//! character is named.

use unicode_normalization::UnicodeNormalization as _;

const GSM_BASIC: &str = "\n\r !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz¡£¤¥§¿ÄÅÆÇÉÑÖØÜßàäåæèéìñòöøùüΓΔΘΛΞΠΣΦΨΩ";
/// Sent as an escape and a character: two units, never split over segments.
const GSM_EXTENSION: &str = "\u{c}[\\]^{|}~€";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gsm7,
    Ucs2,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        }
    }

    /// Units in a message of one segment, and in each segment of a longer one, whose header takes room.
    fn capacity(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }

    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm7 if GSM_EXTENSION.contains(c) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => c.len_utf16(),
        }
    }
}

/// The size of a text as an SMS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub encoding: Encoding,
    /// Septets or UTF-16 units.
    pub units: usize,
    /// What is paid for; an empty text counts as one.
    pub segments: usize,
    /// The first character that made the text UCS-2.
    pub offender: Option<char>,
}

impl Size {
    /// Units that fit into as many segments.
    pub fn room(&self) -> usize {
        let (alone, each) = self.encoding.capacity();
        if self.segments == 1 {
            alone
        } else {
            each * self.segments
        }
    }
}

/// Whether a character is in the SMS alphabet.
pub fn is_gsm(c: char) -> bool {
    GSM_BASIC.contains(c) || GSM_EXTENSION.contains(c)
}

/// Letters that are no other letter with a mark, and what stands for them where they cannot be written.
const WRITTEN_AS: [(char, &str); 12] = [
    ('ł', "l"),
    ('Ł', "L"),
    ('đ', "d"),
    ('Đ', "D"),
    ('ı', "i"),
    ('œ', "oe"),
    ('Œ', "OE"),
    ('þ', "th"),
    ('ð', "d"),
    ('’', "'"),
    ('–', "-"),
    ('…', "..."),
];

/// The text with letters outside the SMS alphabet written without their marks: "Citroën" is "Citroen", "Löwe" stays. Letters of other scripts
/// stay.
pub fn without_marks(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.nfc() {
        if is_gsm(c) {
            plain.push(c);
        } else if let Some((_, other)) = WRITTEN_AS.iter().find(|(own, _)| *own == c) {
            plain.push_str(other);
        } else {
            let mut letters = std::iter::once(c).nfd();
            let first = letters.next().filter(|first| is_gsm(*first));
            plain.push(first.unwrap_or(c));
        }
    }
    plain
}

pub fn measure(text: &str) -> Size {
    let offender = text.chars().find(|c| !is_gsm(*c));
    let encoding = match offender {
        None => Encoding::Gsm7,
        Some(_) => Encoding::Ucs2,
    };
    let (alone, each) = encoding.capacity();
    let units = text.chars().map(|c| encoding.units(c)).sum();
    let segments = if units <= alone {
        1
    } else {
        packed(text.chars().map(|c| encoding.units(c)), each)
    };
    Size {
        encoding,
        units,
        segments,
        offender,
    }
}

/// Segments of `room` units each, no character split.
fn packed(characters: impl Iterator<Item = usize>, room: usize) -> usize {
    let (mut segments, mut used) = (1, 0);
    for units in characters {
        if used + units > room {
            segments += 1;
            used = 0;
        }
        used += units;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_as_long_as_twilio_counts_them() {
        let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!(
            "../../tests/fixtures/channels/sms-segments.json"
        ))
        .unwrap();
        assert_eq!(cases.len(), 26);
        for case in cases {
            let size = measure(case["text"].as_str().unwrap());
            assert_eq!(size.encoding.as_str(), case["encoding"], "{case}");
            assert_eq!(Some(size.units as u64), case["units"].as_u64(), "{case}");
            assert_eq!(
                Some(size.segments as u64),
                case["segments"].as_u64(),
                "{case}"
            );
        }
    }

    #[test]
    fn the_character_that_doubles_the_price_is_named() {
        assert_eq!(measure("it’s – here").offender, Some('’'));
        assert_eq!(measure("it's here").offender, None);
    }

    #[test]
    fn letters_with_marks_are_written_without_where_they_cost_more() {
        for (name, plain) in [
            ("Citroën", "Citroen"),
            ("Żółte Łąki", "Zolte Laki"),
            ("Löwe & Ñandú", "Löwe & Ñandu"),
            ("Cœur – l’été", "Coeur - l'été"),
            ("日本旅行", "日本旅行"),
            ("Façade", "Facade"),
        ] {
            assert_eq!(without_marks(name), plain, "{name}");
        }
    }
}
