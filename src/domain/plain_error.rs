//! What a deserialiser says about a value that does not fit, in words for the person who wrote it: no names of Rust's types.
//!
//! It is text to text because serde's errors are text alone. A message that is not one of serde's own stays as it is.

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainError {
    /// The field of the value that is missing; it belongs to the place of the fault.
    pub missing: Option<String>,
    pub message: String,
}

const WHOLE_NUMBER: &str = "a whole number";
/// What serde calls what it expects, and what it is.
const KINDS: &[(&str, &str)] = &[
    ("a string", "text"),
    ("a borrowed string", "text"),
    ("a character", "one character"),
    ("a boolean", "true or false"),
    ("f64", "a number"),
    ("f32", "a number"),
    ("a sequence", "a list"),
    ("a map", "a table of names and values"),
    ("string or map", "one of the known words"),
];
const INTEGERS: &[&str] = &[
    "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "usize", "isize",
];
/// What is said of words in a query, by the standard library.
const OF_WORDS: &[(&str, &str)] = &[
    ("invalid digit found in string", "must be a whole number"),
    (
        "cannot parse integer from empty string",
        "must be a whole number",
    ),
    (
        "number too large to fit in target type",
        "is too large a number",
    ),
    (
        "number too small to fit in target type",
        "is too small a number",
    ),
    ("invalid float literal", "must be a number"),
    (
        "provided string was not `true` or `false`",
        "must be true or false",
    ),
];

pub fn plain(error: &str) -> PlainError {
    let error = without_place(error);
    if let Some(name) = error
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        return PlainError {
            missing: Some(name.to_owned()),
            message: "is missing".to_owned(),
        };
    }
    PlainError {
        missing: None,
        message: message(error),
    }
}

fn message(error: &str) -> String {
    if let Some((_, plain)) = OF_WORDS.iter().find(|(said, _)| *said == error) {
        return (*plain).to_owned();
    }
    // What was given stands before the last of these words; it may contain them.
    let expected = error.rsplit_once(", expected ");
    match (error.split_once(' '), expected) {
        (Some(("invalid", rest)), Some((given, expected))) if rest.starts_with("type: ") => {
            match (kind(expected), given.contains("type: null")) {
                (kind, true) => format!("must be {kind}; leave it out for the default"),
                (kind, false) => format!("must be {kind}"),
            }
        }
        (Some(("invalid", rest)), Some((given, expected))) if rest.starts_with("value: ") => {
            if INTEGERS.contains(&expected) && given.contains("value: integer") {
                let negative = expected.starts_with('u') && given.contains("`-");
                let what = if negative {
                    "must not be negative"
                } else {
                    "is too large or too small a number"
                };
                what.to_owned()
            } else {
                format!("must be {}", kind(expected))
            }
        }
        (Some(("unknown", rest)), _) if rest.starts_with("field ") => match names(error) {
            names if names.is_empty() => "is not known here".to_owned(),
            names => format!("is not known here; there are {}", names.join(", ")),
        },
        (Some(("unknown", rest)), Some(_)) if rest.starts_with("variant ") => {
            format!("must be {}", any_of(&names(error)))
        }
        _ => error.to_owned(),
    }
}

/// Without the place (`at line 3 column 7`) in a text that nobody sees.
fn without_place(error: &str) -> &str {
    let Some((what, place)) = error.rsplit_once(" at line ") else {
        return error;
    };
    let is_place = place
        .split_once(" column ")
        .is_some_and(|(line, column)| is_number(line) && is_number(column));
    if is_place { what } else { error }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

fn kind(expected: &str) -> &str {
    if INTEGERS.contains(&expected) {
        return WHOLE_NUMBER;
    }
    let known = KINDS.iter().find(|(said, _)| *said == expected);
    match known {
        Some((_, kind)) => kind,
        None if expected.starts_with("struct ") => "a table of names and values",
        None if expected.starts_with("a tuple") || expected.starts_with("tuple") => "a list",
        None if expected.contains("enum ") => "one of the known words",
        None => expected,
    }
}

/// The names in backticks behind `expected`.
fn names(error: &str) -> Vec<&str> {
    let expected = error.rsplit_once(", expected ").map(|(_, rest)| rest);
    let pieces = expected.unwrap_or_default().split('`');
    pieces.skip(1).step_by(2).collect()
}

fn any_of(names: &[&str]) -> String {
    match names {
        [] => "one of the known words".to_owned(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::domain::ids::Channel;
    use crate::domain::rule::{InQuietHours, Step};

    fn said<T: DeserializeOwned>(json: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
        let error = serde_json::from_value::<T>(value).err();
        let error = error.expect("it does not fit");
        let plain = plain(&error.to_string());
        match plain.missing {
            Some(name) => format!("{name} {}", plain.message),
            None => plain.message,
        }
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}

    /// The messages are serde's own, so that a new version of it that words them otherwise is found here.
    #[test]
    fn every_message_of_serde_is_put_into_plain_words() {
        for (said, expected) in [
            (
                said::<i64>("\"two, expected hours\""),
                "must be a whole number",
            ),
            (said::<i16>("2.5"), "must be a whole number"),
            (said::<u8>("true"), "must be a whole number"),
            (said::<u32>("-1"), "must not be negative"),
            (said::<i16>("70000"), "is too large or too small a number"),
            (said::<u8>("300"), "is too large or too small a number"),
            (said::<f64>("\"x\""), "must be a number"),
            (said::<String>("5"), "must be text"),
            (
                said::<String>("null"),
                "must be text; leave it out for the default",
            ),
            (said::<bool>("\"yes\""), "must be true or false"),
            (said::<Vec<i64>>("\"email\""), "must be a list"),
            (said::<(i64, i64)>("5"), "must be a list"),
            (
                said::<BTreeMap<String, i64>>("5"),
                "must be a table of names and values",
            ),
            (said::<Step>("5"), "must be a table of names and values"),
            (said::<Channel>("\"mail\""), "must be email or sms"),
            (said::<Channel>("5"), "must be one of the known words"),
            (said::<InQuietHours>("\"Move\""), "must be move or drop"),
            (said::<Step>("{\"id\": 1}"), "channel is missing"),
            (
                said::<Step>("{\"after\": 10}"),
                "is not known here; there are id, channel, after_minutes, when",
            ),
            (said::<Nothing>("{\"a\": 10}"), "is not known here"),
        ] {
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn words_in_a_query_are_told_the_same_way() {
        for (word, expected) in [
            (
                "x".parse::<i64>().map_err(|e| e.to_string()).err(),
                "must be a whole number",
            ),
            (
                "".parse::<i64>().map_err(|e| e.to_string()).err(),
                "must be a whole number",
            ),
            (
                "300".parse::<u8>().map_err(|e| e.to_string()).err(),
                "is too large a number",
            ),
            (
                "-300".parse::<i8>().map_err(|e| e.to_string()).err(),
                "is too small a number",
            ),
            (
                "x".parse::<f64>().map_err(|e| e.to_string()).err(),
                "must be a number",
            ),
            (
                "x".parse::<bool>().map_err(|e| e.to_string()).err(),
                "must be true or false",
            ),
        ] {
            assert_eq!(plain(&word.expect("it does not fit")).message, expected);
        }
    }

    #[test]
    fn the_place_in_a_text_that_nobody_sees_is_left_out() {
        let error = serde_json::from_str::<i64>("\n \"x\"").unwrap_err();
        assert!(error.to_string().ends_with(" at line 2 column 4"));
        assert_eq!(plain(&error.to_string()).message, "must be a whole number");
    }

    #[test]
    fn what_is_not_serdes_stays_as_it_is() {
        for own in [
            "a zone is a name such as Europe/Berlin",
            "the window ends before it begins at line 3 of the page",
            "invalid",
            "",
        ] {
            assert_eq!(plain(own).message, own);
        }
    }
}
