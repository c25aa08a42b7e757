//! Joins of slices of pairs by key: by [`Joining`], and for keys that it does not know (lists, enums and a few
//! more) the groups of [`cogroup`](Slice::cogroup), multiplied out.

use std::panic::Location;

use datafusion::common::JoinType;

use crate::row::{Row, Value};
use crate::slice::joining::Joining;
use crate::slice::node::Shards;
use crate::slice::{Slice, typed};

impl<K: Value, A: Value> Slice<(K, A)> {
    /// A pair for each pair of values with the same key.
    ///
    /// A null key equals a null key, and NaN equals NaN. All rows move. As many shards as the slice that has more;
    /// within a shard the order is not fixed. Both sides are read until one has ended, which becomes a hash
    /// table; if the memory does not suffice for that, both are sorted on disk and merged. Keys that are or hold a
    /// list or an enum have groups made instead, as with [`cogroup`](Self::cogroup).
    #[track_caller]
    pub fn join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (A, B))> {
        if Joining::knows(&K::data_type()) {
            return self.joined("join", Location::caller(), JoinType::Inner, other);
        }
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
        if Joining::knows(&K::data_type()) {
            return self.joined("left_join", Location::caller(), JoinType::Left, other);
        }
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
        if Joining::knows(&K::data_type()) {
            return self.joined("full_join", Location::caller(), JoinType::Full, other);
        }
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
    /// Keys, shards, order and memory as with [`join`](Self::join). All rows move.
    #[track_caller]
    pub fn semi_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        if Joining::knows(&K::data_type()) {
            return self.joined("semi_join", Location::caller(), JoinType::LeftSemi, other);
        }
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            if !others.is_empty() {
                ones.iter().for_each(|one| out.push((key, one)));
            }
        })
    }

    /// The pairs of this slice whose key is not in the other.
    ///
    /// Keys, shards, order and memory as with [`join`](Self::join). All rows move.
    #[track_caller]
    pub fn anti_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        if Joining::knows(&K::data_type()) {
            return self.joined("anti_join", Location::caller(), JoinType::LeftAnti, other);
        }
        self.cogroup(other).emit_at(Location::caller(), |(key, (ones, others)), out| {
            if others.is_empty() {
                ones.iter().for_each(|one| out.push((key, one)));
            }
        })
    }

    fn joined<B: Value, U: Row>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        kind: JoinType,
        other: Slice<(K, B)>,
    ) -> Slice<U> {
        let work = Joining::new(kind, typed::schema::<U>());
        Slice::wide(verb, place, vec![self.by_key(), other.by_key()], Shards::Most, work)
    }
}
