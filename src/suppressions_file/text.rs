//! The bytes of a file as text with one kind of line end.
//!
//! Spreadsheets and providers write UTF-8 with and without a mark, UTF-16 either way round, and the 8-bit encoding of the machine
//! they run on; lines end in LF, CRLF or a bare CR.

use std::borrow::Cow;

/// How much of a file without a mark is looked at for UTF-16.
const SAMPLE: usize = 4096;

/// Reads the bytes of a file. Line ends become LF; nothing else is changed.
///
/// # Errors
///
/// What the file is instead of text, and what to do about it.
pub fn decode(file: &[u8]) -> Result<String, &'static str> {
    if let Some((_, what)) = NOT_TEXT.iter().find(|(start, _)| file.starts_with(start)) {
        return Err(what);
    }
    let text = match file {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?.into(),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?.into(),
        _ => match zeros(file) {
            Zeros::Second => utf16(file, u16::from_le_bytes)?.into(),
            Zeros::First => utf16(file, u16::from_be_bytes)?.into(),
            Zeros::Few => utf8_or_8_bit(file),
        },
    };
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().chars().next() {
        None => Err("the file is empty"),
        Some('{' | '[') => {
            Err("the file is JSON; export it as CSV, or put one address on each line")
        }
        Some('<') => {
            Err("the file is a web page or XML; export it as CSV, or put one address on each line")
        }
        Some(_) => Ok(with_one_kind_of_line_end(text)),
    }
}

const WORKBOOK: &str = "the file is a spreadsheet's own format; open it there and save it as CSV";
const PACKED: &str = "the file is compressed; unpack it first";

/// How files begin that are often taken for CSV.
const NOT_TEXT: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", WORKBOOK),
    (b"\xD0\xCF\x11\xE0", WORKBOOK),
    (b"\x1F\x8B", PACKED),
    (b"%PDF", "the file is a PDF; export the list as CSV"),
    // Before UTF-16, whose mark it begins with.
    (b"\xFF\xFE\0\0", "the file is in UTF-32; save it as UTF-8"),
    (b"\0\0\xFE\xFF", "the file is in UTF-32; save it as UTF-8"),
];

/// Where the zero bytes of a file stand. Addresses and column names are ASCII, so in UTF-16 every other byte is zero.
#[derive(Debug, PartialEq)]
enum Zeros {
    Few,
    /// Of each pair the first: UTF-16, big-endian.
    First,
    /// Of each pair the second: UTF-16, little-endian.
    Second,
}

fn zeros(file: &[u8]) -> Zeros {
    let sample = &file[..file.len().min(SAMPLE)];
    let pairs = sample.len() / 2;
    let count = |at: usize| sample.chunks_exact(2).filter(|pair| pair[at] == 0).count();
    let (first, second) = (count(0), count(1));
    let is_most = |n: usize, other: usize| n > 0 && n * 2 > pairs && other * 8 < n;
    if is_most(second, first) {
        Zeros::Second
    } else if is_most(first, second) {
        Zeros::First
    } else {
        Zeros::Few
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, &'static str> {
    let units = bytes.chunks_exact(2);
    if !units.remainder().is_empty() {
        return Err(
            "the file is in UTF-16 and ends in the middle of a character; save it as UTF-8",
        );
    }
    let units = units.map(|pair| unit([pair[0], pair[1]]));
    Ok(char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}

/// UTF-8; a byte that is not part of it is a character of ISO 8859-1, as old spreadsheets write a "ü".
fn utf8_or_8_bit(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return text.into();
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| char::from(*byte)));
    }
    text.into()
}

fn with_one_kind_of_line_end(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{2028}' | '\u{2029}' => out.push('\n'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "Name,Email\nMüller,a@example.com\n";
        let (le, be) = (u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes);
        let marked = format!("\u{feff}{text}");
        for (file, what) in [
            (text.as_bytes().to_vec(), "UTF-8"),
            (marked.as_bytes().to_vec(), "UTF-8 with a mark"),
            (utf16_bytes(&marked, le), "UTF-16LE with its mark"),
            (utf16_bytes(&marked, be), "UTF-16BE with its mark"),
            (utf16_bytes(text, le), "UTF-16LE, told by its zeros"),
            (utf16_bytes(text, be), "UTF-16BE, told by its zeros"),
            (
                b"Name,Email\nM\xFCller,a@example.com\n".to_vec(),
                "ISO 8859-1",
            ),
        ] {
            assert_eq!(decode(&file).as_deref(), Ok(text), "{what}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf_8_does_not_change_the_others() {
        let mixed = [b"M\xFCller\n".as_slice(), "a@müller.example\n".as_bytes()].concat();
        assert_eq!(decode(&mixed).unwrap(), "Müller\na@müller.example\n");
    }

    #[test]
    fn every_line_end_is_one() {
        for end in ["\n", "\r", "\r\n", "\u{2028}"] {
            let text = format!("a{end}b{end}{end}c");
            assert_eq!(decode(text.as_bytes()).unwrap(), "a\nb\n\nc", "{end:?}");
        }
        assert_eq!(decode(b"a\rb\r\nc\n\rd").unwrap(), "a\nb\nc\n\nd");
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (file, word) in [
            (b"".as_slice(), "empty"),
            (b" \r\n\t", "empty"),
            (b"\xEF\xBB\xBF", "empty"),
            (b"PK\x03\x04...", "save it as CSV"),
            (b"\xD0\xCF\x11\xE0...", "save it as CSV"),
            (b"\x1F\x8B\x08", "unpack"),
            (b"%PDF-1.7", "PDF"),
            (b"\xFF\xFE\0\0a\0\0\0", "UTF-32"),
            (b"\xFF\xFEa\0b", "UTF-16"),
            (b"[{\"email\":\"a@example.com\"}]", "JSON"),
            (b"<html>", "web page"),
        ] {
            let what = decode(file).unwrap_err();
            assert!(what.contains(word), "{file:?}: {what}");
        }
    }
}
