//! Plans what verbs with expressions say: the same plan in every process, whatever its session and
//! its cores. Called by the verbs, on a thread of its own; hands the physical plan to
//! [`cut`](super::cut).

use std::sync::{Arc, LazyLock};

use bigslice_planner::{OneRowSubqueries, WindowsThatTravel};
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

/// Partitions that DataFusion plans for: it leaves out exchanges where there is only one.
const PARTITIONS: usize = 2;

/// Bytes of a plan's text that driver and machines compare, and errors show.
const TEXT_BYTES_MAX: usize = 4096;

/// What every plan begins with.
static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    udf::register(bigslice_planner::install(SessionStateBuilder::new().with_default_features()))
        .with_config(config())
        .with_analyzer_rule(Arc::new(OneRowSubqueries))
        .with_analyzer_rule(Arc::new(WindowsThatTravel))
        .build()
});

fn config() -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(PARTITIONS);
    let options = config.options_mut();
    // Partitions are shards here, which nobody deals out anew, and of which nobody knows how the
    // others fare.
    let optimizer = &mut options.optimizer;
    optimizer.enable_round_robin_repartition = false;
    optimizer.prefer_existing_union = true;
    optimizer.hash_join_single_partition_threshold = 0;
    optimizer.hash_join_single_partition_threshold_rows = 0;
    optimizer.enable_dynamic_filter_pushdown = false;
    optimizer.enable_join_dynamic_filter_pushdown = false;
    optimizer.enable_topk_dynamic_filter_pushdown = false;
    optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    // Its value would have to reach other tasks; as a join it does.
    optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options.sql_parser.collect_spans = true;
    config
}

/// A state to plan with: nobody else's tables are in it, and names that it makes up begin anew, so that
/// they are the same in every process.
pub(super) fn state() -> SessionState {
    SessionStateBuilder::new_from_existing(STATE.clone())
        .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
        .with_config(config().with_create_default_catalog_and_schema(true))
        .with_execution_props(ExecutionProps::new())
        .build()
}

/// What a verb makes of its logical plan.
pub(super) struct Planned {
    /// What the next verb goes on from.
    pub(super) logical: LogicalPlan,
    pub(super) op: Op,
    /// The plan, for comparison with another process's.
    pub(super) text: String,
}

/// Plans rows with the columns `schema`.
pub(super) fn planned(
    logical: LogicalPlan,
    call: Call,
    schema: &SchemaRef,
    check: Check,
) -> Result<Planned> {
    with_large_stack(move || {
        let failed = |e: DataFusionError| call.failed(e);
        refuse_unsteady(&logical, call)?;
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
    // Slices are tables that answer at once: nothing here waits.
    let planner = DefaultPhysicalPlanner::default();
    futures::executor::block_on(planner.create_physical_plan(&optimized, state))
}

/// The text of a plan; of a long one its beginning, and a checksum of all.
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

/// Refuses functions whose value is not settled by their arguments: processes would plan and
/// compute different rows, and a task that is run again others than before.
fn refuse_unsteady(plan: &LogicalPlan, call: Call) -> Result<()> {
    let mut unsteady = None;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let function = function_of(expr);
                Ok(match function.filter(|(_, of)| of.volatility != Volatility::Immutable) {
                    Some((name, _)) => {
                        unsteady = Some(name.to_owned());
                        TreeNodeRecursion::Stop
                    }
                    None => TreeNodeRecursion::Continue,
                })
            })
        })
    });
    walked.map_err(|e| call.failed(e))?;
    let Some(name) = unsteady else { return Ok(()) };
    Err(Error::Query {
        message: format!(
            "{call}: the value of {name}() is not settled by its arguments, so that tasks would \
             disagree about it"
        ),
        hint: Some(
            "what is to be the same for all rows, such as the time, can be an argument of the func; \
             `sample` chooses rows by chance"
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

/// Whether an expression is settled by functions that every session has, so that it can be planned
/// into the scan of a file and sent with it.
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
