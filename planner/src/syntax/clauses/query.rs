//! Clauses of queries.

use datafusion::sql::sqlparser::ast::{
    Cte, GroupByExpr, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectInto,
    SelectItem, SetExpr, WildcardAdditionalOptions, With,
};

use super::super::walk::has_subquery;
use super::{table, without};
use crate::error::{Error, Result};

pub(super) fn check(query: &Query, is_top: bool) -> Result<()> {
    let Query {
        with,
        body,
        order_by,
        limit_clause,
        fetch: _,
        locks,
        for_clause,
        settings,
        format_clause,
        pipe_operators: _,
    } = query;
    without("FOR UPDATE or FOR SHARE", !locks.is_empty())?;
    without("FOR XML, FOR JSON or FOR BROWSE", for_clause.is_some())?;
    without("SETTINGS", settings.is_some())?;
    without("FORMAT after a query", format_clause.is_some())?;
    if let Some(With { with_token: _, recursive: _, cte_tables }) = with {
        for Cte { alias, query: _, from, materialized: _, closing_paren_token: _ } in cte_tables {
            without("FROM after a query of WITH", from.is_some())?;
            table::check_alias(alias)?;
        }
    }
    if let Some(order_by) = order_by {
        check_order(order_by)?;
    }
    if let Some(LimitClause::LimitOffset { limit: Some(rows), .. }) = limit_clause
        && has_subquery(rows)
    {
        return Err(Error::unsupported("a subquery in LIMIT").with_hint(
            "write the number, or filter by row_number() OVER (ORDER BY ...) <= (the subquery)",
        ));
    }
    match body.as_ref() {
        SetExpr::Select(select) => into(select, is_top),
        SetExpr::SetOperation { left, right, .. } => into_of_branches(left, right),
        _ => Ok(()),
    }
}

fn check_order(order_by: &OrderBy) -> Result<()> {
    let OrderBy { kind, interpolate } = order_by;
    without("ORDER BY ... INTERPOLATE", interpolate.is_some())?;
    let OrderByKind::Expressions(exprs) = kind else { return Ok(()) };
    for OrderByExpr { expr: _, options: _, with_fill } in exprs {
        without("ORDER BY ... WITH FILL", with_fill.is_some())?;
    }
    Ok(())
}

fn into(select: &Select, is_top: bool) -> Result<()> {
    let Some(SelectInto { temporary: _, unlogged, table: _, name: _ }) = &select.into else {
        return Ok(());
    };
    without("SELECT INTO UNLOGGED", *unlogged)?;
    if is_top {
        return Ok(());
    }
    Err(Error::unsupported("INTO in a subquery").with_hint("write CREATE TABLE name AS SELECT ..."))
}

fn into_of_branches(left: &SetExpr, right: &SetExpr) -> Result<()> {
    let mut todo = vec![left, right];
    while let Some(set) = todo.pop() {
        match set {
            SetExpr::Select(select) => into(select, false)?,
            SetExpr::SetOperation { left, right, .. } => todo.extend([left.as_ref(), right]),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn check_select(select: &Select) -> Result<()> {
    let Select {
        select_token: _,
        // Comments.
        optimizer_hints: _,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection,
        exclude,
        into: _,
        from,
        lateral_views: _,
        prewhere,
        selection: _,
        connect_by,
        group_by,
        cluster_by: _,
        distribute_by: _,
        sort_by: _,
        having: _,
        named_window: _,
        qualify: _,
        window_before_qualify: _,
        value_table_mode,
        flavor: _,
    } = select;
    without("a modifier after SELECT", select_modifiers.is_some())?;
    without("TOP in a branch of a set operation", top.is_some())?;
    without("EXCLUDE after the select list", exclude.is_some())?;
    without("PREWHERE", prewhere.is_some())?;
    without("CONNECT BY", !connect_by.is_empty())?;
    without("SELECT AS STRUCT or AS VALUE", value_table_mode.is_some())?;
    let (GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers)) = group_by;
    without("GROUP BY followed by ROLLUP, CUBE or TOTALS", !modifiers.is_empty())?;
    for item in projection {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            check_wildcard(options)?;
        }
    }
    from.iter().try_for_each(table::check_joins)
}

pub(super) fn check_wildcard(options: &WildcardAdditionalOptions) -> Result<()> {
    let WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike: _,
        opt_exclude: _,
        opt_except: _,
        opt_replace: _,
        opt_rename,
        opt_alias,
    } = options;
    without("SELECT * RENAME", opt_rename.is_some())?;
    without("SELECT * AS", opt_alias.is_some())
}
