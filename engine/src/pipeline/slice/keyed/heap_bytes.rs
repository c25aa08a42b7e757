//! The memory of values that are kept in a table.

use crate::row::Value;

/// The overhead of an allocation: its header, and rounding up.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// The heap bytes of a value, with their overhead; 0 for values of a fixed size.
#[inline]
pub(super) fn taken<V: Value>(value: &V) -> usize {
    if V::HAS_HEAP { V::heap_bytes(value.view()) + ALLOCATION_BYTES } else { 0 }
}
