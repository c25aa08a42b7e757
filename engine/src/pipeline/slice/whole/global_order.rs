//! Global order over all shards.
//!
//! *Top-k*: the largest rows of each task go to one shard. *Sort*: rows are partitioned by range. A
//! sample of the keys of each shard determines the ranges, and each row goes to the shard of its
//! range.
//!
//! ```text
//! rows with keys, stored ─┬─ some keys of each shard, read by every task ─┐
//!                         └─ rows ─ the place of each among those keys ───┴─ by range ─ sorted
//! ```

use std::cmp::Ordering;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, UInt32Array, UInt64Array};
use datafusion::arrow::compute::{SortOptions, concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::Result as PlanResult;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::keyed::keys::{self, ORDER, with_canonical};
use crate::pipeline::slice::keyed::operators::only;
use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::tree::declared_order::{order_preserving, order_sensitive};
use crate::pipeline::slice::tree::node::{
    Exchange, Narrow, Node, Op, Partition, Shards, Split, SplitCx, TaskCx,
};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::whole::operators::mixed;
use crate::pipeline::slice::whole::shuffle::Pass;
use crate::row::{Row, Value};

/// Largest first, null last.
const LARGEST_FIRST: SortOptions = SortOptions { descending: true, nulls_first: false };

/// The number of sampled keys per shard. With this many, no range is expected to be more than a
/// third too large, and a task that reads the samples of a thousand shards still needs little
/// memory.
const SAMPLES_PER_SHARD: usize = 128;

impl<T: Row + Value> Slice<T> {
    /// The `n` rows with the largest keys, largest first; NaN counts as largest, null as smallest.
    ///
    /// Returns one shard. Each task keeps its `n` largest, so that at most `n` rows of each shard
    /// move. The choice among rows with equal keys is not fixed. A task holds `n` rows; if they do
    /// not fit into memory, the run ends with an error. [`sort_by`](Self::sort_by) spills instead.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let readings = [("a", Some(5.0)), ("b", None), ("c", Some(f64::NAN)), ("d", Some(7.0))];
    /// let readings = Slice::const_(3, readings.map(|(place, value)| (place.to_owned(), value)));
    /// let largest = readings.top_k(2, |(_, value)| value).map(|(place, _)| place.to_owned());
    /// assert_eq!(session.run(largest).await?.collect().await?, ["c", "d"]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn top_k<K, F>(self, n: usize, key: F) -> Self
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        let (verb, place) = ("top_k", Location::caller());
        let pairs = self.key_by_at(verb, place, key);
        let before = move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let schema = input.schema();
            let input = streams::each(input, &schema, |batch| with_canonical(&batch, 1));
            sorting::by_columns(input, 1, LARGEST_FIRST, Some(n), cx)
        };
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            sorting::by_columns(only(&mut inputs)?, 1, LARGEST_FIRST, Some(n), cx)
                .map(without_key::<T>)
        };
        let before = Arc::new(order_sensitive(before));
        let exchange = Exchange { before: Some(before), ..pairs.moved(Split::One) };
        Self::wide(verb, place, vec![exchange], Shards::Exactly(1), order_sensitive(after))
    }

    /// Sorts all rows by a key, smallest first, null first and NaN last.
    ///
    /// Keeps the number of shards: each shard is sorted, and no key is smaller than those of the
    /// shard before. Rows with equal keys are in one shard, in no fixed order. Rows are stored on
    /// their way, and the sort spills.
    ///
    /// ```
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn by_length() -> Slice<String> {
    ///     Slice::const_(3, ["ccc", "a", "dddd", "bb"].map(str::to_owned)).sort_by(|s| s.len() as u64)
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = Session::builder().build().await?;
    /// let sorted = session.run(by_length()).await?.collect().await?;
    /// assert_eq!(sorted, ["a", "bb", "ccc", "dddd"]);
    /// # Ok(()) })
    /// # }
    /// ```
    #[track_caller]
    pub fn sort_by<K, F>(self, key: F) -> Self
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        let (verb, place) = ("sort_by", Location::caller());
        let pairs = self.key_by_at(verb, place, key);
        let before = |input: SendableRecordBatchStream, _: &TaskCx| {
            let schema = input.schema();
            Ok(streams::each(input, &schema, |batch| with_canonical(&batch, 1)))
        };
        let ranges = pairs.ranged(verb, place, 1, Some(Arc::new(before)));
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            let rows = without_position::<(K, T)>(only(&mut inputs)?);
            sorting::by_columns(rows, 1, ORDER, None, cx).map(without_key::<T>)
        };
        Self::wide(verb, place, vec![ranges], Shards::Most, after)
    }
}

impl<T: Row> Slice<T> {
    /// Sorts all rows by their columns, the first column first: smallest first, null first, floats
    /// in total order (negative zero before zero; NaN last, but a NaN with a negative sign first).
    /// Equal rows are indistinguishable, so the sort need not be stable.
    ///
    /// Keeps the number of shards: each shard is sorted, and no row is smaller than those of the
    /// shard before. Rows are stored on their way, and the sort spills.
    ///
    /// ```
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn sorted() -> Slice<(u8, String)> {
    ///     Slice::const_(2, [(2, "b"), (1, "b"), (2, "a")].map(|(n, s)| (n, s.to_owned()))).sort_unstable()
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(sorted()).await?.collect().await?;
    /// assert_eq!(rows, [(1, "b".to_owned()), (2, "a".to_owned()), (2, "b".to_owned())]);
    /// # Ok(()) })
    /// # }
    /// ```
    #[track_caller]
    pub fn sort_unstable(self) -> Self {
        let (verb, place) = ("sort_unstable", Location::caller());
        let columns = T::fields().len();
        let ranges = self.ranged(verb, place, columns, None);
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            let rows = without_position::<T>(only(&mut inputs)?);
            sorting::by_columns(rows, columns, ORDER, None, cx)
        };
        // Equal rows are interchangeable; the ranges are as fixed as the order of the sampled rows.
        Self::wide(verb, place, vec![ranges], Shards::Most, order_preserving(after))
    }

    /// This slice, after `before`, partitioned by ranges of its first `columns` columns. A leading
    /// column is added: the row's position among all rows, as a fraction of 2^32.
    fn ranged(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        columns: usize,
        before: Option<Arc<dyn Narrow>>,
    ) -> Exchange {
        let rows = typed::schema::<T>();
        let stored = Exchange { before, ..self.moved(Split::Keep) };
        let stored = Self::wide(verb, place, vec![stored], Shards::Most, Pass);
        let keys: SchemaRef = Arc::new(Schema::new(rows.fields()[..columns].to_vec()));
        let sampled = Exchange {
            before: Some(Arc::new(Sampling { keys: Arc::clone(&keys) })),
            schema: keys,
            ..stored.clone().moved(Split::One)
        };
        let fields = std::iter::once(Arc::new(Field::new("position", DataType::UInt32, false)));
        let schema: SchemaRef =
            Arc::new(Schema::new(fields.chain(rows.fields().iter().cloned()).collect::<Vec<_>>()));
        let placed = Arc::clone(&schema);
        let work = move |mut inputs: Vec<SendableRecordBatchStream>, _: &TaskCx| {
            let samples = only(&mut inputs)?;
            let rows = only(&mut inputs)?;
            let made = Arc::clone(&placed);
            let batches = async move {
                let known = Known::collect(samples, columns).await?;
                Ok::<_, DataFusionError>(
                    rows.map(move |batch| known.place(&batch?, columns, &made)),
                )
            };
            Ok(streams::with_schema(
                Arc::clone(&placed),
                futures::stream::once(batches).try_flatten(),
            ))
        };
        let inputs = vec![stored.moved(Split::Keep), sampled];
        let op = Op::Wide { inputs, shards: Shards::Most, work: Arc::new(order_preserving(work)) };
        let placed = Node::new(verb, place, Arc::clone(&schema), op);
        let split = Split::By(Arc::new(ByPosition));
        Exchange { input: Arc::new(placed), before: None, schema, split }
    }
}

/// A uniform sample of a shard's keys.
struct Sampling {
    keys: SchemaRef,
}

impl Narrow for Sampling {
    fn run(
        &self,
        mut input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        let keys = Arc::clone(&self.keys);
        let columns: Vec<usize> = (0..keys.fields().len()).collect();
        let mut state = mixed(cx.shard as u64);
        let schema = Arc::clone(&keys);
        let sampled = async move {
            // Algorithm R (Vitter: Random sampling with a reservoir, 1985).
            let mut kept: Vec<RecordBatch> = Vec::new();
            let mut seen = 0u64;
            while let Some(batch) = input.next().await.transpose()? {
                let batch = batch.project(&columns)?;
                for row in 0..batch.num_rows() as u64 {
                    seen += 1;
                    let slot = if kept.len() < SAMPLES_PER_SHARD {
                        kept.len()
                    } else {
                        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                        let drawn = mixed(state) % seen;
                        if drawn >= SAMPLES_PER_SHARD as u64 {
                            continue;
                        }
                        drawn as usize
                    };
                    // A copy: a slice of the batch would keep all of it in memory.
                    let key = take_record_batch(&batch, &UInt64Array::from(vec![row]))?;
                    if slot == kept.len() {
                        kept.push(key);
                    } else {
                        kept[slot] = key;
                    }
                }
            }
            Ok::<_, DataFusionError>(concat_batches(&keys, &kept)?)
        };
        Ok(streams::with_schema(schema, futures::stream::once(sampled)))
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Sensitive
    }
}

/// The sampled keys of all shards.
struct Known {
    converter: RowConverter,
    /// Sorted.
    samples: Rows,
    order: Vec<usize>,
}

impl Known {
    async fn collect(samples: SendableRecordBatchStream, columns: usize) -> PlanResult<Self> {
        let schema = samples.schema();
        let batches: Vec<RecordBatch> = samples.try_collect().await?;
        let leaves = leaves(&concat_batches(&schema, &batches)?, columns)?;
        let fields = leaves
            .iter()
            .map(|leaf| SortField::new_with_options(leaf.data_type().clone(), ORDER))
            .collect();
        let converter = RowConverter::new(fields)?;
        let samples = converter.convert_columns(&leaves)?;
        let mut order: Vec<usize> = (0..samples.num_rows()).collect();
        order.sort_unstable_by(|a, b| samples.row(*a).cmp(&samples.row(*b)));
        Ok(Self { converter, samples, order })
    }

    /// The rows of a batch, with their positions as the first column.
    fn place(
        &self,
        batch: &RecordBatch,
        columns: usize,
        schema: &SchemaRef,
    ) -> PlanResult<RecordBatch> {
        let keys = self.converter.convert_columns(&leaves(batch, columns)?)?;
        let ranges = self.order.len() as u64 + 1;
        let positions = keys.iter().map(|key| {
            let below =
                self.order.partition_point(|at| self.samples.row(*at).cmp(&key) == Ordering::Less);
            // Less than 2^32, because `below` is less than `ranges`.
            (((below as u64) << 32) / ranges) as u32
        });
        let positions: ArrayRef = Arc::new(UInt32Array::from_iter_values(positions));
        let mut all = vec![positions];
        all.extend(batch.columns().iter().cloned());
        Ok(RecordBatch::try_new(Arc::clone(schema), all)?)
    }
}

fn leaves(batch: &RecordBatch, columns: usize) -> PlanResult<Vec<ArrayRef>> {
    let mut found = Vec::new();
    for column in &batch.columns()[..columns] {
        found.extend(keys::leaves(column)?);
    }
    Ok(found)
}

/// Partitions by the first column, the fraction of the shards that come before.
struct ByPosition;

impl Partition for ByPosition {
    fn partition(&self, batch: &RecordBatch, cx: &SplitCx, ids: &mut Vec<u32>) -> PlanResult<()> {
        let positions = batch.column(0).as_primitive::<UInt32Type>();
        let shards = cx.shards as u64;
        // Less than the number of shards.
        ids.extend(positions.values().iter().map(|at| ((u64::from(*at) * shards) >> 32) as u32));
        Ok(())
    }
}

/// The rows of pairs of a key and a row.
fn without_key<T: Row>(pairs: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = typed::schema::<T>();
    let made = Arc::clone(&schema);
    streams::each(pairs, &schema, move |batch| typed::unnested(&made, batch.column(1)))
}

fn without_position<T: Row>(placed: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = typed::schema::<T>();
    let made = Arc::clone(&schema);
    streams::each(placed, &schema, move |batch| {
        Ok(RecordBatch::try_new(Arc::clone(&made), batch.columns()[1..].to_vec())?)
    })
}
