//! Gives casts a name in queries that tell columns or aggregates apart by a cast alone:
//! `sum(x::INT), sum(x::DOUBLE)`.
//!
//! [`NAMED_CAST`] describes the fault of DataFusion; the rule `named_casts` of
//! [`logical`](crate::logical) removes the calls from the plan.

use std::ops::ControlFlow;

use bigslice_functions::NAMED_CAST;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderByExpr, Query, Select, SelectItem, Visitor, VisitorMut,
};

use super::super::build;
use super::super::walk::{any_expr, walk, walk_mut};

/// Names the casts of a SELECT and of its order.
pub(super) fn name(select: &mut Select, order: &mut [OrderByExpr]) {
    let has_groups = select.having.is_some()
        || !matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    if !has_groups && !any_expr(&select.projection, |expr| matches!(expr, Expr::Function(_))) {
        return;
    }
    let aliases = select.projection.iter().filter_map(alias_of).cloned().collect::<Vec<_>>();
    let mut exprs = exprs_of(select, order);
    let mut values = Values::default();
    for expr in &exprs {
        let _: ControlFlow<()> = walk(&**expr, &mut values);
    }
    let ambiguous = values.ambiguous(&aliases);
    if ambiguous.is_empty() {
        return;
    }
    let mut naming = Naming { ambiguous, place: Place::default() };
    for expr in &mut exprs {
        let _: ControlFlow<()> = walk_mut(&mut **expr, &mut naming);
    }
}

fn alias_of(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        _ => None,
    }
}

/// The expressions that are computed over the rows or the groups of a SELECT.
fn exprs_of<'a>(select: &'a mut Select, order: &'a mut [OrderByExpr]) -> Vec<&'a mut Expr> {
    let mut exprs: Vec<&mut Expr> = Vec::new();
    exprs.extend(select.projection.iter_mut().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }));
    if let GroupByExpr::Expressions(keys, _) = &mut select.group_by {
        exprs.extend(keys);
    }
    exprs.extend(&mut select.having);
    exprs.extend(&mut select.qualify);
    if let Some(Distinct::On(keys)) = &mut select.distinct {
        exprs.extend(keys);
    }
    exprs.extend(order.iter_mut().map(|by| &mut by.expr));
    exprs
}

/// Where a walk is among the expressions of one SELECT.
#[derive(Default)]
struct Place {
    /// The number of subqueries around it.
    queries: usize,
    /// True directly below a cast, or below the name of one.
    in_cast: bool,
}

impl Place {
    /// Enters an expression. True if it is not directly below a cast.
    fn enter(&mut self, expr: &Expr) -> bool {
        let is_below = self.in_cast;
        self.in_cast = match expr {
            Expr::Cast { .. } => true,
            Expr::Function(function) => function.name.to_string() == NAMED_CAST,
            Expr::Nested(_) => is_below,
            _ => false,
        };
        self.queries == 0 && !is_below
    }
}

/// The values that a SELECT casts, each with the types, and those that it does not cast.
#[derive(Default)]
struct Values {
    cast: Vec<(Expr, String)>,
    uncast: Vec<Expr>,
    place: Place,
}

impl Values {
    /// The values that are cast to several types, or that also occur without a cast.
    fn ambiguous(self, aliases: &[Ident]) -> Vec<Expr> {
        let Self { cast, uncast, .. } = self;
        let is_ambiguous = |(value, types): &(Expr, String)| {
            cast.iter().any(|(other, others)| others != types && is_same(other, value))
                || uncast.iter().any(|other| is_same(other, value))
                || column_of(value).is_some_and(|name| aliases.iter().any(|a| is_alike(a, name)))
        };
        cast.iter().filter(|cast| is_ambiguous(cast)).map(|(value, _)| value.clone()).collect()
    }
}

impl Visitor for Values {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.place.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.place.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.place.enter(expr) {
            match uncast(expr) {
                (value, types) if !types.is_empty() => self.cast.push((value.clone(), types)),
                (value, _) => self.uncast.push(value.clone()),
            }
        }
        ControlFlow::Continue(())
    }
}

/// Wraps casts of ambiguous values.
struct Naming {
    ambiguous: Vec<Expr>,
    place: Place,
}

impl VisitorMut for Naming {
    type Break = ();

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.place.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<()> {
        self.place.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.place.enter(expr) && matches!(expr, Expr::Cast { .. }) {
            let (value, _) = uncast(expr);
            if self.ambiguous.iter().any(|ambiguous| is_same(ambiguous, value)) {
                let cast = std::mem::replace(expr, build::text(""));
                *expr = build::call(NAMED_CAST, vec![cast]);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The value below casts, and the types of the casts.
fn uncast(expr: &Expr) -> (&Expr, String) {
    let (mut expr, mut types) = (expr, String::new());
    loop {
        expr = match expr {
            Expr::Cast { expr, kind, data_type, .. } => {
                types.push_str(&format!("{kind:?} {data_type} "));
                expr
            }
            Expr::Nested(expr) => expr,
            _ => return (expr, types),
        };
    }
}

/// True if DataFusion may give both values the same name.
fn is_same(left: &Expr, right: &Expr) -> bool {
    match (column_of(left), column_of(right)) {
        (Some(left), Some(right)) => is_alike(left, right),
        _ => left == right,
    }
}

fn is_alike(left: &Ident, right: &Ident) -> bool {
    left.value.eq_ignore_ascii_case(&right.value)
}

fn column_of(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    }
}
