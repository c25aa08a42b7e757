//! `row_number`, `rank`, `dense_rank` and `ntile` of type BIGINT.
//!
//! DataFusion 55.2 counts ranks as unsigned integers. Beside a BIGINT such a rank is a DECIMAL(20,
//! 0), so that `avg(coalesce(rank, n))` has four digits after the point, and few readers know the
//! type in a file that ranks are written to. Ranks are signed in PostgreSQL, DuckDB and Spark.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    Documentation, Expr, LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF,
    WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

/// The signed ranking function of this name, if there is one.
pub fn signed_rank(name: &str) -> Option<Arc<WindowUDF>> {
    let original = match name {
        "row_number" => row_number_udwf(),
        "rank" => rank_udwf(),
        "dense_rank" => dense_rank_udwf(),
        "ntile" => ntile_udwf(),
        _ => return None,
    };
    Some(Arc::new(WindowUDF::from(SignedRank { original })))
}

/// The functions of this module, to be registered.
pub(crate) fn functions() -> impl Iterator<Item = Arc<WindowUDF>> {
    ["row_number", "rank", "dense_rank", "ntile"].into_iter().filter_map(signed_rank)
}

/// A call of the signed `name` with `args`; see [`signed_rank`].
fn call(original: Arc<WindowUDF>, args: Vec<Expr>) -> Expr {
    let function = Arc::new(WindowUDF::from(SignedRank { original }));
    Expr::from(WindowFunction::new(function, args))
}

/// The number of the row within its partition, from 1 on, as BIGINT.
pub fn row_number() -> Expr {
    call(row_number_udwf(), vec![])
}

/// The number of rows of the partition that sort before this one, plus 1, as BIGINT.
pub fn rank() -> Expr {
    call(rank_udwf(), vec![])
}

/// The number of distinct keys of the partition that sort before this row, plus 1, as BIGINT.
pub fn dense_rank() -> Expr {
    call(dense_rank_udwf(), vec![])
}

/// The bucket of the row, from 1 on, when its partition is cut into `n_buckets` of equal size, as
/// BIGINT.
pub fn ntile(n_buckets: Expr) -> Expr {
    call(ntile_udwf(), vec![n_buckets])
}

/// DataFusion's function with its result cast to BIGINT.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SignedRank {
    original: Arc<WindowUDF>,
}

impl WindowUDFImpl for SignedRank {
    fn name(&self) -> &str {
        self.original.name()
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
        Ok(Box::new(Signed(self.original.inner().partition_evaluator(args)?)))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.original.inner().field(args)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(DataType::Int64)))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.original.inner().sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.original.inner().coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        self.original.inner().reverse_expr()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.inner().documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.original.inner().limit_effect(args)
    }
}

/// DataFusion's evaluator with its results cast to BIGINT.
#[derive(Debug)]
struct Signed(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for Signed {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.0.memoize(state)
    }

    fn get_range(&self, at: usize, n_rows: usize) -> Result<Range<usize>> {
        self.0.get_range(at, n_rows)
    }

    fn is_causal(&self) -> bool {
        self.0.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], n_rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.0.evaluate_all(values, n_rows)?, &DataType::Int64)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.0.evaluate(values, range)?.cast_to(&DataType::Int64)
    }

    fn evaluate_all_with_rank(
        &self,
        n_rows: usize,
        ranks_in_partition: &[Range<usize>],
    ) -> Result<ArrayRef> {
        let ranks = self.0.evaluate_all_with_rank(n_rows, ranks_in_partition)?;
        Ok(cast(&ranks, &DataType::Int64)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.0.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.0.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.0.include_rank()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn signed_ranks_are_still_needed() {
        for call in ["row_number()", "rank()", "dense_rank()", "ntile(2)"] {
            let sql = format!("SELECT {call} OVER (ORDER BY x) FROM (VALUES (1)) t(x)");
            let plan = SessionContext::new().sql(&sql).await.expect("planned");
            assert_eq!(*plan.schema().field(0).data_type(), DataType::UInt64, "{call} is signed");
        }
    }
}
