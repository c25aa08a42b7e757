//! Gives dates and timestamps of several units a common unit without overflow: in the branches of
//! CASE, the arguments of `coalesce` and similar functions, IN lists and differences.
//!
//! DataFusion 55.2 converts all of them, even dates, to nanoseconds as soon as one of them has
//! nanoseconds: then the year 1600 or 9999 in one of the others is an error. Literals usually have
//! nanoseconds. The rule reads literals that need no more than microseconds as microseconds beside
//! values without nanoseconds, and turns dates into timestamps of that unit.
//!
//! A cast to TIMESTAMP WITH TIME ZONE without a precision, which the syntax makes microseconds,
//! keeps the nanoseconds of a timestamp.

use std::sync::Arc;

use bigslice_functions::{INSTANT_OF_ANY, OutOfRange, instant_of, timestamp_of};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// Functions whose arguments are cast to one type.
const ALIKE: [&str; 6] = ["coalesce", "nvl", "ifnull", "nullif", "greatest", "least"];

/// The analyzer rule; see the [module](self).
#[derive(Debug)]
pub(super) struct TimestampUnits;

impl AnalyzerRule for TimestampUnits {
    fn name(&self) -> &'static str {
        "timestamp_units"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            transform_parts(expr, &mut |node| Ok(alike(node, schema)))
        })
    }
}

/// Rewrites one expression; its children are rewritten already.
fn alike(mut expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let mut peers: Vec<&mut Expr> = match &mut expr {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            results.chain(case.else_expr.as_deref_mut()).collect()
        }
        Expr::ScalarFunction(call) if ALIKE.contains(&call.name()) => {
            call.args.iter_mut().collect()
        }
        Expr::InList(InList { expr, list, .. }) => {
            std::iter::once(expr.as_mut()).chain(list).collect()
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            vec![left.as_mut(), right.as_mut()]
        }
        Expr::ScalarFunction(call) if call.name() == INSTANT_OF_ANY => {
            call.args.iter_mut().for_each(|arg| without_precision(arg, schema));
            return Transformed::yes(instant_of().call(std::mem::take(&mut call.args)));
        }
        _ => return Transformed::no(expr),
    };
    let changed = same_unit(&mut peers, schema);
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// The cast to a type without a precision: a timestamp with nanoseconds keeps them, and a text with
/// more digits than microseconds is an error, as in a cast to TIMESTAMP.
fn without_precision(cast: &mut Expr, schema: &DFSchema) {
    let out_of_range = match cast {
        Expr::TryCast(_) => OutOfRange::Null,
        _ => OutOfRange::Error,
    };
    let (Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })) = cast else {
        return;
    };
    let DataType::Timestamp(_, zone) = field.data_type() else { return };
    match expr.get_type(schema) {
        Ok(DataType::Timestamp(unit @ TimeUnit::Nanosecond, _)) => {
            let of = DataType::Timestamp(unit, zone.clone());
            *field = Arc::new(field.as_ref().clone().with_data_type(of));
        }
        // With a time zone, the session reads texts without an offset in it.
        Ok(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) if zone.is_none() => {
            *cast = timestamp_of(out_of_range).call(vec![std::mem::take(expr.as_mut())]);
        }
        _ => {}
    }
}

/// Gives literals and dates among `peers` the unit of the others, if these have no nanoseconds.
fn same_unit(peers: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let kinds: Vec<_> = peers.iter().map(|peer| peer.get_type(schema).ok()).collect();
    let is_nanos = |kind: &Option<DataType>| {
        matches!(kind, Some(DataType::Timestamp(TimeUnit::Nanosecond, None)))
    };
    let is_coarser = |kind: &Option<DataType>| matches!(kind, Some(DataType::Timestamp(unit, None)) if *unit != TimeUnit::Nanosecond);
    let mut kinds_and_peers = kinds.iter().zip(peers.iter());
    let fits = kinds_and_peers.all(|(kind, peer)| !is_nanos(kind) || in_micros(peer).is_some());
    if !fits || !kinds.iter().any(is_coarser) {
        return false;
    }
    let mut changed = false;
    for (peer, kind) in peers.iter_mut().zip(&kinds) {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        if matches!(kind, Some(DataType::Date32)) {
            **peer = Expr::Cast(Cast::new(Box::new(std::mem::take(*peer)), micros));
            changed = true;
        } else if is_nanos(kind)
            && let Some(literal) = in_micros(peer)
        {
            **peer = literal;
            changed = true;
        }
    }
    changed
}

/// The literal with microseconds, if that loses nothing.
fn in_micros(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(nanos), None), _)
            if nanos % 1_000 == 0 =>
        {
            Some(Expr::Literal(ScalarValue::TimestampMicrosecond(Some(nanos / 1_000), None), None))
        }
        Expr::Cast(Cast { expr, .. }) => match expr.as_ref() {
            Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)), _)
                if n_fraction_digits(text) <= 6 =>
            {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                Some(Expr::Cast(Cast::new(expr.clone(), micros)))
            }
            _ => None,
        },
        _ => None,
    }
}

fn n_fraction_digits(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn one_unit_is_still_needed() {
        let plain = SessionContext::new();
        let sql = "SELECT coalesce(x, TIMESTAMP '2020-01-01') \
                   FROM (SELECT arrow_cast('1600-01-01', 'Timestamp(Microsecond, None)') AS x)";
        let rows = match plain.sql(sql).await {
            Ok(frame) => frame.collect().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(rows.is_err(), "DataFusion keeps microseconds by itself");
    }
}
