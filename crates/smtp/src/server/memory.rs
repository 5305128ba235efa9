//! One budget for the message bodies that all sessions hold at the same time (ASSURANCE R07).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget in octets. When it is used up, further messages are answered 452 until others are finished.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
}

impl Memory {
    /// A budget of `limit` octets.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// Octets in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Would so many more fit now?
    pub(super) fn has_room(&self, octets: u64) -> bool {
        usize::try_from(octets).is_ok_and(|octets| self.used().saturating_add(octets) <= self.limit)
    }
}

/// One message's part of the budget; returned on drop.
#[derive(Debug)]
pub(super) struct Held {
    memory: Arc<Memory>,
    octets: usize,
}

impl Held {
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self {
            memory: Arc::clone(memory),
            octets: 0,
        }
    }

    /// Changes what is held. False when the budget does not allow it; then nothing changes.
    pub(super) fn resize(&mut self, octets: usize) -> bool {
        if octets > self.octets {
            let more = octets - self.octets;
            if self.memory.used.fetch_add(more, Ordering::Relaxed).saturating_add(more) > self.memory.limit {
                self.memory.used.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        } else {
            self.memory.used.fetch_sub(self.octets - octets, Ordering::Relaxed);
        }
        self.octets = octets;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_comes_back() {
        let memory = Arc::new(Memory::new(100));
        let mut first = Held::new(&memory);
        let mut second = Held::new(&memory);
        assert!(first.resize(60) && !second.resize(41) && second.resize(40));
        assert!(!memory.has_room(1));
        assert!(first.resize(10));
        drop(second);
        assert_eq!(memory.used(), 10);
        drop(first);
        assert_eq!(memory.used(), 0);
    }
}
