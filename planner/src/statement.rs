//! Limits on the shape of a parsed statement. The engine calls this between parsing and planning.
//!
//! The walk keeps its own stack on the heap: it must survive what it is there to find. Nested
//! queries and parentheses are bounded by the parser, so what matters is what the parser builds in
//! a loop: chains of operators, set operations, joins and common table expressions.

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    JoinConstraint, JoinOperator, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SetExpr, Statement as SqlStatement, Subscript, TableFactor, TableWithJoins,
    WindowType,
};

use crate::error::Result;
use crate::text::{StatementLimits, at_most};

/// Refuses a statement whose expressions are too deep or whose set operations, joins or common
/// table expressions are too many to plan.
pub fn check_statement(statement: &Statement, limits: &StatementLimits) -> Result<()> {
    let mut walk = Walk { limits, todo: Vec::new(), branches: 0, joins: 0, ctes: 0 };
    walk.start(statement);
    while let Some((node, depth)) = walk.todo.pop() {
        at_most("levels of nested expressions", depth, limits.depth_max)?;
        match node {
            Node::Expr(expr) => walk.expr(expr, depth + 1),
            Node::Query(query) => walk.query(query)?,
            Node::Set(set) => walk.set(set)?,
            Node::Table(table) => walk.table(table),
        }
    }
    Ok(())
}

/// What is left to visit.
enum Node<'a> {
    Expr(&'a Expr),
    Query(&'a Query),
    Set(&'a SetExpr),
    Table(&'a TableFactor),
}

struct Walk<'a, 'l> {
    limits: &'l StatementLimits,
    /// Nodes with the depth of the expression they are part of.
    todo: Vec<(Node<'a>, usize)>,
    branches: usize,
    joins: usize,
    ctes: usize,
}

impl<'a> Walk<'a, '_> {
    fn start(&mut self, statement: &'a Statement) {
        let mut statement = statement;
        // EXPLAIN EXPLAIN ... is a chain, too.
        while let Statement::Explain(explain) = statement {
            statement = &explain.statement;
        }
        match statement {
            Statement::Statement(statement) => self.sql(statement),
            Statement::CopyTo(copy) => {
                if let CopyToSource::Query(query) = &copy.source {
                    self.push_query(query);
                }
            }
            _ => {}
        }
    }

    fn sql(&mut self, statement: &'a SqlStatement) {
        let mut statement = statement;
        while let SqlStatement::Explain { statement: inner, .. } = statement {
            statement = inner;
        }
        match statement {
            SqlStatement::Query(query) => self.push_query(query),
            SqlStatement::Insert(insert) => {
                if let Some(query) = &insert.source {
                    self.push_query(query);
                }
            }
            SqlStatement::CreateTable(create) => {
                if let Some(query) = &create.query {
                    self.push_query(query);
                }
            }
            SqlStatement::CreateView(create) => self.push_query(&create.query),
            SqlStatement::Update(update) => {
                self.tables(&update.table);
                self.exprs(update.assignments.iter().map(|a| &a.value), 0);
                self.exprs(&update.selection, 0);
            }
            SqlStatement::Delete(delete) => self.exprs(&delete.selection, 0),
            SqlStatement::Prepare { statement, .. } => {
                if let SqlStatement::Query(query) = statement.as_ref() {
                    self.push_query(query);
                }
            }
            SqlStatement::Execute { parameters, .. } => self.exprs(parameters, 0),
            _ => {}
        }
    }

    fn push_query(&mut self, query: &'a Query) {
        self.todo.push((Node::Query(query), 0));
    }

    fn exprs(&mut self, exprs: impl IntoIterator<Item = &'a Expr>, depth: usize) {
        self.todo.extend(exprs.into_iter().map(|expr| (Node::Expr(expr), depth)));
    }

    fn boxed(&mut self, exprs: impl IntoIterator<Item = &'a Box<Expr>>, depth: usize) {
        self.exprs(exprs.into_iter().map(AsRef::as_ref), depth);
    }

    fn query(&mut self, query: &'a Query) -> Result<()> {
        if let Some(with) = &query.with {
            self.ctes += with.cte_tables.len();
            at_most("common table expressions", self.ctes, self.limits.ctes_max)?;
            for cte in &with.cte_tables {
                self.push_query(&cte.query);
            }
        }
        self.todo.push((Node::Set(&query.body), 0));
        if let Some(OrderBy { kind: OrderByKind::Expressions(order), .. }) = &query.order_by {
            self.order(order, 0);
        }
        match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
                self.exprs(limit, 0);
                self.exprs(offset.as_ref().map(|offset| &offset.value), 0);
                self.exprs(limit_by, 0);
            }
            Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
                self.exprs([offset, limit], 0);
            }
            None => {}
        }
        Ok(())
    }

    fn order(&mut self, order: &'a [OrderByExpr], depth: usize) {
        self.exprs(order.iter().map(|by| &by.expr), depth);
    }

    fn set(&mut self, set: &'a SetExpr) -> Result<()> {
        match set {
            SetExpr::Select(select) => self.select(select)?,
            SetExpr::Query(query) => self.push_query(query),
            SetExpr::SetOperation { left, right, .. } => {
                self.branches += 1;
                at_most("set operations", self.branches, self.limits.branches_max)?;
                self.todo.push((Node::Set(left), 0));
                self.todo.push((Node::Set(right), 0));
            }
            SetExpr::Values(values) => {
                for row in &values.rows {
                    self.exprs(&row.content, 0);
                }
            }
            SetExpr::Insert(statement)
            | SetExpr::Update(statement)
            | SetExpr::Delete(statement) => {
                self.sql(statement);
            }
            _ => {}
        }
        Ok(())
    }

    fn select(&mut self, select: &'a Select) -> Result<()> {
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expr)
                | SelectItem::ExprWithAlias { expr, .. }
                | SelectItem::ExprWithAliases { expr, .. } => self.exprs([expr], 0),
                _ => {}
            }
        }
        for from in &select.from {
            self.tables(from);
            self.joins += from.joins.len();
        }
        // A comma in FROM is a cross join.
        self.joins += select.from.len().saturating_sub(1);
        at_most("joins", self.joins, self.limits.joins_max)?;
        self.exprs(&select.selection, 0);
        self.exprs(&select.having, 0);
        self.exprs(&select.qualify, 0);
        self.exprs(&select.distribute_by, 0);
        if let GroupByExpr::Expressions(exprs, _) = &select.group_by {
            self.exprs(exprs, 0);
        }
        Ok(())
    }

    fn tables(&mut self, tables: &'a TableWithJoins) {
        self.todo.push((Node::Table(&tables.relation), 0));
        for join in &tables.joins {
            self.todo.push((Node::Table(&join.relation), 0));
            if let Some(JoinConstraint::On(on)) = constraint(&join.join_operator) {
                self.exprs([on], 0);
            }
        }
    }

    fn table(&mut self, table: &'a TableFactor) {
        match table {
            TableFactor::Derived { subquery, .. } => self.push_query(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.joins += table_with_joins.joins.len();
                self.tables(table_with_joins);
            }
            TableFactor::Table { args: Some(args), .. } => self.args(&args.args, 0),
            TableFactor::Function { args, .. } => self.args(args, 0),
            TableFactor::TableFunction { expr, .. } => self.exprs([expr], 0),
            TableFactor::UNNEST { array_exprs, .. } => self.exprs(array_exprs, 0),
            TableFactor::Pivot { table, .. } | TableFactor::Unpivot { table, .. } => {
                self.todo.push((Node::Table(table), 0));
            }
            _ => {}
        }
    }

    /// Pushes what `expr` is made of. A kind that is not listed has no chain in it that the token
    /// check would let through.
    fn expr(&mut self, expr: &'a Expr, depth: usize) {
        match expr {
            Expr::BinaryOp { left, right, .. }
            | Expr::AnyOp { left, right, .. }
            | Expr::AllOp { left, right, .. }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => self.boxed([left, right], depth),
            Expr::Like { expr, pattern, .. }
            | Expr::ILike { expr, pattern, .. }
            | Expr::SimilarTo { expr, pattern, .. }
            | Expr::RLike { expr, pattern, .. } => self.boxed([expr, pattern], depth),
            Expr::IsFalse(expr)
            | Expr::IsNotFalse(expr)
            | Expr::IsTrue(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsNull(expr)
            | Expr::IsNotNull(expr)
            | Expr::IsUnknown(expr)
            | Expr::IsNotUnknown(expr)
            | Expr::Nested(expr)
            | Expr::UnaryOp { expr, .. }
            | Expr::Cast { expr, .. }
            | Expr::Convert { expr, .. }
            | Expr::Extract { expr, .. }
            | Expr::Ceil { expr, .. }
            | Expr::Floor { expr, .. }
            | Expr::Collate { expr, .. }
            | Expr::Named { expr, .. }
            | Expr::IsNormalized { expr, .. }
            | Expr::JsonAccess { value: expr, .. }
            | Expr::Prefixed { value: expr, .. } => self.boxed([expr], depth),
            Expr::Between { expr, low, high, .. } => self.boxed([expr, low, high], depth),
            Expr::InList { expr, list, .. } => {
                self.boxed([expr], depth);
                self.exprs(list, depth);
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.boxed([expr], depth);
                self.push_query(subquery);
            }
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => self.push_query(subquery),
            Expr::InUnnest { expr, array_expr, .. } => self.boxed([expr, array_expr], depth),
            Expr::Position { expr, r#in } => self.boxed([expr, r#in], depth),
            Expr::AtTimeZone { timestamp, time_zone } => self.boxed([timestamp, time_zone], depth),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.boxed(operand, depth);
                self.boxed(else_result, depth);
                for when in conditions {
                    self.exprs([&when.condition, &when.result], depth);
                }
            }
            other => self.wide_expr(other, depth),
        }
    }

    /// The expressions that are lists, calls or access paths.
    fn wide_expr(&mut self, expr: &'a Expr, depth: usize) {
        match expr {
            Expr::Function(function) => self.function(function, depth),
            Expr::Tuple(exprs) => self.exprs(exprs, depth),
            Expr::Array(array) => self.exprs(&array.elem, depth),
            Expr::Struct { values, .. } => self.exprs(values, depth),
            Expr::Dictionary(fields) => self.boxed(fields.iter().map(|f| &f.value), depth),
            Expr::Map(map) => {
                self.boxed(map.entries.iter().flat_map(|e| [&e.key, &e.value]), depth);
            }
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                self.exprs(sets.iter().flatten(), depth);
            }
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.boxed([expr], depth);
                self.boxed(substring_from, depth);
                self.boxed(substring_for, depth);
            }
            Expr::Trim { expr, trim_what, trim_characters, .. } => {
                self.boxed([expr], depth);
                self.boxed(trim_what, depth);
                self.exprs(trim_characters.iter().flatten(), depth);
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.boxed([expr, overlay_what, overlay_from], depth);
                self.boxed(overlay_for, depth);
            }
            Expr::Interval(interval) => self.boxed([&interval.value], depth),
            Expr::CompoundFieldAccess { root, access_chain } => {
                // Planned as one call inside the other.
                let depth = depth + access_chain.len();
                self.boxed([root], depth);
                for access in access_chain {
                    match access {
                        AccessExpr::Dot(expr)
                        | AccessExpr::Subscript(Subscript::Index { index: expr }) => {
                            self.exprs([expr], depth);
                        }
                        AccessExpr::Subscript(Subscript::Slice { .. }) => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn function(&mut self, function: &'a Function, depth: usize) {
        match &function.args {
            FunctionArguments::Subquery(query) => self.push_query(query),
            FunctionArguments::List(list) => self.args(&list.args, depth),
            FunctionArguments::None => {}
        }
        self.boxed(&function.filter, depth);
        self.order(&function.within_group, depth);
        if let Some(WindowType::WindowSpec(window)) = &function.over {
            self.exprs(&window.partition_by, depth);
            self.order(&window.order_by, depth);
        }
    }

    fn args(&mut self, args: &'a [FunctionArg], depth: usize) {
        for arg in args {
            let (FunctionArg::Named { arg, .. }
            | FunctionArg::ExprNamed { arg, .. }
            | FunctionArg::Unnamed(arg)) = arg;
            if let FunctionArgExpr::Expr(expr) = arg {
                self.exprs([expr], depth);
            }
        }
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint)
        | JoinOperator::Semi(constraint)
        | JoinOperator::LeftSemi(constraint)
        | JoinOperator::RightSemi(constraint)
        | JoinOperator::Anti(constraint)
        | JoinOperator::LeftAnti(constraint)
        | JoinOperator::RightAnti(constraint)
        | JoinOperator::StraightJoin(constraint)
        | JoinOperator::AsOf { constraint, .. } => Some(constraint),
        _ => None,
    }
}
