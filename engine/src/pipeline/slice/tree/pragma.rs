//! The verbs that ask something of the tasks that compute a slice. None of them changes its rows.

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::{Op, Pragma, TaskCx};
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// Has each task that computes this slice take `n` of the slots of its machine, of which there
    /// are as many as cores: for closures that start threads of their own, or need much memory.
    ///
    /// Rows, order, shards and keys stay. It holds for all verbs that one task pipes its rows
    /// through, back to where rows moved last and on to where they move next; where several ask,
    /// the largest number does. More than a machine has means all of them.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let squares = Slice::const_(4, 0..100i64).map(|x| x * x).procs(2);
    /// assert_eq!(session.run(squares).await?.rows().await?, 100);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// `n` must be at least 1: a run of a slice that asks for 0 slots fails.
    #[track_caller]
    pub fn procs(self, n: usize) -> Self {
        self.with_pragma("procs", Location::caller(), Pragma::Procs(n))
    }

    /// Has each task that computes this slice run alone on its machine: no other task of the run is
    /// there at the same time. Other machines go on with other tasks.
    ///
    /// Rows, order, shards and keys stay. It holds for the same verbs as [`procs`](Self::procs).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let alone = Slice::const_(2, 0..10i64).map(|x| x + 1).exclusive();
    /// assert_eq!(session.run(alone).await?.rows().await?, 10);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn exclusive(self) -> Self {
        self.with_pragma("exclusive", Location::caller(), Pragma::Exclusive)
    }

    /// Says whether each shard of this slice has the same rows whenever it is computed. A slice
    /// that says nothing has if what it is computed from has, and if it does not go by an order
    /// that is not fixed, as
    /// [`head`](Self::head) after [`reduce`](Self::reduce) does.
    ///
    /// With `false` (a closure draws random numbers, a service answers as it likes) nothing that is
    /// read together mixes what was computed at different times: when a shard is lost after others
    /// have read it and has to be computed again, all that was computed from it is computed again
    /// too. Where rows of the result were read already, [`Run::stream`](crate::Run::stream) and
    /// tables end with an error then, and [`Run::collect`](crate::Run::collect) starts again. With
    /// `true` nothing of that is done, even if something below said `false`: the shards are the
    /// same all the same, where what differed is gone.
    ///
    /// Rows, order, shards and keys stay. Of the verbs that a task pipes its rows through the last
    /// that says something counts.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let session = Session::builder().build().await?;
    /// let stamped = Slice::const_(2, 0..10u64)
    ///     .map(|n| (n % 3, std::time::SystemTime::now().elapsed().map_or(0, |t| t.subsec_nanos())))
    ///     .deterministic(false)
    ///     .reduce(|a, b| a.max(b));
    /// assert_eq!(session.run(stamped).await?.rows().await?, 3);
    /// # session.shutdown().await; Ok::<(), Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn deterministic(self, deterministic: bool) -> Self {
        let pragma = Pragma::Deterministic(deterministic);
        self.with_pragma("deterministic", Location::caller(), pragma)
    }

    fn with_pragma(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        pragma: Pragma,
    ) -> Self {
        let pass = |input: SendableRecordBatchStream, _: &TaskCx| Ok(input);
        let op = Op::Narrow { input: self.into_node(), work: Arc::new(pass) };
        let Self { node, .. } = Self::new(verb, place, op);
        // The node has one owner so far.
        let node = Arc::into_inner(node).expect("a node that was just made").asking(pragma);
        let node = Arc::new(node);
        Self { node, row_source: None, row: PhantomData }
    }
}
