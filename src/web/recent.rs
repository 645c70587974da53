//! A map that forgets: it holds what was used lately, and never more than its bound.
//!
//! Two generations instead of a list in order of use: when the young one is full it becomes the old one, and what was not used
//! since goes. That is coarser than LRU, and a few lines.

use std::collections::HashMap;
use std::hash::Hash;

pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    pub fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            half: (most / 2).max(1),
        }
    }

    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        // Most of the time nothing is old.
        if !self.old.is_empty()
            && let Some(value) = self.old.remove(&key)
        {
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    pub fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.young.values_mut().chain(self.old.values_mut())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_holds_more_than_its_bound_and_keeps_what_is_used() {
        let mut recent = Recent::new(100);
        for n in 0..10_000 {
            recent.insert(n, n);
            assert_eq!(recent.get_mut(0), Some(&mut 0), "after {n}");
            assert!(recent.len() <= 100);
        }
        assert_eq!(recent.get_mut(1), None);
        assert_eq!(recent.get_mut(9_999), Some(&mut 9_999));
    }
}
