//! The name of a metric.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a name: names travel with each task's reply.
const NAME_BYTES_MAX: usize = 64;

/// A name, and where a thread found its figure last.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) text: &'static str,
    hint: AtomicUsize,
}

impl Name {
    pub(super) const fn new(text: &'static str) -> Self {
        assert!(text.len() <= NAME_BYTES_MAX, "the name of a metric is longer than 64 bytes");
        Self { text, hint: AtomicUsize::new(0) }
    }

    /// Where this name stands in `list`, which is looked through only when it is not where it was.
    pub(super) fn find<T>(&self, list: &[(&'static str, T)]) -> Option<usize> {
        let is_own = |(name, _): &(&'static str, T)| std::ptr::eq(*name, self.text);
        let hint = self.hint.load(Ordering::Relaxed);
        if list.get(hint).is_some_and(is_own) {
            return Some(hint);
        }
        let found = list.iter().position(is_own)?;
        self.hint.store(found, Ordering::Relaxed);
        Some(found)
    }
}
