//! Languages as BCP 47 writes them (`pt-BR`, `zh-Hant-TW`): which of the texts there are is nearest, and which way it is read.

/// The tag, among those there are, of the text for a reader: the reader's own, else ever more general ones (RFC 4647, 3.4 "Lookup"):
/// `zh-Hant-TW`, then `zh-Hant`, then `zh`.
pub fn lookup<'t>(tags: impl IntoIterator<Item = &'t str>, wanted: &str) -> Option<&'t str> {
    let tags: Vec<&str> = tags.into_iter().collect();
    let wanted = normal(wanted);
    let mut range = wanted.as_str();
    while !range.is_empty() {
        if let Some(found) = tags.iter().find(|tag| normal(tag) == range) {
            return Some(*found);
        }
        range = more_general(range);
        // A single letter only introduces what was cut off (`zh-x-private`).
        if range.rsplit('-').next().is_some_and(|last| last.len() == 1) {
            range = more_general(range);
        }
    }
    None
}

fn more_general(range: &str) -> &str {
    range.rsplit_once('-').map_or("", |(before, _)| before)
}

/// A tag in small letters, with hyphens, and with the language's present code: Java long wrote Hebrew, Indonesian and Yiddish by the
/// codes that ISO 639 withdrew in 1989.
fn normal(tag: &str) -> String {
    let tag = tag.trim().to_ascii_lowercase().replace('_', "-");
    let (language, rest) = tag.split_at(tag.find('-').unwrap_or(tag.len()));
    let language = match language {
        "iw" => "he",
        "in" => "id",
        "ji" => "yi",
        present => present,
    };
    format!("{language}{rest}")
}

/// Languages that people choose from, in the order of their English names.
pub const NAMES: [(&str, &str); 48] = [
    ("ar", "Arabic"),
    ("bn", "Bengali"),
    ("bg", "Bulgarian"),
    ("ca", "Catalan"),
    ("zh-Hans", "Chinese (simplified)"),
    ("zh-Hant", "Chinese (traditional)"),
    ("hr", "Croatian"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("nl", "Dutch"),
    ("en", "English"),
    ("en-GB", "English (UK)"),
    ("et", "Estonian"),
    ("fi", "Finnish"),
    ("fr", "French"),
    ("fr-CA", "French (Canada)"),
    ("de", "German"),
    ("de-CH", "German (Switzerland)"),
    ("el", "Greek"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hu", "Hungarian"),
    ("id", "Indonesian"),
    ("ga", "Irish"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("lv", "Latvian"),
    ("lt", "Lithuanian"),
    ("ms", "Malay"),
    ("nb", "Norwegian"),
    ("fa", "Persian"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("pt-BR", "Portuguese (Brazil)"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sr", "Serbian"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("es", "Spanish"),
    ("es-MX", "Spanish (Mexico)"),
    ("sv", "Swedish"),
    ("th", "Thai"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("vi", "Vietnamese"),
];

/// What a language is called in English: "German", "German (AT)". A tag that is in no list is its own name.
pub fn name(tag: &str) -> String {
    let wanted = normal(tag);
    let exact = NAMES.iter().find(|(own, _)| normal(own) == wanted);
    if let Some((_, name)) = exact {
        return (*name).to_owned();
    }
    let (language, rest) = tag.split_at(tag.find(['-', '_']).unwrap_or(tag.len()));
    let general = NAMES
        .iter()
        .find(|(own, _)| normal(own) == normal(language));
    match general {
        Some((_, name)) => format!("{name} ({})", &rest[1..]),
        None => tag.to_owned(),
    }
}

/// Languages that are written from right to left unless their tag names another script (CLDR's likely scripts).
const RIGHT_TO_LEFT: [&str; 28] = [
    "ar", "arc", "ary", "arz", "azb", "bal", "bqi", "ckb", "dv", "fa", "glk", "he", "khw", "ks",
    "lrc", "mzn", "nqo", "pnb", "prs", "ps", "rhg", "sd", "sdh", "skr", "syr", "ug", "ur", "yi",
];

/// Scripts that are written from right to left.
const RIGHT_TO_LEFT_SCRIPTS: [&str; 10] = [
    "adlm", "arab", "aran", "hebr", "mand", "mend", "nkoo", "rohg", "syrc", "thaa",
];

/// Which way a language is written: by the script that its tag names (`az-Arab`, `ur-Latn`), else by the language's own.
pub fn is_right_to_left(tag: &str) -> bool {
    let tag = normal(tag);
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    // Extended languages (three letters, `ar-arz`) may stand before the script; what follows a single letter is no script.
    if language.len() < 2 {
        return false;
    }
    let script = parts
        .take_while(|part| part.len() > 1)
        .find(|part| part.len() == 4 && part.bytes().all(|b| b.is_ascii_alphabetic()));
    match script {
        Some(script) => RIGHT_TO_LEFT_SCRIPTS.contains(&script),
        None => RIGHT_TO_LEFT.contains(&language),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_nearest_text_is_found_by_ever_more_general_tags() {
        let tags = [
            "en", "pt", "pt-BR", "zh", "zh-Hant", "sr-Latn", "he_IL", "de-1996",
        ];
        #[rustfmt::skip]
        let cases = [
            ("pt-BR", Some("pt-BR")), ("pt_br", Some("pt-BR")), ("PT-BR", Some("pt-BR")), ("pt-PT", Some("pt")), ("pt", Some("pt")),
            ("zh-Hant", Some("zh-Hant")), ("zh-Hant-TW", Some("zh-Hant")), ("zh-hant-hk-x-a", Some("zh-Hant")), ("zh-Hans-CN", Some("zh")),
            ("zh-TW", Some("zh")), ("sr-Latn-RS", Some("sr-Latn")), ("sr-Cyrl", None), ("sr", None), ("he-IL", Some("he_IL")),
            ("iw-IL", Some("he_IL")), ("he", None), ("de-1996", Some("de-1996")), ("de", None), ("en-GB-oxendict", Some("en")), ("eng", None), ("e", None),
            ("", None), ("-", None), ("--en", None), (" en ", Some("en")), ("*", None), ("en-u-ca-buddhist", Some("en")),
        ];
        for (wanted, found) in cases {
            assert_eq!(lookup(tags, wanted), found, "{wanted}");
        }
    }

    #[test]
    fn languages_have_names_and_are_listed_by_them() {
        #[rustfmt::skip]
        let cases = [
            ("en", "English"), ("DE", "German"), ("de-AT", "German (AT)"), ("pt_BR", "Portuguese (Brazil)"), ("zh-Hant-TW", "zh-Hant-TW"), ("iw", "Hebrew"),
            ("tlh", "tlh"), ("", ""), ("-", "-"), ("de-", "German ()"),
        ];
        for (tag, expected) in cases {
            assert_eq!(name(tag), expected, "{tag}");
        }
        assert!(NAMES.is_sorted_by_key(|(_, name)| *name));
    }

    #[test]
    fn which_way_a_language_is_written() {
        #[rustfmt::skip]
        let right_to_left = [
            "ar", "ar-EG", "AR", "ar_SA", "ar-Arab-MA", "he", "he-IL", "iw", "fa", "fa-AF", "fa_IR", "ur", "ur-PK", "ur-IN", "yi", "ji", "ps",
            "sd", "ug", "dv", "ckb", "ckb-IQ", "prs", "nqo", "az-Arab", "pa-Arab-PK", "ku-Arab", "ha-Arab", "ur-Aran", "ff-Adlm", "ar-arz",
            "zh-Arab",
        ];
        #[rustfmt::skip]
        let left_to_right = [
            "en", "en-GB", "de", "pt-BR", "pt_PT", "zh-Hant", "zh-Hant-TW", "zh", "ja", "ko", "ru", "tr", "hi", "az", "az-Latn", "pa", "pa-Guru",
            "ku", "ur-Latn", "ar-Latn", "fa-Cyrl", "sd-Deva", "ks-Deva", "he-Latn-IL", "uz-Cyrl", "arn", "fab", "hey", "", "-", "x-arab",
            "en-x-arab", "en-u-nu-arab",
        ];
        for tag in right_to_left {
            assert!(is_right_to_left(tag), "{tag}");
        }
        for tag in left_to_right {
            assert!(!is_right_to_left(tag), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn fuzz_languages(tags in prop::collection::vec("[a-zA-Z_-]{0,12}", 0..5), wanted in "\\PC{0,30}") {
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let found = lookup(tags.iter().copied(), &wanted);
            prop_assert!(found.is_none_or(|found| tags.contains(&found)));
            let _ = (is_right_to_left(&wanted), name(&wanted));
        }
    }
}
