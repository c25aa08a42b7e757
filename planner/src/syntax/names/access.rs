//! `ls[1].k`, `(s).k`, `xs[2:]`: parts of nested values.
//!
//! DataFusion 55.2 reads a name behind a point as a part of the column's name, and nowhere else; and it wants both ends
//! of a slice.

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident, Subscript, Value};

use super::super::build::number;

/// Writes the fields and slices of an access as DataFusion reads them. `fold` gives the name of a field; behind a root that
/// is a name, those before the first bracket are parts of the column's name.
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
