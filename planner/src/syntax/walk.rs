//! Walks the nodes of a syntax tree, as sqlparser's `Visit` and `VisitMut` do.
//!
//! sqlparser's walk is generic over the visitor: for each type of visitor the compiler generates
//! code for all of the 500 types of nodes again. With 17 types of visitors that was half of the
//! code of this crate, and minutes of its build. Here all visitors share one copy of the walk.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

/// Visits every node below `node`, and `node` itself.
pub(crate) fn walk<V: Visitor>(node: &impl Visit, visitor: &mut V) -> ControlFlow<V::Break> {
    let mut hooks = Erased { visitor, ended: None };
    let _: ControlFlow<()> = node.visit(&mut Shared(&mut hooks));
    hooks.ended.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Visits every node below `node`, and `node` itself; the visitor may change them.
pub(crate) fn walk_mut<V: VisitorMut>(
    node: &mut impl VisitMut,
    visitor: &mut V,
) -> ControlFlow<V::Break> {
    let mut hooks = ErasedMut { visitor, ended: None };
    let _: ControlFlow<()> = node.visit(&mut SharedMut(&mut hooks));
    hooks.ended.map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// True if `test` is true for an expression below `node`.
pub(crate) fn any_expr(node: &impl Visit, test: impl FnMut(&Expr) -> bool) -> bool {
    struct Test<F>(F);
    impl<F: FnMut(&Expr) -> bool> Visitor for Test<F> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            found(self.0(expr))
        }
    }
    walk(node, &mut Test(test)).is_break()
}

/// True if `test` is true for `query` or a query within.
// Not generic, so that callers in other crates use the copy here.
pub fn any_query(query: &Query, test: &mut dyn FnMut(&Query) -> bool) -> bool {
    in_queries(query, test)
}

/// True if `test` is true for a query below `node`, or for `node` itself.
pub(crate) fn in_queries(node: &impl Visit, test: impl FnMut(&Query) -> bool) -> bool {
    struct Test<F>(F);
    impl<F: FnMut(&Query) -> bool> Visitor for Test<F> {
        type Break = ();

        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            found(self.0(query))
        }
    }
    walk(node, &mut Test(test)).is_break()
}

/// True if `expr` contains a query.
pub(crate) fn has_subquery(expr: &Expr) -> bool {
    in_queries(expr, |_| true)
}

/// True if `query` reads a table of this name anywhere.
pub(crate) fn mentions(query: &Query, name: &Ident) -> bool {
    struct Mentions<'a>(&'a Ident);
    impl Visitor for Mentions<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            let [part] = relation.0.as_slice() else { return ControlFlow::Continue(()) };
            match part.as_ident() {
                Some(ident) if ident.value.eq_ignore_ascii_case(&self.0.value) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    walk(query, &mut Mentions(name)).is_break()
}

fn found(found: bool) -> ControlFlow<()> {
    if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// The hooks of a trait of sqlparser without its type parameter, so that visitors of any type are
/// one type.
macro_rules! shared_visitor {
    (
        $trait:ident, $hooks:ident, $erased:ident, $shared:ident,
        $($hook:ident($node:ty),)+
    ) => {
        trait $hooks {
            $(fn $hook(&mut self, node: $node) -> ControlFlow<()>;)+
        }

        /// A visitor, and the reason why it ended the walk.
        struct $erased<'v, V: $trait> {
            visitor: &'v mut V,
            ended: Option<V::Break>,
        }

        impl<V: $trait> $hooks for $erased<'_, V> {
            $(fn $hook(&mut self, node: $node) -> ControlFlow<()> {
                self.visitor.$hook(node).map_break(|reason| self.ended = Some(reason))
            })+
        }

        /// The only type of visitor that sqlparser's walk is compiled for.
        struct $shared<'h>(&'h mut dyn $hooks);

        impl $trait for $shared<'_> {
            type Break = ();

            $(fn $hook(&mut self, node: $node) -> ControlFlow<()> {
                self.0.$hook(node)
            })+
        }
    };
}

shared_visitor!(
    Visitor,
    Hooks,
    Erased,
    Shared,
    pre_visit_query(&Query),
    post_visit_query(&Query),
    pre_visit_select(&Select),
    post_visit_select(&Select),
    pre_visit_relation(&ObjectName),
    post_visit_relation(&ObjectName),
    pre_visit_table_factor(&TableFactor),
    post_visit_table_factor(&TableFactor),
    pre_visit_expr(&Expr),
    post_visit_expr(&Expr),
    pre_visit_statement(&Statement),
    post_visit_statement(&Statement),
    pre_visit_value(&ValueWithSpan),
    post_visit_value(&ValueWithSpan),
);

shared_visitor!(
    VisitorMut,
    HooksMut,
    ErasedMut,
    SharedMut,
    pre_visit_query(&mut Query),
    post_visit_query(&mut Query),
    pre_visit_select(&mut Select),
    post_visit_select(&mut Select),
    pre_visit_relation(&mut ObjectName),
    post_visit_relation(&mut ObjectName),
    pre_visit_table_factor(&mut TableFactor),
    post_visit_table_factor(&mut TableFactor),
    pre_visit_expr(&mut Expr),
    post_visit_expr(&mut Expr),
    pre_visit_statement(&mut Statement),
    post_visit_statement(&mut Statement),
    pre_visit_value(&mut ValueWithSpan),
    post_visit_value(&mut ValueWithSpan),
);
