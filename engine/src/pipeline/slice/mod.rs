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
//! One folder per group of verbs; a file has the verb, what its node does on a task, and why:
//! * [`tree`]: the nodes, what they ask of tasks, and how two processes compare what they have built;
//! * [`rows`]: row by row, or a shard at a time; nothing moves. Closures choose rows ([`rows::choosing`]), and what they
//!   make becomes batches ([`rows::building`]) or goes on as it is ([`rows::making`]);
//! * [`keyed`]: rows move by key: `reduce`, `fold`, `cogroup`, joins;
//! * [`whole`]: rows move for other reasons: sorts, `reshard`, the first rows, all of them;
//! * [`expr`]: verbs that the optimizer sees through, SQL among them;
//! * [`io`]: where rows come from, and files they go to.

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

use crate::pipeline::slice::rows::making::Makes;
use crate::row::Row;

pub use expr::Table;
pub use io::source::{LinesOptions, Paths, Sink, Stopped, TarEntry, TarEntryView};
pub use io::write::WrittenFile;
pub(crate) use keyed::keys::shard_ids;
pub use keyed::prefixed::Prefix;
pub use rows::making::Emitter;
pub use rows::partitions::Rows;
pub use rows::tee::{Batch, BatchWriter};
pub(crate) use tree::node::{
    Narrow, Node, Op, Resolving, Select, Shards, Source, Split, SplitCx, TaskCx,
};
pub(crate) use tree::pragma::Pragma;
pub(crate) use tree::steps::{Steps, recording};
pub(crate) use tree::user::UserCode;

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
        tree::steps::record(verb, place, std::any::type_name::<T>());
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
        Self { node: Arc::new(node), makes: None, row: PhantomData }
    }

    /// The tree.
    pub(crate) fn into_node(self) -> Arc<Node> {
        self.node
    }
}
