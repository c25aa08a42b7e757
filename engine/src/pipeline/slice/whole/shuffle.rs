//! Operators that move rows without changing them.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::keyed::operators::only;
use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::tree::node::{
    Exchange, Partition, Shards, Split, SplitCx, TaskCx, Wide,
};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::{Row, Value};

impl<T: Row> Slice<T> {
    /// The exchange of this slice's unchanged rows.
    pub(crate) fn moved(self, split: Split) -> Exchange {
        let schema = typed::schema::<T>();
        Exchange { input: self.into_node(), before: None, schema, split }
    }

    /// Stores this slice, so that later operators, also in several places, read the stored rows
    /// instead of computing them again.
    ///
    /// Keeps rows, order, shards and keys. A task stores its shard on the disk of its machine;
    /// shards lost with a machine are computed again.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// static SQUARED: Counter = Counter::new("squared");
    ///
    /// let session = Session::builder().build().await?;
    /// let squares = Slice::const_(2, 1..=4i64).map(|n| n * n);
    /// let squares = squares.inspect(|_| SQUARED.add(1)).materialize();
    /// let both = squares.clone().union(squares.map(|n| -n));
    /// let run = session.run(both).await?;
    /// assert_eq!(run.collect().await?, [1, 4, 9, 16, -1, -4, -9, -16]);
    /// assert_eq!(run.counters().await["squared"], 4); // without `materialize` 8
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn materialize(self) -> Self {
        let place = Location::caller();
        let exchange = self.moved(Split::Keep);
        Self::wide("materialize", place, vec![exchange], Shards::Most, Pass)
    }

    /// Moves each row to a shard: `f` receives the number of shards and the row, and returns a
    /// shard number below the former; any other ends the run with an error.
    ///
    /// Keeps the number of shards; shards that `f` never returns are empty. Rows of one shard
    /// arrive in the order of their old shards. All rows move, through the disks of the machines;
    /// memory is one or two batches.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let numbers = Slice::const_(2, 0..6u64).repartition(|shards, n| n as usize % shards);
    /// let run = session.run(numbers).await?;
    /// assert_eq!(run.shard(0).await?, [0, 2, 4]);
    /// assert_eq!(run.shard(1).await?, [1, 3, 5]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn repartition<F>(self, f: F) -> Self
    where
        F: for<'a> Fn(usize, T::View<'a>) -> usize + Send + Sync + 'static,
    {
        let place = Location::caller();
        let by = ByFunction::<T, F> { f, place, kind: std::marker::PhantomData };
        let exchange = self.moved(Split::By(Arc::new(by)));
        Self::wide("repartition", place, vec![exchange], Shards::Most, Pass)
    }
}

impl<K: Value, V: Value> Slice<(K, V)> {
    /// Hash-partitions by key: rows with equal keys move to one shard.
    ///
    /// Keeps the number of shards; some may be empty. Rows of one shard arrive in the order of
    /// their old shards. All rows move, through the disks of the machines; memory is one or two
    /// batches.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let pairs = Slice::const_(3, [(Some(1), 10), (None, 20), (Some(1), 30), (None, 40)]);
    /// let run = session.run(pairs.reshuffle()).await?;
    /// let mut ones = Vec::new();
    /// for shard in 0..run.shards() {
    ///     let rows = run.shard(shard).await?;
    ///     ones.push(rows.into_iter().filter(|(key, _)| *key == Some(1)).collect::<Vec<_>>());
    /// }
    /// assert!(ones.contains(&vec![(Some(1), 10), (Some(1), 30)])); // both in one shard
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn reshuffle(self) -> Self {
        let place = Location::caller();
        let exchange = self.by_key();
        Self::wide("reshuffle", place, vec![exchange], Shards::Most, Pass)
    }

    /// [`reshuffle`](Self::reshuffle), with each shard sorted by key, null first; values of one key
    /// are in no fixed order.
    ///
    /// The sort spills. There is no order between shards; see [`sort_by`](Self::sort_by).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let pairs = Slice::const_(2, [(Some(3), 1), (Some(1), 2), (None, 3), (Some(2), 4)]);
    /// let run = session.run(pairs.reshuffle_sorted()).await?;
    /// for shard in 0..run.shards() {
    ///     assert!(run.shard(shard).await?.is_sorted());
    /// }
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn reshuffle_sorted(self) -> Self {
        let place = Location::caller();
        let exchange = self.by_key();
        let work = |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            sorting::by_key(only(&mut inputs)?, cx)
        };
        Self::wide("reshuffle_sorted", place, vec![exchange], Shards::Most, work)
    }

    /// Hash-partitions by key into `n` shards: rows with equal keys move to one shard.
    ///
    /// Order and memory as for [`reshuffle`](Self::reshuffle); with one shard, all rows keep their
    /// order.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let pairs = Slice::const_(4, [(2, 20), (1, 10), (2, 21)]);
    /// let run = session.run(pairs.reshard(1)).await?;
    /// assert_eq!(run.shards(), 1);
    /// assert_eq!(run.collect().await?, [(2, 20), (1, 10), (2, 21)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `n` must be at least 1: a run of a slice without shards fails.
    #[track_caller]
    pub fn reshard(self, n: usize) -> Self {
        let place = Location::caller();
        let exchange = self.by_key();
        Self::wide("reshard", place, vec![exchange], Shards::Exactly(n), Pass)
    }
}

/// Passes the rows of its only input on, shard by shard.
pub(crate) struct Pass;

impl Wide for Pass {
    fn run(
        &self,
        mut inputs: Vec<SendableRecordBatchStream>,
        _: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        only(&mut inputs)
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Preserves
    }
}

struct ByFunction<T, F> {
    f: F,
    place: &'static Location<'static>,
    kind: std::marker::PhantomData<fn() -> T>,
}

impl<T, F> Partition for ByFunction<T, F>
where
    T: Row,
    F: for<'a> Fn(usize, T::View<'a>) -> usize + Send + Sync,
{
    fn partition(&self, batch: &RecordBatch, cx: &SplitCx, ids: &mut Vec<u32>) -> PlanResult<()> {
        let code = UserCode { verb: "repartition", place: self.place, shard: cx.from };
        let columns = typed::columns::<T>(batch, &code)?;
        code.call(|| {
            for row in 0..batch.num_rows() {
                let id = (self.f)(cx.shards, T::get(&columns, row));
                if id >= cx.shards {
                    let shards = cx.shards;
                    let error = format!("shard {id} is out of range: there are {shards} shards");
                    return Err(code.failed(error));
                }
                let id = u32::try_from(id).map_err(|_| internal_datafusion_err!("shard {id}"))?;
                ids.push(id);
            }
            Ok(())
        })
    }
}
