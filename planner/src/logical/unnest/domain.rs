//! The domain of a subquery: the values of the outer columns that it refers to.
//!
//! There are two forms. *Distinct values* work for any subquery: the result is joined to the outer
//! plan afterwards. *Rows* carry the whole outer plan through the subquery, so that nothing has to
//! be joined back. That is correct as long as each operator on the way treats each row separately.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, not_impl_err};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    Distinct, Expr, ExprSchemable, JoinType, LogicalPlan, Projection, SubqueryAlias,
};

use super::scope::{Reference, position};
use super::shape::{filter, project};
use super::{Unnester, scope};

/// The domain; see the [module](self).
#[derive(Debug)]
pub(super) struct Domain {
    columns: Vec<DomainColumn>,
    /// A plan that has the columns, and perhaps more values than the outer plan.
    source: LogicalPlan,
    form: Form,
}

#[derive(Debug)]
struct DomainColumn {
    column: Column,
    field: FieldRef,
    uses: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    DistinctValues,
    Rows,
}

/// The column of a plan that holds a column of the domain.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) column: Column,
    pub(super) data_type: DataType,
    /// True if the column has no nulls, or their rows are not needed.
    pub(super) without_nulls: bool,
}

impl Domain {
    /// The domain of the distinct values of the references in `outer`.
    pub(super) fn of_values(references: &[Reference], outer: &LogicalPlan) -> Result<Self> {
        let columns: Vec<DomainColumn> = references.iter().map(DomainColumn::from).collect();
        let wanted: Vec<Column> = columns.iter().map(|column| column.column.clone()).collect();
        let source = repeatable(outer.clone(), &wanted)?;
        Ok(Self { columns, source, form: Form::DistinctValues })
    }

    /// The domain of all rows of `outer`.
    pub(super) fn of_rows(outer: &LogicalPlan) -> Self {
        let columns = outer.schema().iter().map(|(relation, field)| DomainColumn {
            column: Column::new(relation.cloned(), field.name()),
            field: Arc::clone(field),
            uses: 0,
        });
        Self { columns: columns.collect(), source: outer.clone(), form: Form::Rows }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn position(&self, column: &Column) -> Option<usize> {
        self.columns.iter().position(|own| {
            own.column.relation == column.relation && own.column.name == column.name
        })
    }

    /// True if the plan refers to the domain.
    pub(super) fn is_used_by(&self, plan: &LogicalPlan) -> Result<bool> {
        let references = scope::outer_columns(plan)?;
        Ok(references.iter().any(|reference| self.position(&reference.column).is_some()))
    }

    /// True if one of the expressions refers to the domain.
    pub(super) fn is_used_in<'a>(&self, exprs: impl IntoIterator<Item = &'a Expr>) -> bool {
        exprs.into_iter().any(|expr| {
            expr.exists(|expr| {
                Ok(matches!(expr, Expr::OuterReferenceColumn(_, column)
                    if self.position(column).is_some()))
            })
            .unwrap_or(true)
        })
    }

    /// The index of the domain column that the expression refers to, if any.
    pub(super) fn reference(&self, expr: &Expr) -> Option<usize> {
        match expr {
            Expr::OuterReferenceColumn(_, column) => self.position(column),
            _ => None,
        }
    }

    /// True if an inner expression of `data_type` that equals the column may replace it. `once` is
    /// true if the equality is the only use of the expression.
    pub(super) fn may_be_replaced(&self, index: usize, data_type: &DataType, once: bool) -> bool {
        if self.form == Form::Rows {
            return false;
        }
        let column = &self.columns[index];
        // Equal values may still be distinguishable: 0.0 and -0.0, '1' and 1.
        (column.uses == 1 && once)
            || (column.field.data_type() == data_type && !data_type.is_floating())
            || (column.field.data_type().is_integer() && data_type.is_integer())
    }

    /// The outer columns, in the order of the keys.
    pub(super) fn outer_columns(&self) -> impl Iterator<Item = (&Column, &FieldRef)> {
        self.columns.iter().map(|column| (&column.column, &column.field))
    }

    /// The domain as a plan with new column names.
    pub(super) fn instance(&self, unnester: &Unnester) -> Result<(LogicalPlan, Vec<Key>)> {
        let mut exprs = Vec::with_capacity(self.columns.len());
        let mut keys = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let name = unnester.fresh();
            exprs.push(Expr::Column(column.column.clone()).alias(&name));
            keys.push(Key {
                column: Column::new_unqualified(name),
                data_type: column.field.data_type().clone(),
                without_nulls: !column.field.is_nullable(),
            });
        }
        let values = project(exprs, self.source.clone())?;
        let plan = match self.form {
            Form::DistinctValues => LogicalPlan::Distinct(Distinct::All(values.into())),
            Form::Rows => values,
        };
        Ok((plan, keys))
    }

    /// Replaces references to the domain by the keys.
    pub(super) fn bind(&self, expr: Expr, keys: &[Key]) -> Result<Expr> {
        let bound = expr.transform(|expr| {
            let Some(index) = self.reference(&expr) else { return Ok(Transformed::no(expr)) };
            let key = Expr::Column(keys[index].column.clone());
            let data_type = self.columns[index].field.data_type();
            Ok(Transformed::yes(if keys[index].data_type == *data_type {
                key
            } else {
                // An inner value that does not fit the type equals no outer value.
                datafusion::logical_expr::try_cast(key, data_type.clone())
            }))
        })?;
        Ok(bound.data)
    }
}

impl From<&Reference> for DomainColumn {
    fn from(reference: &Reference) -> Self {
        Self {
            column: reference.column.clone(),
            field: Arc::clone(&reference.field),
            uses: reference.uses,
        }
    }
}

/// The type of an expression over a plan.
pub(super) fn type_of(expr: &Expr, plan: &LogicalPlan) -> Result<DataType> {
    expr.get_type(plan.schema())
}

/// A plan that has all values of the wanted columns in `outer`, and that may run a second time. It
/// runs beside the outer plan, and a missing value would become a row without a match, so it leaves
/// out limits, sorts and volatile filters.
fn repeatable(outer: LogicalPlan, wanted: &[Column]) -> Result<LogicalPlan> {
    let plan = loosened(outer, wanted)?;
    if scope::is_nondeterministic(&plan)? {
        return not_impl_err!(
            "a correlated subquery over nondeterministic rows (random(), uuid(), or LIMIT \
             without ORDER BY): write the outer rows to a table first"
        );
    }
    Ok(plan)
}

fn loosened(plan: LogicalPlan, wanted: &[Column]) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Limit(limit) => loosened(unwrapped(limit.input), wanted),
        LogicalPlan::Sort(sort) => loosened(unwrapped(sort.input), wanted),
        LogicalPlan::Filter(old) => {
            let mut kept = Vec::new();
            let mut below = wanted.to_vec();
            for conjunct in split_conjunction_owned(old.predicate) {
                if !conjunct.is_volatile() && !scope::contains_subquery(&conjunct)? {
                    below.extend(scope::columns(&conjunct));
                    kept.push(conjunct);
                }
            }
            filter(kept, loosened(unwrapped(old.input), &below)?)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let inner = alias.input.schema().columns();
            let below: Vec<Column> = wanted
                .iter()
                .filter_map(|column| position(&alias.schema, column))
                .map(|index| inner[index].clone())
                .collect();
            let input = loosened(unwrapped(alias.input), &below)?;
            let alias = SubqueryAlias::try_new(input.into(), alias.alias)?;
            Ok(LogicalPlan::SubqueryAlias(alias))
        }
        LogicalPlan::Projection(projection) => loosened_projection(projection, wanted),
        LogicalPlan::Join(mut join) => {
            let mut below = wanted.to_vec();
            below.extend(join_columns(&join));
            // More rows of an input must mean more rows of the join. That does not hold for the
            // side of an anti join that excludes rows, nor for the null-supplying side of an outer
            // join.
            match join.join_type {
                JoinType::Inner => {
                    join.left = loosened(unwrapped(join.left), &below)?.into();
                    join.right = loosened(unwrapped(join.right), &below)?.into();
                }
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    join.left = loosened(unwrapped(join.left), &below)?.into();
                }
                _ => {}
            }
            rejoined(join)
        }
        other => Ok(other),
    }
}

fn rejoined(join: datafusion::logical_expr::Join) -> Result<LogicalPlan> {
    let rejoined = datafusion::logical_expr::Join::try_new(
        join.left,
        join.right,
        join.on,
        join.filter,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    Ok(LogicalPlan::Join(rejoined))
}

fn join_columns(join: &datafusion::logical_expr::Join) -> Vec<Column> {
    let on = join.on.iter().flat_map(|(left, right)| [left, right]);
    on.chain(&join.filter).flat_map(scope::columns).collect()
}

/// A projection to the wanted columns only: the others may be volatile, and are not needed.
fn loosened_projection(projection: Projection, wanted: &[Column]) -> Result<LogicalPlan> {
    let mut kept = Vec::new();
    let mut below = Vec::new();
    for (index, (relation, field)) in projection.schema.iter().enumerate() {
        let is_wanted = wanted
            .iter()
            .any(|column| column.relation.as_ref() == relation && column.name == *field.name());
        if is_wanted {
            kept.push(projection.expr[index].clone());
            below.extend(scope::columns(&projection.expr[index]));
        }
    }
    if kept.is_empty() {
        kept.push(datafusion::logical_expr::lit(true));
    }
    project(kept, loosened(unwrapped(projection.input), &below)?)
}

fn unwrapped(plan: Arc<LogicalPlan>) -> LogicalPlan {
    Arc::unwrap_or_clone(plan)
}

/// True if the plan treats each row of the domain separately: then the domain can be the rows of
/// the outer plan.
pub(super) fn is_row_wise(plan: &LogicalPlan, domain: &Domain) -> Result<bool> {
    if !domain.is_used_by(plan)? {
        return Ok(true);
    }
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::Unnest(_) => plan
            .inputs()
            .into_iter()
            .try_fold(true, |all, input| Ok(all && is_row_wise(input, domain)?)),
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            let both = domain.is_used_by(&join.left)? && domain.is_used_by(&join.right)?;
            Ok(!both && is_row_wise(&join.left, domain)? && is_row_wise(&join.right, domain)?)
        }
        LogicalPlan::Join(join)
            if matches!(
                join.join_type,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark
            ) =>
        {
            Ok(!domain.is_used_by(&join.right)? && is_row_wise(&join.left, domain)?)
        }
        _ => Ok(false),
    }
}
