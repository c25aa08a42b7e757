//! Rewrites access to parts of nested values: `ls[1].k`, `(s).k`, `xs[2:]`.
//!
//! DataFusion 55.2 reads a name after a dot only as part of a column name, and requires both bounds
//! of a slice.

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, Subscript, Value};

use super::super::build::number;

/// Writes field accesses and slices in the form that DataFusion reads. `fold` returns the name of a
/// field. If the root is a name, the fields before the first bracket are parts of the column name.
pub(super) fn spell(chain: &mut [AccessExpr], is_name: bool, fold: impl Fn(&Ident) -> String) {
    let mut is_name = is_name;
    for access in chain {
        match access {
            AccessExpr::Dot(Expr::Identifier(_)) if is_name => {}
            AccessExpr::Dot(part) => {
                is_name = false;
                if let Expr::Identifier(field) = part {
                    *part = Expr::Value(Value::SingleQuotedString(fold(field)).into());
                }
            }
            AccessExpr::Subscript(subscript) => {
                is_name = false;
                if let Subscript::Slice { lower_bound, upper_bound, .. } = subscript {
                    lower_bound.get_or_insert_with(|| number("1"));
                    upper_bound.get_or_insert_with(|| number("-1"));
                }
            }
        }
    }
}
