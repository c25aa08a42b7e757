//! Protects expressions that DataFusion's `simplify_expressions` would change the meaning of.
//!
//! DataFusion 55.2 takes nulls for false or true, or changes values, when it simplifies
//!
//! - `x IN (1) AND x IN (2)`, with NOT and OR likewise: see [`super::in_lists`];
//! - `x ~ '.*'`, which is null for a null, into `x IS NOT NULL`; and `x ~ 'a\\b'`, with a literal
//!   backslash, into a LIKE, where the backslash escapes;
//! - `CAST(x AS t) = 5` into `x = 5` where several `x` become 5: a decimal cast to an integer, a
//!   timestamp moved to another time zone; `TRY_CAST(x AS t) = 5` likewise, where `x` may become
//!   null; and `x < 5.5` into `x < 5` where a timestamp of seconds meets one of milliseconds;
//! - `a # b # a` into `b` although `a` may be null, and `-a & a` into 0, `-(a & b)` into `-a | -b`
//!   as if `-` were `~`.
//!
//! [`SafeSimplify`] wraps one part of each in `same_value(..)`, or writes the correct form.

use std::sync::Arc;

use bigslice_functions::{OutOfRange, cast_time, same_value, unknown};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Cast, InList, Like, ScalarFunction};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::expressions::{map_named, map_parts, transform_parts};
use super::same_value::{is_shielded, shielded};
use super::typed_time::as_time;
use super::{date_comparison, in_lists};

/// The rule that replaces DataFusion's, under the same name.
#[derive(Debug, Default)]
pub(crate) struct SafeSimplify {
    upstream: SimplifyExpressions,
}

impl OptimizerRule for SafeSimplify {
    fn name(&self) -> &'static str {
        "simplify_expressions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let safe = made_safe(plan, config)?;
        let simplified = self.upstream.rewrite(safe.data, config)?;
        Ok(Transformed::new_transformed(
            simplified.data,
            simplified.transformed || safe.transformed,
        ))
    }
}

/// Rewrites the expressions of the plan's top node that the rule would get wrong.
fn made_safe(plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    let schema = match &plan {
        LogicalPlan::TableScan(scan) => DFSchema::try_from_qualified_schema(
            scan.table_name.clone(),
            scan.source.schema().as_ref(),
        )?,
        _ => merge_schema(&plan.inputs()),
    };
    // Where only TRUE passes, null and FALSE are the same.
    let filters = matches!(plan, LogicalPlan::Filter(_));
    map_named(plan, &mut |expr| safe_expr(expr, &schema, filters, config))
}

fn safe_expr(
    expr: Expr,
    schema: &DFSchema,
    filters: bool,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<Expr>> {
    let parts = transform_parts(expr, &mut |part| safe_part(part, schema, config))?;
    if !in_lists::may_matter(&parts.data) {
        return Ok(parts);
    }
    let lists = in_lists::keep_apart(parts.data, filters)?;
    Ok(Transformed::new_transformed(lists.data, lists.transformed || parts.transformed))
}

fn safe_part(
    expr: Expr,
    schema: &DFSchema,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<Expr>> {
    let attempts = protect_try_casts(expr)?;
    let kept = attempts.transformed;
    let safe = match attempts.data {
        Expr::BinaryExpr(binary) if is_regex(binary.op) => safe_regex(binary),
        Expr::BinaryExpr(binary) if is_bitwise(binary.op) => safe_bits(binary),
        Expr::BinaryExpr(binary) if compares(binary.op) => {
            let (binary, known) = with_known_time(binary, schema, config)?;
            let safe = safe_comparison(binary, schema);
            Transformed::new_transformed(safe.data, safe.transformed || known)
        }
        Expr::Between(between) => safe_between(between, schema),
        Expr::InList(list) => safe_list(list, schema),
        Expr::Negative(inner)
            if matches!(
                inner.as_ref(),
                Expr::BinaryExpr(BinaryExpr { op: Operator::BitwiseAnd | Operator::BitwiseOr, .. })
            ) =>
        {
            Transformed::yes(Expr::Negative(Box::new(shielded(*inner))))
        }
        other => Transformed::no(other),
    };
    Ok(Transformed::new_transformed(safe.data, safe.transformed || kept))
}

/// Protects each `TRY_CAST` in the expression. The rule removes them not only from comparisons:
/// `BETWEEN` and casts between the two become comparisons while they are simplified.
fn protect_try_casts(expr: Expr) -> Result<Transformed<Expr>> {
    if is_shielded(&expr) {
        return Ok(Transformed::no(expr));
    }
    map_parts(expr, &mut |child| {
        let attempt = matches!(&child, Expr::TryCast(attempt) if !is_constant(&attempt.expr));
        Ok(if attempt { Transformed::yes(shielded(child)) } else { Transformed::no(child) })
    })
}

/// The comparison of a cast timestamp with a known constant, and whether it changed. Whether the
/// cast has to stay depends on the constant's value, and the rule computes the value and removes
/// the cast in one step.
fn with_known_time(
    mut binary: BinaryExpr,
    schema: &DFSchema,
    config: &dyn OptimizerConfig,
) -> Result<(BinaryExpr, bool)> {
    let is_cast = |expr: &Expr| match expr {
        Expr::Cast(Cast { field, .. }) => is_timestamp(field.data_type()),
        // For a date: see `date_comparison`.
        Expr::ScalarFunction(call) => call.func.name() == cast_time(OutOfRange::Clamp).name(),
        _ => false,
    };
    let constant = match (is_cast(&binary.left), is_cast(&binary.right)) {
        (true, false) => &mut binary.right,
        (false, true) => &mut binary.left,
        _ => return Ok((binary, false)),
    };
    let known = !matches!(constant.as_ref(), Expr::Literal(..)) && is_constant(constant);
    if known {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(config.options())
            .with_query_execution_start_time(config.query_execution_start_time())
            .build();
        **constant = ExprSimplifier::new(context).simplify(std::mem::take(constant.as_mut()))?;
    }
    Ok((binary, known))
}

/// True if the expression is constant and may be computed during planning.
fn is_constant(expr: &Expr) -> bool {
    let varies = |part: &Expr| {
        matches!(
            part,
            Expr::Column(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarSubquery(_)
                | Expr::Placeholder(_)
                | Expr::LambdaVariable(_)
        )
    };
    !expr.is_volatile() && !expr.exists(|part| Ok(varies(part))).unwrap_or(true)
}

/// True if the operator compares two values.
pub(super) fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn is_regex(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexIMatch | RegexMatch | RegexNotIMatch | RegexNotMatch)
}

fn is_bitwise(op: Operator) -> bool {
    matches!(op, Operator::BitwiseAnd | Operator::BitwiseOr | Operator::BitwiseXor)
}

fn safe_regex(binary: BinaryExpr) -> Transformed<Expr> {
    let Expr::Literal(pattern, metadata) = binary.right.as_ref() else {
        return safe_computed_regex(binary);
    };
    let Some(text) = pattern.try_as_str().flatten() else {
        return Transformed::no(Expr::BinaryExpr(binary));
    };
    let as_pattern = |text: String| match pattern {
        ScalarValue::LargeUtf8(_) => ScalarValue::LargeUtf8(Some(text)),
        ScalarValue::Utf8View(_) => ScalarValue::Utf8View(Some(text)),
        _ => ScalarValue::Utf8(Some(text)),
    };
    if text == ".*" {
        let negated = matches!(binary.op, Operator::RegexNotMatch | Operator::RegexNotIMatch);
        let all = Expr::Literal(as_pattern("%".to_owned()), metadata.clone());
        let like = Like::new(negated, binary.left, Box::new(all), None, false);
        return Transformed::yes(Expr::Like(like));
    }
    let backslash = [r"\\", r"\x", r"\u", r"\U"].iter().any(|escape| text.contains(escape));
    if backslash && !(text.starts_with('(') && text.ends_with(')')) {
        // A pattern with a capture group does not become a LIKE.
        let right = Expr::Literal(as_pattern(format!("({text})")), metadata.clone());
        return Transformed::yes(Expr::BinaryExpr(BinaryExpr { right: Box::new(right), ..binary }));
    }
    Transformed::no(Expr::BinaryExpr(binary))
}

/// Protects a pattern that is not a literal yet. A pattern without columns becomes one during
/// simplification, and would then be simplified wrongly; `unknown()` prevents that.
fn safe_computed_regex(mut binary: BinaryExpr) -> Transformed<Expr> {
    let computed = !is_shielded(&binary.right) && !binary.right.any_column_refs();
    if computed {
        let unknown = Expr::ScalarFunction(ScalarFunction::new_udf(unknown(), Vec::new()));
        let args = vec![*binary.right, unknown];
        binary.right = Box::new(Expr::ScalarFunction(ScalarFunction::new_udf(same_value(), args)));
    }
    Transformed::new_transformed(Expr::BinaryExpr(binary), computed)
}

fn safe_bits(mut binary: BinaryExpr) -> Transformed<Expr> {
    let mut changed = false;
    for side in [&mut binary.left, &mut binary.right] {
        if matches!(side.as_ref(), Expr::Negative(_)) {
            **side = shielded(std::mem::take(side.as_mut()));
            changed = true;
        }
    }
    let literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
    if binary.op == Operator::BitwiseXor
        && !is_shielded(&binary.left)
        && !literal(&binary.left)
        && !literal(&binary.right)
    {
        binary.left = Box::new(shielded(*binary.left));
        // Twice, because the two sides must not look alike either.
        binary.right = Box::new(shielded(shielded(*binary.right)));
        changed = true;
    }
    Transformed::new_transformed(Expr::BinaryExpr(binary), changed)
}

fn safe_comparison(mut binary: BinaryExpr, schema: &DFSchema) -> Transformed<Expr> {
    if let Some(as_dates) = date_comparison::compared(&binary, schema) {
        return Transformed::yes(as_dates);
    }
    let changed = match (binary.left.as_ref(), binary.right.as_ref()) {
        (cast, constant) if is_constant(constant) && must_stay(cast, &[constant], schema) => {
            binary.left = Box::new(kept(*binary.left, schema));
            true
        }
        (constant, cast) if is_constant(constant) && must_stay(cast, &[constant], schema) => {
            binary.right = Box::new(kept(*binary.right, schema));
            true
        }
        _ => false,
    };
    Transformed::new_transformed(Expr::BinaryExpr(binary), changed)
}

/// Splits BETWEEN in two: the rule would do that and remove the casts from the comparisons in one
/// step.
fn safe_between(mut between: Between, schema: &DFSchema) -> Transformed<Expr> {
    let changed = must_stay(&between.expr, &[&between.low, &between.high], schema);
    if changed {
        between.expr = Box::new(kept(*between.expr, schema));
    }
    Transformed::new_transformed(Expr::Between(between), changed)
}

fn safe_list(mut list: InList, schema: &DFSchema) -> Transformed<Expr> {
    if !matches!(list.expr.as_ref(), Expr::Cast(_)) {
        return Transformed::no(Expr::InList(list));
    }
    let constants: Vec<&Expr> = list.list.iter().collect();
    let changed = must_stay(&list.expr, &constants, schema);
    if changed {
        list.expr = Box::new(kept(*list.expr, schema));
    }
    Transformed::new_transformed(Expr::InList(list), changed)
}

/// The cast in a form that the rule keeps.
fn kept(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Cast(Cast { expr, field })
            if is_timestamp(field.data_type())
                && expr.get_type(schema).is_ok_and(|from| is_timestamp(&from)) =>
        {
            // The year 9999 of a coarser unit is compared with nanoseconds, too.
            as_time(*expr, field.data_type(), OutOfRange::Clamp)
        }
        other => shielded(other),
    }
}

fn is_timestamp(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(..))
}

/// True if `expr` is a cast that must stay in a comparison with the constants.
fn must_stay(expr: &Expr, constants: &[&Expr], schema: &DFSchema) -> bool {
    let Expr::Cast(Cast { expr: inner, field }) = expr else { return false };
    let to = field.data_type();
    if must_stay(inner, constants, schema) {
        return true;
    }
    let Ok(from) = inner.get_type(schema) else { return false };
    match (&from, to) {
        (
            DataType::Decimal32(_, from)
            | DataType::Decimal64(_, from)
            | DataType::Decimal128(_, from),
            DataType::Decimal32(_, to) | DataType::Decimal64(_, to) | DataType::Decimal128(_, to),
        ) => to < from,
        (
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale),
            to,
        ) => to.is_integer() && *scale > 0,
        (DataType::Timestamp(from, from_zone), DataType::Timestamp(_, to_zone)) => {
            let zone = from_zone.as_deref().or(to_zone.as_deref()).unwrap_or("UTC");
            let moves = from_zone.is_some() != to_zone.is_some();
            (moves && !matches!(zone, "UTC" | "Etc/UTC" | "Z" | "+00:00" | "+00"))
                || constants.iter().any(|constant| !is_whole(constant, *from))
        }
        _ => false,
    }
}

/// True if the constant is known and, if it is a timestamp, a multiple of `unit`.
fn is_whole(constant: &Expr, unit: TimeUnit) -> bool {
    let Some(literal) = constant.as_literal() else { return false };
    let (value, of) = match literal {
        ScalarValue::TimestampMillisecond(Some(value), _) => (*value, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(Some(value), _) => (*value, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(Some(value), _) => (*value, TimeUnit::Nanosecond),
        _ => return true,
    };
    let per_unit = per_second(of) / per_second(unit);
    per_unit <= 1 || value % per_unit == 0
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
