//! Whom the text of a reply names.

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
    pub(super) fn of(text: &str, from: &str, to: &str, hello: &str) -> Self {
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
