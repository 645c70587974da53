//! Names as they may stand in a greeting.

use super::is_absent;

/// Of a value of 50,000 characters, more than this is not looked at.
const LOOKED_AT: usize = 256;
const LONGEST: usize = 64;

/// A person's name without anything that could steer a mail header, a text's direction or a reader's click; `None` if nothing
/// worth saying is left.
///
/// A name with a link or an encoded word in it is dropped whole: half of an attack is not a name either.
pub fn clean_name(raw: &str) -> Option<String> {
    let visible: String = raw
        .chars()
        .take(LOOKED_AT)
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let name = words.join(" ");
    if is_absent(&name) || looks_like_link(&name) || name.contains("=?") {
        return None;
    }
    let short: String = name.chars().take(LONGEST).collect();
    Some(short.trim_end().to_owned())
}

/// Marks that change a text's direction or hide in it. The joiners U+200C and U+200D stay: Persian and Hindi names need them.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Phones and mail readers make a link of `shop.example` without any `https://`. Initials (`J. R.`) are not links.
fn looks_like_link(name: &str) -> bool {
    let dotted = name.match_indices('.').any(|(dot, _)| {
        let before = name[..dot].chars().next_back();
        let after = name[dot + 1..].chars().take(2);
        before.is_some_and(char::is_alphanumeric)
            && after.filter(|c| c.is_alphanumeric()).count() == 2
    });
    dotted || name.contains(['/', '\\', '@', '<', '>'])
}
