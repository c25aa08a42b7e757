//! One zero and one NaN wherever floats are ordered, told apart or grouped: `float_key` round each of them. And one
//! order of lists, structs and maps wherever they are compared or ordered: `nested_key` round each of those.
//!
//! [`bigslice_functions::float_key`] and [`bigslice_functions::nested_key`] say what DataFusion 55.2 gets wrong without. Comparisons with a number
//! that is neither zero nor NaN for equality are left alone, so that they are found in statistics
//! and Bloom filters; conditions on a key of a column are, too, as `float_bounds` of the engine reads them.

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

use super::expressions::rewrite;

/// The rule; see the header of its file.
#[derive(Debug)]
pub(super) struct FloatKeys;

impl AnalyzerRule for FloatKeys {
    fn name(&self) -> &'static str {
        "float_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &of_node, &|expr, schema| expr.transform_up(|node| of_expr(node, schema)))
    }
}

fn is_key(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(function)
        if matches!(function.func.name(), FLOAT_KEY | NESTED_KEY))
}

/// `expr` as a key, if it is nested or a float and is none yet. The key of a nested value is good for comparing alone.
fn key(expr: &mut Expr, schema: &DFSchema) -> bool {
    match expr.get_type(schema) {
        Ok(kind) if has_nested_key(&kind) => {
            // A float key in it is not wanted any more.
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

/// `expr` as a key that is a value of its type, if it holds floats and is none yet.
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

/// Functions that compare their arguments, or the items of lists.
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

/// One expression, whose children are done.
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

/// `nullif` of nested values, which gives the first as it is and compares the keys.
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
        // Equal to a number: no NaN is, whatever its sign.
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

/// Whether it is a number other than zero.
fn is_ordinary(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Float64(Some(x)), _) => *x != 0.0 && !x.is_nan(),
        Expr::Literal(ScalarValue::Float32(Some(x)), _) => *x != 0.0 && !x.is_nan(),
        Expr::Literal(ScalarValue::Int64(Some(x)), _) => *x != 0,
        // A literal of another type that is cast.
        Expr::Cast(cast) => is_ordinary(&cast.expr),
        _ => false,
    }
}

/// Keys in the place of the floats that a subquery gives, which are compared with something.
fn subquery_keys(subquery: &mut Subquery) -> Result<bool> {
    let compared = |kind: &DataType| has_float_keys(kind) || has_nested_key(kind);
    let columns = columns_of(subquery.subquery.schema(), compared);
    if columns.is_empty() || is_keyed(&subquery.subquery, &columns) {
        return Ok(false);
    }
    subquery.subquery = Arc::new(keyed(Arc::clone(&subquery.subquery), &columns, key)?);
    Ok(true)
}

/// What a node compares by itself.
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
                // What `USING` would stand for has to be a column.
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

/// Groups by keys: columns become keys below, so that they keep their names; what is computed becomes one here.
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

/// `input` with keys in the place of `columns`, by the same names.
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

/// Whether [`keyed`] made it of these columns, when a plan is analysed once more.
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
