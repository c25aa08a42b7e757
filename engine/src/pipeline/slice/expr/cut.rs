//! Cuts a physical plan into nodes. The plan is for several partitions, so that DataFusion put an
//! exchange wherever an operator needs rows together. A partition of the plan is a shard here:
//!
//! ```text
//! plan                                    nodes
//!   FinalAggregate                          Wide:   FinalAggregate over input 0
//!     Repartition by hash of k      ──►       exchange: split by hash of k
//!       PartialAggregate                        before: PartialAggregate over the slice's rows
//!         SliceScan                               the slice
//! ```
//!
//! [`row_properties`] compares what each operator needs with how its inputs are distributed over
//! shards. If an operator is not known to be right for each shard by itself, the cut stops with
//! [`Stop::Unproven`], and all rows go to one shard, which runs a plan for one partition
//! ([`gathered`]).

use std::sync::Arc;

use bigslice_planner::{
    Parts, RowProperties, TaskDistribution, Undistributable, collects_build_side,
    needs_whole_probe_side, row_properties,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::DataFusionError;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::work_table::WorkTableExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};

use super::Call;
use super::fragment::{ByExprs, Check, Fragment, Slot, Values};
use super::leaf::SliceScan;
use crate::base::memory::compact_views::CompactViewsExec;
use crate::pipeline::slice::tree::node::{Exchange, Node, Op, Shards, Split};

/// Why a plan was not cut.
#[derive(Debug)]
pub(super) enum Stop {
    /// An operator is not known to be right for each shard by itself.
    Unproven(String),
    /// The plan cannot run at all.
    Failed(DataFusionError),
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

/// Cuts the plan of a verb, which is for several partitions. The output has the columns of
/// `schema`, and `check` sees each of its batches.
pub(super) fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    call: Call,
    schema: &SchemaRef,
    check: Check,
) -> Result<Op, Stop> {
    let mut cut = Cut { call, slots: 0 };
    let piece = cut.lower(plan)?;
    if let Some(limit) = piece.rows.pending_limit {
        let message = format!("only each shard by itself applies the limit of {limit} rows");
        return Err(Stop::Unproven(message));
    }
    Ok(piece.into_op(schema, call, Some(check)))
}

/// Like [`cut`], but for a plan of one partition: all rows go to one shard.
pub(super) fn gathered(
    plan: &Arc<dyn ExecutionPlan>,
    call: Call,
    schema: &SchemaRef,
    check: Check,
) -> Result<Op, DataFusionError> {
    let mut cut = Cut { call, slots: 0 };
    let mut inputs = Vec::new();
    let plan = Arc::clone(plan).transform_up(|node| {
        if node.is::<RecursiveQueryExec>() {
            let message = "a recursive query cannot be run by tasks".to_owned();
            return Err(DataFusionError::NotImplemented(message));
        }
        let Some(scan) = node.downcast_ref::<SliceScan>() else { return Ok(Transformed::no(node)) };
        let leaf = cut.leaf(scan);
        let moved = cut.moved(leaf, &scan.schema(), Split::One);
        let (slot, input) = cut.slot(moved, EquivalenceProperties::new(scan.schema()));
        inputs.push(input);
        Ok(Transformed::yes(slot))
    })?;
    let piece = match inputs.is_empty() {
        true => cut.in_place(&plan.data),
        false => Piece { plan: plan.data, inputs, rows: SINGLE },
    };
    Ok(piece.into_op(schema, call, Some(check)))
}

/// Operators without an exchange between them.
struct Piece {
    plan: Arc<dyn ExecutionPlan>,
    inputs: Vec<(usize, Input)>,
    rows: RowProperties,
}

const SINGLE: RowProperties =
    RowProperties { distribution: TaskDistribution::Single, pending_limit: None };

/// Where the rows of a slot come from.
enum Input {
    /// The same shard of a node.
    Shard(Arc<Node>),
    Moved(Exchange),
}

struct Cut {
    call: Call,
    slots: usize,
}

impl Piece {
    fn is_bare(&self) -> bool {
        self.plan.is::<Slot>()
    }

    fn is_single(&self) -> bool {
        self.rows.distribution == TaskDistribution::Single
    }

    /// Whether every shard that computes the piece gets all rows, and does nothing with them that
    /// could come out otherwise than in another shard.
    fn is_broadcast(&self) -> bool {
        let from_one = |(_, input): &(usize, Input)| match input {
            Input::Moved(exchange) => matches!(exchange.split, Split::One),
            Input::Shard(_) => false,
        };
        let counts_only = |projection: &ProjectionExec| {
            projection.expr().is_empty() && projection.input().is::<Slot>()
        };
        let only_reads = self.is_bare() || self.plan.downcast_ref().is_some_and(counts_only);
        only_reads && self.inputs.iter().all(from_one)
    }

    /// The operation of a node that runs the piece.
    fn into_op(self, schema: &SchemaRef, call: Call, check: Option<Check>) -> Op {
        let (slots, mut inputs): (Vec<usize>, Vec<Input>) = self.inputs.into_iter().unzip();
        let work = Fragment { plan: self.plan, slots, schema: Arc::clone(schema), check, call };
        if let [Input::Shard(_)] = inputs.as_slice()
            && let Some(Input::Shard(input)) = inputs.pop()
        {
            return Op::Narrow { input, work: Arc::new(work) };
        }
        // An input that every shard reads whole does not determine the number of shards.
        let kept = inputs.iter().position(|input| matches!(input, Input::Shard(_)));
        let shards = match (self.rows.distribution, kept) {
            (TaskDistribution::Single, _) => Shards::Exactly(1),
            (_, Some(kept)) => Shards::As(kept),
            (_, None) => Shards::Most,
        };
        let inputs = inputs.into_iter().map(|input| match input {
            Input::Shard(input) => {
                let schema = Arc::clone(&input.schema);
                Exchange { input, before: None, schema, split: Split::Keep }
            }
            Input::Moved(exchange) => exchange,
        });
        Op::Wide { inputs: inputs.collect(), shards, work: Arc::new(work) }
    }
}

impl Cut {
    fn lower(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Piece, Stop> {
        if let Some(scan) = plan.downcast_ref::<SliceScan>() {
            return Ok(self.leaf(scan));
        }
        let children = plan.children();
        if children.is_empty() {
            return self.values(plan);
        }
        if plan.is::<UnionExec>() {
            return self.union(plan);
        }
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            let child = self.lower(repartition.input())?;
            return self.repartition(repartition, plan, child);
        }
        if plan.is::<CoalescePartitionsExec>() {
            return self.gather_for(plan, children[0], None);
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            return self.gather_for(plan, merge.input(), Some(merge.expr()));
        }
        let pieces = children.into_iter().map(|child| self.lower(child));
        let mut pieces = pieces.collect::<Result<Vec<_>, Stop>>()?;
        if collects_build_side(plan.as_ref()) {
            self.collect(&mut pieces, needs_whole_probe_side(plan.as_ref()))?;
        }
        let inputs: Vec<RowProperties> = pieces.iter().map(|piece| piece.rows).collect();
        let rows = derived(plan, &inputs)?;
        let (plans, inputs): (Vec<_>, Vec<_>) =
            pieces.into_iter().map(|piece| (piece.plan, piece.inputs)).unzip();
        let plan = replace_children_if_necessary(Arc::clone(plan), plans)?;
        Ok(Piece { plan, inputs: inputs.into_iter().flatten().collect(), rows })
    }

    /// A slot for an input.
    fn slot(
        &mut self,
        input: Input,
        known: EquivalenceProperties,
    ) -> (Arc<dyn ExecutionPlan>, (usize, Input)) {
        let id = self.slots;
        self.slots += 1;
        (Arc::new(Slot::new(id, known)), (id, input))
    }

    fn leaf(&mut self, scan: &SliceScan) -> Piece {
        let known = EquivalenceProperties::new(scan.schema());
        let rows = match has_one_shard(&scan.node) {
            true => SINGLE,
            false => RowProperties::new(TaskDistribution::Arbitrary),
        };
        let (plan, input) = self.slot(Input::Shard(Arc::clone(&scan.node)), known);
        Piece { plan, inputs: vec![input], rows }
    }

    fn values(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Piece, Stop> {
        if plan.is::<WorkTableExec>() {
            return Err(Stop::Unproven("a recursive query".to_owned()));
        }
        Ok(self.in_place(plan))
    }

    /// A plan that contains its rows.
    fn in_place(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Piece {
        let values = Values { plan: Arc::clone(plan), schema: plan.schema() };
        let node = self.node(&plan.schema(), Op::Source(Arc::new(values)));
        let known = EquivalenceProperties::new(plan.schema());
        let (plan, input) = self.slot(Input::Shard(node), known);
        Piece { plan, inputs: vec![input], rows: SINGLE }
    }

    /// A node that is a part of the verb's plan.
    fn node(&self, schema: &SchemaRef, op: Op) -> Arc<Node> {
        let (Call { verb, place }, schema) = (self.call, Arc::clone(schema));
        Arc::new(Node::new(verb, place, schema, op))
    }

    /// A node that runs the piece, and whose rows have the columns of `schema`.
    fn finish(&self, piece: Piece, schema: &SchemaRef) -> Arc<Node> {
        if piece.is_bare()
            && let [(_, Input::Shard(node))] = piece.inputs.as_slice()
            && node.schema == *schema
        {
            return Arc::clone(node);
        }
        self.node(schema, piece.into_op(schema, self.call, None))
    }

    /// An exchange that moves the rows of a piece to other shards.
    fn moved(&self, piece: Piece, schema: &SchemaRef, split: Split) -> Input {
        let schema = Arc::clone(schema);
        if let [(slot, Input::Shard(node))] = piece.inputs.as_slice() {
            let as_it_is = piece.is_bare() && node.schema == schema;
            let (slots, input) = (vec![*slot], Arc::clone(node));
            let (plan, of) = (piece.plan, Arc::clone(&schema));
            let before = Fragment { plan, slots, schema: of, check: None, call: self.call };
            let before = (!as_it_is).then(|| Arc::new(before) as _);
            return Input::Moved(Exchange { input, before, schema, split });
        }
        let input = self.finish(piece, &schema);
        Input::Moved(Exchange { input, before: None, schema, split })
    }

    /// An operator that merges all partitions of `child`.
    fn gather_for(
        &mut self,
        plan: &Arc<dyn ExecutionPlan>,
        child: &Arc<dyn ExecutionPlan>,
        order: Option<&LexOrdering>,
    ) -> Result<Piece, Stop> {
        let child = self.lower(child)?;
        let piece = self.gather(child, order, plan.fetch())?;
        Ok(Piece { rows: derived(plan, &[piece.rows])?, ..piece })
    }

    /// Brings all rows into one shard, in an order if one is wanted; the first `fetch` of them.
    fn gather(
        &mut self,
        mut piece: Piece,
        order: Option<&LexOrdering>,
        fetch: Option<usize>,
    ) -> Result<Piece, Stop> {
        let limited = |plan: Arc<dyn ExecutionPlan>| match fetch {
            Some(fetch) => Arc::new(GlobalLimitExec::new(plan, 0, Some(fetch))),
            None => plan,
        };
        if piece.is_single() {
            piece.plan = limited(piece.plan);
            return Ok(piece);
        }
        let rows = RowProperties { distribution: TaskDistribution::Single, ..piece.rows };
        let sorted = piece.plan.downcast_ref::<SortExec>();
        if let Some(sort) = sorted.filter(|sort| sort.fetch().is_none() && fetch.is_none()) {
            // The gathering task sorts all rows anyway.
            piece.plan = Arc::clone(sort.input());
        }
        if let Some(fetch) = fetch {
            piece.plan = Arc::new(LocalLimitExec::new(piece.plan, fetch));
        }
        let (piece, counted) = countable(piece)?;
        let schema = piece.plan.schema();
        let moved = self.moved(piece, &schema, Split::One);
        let (slot, input) = self.slot(moved, EquivalenceProperties::new(schema));
        let plan = match order {
            Some(order) => Arc::new(SortExec::new(order.clone(), slot).with_fetch(fetch)),
            None => limited(slot),
        };
        Ok(Piece { plan: counted.restore(plan)?, inputs: vec![input], rows })
    }

    fn repartition(
        &mut self,
        repartition: &RepartitionExec,
        plan: &Arc<dyn ExecutionPlan>,
        child: Piece,
    ) -> Result<Piece, Stop> {
        let keys = match repartition.partitioning() {
            Partitioning::Hash(keys, _) if !keys.is_empty() => keys.clone(),
            // These only distribute work over the cores of one process.
            Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_) => {
                return Ok(child);
            }
            other => return Err(Stop::Unproven(format!("an exchange by {other}"))),
        };
        let schema = child.plan.schema();
        let in_order = child.is_single();
        let rows = RowProperties { distribution: TaskDistribution::Hashed, ..child.rows };
        let moved = self.moved(child, &schema, Split::By(Arc::new(ByExprs(keys))));
        let known = match in_order {
            // One file is read, in the order in which it was written.
            true => plan.equivalence_properties().clone(),
            false => EquivalenceProperties::new(schema),
        };
        let (slot, input) = self.slot(moved, known);
        let plan = match plan.output_ordering() {
            // Several files are read one after the other.
            Some(order) if !in_order => Arc::new(SortExec::new(order.clone(), slot)),
            _ => slot,
        };
        Ok(Piece { plan, inputs: vec![input], rows })
    }

    fn union(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Piece, Stop> {
        let mut schema = plan.schema();
        let mut counted = Counted(false);
        let mut nodes = Vec::new();
        let mut inputs = Vec::new();
        for child in plan.children() {
            let (piece, needed) = countable(self.lower(child)?)?;
            inputs.push(piece.rows);
            if needed.0 {
                // The inputs have the same columns: none.
                (schema, counted) = (piece.plan.schema(), needed);
            }
            nodes.push(self.finish(piece, &schema));
        }
        let rows = derived(plan, &inputs)?;
        let node = self.node(&schema, Op::Union(nodes));
        let (slot, input) = self.slot(Input::Shard(node), EquivalenceProperties::new(schema));
        Ok(Piece { plan: counted.restore(slot)?, inputs: vec![input], rows })
    }

    /// Prepares the inputs of a join that holds all rows of its left side. Each shard of the right
    /// side reads the whole left side; if a shard would have to know what the others matched, there
    /// is one shard.
    fn collect(
        &mut self,
        pieces: &mut Vec<Piece>,
        needs_whole_right_side: bool,
    ) -> Result<(), Stop> {
        let (Some(mut right), Some(left)) = (pieces.pop(), pieces.pop()) else {
            return Err(Stop::Unproven("a join without two inputs".to_owned()));
        };
        if needs_whole_right_side {
            right = self.gather(right, None, None)?;
        }
        let mut left = self.gather(left, None, None)?;
        if !right.is_single() {
            left = self.broadcast(left)?;
        }
        pieces.extend([left, right]);
        Ok(())
    }

    /// Lets every shard read all rows of a piece that is in one shard. The rows are computed once,
    /// because two shards that compute them may disagree: a limit may keep other rows, a sum of
    /// floats may be rounded otherwise.
    fn broadcast(&mut self, piece: Piece) -> Result<Piece, Stop> {
        let rows = RowProperties { distribution: TaskDistribution::Broadcast, ..piece.rows };
        if piece.is_broadcast() {
            return Ok(Piece { rows, ..piece });
        }
        let (piece, counted) = countable(piece)?;
        let schema = piece.plan.schema();
        let moved = self.moved(piece, &schema, Split::One);
        let (slot, input) = self.slot(moved, EquivalenceProperties::new(schema));
        Ok(Piece { plan: counted.restore(slot)?, inputs: vec![input], rows })
    }
}

/// How the rows of an operator are distributed over shards.
fn derived(plan: &Arc<dyn ExecutionPlan>, inputs: &[RowProperties]) -> Result<RowProperties, Stop> {
    let row_wise = [CompactViewsExec::NAME.to_owned()];
    row_properties(plan, inputs, Parts::Shards, &row_wise).map_err(|refused| match refused {
        Undistributable::Unsafe(reason) => Stop::Unproven(format!("{} {reason}", plan.name())),
        Undistributable::Failed(error) => Stop::Failed(error),
    })
}

/// Whether a node has one shard, however many its sources have.
fn has_one_shard(node: &Arc<Node>) -> bool {
    match &node.op {
        Op::Wide { shards, .. } => *shards == Shards::Exactly(1),
        Op::Narrow { input, .. } | Op::Sink { input, .. } => has_one_shard(input),
        Op::Source(_) | Op::Union(_) => false,
    }
}

/// A piece whose rows can be stored: rows without columns get one.
fn countable(mut piece: Piece) -> Result<(Piece, Counted), Stop> {
    if !piece.plan.schema().fields().is_empty() {
        return Ok((piece, Counted(false)));
    }
    let one: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Boolean(Some(true))));
    piece.plan = Arc::new(ProjectionExec::try_new(vec![(one, "row".to_owned())], piece.plan)?);
    Ok((piece, Counted(true)))
}

/// Whether rows without columns were given one, so that they can be counted.
struct Counted(bool);

impl Counted {
    /// The plan without the added column.
    fn restore(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, Stop> {
        if !self.0 {
            return Ok(plan);
        }
        let none: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        Ok(Arc::new(ProjectionExec::try_new(none, plan)?))
    }
}
