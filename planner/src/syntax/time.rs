//! Rewrites timestamp syntax: literals in common forms, `AT TIME ZONE`, and casts to TIMESTAMP,
//! which need not have nanoseconds.
//!
//! DataFusion 55.2 reads TIMESTAMP as nanoseconds, which end in the year 2262, requires seconds in
//! a literal, and plans `t AT TIME ZONE z` as a cast. Here TIMESTAMP has microseconds, except for a
//! literal with more digits than that, `CAST(x AS TIMESTAMP)` becomes `timestamp_of(x)`, whose unit
//! depends on the type of `x`, and AT TIME ZONE becomes `at_time_zone(t, z)`. A session without a
//! time zone uses UTC, so that a cast to TIMESTAMP WITH TIME ZONE is an instant there, too.

use std::ops::ControlFlow;

use bigslice_functions::{INSTANT_OF_ANY, normal_interval, normal_timestamp};
use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, Interval, ObjectName, Statement as Sql,
    TimezoneInfo, TypedString, Value, VisitorMut,
};

use super::walk::walk_mut;

/// Rewrites the timestamps of a statement.
pub(super) fn rewrite(statement: &mut Statement) {
    let mut statement = statement;
    while let Statement::Explain(explain) = statement {
        statement = &mut explain.statement;
    }
    // The visitor never stops early.
    let _: ControlFlow<()> = match statement {
        Statement::Statement(statement) => {
            if let Sql::CreateTable(table) = statement.as_mut() {
                table.columns.iter_mut().for_each(|column| in_micros(&mut column.data_type));
            }
            walk_mut(statement.as_mut(), &mut Times)
        }
        Statement::CreateExternalTable(table) => {
            table.columns.iter_mut().for_each(|column| in_micros(&mut column.data_type));
            ControlFlow::Continue(())
        }
        Statement::CopyTo(copy) => match &mut copy.source {
            CopyToSource::Query(query) => walk_mut(query, &mut Times),
            CopyToSource::Relation(_) => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    };
}

struct Times;

impl VisitorMut for Times {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::AtTimeZone { timestamp, time_zone } => {
                let mut time = take(timestamp);
                if is_now(&time) {
                    time = call("instant_of", vec![time]);
                }
                *expr = call("at_time_zone", vec![time, take(time_zone)]);
            }
            Expr::TypedString(TypedString { data_type, value, .. }) => {
                if let Value::SingleQuotedString(text) = &mut value.value {
                    fit(data_type, text);
                }
                if is_instant(data_type) {
                    *expr = call("instant_of", vec![take(expr)]);
                }
            }
            Expr::Cast { kind, expr: inner, data_type, array: false, format: None } => {
                if let Expr::Value(value) = inner.as_mut()
                    && let Value::SingleQuotedString(text) = &mut value.value
                {
                    fit(data_type, text);
                }
                if is_instant(data_type) {
                    let any = is_without_precision(data_type) && !is_text(inner);
                    if any {
                        in_micros(data_type);
                    }
                    *expr = call(if any { INSTANT_OF_ANY } else { "instant_of" }, vec![take(expr)]);
                } else if is_plain(data_type) && !is_text(inner) {
                    let name = match kind {
                        CastKind::TryCast | CastKind::SafeCast => "try_timestamp_of",
                        CastKind::Cast | CastKind::DoubleColon => "timestamp_of",
                    };
                    *expr = call(name, vec![take(inner)]);
                } else if matches!(data_type, DataType::Array(_)) {
                    in_micros(data_type);
                }
            }
            Expr::Interval(interval) => plain(interval),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Writes an interval in the form that DataFusion reads.
fn plain(interval: &mut Interval) {
    let Expr::Value(value) = interval.value.as_mut() else { return };
    let Value::SingleQuotedString(text) = &mut value.value else { return };
    let last = interval.last_field.as_ref().map(|field| field.to_string().to_lowercase());
    if let Some(normal) = normal_interval(text, last.as_deref()) {
        *text = normal;
        interval.leading_field = None;
        interval.last_field = None;
    }
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Identifier(Ident::new("")))
}

/// A string literal.
fn is_text(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// TIMESTAMP WITH TIME ZONE.
fn is_instant(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))
}

fn is_without_precision(of: &DataType) -> bool {
    matches!(of, DataType::Timestamp(None, _))
}

/// An instant in SQL that DataFusion makes a timestamp without time zone if the session has none.
fn is_now(expr: &Expr) -> bool {
    let Expr::Function(function) = expr else { return false };
    let name = function.name.to_string();
    name.eq_ignore_ascii_case("now") || name.eq_ignore_ascii_case("current_timestamp")
}

/// TIMESTAMP without precision and without time zone.
fn is_plain(of: &DataType) -> bool {
    matches!(
        of,
        DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
            | DataType::Datetime(None)
    )
}

/// Gives TIMESTAMP without a precision microseconds.
fn in_micros(of: &mut DataType) {
    match of {
        DataType::Timestamp(precision, _) | DataType::Datetime(precision) => {
            precision.get_or_insert(6);
        }
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(of, _)
            | ArrayElemTypeDef::AngleBracket(of)
            | ArrayElemTypeDef::Parenthesis(of),
        ) => in_micros(of),
        _ => {}
    }
}

/// Writes the text in the form that DataFusion reads, and gives the type microseconds unless the
/// value has nanoseconds.
fn fit(of: &mut DataType, text: &mut String) {
    let (DataType::Timestamp(precision, _) | DataType::Datetime(precision)) = of else { return };
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let nanos = fraction.bytes().take_while(u8::is_ascii_digit).skip(6);
    let has_nanos = nanos.into_iter().any(|digit| digit != b'0');
    let mut is_far = false;
    if let Some((normal, far)) = normal_timestamp(text) {
        *text = normal;
        is_far = far;
    }
    if precision.is_none() && (is_far || !has_nanos) {
        *precision = Some(6);
    }
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
