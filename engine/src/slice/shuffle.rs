//! Verbs that move rows and leave them as they are.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;

use crate::row::{Row, Value};
use crate::slice::keyed::only;
use crate::slice::node::{Exchange, Partition, Shards, Split, SplitCx, TaskCx, Wide};
use crate::slice::order::Order;
use crate::slice::{Slice, UserCode, sorting, typed};

impl<T: Row> Slice<T> {
    /// This slice on its way to other shards, as it is.
    pub(super) fn moved(self, split: Split) -> Exchange {
        let schema = typed::schema::<T>();
        Exchange { input: self.into_node(), before: None, schema, split }
    }

    /// Stores this slice, so that what is done with it afterwards, in one way or in several, reads
    /// what is stored and does not compute it again.
    ///
    /// Rows, order and shards stay.
    #[track_caller]
    pub fn materialize(self) -> Self {
        let place = Location::caller();
        let exchange = self.moved(Split::Keep);
        Self::wide("materialize", place, vec![exchange], Shards::Most, Pass)
    }

    /// Moves each row to the shard that `f` says: it is given the number of shards and the row, and
    /// returns a number below the former; any other ends the run with an error.
    ///
    /// As many shards as before. Rows of one shard come in the order of the shards they were in.
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
    /// As many shards as before. Rows of one shard come in the order of the shards they were in.
    #[track_caller]
    pub fn reshuffle(self) -> Self {
        let place = Location::caller();
        let exchange = self.by_key();
        Self::wide("reshuffle", place, vec![exchange], Shards::Most, Pass)
    }

    /// [`reshuffle`](Self::reshuffle), and each shard sorted by key, null first.
    ///
    /// Rows are sorted on disk when the memory does not suffice.
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
pub(super) struct Pass;

impl Wide for Pass {
    fn run(
        &self,
        mut inputs: Vec<SendableRecordBatchStream>,
        _: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        only(&mut inputs)
    }

    fn order(&self) -> Order {
        Order::Kept
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
