//! Builders for pieces of syntax trees.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, GroupByExpr, Ident, LimitClause, ObjectName, OrderBy, OrderByExpr,
    OrderByKind, OrderByOptions, Query, Select, SelectFlavor, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Value, WildcardAdditionalOptions,
};

/// `SELECT * FROM from`
pub(crate) fn all_of(from: TableFactor) -> Query {
    items_of(vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())], from)
}

/// `SELECT columns FROM from`
pub(crate) fn select(columns: Vec<Expr>, from: TableFactor) -> Query {
    items_of(columns.into_iter().map(SelectItem::UnnamedExpr).collect(), from)
}

pub(super) fn items_of(projection: Vec<SelectItem>, from: TableFactor) -> Query {
    let select = Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![TableWithJoins { relation: from, joins: Vec::new() }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    };
    query(SetExpr::Select(Box::new(select)))
}

/// A query that consists of `body` only.
pub(crate) fn query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// The table `name`.
pub(crate) fn table(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A temporary placeholder for a table that was moved out.
pub(crate) fn no_table() -> TableFactor {
    table(ObjectName(Vec::new()))
}

/// Adds a condition to `SELECT * FROM ...`.
pub(crate) fn keep_where(query: &mut Query, condition: Expr) {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = Some(condition);
    }
}

/// Orders a query and limits its rows.
pub(crate) fn order_by_and_limit(query: &mut Query, by: Expr, rows: Expr) {
    let options = OrderByOptions { asc: None, nulls_first: None };
    let by = OrderByExpr { expr: by, options, with_fill: None };
    query.order_by = Some(OrderBy { kind: OrderByKind::Expressions(vec![by]), interpolate: None });
    query.limit_clause =
        Some(LimitClause::LimitOffset { limit: Some(rows), offset: None, limit_by: Vec::new() });
}

/// `name(args)`
pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
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

/// `left op right`
pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// `left * right`
pub(crate) fn times(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::Multiply, right)
}

/// `left < right`
pub(crate) fn less(left: Expr, right: Expr) -> Expr {
    binary(left, BinaryOperator::Lt, right)
}

/// A string literal.
pub(crate) fn text(value: impl Into<String>) -> Expr {
    Expr::Value(Value::SingleQuotedString(value.into()).into())
}

/// The quotes of generated names: they are already resolved, and are not looked up again.
pub(crate) const SETTLED: char = '`';

/// A name that is already resolved.
pub(crate) fn settled(name: impl Into<String>) -> Ident {
    Ident::with_quote(SETTLED, name)
}

/// The name exactly as it is, in quotes.
pub(crate) fn quoted(name: impl Into<String>) -> Ident {
    Ident::with_quote('"', name)
}

/// The literal `digits`.
pub(crate) fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.to_owned(), false).into())
}
