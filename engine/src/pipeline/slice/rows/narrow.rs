//! Narrow operators: each task pipes the rows of its shard through, without data movement.

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};

use crate::pipeline::slice::rows::batch_builder::{BATCH_ROWS, BatchBuilder, BatchCursor};
use crate::pipeline::slice::rows::fused_map::{Emit, Emitter};
use crate::pipeline::slice::rows::selection::{Filter, Stop};
use crate::pipeline::slice::tree::declared_order::order_sensitive;
use crate::pipeline::slice::tree::node::{Narrow, Node, Op, Select, TaskCx};
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// A node that applies `work` to each shard of this one.
    pub(crate) fn narrow<U: Row>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        work: impl Narrow + 'static,
    ) -> Slice<U> {
        Slice::new(verb, place, Op::Narrow { input: self.node, work: Arc::new(work) })
    }

    /// Applies `f` to each row.
    ///
    /// Keeps order and shards. Keys are those of the new rows.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let words = Slice::const_(2, ["to", "be", "or not"].map(str::to_owned));
    /// let lengths = words.map(|word| word.len() as u64); // `word` is a `&str`
    /// assert_eq!(session.run(lengths).await?.collect().await?, [2, 2, 6]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn map<U, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>) -> U + Send + Sync + 'static,
    {
        self.map_rows("map", Location::caller(), move |row, _| Ok(f(row)))
    }

    /// Applies `f` to each row; an error ends the run.
    ///
    /// Keeps order and shards. Keys are those of the new rows. An error of `f` is final: nothing is
    /// retried.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let texts = |texts: [&str; 2]| Slice::const_(2, texts.map(str::to_owned));
    /// let numbers = session.run(texts(["7", "8"]).try_map(|text| text.parse::<i64>())).await?;
    /// assert_eq!(numbers.collect().await?, [7, 8]);
    ///
    /// let failed = session.run(texts(["7", "eight"]).try_map(|text| text.parse::<i64>())).await;
    /// assert!(failed.unwrap_err().to_string().ends_with("shard 1: invalid digit found in string"));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_map<U, E, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        E: fmt::Display,
        F: for<'a> Fn(T::View<'a>) -> Result<U, E> + Send + Sync + 'static,
    {
        self.map_rows("try_map", Location::caller(), move |row, code| {
            f(row).map_err(|e| code.failed(e))
        })
    }

    fn map_rows<U, F>(self, verb: &'static str, place: &'static Location<'static>, f: F) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>, &UserCode) -> PlanResult<U> + Send + Sync + 'static,
    {
        let f = Arc::new(f);
        let schema = typed::schema::<U>();
        let Unchosen { input, before } = self.unchosen();
        let one = Arc::clone(&f);
        let source = Emit::<T, U, _> {
            f: Arc::new(move |row: T::View<'_>, out: &mut Emitter<U>, code: &UserCode| {
                out.push(one(row, code)?.view());
                Ok(())
            }),
            before: before.clone(),
            verb,
            place,
            kind: PhantomData,
        };
        let work = move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (f, made, before) = (Arc::clone(&f), Arc::clone(&schema), before.clone());
            let open = move |batch: RecordBatch| {
                let rows = batch.num_rows();
                let cursor = BatchCursor::<T>::new(&batch, before.as_deref(), &code)?;
                Ok((cursor, BatchBuilder::<U>::new(rows, rows.max(BATCH_ROWS))))
            };
            Ok(streams::each_in_parts(input, &schema, open, move |(cursor, out)| {
                while !cursor.is_done() && !out.is_full() {
                    // Reads only what fits: `f` returns one row per row, so only bytes need to be
                    // counted.
                    cursor.read(out.room(), &code, |row| match f(row, &code) {
                        Ok(made) => {
                            out.push(made.view());
                            Stop::when(out.is_heavy())
                        }
                        Err(error) => Stop::failed(error),
                    })?;
                }
                out.take(&made)
            }))
        };
        // A map of columns keeps the number of rows, so a batch need not count them. A consumer of
        // single rows uses the row source instead.
        let op = Op::Narrow { input, work: Arc::new(work) };
        Slice { row_source: Some(Arc::new(source)), ..Slice::new(verb, place, op) }
    }

    /// Keeps the rows for which `f` is true.
    ///
    /// Keeps order, shards and keys; a shard may become empty. Columns that `f` does not use are
    /// not read from memory.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let visits = Slice::const_(3, [(1, Some(700)), (2, None), (3, Some(20))]);
    /// let slow = session.run(visits.filter(|(_, ms)| ms > Some(500))).await?;
    /// assert_eq!(slow.collect().await?, [(1, Some(700))]);
    /// assert_eq!(slow.shards(), 3);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn filter<F>(self, f: F) -> Self
    where
        F: for<'a> Fn(T::View<'a>) -> bool + Send + Sync + 'static,
    {
        self.filter_rows("filter", Location::caller(), move |row, _| Ok(f(row)))
    }

    /// Keeps the rows for which `f` is true; an error ends the run.
    ///
    /// Keeps order, shards and keys. An error of `f` is final: nothing is retried.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// fn is_adult(age: i64) -> Result<bool, String> {
    ///     if age < 0 { Err(format!("{age} is no age")) } else { Ok(age >= 18) }
    /// }
    ///
    /// let session = Session::builder().build().await?;
    /// let adults = session.run(Slice::const_(2, [40i64, 9, 21]).try_filter(is_adult)).await?;
    /// assert_eq!(adults.collect().await?, [40, 21]);
    ///
    /// let failed = session.run(Slice::const_(2, [40i64, 9, -1]).try_filter(is_adult)).await;
    /// assert!(failed.unwrap_err().to_string().ends_with("shard 1: -1 is no age"));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_filter<E, F>(self, f: F) -> Self
    where
        E: fmt::Display,
        F: for<'a> Fn(T::View<'a>) -> Result<bool, E> + Send + Sync + 'static,
    {
        self.filter_rows("try_filter", Location::caller(), move |row, code| {
            f(row).map_err(|e| code.failed(e))
        })
    }

    fn filter_rows<F>(self, verb: &'static str, place: &'static Location<'static>, f: F) -> Self
    where
        F: for<'a> Fn(T::View<'a>, &UserCode) -> PlanResult<bool> + Send + Sync + 'static,
    {
        let Unchosen { input, before } = self.unchosen();
        let chosen = Filter::<T, F> { before, f, verb, place, kind: PhantomData };
        let select: Arc<dyn Select> = Arc::new(chosen);
        let of = Arc::clone(&select);
        let schema = typed::schema::<T>();
        let work = move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let (select, shard) = (Arc::clone(&of), cx.shard);
            Ok(streams::each(input, &schema, move |batch| {
                let kept = select.select(&batch, shard)?;
                Ok(filter_record_batch(&batch, &kept.into_mask())?)
            }))
        };
        let op = Op::Narrow { input, work: Arc::new(work) };
        Self::with_select(verb, place, op, Some(select))
    }

    /// The input of this slice's filter, and the filter: a row operator applies it while reading.
    pub(crate) fn unchosen(self) -> Unchosen {
        match (&self.node.select, &self.node.op) {
            (Some(select), Op::Narrow { input, .. }) => {
                Unchosen { input: Arc::clone(input), before: Some(Arc::clone(select)) }
            }
            _ => Unchosen { input: self.node, before: None },
        }
    }

    /// Replaces each row by any number of rows.
    ///
    /// Keeps order and shards: the new rows take the position of the old one. Keys are those of the
    /// new rows. The new rows of one row are held in memory together;
    /// [`map_partitions`](Self::map_partitions) passes rows on while it produces more.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let countdowns = Slice::const_(2, [2u64, 0, 3]).flat_map(|n| (1..=n).rev());
    /// assert_eq!(session.run(countdowns).await?.collect().await?, [2, 1, 3, 2, 1]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn flat_map<U, I, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        I: IntoIterator<Item = U>,
        F: for<'a> Fn(T::View<'a>) -> I + Send + Sync + 'static,
    {
        self.emit_rows("flat_map", Location::caller(), move |row, out, _| {
            f(row).into_iter().for_each(|made| out.push(made.view()));
            Ok(())
        })
    }

    /// Replaces each row by any number of rows; an error ends the run.
    ///
    /// Order, shards, keys and memory as for [`flat_map`](Self::flat_map). An error of `f` is
    /// final: nothing is retried.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let lines = Slice::const_(2, ["1 2", "", "3 x"].map(str::to_owned));
    /// let numbers = lines.try_flat_map(|line| {
    ///     line.split_whitespace().map(str::parse::<i64>).collect::<Result<Vec<_>, _>>()
    /// });
    /// // One bad word, and there is nothing: not even what was read before.
    /// let error = session.run(numbers).await.unwrap_err();
    /// assert!(error.to_string().ends_with("shard 1: invalid digit found in string"));
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn try_flat_map<U, I, E, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        I: IntoIterator<Item = U>,
        E: fmt::Display,
        F: for<'a> Fn(T::View<'a>) -> Result<I, E> + Send + Sync + 'static,
    {
        self.emit_rows("try_flat_map", Location::caller(), move |row, out, code| {
            let made = f(row).map_err(|e| code.failed(e))?;
            made.into_iter().for_each(|made| out.push(made.view()));
            Ok(())
        })
    }

    /// Replaces each row by any number of rows, which `f` passes to an [`Emitter`] as views: text
    /// that is part of the row is copied into the new one without an intermediate `String`.
    ///
    /// Order, shards, keys and memory as for [`flat_map`](Self::flat_map).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let lines = Slice::const_(2, ["to be", "or not"].map(str::to_owned));
    /// let words = lines.emit::<String, _>(|line, out| line.split(' ').for_each(|word| out.push(word)));
    /// assert_eq!(session.run(words).await?.collect().await?, ["to", "be", "or", "not"]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn emit<U, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>, &mut Emitter<U>) + Send + Sync + 'static,
    {
        self.emit_rows("emit", Location::caller(), move |row, out, _| {
            f(row, out);
            Ok(())
        })
    }

    fn emit_rows<U, F>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        f: F,
    ) -> Slice<U>
    where
        U: Row,
        F: for<'a> Fn(T::View<'a>, &mut Emitter<U>, &UserCode) -> PlanResult<()>
            + Send
            + Sync
            + 'static,
    {
        let Unchosen { input, before } = self.unchosen();
        let emit =
            Arc::new(Emit::<T, U, F> { f: Arc::new(f), before, verb, place, kind: PhantomData });
        let op = Op::Narrow { input, work: Arc::clone(&emit) as Arc<dyn Narrow> };
        Slice { row_source: Some(emit), ..Slice::new(verb, place, op) }
    }

    /// Calls `f` for each row and passes the rows on.
    ///
    /// Keeps rows, order, shards and keys. If a machine is lost, `f` may see rows again. It may
    /// also see rows that a later operator, such as [`head`](Self::head), does not use: a task
    /// passes a batch at a time. Increments of a [`Counter`](crate::metrics::Counter) count once
    /// all the same.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// static NEGATIVE: Counter = Counter::new("negative");
    ///
    /// let session = Session::builder().build().await?;
    /// let numbers = Slice::const_(2, [3i64, -1, -4]).inspect(|n| NEGATIVE.add(u64::from(n < 0)));
    /// let run = session.run(numbers).await?;
    /// assert_eq!(run.collect().await?, [3, -1, -4]);
    /// assert_eq!(run.counters().await["negative"], 2);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn inspect<F>(self, f: F) -> Self
    where
        F: for<'a> Fn(T::View<'a>) + Send + Sync + 'static,
    {
        let (verb, place, f) = ("inspect", Location::caller(), Arc::new(f));
        let schema = typed::schema::<T>();
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let f = Arc::clone(&f);
            Ok(streams::each(input, &schema, move |batch| {
                let columns = typed::columns::<T>(&batch, &code)?;
                code.call(|| {
                    (0..batch.num_rows()).for_each(|row| f(T::get(&columns, row)));
                    Ok(())
                })?;
                Ok(batch)
            }))
        })
    }

    /// Transforms each batch of rows as columns, for work with Arrow's kernels.
    ///
    /// Keeps order and shards as far as `f` does. The number of rows in a batch is not fixed, and
    /// `f` must not depend on it; it may return more or fewer rows. The returned batch must have
    /// the columns of `U`, by position; other columns end the run, as does an error of `f`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use arrow::array::RecordBatch;
    /// use arrow::compute::kernels::numeric::mul;
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let squares = Slice::const_(2, [1i64, 2, 3]).map_batches::<i64, _, _>(|batch| {
    ///     let squares = mul(batch.column(0), batch.column(0))?;
    ///     RecordBatch::try_new(batch.schema(), vec![squares])
    /// });
    /// assert_eq!(session.run(squares).await?.collect().await?, [1, 4, 9]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn map_batches<U, E, F>(self, f: F) -> Slice<U>
    where
        U: Row,
        E: fmt::Display,
        F: Fn(RecordBatch) -> Result<RecordBatch, E> + Send + Sync + 'static,
    {
        let (verb, place, f) = ("map_batches", Location::caller(), Arc::new(f));
        let schema = typed::schema::<U>();
        self.narrow(verb, place, move |input: SendableRecordBatchStream, cx: &TaskCx| {
            let code = UserCode { verb, place, shard: cx.shard };
            let (f, made) = (Arc::clone(&f), Arc::clone(&schema));
            Ok(streams::each(input, &schema, move |batch| {
                let batch = code.call(|| f(batch).map_err(|e| code.failed(e)))?;
                typed::columns::<U>(&batch, &code)?;
                Ok(RecordBatch::try_new(Arc::clone(&made), batch.columns().to_vec())?)
            }))
        })
    }

    /// The first `n` rows of each shard; [`limit`](Self::limit) is for all shards together.
    ///
    /// Keeps order, shards and keys. A task stops reading its input once it has its rows. If the
    /// order of rows is not fixed, as after [`reduce`](Self::reduce), neither is the choice of
    /// rows.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let first = Slice::const_(2, [1, 2, 3, 4, 5, 6]).head(2);
    /// assert_eq!(session.run(first).await?.collect().await?, [1, 2, 4, 5]);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn head(self, n: usize) -> Self {
        let schema = typed::schema::<T>();
        self.narrow(
            "head",
            Location::caller(),
            order_sensitive(move |input: SendableRecordBatchStream, _: &TaskCx| {
                Ok(streams::with_schema(Arc::clone(&schema), first(input, n)))
            }),
        )
    }
}

/// The result of [`Slice::unchosen`].
pub(crate) struct Unchosen {
    pub(crate) input: Arc<Node>,
    before: Option<Arc<dyn Select>>,
}

/// The first `n` rows of `input`, which is not read further.
pub(crate) fn first(
    input: SendableRecordBatchStream,
    n: usize,
) -> impl futures::Stream<Item = PlanResult<RecordBatch>> + Send {
    futures::stream::try_unfold((input, n), |(mut input, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(batch) = input.next().await.transpose()? else { return Ok(None) };
        let taken = batch.num_rows().min(left);
        Ok(Some((batch.slice(0, taken), (input, left - taken))))
    })
    .try_filter(|batch| std::future::ready(batch.num_rows() > 0))
}
