//! Compares a decimal and a floating-point number as doubles.
//!
//! DataFusion 55.2 casts the floating-point number to DECIMAL(30, 15) instead wherever the two meet
//! in a comparison, a CASE, a UNION or a function such as `coalesce`. A large number, an infinity
//! or a NaN is then an error, and numbers that differ after the fifteenth digit are equal.
//! PostgreSQL, DuckDB and Spark compare doubles. Arithmetic needs no rule: DataFusion computes it
//! with doubles. It is the same for the parts of rows, records and lists.
//!
//! An unsigned BIGINT beside a signed one is a decimal in DataFusion, so this rule treats it as
//! one.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{InList, InSubquery, ScalarFunction, SetComparison};
use datafusion::logical_expr::{
    Between, BinaryExpr, Case, Expr, ExprSchemable, Join, LogicalPlan, Projection, Subquery, Union,
    cast,
};
use datafusion::optimizer::AnalyzerRule;

use super::decimal_literals::take;
use super::expressions::{rewrite, transform_parts};
use super::simplify::compares;

/// The functions that bring their arguments to one type; `nvl2` all but the first.
const OF_ONE_TYPE: [&str; 7] =
    ["coalesce", "greatest", "least", "make_array", "nullif", "nvl", "nvl2"];

/// The rule; see the header of its file. It runs before types are coerced.
#[derive(Debug)]
pub(super) struct MixedNumbers;

impl AnalyzerRule for MixedNumbers {
    fn name(&self) -> &'static str {
        "mixed_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &of_node, &|expr, schema| {
            transform_parts(expr, &mut |part| of_expression(part, schema))
        })
    }
}

/// One expression, whose children are done.
fn of_expression(mut expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => {
            to_doubles(&mut [left, right], schema)
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            to_doubles(&mut [expr, low, high], schema)
        }
        Expr::InList(InList { expr, list, .. }) => {
            let mut parts: Vec<&mut Expr> = list.iter_mut().collect();
            parts.push(expr);
            to_doubles(&mut parts, schema)
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let mut compared: Vec<&mut Expr> = expr.iter_mut().map(Box::as_mut).collect();
            let mut results: Vec<&mut Expr> = else_expr.iter_mut().map(Box::as_mut).collect();
            let is_simple = !compared.is_empty();
            for (when, then) in when_then_expr {
                if is_simple {
                    compared.push(when);
                }
                results.push(then);
            }
            to_doubles(&mut compared, schema) | to_doubles(&mut results, schema)
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if OF_ONE_TYPE.contains(&func.name()) =>
        {
            let n_apart = usize::from(func.name() == "nvl2");
            let mut parts: Vec<&mut Expr> = args.iter_mut().skip(n_apart).collect();
            to_doubles(&mut parts, schema)
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => compared(expr, subquery, schema)?,
        Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            compared(expr, subquery, schema)?
        }
        _ => false,
    };
    Ok(Transformed::new_transformed(expr, changed))
}

/// Casts an expression, or the column of the subquery it is compared with, to double. True if it
/// did.
fn compared(expr: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> Result<bool> {
    let Some(field) = subquery.subquery.schema().fields().first() else { return Ok(false) };
    let (one, other) = (expr.get_type(schema)?, field.data_type());
    if one.is_floating() && is_decimal(other) {
        subquery.subquery = with_doubles(&subquery.subquery, &[0])?;
    } else if other.is_floating() && is_decimal(&one) {
        *expr = cast(std::mem::take(expr), DataType::Float64);
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// Casts the decimals in `parts` to doubles if there is a floating-point number in `parts`. True if
/// it did.
pub(super) fn to_doubles(parts: &mut [&mut Expr], schema: &DFSchema) -> bool {
    if let Some(changed) = of_rows(parts, schema) {
        return changed;
    }
    let types: Vec<_> = parts.iter().map(|part| part.get_type(schema).ok()).collect();
    let known: Vec<_> = types.iter().flatten().collect();
    if !known.iter().any(|kind| kind.is_floating()) || !known.iter().any(|kind| is_decimal(kind)) {
        return nested_to_doubles(parts, &types);
    }
    let mut changed = false;
    // A number with a point is a decimal here: `coalesce(price, 0.0)` is as exact as `price`.
    let is_exact = |part: &&mut Expr| take(&mut (**part).clone());
    let floats =
        || parts.iter().zip(&types).filter(|(_, t)| t.as_ref().is_some_and(DataType::is_floating));
    if known.iter().any(|kind| kind.is_decimal()) && floats().all(|(part, _)| is_exact(part)) {
        for part in parts.iter_mut() {
            changed |= take(part);
        }
        return changed;
    }
    for (part, kind) in parts.iter_mut().zip(types) {
        if kind.as_ref().is_some_and(is_decimal) {
            **part = cast(std::mem::take(*part), DataType::Float64);
            changed = true;
        }
    }
    changed
}

/// The same for rows, `(a, b) = (c, d)`: column by column. `None` if `parts` are not all rows of
/// the same length.
fn of_rows(parts: &mut [&mut Expr], schema: &DFSchema) -> Option<bool> {
    let mut rows = Vec::with_capacity(parts.len());
    for part in parts {
        match &mut **part {
            Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "struct" => {
                rows.push(args.iter_mut());
            }
            _ => return None,
        }
    }
    let n_columns = rows.first().map(ExactSizeIterator::len)?;
    if rows.iter().any(|row| row.len() != n_columns) {
        return None;
    }
    let mut changed = false;
    for _ in 0..n_columns {
        let mut column: Vec<&mut Expr> = rows.iter_mut().filter_map(Iterator::next).collect();
        changed |= to_doubles(&mut column, schema);
    }
    Some(changed)
}

/// The same for records and lists, by their types.
fn nested_to_doubles(parts: &mut [&mut Expr], types: &[Option<DataType>]) -> bool {
    let nested: Option<Vec<&DataType>> =
        types.iter().map(|kind| kind.as_ref().filter(|kind| kind.is_nested())).collect();
    let Some(common) = nested.and_then(|nested| with_double_parts(&nested)) else { return false };
    let mut changed = false;
    for ((part, kind), to) in parts.iter_mut().zip(types).zip(common) {
        if kind.as_ref() != Some(&to) {
            **part = cast(std::mem::take(*part), to);
            changed = true;
        }
    }
    changed
}

/// The types with doubles in place of the decimals that meet floating-point numbers, or `None` if
/// there are none or the types differ in their parts.
fn with_double_parts(types: &[&DataType]) -> Option<Vec<DataType>> {
    let parts_of = |kind: &DataType| match kind {
        DataType::Struct(fields) => Some(fields.to_vec()),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(vec![Arc::clone(item)])
        }
        _ => None,
    };
    let parts: Option<Vec<Vec<FieldRef>>> = types.iter().map(|kind| parts_of(kind)).collect();
    let Some(mut parts) = parts else {
        let is_mixed = types.iter().any(|kind| kind.is_floating())
            && types.iter().any(|kind| is_decimal(kind));
        let doubled = |kind: &&DataType| match is_decimal(kind) {
            true => DataType::Float64,
            false => (*kind).clone(),
        };
        return is_mixed.then(|| types.iter().map(doubled).collect());
    };
    let n_parts = parts.first().map(Vec::len)?;
    if parts.iter().any(|fields| fields.len() != n_parts) {
        return None;
    }
    let mut is_mixed = false;
    for at in 0..n_parts {
        let column: Vec<&DataType> = parts.iter().map(|fields| fields[at].data_type()).collect();
        let Some(doubled) = with_double_parts(&column) else { continue };
        for (fields, kind) in parts.iter_mut().zip(doubled) {
            fields[at] = Arc::new(fields[at].as_ref().clone().with_data_type(kind));
        }
        is_mixed = true;
    }
    let rebuilt = |(kind, mut fields): (&&DataType, Vec<FieldRef>)| match kind {
        DataType::Struct(_) => DataType::Struct(fields.into()),
        DataType::LargeList(_) => DataType::LargeList(fields.remove(0)),
        DataType::FixedSizeList(_, n) => DataType::FixedSizeList(fields.remove(0), *n),
        _ => DataType::List(fields.remove(0)),
    };
    is_mixed.then(|| types.iter().zip(parts).map(rebuilt).collect())
}

fn is_decimal(kind: &DataType) -> bool {
    kind.is_decimal() || *kind == DataType::UInt64
}

/// The expressions that a node brings to one type: the keys of a join and the columns of a UNION.
fn of_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(mut join) => {
            let mut changed = false;
            let Join { left, right, on, .. } = &mut join;
            for (one, other) in on {
                let types = (one.get_type(left.schema())?, other.get_type(right.schema())?);
                let key = match types {
                    (one_type, other_type) if other_type.is_floating() && is_decimal(&one_type) => {
                        one
                    }
                    (one_type, other_type) if one_type.is_floating() && is_decimal(&other_type) => {
                        other
                    }
                    _ => continue,
                };
                *key = cast(std::mem::take(key), DataType::Float64);
                changed = true;
            }
            let join = LogicalPlan::Join(join);
            Ok(if changed { Transformed::yes(join) } else { Transformed::no(join) })
        }
        LogicalPlan::Union(union) => of_union(union),
        other => Ok(Transformed::no(other)),
    }
}

fn of_union(mut union: Union) -> Result<Transformed<LogicalPlan>> {
    let n_columns = union.inputs.iter().map(|input| input.schema().fields().len()).min();
    let has = |at: usize, is: &dyn Fn(&DataType) -> bool| {
        union.inputs.iter().any(|input| is(input.schema().field(at).data_type()))
    };
    let mixed: Vec<usize> = (0..n_columns.unwrap_or(0))
        .filter(|at| {
            union.inputs.iter().any(|input| is_double(input, *at)) && has(*at, &is_decimal)
        })
        .collect();
    if mixed.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    for input in &mut union.inputs {
        let is_cast = |at: &usize| is_decimal(input.schema().field(*at).data_type());
        let cast_at: Vec<usize> = mixed.iter().copied().filter(is_cast).collect();
        if !cast_at.is_empty() {
            *input = with_doubles(input, &cast_at)?;
        }
    }
    let fields = union.schema.iter().enumerate().map(|(at, (relation, field))| {
        let kind = if mixed.contains(&at) { &DataType::Float64 } else { field.data_type() };
        (relation.cloned(), Arc::new(field.as_ref().clone().with_data_type(kind.clone())))
    });
    let metadata = union.schema.metadata().clone();
    union.schema = Arc::new(DFSchema::new_with_metadata(fields.collect(), metadata)?);
    Ok(Transformed::yes(LogicalPlan::Union(union)))
}

/// True if a column is a floating-point number, and not just one that is written with a point.
fn is_double(plan: &LogicalPlan, at: usize) -> bool {
    let is_written = match plan {
        LogicalPlan::Projection(projection) => {
            matches!(projection.expr[at].clone().unalias(), Expr::Literal(..))
        }
        _ => false,
    };
    plan.schema().field(at).data_type().is_floating() && !is_written
}

/// `plan` with the columns at the positions `cast_at` cast to doubles.
fn with_doubles(plan: &Arc<LogicalPlan>, cast_at: &[usize]) -> Result<Arc<LogicalPlan>> {
    let to: Vec<_> = cast_at.iter().map(|at| (*at, DataType::Float64)).collect();
    with_types(plan, &to)
}

/// `plan` with the columns at these positions cast to these types.
fn with_types(plan: &Arc<LogicalPlan>, to: &[(usize, DataType)]) -> Result<Arc<LogicalPlan>> {
    let fields = plan.schema().fields().iter();
    let columns = plan.schema().columns().into_iter().zip(fields).enumerate();
    let columns = columns.map(|(at, (column, field))| {
        let (relation, name) = (column.relation.clone(), column.name.clone());
        let column = Expr::Column(column);
        match to.iter().find(|(position, _)| *position == at) {
            Some((_, kind)) if kind != field.data_type() => {
                cast(column, kind.clone()).alias_qualified(relation, name)
            }
            _ => column,
        }
    });
    let projection = Projection::try_new(columns.collect(), Arc::clone(plan))?;
    Ok(Arc::new(LogicalPlan::Projection(projection)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn doubles_beside_decimals_are_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT x = y FROM (SELECT 0.1 + 1e-16 AS x, cast('0.1' AS DECIMAL(3, 1)) AS y)";
        let rows = plain.sql(sql).await.expect("planned").collect().await.expect("rows");
        assert!(rows[0].column(0).as_boolean().value(0), "DataFusion compares doubles by itself");
    }
}
