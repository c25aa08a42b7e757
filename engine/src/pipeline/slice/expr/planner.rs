//! Plans the verbs that take expressions. Every process makes the same plan, whatever its session
//! and its number of cores. Called by the verbs, on a thread of its own; hands the physical plan to
//! [`cut`](super::cut).

use std::sync::{Arc, LazyLock};

use bigslice_planner::{OneRowSubqueries, SerializableWindows};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Expr, LogicalPlan, Signature, Volatility};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use super::cut::{Stop, cut, gathered};
use super::fragment::{Check, text};
use super::{Call, shape};
use crate::base::cpu::with_large_stack;
use crate::error::{Error, Result};
use crate::pipeline::slice::tree::node::Op;
use crate::pipeline::udf;

/// The number of partitions to plan for: with only one, DataFusion would leave out exchanges.
const PARTITIONS: usize = 2;

/// Maximum bytes of a plan's text that the driver and workers compare and that errors show.
const TEXT_BYTES_MAX: usize = 4096;

/// The state that every plan starts from.
static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    udf::register(bigslice_planner::install(SessionStateBuilder::new().with_default_features()))
        .with_config(config())
        .with_analyzer_rule(Arc::new(OneRowSubqueries))
        .with_analyzer_rule(Arc::new(SerializableWindows))
        .build()
});

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let options = config.options_mut();
    // Partitions are shards here: they are not redistributed for more cores, and share no state at
    // run time.
    let optimizer = &mut options.optimizer;
    optimizer.enable_round_robin_repartition = false;
    optimizer.prefer_existing_union = true;
    optimizer.hash_join_single_partition_threshold = 0;
    optimizer.hash_join_single_partition_threshold_rows = 0;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // Its value would have to reach other tasks. Planned as a join, it does.
    optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options.sql_parser.collect_spans = true;
    config
}

/// A state for one plan. It has no tables of other plans, and its generated names start from the
/// beginning, so that they are the same in every process.
pub(super) fn state() -> SessionState {
    SessionStateBuilder::new_from_existing(STATE.clone())
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .with_config(config().with_create_default_catalog_and_schema(true))
        .with_execution_props(ExecutionProps::new())
        .build()
}

/// A planned verb.
pub(super) struct Planned {
    /// The plan that the next verb extends.
    pub(super) logical: LogicalPlan,
    pub(super) op: Op,
    /// The text of the plan, which is compared with that of another process.
    pub(super) text: String,
}

/// Plans a verb whose rows have the columns `schema`.
pub(super) fn planned(
    logical: LogicalPlan,
    call: Call,
    schema: &SchemaRef,
    check: Check,
) -> Result<Planned> {
    with_large_stack(move || {
        let failed = |e: DataFusionError| call.failed(e);
        refuse_volatile(&logical, call)?;
        let state = state();
        let analyzed = state
            .analyzer()
            .execute_and_check(logical, state.config_options(), |_, _| {})
            .map_err(failed)?;
        let logical = shape::shaped(analyzed, schema, call)?;
        let plan = physical(&logical, &state).map_err(failed)?;
        let (plan, op) = match cut(&plan, call, schema, Arc::clone(&check)) {
            Ok(op) => (plan, op),
            Err(Stop::Failed(error)) => return Err(failed(error)),
            Err(Stop::Unproven(why)) => {
                tracing::debug!(%call, why, "all rows go to one shard");
                let mut state = self::state();
                state.config_mut().options_mut().execution.target_partitions = 1;
                let plan = physical(&logical, &state).map_err(failed)?;
                let op = gathered(&plan, call, schema, check).map_err(failed)?;
                (plan, op)
            }
        };
        Ok(Planned { logical, op, text: compared(&plan) })
    })?
}

fn physical(
    logical: &LogicalPlan,
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let optimized = state.optimize(logical)?;
    // Slices are tables that answer at once, so this does not block.
    let planner = DefaultPhysicalPlanner::default();
    futures::executor::block_on(planner.create_physical_plan(&optimized, state))
}

/// The text of a plan, or the beginning of a long text and a checksum of it all.
fn compared(plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut text = text(plan);
    if text.len() > TEXT_BYTES_MAX {
        let crc = crc32fast::hash(text.as_bytes());
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(&format!("... (checksum {crc:08x})"));
    }
    text
}

/// Refuses functions that are not immutable: processes would plan and compute different rows, and a
/// task that runs again would make other rows than before.
fn refuse_volatile(plan: &LogicalPlan, call: Call) -> Result<()> {
    let mut volatile = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let function = function_of(expr);
                Ok(match function.filter(|(_, of)| of.volatility != Volatility::Immutable) {
                    Some((name, _)) => {
                        volatile = Some(name.to_owned());
                        TreeNodeRecursion::Stop
                    }
                    None => TreeNodeRecursion::Continue,
                })
            })
        })
    });
    walked.map_err(|e| call.failed(e))?;
    let Some(name) = volatile else { return Ok(()) };
    Err(Error::Query {
        message: format!(
            "{call}: {name}() does not depend on its arguments alone, so that its value would \
             differ between tasks"
        ),
        hint: Some(
            "pass a value that is the same for all rows, such as the time, as an argument of the \
             func; use `sample` to choose rows at random"
                .to_owned(),
        ),
        source: None,
    })
}

/// The name and the signature of the function that an expression calls.
fn function_of(expr: &Expr) -> Option<(&str, &Signature)> {
    match expr {
        Expr::ScalarFunction(call) => Some((call.func.name(), call.func.signature())),
        Expr::AggregateFunction(call) => Some((call.func.name(), call.func.signature())),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(f) => Some((f.name(), f.signature())),
            WindowFunctionDefinition::WindowUDF(f) => Some((f.name(), f.signature())),
        },
        _ => None,
    }
}

/// Whether an expression only calls functions that every session has, so that it can be pushed into
/// the scan of a file and sent with it.
pub(in crate::pipeline::slice) fn can_travel(expr: &Expr) -> bool {
    let mut travels = true;
    let walked = expr.apply(|expr| {
        let known = match expr {
            Expr::ScalarFunction(call) => {
                let ours = STATE.scalar_functions().get(call.func.name());
                ours.is_some_and(|ours| Arc::ptr_eq(ours, &call.func) || *ours == call.func)
            }
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Like(_)
            | Expr::SimilarTo(_)
            | Expr::Not(_)
            | Expr::IsNotNull(_)
            | Expr::IsNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_) => true,
            _ => false,
        };
        travels &= known;
        Ok(if known { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && travels
}
