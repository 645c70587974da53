//! Replies of an SMTP server, from octets to a code, an enhanced code and a text (RFC 5321, 4.2; RFC 3463).
//!
//! As lenient as the protocol, and a little more, since servers are: any three digits are a code, text and blank may be missing,
//! text need not be UTF-8 (it is Latin-1 then), lines may end with a bare line feed and be of any length. What is kept of them is bounded, and so is
//! what is read. What is no reply after all is [`InvalidReply`](reader::InvalidReply): the two sides are out of step, and the connection is of no use.

mod enhanced;
mod quoted;
mod reader;

use super::words::{RefusalTopic, finding};

use self::enhanced::{SECTIONS, ends_in};

pub use enhanced::Enhanced;
pub use quoted::QuotedParty;
pub use reader::{Offers, ReplyLines, ReplyReader};

/// Octets kept of a line, and characters of a reply's text: RFC 5321 promises 512 octets a line, and nobody reads more.
const LINE_KEPT: usize = 1_000;
const TEXT_KEPT: usize = 4_000;

/// Octets and lines read of one reply. A server that says more than this is not speaking SMTP.
const MOST_OCTETS: usize = 256 * 1024;
const MOST_LINES: usize = 1_000;

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599; the first digit says what matters, and all of it where the code is not a known one.
    pub code: u16,
    pub enhanced: Option<Enhanced>,
    /// The enhanced code stands among words like one of them: a number of somebody's that may be something else.
    pub(super) in_passing: bool,
    /// What follows the codes, lines joined by a blank.
    pub text: String,
    /// What the text is about: looked for once, since every word is compared with every pattern.
    pub(super) finding: Option<RefusalTopic>,
    /// Whom the text names, of those that we have named to the server.
    pub names: QuotedParty,
    /// The recipient's name: what stands before the `@`.
    pub(super) recipient: String,
}

impl Reply {
    /// A reply of this code and text: what follows the code in each line, one line below the other.
    ///
    /// The enhanced code may stand anywhere, in any spelling: `5.7.1`, `5.7.1:`, `#5.7.1`, `(#5.7.1)`, `[5.7.1]`. One that begins a
    /// line comes first; one whose class is not the basic code's is text, and so is the number of a section or a version.
    pub fn new(code: u16, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let goes_on = |at: usize| {
            at > 0
                && lines
                    .get(at - 1)
                    .is_some_and(|line| ends_in(SECTIONS, line))
        };
        let at_start = lines.iter().enumerate().find_map(|(at, line)| {
            let (enhanced, _) = Enhanced::at_start(code, line)?;
            (!goes_on(at)).then_some((enhanced, false))
        });
        let anywhere = || {
            let mut lines = lines.iter().enumerate();
            lines.find_map(|(at, line)| Enhanced::within(code, line, goes_on(at)))
        };
        let found = at_start.or_else(anywhere);
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            let coded = Enhanced::at_start(code, line).filter(|_| !goes_on(at));
            let words = coded.map_or(*line, |(_, rest)| rest);
            if !text.is_empty() && !words.is_empty() {
                text.push(' ');
            }
            text.extend(words.chars().take(TEXT_KEPT.saturating_sub(text.len())));
        }
        Self {
            code,
            enhanced: found.map(|(enhanced, _)| enhanced),
            in_passing: found.is_some_and(|(_, in_passing)| in_passing),
            finding: finding(&text),
            text,
            names: QuotedParty::Nobody,
            recipient: String::new(),
        }
    }

    /// The same as the answer to a message from and to these addresses, from a host of this name.
    #[must_use]
    pub fn answering(mut self, from: &str, to: &str, hello: &str) -> Self {
        self.names = QuotedParty::of(&self.text, from, to, hello);
        let parted = to.rsplit_once('@');
        self.recipient = parted.map_or(String::new(), |(name, _)| name.to_owned());
        self
    }

    /// 2 done, 3 go on, 4 not now, 5 no.
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    pub fn is_permanent(&self) -> bool {
        self.class() == 5
    }

    /// Subject and detail of the enhanced code; (0, 0), which means nothing in particular, without one.
    pub fn subject(&self) -> (u16, u16) {
        self.enhanced.map_or((0, 0), |e| (e.1, e.2))
    }
}

#[cfg(test)]
mod tests;
