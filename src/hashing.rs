//! Keyed hashes of addresses, and the unguessable words in links.
//!
//! An address is hashed with this installation's key, so that suppressions and caps still work when the address itself is gone,
//! and so that a stolen table cannot be searched for known addresses without the key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::domain::contact::Address;

/// Makes the keyed hashes; `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct Hasher {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    pub fn new(key: &[u8]) -> Self {
        let mac = Hmac::new_from_slice(key)
            .unwrap_or_else(|_| unreachable!("HMAC takes a key of any length"));
        Self { mac }
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
        format!(
            "{:032x}",
            u128::from_be_bytes(self.hash("conversation", id.as_bytes()))
        )
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

    /// A conversation's lot, 0 to 99: always the same, evenly spread, and nobody else's to foresee.
    pub fn lot(&self, conversation: &str) -> u8 {
        let hash = u128::from_be_bytes(self.hash("lot", conversation.as_bytes()));
        u8::try_from(hash % 100).unwrap_or_default()
    }

    fn hash(&self, purpose: &str, value: &[u8]) -> [u8; 16] {
        let mut mac = self.mac.clone();
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(value);
        let full = mac.finalize().into_bytes();
        let mut short = [0; 16];
        short.copy_from_slice(&full[..16]);
        short
    }
}

/// A fresh word for a link: 22 letters and digits, 131 bits. Letters and digits only, so that no SMS encoding changes it.
pub fn token() -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..22)
        .map(|_| LETTERS[rand::random_range(0..LETTERS.len())] as char)
        .collect()
}

/// What is kept of an unguessable word that lets somebody in. Not keyed and not slow: there is nothing to guess in 131 bits.
pub fn digest(word: &str) -> [u8; 32] {
    sha2::Digest::finalize(sha2::Digest::chain_update(
        <Sha256 as sha2::Digest>::new(),
        word,
    ))
    .into()
}
