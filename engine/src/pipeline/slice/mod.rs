//! Typed pipelines. A [`Slice`] is a description: a tree of [`Node`]s, one per operator, with the
//! user's closures in it. Nothing runs while it is built; [`Session::run`](crate::Session::run)
//! splits it into stages ([`job`](crate::runs::job)) and runs their tasks
//! ([`task`](crate::runs::task)).
//!
//! ```text
//! Slice::read_parquet ─ filter ─ map ─ reduce ─ map
//! └──── stage 0: one task per shard ────┘└─ stage 1 ─┘
//!                       rows split by key, stored as shards
//! ```
//!
//! One folder per group of operators; a file has the public method, what its node does on a task,
//! and why:
//! * [`tree`]: the nodes, what they require of tasks, and how two processes compare their trees;
//! * [`rows`]: operators on single rows or whole shards, without data movement. Closures select
//!   rows ([`rows::selection`]), and the rows they return are collected into batches
//!   ([`rows::batch_builder`]) or passed on one by one ([`rows::fused_map`]);
//! * [`keyed`]: operators that move rows by key: `reduce`, `fold`, `cogroup`, joins;
//! * [`whole`]: operators on the slice as a whole: sorts, `reshard`, limits;
//! * [`expr`]: operators that the optimizer understands, SQL among them;
//! * [`io`]: sources, and files to write to.

mod expr;
mod io;
mod keyed;
mod rows;
mod tree;
mod whole;

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use crate::pipeline::slice::rows::fused_map::RowSource;
use crate::row::Row;

pub use expr::Table;
pub use io::source::{LinesOptions, Paths, Sink, Stopped, TarEntry, TarEntryView};
pub use io::write::WrittenFile;
pub(crate) use keyed::keys::shard_ids;
pub use keyed::prefixed::Prefix;
pub use rows::fused_map::Emitter;
pub use rows::partitions::Rows;
pub use rows::tee::{Batch, BatchWriter};
pub(crate) use tree::node::Pragma;
pub(crate) use tree::node::{
    Narrow, Node, Op, Resolving, Select, Shards, Source, Split, SplitCx, TaskCx,
};
pub(crate) use tree::steps::{Steps, recording};
pub(crate) use tree::user::UserCode;

/// A distributed collection of rows of type `T`, in shards: a lazy description of sources and
/// operators.
///
/// A slice is cheap to clone. If it is used in several places, it is computed once for each, unless
/// [`materialize`](Self::materialize) stores it.
///
/// Each operator documents its effect on the order of rows, the number of shards and keys. Unless
/// it says otherwise:
///
/// * **Shards** are numbered from 0, and one task computes one shard. The rows of a slice are those
///   of shard 0, then those of shard 1, and so on.
/// * **Keys** are equal if their values are. Every NaN is the same key, and so are the two zeros;
///   null is a key, too. In order, null comes first and NaN last. A key may occur any number of
///   times.
/// * **Memory** is needed for one or two batches of rows. Operators that *spill* write to the disk
///   of the machine when the result would need more memory than
///   [`SessionBuilder::memory_limit`](crate::SessionBuilder::memory_limit) allows; the result is
///   the same.
/// * **Errors:** a closure that panics or returns an error ends the run with an error that names
///   the operator, the call site and the shard; it is not retried. When a machine is lost, its
///   shards are computed again, so a closure may be called more than once for a row.
pub struct Slice<T> {
    node: Arc<Node>,
    /// Set if the node only maps rows one by one. An operator that can consume such rows before
    /// they become columns is fused with it.
    row_source: Option<Arc<dyn RowSource<T>>>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Slice<T> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node), row_source: self.row_source.clone(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Slice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} at {})", self.node.verb, self.node.place)
    }
}

impl<T: Row> Slice<T> {
    /// A node of the operator called at `place`.
    fn new(verb: &'static str, place: &'static Location<'static>, op: Op) -> Self {
        Self::with_select(verb, place, op, None)
    }

    fn with_select(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        select: Option<Arc<dyn Select>>,
    ) -> Self {
        tree::steps::record(verb, place, std::any::type_name::<T>());
        Self::of_node(verb, place, op, select, None)
    }

    /// A node with the rows of `plan`, which was planned from `text`.
    fn with_relation(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        plan: LogicalPlan,
        text: &str,
    ) -> Self {
        tree::steps::record(verb, place, &format!("{}:\n{text}", std::any::type_name::<T>()));
        Self::of_node(verb, place, op, None, Some(Arc::new(plan)))
    }

    fn of_node(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        select: Option<Arc<dyn Select>>,
        relation: Option<Arc<LogicalPlan>>,
    ) -> Self {
        let schema = tree::typed::schema::<T>();
        let node = Node { select, relation, ..Node::new(verb, place, schema, op) };
        Self { node: Arc::new(node), row_source: None, row: PhantomData }
    }

    /// The root node.
    pub(crate) fn into_node(self) -> Arc<Node> {
        self.node
    }
}
