//! Plans a full sort where a top-k may not fit into memory.
//!
//! DataFusion 55.2: `ORDER BY .. LIMIT n` is a top-k, which holds n rows and their batches, and
//! cannot spill (apache/datafusion #19013): it fails where sorting all rows would work.
//! [`LargeLimits`] plans a sort with a limit above it if the rows may be too many:
//!
//! ```text
//! SortPreservingMerge, 2000000       SortPreservingMerge, 2000000
//!   Sort, first 2000000         =>     Limit 2000000
//!                                        Sort
//! ```

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

/// The overhead of a row in a top-k: its heap entry, and the key in comparable form, which is an
/// allocation of its own.
const ENTRY_BYTES: usize = 96;

/// The assumed size of a variable-length value. A limit that turns out to be too large is planned
/// again with this rule for any limit, at the cost of one attempt.
const VALUE_BYTES: usize = 48;

/// A top-k keeps evicted rows until there are as many of them as current rows.
const KEPT_FACTOR: usize = 2;

/// The physical rule: runs last, on the single-process plan.
#[derive(Debug)]
pub struct LargeLimits {
    bytes_max: usize,
}

impl LargeLimits {
    /// Applies to limits whose rows take more than `bytes_max` in one partition; 0 means any limit.
    pub fn over(bytes_max: usize) -> Self {
        Self { bytes_max }
    }

    fn spilling(&self, node: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        let sort = node.downcast_ref::<SortExec>()?;
        let fetch = sort.fetch()?;
        if fetch.saturating_mul(row_bytes(sort)) <= self.bytes_max {
            return None;
        }
        let all: Arc<dyn ExecutionPlan> = Arc::new(sort.with_fetch(None));
        Some(if all.output_partitioning().partition_count() > 1 {
            Arc::new(LocalLimitExec::new(all, fetch))
        } else {
            Arc::new(GlobalLimitExec::new(all, 0, Some(fetch)))
        })
    }
}

impl PhysicalOptimizerRule for LargeLimits {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            Ok(self.spilling(&node).map_or_else(|| Transformed::no(node), Transformed::yes))
        })
        .map(|spilling| spilling.data)
    }

    fn name(&self) -> &'static str {
        "large_limits"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The memory per row of the top-k of `sort`.
fn row_bytes(sort: &SortExec) -> usize {
    KEPT_FACTOR * schema_bytes(&sort.schema()) + ENTRY_BYTES
}

fn schema_bytes(schema: &Schema) -> usize {
    schema.fields().iter().map(|field| type_bytes(field.data_type())).sum()
}

fn type_bytes(data_type: &DataType) -> usize {
    match data_type {
        DataType::Struct(fields) => fields.iter().map(|field| type_bytes(field.data_type())).sum(),
        DataType::FixedSizeList(field, n) => {
            type_bytes(field.data_type()) * usize::try_from(*n).unwrap_or(0)
        }
        DataType::FixedSizeBinary(n) => usize::try_from(*n).unwrap_or(0),
        DataType::Boolean | DataType::Null => 1,
        other => other.primitive_width().unwrap_or(VALUE_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::SessionStateBuilder;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    async fn context(rule: Option<LargeLimits>, pool_bytes: usize) -> SessionContext {
        let runtime = RuntimeEnvBuilder::new().with_memory_limit(pool_bytes, 1.0).build_arc();
        let mut builder = SessionStateBuilder::new()
            .with_default_features()
            .with_config(SessionConfig::new().with_target_partitions(2))
            .with_runtime_env(runtime.unwrap());
        if let Some(rule) = rule {
            builder = builder.with_physical_optimizer_rule(Arc::new(rule));
        }
        SessionContext::new_with_state(builder.build())
    }

    async fn plan(context: &SessionContext, sql: &str) -> String {
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    const ROWS: &str = "(select value, md5(cast(value as varchar)) as m from range(600000))";

    #[tokio::test]
    async fn only_large_limits_become_sorts() {
        let context = context(Some(LargeLimits::over(1 << 20)), 1 << 30).await;
        let small = plan(&context, &format!("select * from {ROWS} order by m limit 1000")).await;
        assert!(small.contains("TopK(fetch=1000)"), "{small}");
        let large = plan(&context, &format!("select * from {ROWS} order by m limit 90000")).await;
        assert!(!large.contains("TopK") && large.contains("Limit"), "{large}");
    }

    #[tokio::test]
    async fn sorts_that_spill_are_still_needed() {
        let sql = format!("select * from {ROWS} order by m limit 590000");
        for (rule, suffices) in [(None, false), (Some(LargeLimits::over(0)), true)] {
            let context = context(rule, 64 << 20).await;
            let rows = context.sql(&sql).await.unwrap().collect().await;
            assert_eq!(rows.is_ok(), suffices, "{:?}", rows.err());
        }
    }
}
