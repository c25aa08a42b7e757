//! Clauses of expressions, including those that DataFusion refuses with messages only its
//! developers would understand.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList,
    FunctionArguments, OrderByExpr, WindowSpec, WindowType,
};

use super::without;
use crate::error::{Error, Result};

pub(super) fn check(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Function(function) => check_function(function),
        Expr::Like { any, .. } | Expr::ILike { any, .. } => without("LIKE ANY", *any),
        Expr::Convert { .. } => {
            Err(Error::unsupported("CONVERT").with_hint("write CAST(x AS type)"))
        }
        Expr::Collate { .. } => Err(Error::unsupported("COLLATE")
            .with_hint("text is compared by its bytes; use lower(x) to ignore case")),
        Expr::Prefixed { prefix, .. } => {
            Err(Error::unsupported(format!("a literal with the prefix {prefix}")))
        }
        Expr::IsNormalized { .. } => Err(Error::unsupported("IS NORMALIZED")),
        Expr::InUnnest { .. } => Err(Error::unsupported("IN UNNEST")
            .with_hint("write array_has(list, value), or value = ANY(list)")),
        Expr::MatchAgainst { .. } => Err(Error::unsupported("MATCH ... AGAINST")),
        Expr::OuterJoin(_) => Err(Error::unsupported("(+)").with_hint("write LEFT JOIN")),
        Expr::Prior(_) => Err(Error::unsupported("PRIOR")),
        Expr::MemberOf(_) => {
            Err(Error::unsupported("MEMBER OF").with_hint("write array_has(list, value)"))
        }
        // DataFusion supports all of these, or refuses what it does not support.
        Expr::Identifier(_)
        | Expr::CompoundIdentifier(_)
        | Expr::CompoundFieldAccess { root: _, access_chain: _ }
        | Expr::JsonAccess { value: _, path: _ }
        | Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(_, _)
        | Expr::IsNotDistinctFrom(_, _)
        | Expr::InList { expr: _, list: _, negated: _ }
        | Expr::InSubquery { expr: _, subquery: _, negated: _ }
        | Expr::Between { expr: _, negated: _, low: _, high: _ }
        | Expr::BinaryOp { left: _, op: _, right: _ }
        | Expr::RLike { negated: _, expr: _, pattern: _, regexp: _ }
        | Expr::SimilarTo { negated: _, expr: _, pattern: _, escape_char: _ }
        | Expr::AnyOp { left: _, compare_op: _, right: _, is_some: _ }
        | Expr::AllOp { left: _, compare_op: _, right: _ }
        | Expr::UnaryOp { op: _, expr: _ }
        | Expr::Cast { kind: _, expr: _, data_type: _, array: _, format: _ }
        | Expr::AtTimeZone { timestamp: _, time_zone: _ }
        | Expr::Extract { field: _, syntax: _, expr: _ }
        | Expr::Ceil { expr: _, field: _ }
        | Expr::Floor { expr: _, field: _ }
        | Expr::Position { expr: _, r#in: _ }
        | Expr::Substring {
            expr: _,
            substring_from: _,
            substring_for: _,
            special: _,
            shorthand: _,
        }
        | Expr::Trim { expr: _, trim_where: _, trim_what: _, trim_characters: _ }
        | Expr::Overlay { expr: _, overlay_what: _, overlay_from: _, overlay_for: _ }
        | Expr::Nested(_)
        | Expr::Value(_)
        | Expr::TypedString(_)
        | Expr::Case { case_token: _, end_token: _, operand: _, conditions: _, else_result: _ }
        | Expr::Exists { subquery: _, negated: _ }
        | Expr::Subquery(_)
        | Expr::GroupingSets(_)
        | Expr::Cube(_)
        | Expr::Rollup(_)
        | Expr::Tuple(_)
        | Expr::Struct { values: _, fields: _ }
        | Expr::Named { expr: _, name: _ }
        | Expr::Dictionary(_)
        | Expr::Map(_)
        | Expr::Array(_)
        | Expr::Interval(_)
        | Expr::Wildcard(_)
        | Expr::QualifiedWildcard(_, _)
        | Expr::Lambda(_) => Ok(()),
    }
}

fn check_function(function: &Function) -> Result<()> {
    let Function {
        name,
        uses_odbc_syntax: _,
        parameters,
        args,
        filter: _,
        null_treatment: _,
        over,
        within_group,
    } = function;
    if !matches!(parameters, FunctionArguments::None) {
        let message = format!("{name} has two argument lists");
        return Err(
            Error::statement(message).with_hint("write all arguments in one pair of parentheses")
        );
    }
    match args {
        FunctionArguments::None => {}
        FunctionArguments::Subquery(_) => {
            return Err(Error::unsupported(format!("a query as the argument of {name}"))
                .with_hint("put the query in its own parentheses: (SELECT ...)"));
        }
        FunctionArguments::List(FunctionArgumentList { duplicate_treatment: _, args, clauses }) => {
            for clause in clauses {
                if let FunctionArgumentClause::OrderBy(order_by) = clause {
                    check_order(order_by)?;
                }
            }
            args.iter().try_for_each(check_arg)?;
        }
    }
    check_order(within_group)?;
    if let Some(WindowType::WindowSpec(WindowSpec {
        // Replaced by its definition before.
        window_name: _,
        partition_by: _,
        order_by,
        window_frame: _,
    })) = over
    {
        check_order(order_by)?;
    }
    Ok(())
}

fn check_order(order_by: &[OrderByExpr]) -> Result<()> {
    for OrderByExpr { expr: _, options: _, with_fill } in order_by {
        without("ORDER BY ... WITH FILL", with_fill.is_some())?;
    }
    Ok(())
}

fn check_arg(arg: &FunctionArg) -> Result<()> {
    let (FunctionArg::Named { arg, .. }
    | FunctionArg::ExprNamed { arg, .. }
    | FunctionArg::Unnamed(arg)) = arg;
    match arg {
        FunctionArgExpr::WildcardWithOptions(_) => {
            Err(Error::unsupported("a function over * with options").with_hint("name the columns"))
        }
        FunctionArgExpr::Expr(_)
        | FunctionArgExpr::QualifiedWildcard(_)
        | FunctionArgExpr::Wildcard => Ok(()),
    }
}
