//! Text from strangers, made fit for a header, a subject or a greeting.
//!
//! Names come from the visitor or from the brand's agents. A visitor can enter somebody else's address and a "name" that
//! reads as an advertisement, so a name is also refused if a mail program would turn it into a link.

/// Longest display name in a header, in characters.
pub const MAX_NAME: usize = 64;
/// Longest subject, in characters.
pub const MAX_SUBJECT: usize = 120;
/// Longest first name used in a greeting, in characters.
const MAX_FIRST_NAME: usize = 40;

/// One line of plain text of at most `max` characters: no control, bidi or line-separating characters, single blanks, and no
/// `=?`, which mail programs would decode as an encoded word.
pub fn line(raw: &str, max: usize) -> String {
    let mut out = String::with_capacity(raw.len().min(max * 4));
    let mut length = 0;
    for c in raw.chars() {
        let c = if c.is_whitespace() { ' ' } else { c };
        let unwanted = is_invisible_control(c)
            || (c == '?' && out.ends_with('='))
            || (c == ' ' && (out.is_empty() || out.ends_with(' ')));
        if unwanted {
            continue;
        }
        if length == max {
            break;
        }
        out.push(c);
        length += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// The visitor's first name for a greeting; `None` if nothing usable is left.
pub fn first_name(raw: &str) -> Option<String> {
    let name = line(raw, MAX_FIRST_NAME + 1);
    let too_long = name.chars().count() > MAX_FIRST_NAME;
    (!name.is_empty() && !too_long && !reads_as_more_than_a_name(&name)).then_some(name)
}

/// Line ends are white space to `char::is_whitespace`, and so already blanks when this is asked.
fn is_invisible_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

fn reads_as_more_than_a_name(name: &str) -> bool {
    let marks = name.chars().any(|c| {
        matches!(
            c,
            '/' | '\\' | ':' | '@' | '<' | '>' | '{' | '}' | '&' | '#'
        )
    });
    let many_digits = name.chars().filter(char::is_ascii_digit).count() > 3;
    let domain = name.split('.').skip(1).any(|after| {
        after
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .nth(1)
            .is_some()
    });
    marks || many_digits || domain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_has_no_line_ends_controls_or_bidi_marks() {
        assert_eq!(
            line("Dana\r\nBcc: x@example.com\0", 64),
            "Dana Bcc: x@example.com"
        );
        assert_eq!(line("a\u{202E}b\u{2066}c\u{2028}d", 64), "abc d");
        assert_eq!(line("  two   blanks  ", 64), "two blanks");
    }

    #[test]
    fn encoded_words_are_taken_apart() {
        assert_eq!(line("=?utf-8?q?hi?=", 64), "=utf-8?q?hi?=");
        assert_eq!(line("==??=\u{0}?", 64), "===");
    }

    #[test]
    fn a_first_name_is_a_name() {
        for name in ["Dana", "José María", "J.R.", "O'Neil", "Anne-Sophie", "李"] {
            assert_eq!(first_name(name).as_deref(), Some(name));
        }
        let hostile = [
            "",
            " \r\n",
            "win at evil.example",
            "https://evil.example",
            "a@b.example",
            "<b>x</b>",
            "{{link}}",
            "call 0800 1234",
            &"x".repeat(41),
        ];
        for name in hostile {
            assert_eq!(first_name(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_always_one_short_line(raw in any::<String>(), max in 1_usize..200) {
            let line = line(&raw, max);
            prop_assert!(line.chars().count() <= max);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(!line.contains("=?"));
        }
    }
}
