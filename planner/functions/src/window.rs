//! Window functions that survive serialization, with IGNORE NULLS as separate functions.
//!
//! DataFusion 55.2:
//!
//! - A plan that is sent to a worker loses IGNORE NULLS, and the flag that a window function was
//!   reversed to save a sort (`lead`, `lag` and `nth_value`). So the planner replaces `lead(..)
//!   IGNORE NULLS` by `lead_ignore_nulls`, and nothing is reversed by a flag.
//! - `lead` and `lag` are evaluated as rows arrive, and look ahead for values that are not null in
//!   a cache: `lead` gives up if a gap is wider than the cache (apache/datafusion#25471), and a
//!   LIMIT above drops rows behind a gap. Their evaluation of whole partitions is correct, so that
//!   is used.

use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::nth_value::{first_value_udwf, last_value_udwf, nth_value_udwf};
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::{
    Documentation, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF,
    WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

/// The function `name` with IGNORE NULLS, if `name` supports it.
pub fn ignoring_nulls(name: &str) -> Option<Arc<WindowUDF>> {
    let (name, original) = match name {
        "lead" => ("lead_ignore_nulls", lead_udwf()),
        "lag" => ("lag_ignore_nulls", lag_udwf()),
        "first_value" => ("first_value_ignore_nulls", first_value_udwf()),
        "last_value" => ("last_value_ignore_nulls", last_value_udwf()),
        "nth_value" => ("nth_value_ignore_nulls", nth_value_udwf()),
        _ => return None,
    };
    let ignore_nulls = true;
    Some(Arc::new(WindowUDF::from(Sendable { name, original, ignore_nulls })))
}

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<WindowUDF>> {
    let plain = [("lead", lead_udwf()), ("lag", lag_udwf()), ("nth_value", nth_value_udwf())].map(
        |(name, original)| {
            Arc::new(WindowUDF::from(Sendable { name, original, ignore_nulls: false }))
        },
    );
    let names = ["lead", "lag", "first_value", "last_value", "nth_value"];
    names.into_iter().filter_map(ignoring_nulls).chain(plain).collect()
}

/// DataFusion's function, fully identified by its name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Sendable {
    name: &'static str,
    original: Arc<WindowUDF>,
    ignore_nulls: bool,
}

impl Sendable {
    fn is_shift(&self) -> bool {
        matches!(self.original.name(), "lead" | "lag")
    }
}

impl WindowUDFImpl for Sendable {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        self.original.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.original.inner().expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        if !self.ignore_nulls {
            return self.original.inner().partition_evaluator(args);
        }
        let args = PartitionEvaluatorArgs::new(
            args.input_exprs(),
            args.input_fields(),
            args.is_reversed(),
            true,
        );
        let evaluator = self.original.inner().partition_evaluator(args)?;
        Ok(if self.is_shift() { Box::new(WholePartition(evaluator)) } else { evaluator })
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.original.inner().field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.original.inner().sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.original.inner().coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.inner().documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        if self.ignore_nulls && self.is_shift() {
            return LimitEffect::Unknown;
        }
        self.original.inner().limit_effect(args)
    }
}

/// An evaluator that receives whole partitions only.
#[derive(Debug)]
struct WholePartition(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for WholePartition {
    fn evaluate_all(&mut self, values: &[ArrayRef], n_rows: usize) -> Result<ArrayRef> {
        self.0.evaluate_all(values, n_rows)
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::prelude::{SessionConfig, SessionContext};

    #[tokio::test]
    async fn shifts_over_nulls_are_still_needed() {
        let plain = SessionContext::new_with_config(SessionConfig::new().with_batch_size(2));
        let sql = "SELECT id, lead(v, 2) IGNORE NULLS OVER (ORDER BY id) AS two FROM (VALUES \
                   (1, 10), (2, 20), (3, 30), (4, NULL), (5, NULL), (6, NULL), (7, 40), (8, 70), \
                   (9, 80)) t(id, v) ORDER BY id";
        let batches = plain.sql(sql).await.expect("planned").collect().await.expect("ran");
        let found: Vec<Option<i64>> = batches
            .iter()
            .flat_map(|batch| {
                batch.column(1).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
            })
            .collect();
        let right = [30, 40, 70, 80, 80, 80].map(Some).into_iter().chain([None; 3]);
        assert_ne!(found, right.collect::<Vec<_>>(), "DataFusion gives up at the gap");
    }
}
