//! Makes nodes of a physical plan. It was planned for several partitions, so that DataFusion has put
//! an exchange wherever an operator needs rows together; what is a partition there is a shard here:
//!
//! ```text
//! plan                                    nodes
//!   FinalAggregate                          Wide:   FinalAggregate over input 0
//!     Repartition by hash of k      ──►       exchange: split by hash of k
//!       PartialAggregate                        before: PartialAggregate over the slice's rows
//!         SliceScan                               the slice
//! ```
//!
//! Each operator's needs are compared with how its inputs lie across shards. An operator of which that
//! is not known is [`Stop::Unproven`] ([`proof`]): then all rows go to one shard, which runs the plan of one
//! partition ([`gathered`]). A wrong row never.

use std::sync::Arc;

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
use super::proof::{self, Lies, collecting_join};
use crate::pipeline::slice::tree::node::{Exchange, Node, Op, Shards, Split};

/// Why a plan was not cut.
pub(super) enum Stop {
    /// Nobody knows whether what an operator says would be right for each shard by itself.
    Unproven(String),
    /// It cannot be done at all.
    Failed(DataFusionError),
}

impl From<DataFusionError> for Stop {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(error)
    }
}

/// Cuts the plan of a verb, which was planned for several partitions; the rows that come out have
/// the columns `schema`, and are looked at by `check`.
pub(super) fn cut(
    plan: &Arc<dyn ExecutionPlan>,
    call: Call,
    schema: &SchemaRef,
    check: Check,
) -> Result<Op, Stop> {
    let mut cut = Cut { call, slots: 0 };
    let piece = cut.lower(plan)?;
    Ok(piece.into_op(schema, call, Some(check)))
}

/// The same for a plan of one partition: all rows go to one shard.
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
        false => Piece { plan: plan.data, inputs, lies: Lies::Whole },
    };
    Ok(piece.into_op(schema, call, Some(check)))
}

/// Operators without an exchange between them.
struct Piece {
    plan: Arc<dyn ExecutionPlan>,
    inputs: Vec<(usize, Input)>,
    lies: Lies,
}

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

    /// The piece as what a node does.
    fn into_op(self, schema: &SchemaRef, call: Call, check: Option<Check>) -> Op {
        let (slots, mut inputs): (Vec<usize>, Vec<Input>) = self.inputs.into_iter().unzip();
        let work = Fragment { plan: self.plan, slots, schema: Arc::clone(schema), check, call };
        if let [Input::Shard(_)] = inputs.as_slice()
            && let Some(Input::Shard(input)) = inputs.pop()
        {
            return Op::Narrow { input, work: Arc::new(work) };
        }
        // What every shard reads as a whole says nothing about how many there are.
        let kept = inputs.iter().position(|input| matches!(input, Input::Shard(_)));
        let shards = match (self.lies, kept) {
            (Lies::Whole, _) => Shards::Exactly(1),
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
            let child = self.lower(children[0])?;
            return self.gather(child, None, plan.fetch());
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            let child = self.lower(merge.input())?;
            return self.gather(child, Some(merge.expr()), merge.fetch());
        }
        let pieces = children.into_iter().map(|child| self.lower(child));
        let mut pieces = pieces.collect::<Result<Vec<_>, Stop>>()?;
        if let Some(safe) = collecting_join(plan) {
            self.collect(&mut pieces, safe)?;
        }
        let inputs: Vec<Lies> = pieces.iter().map(|piece| piece.lies).collect();
        let lies = proof::lies(plan, &inputs)?;
        let (plans, inputs): (Vec<_>, Vec<_>) =
            pieces.into_iter().map(|piece| (piece.plan, piece.inputs)).unzip();
        let plan = replace_children_if_necessary(Arc::clone(plan), plans)?;
        Ok(Piece { plan, inputs: inputs.into_iter().flatten().collect(), lies })
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
        let lies = if has_one_shard(&scan.node) { Lies::Whole } else { Lies::Split };
        let (plan, input) = self.slot(Input::Shard(Arc::clone(&scan.node)), known);
        Piece { plan, inputs: vec![input], lies }
    }

    fn values(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Piece, Stop> {
        if plan.is::<WorkTableExec>() {
            return Err(Stop::Unproven("a recursive query".to_owned()));
        }
        Ok(self.in_place(plan))
    }

    /// A plan that has its rows in it.
    fn in_place(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Piece {
        let values = Values { plan: Arc::clone(plan), schema: plan.schema() };
        let node = self.node(&plan.schema(), Op::Source(Arc::new(values)));
        let known = EquivalenceProperties::new(plan.schema());
        let (plan, input) = self.slot(Input::Shard(node), known);
        Piece { plan, inputs: vec![input], lies: Lies::Whole }
    }

    /// A node within the plan of the verb.
    fn node(&self, schema: &SchemaRef, op: Op) -> Arc<Node> {
        let (Call { verb, place }, schema) = (self.call, Arc::clone(schema));
        Arc::new(Node::new(verb, place, schema, op))
    }

    /// The piece as a node whose rows have the columns `schema`.
    fn finish(&self, piece: Piece, schema: &SchemaRef) -> Arc<Node> {
        if piece.is_bare()
            && let [(_, Input::Shard(node))] = piece.inputs.as_slice()
            && node.schema == *schema
        {
            return Arc::clone(node);
        }
        self.node(schema, piece.into_op(schema, self.call, None))
    }

    /// The rows of a piece on their way to other shards.
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
        if piece.lies == Lies::Whole {
            piece.plan = limited(piece.plan);
            return Ok(piece);
        }
        let sorted = piece.plan.downcast_ref::<SortExec>();
        if let Some(sort) = sorted.filter(|sort| sort.fetch().is_none() && fetch.is_none()) {
            // What one task puts in order need not be in order before.
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
        Ok(Piece { plan: counted.restore(plan)?, inputs: vec![input], lies: Lies::Whole })
    }

    fn repartition(
        &mut self,
        repartition: &RepartitionExec,
        plan: &Arc<dyn ExecutionPlan>,
        child: Piece,
    ) -> Result<Piece, Stop> {
        let keys = match repartition.partitioning() {
            Partitioning::Hash(keys, _) if !keys.is_empty() => keys.clone(),
            // It is there for the cores of one process.
            Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_) => {
                return Ok(child);
            }
            other => return Err(Stop::Unproven(format!("rows that are split by {other}"))),
        };
        let schema = child.plan.schema();
        let in_order = child.lies == Lies::Whole;
        let moved = self.moved(child, &schema, Split::By(Arc::new(ByExprs(keys))));
        let known = match in_order {
            // One file is read: in the order in which it was written.
            true => plan.equivalence_properties().clone(),
            false => EquivalenceProperties::new(schema),
        };
        let (slot, input) = self.slot(moved, known);
        let plan = match plan.output_ordering() {
            // Several files are read one after the other.
            Some(order) if !in_order => Arc::new(SortExec::new(order.clone(), slot)),
            _ => slot,
        };
        Ok(Piece { plan, inputs: vec![input], lies: Lies::Keyed })
    }

    fn union(&mut self, plan: &Arc<dyn ExecutionPlan>) -> Result<Piece, Stop> {
        let mut schema = plan.schema();
        let mut counted = Counted(false);
        let mut nodes = Vec::new();
        for child in plan.children() {
            let (piece, needed) = countable(self.lower(child)?)?;
            if needed.0 {
                // The inputs have the same columns: none.
                (schema, counted) = (piece.plan.schema(), needed);
            }
            nodes.push(self.finish(piece, &schema));
        }
        let node = self.node(&schema, Op::Union(nodes));
        let (slot, input) = self.slot(Input::Shard(node), EquivalenceProperties::new(schema));
        Ok(Piece { plan: counted.restore(slot)?, inputs: vec![input], lies: Lies::Split })
    }

    /// Prepares the inputs of a join that holds all rows of its left side: each shard of the right
    /// side reads all of them, or, where a shard would have to know what the others matched, there is
    /// one shard.
    fn collect(&mut self, pieces: &mut Vec<Piece>, safe: bool) -> Result<(), Stop> {
        let (Some(mut right), Some(left)) = (pieces.pop(), pieces.pop()) else {
            return Err(Stop::Unproven("a join without two inputs".to_owned()));
        };
        if right.lies != Lies::Whole && !safe {
            right = self.gather(right, None, None)?;
        }
        let mut left = self.gather(left, None, None)?;
        let from_one = |(_, input): &(usize, Input)| matches!(input, Input::Moved(exchange) if matches!(exchange.split, Split::One));
        if right.lies != Lies::Whole && !left.inputs.iter().all(from_one) {
            let schema = left.plan.schema();
            let moved = self.moved(left, &schema, Split::One);
            let (plan, input) = self.slot(moved, EquivalenceProperties::new(schema));
            left = Piece { plan, inputs: vec![input], lies: Lies::Whole };
        }
        pieces.extend([left, right]);
        Ok(())
    }
}

/// Whether a node has one shard, whatever its sources have.
fn has_one_shard(node: &Arc<Node>) -> bool {
    match &node.op {
        Op::Wide { shards, .. } => *shards == Shards::Exactly(1),
        Op::Narrow { input, .. } | Op::Sink { input, .. } => has_one_shard(input),
        Op::Source(_) | Op::Union(_) => false,
    }
}

/// A piece whose rows can be stored: where only their number counts, they get a column.
fn countable(mut piece: Piece) -> Result<(Piece, Counted), Stop> {
    if !piece.plan.schema().fields().is_empty() {
        return Ok((piece, Counted(false)));
    }
    let one: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Boolean(Some(true))));
    piece.plan = Arc::new(ProjectionExec::try_new(vec![(one, "row".to_owned())], piece.plan)?);
    Ok((piece, Counted(true)))
}

/// Whether rows were given a column only to be counted.
struct Counted(bool);

impl Counted {
    /// The plan without that column.
    fn restore(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>, Stop> {
        if !self.0 {
            return Ok(plan);
        }
        let none: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
        Ok(Arc::new(ProjectionExec::try_new(none, plan)?))
    }
}
