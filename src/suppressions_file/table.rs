//! The records of a CSV file with the lines they stand on.
//!
//! The library reads a quotation mark that never ends, or that ends much later, without a word; every line between would be gone.
//! Here the first is an error, and the second shows in [`TableRecord::further_lines`].

use std::io::Cursor;

use csv::{Reader, ReaderBuilder, StringRecord};

/// What may separate fields, the likeliest first.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Of a record, lines that are kept to see whether they are rows of their own. If a mark was forgotten, the first of them show it.
const MOST_FURTHER_LINES: usize = 100;

/// Stands on a line of its own after the text, so that a quotation mark that is still open there shows.
const END: &str = "\nend\n";

pub struct ListTable {
    reader: Reader<Cursor<Vec<u8>>>,
    separator: u8,
    /// Bytes of the text itself.
    length: usize,
    /// The line at which the next record is searched, from 1.
    line: usize,
}

/// One record, which is mostly one line.
pub struct TableRecord {
    /// The line on which it begins, from 1.
    pub line: usize,
    pub last_line: usize,
    pub fields: StringRecord,
    /// Of a record with line ends in its fields, the second and some later lines, as each would read alone.
    pub further_lines: Vec<StringRecord>,
}

/// A quotation mark is never closed.
#[derive(Debug, PartialEq)]
pub struct NeverEnds {
    /// The line on which it stands, from 1.
    pub line: usize,
}

impl ListTable {
    /// `text` has LF for line ends. A first line `sep=;` names the separator.
    pub fn new(mut text: String) -> Self {
        let first_end = text.find('\n').unwrap_or(text.len());
        let named = separator_named(&text[..first_end]);
        let (separator, begin) = match named {
            Some(separator) => (separator, first_end),
            None => (guess(&text), 0),
        };
        // What is left of that line is blank, and is counted.
        text.drain(..begin);
        let length = text.len();
        text.push_str(END);
        Self {
            reader: options(separator).from_reader(Cursor::new(text.into_bytes())),
            separator,
            length,
            line: 1,
        }
    }

    fn byte(&self) -> usize {
        usize::try_from(self.reader.position().byte()).unwrap_or(usize::MAX)
    }

    fn text(&self) -> &[u8] {
        self.reader.get_ref().get_ref()
    }

    /// The next record that is not a blank line; `None` at the end.
    ///
    /// # Errors
    ///
    /// A quotation mark opens and the file ends within it.
    pub fn next(&mut self) -> Result<Option<TableRecord>, NeverEnds> {
        loop {
            let before = self.byte();
            // The library skips empty lines before a record.
            let blank = self.text()[before..]
                .iter()
                .take_while(|b| **b == b'\n')
                .count();
            let start = before + blank;
            let line = self.line + blank;
            let mut fields = StringRecord::new();
            let found = self.reader.read_record(&mut fields);
            if start > self.length {
                return Ok(None);
            }
            let end = self.byte().min(self.text().len());
            // Text in memory cannot fail to be read; if it did, nothing must pass for the end of the list.
            if end > self.length + 1 || !matches!(found, Ok(true)) {
                return Err(never_ends(line, &fields));
            }
            let raw = &self.text()[start..end.max(start)];
            let lines = line_ends(raw);
            let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
            let further = line_ends(raw);
            let further_lines = if further == 0 {
                Vec::new()
            } else {
                let rest = raw.split(|b| *b == b'\n').skip(1);
                let rest = rest.take(MOST_FURTHER_LINES);
                rest.filter_map(|line| alone(line, self.separator))
                    .collect()
            };
            self.line = line + lines;
            if fields.len() == 1 && fields.iter().all(|field| field.trim().is_empty()) {
                continue;
            }
            return Ok(Some(TableRecord {
                line,
                last_line: line + further,
                fields,
                further_lines,
            }));
        }
    }
}

fn line_ends(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').count() - 1
}

fn options(separator: u8) -> ReaderBuilder {
    let mut options = ReaderBuilder::new();
    options
        .has_headers(false)
        .flexible(true)
        .delimiter(separator);
    options
}

/// A line as a record.
fn alone(line: &[u8], separator: u8) -> Option<StringRecord> {
    let mut options = options(separator);
    let mut reader = options
        .buffer_capacity(line.len().max(64))
        .from_reader(line);
    let mut fields = StringRecord::new();
    reader.read_record(&mut fields).ok()?.then_some(fields)
}

/// The mark opens the record's last field, after the line ends of the fields before it.
fn never_ends(line: usize, fields: &StringRecord) -> NeverEnds {
    let before = fields.iter().take(fields.len().saturating_sub(1));
    let lines: usize = before.map(|field| field.matches('\n').count()).sum();
    NeverEnds { line: line + lines }
}

/// The separator that a spreadsheet's own first line names: `sep=;`.
fn separator_named(line: &str) -> Option<u8> {
    let line = line.trim_matches(['"', ' ']);
    let (word, separator) = line.split_once('=')?;
    if !word.trim().eq_ignore_ascii_case("sep") {
        return None;
    }
    let trimmed = separator.trim_matches(' ');
    let separator = if trimmed.is_empty() {
        separator
    } else {
        trimmed
    };
    match separator.as_bytes() {
        [one] if one.is_ascii_punctuation() || *one == b'\t' => Some(*one),
        b"\\t" => Some(b'\t'),
        _ => None,
    }
}

/// The separator that the first line with anything on it has most of, outside of quotation marks.
fn guess(text: &str) -> u8 {
    let line = text.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or_default().as_bytes();
    let count = |separator: u8| {
        let mut quoted = false;
        let mut count = 0;
        for byte in line {
            quoted ^= *byte == b'"';
            count += usize::from(*byte == separator && !quoted);
        }
        count
    };
    let most = SEPARATORS
        .iter()
        .map(|s| count(*s))
        .max()
        .unwrap_or_default();
    let found = SEPARATORS.iter().find(|s| count(**s) == most);
    found.copied().unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line, last line and fields of each record.
    fn read(text: &str) -> Result<Vec<(usize, usize, Vec<String>)>, NeverEnds> {
        let mut table = ListTable::new(text.to_owned());
        let mut all = Vec::new();
        while let Some(record) = table.next()? {
            let fields = record.fields.iter().map(str::to_owned).collect();
            all.push((record.line, record.last_line, fields));
        }
        Ok(all)
    }

    fn fields(text: &str) -> Vec<Vec<String>> {
        read(text)
            .unwrap()
            .into_iter()
            .map(|(_, _, fields)| fields)
            .collect()
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them() {
        let all = read("\n\na,b\n\n\"x\ny\",\"z\n\n\"\n   \nc\n").unwrap();
        let places: Vec<_> = all.iter().map(|(first, last, _)| (*first, *last)).collect();
        assert_eq!(places, [(3, 3), (5, 8), (10, 10)]);
        assert_eq!(read("a").unwrap(), [(1, 1, vec!["a".to_owned()])]);
        assert_eq!(
            read("sep=;\n\na;b\nend\n")
                .unwrap()
                .iter()
                .map(|r| r.0)
                .collect::<Vec<_>>(),
            [3, 4]
        );
    }

    #[test]
    fn the_separator_is_named_or_the_one_most_seen() {
        for text in [
            "a,b\n",
            "a;b\n",
            "a\tb\n",
            "a|b\n",
            "sep=;\na;b\n",
            "\"sep=,\"\na,b\n",
            "SEP=\t\na\tb\n",
            "sep=:\na:b",
            "\n\n\"a\";b;,\n",
        ] {
            let got = fields(text);
            assert!(
                got[0][0] == "a" && got[0][1].starts_with('b'),
                "{text:?}: {got:?}"
            );
        }
        assert_eq!(fields("\"a,c,d\";b\n"), [["a,c,d", "b"]]);
    }

    #[test]
    fn a_quotation_mark_that_never_ends_is_told_with_its_line() {
        for (text, line) in [
            ("\"a", 1),
            ("a\n\"b\nc\nd\n", 2),
            ("a,\"b\n\nc", 1),
            ("a\n\"x\ny\",\"z\nq", 3),
            ("a\n\"b\"\"\nc\n", 2),
            ("sep=;\na;\"", 2),
        ] {
            assert_eq!(read(text), Err(NeverEnds { line }), "{text:?}");
        }
        for text in [
            "a \"b\" c\n",
            "\"a\"",
            "\"a\"\"b\"",
            "5\" pipe,x\n",
            "\"\"\n",
        ] {
            assert!(read(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn further_lines_of_a_record_are_kept_apart() {
        let mut table = ListTable::new("a,\"never closed\nb,fine\nc,\"ok\"\nd,e\n".to_owned());
        let record = table.next().unwrap().unwrap();
        assert_eq!((record.line, record.last_line), (1, 3));
        assert_eq!(record.further_lines, [vec!["b", "fine"], vec!["c", "ok"]]);
        assert_eq!(table.next().unwrap().unwrap().line, 4);
    }
}
