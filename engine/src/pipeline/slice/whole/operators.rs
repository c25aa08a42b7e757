//! Operators on all shards together.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, UInt64Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use futures::{StreamExt, TryStreamExt};

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::keyed::keys::with_canonical;
use crate::pipeline::slice::keyed::operators::only;
use crate::pipeline::slice::rows::narrow::first;
use crate::pipeline::slice::tree::declared_order::order_sensitive;
use crate::pipeline::slice::tree::node::{Exchange, Op, Shards, Split, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::whole::shuffle::Pass;
use crate::row::{Row, Value};

impl<T: Row> Slice<T> {
    /// Concatenates two slices, keeping duplicates.
    ///
    /// Returns the shards of this slice, then those of the other, unchanged: nothing moves, and
    /// equal keys of both do not meet.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let both = Slice::const_(2, [1, 2, 3]).union(Slice::const_(1, [3, 1]));
    /// let run = session.run(both).await?;
    /// assert_eq!(run.collect().await?, [1, 2, 3, 3, 1]);
    /// assert_eq!(run.shards(), 3);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn union(self, other: Self) -> Self {
        let nodes = vec![self.into_node(), other.into_node()];
        Self::new("union", Location::caller(), Op::Union(nodes))
    }

    /// The first `n` rows of the slice, in the order of shards.
    ///
    /// Returns one shard. No task computes more than `n` rows, and no more move. Keeps keys. If the
    /// order of rows is not fixed, as after [`reduce`](Self::reduce), neither is the choice of
    /// rows.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let first = session.run(Slice::const_(3, 0..9).limit(4)).await?;
    /// assert_eq!(first.collect().await?, [0, 1, 2, 3]);
    /// assert_eq!(first.shards(), 1);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn limit(self, n: usize) -> Self {
        let place = Location::caller();
        let schema = typed::schema::<T>();
        let made = Arc::clone(&schema);
        let before = move |input: SendableRecordBatchStream, _: &TaskCx| {
            Ok(streams::with_schema(Arc::clone(&made), first(input, n)))
        };
        let made = Arc::clone(&schema);
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, _: &TaskCx| {
            Ok(streams::with_schema(Arc::clone(&made), first(only(&mut inputs)?, n)))
        };
        let exchange = Exchange {
            input: self.into_node(),
            before: Some(Arc::new(order_sensitive(before))),
            schema,
            split: Split::One,
        };
        Self::wide("limit", place, vec![exchange], Shards::Exactly(1), order_sensitive(after))
    }

    /// Removes duplicate rows. Every NaN is equal, and so are the two zeros; null equals null.
    ///
    /// Rows move after each task has removed its own duplicates. Keeps the number of shards, in no
    /// fixed order. Memory is needed for the rows of one shard; it spills.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let pairs = [(1, None), (2, Some(0.0)), (1, None), (2, Some(-0.0)), (2, Some(0.5))];
    /// let mut once = session.run(Slice::const_(2, pairs).distinct()).await?.collect().await?;
    /// once.sort_by(|a, b| a.partial_cmp(b).unwrap());
    /// assert_eq!(once, [(1, None), (2, Some(0.0)), (2, Some(0.5))]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn distinct(self) -> Self {
        let place = Location::caller();
        let schema = typed::schema::<T>();
        let columns = schema.fields().len();
        let once = |mode: AggregateMode| {
            let schema = Arc::clone(&schema);
            move |input: SendableRecordBatchStream, cx: &TaskCx| {
                let by = schema.fields().iter().enumerate().map(|(n, field)| {
                    let column: Arc<Column> = Arc::new(Column::new(field.name(), n));
                    (column as _, field.name().clone())
                });
                let by = PhysicalGroupBy::new_single(by.collect());
                let input = streams::feed(input);
                let plan =
                    AggregateExec::try_new(mode, by, vec![], vec![], input, Arc::clone(&schema))?;
                let made = Arc::clone(&schema);
                let rows = plan.execute(0, Arc::clone(&cx.context))?;
                Ok(streams::each(rows, &schema, move |batch| {
                    Ok(RecordBatch::try_new(Arc::clone(&made), batch.columns().to_vec())?)
                })) as PlanResult<SendableRecordBatchStream>
            }
        };
        let (partial, total) = (once(AggregateMode::Partial), once(AggregateMode::Final));
        let before = move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let schema = input.schema();
            partial(streams::each(input, &schema, move |b| with_canonical(&b, columns)), cx)
        };
        let exchange = Exchange {
            before: Some(Arc::new(before)),
            schema: Arc::clone(&schema),
            split: Split::ByHash(columns),
            input: self.into_node(),
        };
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            total(only(&mut inputs)?, cx)
        };
        Self::wide("distinct", place, vec![exchange], Shards::Most, after)
    }

    /// Samples each row with the probability `fraction`. The same `seed` selects the same rows as
    /// long as rows arrive in the same order.
    ///
    /// Keeps order, shards and keys. Each row is sampled independently, so that the number of rows
    /// is not fixed. A `fraction` below 0 counts as 0, and above 1 as 1.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let some = Slice::const_(4, 0..10_000u64).sample(0.1, 42);
    /// let once = session.run(some.clone()).await?.collect().await?;
    /// assert!(once.len() > 800 && once.len() < 1200 && once.is_sorted());
    /// assert_eq!(session.run(some).await?.collect().await?, once);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn sample(self, fraction: f64, seed: u64) -> Self {
        let schema = typed::schema::<T>();
        // Exact enough: 53 bits of the hash are compared.
        let bound = (fraction.clamp(0.0, 1.0) * (1u64 << 53) as f64) as u64;
        self.narrow(
            "sample",
            Location::caller(),
            order_sensitive(move |input: SendableRecordBatchStream, cx: &TaskCx| {
                let mut state = seed ^ mixed(cx.shard as u64);
                Ok(streams::each(input, &schema, move |batch| {
                    let kept = BooleanBuffer::collect_bool(batch.num_rows(), |_| {
                        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        mixed(state) >> 11 < bound
                    });
                    Ok(filter_record_batch(&batch, &BooleanArray::new(kept, None))?)
                }))
            }),
        )
    }
}

impl<T: Row + Value> Slice<T> {
    /// Numbers all rows: pairs of the number and the row, starting at 0 in the first shard and
    /// continuing through the shards.
    ///
    /// Keeps order and shards. Rows are stored before they are numbered, because a shard needs the
    /// number of rows in the shards before it.
    ///
    /// ```
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn numbered() -> Slice<(u64, String)> {
    ///     Slice::const_(2, ["a", "b", "c"].map(str::to_owned)).zip_with_index()
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(numbered()).await?.collect().await?;
    /// assert_eq!(rows, [(0, "a".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())]);
    /// # Ok(()) })
    /// # }
    /// ```
    #[track_caller]
    pub fn zip_with_index(self) -> Slice<(u64, T)> {
        let (verb, place) = ("zip_with_index", Location::caller());
        let stored = self.moved(Split::Keep);
        let stored = Self::wide(verb, place, vec![stored], Shards::Most, Pass);
        let counts = typed::schema::<(u64, u64)>();
        let counted = Exchange {
            before: Some(Arc::new(count)),
            schema: counts,
            ..stored.clone().moved(Split::One)
        };
        let schema = typed::schema::<(u64, T)>();
        let work = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            let (counts, shard) = (only(&mut inputs)?, cx.shard as u64);
            let rows = only(&mut inputs)?;
            let made = Arc::clone(&schema);
            let numbered = async move {
                let mut next = rows_before(counts, shard).await?;
                Ok::<_, DataFusionError>(rows.map(move |batch| {
                    let batch = batch?;
                    let first = next;
                    next += batch.num_rows() as u64;
                    let numbers = UInt64Array::from_iter_values(first..next);
                    let columns = vec![Arc::new(numbers) as ArrayRef, typed::nested::<T>(&batch)?];
                    Ok(RecordBatch::try_new(Arc::clone(&made), columns)?)
                }))
            };
            let numbered = futures::stream::once(numbered).try_flatten();
            Ok(streams::with_schema(Arc::clone(&schema), numbered))
        };
        let inputs = vec![stored.moved(Split::Keep), counted];
        Slice::wide(verb, place, inputs, Shards::Most, order_sensitive(work))
    }
}

/// One row: the number of the shard, and the number of its rows.
fn count(
    mut input: SendableRecordBatchStream,
    cx: &TaskCx,
) -> PlanResult<SendableRecordBatchStream> {
    let schema = typed::schema::<(u64, u64)>();
    let (made, shard) = (Arc::clone(&schema), cx.shard as u64);
    let counted = async move {
        let mut rows = 0;
        while let Some(batch) = input.next().await.transpose()? {
            rows += batch.num_rows() as u64;
        }
        let columns = [shard, rows].map(|n| Arc::new(UInt64Array::from(vec![n])) as ArrayRef);
        Ok(RecordBatch::try_new(made, columns.to_vec())?)
    };
    Ok(streams::with_schema(schema, futures::stream::once(counted)))
}

/// The number of rows in the shards before `shard`, from the rows of [`count`].
async fn rows_before(mut counts: SendableRecordBatchStream, shard: u64) -> PlanResult<u64> {
    let mut before = 0;
    while let Some(batch) = counts.next().await.transpose()? {
        let of = |column: usize| batch.column(column).as_primitive::<UInt64Type>().values();
        let shards = of(0).iter().zip(of(1));
        before += shards.filter(|(of, _)| **of < shard).map(|(_, rows)| rows).sum::<u64>();
    }
    Ok(before)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
/// 2014).
pub(crate) fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
