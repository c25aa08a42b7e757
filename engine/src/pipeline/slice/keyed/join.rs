//! Joins of slices of pairs by key: with [`JoinOperator`], or, for key types that it does not
//! support (lists, enums and a few more), from the groups of [`cogroup`](Slice::cogroup).

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::JoinType;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::keyed::join_operator::JoinOperator;
use crate::pipeline::slice::rows::batch_builder::{BATCH_ROWS, BatchBuilder};
use crate::pipeline::slice::tree::node::{Shards, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::{List, Row, Value};

impl<K: Value, A: Value> Slice<(K, A)> {
    /// Inner join: one row for each pair of values with the same key.
    ///
    /// A null key equals a null key, and NaN equals NaN. All rows move. The number of shards is the
    /// larger of both; within a shard the order is not fixed. Both sides are read until one has
    /// ended, which becomes the build side of a hash join; if it does not fit into memory, both
    /// sides are sorted, which spills, and merged. Keys that are or contain a list or an enum are
    /// joined from the groups of [`cogroup`](Self::cogroup) instead.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let left = Slice::const_(2, [(Some(1), 10), (Some(1), 11), (None, 12), (Some(2), 13)]);
    /// let right = Slice::const_(1, [(Some(1), 5), (Some(1), 6), (None, 7)]);
    /// let mut pairs = session.run(left.join(right)).await?.collect().await?;
    /// pairs.sort();
    /// assert_eq!(pairs[0], (None, (12, 7))); // not so in SQL
    /// let one = [(10, 5), (10, 6), (11, 5), (11, 6)];
    /// assert_eq!(pairs[1..], one.map(|values| (Some(1), values)));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (A, B))> {
        if JoinOperator::supports(&K::data_type()) {
            return self.joined("join", Location::caller(), JoinType::Inner, other);
        }
        let groups = self.cogroup_at("join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let (one, other) = pair(ones, others, n)?;
            out.push((key, (one, other)));
            Some(())
        })
    }

    /// Left outer join: [`join`](Self::join), and the pairs of this slice without a match, with
    /// `None`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sold = Slice::const_(2, [(1, 10), (2, 20), (2, 21)]);
    /// let prices = Slice::const_(1, [(2, 5), (3, 6)]);
    /// let mut rows = session.run(sold.left_join(prices)).await?.collect().await?;
    /// rows.sort();
    /// assert_eq!(rows, [(1, (10, None)), (2, (20, Some(5))), (2, (21, Some(5)))]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn left_join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (A, Option<B>))> {
        if JoinOperator::supports(&K::data_type()) {
            return self.joined("left_join", Location::caller(), JoinType::Left, other);
        }
        let groups = self.cogroup_at("left_join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let values = match others.is_empty() {
                true => (ones.get(n)?, None),
                false => pair(ones, others, n).map(|(one, other)| (one, Some(other)))?,
            };
            out.push((key, values));
            Some(())
        })
    }

    /// Full outer join: [`join`](Self::join), and the pairs of either slice without a match, with
    /// `None`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let before = Slice::const_(2, [(1, 10), (2, 20)]);
    /// let after = Slice::const_(2, [(2, 25), (3, 35)]);
    /// let mut rows = session.run(before.full_join(after)).await?.collect().await?;
    /// rows.sort();
    /// let right = [(1, (Some(10), None)), (2, (Some(20), Some(25))), (3, (None, Some(35)))];
    /// assert_eq!(rows, right);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn full_join<B: Value>(self, other: Slice<(K, B)>) -> Slice<(K, (Option<A>, Option<B>))> {
        if JoinOperator::supports(&K::data_type()) {
            return self.joined("full_join", Location::caller(), JoinType::Full, other);
        }
        let groups = self.cogroup_at("full_join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let values = match (ones.is_empty(), others.is_empty()) {
                (true, _) => (None, Some(others.get(n)?)),
                (_, true) => (Some(ones.get(n)?), None),
                _ => pair(ones, others, n).map(|(one, other)| (Some(one), Some(other)))?,
            };
            out.push((key, values));
            Some(())
        })
    }

    /// Semi join: the pairs of this slice whose key is in the other slice, each once.
    ///
    /// Keys, shards, order and memory as for [`join`](Self::join). All rows move.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sold = Slice::const_(2, [(1, 10), (2, 20), (2, 21)]);
    /// let listed = Slice::const_(1, [(2, true), (2, false), (3, true)]);
    /// let mut rows = session.run(sold.semi_join(listed)).await?.collect().await?;
    /// rows.sort();
    /// assert_eq!(rows, [(2, 20), (2, 21)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn semi_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        if JoinOperator::supports(&K::data_type()) {
            return self.joined("semi_join", Location::caller(), JoinType::LeftSemi, other);
        }
        let groups = self.cogroup_at("semi_join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let one = ones.get(n).filter(|_| !others.is_empty())?;
            out.push((key, one));
            Some(())
        })
    }

    /// Anti join: the pairs of this slice whose key is not in the other slice.
    ///
    /// Keys, shards, order and memory as for [`join`](Self::join). All rows move. A null key in the
    /// other slice excludes null keys only.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sold = Slice::const_(2, [(Some(1), 10), (Some(2), 20), (None, 30)]);
    /// let blocked = Slice::const_(1, [(Some(2), true), (None, true)]);
    /// let rows = session.run(sold.anti_join(blocked)).await?.collect().await?;
    /// assert_eq!(rows, [(Some(1), 10)]); // NOT IN of SQL would give nothing
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn anti_join<B: Value>(self, other: Slice<(K, B)>) -> Self {
        if JoinOperator::supports(&K::data_type()) {
            return self.joined("anti_join", Location::caller(), JoinType::LeftAnti, other);
        }
        let groups = self.cogroup_at("anti_join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let one = ones.get(n).filter(|_| others.is_empty())?;
            out.push((key, one));
            Some(())
        })
    }

    fn joined<B: Value, U: Row>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        kind: JoinType,
        other: Slice<(K, B)>,
    ) -> Slice<U> {
        let work = JoinOperator::new(kind, typed::schema::<U>());
        Slice::wide(verb, place, vec![self.by_key(), other.by_key()], Shards::Most, work)
    }
}

/// Pair number `n` of the cross product of two lists.
fn pair<'a, A: Value, B: Value>(
    ones: List<'a, A>,
    others: List<'a, B>,
    n: usize,
) -> Option<(A::View<'a>, B::View<'a>)> {
    let of_one = n.checked_div(others.len())?;
    Some((ones.get(of_one)?, others.get(n % others.len())?))
}

impl<T: Row> Slice<T> {
    /// The rows that `nth` returns for each row: it pushes the row with the given number, starting
    /// at 0, until there is none. At most one batch of them is in memory at a time, because the
    /// cross product of a group can be large.
    fn multiplied<U, F>(self, place: &'static Location<'static>, nth: F) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>, usize, &mut BatchBuilder<U>) -> Option<()>
            + Send
            + Sync
            + 'static,
    {
        let (verb, nth, schema) = ("emit", Arc::new(nth), typed::schema::<U>());
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (nth, made) = (Arc::clone(&nth), Arc::clone(&schema));
            let open = move |batch: RecordBatch| {
                Ok((typed::columns::<T>(&batch, &code)?, batch.num_rows(), 0, 0))
            };
            Ok(streams::each_in_parts(input, &schema, open, move |(columns, rows, row, n)| {
                let mut made_of = BatchBuilder::<U>::new(*rows - *row, BATCH_ROWS);
                while *row < *rows && !made_of.is_full() {
                    match nth(T::get(columns, *row), *n, &mut made_of) {
                        Some(()) => *n += 1,
                        None => (*row, *n) = (*row + 1, 0),
                    }
                }
                made_of.take(&made)
            }))
        })
    }
}
