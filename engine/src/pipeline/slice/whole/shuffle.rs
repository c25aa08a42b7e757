//! Verbs that move rows and leave them as they are.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::keyed::verbs::only;
use crate::pipeline::slice::tree::node::{
    Exchange, Partition, Shards, Split, SplitCx, TaskCx, Wide,
};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::{Row, Value};

impl<T: Row> Slice<T> {
    /// This slice on its way to other shards, as it is.
    pub(crate) fn moved(self, split: Split) -> Exchange {
        let schema = typed::schema::<T>();
        Exchange { input: self.into_node(), before: None, schema, split }
    }

    /// Stores this slice, so that what is done with it afterwards, in one way or in several, reads
    /// what is stored and does not compute it again.
    ///
    /// Rows, order, shards and keys stay. A task stores its shard on the disk of its machine; what is
    /// lost with a machine is computed again.
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

    /// Moves each row to the shard that `f` says: it is given the number of shards and the row, and
    /// returns a number below the former; any other ends the run with an error.
    ///
    /// As many shards as before; a shard that `f` never says has no rows. Rows of one shard come in the order of
    /// the shards they were in. All rows move, by way of the disks of the machines; memory is a batch or two.
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
    /// Moves rows so that equal keys are in one shard.
    ///
    /// As many shards as before; a shard that no key falls into has no rows. Rows of one shard come in the order of
    /// the shards they were in. All rows move, by way of the disks of the machines; memory is a batch or two.
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

    /// [`reshuffle`](Self::reshuffle), and each shard sorted by key, null first; values of one key come in no fixed
    /// order.
    ///
    /// Rows are sorted on disk when the memory does not suffice. Between shards there is no order:
    /// [`sort_by`](Self::sort_by) makes one.
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

    /// Moves rows to `n` shards so that equal keys are in one shard.
    ///
    /// Order and memory as with [`reshuffle`](Self::reshuffle); with one shard all rows are in their old order.
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
    /// # Panics
    /// When `n` is 0.
    #[track_caller]
    pub fn reshard(self, n: usize) -> Self {
        assert!(n > 0, "a slice has at least one shard");
        let place = Location::caller();
        let exchange = self.by_key();
        Self::wide("reshard", place, vec![exchange], Shards::Exactly(n), Pass)
    }
}

/// The rows of the one exchange as they are, those of the first shard first.
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
                    return Err(code.failed(format!("there is no shard {id} among {shards}")));
                }
                let id = u32::try_from(id).map_err(|_| internal_datafusion_err!("a shard {id}"))?;
                ids.push(id);
            }
            Ok(())
        })
    }
}
