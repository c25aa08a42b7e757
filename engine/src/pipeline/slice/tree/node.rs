//! The tree behind a slice. A node is one of five things, and says how a task computes one of its
//! shards:
//!
//! ```text
//! Source    shard s: opened by what `Source::shards` found out about it
//! Narrow    shard s of the input, changed
//! Wide      shard s of each exchange, put together      (a stage ends at each exchange)
//! Union     the shards of all inputs, one input after the other
//! Sink      shard s of the input, written to a file: one row about it
//! ```

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::base::driver::Driver;
use crate::error::{Error, Result};
use crate::pipeline::slice::tree::chosen::Chosen;
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;
use bigslice_files::sink::SinkSpec;

/// One verb of a slice.
pub(crate) struct Node {
    /// Its name.
    pub(crate) verb: &'static str,
    /// Where the user called it.
    pub(crate) place: &'static Location<'static>,
    /// Of its rows.
    pub(crate) schema: SchemaRef,
    pub(crate) op: Op,
    /// Set if it does nothing but choose among the rows of its input: then what reads it may choose
    /// by itself, and rows that are left out need not be taken out of their batch.
    pub(crate) select: Option<Arc<dyn Select>>,
    /// What it asks of the tasks that compute it.
    pub(crate) pragma: Option<Pragma>,
    /// Set if its rows are those of a plan: what a verb with expressions goes on from.
    pub(crate) relation: Option<Arc<LogicalPlan>>,
    /// Whether its rows may come in another order when they are computed again.
    pub(crate) order_varies: bool,
}

impl Node {
    /// A node that says nothing but what it does.
    pub(crate) fn new(
        verb: &'static str,
        place: &'static Location<'static>,
        schema: SchemaRef,
        op: Op,
    ) -> Self {
        let order_varies = op.order_varies();
        Self { verb, place, schema, op, select: None, pragma: None, relation: None, order_varies }
    }

    /// The node with a pragma.
    pub(crate) fn asking(self, pragma: Pragma) -> Self {
        // Of rows that are the same nothing is said of their order.
        let order_varies = self.order_varies || pragma == Pragma::Deterministic(false);
        Self { pragma: Some(pragma), order_varies, ..self }
    }

    /// Whether its rows may be others when they are computed again, since it goes by an order that
    /// may be another.
    pub(crate) fn rows_vary(&self) -> bool {
        match &self.op {
            Op::Source(source) => source.order_sensitivity().rows_vary(false),
            Op::Narrow { input, work } => work.order_sensitivity().rows_vary(input.order_varies),
            Op::Wide { inputs, work, .. } => {
                work.order_sensitivity().rows_vary(inputs.iter().any(Exchange::order_varies))
            }
            Op::Union(_) | Op::Sink { .. } => false,
        }
    }
}

impl Node {
    /// Checks the numbers that the user gave this verb. Verbs return a slice and no `Result`, so
    /// that a wrong number is in the tree until it runs.
    ///
    /// # Errors
    /// When one of them is 0.
    pub(crate) fn check(&self) -> Result<()> {
        let shards = match &self.op {
            Op::Source(source) => source.shards_given(),
            Op::Wide { shards: Shards::Exactly(n), .. } => Some(*n),
            _ => None,
        };
        let what = match (shards, self.pragma) {
            (Some(0), _) => "shards",
            (_, Some(Pragma::Procs(0))) => "slots",
            _ => return Ok(()),
        };
        let Self { verb, place, .. } = self;
        Err(Error::query(format!("{verb} at {place}: the number of {what} must be at least 1")))
    }
}

/// What one verb asks of the tasks of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pragma {
    /// This number of slots of a machine.
    Procs(usize),
    /// All slots of a machine.
    Exclusive,
    /// Whether rows come out the same when they are computed again.
    Deterministic(bool),
}

/// What a node does.
pub(crate) enum Op {
    Source(Arc<dyn Source>),
    Narrow { input: Arc<Node>, work: Arc<dyn Narrow> },
    Wide { inputs: Vec<Exchange>, shards: Shards, work: Arc<dyn Wide> },
    Union(Vec<Arc<Node>>),
    Sink { input: Arc<Node>, spec: Arc<SinkSpec> },
}

impl Op {
    fn order_varies(&self) -> bool {
        match self {
            // What is stored is computed again when it is lost.
            Self::Source(source) => source.order_sensitivity().varies() || source.run().is_some(),
            Self::Narrow { input, work } => work.order_sensitivity().varies() || input.order_varies,
            Self::Sink { input, .. } => input.order_varies,
            Self::Union(inputs) => inputs.iter().any(|input| input.order_varies),
            Self::Wide { inputs, work, .. } => {
                work.order_sensitivity().varies() || inputs.iter().any(Exchange::order_varies)
            }
        }
    }
}

/// How many shards a wide node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shards {
    /// As many as that input which has most.
    Most,
    /// As many as the input with this number.
    As(usize),
    /// This many.
    Exactly(usize),
}

/// Rows on their way from the tasks of one stage to those of the next.
pub(crate) struct Exchange {
    pub(crate) input: Arc<Node>,
    /// What is done to each shard of the input before it is split.
    pub(crate) before: Option<Arc<dyn Narrow>>,
    /// Of the rows that are stored.
    pub(crate) schema: SchemaRef,
    pub(crate) split: Split,
}

impl Exchange {
    fn order_varies(&self) -> bool {
        let before = self.before.as_ref().is_some_and(|before| before.order_sensitivity().varies());
        before || self.input.order_varies
    }

    /// Whether the rows that are stored may be others when they are computed again, since what is
    /// done before they are split goes by an order that may be another.
    pub(crate) fn rows_vary(&self) -> bool {
        let before = self.before.as_ref();
        before.is_some_and(|before| before.order_sensitivity().rows_vary(self.input.order_varies))
    }
}

/// Which shard of the next stage a row goes to.
#[derive(Clone)]
pub(crate) enum Split {
    /// That with the number of the shard it is in.
    Keep,
    /// One of them, by a hash of this number of its first columns; their floats must be canonical.
    ByHash(usize),
    /// The one that a function says.
    By(Arc<dyn Partition>),
    /// The only one.
    One,
}

/// The shard of each row of a batch: `shards` of them.
pub(crate) trait Partition: Send + Sync {
    /// Appends one number for each row to `ids`.
    fn partition(&self, batch: &RecordBatch, cx: &SplitCx, ids: &mut Vec<u32>) -> PlanResult<()>;

    /// By what, if more can be said of it than that it is a function.
    fn describe(&self) -> Option<String> {
        None
    }
}

/// The arguments of a partition function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitCx {
    /// The shard that the rows are in.
    pub(crate) from: usize,
    /// How many shards they go to.
    pub(crate) shards: usize,
}

/// What a task knows while it computes a shard.
#[derive(Clone)]
pub(crate) struct TaskCx {
    /// The shard of the node that is computed.
    pub(crate) shard: usize,
    /// Memory, spill files, settings.
    pub(crate) context: Arc<TaskContext>,
}

/// What the driver knows while it looks for the shards of a source.
#[derive(Clone)]
pub(crate) struct Resolving {
    pub(crate) driver: Arc<Driver>,
    /// Tasks that run at a time: fewer shards would leave cores idle.
    pub(crate) slots: usize,
}

/// Where rows come from.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// What it takes to open each shard, found out once, by the driver.
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>>;

    /// The rows of the shard that `shards` described by `spec`.
    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream>;

    /// The number of shards, if it was given by the user.
    fn shards_given(&self) -> Option<usize> {
        None
    }

    /// The run whose result this is, if it is one.
    fn run(&self) -> Option<crate::base::wire::RunId> {
        None
    }

    /// In what order rows come whenever a shard is opened.
    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Preserves
    }

    /// Whether the source can leave out by itself exactly the rows for which this is not true.
    fn takes(&self, _filter: &Expr) -> bool {
        false
    }

    /// The same source with these columns only, by their numbers, without the rows for which one
    /// of `filters`, which it takes, is not true; none if it cannot save anything by that.
    fn pruned(&self, _columns: &[usize], _filters: &[Expr]) -> Option<Arc<dyn Source>> {
        None
    }

    /// What is read, if more can be said of it than its verb says.
    fn describe(&self) -> Option<String> {
        None
    }
}

/// Chooses among the rows of a batch.
pub(crate) trait Select: Send + Sync {
    /// The rows that are kept.
    fn select(&self, batch: &RecordBatch, shard: usize) -> PlanResult<Chosen>;
}

/// Changes the rows of a shard.
pub(crate) trait Narrow: Send + Sync {
    /// Called once for each attempt to compute a shard.
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream>;

    /// Whether this, done before rows are split, does the work of the last verb as well, a narrow
    /// one: then it is given the input of that verb.
    fn spans(&self) -> bool {
        false
    }

    /// What the order of the rows is to it.
    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Preserves
    }

    /// The operators that do it, a line for each, if it is done by operators.
    fn describe(&self) -> Option<String> {
        None
    }
}

/// Puts the rows of several exchanges together.
pub(crate) trait Wide: Send + Sync {
    /// Called once for each attempt to compute a shard, with one stream for each exchange.
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream>;

    /// What the order of the rows is to it.
    fn order_sensitivity(&self) -> OrderSensitivity {
        OrderSensitivity::Unordered
    }

    /// The operators that do it, a line for each, if it is done by operators.
    fn describe(&self) -> Option<String> {
        None
    }
}

impl<F> Narrow for F
where
    F: Fn(SendableRecordBatchStream, &TaskCx) -> PlanResult<SendableRecordBatchStream>
        + Send
        + Sync,
{
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        self(input, cx)
    }
}

impl<F> Wide for F
where
    F: Fn(Vec<SendableRecordBatchStream>, &TaskCx) -> PlanResult<SendableRecordBatchStream>
        + Send
        + Sync,
{
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> PlanResult<SendableRecordBatchStream> {
        self(inputs, cx)
    }
}
