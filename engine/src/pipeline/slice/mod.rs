//! Typed pipelines. A [`Slice`] is a description: a tree of [`Node`]s, each made by one verb, with
//! the user's closures in it. Nothing runs while it is built; [`Session::run`](crate::Session::run)
//! cuts it into stages ([`job`](crate::runs::job)) and has tasks run it ([`task`](crate::runs::task)).
//!
//! ```text
//! Slice::read_parquet ─ filter ─ map ─ reduce ─ map
//! └──── stage 0: one task per shard ────┘└─ stage 1 ─┘
//!                       rows split by key, stored as shards
//! ```
//!
//! One file per group of verbs; a file has the verb, what its node does on a task, and why:
//! * [`source`]: where rows come from;
//! * [`narrow`], [`choosing`], [`partitions`]: row by row, or a shard at a time; nothing moves;
//! * [`expr`]: verbs that the optimizer sees through, SQL among them;
//! * [`keyed`], [`cogroup`], [`join`], [`joining`], [`shuffle`], [`whole`], [`ordered`]: rows move, most of them by
//!   key; [`prefixed`] makes keys of columns;
//! * [`making`], [`building`]: who takes the rows that closures make, and what batches they become;
//! * [`combining`], [`reducing`]: how `reduce` combines them, before they are columns and after;
//! * [`pragma`]: what a slice asks of the tasks that compute it; [`order`]: which verbs go by the order of rows;
//! * [`mod@write`], [`tee`]: rows go out, to files or to the user's code;
//! * [`steps`]: which verbs a func has called, so that two processes can compare what they have built;
//! * [`node`]: the tree itself, and the five things that a node can be; [`explain`]: the tree as text.

mod building;
mod choosing;
mod cogroup;
mod combining;
mod explain;
mod expr;
mod join;
mod joining;
mod keyed;
mod keys;
mod making;
mod narrow;
mod node;
mod order;
mod ordered;
mod partitions;
mod pragma;
mod prefixed;
mod reducing;
mod shuffle;
mod sorting;
mod source;
mod steps;
mod streams;
mod tee;
mod typed;
mod user;
mod whole;
mod write;

use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;

use crate::pipeline::slice::making::Makes;
use crate::row::Row;

pub use expr::Table;
pub(crate) use keys::shard_ids;
pub use making::Emitter;
pub(crate) use node::{
    Narrow, Node, Op, Resolving, Select, Shards, Source, Split, SplitCx, TaskCx,
};
pub use partitions::Rows;
pub(crate) use pragma::Pragma;
pub use prefixed::Prefix;
pub use source::{LinesOptions, Paths, Sink, Stopped, TarEntry, TarEntryView};
pub(crate) use steps::{Steps, recording};
pub use tee::{Batch, BatchWriter};
pub(crate) use user::UserCode;
pub use write::WrittenFile;

/// Rows of type `T` in shards, described by where they come from and what is done to them.
///
/// A slice is cheap to clone. It can be used in several places; what it describes is then computed
/// for each, unless [`materialize`](Self::materialize) stores it.
///
/// What each verb does to the order of rows, to the number of shards and to keys is said at the
/// verb. Where it says nothing else, this holds:
///
/// * **Shards** are numbered from 0, and one task computes one shard. The rows of a slice are those of the first
///   shard, then those of the second, and so on.
/// * **Keys** are the same if their values are. Every NaN is the same key, and so are the two zeros; null is a key of
///   its own. In order, null is before all and NaN after all. A key may be there any number of times.
/// * **Memory** is needed for a batch or two of rows. What is *spilled* goes to the disk of the machine, where the
///   result would need more memory than [`SessionBuilder::memory_limit`](crate::SessionBuilder::memory_limit)
///   allows; it is the same result.
/// * **Errors:** a closure that panics, or returns an error where it can, ends the run with an error that names the
///   verb, the place of the call, and the shard; it is not tried again. When a machine is lost, what it had is computed
///   again: a closure may be called more than once for a row.
pub struct Slice<T> {
    node: Arc<Node>,
    /// Set if the node makes its rows one by one, and does nothing else: a verb that wants them before they
    /// are columns can do its work with its own.
    makes: Option<Arc<dyn Makes<T>>>,
    row: PhantomData<fn() -> T>,
}

impl<T> Clone for Slice<T> {
    fn clone(&self) -> Self {
        Self { node: Arc::clone(&self.node), makes: self.makes.clone(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Slice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} at {})", self.node.verb, self.node.place)
    }
}

impl<T: Row> Slice<T> {
    /// A node of the verb that was called at `place`.
    fn new(verb: &'static str, place: &'static Location<'static>, op: Op) -> Self {
        Self::with_select(verb, place, op, None)
    }

    fn with_select(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        select: Option<Arc<dyn Select>>,
    ) -> Self {
        steps::record(verb, place, std::any::type_name::<T>());
        Self::of_node(verb, place, op, select, None)
    }

    /// A node whose rows are those of `plan`, which was planned as `text` says.
    fn with_relation(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        plan: LogicalPlan,
        text: &str,
    ) -> Self {
        steps::record(verb, place, &format!("{}:\n{text}", std::any::type_name::<T>()));
        Self::of_node(verb, place, op, None, Some(Arc::new(plan)))
    }

    fn of_node(
        verb: &'static str,
        place: &'static Location<'static>,
        op: Op,
        select: Option<Arc<dyn Select>>,
        relation: Option<Arc<LogicalPlan>>,
    ) -> Self {
        let schema = typed::schema::<T>();
        let node = Node { select, relation, ..Node::new(verb, place, schema, op) };
        Self { node: Arc::new(node), makes: None, row: PhantomData }
    }

    /// The tree.
    pub(crate) fn into_node(self) -> Arc<Node> {
        self.node
    }
}
