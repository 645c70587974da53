//! The enhanced status code of a reply: where it stands in a text that has other numbers, too (RFC 3463).

use std::fmt;

/// An enhanced status code: class, subject, detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Enhanced {
    /// The code that the line begins with, and what follows it.
    pub(super) fn at_start(code: u16, line: &str) -> Option<(Self, &str)> {
        let trimmed = line.trim_start_matches(['#', '(', '[', '<', ' ']);
        let (enhanced, rest) = Self::parse(trimmed)?;
        let rest = rest.trim_start_matches([')', ']', '>', ':', ';', ',', ' ']);
        enhanced.is_of(code).then_some((enhanced, rest))
    }

    /// The first one in the line that stands alone: not a part of an address, a version or a name. And whether it stands in passing:
    /// neither marked as a code nor behind the basic one, as in a reply that is quoted.
    /// `goes_on`: the line before ends with a word that a number belongs to.
    pub(super) fn within(code: u16, line: &str, goes_on: bool) -> Option<(Self, bool)> {
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
pub(super) const SECTIONS: &[&str] = &[
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
pub(super) fn ends_in(words: &[&str], said: &str) -> bool {
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
