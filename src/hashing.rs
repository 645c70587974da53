//! Keyed hashes of addresses, and the unguessable words in links.
//!
//! An address is hashed with this installation's key, so that suppressions and caps still work when the address itself is gone,
//! and so that a stolen table cannot be searched for known addresses without the key.

use std::net::IpAddr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;

use crate::domain::contact::Address;

/// Bytes of the random number that each sealing begins with.
const NONCE: usize = 12;

/// Makes the keyed hashes; `Debug` shows nothing of the keys.
#[derive(Clone)]
pub struct Hasher {
    mac: Hmac<Sha256>,
    /// Of the keys before, the newest first: what was hashed with one of them is still recognised.
    older: Arc<[Hmac<Sha256>]>,
}

/// Two hashes of one address: under an older key and under the present one.
pub type Move = ([u8; 16], [u8; 16]);

/// What an address is called in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAs {
    pub now: [u8; 16],
    /// Under the key before: the same address, not another one.
    pub before: Option<[u8; 16]>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    pub fn new(key: &[u8]) -> Self {
        Self::with_older(key, &[])
    }

    /// Hashes with a key, and knows what was hashed with those before it, the newest first.
    pub fn with_older(key: &[u8], older: &[&[u8]]) -> Self {
        let older = older.iter().filter(|old| **old != key);
        Self {
            mac: mac(key),
            older: older.map(|old| mac(old)).collect(),
        }
    }

    /// What an address was called under the older keys, with what it is called now. Wherever an address itself is at hand, what is
    /// kept under the former is moved to the latter before anything is decided.
    pub fn moves(&self, address: &Address) -> Vec<Move> {
        if self.older.is_empty() {
            return Vec::new();
        }
        let key = address.suppression_key();
        let now = self.address(address);
        let older = self.older.iter();
        older
            .map(|mac| (hash(mac, "address", key.as_bytes()), now))
            .collect()
    }

    /// What an address is called now, and was called before the key was last changed.
    pub fn known_as(&self, address: &Address) -> KnownAs {
        let key = address.suppression_key();
        let older = self.older.first();
        KnownAs {
            now: self.address(address),
            before: older.map(|mac| hash(mac, "address", key.as_bytes())),
        }
    }

    /// A short name of the present key, which tells nothing of it.
    pub fn key_id(&self) -> String {
        key_id(&self.mac)
    }

    /// The short names of all keys by which something may be recognised.
    pub fn key_ids(&self) -> Vec<String> {
        let keys = std::iter::once(&self.mac).chain(self.older.iter());
        keys.map(key_id).collect()
    }

    /// The hash of an address; the same for all spellings that reach the same mailbox or phone.
    pub fn address(&self, address: &Address) -> [u8; 16] {
        self.hash("address", address.suppression_key().as_bytes())
    }

    /// The hash of a mail address's domain; of a phone number, of all of it.
    pub fn mail_domain(&self, address: &Address) -> [u8; 16] {
        let key = address.suppression_key();
        let domain = key.rsplit('@').next().unwrap_or_default();
        self.hash("domain", domain.as_bytes())
    }

    /// A hash of a conversation's id for mail headers, which travel to strangers.
    pub fn conversation(&self, id: &str) -> String {
        format!("{:032x}", u128::from_be_bytes(self.erased(id)))
    }

    /// By which an erased conversation is recognised, and by nothing else.
    pub fn erased(&self, conversation: &str) -> [u8; 16] {
        self.hash("conversation", conversation.as_bytes())
    }

    /// The same under every key that is known.
    pub fn erased_under_any_key(&self, conversation: &str) -> impl Iterator<Item = [u8; 16]> {
        let keys = std::iter::once(&self.mac).chain(self.older.iter());
        keys.map(|mac| hash(mac, "conversation", conversation.as_bytes()))
    }

    /// A hash of a request to the config API, by which it is recognised when it comes again.
    pub fn request(&self, asked: &str, body: &[u8]) -> [u8; 16] {
        self.hash("request", &[asked.as_bytes(), &[0], body].concat())
    }

    /// The code of a test message, of one address and for one person: of a million codes a plain hash would tell which.
    pub fn code(&self, person: &str, address: &[u8; 16], code: &str) -> [u8; 16] {
        let of = [address.as_slice(), code.as_bytes(), person.as_bytes()];
        self.hash("test code", &of.concat())
    }

    /// Where a person logs in from; nobody else has the same hash for the same address.
    pub fn login_network(&self, person: &str, from: IpAddr) -> [u8; 16] {
        let of = format!("{from} {person}");
        self.hash("login network", of.as_bytes())
    }

    /// Issuer and subject of a single sign-on, for the audit trail: some issuers have addresses as subjects.
    pub fn sso_subject(&self, subject: &str) -> String {
        let hash = self.hash("single sign-on", subject.as_bytes());
        format!("{:032x}", u128::from_be_bytes(hash))
    }

    /// A conversation's lot, 0 to 99: always the same, evenly spread, and nobody else's to foresee. By the oldest key that is known:
    /// who was held out when the key was changed is not reminded after all.
    pub fn holdout_bucket(&self, conversation: &str) -> u8 {
        let oldest = self.older.last().unwrap_or(&self.mac);
        let hash = u128::from_be_bytes(hash(oldest, "lot", conversation.as_bytes()));
        u8::try_from(hash % 100).unwrap_or_default()
    }

    /// Encrypts what this installation alone must be able to read, bound to what it is for and whose it is.
    pub fn seal(&self, purpose: &str, of: &str, plain: &[u8]) -> anyhow::Result<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let mut sealed = plain.to_vec();
        let key = sealing_key(&self.mac, purpose)?;
        let whose = Aad::from(of.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), whose, &mut sealed)
            .map_err(|_| anyhow::anyhow!("a secret cannot be sealed"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// What was sealed, with this key or one of those before it; `None`: with none of them, not for this, or changed since.
    pub fn open(&self, purpose: &str, of: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_dated(purpose, of, sealed).map(|(plain, _)| plain)
    }

    /// The same, and whether it was sealed with the present key.
    pub fn open_dated(&self, purpose: &str, of: &str, sealed: &[u8]) -> Option<(Vec<u8>, bool)> {
        let keys = std::iter::once(&self.mac).chain(self.older.iter());
        keys.enumerate()
            .find_map(|(age, mac)| Some((open(mac, purpose, of, sealed)?, age == 0)))
    }

    /// Whether it was sealed with the present key: what was not, is lost with the older keys.
    pub fn is_sealed_anew(&self, purpose: &str, of: &str, sealed: &[u8]) -> bool {
        open(&self.mac, purpose, of, sealed).is_some()
    }

    fn hash(&self, purpose: &str, value: &[u8]) -> [u8; 16] {
        hash(&self.mac, purpose, value)
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"))
}

fn hash(mac: &Hmac<Sha256>, purpose: &str, value: &[u8]) -> [u8; 16] {
    let full = full_hash(mac, purpose, value);
    let mut short = [0; 16];
    short.copy_from_slice(&full[..16]);
    short
}

fn key_id(mac: &Hmac<Sha256>) -> String {
    let id = hash(mac, "key id", &[]);
    format!("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3])
}

fn full_hash(mac: &Hmac<Sha256>, purpose: &str, value: &[u8]) -> [u8; 32] {
    let mut mac = mac.clone();
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(value);
    mac.finalize().into_bytes().into()
}

fn sealing_key(mac: &Hmac<Sha256>, purpose: &str) -> anyhow::Result<LessSafeKey> {
    let key = full_hash(mac, "sealing", purpose.as_bytes());
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key);
    Ok(LessSafeKey::new(key.map_err(|_| {
        anyhow::anyhow!("a key has the wrong length")
    })?))
}

fn open(mac: &Hmac<Sha256>, purpose: &str, of: &str, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
    let mut opened = rest.to_vec();
    let key = sealing_key(mac, purpose).ok()?;
    let whose = Aad::from(of.as_bytes());
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key.open_in_place(nonce, whose, &mut opened).ok()?;
    Some(plain.to_vec())
}

/// Letters of a word for a link.
const TOKEN: usize = 22;

/// A fresh word for a link: 22 letters and digits, 131 bits. Letters and digits only, so that no SMS encoding changes it.
pub fn token() -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..TOKEN)
        .map(|_| LETTERS[rand::random_range(0..LETTERS.len())] as char)
        .collect()
}

/// Whether a word may be a link's: shorter than a [`token`] none is, and no other needs to be looked up.
pub fn is_token(word: &str) -> bool {
    (TOKEN..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// What is kept of an unguessable word that lets somebody in. Not keyed and not slow: there is nothing to guess in 131 bits.
pub fn digest(word: &str) -> [u8; 32] {
    sha2::Digest::finalize(sha2::Digest::chain_update(
        <Sha256 as sha2::Digest>::new(),
        word,
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_for_the_same_purpose_and_person() {
        let (own, other) = (Hasher::new(b"one key"), Hasher::new(b"another key"));
        let sealed = own.seal("factor", "7", b"secret").unwrap();
        assert_eq!(
            own.open("factor", "7", &sealed).as_deref(),
            Some(&b"secret"[..])
        );
        assert_ne!(
            sealed,
            own.seal("factor", "7", b"secret").unwrap(),
            "never the same twice"
        );
        assert_eq!(other.open("factor", "7", &sealed), None);
        let renewed = Hasher::with_older(b"a new key", &[b"one key"]);
        assert_eq!(
            renewed.open("factor", "7", &sealed).as_deref(),
            Some(&b"secret"[..])
        );
        let (_, of_now) = renewed.open_dated("factor", "7", &sealed).unwrap();
        assert!(!of_now && own.open_dated("factor", "7", &sealed).unwrap().1);
        assert_eq!(own.open("other", "7", &sealed), None);
        assert_eq!(own.open("factor", "8", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(own.open("factor", "7", &changed), None, "{at}");
            assert_eq!(own.open("factor", "7", &sealed[..at]), None, "{at}");
        }
        let found = sealed.windows(6).any(|part| part == b"secret");
        assert!(!found);
    }

    #[test]
    fn an_address_is_known_under_each_key_and_kept_under_the_newest() {
        let address = Address::email("ann@example.net").unwrap();
        let (old, older) = (Hasher::new(b"old"), Hasher::new(b"older"));
        let hasher = Hasher::with_older(b"new", &[b"old", b"older", b"new"]);
        assert_eq!(
            hasher.address(&address),
            Hasher::new(b"new").address(&address)
        );
        let now = hasher.address(&address);
        let expected = [(old.address(&address), now), (older.address(&address), now)];
        assert_eq!(
            hasher.moves(&address),
            expected,
            "the key itself is none of the old ones"
        );
        assert!(old.moves(&address).is_empty());
        assert_eq!(
            hasher.holdout_bucket("conversation"),
            older.holdout_bucket("conversation")
        );
        assert_ne!(hasher.key_id(), old.key_id());
        let names = [hasher.key_id(), old.key_id(), older.key_id()];
        assert_eq!(hasher.key_ids(), names);
        assert_eq!(format!("{hasher:?}"), "Hasher");
    }
}
