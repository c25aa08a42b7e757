//! EXTRACT is planned as our `date_part`.
//!
//! DataFusion 55.2 plans it as its own, whatever function of that name the session has.

use datafusion::common::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};

/// The planner of EXTRACT, ahead of DataFusion's.
#[derive(Debug)]
pub(crate) struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(bigslice_functions::date_part(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}
