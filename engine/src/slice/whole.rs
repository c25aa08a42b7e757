//! Verbs about all shards together.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::BooleanArray;
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{SortOptions, filter_record_batch};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};

use crate::row::{Row, Value};
use crate::slice::keyed::only;
use crate::slice::keys::{self, with_canonical};
use crate::slice::narrow::first;
use crate::slice::node::{Exchange, Op, Shards, Split, TaskCx};
use crate::slice::{Slice, sorting, streams, typed};

/// Largest first, null after all.
const LARGEST_FIRST: SortOptions = SortOptions { descending: true, nulls_first: false };

impl<T: Row> Slice<T> {
    /// The rows of both slices, each as often as it is there.
    ///
    /// The shards of this slice, then those of the other, each as it is.
    #[track_caller]
    pub fn union(self, other: Self) -> Self {
        let nodes = vec![self.into_node(), other.into_node()];
        Self::new("union", Location::caller(), Op::Union(nodes))
    }

    /// The first `n` rows of all, the first shards first.
    ///
    /// One shard. No task computes more than `n` rows.
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
            before: Some(Arc::new(before)),
            schema,
            split: Split::One,
        };
        Self::wide("limit", place, vec![exchange], Shards::Exactly(1), after)
    }

    /// Each row once, however often it is there. Floats are compared totally, every NaN is the same.
    ///
    /// Rows move after what is there twice in a task was left out. As many shards as before, in no
    /// fixed order. Memory is needed for the rows of one shard; what does not fit is spilled.
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
                let input =
                    streams::each(input, &schema, move |batch| with_canonical(&batch, columns));
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
        let total = once(AggregateMode::Final);
        let exchange = Exchange {
            before: Some(Arc::new(once(AggregateMode::Partial))),
            schema: Arc::clone(&schema),
            split: Split::ByHash(columns),
            input: self.into_node(),
        };
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            total(only(&mut inputs)?, cx)
        };
        Self::wide("distinct", place, vec![exchange], Shards::Most, after)
    }

    /// Each row with the probability `fraction`, the same rows for the same `seed` as long as rows come
    /// in the same order.
    ///
    /// Order and shards stay.
    #[track_caller]
    pub fn sample(self, fraction: f64, seed: u64) -> Self {
        let schema = typed::schema::<T>();
        // Exact enough: 53 bits of the hash are compared.
        let bound = (fraction.clamp(0.0, 1.0) * (1u64 << 53) as f64) as u64;
        self.narrow(
            "sample",
            Location::caller(),
            move |input: SendableRecordBatchStream, cx: &TaskCx| {
                let mut state = seed ^ mixed(cx.shard as u64);
                Ok(streams::each(input, &schema, move |batch| {
                    let kept = BooleanBuffer::collect_bool(batch.num_rows(), |_| {
                        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        mixed(state) >> 11 < bound
                    });
                    Ok(filter_record_batch(&batch, &BooleanArray::new(kept, None))?)
                }))
            },
        )
    }
}

impl<T: Row + Value> Slice<T> {
    /// The `n` rows with the largest keys, largest first; null counts as smallest.
    ///
    /// One shard. Each task gives its `n` largest, so that no more than `n` rows of each shard move. Which
    /// of several rows with the same key are taken is not fixed.
    #[track_caller]
    pub fn top_k<K, F>(self, n: usize, key: F) -> Self
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        self.ordered("top_k", Location::caller(), key, LARGEST_FIRST, Some(n))
    }

    /// All rows in order of a key, smallest first, null before all; floats in total order.
    ///
    /// One shard: all rows move to one task, which sorts on disk when its memory does not suffice. The
    /// order of rows with the same key is not fixed.
    #[track_caller]
    pub fn sort_by<K, F>(self, key: F) -> Self
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        self.ordered("sort_by", Location::caller(), key, keys::ORDER, None)
    }

    fn ordered<K, F>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        key: F,
        order: SortOptions,
        fetch: Option<usize>,
    ) -> Self
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        let pairs = self.key_by_at(verb, place, key);
        let schema = typed::schema::<(K, T)>();
        let before = move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let schema = input.schema();
            let input = streams::each(input, &schema, |batch| with_canonical(&batch, 1));
            match fetch {
                Some(_) => sorting::by_columns(input, 1, order, fetch, cx),
                None => Ok(input),
            }
        };
        let rows = typed::schema::<T>();
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            let sorted = sorting::by_columns(only(&mut inputs)?, 1, order, fetch, cx)?;
            let made = Arc::clone(&rows);
            Ok(streams::each(sorted, &rows, move |batch| typed::unnested(&made, batch.column(1))))
        };
        let exchange = Exchange {
            input: pairs.into_node(),
            before: Some(Arc::new(before)),
            schema,
            split: Split::One,
        };
        Self::wide(verb, place, vec![exchange], Shards::Exactly(1), after)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
/// generators, 2014).
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
