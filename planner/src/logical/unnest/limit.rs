//! LIMIT and OFFSET in a correlated subquery apply per value of the domain: the rows of each value
//! are numbered, and a filter keeps the first ones.

use std::sync::Arc;

use bigslice_functions::row_number;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Limit, LogicalPlan, Projection, SubqueryAlias, Window, cast, lit,
};

use super::Unnester;
use super::domain::Domain;
use super::push_down::Decorrelated;
use super::shape::{filter, is_row_by_row, named};

impl Unnester {
    pub(super) fn push_down_limit(&self, limit: &Limit, domain: &Domain) -> Result<Decorrelated> {
        // The order is that of the nearest sort, below projections and aliases.
        match limit.input.as_ref() {
            LogicalPlan::Projection(projection) if is_row_by_row(projection) => {
                let below = LogicalPlan::Limit(Limit {
                    input: Arc::clone(&projection.input),
                    ..limit.clone()
                });
                let moved = Projection::try_new_with_schema(
                    projection.expr.clone(),
                    below.into(),
                    Arc::clone(&projection.schema),
                )?;
                self.push_down(&LogicalPlan::Projection(moved), domain, Self::no_hints(domain))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let below =
                    LogicalPlan::Limit(Limit { input: Arc::clone(&alias.input), ..limit.clone() });
                let moved = SubqueryAlias::try_new(below.into(), alias.alias.clone())?;
                self.push_down(&LogicalPlan::SubqueryAlias(moved), domain, Self::no_hints(domain))
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                self.numbered(&sort.input, &sort.expr, limit, domain)
            }
            input => self.numbered(input, &[], limit, domain),
        }
    }

    /// The first `fetch` rows of each value, after `skip` rows.
    pub(super) fn first_rows(
        &self,
        input: &LogicalPlan,
        order: &[SortExpr],
        skip: Option<usize>,
        fetch: Option<usize>,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let count = |rows: usize| Box::new(lit(i64::try_from(rows).unwrap_or(i64::MAX)));
        let limit = Limit {
            skip: skip.map(count),
            fetch: fetch.map(count),
            input: Arc::new(input.clone()),
        };
        self.numbered(input, order, &limit, domain)
    }

    fn numbered(
        &self,
        input: &LogicalPlan,
        order: &[SortExpr],
        limit: &Limit,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let decorrelated = self.push_down(input, domain, Self::no_hints(domain))?;
        let parts = decorrelated.keys.iter().map(|key| Expr::Column(key.column.clone())).collect();
        let mut numbers = row_number().partition_by(parts);
        if !order.is_empty() {
            let bound = order
                .iter()
                .map(|by| Ok(by.with_expr(domain.bind(by.expr.clone(), &decorrelated.keys)?)));
            numbers = numbers.order_by(bound.collect::<Result<Vec<_>>>()?);
        }
        let keys = decorrelated.key_columns();
        let window = Window::try_new(vec![numbers.build()?], decorrelated.plan.into())?;
        let plan = LogicalPlan::Window(window);
        let number = plan.schema().columns().pop().unwrap_or_else(|| Column::new_unqualified(""));
        let number = Expr::Column(number);
        let bind = |expr: &Option<Box<Expr>>| -> Result<Option<Expr>> {
            let Some(expr) = expr else { return Ok(None) };
            if matches!(expr.as_ref(), Expr::Literal(ScalarValue::Null, _)) {
                return Ok(None);
            }
            Ok(Some(cast(domain.bind(expr.as_ref().clone(), &decorrelated.keys)?, DataType::Int64)))
        };
        let (skip, fetch) = (bind(&limit.skip)?, bind(&limit.fetch)?);
        let mut kept = Vec::new();
        if let Some(skip) = &skip {
            kept.push(number.clone().gt(skip.clone()));
        }
        if let Some(fetch) = fetch {
            // The difference, because the sum would overflow for the largest LIMIT.
            let place = match skip {
                Some(skip) => number - skip,
                None => number,
            };
            kept.push(place.lt_eq(fetch));
        }
        let plan = filter(kept, plan)?;
        let plan = named(plan, super::shape::all(input.schema()), input.schema(), &keys)?;
        Ok(Decorrelated { plan, keys: decorrelated.keys })
    }
}
