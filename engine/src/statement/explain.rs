//! What `EXPLAIN` and `EXPLAIN STAGES` show of a distributed plan. Called by
//! [`distribute`](crate::query::distribute) and by
//! [`command`](crate::query::command).

use std::sync::Arc;

use bigslice_planner::{DRIVER_STAGE, Stage, StageGraph};
use datafusion::arrow::array::{ArrayRef, StringArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::display::{PlanType, StringifiedPlan};
use datafusion::logical_expr::{Explain, ExplainFormat};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::explain::ExplainExec;
use datafusion_distributed::display_plan_ascii;

use crate::error::{Error, Result};

/// True if the statement asks for the physical plan.
pub(crate) fn wants_distributed(explain: &Explain) -> bool {
    explain.logical_optimization_succeeded
        && matches!(explain.explain_format, ExplainFormat::Indent | ExplainFormat::Tree)
}

/// `shown`, DataFusion's explanation, with the distributed plan in place of the plan of one
/// process.
pub(crate) fn with_distributed(
    shown: &Arc<dyn ExecutionPlan>,
    distributed: &Arc<dyn ExecutionPlan>,
) -> Arc<dyn ExecutionPlan> {
    let Some(explain) = shown.downcast_ref::<ExplainExec>() else { return Arc::clone(shown) };
    let mut plans = explain.stringified_plans().to_vec();
    let text = display_plan_ascii(distributed.as_ref(), false);
    for plan in &mut plans {
        if plan.plan_type == PlanType::FinalPhysicalPlan {
            *plan = StringifiedPlan::new(PlanType::FinalPhysicalPlan, text.as_str());
        }
    }
    Arc::new(ExplainExec::new(shown.schema(), plans, explain.verbose()))
}

/// The columns of `EXPLAIN STAGES`.
pub(crate) fn stages_schema() -> SchemaRef {
    let number = |name| Field::new(name, DataType::UInt64, false);
    let text = |name| Field::new(name, DataType::Utf8, false);
    Arc::new(Schema::new(vec![
        number("stage"),
        number("tasks"),
        number("partitions"),
        text("inputs"),
        text("exchange"),
        text("machines"),
        text("operators"),
    ]))
}

/// One row for each stage of `plan`, as it would run on `machines`.
pub(crate) fn stages(plan: &Arc<dyn ExecutionPlan>, machines: &[String]) -> Result<RecordBatch> {
    let graph = StageGraph::of(plan);
    let numbers = |number: fn(&Stage) -> usize| -> ArrayRef {
        let values = graph.stages.iter().map(|stage| number(stage) as u64);
        Arc::new(UInt64Array::from_iter_values(values))
    };
    let texts = |text: &dyn Fn(&Stage) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(graph.stages.iter().map(text)))
    };
    let columns = vec![
        numbers(|stage| stage.id),
        numbers(|stage| stage.tasks),
        numbers(|stage| stage.partitions),
        texts(&|stage| joined(", ", stage.inputs.iter().map(|input| input.stage.to_string()))),
        texts(&|stage| joined("; ", stage.inputs.iter().map(|input| input.exchange.to_string()))),
        texts(&|stage| machines_of(stage, machines)),
        texts(&|stage| stage.operators.join("\n")),
    ];
    RecordBatch::try_new(stages_schema(), columns).map_err(|e| Error::internal(e.to_string()))
}

fn joined(separator: &str, parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// The machines that run the tasks of a stage. Tasks are placed when the query starts: if there are
/// fewer of them than machines, it is not known earlier which machines they get.
fn machines_of(stage: &Stage, machines: &[String]) -> String {
    let runs_in_driver = stage.id == DRIVER_STAGE || machines.is_empty();
    if runs_in_driver {
        "driver".to_owned()
    } else if stage.tasks >= machines.len() {
        machines.join(", ")
    } else {
        format!("{} of {}", stage.tasks, machines.join(", "))
    }
}
