//! Statements that store a query's rows, or the query itself as a view: columns without an alias
//! are named after the text of their expressions.

use std::sync::Arc;

use bigslice_planner::Headers;
use datafusion::error::Result;
use datafusion::logical_expr::{DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, Statement};

/// A statement as it was written.
pub(crate) struct Written<'a> {
    pub(crate) text: String,
    /// The names of its columns.
    pub(crate) headers: &'a Headers,
}

impl Written<'_> {
    fn renamed(&self, input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
        let names: Vec<_> =
            input.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let given = self.headers.over_stored(&names);
        if given == names {
            return Ok(input);
        }
        let columns = input.schema().columns().into_iter().zip(given);
        let columns: Vec<_> =
            columns.map(|(column, name)| Expr::Column(column).alias(name)).collect();
        let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(columns)?;
        Ok(Arc::new(plan.build()?))
    }

    /// Names the columns in the plan of a statement that stores a query's rows, or the query.
    pub(crate) fn stored(self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(match plan {
            LogicalPlan::Copy(mut copy) => {
                copy.input = self.renamed(copy.input)?;
                LogicalPlan::Copy(copy)
            }
            LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(mut create)) => {
                create.input = self.renamed(create.input)?;
                LogicalPlan::Ddl(DdlStatement::CreateMemoryTable(create))
            }
            LogicalPlan::Ddl(DdlStatement::CreateView(mut view)) => {
                view.input = self.renamed(view.input)?;
                view.definition = Some(self.text);
                LogicalPlan::Ddl(DdlStatement::CreateView(view))
            }
            LogicalPlan::Statement(Statement::Prepare(mut prepared)) => {
                prepared.input = self.renamed(prepared.input)?;
                LogicalPlan::Statement(Statement::Prepare(prepared))
            }
            other => other,
        })
    }
}
