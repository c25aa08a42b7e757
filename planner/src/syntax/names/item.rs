//! The items of a select list: their names, and whether two of them have the same name in
//! DataFusion.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DuplicateTreatment, Expr, Function, FunctionArgumentList,
    FunctionArguments, Ident, Subscript, TrimWhereField, UnaryOperator, Value, VisitorMut,
};

use super::super::build;
use super::Catalog;
use super::resolver::Resolver;
use super::scope::{Column, Meaning, Written, named_like};
use crate::error::{Error, Result};
use crate::syntax::walk::walk_mut;

/// The meaning of an unqualified name in ORDER BY as a result column.
pub(super) fn of_result(outputs: Option<&[Column]>, name: &Written<'_>) -> Result<Meaning> {
    let Some(outputs) = outputs else { return Ok(Meaning::Nothing) };
    let exact: Vec<_> =
        outputs.iter().filter(|column| column.name.as_deref() == Some(&name.folded)).collect();
    match exact.as_slice() {
        [] => Ok(named_like(Some(outputs), name)),
        [column] => Ok(match &column.actual {
            Some(actual) if column.actual != column.name => {
                Meaning::Is(Expr::Identifier(build::quoted(actual)))
            }
            _ => Meaning::AsWritten,
        }),
        // If there are several, the scope of FROM has a better message.
        _ => Ok(Meaning::Nothing),
    }
}

/// The expression without wrappers that change neither its value nor its name.
pub(super) fn peeled(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => peeled(inner),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => peeled(expr),
        other => other,
    }
}

/// The column that an unnamed item is, under the name that it then has.
pub(super) fn name_of(resolver: &Resolver<'_>, expr: &Expr) -> Result<Option<String>> {
    Ok(match peeled(expr) {
        Expr::Identifier(ident) => match resolver.find(ident)? {
            Meaning::Is(Expr::Identifier(found)) => Some(found.value),
            Meaning::Is(_) | Meaning::AsWritten | Meaning::Nothing => Some(resolver.fold(ident)),
        },
        // Only DataFusion knows the name of a struct's field.
        compound @ Expr::CompoundIdentifier(_) if resolver.relation_of(compound).is_none() => None,
        Expr::CompoundIdentifier(idents) => match resolver.find_compound(idents)? {
            Meaning::Is(Expr::CompoundIdentifier(found)) if found.len() == idents.len() => {
                found.last().map(|last| resolver.fold(last))
            }
            _ => idents.last().map(|last| resolver.fold(last)),
        },
        _ => None,
    })
}

/// A key that is equal for expressions with the same name in DataFusion. The key of a column is
/// never that of another kind of expression.
pub(super) fn key_of(resolver: &Resolver<'_>, expr: &Expr) -> Result<String> {
    let mut expr = expr.clone();
    let mut plain = Plain { resolver };
    super::super::visit::done(walk_mut(&mut expr, &mut plain))?;
    // A cast has the name of its column.
    Ok(match expr {
        Expr::Identifier(column) => column.value,
        expr => format!("\u{0}{expr}"),
    })
}

/// True if the name is not that of a column of a relation.
fn is_field(resolver: &Resolver<'_>, idents: &[Ident]) -> bool {
    let path: Vec<_> = idents[..idents.len() - 1].iter().map(|part| resolver.fold(part)).collect();
    let scopes = resolver.frames.iter().filter_map(|frame| frame.scope.as_ref());
    !scopes.flat_map(|scope| &scope.relations).any(|relation| relation.is(&path))
}

/// The key of a field, however its name is written.
fn field_called(name: &str) -> Expr {
    Expr::Identifier(build::quoted(format!("\u{0}{}", name.to_lowercase())))
}

/// One spelling for what can be written in several ways.
fn usual_spelling(expr: &Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Value(value) if let Value::Number(digits, _) = &value.value => {
            let is_double = digits.contains(['.', 'e', 'E']);
            match digits.parse::<f64>().ok().filter(|_| is_double) {
                Some(double) => build::number(&format!("{double:e}")),
                None => return None,
            }
        }
        // A field may be written as `s.f`, `(s).f` and `s['f']`.
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(field))) => field_called(&field.value),
            Some(
                AccessExpr::Dot(Expr::Value(field))
                | AccessExpr::Subscript(Subscript::Index { index: Expr::Value(field) }),
            ) => match field.value.clone().into_string() {
                Some(field) => field_called(&field),
                None => return None,
            },
            _ => return None,
        },
        Expr::Trim { expr, trim_where, trim_what, .. } => {
            let name = match trim_where {
                None | Some(TrimWhereField::Both) => "\"btrim\"",
                Some(TrimWhereField::Leading) => "\"ltrim\"",
                Some(TrimWhereField::Trailing) => "\"rtrim\"",
            };
            let what = trim_what.iter().map(|what| what.as_ref().clone());
            build::call(name, std::iter::once(expr.as_ref().clone()).chain(what).collect())
        }
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let bounds = [substring_from, substring_for].into_iter().flatten();
            let args = std::iter::once(expr).chain(bounds).map(|arg| arg.as_ref().clone());
            build::call("\"substr\"", args.collect())
        }
        _ => return None,
    })
}

/// Prints an expression without what does not affect its name: casts, parentheses and the spelling
/// of names.
struct Plain<'a, 'r> {
    resolver: &'a Resolver<'r>,
}

impl VisitorMut for Plain<'_, '_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Some(usual) = usual_spelling(expr) {
            *expr = usual;
            return ControlFlow::Continue(());
        }
        let plain = match expr {
            Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
                inner.as_ref().clone()
            }
            Expr::Cast {
                kind:
                    CastKind::Cast | CastKind::DoubleColon | CastKind::TryCast | CastKind::SafeCast,
                expr: inner,
                ..
            } => inner.as_ref().clone(),
            Expr::TypedString(typed) => Expr::Value(typed.value.clone()),
            Expr::Identifier(ident) => match self.resolver.find(ident) {
                Ok(Meaning::Is(found)) => found,
                Ok(_) => Expr::Identifier(build::quoted(self.resolver.fold(ident))),
                Err(error) => return ControlFlow::Break(error),
            },
            Expr::CompoundIdentifier(idents) => {
                let Some(last) = idents.last() else { return ControlFlow::Continue(()) };
                if idents.len() > 1 && is_field(self.resolver, idents) {
                    *expr = field_called(&last.value);
                    return ControlFlow::Continue(());
                }
                Expr::Identifier(build::quoted(self.resolver.fold(last)))
            }
            Expr::Function(function) => {
                for part in &mut function.name.0 {
                    if let Some(ident) = part.as_ident() {
                        let folded = match ident.value.to_lowercase().as_str() {
                            "trim" => "btrim".to_owned(),
                            "substring" => "substr".to_owned(),
                            other => other.to_owned(),
                        };
                        let folded = build::quoted(folded);
                        *part = datafusion::sql::sqlparser::ast::ObjectNamePart::Identifier(folded);
                    }
                }
                return ControlFlow::Continue(());
            }
            // The names do not identify the subquery.
            Expr::Exists { negated, .. } => {
                build::call(if *negated { "not exists" } else { "exists" }, vec![])
            }
            Expr::InSubquery { expr: of, negated, .. } => {
                build::call(if *negated { "not in" } else { "in" }, vec![of.as_ref().clone()])
            }
            Expr::Value(value) if matches!(value.value, Value::EscapedStringLiteral(_)) => {
                let text = value.value.clone().into_string().unwrap_or_default();
                build::text(text)
            }
            _ => return ControlFlow::Continue(()),
        };
        *expr = plain;
        ControlFlow::Continue(())
    }
}

/// Refuses clauses that DataFusion ignores after a scalar function.
pub(super) fn check_clauses(catalog: &dyn Catalog, function: &Function) -> Result<()> {
    let Function { name, args, filter, null_treatment, over, within_group, .. } = function;
    let (distinct, clauses) = match args {
        FunctionArguments::List(FunctionArgumentList { duplicate_treatment, clauses, .. }) => {
            let distinct = matches!(duplicate_treatment, Some(DuplicateTreatment::Distinct));
            (distinct, !clauses.is_empty())
        }
        _ => (false, false),
    };
    let clause = if filter.is_some() {
        "FILTER"
    } else if over.is_some() {
        "OVER"
    } else if null_treatment.is_some() {
        "IGNORE NULLS or RESPECT NULLS"
    } else if !within_group.is_empty() {
        "WITHIN GROUP"
    } else if distinct {
        "DISTINCT"
    } else if clauses {
        "ORDER BY"
    } else {
        return Ok(());
    };
    let [part] = name.0.as_slice() else { return Ok(()) };
    let Some(ident) = part.as_ident() else { return Ok(()) };
    if !catalog.is_scalar(&ident.value.to_lowercase()) {
        return Ok(());
    }
    Err(Error::statement(format!(
        "{clause} is only allowed for aggregate and window functions, and {name} is neither"
    )))
}
