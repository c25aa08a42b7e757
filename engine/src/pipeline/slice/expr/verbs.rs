//! The verbs that take expressions.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Column, Result as PlanResult};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};

use super::Call;
use super::leaf::Leaf;
use super::planner::{self, Planned};
use crate::error::Result;
use crate::pipeline::slice::tree::node::{Node, TaskCx};
use crate::pipeline::slice::tree::typed;
use crate::pipeline::slice::{Slice, UserCode};
use crate::row::Row;

/// The name in plans of the table that a slice is.
const TABLE: &str = "rows";

impl<T: Row> Slice<T> {
    /// Keeps the rows for which an expression is true, and drops those for which it is false or
    /// null.
    ///
    /// Order, shards and keys stay. The expression is optimised together with the expression verbs
    /// around it, and is pushed into a scan of files: row groups that Parquet statistics rule out
    /// are not read. Rows of a file are filtered before they are checked against `T`.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::{col, lit};
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row, Debug, PartialEq)]
    /// struct Visit {
    ///     url: String,
    ///     ms: i64,
    /// }
    ///
    /// let visits = [("a.org", 900), ("b.org", 20)];
    /// let visits = visits.map(|(url, ms)| Visit { url: url.to_owned(), ms });
    /// let slow = Slice::const_(2, visits).filter_expr(col("ms").gt(lit(500)))?;
    ///
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(slow).await?.collect().await?;
    /// assert_eq!(rows, [Visit { url: "a.org".to_owned(), ms: 900 }]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the expression names an unknown column or is not boolean.
    #[track_caller]
    pub fn filter_expr(self, predicate: Expr) -> Result<Self> {
        self.by_expr("filter_expr", Location::caller(), |rows| rows.filter(predicate))
    }

    /// Maps each row to a new row, with one expression per field. Expressions are matched to the
    /// fields by name (use `alias` to name one), and the rest are dropped. If the fields have no
    /// names, as in a tuple or a single value, they are matched by position.
    ///
    /// Order and shards stay. A field whose type cannot hold all values of its expression is an
    /// error. A null for a field that is not an `Option` ends the run with an error that names it.
    /// Aggregates belong in [`aggregate`](Self::aggregate); window functions move rows.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::{col, lit, upper};
    /// use bigslice::prelude::*;
    ///
    /// let pairs = Slice::const_(2, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    /// let made = pairs.select::<(String, i64)>([upper(col("_0")), col("_1") * lit(10)])?;
    ///
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(made).await?.collect().await?;
    /// assert_eq!(rows, [("A".to_owned(), 10), ("B".to_owned(), 20)]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When an expression is wrong, or the columns do not fit `U`. The error names the column, its
    /// type and the expected type.
    #[track_caller]
    pub fn select<U: Row>(self, exprs: impl IntoIterator<Item = Expr>) -> Result<Slice<U>> {
        let exprs: Vec<Expr> = exprs.into_iter().collect();
        self.by_expr("select", Location::caller(), |rows| rows.select(exprs))
    }

    /// Adds a column, or replaces the one with that name. Columns are matched to the fields of `U`
    /// by name, or by position, with the new one last, if the fields have no names.
    ///
    /// Order, shards and errors are as with [`select`](Self::select).
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::{col, lit};
    /// use bigslice::prelude::*;
    ///
    /// let pairs = Slice::const_(2, [(1i64, 2i64), (3, 4)]);
    /// let sums = pairs.with_column::<(i64, i64, i64)>("sum", col("_0") + col("_1"))?;
    ///
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(sums).await?.collect().await?;
    /// assert_eq!(rows, [(1, 2, 3), (3, 4, 7)]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the expression is wrong, or the columns do not fit `U`.
    #[track_caller]
    pub fn with_column<U: Row>(self, name: &str, expr: Expr) -> Result<Slice<U>> {
        self.by_expr("with_column", Location::caller(), |rows| {
            let there = rows.schema().columns();
            let mut expr = Some(expr.alias(name));
            let mut columns: Vec<Expr> = there
                .into_iter()
                .map(|column| match column.name() == name {
                    true => expr.take().unwrap_or_else(|| Expr::Column(column)),
                    false => Expr::Column(column),
                })
                .collect();
            columns.extend(expr);
            rows.select(columns)
        })
    }

    /// One row per group of rows with equal values of the `group` expressions. The columns of `U`
    /// are these expressions, then the aggregates (see [`select`](Self::select)). If `group` is
    /// empty, there is one row for all rows, even if there are none.
    ///
    /// Values are equal as in SQL: nulls are one group, and so are NaNs. Aggregates are computed
    /// before rows move, and combined afterwards. The number of shards stays, or is one without
    /// `group`; rows have no fixed order. The groups of one shard are held in memory, and spilled
    /// if they do not fit.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::{col, count, lit, sum};
    /// use bigslice::prelude::*;
    ///
    /// #[derive(Row, Debug, PartialEq)]
    /// struct Total {
    ///     fruit: String,
    ///     sold: i64,
    ///     sales: i64,
    /// }
    ///
    /// let sales = [("pear", 3), ("apple", 5), ("pear", 4)];
    /// let sales = Slice::const_(2, sales.map(|(fruit, n)| (fruit.to_owned(), n)));
    /// let totals = sales
    ///     .aggregate::<Total>(
    ///         [col("_0").alias("fruit")],
    ///         [sum(col("_1")).alias("sold"), count(lit(1)).alias("sales")],
    ///     )?
    ///     .sort_by_expr([col("sold").sort(false, false)])?;
    ///
    /// let session = Session::builder().build().await?;
    /// let rows = session.run(totals).await?.collect().await?;
    /// assert_eq!(rows[0], Total { fruit: "pear".to_owned(), sold: 7, sales: 2 });
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When an expression is wrong, or the columns do not fit `U`.
    #[track_caller]
    pub fn aggregate<U: Row>(
        self,
        group: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Expr>,
    ) -> Result<Slice<U>> {
        let group: Vec<Expr> = group.into_iter().collect();
        let aggregates: Vec<Expr> = aggregates.into_iter().collect();
        self.by_expr("aggregate", Location::caller(), |rows| aggregated(rows, group, aggregates))
    }

    /// Sorts all rows by expressions, such as `col("x").sort(ascending, nulls_first)`.
    ///
    /// The result has one shard: all rows move to one task, which spills to disk if its memory does
    /// not suffice. The order of equal rows is not fixed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use bigslice::expr::col;
    /// use bigslice::prelude::*;
    ///
    /// let numbers = Slice::const_(3, [2i64, 3, 1]);
    /// let sorted = numbers.sort_by_expr([col("value").sort(false, false)])?;
    ///
    /// let session = Session::builder().build().await?;
    /// assert_eq!(session.run(sorted).await?.collect().await?, [3, 2, 1]);
    /// # Ok::<(), Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When an expression names an unknown column.
    #[track_caller]
    pub fn sort_by_expr(self, by: impl IntoIterator<Item = SortExpr>) -> Result<Self> {
        let by: Vec<SortExpr> = by.into_iter().collect();
        self.by_expr("sort_by_expr", Location::caller(), |rows| rows.sort(by))
    }

    /// The rows of this slice, changed by `change`.
    fn by_expr<U: Row>(
        self,
        verb: &'static str,
        place: &'static Location<'static>,
        change: impl FnOnce(DataFrame) -> Result<DataFrame, DataFusionError>,
    ) -> Result<Slice<U>> {
        let call = Call { verb, place };
        let rows = logical(&self.node).map_err(|e| call.failed(e))?;
        let changed = change(DataFrame::new(planner::state(), rows));
        let changed = changed.map_err(|e| call.failed(e))?;
        Slice::planned(call, changed.into_unoptimized_plan())
    }

    /// The rows of a plan.
    pub(super) fn planned(call: Call, plan: LogicalPlan) -> Result<Self> {
        let Call { verb, place } = call;
        let schema = typed::schema::<T>();
        let check = move |batch: &RecordBatch, cx: &TaskCx| -> PlanResult<()> {
            let code = UserCode { verb, place, shard: cx.shard };
            typed::columns::<T>(batch, &code).map(drop)
        };
        let planned = planner::planned(plan, call, &schema, Arc::new(check))?;
        let Planned { logical, op, text } = planned;
        Ok(Self::with_relation(verb, place, op, logical, &text))
    }
}

/// The `group` expressions and the aggregates, and no other columns: `DataFrame::aggregate` adds
/// columns that depend on those of `group`.
fn aggregated(
    rows: DataFrame,
    group: Vec<Expr>,
    aggregates: Vec<Expr>,
) -> Result<DataFrame, DataFusionError> {
    let (state, plan) = rows.into_parts();
    let plan = LogicalPlanBuilder::from(plan).aggregate(group, aggregates)?.build()?;
    let columns = plan.schema().columns().into_iter();
    let wanted = columns.filter(|column| column.name() != Aggregate::INTERNAL_GROUPING_ID);
    let wanted: Vec<Expr> = wanted.map(Expr::Column).collect();
    DataFrame::new(state, plan).select(wanted)
}

/// The logical plan of a slice's rows.
pub(super) fn logical(node: &Arc<Node>) -> Result<LogicalPlan, DataFusionError> {
    if let Some(plan) = &node.relation {
        return Ok(plan.as_ref().clone());
    }
    let leaf = provider_as_source(Arc::new(Leaf::new(Arc::clone(node))));
    // Another table may have columns of the same names: drop the table's name from the columns.
    let columns = node
        .schema
        .fields()
        .iter()
        .map(|field| Expr::Column(Column::new(Some(TABLE), field.name())).alias(field.name()));
    LogicalPlanBuilder::scan(TABLE, leaf, None)?.project(columns.collect::<Vec<_>>())?.build()
}
