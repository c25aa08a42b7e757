//! SQL over slices.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use bigslice_planner::{StatementLimits, check_statement, check_text, resolve, rewrite};
use datafusion::catalog::view::ViewTable;
use datafusion::common::TableReference;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

use super::verbs::logical;
use super::{Call, planner};
use crate::base::cpu::with_large_stack;
use crate::base::diagnostics;
use crate::error::{Error, Result};
use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::Node;
use crate::row::Row;
use crate::statement::lookup::Lookup;
use crate::statement::planning;

/// The name of the only table of [`Slice::sql`].
const SELF: &str = "self";

/// A slice as a table of a query, see [`Slice::query`].
#[derive(Clone)]
pub struct Table {
    node: Arc<Node>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} at {})", self.node.verb, self.node.place)
    }
}

impl<T: Row> Slice<T> {
    /// The rows of a query over this slice, which is the table `self` of the query.
    ///
    /// Columns become fields as with [`select`](Self::select). The query is optimised together with
    /// the expression verbs before and after it. As in SQL, rows have an order only with ORDER BY.
    /// The number of shards stays, or is one if all rows are sorted, limited or aggregated as a
    /// whole. Joins hold one shard of the rows of one side in memory.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let words = ["to", "be", "or", "not", "to", "be"].map(str::to_owned);
    /// let longest = Slice::const_(2, words).sql::<(String, i64)>(
    ///     "select value, count(*) from self group by 1 order by length(value) desc limit 1",
    /// )?;
    ///
    /// let session = Session::builder().build().await?;
    /// assert_eq!(session.run(longest).await?.collect().await?, [("not".to_owned(), 1)]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the text is not a query, the query is wrong, or its columns do not fit `U`.
    #[track_caller]
    pub fn sql<U: Row>(self, query: &str) -> Result<Slice<U>> {
        let call = Call { verb: "sql", place: Location::caller() };
        of_query(call, query, &[(SELF.to_owned(), self.table())])
    }

    /// The rows of a query over any number of slices, each under its name in the query.
    ///
    /// Columns, order, shards and memory are as with [`sql`](Self::sql). A join has as many shards
    /// as the slice with the most shards.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::prelude::*;
    ///
    /// let sold = Slice::const_(2, [(1i64, 7i64), (2, 5)]);
    /// let names = Slice::const_(1, [(1i64, "pear".to_owned()), (2, "plum".to_owned())]);
    /// let named = Slice::<(String, i64)>::query(
    ///     "select n._1, s._1 from sold s join names n on s._0 = n._0 where s._1 > 5",
    ///     [("sold", sold.table()), ("names", names.table())],
    /// )?;
    ///
    /// let session = Session::builder().build().await?;
    /// assert_eq!(session.run(named).await?.collect().await?, [("pear".to_owned(), 7)]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the text is not a query, the query is wrong, or its columns do not fit `T`.
    #[track_caller]
    pub fn query<N: Into<String>>(
        query: &str,
        tables: impl IntoIterator<Item = (N, Table)>,
    ) -> Result<Self> {
        let call = Call { verb: "query", place: Location::caller() };
        let tables = tables.into_iter().map(|(name, table)| (name.into(), table));
        of_query(call, query, &tables.collect::<Vec<_>>())
    }

    /// This slice as a table for [`query`](Self::query).
    pub fn table(&self) -> Table {
        Table { node: Arc::clone(&self.node) }
    }
}

fn of_query<T: Row>(call: Call, text: &str, tables: &[(String, Table)]) -> Result<Slice<T>> {
    let plan = with_large_stack(|| parsed(call, text, tables))??;
    Slice::planned(call, plan)
}

/// The plan of a query.
fn parsed(call: Call, text: &str, tables: &[(String, Table)]) -> Result<LogicalPlan> {
    let ours = |e: bigslice_planner::Error| Error::from(e).within(&call.to_string());
    let limits = StatementLimits::default();
    check_text(text, &limits).map_err(ours)?;
    let state = planner::state();
    let context = SessionContext::new_with_state(state.clone());
    for (name, table) in tables {
        let plan = logical(&table.node).map_err(|e| call.failed(e))?;
        let view = Arc::new(ViewTable::new(plan, None));
        let before = context.register_table(TableReference::bare(name.as_str()), view);
        if before.map_err(|e| call.failed(e))?.is_some() {
            return Err(call.error(format!("there are two tables \"{name}\"")));
        }
    }
    let failed = |e| {
        let missing = diagnostics::missing_table(&e).map(|name| Error::Query {
            message: format!("{call}: there is no table \"{name}\""),
            hint: bigslice_diagnostics::did_you_mean(
                &name,
                tables.iter().map(|(name, _)| name.as_str()),
            ),
            source: None,
        });
        missing.unwrap_or_else(|| Error::in_statement(e, text).within(&call.to_string()))
    };
    let within = |e: Error| e.within(&call.to_string());
    let tokens = planning::tokens(&state, text).map_err(within)?;
    tokens.check(&limits).map_err(ours)?;
    let statement = planning::parsed(&state, tokens, text).map_err(within)?;
    check_statement(&statement, &limits).map_err(ours)?;
    let is_query = match &statement {
        Statement::Statement(statement) => matches!(**statement, ast::Statement::Query(_)),
        _ => false,
    };
    if !is_query {
        return Err(call.error("only a query has rows"));
    }
    let mut statement = rewrite(statement).map_err(ours)?;
    // Tables are in memory, so this does not block.
    let tables = futures::executor::block_on(Lookup::of(&state, &statement)).map_err(failed)?;
    let labels = resolve(&mut statement, &tables).map_err(ours)?;
    let plan = tables.plan(statement).map_err(failed)?;
    let names: Vec<_> = plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
    if labels.shown(&names) != names {
        // Columns are matched to fields by name.
        return Err(call.error("two columns of the query have the same name"));
    }
    Ok(plan)
}
