//! Operators on slices of pairs, whose first element is the key. Rows move so that equal keys meet
//! in one shard.

use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, UInt64Array};
use datafusion::arrow::compute::{concat, partition, take};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result as PlanResult, internal_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use crate::pipeline::slice::keyed::cogroup;
use crate::pipeline::slice::keyed::keys::{leaves, with_canonical};
use crate::pipeline::slice::keyed::reduce_aggregate::ReduceAggregate;
use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::rows::batch_builder::{BATCH_BYTES, BATCH_ROWS, part_of_column};
use crate::pipeline::slice::rows::fused_map::RowSource;
use crate::pipeline::slice::tree::node::{Exchange, Narrow, Op, Shards, Split, TaskCx, Wide};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::{Row, Value};

impl<T: Row + Value> Slice<T> {
    /// Pairs of a key and the row that it is computed from.
    ///
    /// Keeps order and shards; rows with equal keys may be in several shards until an operator
    /// moves them. Rows are not copied.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let fruit = Slice::const_(2, ["pear", "plum", "fig"].map(str::to_owned));
    /// let by_length = fruit.key_by(|fruit| fruit.len() as u64);
    /// let right = [(4, "pear".to_owned()), (4, "plum".to_owned()), (3, "fig".to_owned())];
    /// assert_eq!(session.run(by_length).await?.collect().await?, right);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn key_by<K, F>(self, f: F) -> Slice<(K, T)>
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        self.key_by_at("key_by", Location::caller(), f)
    }

    /// [`key_by`](Self::key_by), also used by other operators.
    pub(crate) fn key_by_at<K, F>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        f: F,
    ) -> Slice<(K, T)>
    where
        K: Value,
        F: for<'a> Fn(<T as Row>::View<'a>) -> K + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        let schema = typed::schema::<(K, T)>();
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (f, made) = (Arc::clone(&f), Arc::clone(&schema));
            let open = move |batch: RecordBatch| {
                // The row is passed on as one nested column of its columns.
                Ok((typed::columns::<T>(&batch, &code)?, typed::nested::<T>(&batch)?, 0))
            };
            Ok(streams::each_in_parts(input, &schema, open, move |(columns, rows, next)| {
                let key = |row| f(<T as Row>::get(columns, row));
                let Some((keys, of)) = part_of_column(next, rows.len(), &code, key)? else {
                    return Ok(None);
                };
                let columns = vec![keys, rows.slice(of.start, of.len())];
                Ok(Some(RecordBatch::try_new(Arc::clone(&made), columns)?))
            }))
        })
    }
}

impl<K: Value, V: Value> Slice<(K, V)> {
    /// Applies `f` to the values; keeps keys, order and shards.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let prices = Slice::const_(2, [(2, 30i64), (1, 20), (2, 40)]);
    /// let cents = session.run(prices.map_values(|price| price * 100)).await?;
    /// assert_eq!(cents.collect().await?, [(2, 3000), (1, 2000), (2, 4000)]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn map_values<W, F>(self, f: F) -> Slice<(K, W)>
    where
        W: Value,
        F: for<'a> Fn(V::View<'a>) -> W + Send + Sync + 'static,
    {
        let (verb, place, f) = ("map_values", Location::caller(), Arc::new(f));
        let schema = typed::schema::<(K, W)>();
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (f, made) = (Arc::clone(&f), Arc::clone(&schema));
            let open = move |batch: RecordBatch| {
                let values = V::column(batch.column(1), None).map_err(|e| code.mismatch(&e))?;
                Ok((values, Arc::clone(batch.column(0)), 0))
            };
            Ok(streams::each_in_parts(input, &schema, open, move |(values, keys, next)| {
                let value = |row| f(V::get(values, row));
                let Some((changed, of)) = part_of_column(next, keys.len(), &code, value)? else {
                    return Ok(None);
                };
                let columns = vec![keys.slice(of.start, of.len()), changed];
                Ok(Some(RecordBatch::try_new(Arc::clone(&made), columns)?))
            }))
        })
    }

    /// One pair per key, with its values combined by `f`, which must be associative and
    /// commutative.
    ///
    /// Values are combined before rows move and again after it, so that about one row per key and
    /// task moves. Keeps the number of shards; within a shard the order is not fixed. Memory is
    /// needed for the keys of one shard; it spills. `f` is not called for a key that occurs only
    /// once.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sales = Slice::const_(3, [(Some(1), 10), (None, 5), (Some(1), 7), (None, 1)]);
    /// let mut sums = session.run(sales.reduce(|a: i64, b| a + b)).await?.collect().await?;
    /// sums.sort();
    /// assert_eq!(sums, [(None, 6), (Some(1), 17)]); // null is a key
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn reduce<F>(self, f: F) -> Self
    where
        F: Fn(V, V) -> V + Send + Sync + 'static,
    {
        let (verb, place) = ("reduce", Location::caller());
        let pairs = typed::schema::<(K, V)>();
        let aggregate = ReduceAggregate::new(f, Arc::clone(&pairs));
        let schema = aggregate.partial_schema();
        let total = aggregate.clone();
        let before = Before { row_source: self.row_source.clone(), aggregate, pairs, verb, place };
        let after = move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            total.total(only(&mut inputs)?, code, cx)
        };
        let exchange = Exchange {
            input: self.into_node(),
            before: Some(Arc::new(before)),
            schema,
            split: Split::ByHash(1),
        };
        Self::wide(verb, place, vec![exchange], Shards::Most, after)
    }

    /// The number of occurrences of each key.
    ///
    /// Shards, order and memory as for [`reduce`](Self::reduce).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let pairs = Slice::const_(2, [(0.0, 1), (f64::NAN, 2), (-0.0, 3), (f64::NAN, 4), (-0.0, 5)]);
    /// let counted = session.run(pairs.count_by_key()).await?.collect().await?;
    /// let mut counts: Vec<u64> = counted.into_iter().map(|(_, n)| n).collect();
    /// counts.sort();
    /// assert_eq!(counts, [2, 3]); // of NaN and of 0
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn count_by_key(self) -> Slice<(K, u64)> {
        self.map_values(|_| 1u64).reduce(|a, b| a + b)
    }

    /// One pair per key: `f` combines the accumulator, `init` at first, with each value in turn.
    /// The order of values is not fixed.
    ///
    /// All rows move. Keeps the number of shards, each sorted by key. The sort spills, so that
    /// neither keys nor values of a shard need fit into memory; the accumulator of one key at a
    /// time does. If values can be combined with one another, [`reduce`](Self::reduce) moves fewer
    /// rows.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let temperatures = Slice::const_(1, [(Some(2), 9.5), (None, 1.0), (Some(2), 10.5)]);
    /// let sums = temperatures.fold((0u64, 0.0), |(n, sum), celsius| (n + 1, sum + celsius));
    /// let sums = session.run(sums).await?.collect().await?;
    /// assert_eq!(sums, [(None, (1, 1.0)), (Some(2), (2, 20.0))]); // sorted: null comes first
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn fold<A, F>(self, init: A, f: F) -> Slice<(K, A)>
    where
        A: Value + Clone,
        F: for<'a> Fn(A, V::View<'a>) -> A + Send + Sync + 'static,
    {
        let (verb, place, f) = ("fold", Location::caller(), Arc::new(f));
        let exchange = self.by_key();
        let schema = typed::schema::<(K, A)>();
        Slice::wide(
            verb,
            place,
            vec![exchange],
            Shards::Most,
            move |mut inputs: Vec<SendableRecordBatchStream>, cx: &TaskCx| {
                let code = UserCode { verb, place, shard: cx.shard };
                let input = sorting::by_key(only(&mut inputs)?, cx)?;
                let folding = Folding::<V, A, F> {
                    init: init.clone(),
                    f: Arc::clone(&f),
                    code,
                    schema: Arc::clone(&schema),
                    now: None,
                    keys: Vec::new(),
                    done: A::builder(BATCH_ROWS),
                    done_rows: 0,
                    done_heap: 0,
                    open: None,
                };
                Ok(folding.run(input))
            },
        )
    }

    /// One row per key, with all of its values, in no fixed order.
    ///
    /// All rows move. Keeps the number of shards, each sorted by key. The sort spills; the values
    /// of one key must fit into memory, or the run ends with an error. To only combine the values,
    /// use [`fold`](Self::fold), which needs no such memory.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let sales = Slice::const_(1, [(2, 30), (1, 10), (2, 20), (2, 30)]);
    /// let mut groups = session.run(sales.group()).await?.collect().await?;
    /// groups[1].1.sort();
    /// assert_eq!(groups, [(1, vec![10]), (2, vec![20, 30, 30])]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn group(self) -> Slice<(K, Vec<V>)> {
        let (verb, place) = ("group", Location::caller());
        let (exchange, schema) = (self.by_key(), typed::schema::<(K, Vec<V>)>());
        let work = cogroup::Cogroup { verb, place, schema };
        Slice::wide(verb, place, vec![exchange], Shards::Most, work)
    }

    /// The exchange that hash-partitions this slice by key.
    pub(crate) fn by_key(self) -> Exchange {
        let schema = typed::schema::<(K, V)>();
        let made = Arc::clone(&schema);
        let before = move |input: SendableRecordBatchStream, _: &TaskCx| {
            Ok(streams::each(input, &made, |batch| with_canonical(&batch, 1)))
        };
        Exchange {
            input: self.into_node(),
            before: Some(Arc::new(before) as Arc<dyn Narrow>),
            schema,
            split: Split::ByHash(1),
        }
    }
}

impl<T: Row> Slice<T> {
    /// A wide node: combines the rows of `inputs` after their exchanges.
    pub(crate) fn wide(
        verb: &'static str,
        place: &'static Location<'static>,
        inputs: Vec<Exchange>,
        shards: Shards,
        work: impl Wide + 'static,
    ) -> Self {
        Self::new(verb, place, Op::Wide { inputs, shards, work: Arc::new(work) })
    }
}

/// Combines values before rows move.
struct Before<K: Value, V: Value, F> {
    /// The source of single pairs, if this is fused with the operator before.
    row_source: Option<Arc<dyn RowSource<(K, V)>>>,
    aggregate: ReduceAggregate<V, F>,
    pairs: SchemaRef,
    verb: &'static str,
    place: &'static Location<'static>,
}

impl<K, V, F> Narrow for Before<K, V, F>
where
    K: Value,
    V: Value,
    F: Fn(V, V) -> V + Send + Sync + 'static,
{
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        let code = UserCode { verb: self.verb, place: self.place, shard: cx.shard };
        let pairs = match &self.row_source {
            Some(source) => {
                source.send_to(input, Box::new(self.aggregate.pre_aggregation::<K>(code)), cx)
            }
            None => input,
        };
        let pairs = streams::each(pairs, &self.pairs, |batch| with_canonical(&batch, 1));
        self.aggregate.partial(pairs, code, cx)
    }

    fn spans(&self) -> bool {
        self.row_source.is_some()
    }
}

/// The stream of the only exchange.
pub(crate) fn only(
    inputs: &mut Vec<SendableRecordBatchStream>,
) -> PlanResult<SendableRecordBatchStream> {
    inputs.pop().ok_or_else(|| internal_datafusion_err!("an operator without its input"))
}

/// Folds pairs that arrive in order of their keys.
struct Folding<V: Value, A: Value, F> {
    init: A,
    f: Arc<F>,
    code: UserCode,
    schema: SchemaRef,
    /// The current batch.
    now: Option<Sorted<V>>,
    /// The keys that were started and not output yet, in order; the last may be open.
    keys: Vec<ArrayRef>,
    done: A::Builder,
    done_rows: usize,
    /// The heap bytes of the finished values.
    done_heap: usize,
    /// The key whose values may continue in the next batch, as leaves, and its accumulator.
    open: Option<(Vec<ArrayRef>, A)>,
}

/// A batch in order of its keys, and the position in it.
struct Sorted<V: Value> {
    keys: ArrayRef,
    leaves: Vec<ArrayRef>,
    values: V::Column,
    /// The rows of each key.
    ranges: Vec<Range<usize>>,
    next: usize,
}

impl<V: Value> Sorted<V> {
    fn new(batch: &RecordBatch, code: &UserCode) -> PlanResult<Self> {
        let keys = Arc::clone(batch.column(0));
        let leaves = leaves(&keys)?;
        let ranges = partition(&leaves)?.ranges();
        let values = V::column(batch.column(1), None).map_err(|e| code.mismatch(&e))?;
        Ok(Self { keys, leaves, values, ranges, next: 0 })
    }
}

impl<V, A, F> Folding<V, A, F>
where
    V: Value,
    A: Value + Clone,
    F: for<'a> Fn(A, V::View<'a>) -> A + Send + Sync + 'static,
{
    fn run(self, input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let folded = futures::stream::try_unfold(
            (self, Some(input)),
            |(mut folding, mut input)| async move {
                loop {
                    if let Some(now) = folding.now.take() {
                        folding.add(now)?;
                    } else {
                        let Some(stream) = &mut input else { return Ok(None) };
                        match stream.next().await.transpose()? {
                            Some(batch) => folding.now = Some(Sorted::new(&batch, &folding.code)?),
                            None => {
                                input = None;
                                folding.close();
                            }
                        }
                    }
                    if folding.is_full() || (input.is_none() && folding.done_rows > 0) {
                        let batch = folding.give()?;
                        return Ok(Some((batch, (folding, input))));
                    }
                }
            },
        );
        streams::with_schema(schema, folded)
    }

    /// True if enough keys are finished for an output batch.
    fn is_full(&self) -> bool {
        self.done_rows >= BATCH_ROWS || self.done_heap >= BATCH_BYTES
    }

    /// Folds rows of `now`, until enough keys are finished.
    fn add(&mut self, mut now: Sorted<V>) -> PlanResult<()> {
        let mut begun = Vec::new();
        while now.next < now.ranges.len() && !self.is_full() {
            let range = now.ranges[now.next].clone();
            now.next += 1;
            let goes_on = range.start == 0
                && self.open.as_ref().is_some_and(|(open, _)| same(open, &now.leaves));
            if !goes_on {
                self.close();
                begun.push(range.start as u64);
            }
            let mut held = match self.open.take() {
                Some((_, held)) => held,
                None => self.init.clone(),
            };
            let f = Arc::clone(&self.f);
            let last = range.end - 1;
            held = self.code.call(|| {
                for row in range {
                    held = f(held, V::get(&now.values, row));
                }
                Ok(held)
            })?;
            let open = match now.next == now.ranges.len() {
                true => now.leaves.iter().map(|leaf| leaf.slice(last, 1)).collect(),
                // It ends before the next range starts, so its key is not needed.
                false => Vec::new(),
            };
            self.open = Some((open, held));
        }
        if !begun.is_empty() {
            self.keys.push(take(&now.keys, &UInt64Array::from(begun), None)?);
        }
        self.now = Some(now).filter(|now| now.next < now.ranges.len());
        Ok(())
    }

    /// Finishes the open key.
    fn close(&mut self) {
        if let Some((_, held)) = self.open.take() {
            if A::HAS_HEAP {
                self.done_heap += A::heap_bytes(held.view());
            }
            A::append(&mut self.done, held.view());
            self.done_rows += 1;
        }
    }

    /// Outputs the finished keys.
    fn give(&mut self) -> PlanResult<RecordBatch> {
        let keys: Vec<&dyn Array> = self.keys.iter().map(AsRef::as_ref).collect();
        let keys = concat(&keys)?;
        let done = keys.slice(0, self.done_rows);
        let left = keys.len() - self.done_rows;
        self.keys = match left {
            0 => Vec::new(),
            left => vec![keys.slice(self.done_rows, left)],
        };
        (self.done_rows, self.done_heap) = (0, 0);
        let columns = vec![done, A::finish(&mut self.done)];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// True if the only key in `one` is the first in `other`.
fn same(one: &[ArrayRef], other: &[ArrayRef]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(a, b)| a.len() == 1 && a.to_data() == b.slice(0, 1).to_data())
}
