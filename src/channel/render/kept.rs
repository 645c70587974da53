//! Texts that have been read, kept for the next reminder: by what they say, so that every rule and version has its own and none is
//! ever out of date.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Field;
use super::program::Program;

/// Programs at most: parts of texts in all rules and languages that are in use at a time.
const MOST: usize = 1_000;
/// Bytes of their sources at most; a program takes about as much again.
const MOST_BYTES: usize = 8 << 20;

/// A part of a template: which one it is, and the digest of its source.
pub(super) type ProgramKey = (Field, [u8; 32]);

/// What was used longest ago makes room.
#[derive(Default)]
pub(super) struct ProgramCache {
    programs: HashMap<ProgramKey, CachedProgram>,
    bytes: usize,
    uses: u64,
}

struct CachedProgram {
    program: Arc<Program>,
    bytes: usize,
    used: u64,
}

impl ProgramCache {
    pub fn key(field: Field, source: &str) -> ProgramKey {
        (field, Sha256::digest(source).into())
    }

    pub fn find(&mut self, key: &ProgramKey) -> Option<Arc<Program>> {
        self.uses += 1;
        let entry = self.programs.get_mut(key)?;
        entry.used = self.uses;
        Some(entry.program.clone())
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.programs.len()
    }

    pub fn keep(&mut self, key: ProgramKey, bytes: usize, program: Arc<Program>) {
        self.uses += 1;
        let used = self.uses;
        let entry = CachedProgram {
            program,
            bytes,
            used,
        };
        self.bytes += bytes;
        if let Some(before) = self.programs.insert(key, entry) {
            self.bytes -= before.bytes;
        }
        while self.programs.len() > MOST || self.bytes > MOST_BYTES {
            let oldest = self.programs.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some(gone) = self.programs.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Arc<Program> {
        Arc::new(Program::read(Field::Html, source).unwrap())
    }

    #[test]
    fn what_is_used_stays_and_what_was_used_longest_ago_makes_room() {
        let mut kept = ProgramCache::default();
        let in_use = ProgramCache::key(Field::Html, "in use");
        kept.keep(in_use, 6, read("in use"));
        for number in 0..MOST + 10 {
            let source = format!("text {number}");
            let key = ProgramCache::key(Field::Html, &source);
            kept.keep(key, source.len(), read(&source));
            assert!(kept.find(&in_use).is_some());
        }
        assert_eq!(kept.programs.len(), MOST);
        assert!(
            kept.find(&ProgramCache::key(Field::Html, "text 0"))
                .is_none()
        );
        let last = format!("text {}", MOST + 9);
        assert!(kept.find(&ProgramCache::key(Field::Html, &last)).is_some());
        // The same words in another part are another text: they are escaped in HTML only.
        assert!(kept.find(&ProgramCache::key(Field::Text, &last)).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut kept = ProgramCache::default();
        for number in 0..200 {
            let source = format!("{number}{}", "x".repeat(90_000));
            let key = ProgramCache::key(Field::Html, &source);
            kept.keep(key, source.len(), read(&source));
            // Again: replaced, not counted twice.
            kept.keep(key, source.len(), read(&source));
        }
        let bytes: usize = kept.programs.values().map(|entry| entry.bytes).sum();
        assert_eq!(bytes, kept.bytes);
        assert!(kept.bytes <= MOST_BYTES && kept.bytes > MOST_BYTES - 100_000);
    }
}
