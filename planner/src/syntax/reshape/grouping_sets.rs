//! Rewrites the grouping sets of a GROUP BY.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, GroupByWithModifier, Ident,
};

use crate::error::{Error, Result};

/// Rewrites what the clause shows before names are resolved.
pub(super) fn reshape(group_by: &mut GroupByExpr) -> Result<()> {
    group_by_modifiers(group_by)?;
    if let GroupByExpr::Expressions(exprs, _) = group_by {
        without_empty_sets(exprs);
    }
    with_grouping_sets(group_by);
    Ok(())
}

/// `GROUP BY a, b WITH ROLLUP`, which DataFusion ignores, as `GROUP BY ROLLUP (a, b)`.
fn group_by_modifiers(group_by: &mut GroupByExpr) -> Result<()> {
    let GroupByExpr::Expressions(exprs, modifiers) = group_by else { return Ok(()) };
    let of = match modifiers.as_slice() {
        [] => return Ok(()),
        [GroupByWithModifier::Rollup] => Expr::Rollup,
        [GroupByWithModifier::Cube] => Expr::Cube,
        _ => {
            return Err(Error::unsupported("GROUP BY ... WITH TOTALS or with several modifiers")
                .with_hint("write GROUP BY GROUPING SETS ((...), ())"));
        }
    };
    let sets = std::mem::take(exprs).into_iter().map(|expr| vec![expr]).collect();
    *group_by = GroupByExpr::Expressions(vec![of(sets)], Vec::new());
    Ok(())
}

/// `GROUP BY ()`, which DataFusion 55.2 refuses, as `GROUP BY GROUPING SETS (())`. Beside keys, the
/// empty set adds nothing.
fn without_empty_sets(exprs: &mut Vec<Expr>) {
    let keys = exprs.len();
    exprs.retain(|expr| !matches!(expr, Expr::Tuple(columns) if columns.is_empty()));
    if exprs.is_empty() && keys > 0 {
        exprs.push(Expr::GroupingSets(vec![Vec::new()]));
    }
}

/// `ROLLUP` and `CUBE` over tuples, over a repeated column or within `GROUPING SETS`, which
/// DataFusion 55.2 refuses, as `GROUPING SETS`. Which columns are the same shows once names are
/// resolved.
pub(in crate::syntax) fn with_grouping_sets(group_by: &mut GroupByExpr) {
    if let GroupByExpr::Expressions(exprs, _) = group_by {
        exprs.iter_mut().for_each(as_grouping_sets);
    }
}

fn as_grouping_sets(expr: &mut Expr) {
    let sets = match &*expr {
        Expr::Rollup(groups) | Expr::Cube(groups) => {
            let columns: Vec<&Expr> = groups.iter().flatten().collect();
            let is_earlier =
                |at: usize| columns[..at].iter().any(|key| is_same_key(key, columns[at]));
            let twice = (1..columns.len()).any(is_earlier);
            let tuples = groups.iter().any(|group| group.len() != 1);
            if !(twice || tuples) || groups.len() > MOST_GROUPS {
                return;
            }
            sets_of(groups, matches!(expr, Expr::Rollup(_)))
        }
        Expr::GroupingSets(sets) => {
            let of = |set: &Vec<Expr>| nested_sets(set).unwrap_or_else(|| vec![set.clone()]);
            sets.iter().flat_map(of).collect()
        }
        _ => return,
    };
    *expr = Expr::GroupingSets(sets);
}

/// True if both are the same expression, or the same column, with and without quotes.
fn is_same_key(left: &Expr, right: &Expr) -> bool {
    let folded = |name: &Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    match (left, right) {
        (Expr::CompoundIdentifier(left), Expr::CompoundIdentifier(right)) => {
            left.iter().map(folded).eq(right.iter().map(folded))
        }
        _ => left == right,
    }
}

/// The sets of a `ROLLUP` or a `CUBE` within `GROUPING SETS`, which are parsed as calls.
fn nested_sets(set: &[Expr]) -> Option<Vec<Vec<Expr>>> {
    let [Expr::Function(function)] = set else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let name = function.name.to_string();
    let is_rollup = name.eq_ignore_ascii_case("rollup");
    if !is_rollup && !name.eq_ignore_ascii_case("cube") {
        return None;
    }
    let group = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(group))) => Some(group.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Nested(column))) => {
            Some(vec![column.as_ref().clone()])
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(column)) => Some(vec![column.clone()]),
        _ => None,
    };
    let groups: Vec<Vec<Expr>> = list.args.iter().map(group).collect::<Option<_>>()?;
    (groups.len() <= MOST_GROUPS).then(|| sets_of(&groups, is_rollup))
}

/// The grouping sets of a `ROLLUP` or a `CUBE`.
fn sets_of(groups: &[Vec<Expr>], is_rollup: bool) -> Vec<Vec<Expr>> {
    let all = 0..groups.len();
    let chosen: Vec<Vec<usize>> = match is_rollup {
        true => (0..=groups.len()).rev().map(|first| (0..first).collect()).collect(),
        false => (0..1_usize << groups.len())
            .rev()
            .map(|mask| all.clone().filter(|index| mask & (1 << index) != 0).collect())
            .collect(),
    };
    let set_of = |chosen: Vec<usize>| {
        let mut set: Vec<Expr> = Vec::new();
        for column in chosen.into_iter().flat_map(|index| &groups[index]) {
            if !set.iter().any(|key| is_same_key(key, column)) {
                set.push(column.clone());
            }
        }
        set
    };
    chosen.into_iter().map(set_of).collect()
}

/// A `CUBE` over this many columns has 4,096 grouping sets, which DataFusion refuses anyway.
const MOST_GROUPS: usize = 12;
