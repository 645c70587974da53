//! A reply from octets to lines.

use super::{LINE_KEPT, MOST_LINES, MOST_OCTETS, Reply, TEXT_KEPT};

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidReply;

/// Puts a reply together, octets as they come.
#[derive(Debug, Default)]
pub struct ReplyReader {
    /// The line that has begun; no more of it than is kept.
    line: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
    octets: usize,
    count: usize,
}

impl ReplyReader {
    /// Takes octets up to the end of the reply. Returns how many it took, and the lines of the reply if it is whole.
    pub fn take(&mut self, octets: &[u8]) -> Result<(usize, Option<ReplyLines>), InvalidReply> {
        for (at, octet) in octets.iter().enumerate() {
            self.octets += 1;
            if self.octets > MOST_OCTETS {
                return Err(InvalidReply);
            }
            if *octet != b'\n' {
                if self.line.len() < LINE_KEPT {
                    self.line.push(*octet);
                }
                continue;
            }
            if let Some(code) = self.end_of_line()? {
                let lines = std::mem::take(self).lines;
                return Ok((at + 1, Some(ReplyLines { code, lines })));
            }
        }
        Ok((octets.len(), None))
    }

    /// The code, if this was the last line.
    fn end_of_line(&mut self) -> Result<Option<u16>, InvalidReply> {
        self.count += 1;
        if self.count > MOST_LINES {
            return Err(InvalidReply);
        }
        let line = std::mem::take(&mut self.line);
        let line = line.trim_ascii_end();
        // A blank line before a reply is nothing.
        if line.is_empty() && self.code.is_none() {
            return Ok(None);
        }
        let Some((code, text)) = code_of(line) else {
            // Within a reply a line without its code is text, as long as the last line comes; before one it is no reply at all.
            self.code.ok_or(InvalidReply)?;
            self.keep(line);
            return Ok(None);
        };
        // Lines that disagree about success say nothing (RFC 5321, 4.2.1: they are all the same).
        if self.code.is_some_and(|first| first / 100 != code / 100) {
            return Err(InvalidReply);
        }
        self.code = Some(code);
        match text {
            [b'-', text @ ..] => {
                self.keep(text);
                Ok(None)
            }
            text => {
                self.keep(text);
                Ok(Some(code))
            }
        }
    }

    fn keep(&mut self, text: &[u8]) {
        let kept: usize = self.lines.iter().map(String::len).sum();
        if kept < TEXT_KEPT {
            self.lines.push(legible(text.trim_ascii()));
        }
    }
}

/// UTF-8 or, what else servers write, Latin-1: every octet is a letter.
fn legible(octets: &[u8]) -> String {
    std::str::from_utf8(octets).map_or_else(
        |_| octets.iter().map(|octet| char::from(*octet)).collect(),
        str::to_owned,
    )
}

/// The code a line begins with, and what follows it.
fn code_of(line: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, text) = line.split_at_checked(3)?;
    let plausible = matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'])
        && !text.first().is_some_and(u8::is_ascii_digit);
    let code = plausible.then(|| std::str::from_utf8(digits).ok()?.parse().ok())??;
    Some((code, text))
}

/// The lines of a reply, without their codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyLines {
    pub code: u16,
    pub lines: Vec<String>,
}

impl ReplyLines {
    pub fn reply(&self) -> Reply {
        Reply::new(self.code, &self.lines.join("\n"))
    }
}

/// What a server's answer to EHLO offers, as far as we care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a server offers each by itself"
)]
pub struct Offers {
    pub starttls: bool,
    pub plain: bool,
    pub login: bool,
    pub xoauth2: bool,
}

impl Offers {
    /// Keywords come in any case (RFC 5321, 4.1.1.1), and `AUTH` also as `AUTH=LOGIN PLAIN`, as before RFC 2554. The first line is
    /// the server's name.
    pub fn of(answer: &ReplyLines) -> Self {
        let mut offers = Self::default();
        for line in answer.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offers.plain |= mechanism == "PLAIN";
                        offers.login |= mechanism == "LOGIN";
                        offers.xoauth2 |= mechanism == "XOAUTH2";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}
