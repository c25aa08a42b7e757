//! Names items of a select list where DataFusion 55.2 gives several columns one name.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Select, SelectItem, SetExpr, SetQuantifier, Value,
};

use super::super::build;
use super::super::walk::has_subquery;
use super::unnested;

/// Names select items that contain a subquery: DataFusion 55.2 names the column after one of the
/// subquery's, or gives all the same name.
pub(super) fn name_subqueries(select: &mut Select) {
    name_items(select, has_subquery);
}

/// Names casts of columns: DataFusion gives `CAST(x AS INT)` the name `x`, and `ORDER BY x` then
/// finds two columns of that name.
pub(super) fn name_casts(select: &mut Select) {
    name_items(select, |expr| matches!(expr, Expr::Cast { .. }) && column_of(expr).is_some());
}

/// The name of the column that `expr` is, or is a cast of.
fn column_of(expr: &Expr) -> Option<&Ident> {
    let mut expr = expr;
    loop {
        expr = match expr {
            Expr::Cast { expr, .. } | Expr::Nested(expr) => expr,
            Expr::Identifier(name) => return Some(name),
            Expr::CompoundIdentifier(path) => return path.last(),
            _ => return None,
        };
    }
}

/// Names casts of columns after the columns in the first SELECT of a set operation, because ORDER
/// BY refers to these names.
pub(super) fn name_casts_of_set(set: &mut SetExpr) {
    let mut set = set;
    let select = loop {
        set = match set {
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Select(select) => break select,
            _ => return,
        };
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(cast @ Expr::Cast { .. }) = item
            && let Some(alias) = column_of(cast).cloned()
        {
            let expr = std::mem::replace(cast, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

/// Names computed columns of all branches of a set operation but the first. DataFusion 55.2 names
/// them like the columns of the first branch, which may be names of other columns of the branch:
/// `SELECT 1, id FROM t UNION ALL SELECT id, 1 FROM t`.
pub(super) fn name_branches(set: &mut SetExpr) {
    let SetExpr::SetOperation { left, right, set_quantifier, .. } = set else { return };
    name_branches(left);
    if !is_by_name(*set_quantifier) {
        name_branch(right);
    }
}

fn is_by_name(quantifier: SetQuantifier) -> bool {
    use SetQuantifier::{AllByName, ByName, DistinctByName};
    matches!(quantifier, ByName | AllByName | DistinctByName)
}

fn name_branch(set: &mut SetExpr) {
    match set {
        SetExpr::Select(select) => {
            for (n, item) in select.projection.iter_mut().enumerate() {
                let SelectItem::UnnamedExpr(expr) = item else { continue };
                let is_column = column_of(expr).is_some() && !matches!(expr, Expr::Cast { .. });
                // An unnested struct is several columns.
                if !is_column && !unnested::is_unnest(expr) {
                    let expr = std::mem::replace(expr, Expr::value(Value::Null));
                    let alias = build::quoted(format!("__branch_{n}"));
                    *item = SelectItem::ExprWithAlias { expr, alias };
                }
            }
        }
        SetExpr::SetOperation { left, right, set_quantifier, .. }
            if !is_by_name(*set_quantifier) =>
        {
            name_branch(left);
            name_branch(right);
        }
        SetExpr::Query(query) => name_branch(&mut query.body),
        _ => {}
    }
}

fn name_items(select: &mut Select, is_meant: impl Fn(&Expr) -> bool) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && is_meant(expr)
        {
            let alias = build::quoted(expr.to_string());
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}
