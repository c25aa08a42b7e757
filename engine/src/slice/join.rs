//! Joins of slices of pairs by key: the groups of [`cogroup`](Slice::cogroup), multiplied out.

use std::panic::Location;

use crate::row::Value;
use crate::slice::Slice;

impl<K: Value, A: Value> Slice<(K, A)> {
    /// A pair for each pair of values with the same key.
    ///
    /// A null key equals a null key, and NaN equals NaN. All rows move. Shards, order, memory and
    /// errors as with [`cogroup`](Self::cogroup).
    #[track_caller]
    pub fn join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (A, B))> {
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            for one in ones {
                for other in others {
                    out.push((key, (one, other)));
                }
            }
        })
    }

    /// [`join`](Self::join), and the pairs of this slice that have no partner, with `None`.
    #[track_caller]
    pub fn left_join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (A, Option<B>))> {
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            for one in ones {
                for other in others {
                    out.push((key, (one, Some(other))));
                }
                if others.is_empty() {
                    out.push((key, (one, None)));
                }
            }
        })
    }

    /// [`join`](Self::join), and the pairs of either slice that have no partner, with `None`.
    #[track_caller]
    pub fn full_join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (Option<A>, Option<B>))> {
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            for one in ones {
                for other in others {
                    out.push((key, (Some(one), Some(other))));
                }
                if others.is_empty() {
                    out.push((key, (Some(one), None)));
                }
            }
            if ones.is_empty() {
                for other in others {
                    out.push((key, (None, Some(other))));
                }
            }
        })
    }

    /// The pairs of this slice whose key is in the other too.
    ///
    /// All rows move. Shards, order, memory and errors as with [`cogroup`](Self::cogroup).
    #[track_caller]
    pub fn semi_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            if !others.is_empty() {
                ones.iter().for_each(|one| out.push((key, one)));
            }
        })
    }

    /// The pairs of this slice whose key is not in the other.
    ///
    /// All rows move. Shards, order, memory and errors as with [`cogroup`](Self::cogroup).
    #[track_caller]
    pub fn anti_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            if others.is_empty() {
                ones.iter().for_each(|one| out.push((key, one)));
            }
        })
    }
}
