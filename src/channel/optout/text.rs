//! A text message as the grammar reads it: plain words, in clauses, without what the phone or its owner put around them.

use unicode_normalization::UnicodeNormalization as _;

use super::{lookalikes, reactions};

/// Words of a message that are read. An SMS has at most 1600 characters; what is longer is nobody's opt-out.
const MAX_TOKENS: usize = 320;

/// Marks that are words of their own: "🛑" says stop.
pub(super) const STOP_SIGNS: [char; 7] = ['🛑', '⛔', '🚫', '🔕', '📵', '🖕', '✋'];

/// Lines that begin so are written by the phone, and so is all that follows.
const SIGNATURES: [&str; 18] = [
    "sent from ",
    "sent via ",
    "get outlook for ",
    "von meinem ",
    "gesendet von ",
    "gesendet mit ",
    "envoye de ",
    "envoye depuis ",
    "enviado desde ",
    "enviado de ",
    "enviado do ",
    "inviato da ",
    "verstuurd vanaf ",
    "verzonden vanaf ",
    "wyslane z ",
    "wyslano z ",
    "skickat fran ",
    "iphoneから送信",
];

/// A part of a message between two punctuation marks.
pub(super) type Clause = Vec<String>;

/// The message as clauses of folded words.
pub(super) fn clauses(body: &str) -> Vec<Clause> {
    if let Some(own) = reactions::own_part(body) {
        return split(&own_words(&own));
    }
    let written = own_words(body);
    let read = split(&written);
    if read.is_empty() { split(body) } else { read }
}

/// What the sender wrote: without signature and without what they quote. Line ends stay.
fn own_words(body: &str) -> String {
    let mut own = String::with_capacity(body.len());
    for line in body.lines() {
        let line = line.trim();
        let plain = fold(line);
        let ends = line.starts_with("--")
            || line.starts_with("__")
            || SIGNATURES.iter().any(|s| plain.starts_with(&fold(s)));
        if ends && !own.trim().is_empty() {
            break;
        }
        // "STOP > Acme: you have an unread answer": what follows the mark is quoted.
        let line = line.split(['>', '|']).next().unwrap_or_default();
        own.push_str(&reactions::own_part(line).unwrap_or_else(|| line.to_owned()));
        own.push('\n');
    }
    own
}

/// Folds a text to what the eye reads: styled, wide and accented letters, and those of other alphabets that look alike, to plain
/// small ones, and each run of one letter to one of them, so that "STOPP", "STOOOP" and "ｓｔｏｐ" are one word. "ä" and "ae" are one as
/// well. Patterns are folded the same way, so that this only loses differences that do not matter here.
pub(super) fn fold(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let signs: String = text.chars().map(letter_of_sign).nfkc().collect();
    for c in lookalikes::made_latin(&signs).chars() {
        for c in c.to_lowercase().nfd() {
            match c {
                // Accents, and the joiners that turn signs into emoji.
                '\u{300}'..='\u{36f}'
                | '\u{200b}'..='\u{200d}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{ad}' => {}
                'ß' => plain.push('s'),
                'æ' | 'œ' => plain.push(if c == 'æ' { 'a' } else { 'o' }),
                'ø' => plain.push('o'),
                'ł' => plain.push('l'),
                'đ' | 'ð' => plain.push('d'),
                'ı' => plain.push('i'),
                '’' | '‘' | '`' | '´' | 'ʼ' => plain.push('\''),
                c => plain.push(c),
            }
        }
    }
    // Voiced kana come together again.
    squeeze(&plain.nfc().collect::<String>())
}

/// Letters in circles, squares and flags that Unicode's compatibility forms leave alone.
fn letter_of_sign(c: char) -> char {
    let base = match c {
        '\u{1f150}'..='\u{1f169}' => '\u{1f150}',
        '\u{1f170}'..='\u{1f189}' => '\u{1f170}',
        '\u{1f1e6}'..='\u{1f1ff}' => '\u{1f1e6}',
        _ => return c,
    };
    u8::try_from(u32::from(c) - u32::from(base)).map_or(c, |n| char::from(b'a' + n))
}

/// One letter for a run of it, and for "ae", "oe", "ue" their first.
fn squeeze(text: &str) -> String {
    let mut out: Vec<char> = Vec::with_capacity(text.len());
    for c in text.chars() {
        let last = out.last().copied();
        let doubled = c.is_alphabetic() && last == Some(c) && !is_ideograph(c);
        let umlaut = c == 'e' && matches!(last, Some('a' | 'o' | 'u'));
        if !doubled && !umlaut {
            out.push(c);
        }
    }
    out.into_iter().collect()
}

/// Scripts that are written without blanks: each sign is a token.
pub(super) fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

/// Clauses of the words of a text, folded. Empty ones are left out.
pub(super) fn split(text: &str) -> Vec<Clause> {
    let mut clauses: Vec<Clause> = vec![Vec::new()];
    let mut count = 0;
    for part in without_inner_stops(&fold(text)).split(is_boundary) {
        clauses.push(Vec::new());
        for token in tokens(part) {
            count += 1;
            if count > MAX_TOKENS {
                break;
            }
            clauses.last_mut().expect("one was pushed").push(token);
        }
    }
    clauses.retain(|clause| !clause.is_empty());
    for clause in &mut clauses {
        join_letters(clause);
    }
    clauses
}

/// The stops of "S.T.O.P" end no clause.
fn without_inner_stops(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let letter = |at: usize| chars.get(at).is_some_and(|c| c.is_alphanumeric());
    let single =
        |at: usize| letter(at) && !letter(at + 1) && !at.checked_sub(1).is_some_and(letter);
    let inner =
        |at: usize| chars[at] == '.' && at.checked_sub(1).is_some_and(single) && single(at + 1);
    (0..chars.len())
        .map(|at| if inner(at) { ' ' } else { chars[at] })
        .collect()
}

/// The end of a clause.
fn is_boundary(c: char) -> bool {
    matches!(
        c,
        '.' | '!'
            | '?'
            | ';'
            | ','
            | ':'
            | '\n'
            | '\r'
            | '…'
            | '–'
            | '—'
            | '('
            | ')'
            | '/'
            | '¡'
            | '¿'
            | '。'
            | '、'
            | '・'
    )
}

/// The words of a piece of folded text.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_ideograph(c) || STOP_SIGNS.contains(&c) {
            take(&mut tokens, &mut word);
            tokens.push(c.to_string());
        } else if c.is_alphanumeric() {
            word.push(c);
        } else if c == '\'' && is_english_ending(chars.clone()) {
            // "don't" is one word, "n'envoyez" are two.
        } else {
            take(&mut tokens, &mut word);
        }
    }
    take(&mut tokens, &mut word);
    tokens
}

fn take(tokens: &mut Vec<String>, word: &mut String) {
    if !word.is_empty() {
        tokens.push(std::mem::take(word));
    }
}

/// What follows an apostrophe is `t`, `s`, `re`, `ve`, `ll` (folded: `l`), `m` or `d`, and then the word is over.
fn is_english_ending(rest: impl Iterator<Item = char>) -> bool {
    let ending: String = rest.take_while(|c| c.is_alphanumeric()).collect();
    matches!(ending.as_str(), "t" | "s" | "re" | "ve" | "l" | "m" | "d")
}

/// "s t o p" is one word.
fn join_letters(clause: &mut Clause) {
    let letter = |token: &String| {
        let mut chars = token.chars();
        chars
            .next()
            .is_some_and(|c| c.is_alphabetic() && !is_ideograph(c))
            && chars.next().is_none()
    };
    if clause.len() >= 3 && clause.iter().all(letter) {
        *clause = vec![fold(&clause.concat())];
    }
}
