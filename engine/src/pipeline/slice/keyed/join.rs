//! Joins of slices of pairs by key: by [`Joining`], and for keys that it does not know (lists, enums and a few
//! more) the groups of [`cogroup`](Slice::cogroup), multiplied out.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::JoinType;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::keyed::joining::Joining;
use crate::pipeline::slice::rows::building::{BATCH_ROWS, Building};
use crate::pipeline::slice::tree::node::{Shards, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::{List, Row, Value};

impl<K: Value, A: Value> Slice<(K, A)> {
    /// A pair for each pair of values with the same key.
    ///
    /// A null key equals a null key, and NaN equals NaN. All rows move. As many shards as the slice that has more;
    /// within a shard the order is not fixed. Both sides are read until one has ended, which becomes a hash
    /// table; if the memory does not suffice for that, both are sorted on disk and merged. Keys that are or hold a
    /// list or an enum have groups made instead, as with [`cogroup`](Self::cogroup).
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
        if Joining::knows(&K::data_type()) {
            return self.joined("join", Location::caller(), JoinType::Inner, other);
        }
        let groups = self.cogroup_at("join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let (one, other) = pair(ones, others, n)?;
            out.push((key, (one, other)));
            Some(())
        })
    }

    /// [`join`](Self::join), and the pairs of this slice that have no partner, with `None`.
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
        if Joining::knows(&K::data_type()) {
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

    /// [`join`](Self::join), and the pairs of either slice that have no partner, with `None`.
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
        if Joining::knows(&K::data_type()) {
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

    /// The pairs of this slice whose key is in the other too: each once, however often its key is there.
    ///
    /// Keys, shards, order and memory as with [`join`](Self::join). All rows move.
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
        if Joining::knows(&K::data_type()) {
            return self.joined("semi_join", Location::caller(), JoinType::LeftSemi, other);
        }
        let groups = self.cogroup_at("semi_join", Location::caller(), other);
        groups.multiplied(Location::caller(), |(key, (ones, others)), n, out| {
            let one = ones.get(n).filter(|_| !others.is_empty())?;
            out.push((key, one));
            Some(())
        })
    }

    /// The pairs of this slice whose key is not in the other.
    ///
    /// Keys, shards, order and memory as with [`join`](Self::join). All rows move. A null key in the other slice
    /// leaves out those with a null key and no others.
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
        if Joining::knows(&K::data_type()) {
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
        let work = Joining::new(kind, typed::schema::<U>());
        Slice::wide(verb, place, vec![self.by_key(), other.by_key()], Shards::Most, work)
    }
}

/// The pair with this number of all pairs of an item of one list and an item of the other.
fn pair<'a, A: Value, B: Value>(
    ones: List<'a, A>,
    others: List<'a, B>,
    n: usize,
) -> Option<(A::View<'a>, B::View<'a>)> {
    let of_one = n.checked_div(others.len())?;
    Some((ones.get(of_one)?, others.get(n % others.len())?))
}

impl<T: Row> Slice<T> {
    /// The rows that `nth` makes of each row: it pushes the one with the number it is given, from 0 on, until there is
    /// none. No more than a batch of them is there at a time: what a group becomes can be the square of it.
    fn multiplied<U, F>(self, place: &'static Location<'static>, nth: F) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>, usize, &mut Building<U>) -> Option<()> + Send + Sync + 'static,
    {
        let (verb, nth, schema) = ("emit", Arc::new(nth), typed::schema::<U>());
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (nth, made) = (Arc::clone(&nth), Arc::clone(&schema));
            let open = move |batch: RecordBatch| {
                Ok((typed::columns::<T>(&batch, &code)?, batch.num_rows(), 0, 0))
            };
            Ok(streams::each_in_parts(input, &schema, open, move |(columns, rows, row, n)| {
                let mut made_of = Building::<U>::new(*rows - *row, BATCH_ROWS);
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
