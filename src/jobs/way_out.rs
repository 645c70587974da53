//! The word in the link out of it all: the reminder's own token, and before it, sealed, whom the reminder went to.
//!
//! A reminder can be gone when its link is followed: the database was restored from a backup that is older than it. Its token says nothing
//! then, and the no must be heard all the same. What is sealed only this installation can read, and nobody can make or change it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

use crate::domain::ids::{AccountId, Channel};
use crate::hashing::Hasher;

/// What the seal is for.
const PURPOSE: &str = "way out";

/// Letters of a reminder's token (see [`crate::hashing::token`]). It stands last, so that the link ends in a letter or digit: programs that
/// look for links in plain text leave other signs at the end out.
const TOKEN: usize = 22;

/// Letters of the longest sealed part, and some room.
const LONGEST: usize = 128;

/// Whom a reminder went to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemindedAddress {
    pub account: AccountId,
    pub channel: Channel,
    pub hash: [u8; 16],
    pub sent_at: DateTime<Utc>,
}

/// What a link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedLink<'a> {
    pub token: &'a str,
    /// Empty in links that are kept short, and in those of older versions.
    sealed: &'a str,
}

/// The word of a link to this recipient.
pub fn word(hasher: &Hasher, token: &str, to: &RemindedAddress) -> anyhow::Result<String> {
    let sealed = hasher.seal(PURPOSE, token, &bytes(to))?;
    Ok(URL_SAFE_NO_PAD.encode(sealed) + token)
}

impl<'a> SealedLink<'a> {
    /// Takes a word apart; `None`: it cannot be one of ours.
    pub fn read(word: &'a str) -> Option<Self> {
        let (sealed, token) = word.split_at_checked(word.len().checked_sub(TOKEN)?)?;
        let fits = sealed.len() <= LONGEST && token.bytes().all(|b| b.is_ascii_alphanumeric());
        fits.then_some(Self { token, sealed })
    }

    /// Whom it is sealed to, and whether the hash is under the present key. `None`: nothing is sealed in it, or not by us, or not for this
    /// token.
    pub fn recipient(&self, hasher: &Hasher) -> Option<(RemindedAddress, bool)> {
        if self.sealed.is_empty() {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(self.sealed).ok()?;
        let (plain, of_now) = hasher.open_dated(PURPOSE, self.token, &sealed)?;
        Some((parse(&plain)?, of_now))
    }
}

fn bytes(to: &RemindedAddress) -> Vec<u8> {
    let mut bytes = vec![to.channel.profile().number];
    bytes.extend(to.sent_at.timestamp().to_be_bytes());
    bytes.extend(to.hash);
    bytes.extend(to.account.as_str().as_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<RemindedAddress> {
    let (channel, rest) = bytes.split_first()?;
    let (sent_at, rest) = rest.split_first_chunk::<8>()?;
    let (hash, account) = rest.split_first_chunk::<16>()?;
    Some(RemindedAddress {
        account: std::str::from_utf8(account).ok()?.parse().ok()?,
        channel: Channel::ALL
            .into_iter()
            .find(|known| known.profile().number == *channel)?,
        hash: *hash,
        sent_at: DateTime::from_timestamp(i64::from_be_bytes(*sent_at), 0)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "aB3dE6gH9jK2mN5pQ8sT1v";

    fn ann() -> RemindedAddress {
        RemindedAddress {
            account: "12345678".parse().unwrap(),
            channel: Channel::Email,
            hash: *b"0123456789abcdef",
            sent_at: DateTime::from_timestamp(1_770_000_000, 0).unwrap(),
        }
    }

    #[test]
    fn a_link_says_whom_it_is_about_to_this_installation_alone() {
        let (own, other) = (Hasher::new(b"one key"), Hasher::new(b"another key"));
        let word = word(&own, TOKEN, &ann()).unwrap();
        let read = SealedLink::read(&word).unwrap();
        assert_eq!(read.token, TOKEN);
        assert_eq!(read.recipient(&own), Some((ann(), true)));
        assert_eq!(read.recipient(&other), None);
        let renewed = Hasher::with_older(b"a new key", &[b"one key"]);
        assert_eq!(read.recipient(&renewed), Some((ann(), false)));
        assert!(word.len() <= LONGEST + super::TOKEN);
        let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        assert!(word.bytes().all(safe));
        assert!(word.ends_with(TOKEN), "it ends in a letter or digit");
        assert!(!word.contains("12345678"));
    }

    #[test]
    fn old_links_are_read_and_what_is_sealed_belongs_to_one_token() {
        let own = Hasher::new(b"one key");
        let old = SealedLink::read(TOKEN).unwrap();
        assert_eq!((old.token, old.recipient(&own)), (TOKEN, None));
        let whole = word(&own, TOKEN, &ann()).unwrap();
        let sealed = whole.strip_suffix(TOKEN).unwrap();
        let other = format!("{sealed}{}", "x".repeat(super::TOKEN));
        assert_eq!(SealedLink::read(&other).unwrap().recipient(&own), None);
        let cut = &whole[1..];
        assert_eq!(SealedLink::read(cut).unwrap().recipient(&own), None);
        for none in [
            "",
            "X",
            "unknown",
            "../../etc/passwd",
            "aB3dE6gH9jK2mN5pQ8sT1%",
        ] {
            assert_eq!(SealedLink::read(none), None, "{none}");
        }
        assert_eq!(SealedLink::read(&"x".repeat(200)), None);
    }

    proptest! {
        #[test]
        fn fuzz_words(any in any::<String>(), plain in prop::collection::vec(any::<u8>(), 0..80), sealed in "[0-9A-Za-z_-]{0,130}") {
            let own = Hasher::new(b"one key");
            let _ = parse(&plain);
            for word in [any.clone(), format!("{any}{TOKEN}"), format!("{sealed}{TOKEN}")] {
                if let Some(read) = SealedLink::read(&word) {
                    prop_assert_eq!(read.recipient(&own), None);
                }
            }
        }
    }
}
