//! Replies of an SMTP server, from octets to a code, an enhanced code and a text (RFC 5321, 4.2; RFC 3463).
//!
//! As lenient as the protocol, and a little more, since servers are: any three digits are a code, text and blank may be missing,
//! text need not be UTF-8 (it is Latin-1 then), lines may end with a bare line feed and be of any length. What is kept of them is bounded, and so is
//! what is read. What is no reply after all is [`InvalidReply`]: the two sides are out of step, and the connection is of no use.

use std::fmt;

use super::words::{RefusalTopic, finding};

/// Octets kept of a line, and characters of a reply's text: RFC 5321 promises 512 octets a line, and nobody reads more.
const LINE_KEPT: usize = 1_000;
const TEXT_KEPT: usize = 4_000;

/// Octets and lines read of one reply. A server that says more than this is not speaking SMTP.
const MOST_OCTETS: usize = 256 * 1024;
const MOST_LINES: usize = 1_000;

/// What came is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidReply;

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

/// Whom a reply quotes: servers that call back to the sender's own server quote the sender in the words they have for recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotedParty {
    #[default]
    Nobody,
    /// An address that is not ours: the recipient's own server may have rewritten the one that it speaks of.
    Recipient,
    /// Our own address, and no other one.
    Sender,
    /// The domain of our address, one above or below it or our host's name, and not the recipient's.
    SenderDomain,
    /// Domains or hosts, and none of either side.
    Strangers,
}

impl QuotedParty {
    /// `from` and `to` are addresses as they were said in MAIL and RCPT, `hello` the name as it was said in EHLO.
    fn of(text: &str, from: &str, to: &str, hello: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let [from, to, hello] = [from, to, hello].map(str::to_ascii_lowercase);
        let domain = |address: &str| {
            let parted = address.rsplit_once('@');
            parted.map_or(String::new(), |(_, domain)| domain.to_owned())
        };
        let (ours, theirs) = (domain(&from), domain(&to));
        let part = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '@'));
        let words = || {
            let spoken = text.split_whitespace().filter(|w| !w.contains("://"));
            spoken.flat_map(move |w| w.split(part).map(|word| word.trim_matches('.')))
        };
        let is_ours = |word: &str| is_within(word, &ours) || is_above(word, &ours) || word == hello;
        let says = |is: &dyn Fn(&str) -> bool| words().any(is);
        if says(&|word: &str| word.contains('@') && word != from) {
            Self::Recipient
        } else if says(&|word: &str| is_within(word, &theirs)) {
            Self::Nobody
        } else if says(&|word: &str| word == from) {
            Self::Sender
        } else if says(&is_ours) {
            Self::SenderDomain
        } else if says(&is_host) {
            Self::Strangers
        } else {
            Self::Nobody
        }
    }
}

/// Whether this is the domain or a host of it.
fn is_within(word: &str, domain: &str) -> bool {
    !domain.is_empty()
        && word
            .strip_suffix(domain)
            .is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Whether this is a domain that the other one is a part of; a bare "example" is a word.
fn is_above(word: &str, domain: &str) -> bool {
    word.contains('.') && is_within(domain, word)
}

/// Whether a word looks like a host's or a domain's name.
fn is_host(word: &str) -> bool {
    let last = word.rsplit_once('.').map(|(_, last)| last);
    last.is_some_and(|last| last.len() > 1 && last.chars().all(char::is_alphabetic))
}

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
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

impl Enhanced {
    /// The code that the line begins with, and what follows it.
    fn at_start(code: u16, line: &str) -> Option<(Self, &str)> {
        let trimmed = line.trim_start_matches(['#', '(', '[', '<', ' ']);
        let (enhanced, rest) = Self::parse(trimmed)?;
        let rest = rest.trim_start_matches([')', ']', '>', ':', ';', ',', ' ']);
        enhanced.is_of(code).then_some((enhanced, rest))
    }

    /// The first one in the line that stands alone: not a part of an address, a version or a name. And whether it stands in passing:
    /// neither marked as a code nor behind the basic one, as in a reply that is quoted.
    /// `goes_on`: the line before ends with a word that a number belongs to.
    fn within(code: u16, line: &str, goes_on: bool) -> Option<(Self, bool)> {
        let joined = |c: char| c.is_alphanumeric() || matches!(c, '.' | '/' | '@' | '_' | '=');
        let mut before = goes_on.then_some('.');
        for (at, c) in line.char_indices() {
            if c.is_ascii_digit()
                && !before.is_some_and(joined)
                && let Some((said, behind)) = line.split_at_checked(at)
                && let Some((enhanced, _)) = Self::parse(behind)
                && enhanced.is_of(code)
                && !ends_in(SECTIONS, said)
                && (said.ends_with('#') || !ends_in(PROGRAMS, said))
            {
                let marked = said.is_empty() || said.ends_with(['#', '(', '[', '<']);
                let quoted = said
                    .trim_end_matches([' ', '-'])
                    .ends_with(&code.to_string());
                return Some((enhanced, !marked && !quoted));
            }
            before = Some(c);
        }
        None
    }

    /// `class.subject.detail` and the rest, unless digits or a name go on behind it.
    fn parse(raw: &str) -> Option<(Self, &str)> {
        let (class, rest) = number(raw, 1)?;
        let (subject, rest) = number(rest.strip_prefix('.')?, 3)?;
        let (detail, rest) = number(rest.strip_prefix('.')?, 3)?;
        let mut behind = rest.chars();
        let goes_on = match behind.next() {
            Some('.') => behind.next().is_some_and(char::is_alphanumeric),
            Some(c) => c.is_alphanumeric() || matches!(c, '/' | '@' | '_' | '='),
            None => false,
        };
        // RFC 3463 has the subjects 0 to 7; anything else is somebody's version.
        let enhanced = Self(u8::try_from(class).ok()?, subject, detail);
        (!goes_on && subject <= 7).then_some((enhanced, rest))
    }

    fn is_of(self, code: u16) -> bool {
        u16::from(self.0) == code / 100
    }
}

/// What has numbers like codes, whatever stands between: parts of a text of rules.
#[rustfmt::skip]
const SECTIONS: &[&str] = &[
    "section", "sections", "rule", "clause", "paragraph", "para", "article", "chapter", "appendix", "annex", "version", "release", "abschnitt", "regel", "ziffer", "absatz", "kapitel", "artikel", "punkt",
    "artículo", "articulo", "sección", "seccion", "regla", "règle", "seção", "regra", "articolo", "sezione", "regola", "sectie", "hoofdstuk", "paragraf", "paragraaf", "раздел", "раздела", "пункт", "пункта", "правило", "версия", "§", "§§", "№",
];

/// What may have a code behind it, too, if that is marked as one: rules and programs by their names and kinds.
#[rustfmt::skip]
const PROGRAMS: &[&str] = &[
    "rules", "policy", "agreement", "terms", "build", "security", "antivirus", "antispam", "gateway", "appliance", "firewall", "engine", "server", "proxy", "scanner", "shield", "suite", "edition", "software", "mailserver", "mta",
    "postfix", "exim", "sendmail", "qmail", "exchange", "domino", "zimbra", "mdaemon", "kerio", "imail", "courier", "dovecot", "amavis", "spamassassin", "rspamd", "clamav", "mailscanner", "mailmarshal", "spamtitan", "proxmox",
    "sophos", "symantec", "mcafee", "kaspersky", "fortimail", "ironport", "barracuda", "mimecast", "proofpoint", "bitdefender", "halon", "haraka", "smartermail", "mailenable", "hmailserver", "axigen", "communigate", "groupwise",
    "cpanel", "plesk", "directadmin", "powermta",
];

/// Whether one of these words stands last, so that the number behind it is none of ours. A colon ends what is said of a program.
fn ends_in(words: &[&str], said: &str) -> bool {
    let is_mark = |c: char| !c.is_alphanumeric() && !matches!(c, '§' | '№');
    let said = said.trim_end();
    if words == PROGRAMS && said.ends_with([':', '>', ';', ',']) {
        return false;
    }
    let said = said.trim_end_matches(is_mark);
    let last = said.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '\''));
    last.take(1).any(|word| {
        let word = word.to_lowercase();
        let is_program = words == PROGRAMS && (word.ends_with("guard") || word.ends_with("filter"));
        is_program || words.contains(&word.as_str())
    })
}

/// A number of 1 to `most` digits, and what follows.
fn number(raw: &str, most: usize) -> Option<(u16, &str)> {
    let digits = raw.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=most).contains(&digits) {
        return None;
    }
    Some((raw[..digits].parse().ok()?, &raw[digits..]))
}

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
pub struct Offers {
    pub starttls: bool,
    pub plain: bool,
    pub login: bool,
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
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests;
