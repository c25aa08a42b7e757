//! Makes floats compare, sort and group with one zero and one NaN, by wrapping them in `float_key`;
//! and gives lists, structs and maps one order, by wrapping them in `nested_key`.
//!
//! [`bigslice_functions::float_key`] and [`bigslice_functions::nested_key`] describe what
//! DataFusion 55.2 gets wrong without them. Equality with a number that is neither zero nor NaN is
//! left alone, so that statistics and Bloom filters still apply to it. They also apply to
//! conditions on the key of a column, which the engine reads (`float_bounds`).

use std::collections::HashSet;
use std::sync::Arc;

use bigslice_functions::{
    FLOAT_KEY, NESTED_KEY, float_key, has_float_keys, has_nested_key, nested_key,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{ScalarFunction, Sort};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Case, Distinct, Expr, ExprSchemable, JoinConstraint, LogicalPlan,
    Operator, Projection, Subquery,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct FloatKeys;

impl AnalyzerRule for FloatKeys {
    fn name(&self) -> &'static str {
        "float_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &of_node, &|expr, schema| {
            transform_parts(expr, &mut |node| of_expr(node, schema))
        })
    }
}

fn is_key(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function)
        if matches!(function.func.name(), FLOAT_KEY | NESTED_KEY))
}

/// Wraps `expr` in a key if it is nested or a float and not wrapped yet. The key of a nested value
/// can only be compared.
fn key(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr.get_type(schema) {
        Ok(kind) if has_nested_key(&kind) => {
            // Removes a float key inside, which is no longer needed.
            let inner = match std::mem::take(expr) {
                Expr::ScalarFunction(mut inner) if inner.func.name() == FLOAT_KEY => {
                    inner.args.pop().unwrap_or_default()
                }
                other => other,
            };
            *expr = nested_key().call(vec![inner]);
            true
        }
        _ => float(expr, schema),
    }
}

/// Wraps `expr` in a key of its own type if it contains floats and is not wrapped yet.
fn float(expr: &mut Expr, schema: &DFSchema) -> bool {
    if is_key(expr) || !expr.get_type(schema).is_ok_and(|kind| has_float_keys(&kind)) {
        return false;
    }
    *expr = float_key().call(vec![std::mem::take(expr)]);
    true
}

fn floats<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    exprs.into_iter().fold(false, |changed, expr| changed | float(expr, schema))
}

fn keys<'a>(exprs: impl IntoIterator<Item = &'a mut Expr>, schema: &DFSchema) -> bool {
    exprs.into_iter().fold(false, |changed, expr| changed | key(expr, schema))
}

fn sort_keys(order: &mut [Sort], schema: &DFSchema) -> bool {
    keys(order.iter_mut().map(|key| &mut key.expr), schema)
}

/// Functions that compare their arguments, or the elements of lists.
const COMPARING: [&str; 20] = [
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_max",
    "array_min",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_sort",
    "array_union",
    "greatest",
    "least",
];

/// Rewrites one expression; its children are rewritten already.
fn of_expr(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::BinaryExpr(binary) => of_comparison(binary, schema),
        Expr::Between(between) => {
            keys([between.expr.as_mut(), between.low.as_mut(), between.high.as_mut()], schema)
        }
        Expr::InList(list) => key(&mut list.expr, schema) | keys(&mut list.list, schema),
        Expr::Case(case) => match &mut case.expr {
            Some(base) => {
                let whens = case.when_then_expr.iter_mut().map(|(when, _)| when.as_mut());
                key(base, schema) | keys(whens, schema)
            }
            None => false,
        },
        Expr::ScalarFunction(function) => {
            if let Some(choice) = nested_null_if(function, schema) {
                return Ok(Transformed::yes(choice));
            }
            let name = function.func.name();
            (name == "nullif" || COMPARING.contains(&name)) && floats(&mut function.args, schema)
        }
        Expr::InSubquery(within) => {
            let rows = subquery_keys(&mut within.subquery)?;
            key(&mut within.expr, schema) | rows
        }
        Expr::SetComparison(set) => {
            let rows = subquery_keys(&mut set.subquery)?;
            key(&mut set.expr, schema) | rows
        }
        Expr::AggregateFunction(aggregate) => {
            let params = &mut aggregate.params;
            let args = params.distinct && floats(&mut params.args, schema);
            sort_keys(&mut params.order_by, schema) | args
        }
        Expr::WindowFunction(window) => {
            let params = &mut window.params;
            let args = params.distinct && floats(&mut params.args, schema);
            sort_keys(&mut params.order_by, schema)
                | floats(&mut params.partition_by, schema)
                | args
        }
        _ => false,
    };
    Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
}

/// Rewrites `nullif` of nested values: it returns the first value unchanged and compares the keys.
fn nested_null_if(function: &ScalarFunction, schema: &DFSchema) -> Option<Expr> {
    let [value, other] = function.args.as_slice() else { return None };
    let kind = value.get_type(schema).ok()?;
    let null = ScalarValue::try_new_null(&kind).ok()?;
    if function.func.name() != "nullif" || !has_nested_key(&kind) || value.is_volatile() {
        return None;
    }
    let [mut left, mut right] = [value.clone(), other.clone()];
    let keyed = key(&mut left, schema) & key(&mut right, schema);
    let null = Box::new(Expr::Literal(null, None));
    let whens = vec![(Box::new(left.eq(right)), null)];
    keyed.then(|| Expr::Case(Case::new(None, whens, Some(Box::new(value.clone())))))
}

fn of_comparison(binary: &mut BinaryExpr, schema: &DFSchema) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    match binary.op {
        // No NaN equals a number, whatever its sign.
        Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom
            if is_ordinary(&binary.left) || is_ordinary(&binary.right) =>
        {
            false
        }
        Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom | Lt | LtEq | Gt | GtEq => {
            keys([binary.left.as_mut(), binary.right.as_mut()], schema)
        }
        _ => false,
    }
}

/// True for a number other than zero.
fn is_ordinary(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(x)), _) => *x != 0.0 && !x.is_nan(),
        Expr::Literal(ScalarValue::Float32(Some(x)), _) => *x != 0.0 && !x.is_nan(),
        Expr::Literal(ScalarValue::Int64(Some(x)), _) => *x != 0,
        // A literal of another type, cast.
        Expr::Cast(cast) => is_ordinary(&cast.expr),
        _ => false,
    }
}

/// Wraps the floats that a subquery returns, because they are compared with something.
fn subquery_keys(subquery: &mut Subquery) -> Result<bool> {
    let compared = |kind: &DataType| has_float_keys(kind) || has_nested_key(kind);
    let columns = columns_of(subquery.subquery.schema(), compared);
    if columns.is_empty() || is_keyed(&subquery.subquery, &columns) {
        return Ok(false);
    }
    subquery.subquery = Arc::new(keyed(Arc::clone(&subquery.subquery), &columns, key)?);
    Ok(true)
}

/// Wraps what a node itself compares.
fn of_node(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match node {
        LogicalPlan::Sort(mut sort) => {
            let changed = sort_keys(&mut sort.expr, sort.input.schema());
            let node = LogicalPlan::Sort(sort);
            Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
        }
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            for (left, right) in &mut join.on {
                changed |= key(left, join.left.schema()) | key(right, join.right.schema());
            }
            if changed {
                // The columns of `USING` are no longer plain columns.
                join.join_constraint = JoinConstraint::On;
            }
            let node = LogicalPlan::Join(join);
            Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
        }
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let floats = columns_of(input.schema(), has_float_keys);
            if floats.is_empty() || is_keyed(&input, &floats) {
                return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
            }
            let input = Arc::new(keyed(input, &floats, float)?);
            Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::All(input))))
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = Arc::clone(distinct.input.schema());
            let mut changed = keys(&mut distinct.on_expr, &schema);
            if let Some(order) = &mut distinct.sort_expr {
                changed |= sort_keys(order, &schema);
            }
            let node = LogicalPlan::Distinct(Distinct::On(distinct));
            Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
        }
        LogicalPlan::Aggregate(aggregate) => of_aggregate(aggregate),
        other => Ok(Transformed::no(other)),
    }
}

/// Groups by keys: columns are wrapped below, so that they keep their names; expressions are
/// wrapped here.
fn of_aggregate(mut aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = Arc::clone(aggregate.input.schema());
    let mut columns = HashSet::new();
    let mut changed = false;
    for group in &mut aggregate.group_expr {
        match group {
            Expr::Column(_) | Expr::GroupingSet(_) => {
                group.apply(|expr| {
                    if let Expr::Column(column) = expr
                        && has_float_keys(&expr.get_type(schema.as_ref())?)
                    {
                        columns.insert(column.clone());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            Expr::Alias(_) => {}
            computed => {
                let name = computed.schema_name().to_string();
                if float(computed, &schema) {
                    *computed = std::mem::take(computed).alias(name);
                    changed = true;
                }
            }
        }
    }
    if !columns.is_empty() && !is_keyed(&aggregate.input, &columns) {
        aggregate.input = Arc::new(keyed(aggregate.input, &columns, float)?);
        changed = true;
    }
    let node = LogicalPlan::Aggregate(aggregate);
    Ok(if changed { Transformed::yes(node) } else { Transformed::no(node) })
}

fn columns_of(schema: &DFSchema, wanted: impl Fn(&DataType) -> bool) -> HashSet<Column> {
    let columns = schema.iter().filter(|(_, field)| wanted(field.data_type()));
    columns.map(Column::from).collect()
}

/// Replaces `columns` of `input` by keys of the same names.
fn keyed(
    input: Arc<LogicalPlan>,
    columns: &HashSet<Column>,
    key: fn(&mut Expr, &DFSchema) -> bool,
) -> Result<LogicalPlan> {
    let schema = Arc::clone(input.schema());
    let exprs = schema.iter().map(|(qualifier, field)| {
        let column = Column::from((qualifier, field));
        if !columns.contains(&column) {
            return Expr::Column(column);
        }
        let name = column.name.clone();
        let mut expr = Expr::Column(column);
        key(&mut expr, schema.as_ref());
        expr.alias_qualified(qualifier.cloned(), name)
    });
    Ok(LogicalPlan::Projection(Projection::try_new(exprs.collect(), input)?))
}

/// True if [`keyed`] has built `input` for these columns; plans may be analyzed twice.
fn is_keyed(input: &LogicalPlan, columns: &HashSet<Column>) -> bool {
    let LogicalPlan::Projection(projection) = input else { return false };
    columns.iter().all(|column| {
        projection.expr.iter().any(|expr| match expr {
            Expr::Alias(alias) => {
                alias.name == column.name
                    && alias.relation == column.relation
                    && is_key(&alias.expr)
            }
            _ => false,
        })
    })
}
