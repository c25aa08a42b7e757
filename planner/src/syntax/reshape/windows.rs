//! Inlines the definitions of `WINDOW` where they are used.
//!
//! DataFusion 55.2 looks for them in the select list only, takes `sum(x) OVER w` elsewhere for an
//! aggregate without a window, and ignores the name in `OVER (w ORDER BY x)`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderBy, Query, Select, VisitorMut,
    WindowSpec, WindowType,
};

use super::super::visit::{done, step};
use super::super::walk::walk_mut;
use crate::error::{Error, Result};

/// Replaces each named window by its definition, in `select` and in its ORDER BY.
pub(crate) fn inline(select: &mut Select, order_by: Option<&mut OrderBy>) -> Result<()> {
    if select.named_window.is_empty() {
        return Ok(());
    }
    let windows = definitions(std::mem::take(&mut select.named_window))?;
    let mut inline = Inline { windows: &windows, depth: 0 };
    done(walk_mut(&mut select.projection, &mut inline))?;
    done(walk_mut(&mut select.qualify, &mut inline))?;
    done(walk_mut(&mut select.distinct, &mut inline))?;
    match order_by {
        Some(order_by) => done(walk_mut(order_by, &mut inline)),
        None => Ok(()),
    }
}

type Windows = Vec<(String, WindowSpec)>;

/// The complete definitions: a definition may build on earlier ones.
fn definitions(defined: Vec<NamedWindowDefinition>) -> Result<Windows> {
    let mut windows = Windows::new();
    for NamedWindowDefinition(name, window) in defined {
        let spec = match window {
            NamedWindowExpr::NamedWindow(other) => find(&windows, &other)?.clone(),
            NamedWindowExpr::WindowSpec(spec) => complete(&windows, spec)?,
        };
        let name = folded(&name);
        if windows.iter().any(|(other, _)| *other == name) {
            return Err(Error::statement(format!("the window \"{name}\" is defined twice")));
        }
        windows.push((name, spec));
    }
    Ok(windows)
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

fn find<'a>(windows: &'a Windows, name: &Ident) -> Result<&'a WindowSpec> {
    let wanted = folded(name);
    let found = windows.iter().find(|(name, _)| *name == wanted);
    found.map(|(_, spec)| spec).ok_or_else(|| {
        Error::statement(format!("there is no window \"{wanted}\""))
            .with_hint(format!("define it before it is used: WINDOW {wanted} AS (...)"))
    })
}

/// `spec` completed with the window that it names.
fn complete(windows: &Windows, spec: WindowSpec) -> Result<WindowSpec> {
    let WindowSpec { window_name, partition_by, order_by, window_frame } = spec;
    let Some(name) = window_name else {
        return Ok(WindowSpec { window_name, partition_by, order_by, window_frame });
    };
    let base = find(windows, &name)?.clone();
    let refused =
        |what| Err(Error::statement(format!("a window based on \"{}\" {what}", name.value)));
    if !partition_by.is_empty() {
        return refused("cannot have a PARTITION BY");
    }
    if !base.order_by.is_empty() && !order_by.is_empty() {
        return refused("cannot have an ORDER BY: the base has one");
    }
    if base.window_frame.is_some() {
        return refused("is not allowed: the base has a frame");
    }
    Ok(WindowSpec {
        window_name: None,
        partition_by: base.partition_by,
        order_by: if order_by.is_empty() { base.order_by } else { order_by },
        window_frame,
    })
}

struct Inline<'a> {
    windows: &'a Windows,
    /// The nesting depth of queries: subqueries have windows of their own.
    depth: usize,
}

impl VisitorMut for Inline<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Function(function) if self.depth == 0 => {
                step(named(self.windows, &mut function.over))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

fn named(windows: &Windows, over: &mut Option<WindowType>) -> Result<()> {
    let spec = match over {
        Some(WindowType::NamedWindow(name)) => find(windows, name)?.clone(),
        Some(WindowType::WindowSpec(spec)) if spec.window_name.is_some() => {
            complete(windows, spec.clone())?
        }
        _ => return Ok(()),
    };
    *over = Some(WindowType::WindowSpec(spec));
    Ok(())
}
