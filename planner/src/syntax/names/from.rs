//! Builds the scope of a FROM clause, and rewrites joins by USING and NATURAL as joins by ON.
//!
//! DataFusion 55.2 does not merge the columns of USING: in WHERE, and after a second join, the name
//! may mean any of several columns, and for a FULL or RIGHT join it is the left side's. If the
//! columns of a table are not known before the query runs, inner and left joins are left to
//! DataFusion.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins,
};

use super::super::build;
use super::read::From;
use super::resolver::Resolver;
use super::scope::{Column, Merged, Relation, Scope, Star};
use crate::error::{Error, Result};

/// Reads a FROM.
pub(super) fn read(resolver: &mut Resolver<'_>, tables: &[TableWithJoins]) -> Result<From> {
    let mut from = From::default();
    for table in tables {
        let convert = conversion_of(table);
        let star = joined(resolver, &mut from, table, convert)?;
        from.scope.star.extend(star);
    }
    let merged = from.scope.star.iter().filter_map(|item| match item {
        Star::Merged(merged) => Some(merged.as_ref().clone()),
        _ => None,
    });
    from.scope.merged = merged.collect();
    Ok(from)
}

/// Which joins by USING and NATURAL are rewritten with ON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Conversion {
    /// None.
    None,
    /// Joins of tables whose columns are known.
    Known,
    /// All, because one of them is a FULL or RIGHT join.
    All,
}

fn conversion_of(tables: &TableWithJoins) -> Conversion {
    let nested = |table: &TableFactor| match table {
        TableFactor::NestedJoin { table_with_joins, .. } => conversion_of(table_with_joins),
        _ => Conversion::None,
    };
    let of_join = |join: &Join| {
        let own = match parts(&join.join_operator) {
            (kind, Some(JoinConstraint::Using(_) | JoinConstraint::Natural)) => match kind {
                Kind::Right | Kind::Full => Conversion::All,
                Kind::Inner | Kind::KeepsLeft | Kind::KeepsRight => Conversion::Known,
            },
            _ => Conversion::None,
        };
        own.max(nested(&join.relation))
    };
    let joins = tables.joins.iter().map(of_join).max().unwrap_or(Conversion::None);
    joins.max(nested(&tables.relation))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Right,
    Full,
    /// Returns rows of the left side only.
    KeepsLeft,
    /// Returns rows of the right side only.
    KeepsRight,
}

fn parts(operator: &JoinOperator) -> (Kind, Option<&JoinConstraint>) {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::StraightJoin(c) => (Kind::Inner, Some(c)),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (Kind::Right, Some(c)),
        JoinOperator::FullOuter(c) => (Kind::Full, Some(c)),
        JoinOperator::Semi(c)
        | JoinOperator::LeftSemi(c)
        | JoinOperator::Anti(c)
        | JoinOperator::LeftAnti(c) => (Kind::KeepsLeft, Some(c)),
        JoinOperator::RightSemi(c) | JoinOperator::RightAnti(c) => (Kind::KeepsRight, Some(c)),
        JoinOperator::CrossApply
        | JoinOperator::OuterApply
        | JoinOperator::AsOf { .. }
        | JoinOperator::ArrayJoin
        | JoinOperator::LeftArrayJoin
        | JoinOperator::InnerArrayJoin => (Kind::Inner, None),
    }
}

pub(super) fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(c)
        | JoinOperator::Inner(c)
        | JoinOperator::Left(c)
        | JoinOperator::LeftOuter(c)
        | JoinOperator::CrossJoin(c)
        | JoinOperator::StraightJoin(c)
        | JoinOperator::Right(c)
        | JoinOperator::RightOuter(c)
        | JoinOperator::FullOuter(c)
        | JoinOperator::Semi(c)
        | JoinOperator::LeftSemi(c)
        | JoinOperator::Anti(c)
        | JoinOperator::LeftAnti(c)
        | JoinOperator::RightSemi(c)
        | JoinOperator::RightAnti(c) => Some(c),
        _ => None,
    }
}

/// Adds the relations of `tables` to the scope; returns the expansion of `*`.
fn joined(
    resolver: &mut Resolver<'_>,
    from: &mut From,
    tables: &TableWithJoins,
    convert: Conversion,
) -> Result<Vec<Star>> {
    let mut left = factor(resolver, from, &tables.relation, convert)?;
    for Join { relation, global: _, join_operator } in &tables.joins {
        let first_right = from.scope.relations.len();
        let right = factor(resolver, from, relation, convert)?;
        let (kind, constraint) = parts(join_operator);
        let keys = match constraint {
            Some(JoinConstraint::Using(names)) => {
                using(resolver, &from.scope, names, &left, &right)
            }
            Some(JoinConstraint::Natural) => natural(&from.scope, &left, &right),
            _ => Some(Vec::new()),
        };
        let by_name =
            matches!(constraint, Some(JoinConstraint::Using(_) | JoinConstraint::Natural));
        if keys.is_none() && by_name && matches!(kind, Kind::Right | Kind::Full) {
            refuse_unknown(&left, &right)?;
        }
        let mut conversion = None;
        left = match (keys, kind) {
            (Some(keys), Kind::Inner | Kind::Right | Kind::Full) if by_name && !keys.is_empty() => {
                let other = keys.iter().any(|key| key.left.actual != key.right.actual);
                let known = || !left.iter().chain(&right).any(|item| matches!(item, Star::All(..)));
                if convert == Conversion::All || other || known() {
                    conversion = all_equal(&keys).map(JoinConstraint::On);
                    merge(left, right, &keys, kind)
                } else {
                    conversion = spelt(constraint, &keys);
                    without_keys(left, right, &keys)
                }
            }
            (keys, Kind::KeepsLeft) => {
                conversion = keys.and_then(|keys| spelt(constraint, &keys));
                hide(&mut from.scope, first_right..usize::MAX);
                left
            }
            (keys, Kind::KeepsRight) => {
                conversion = keys.and_then(|keys| spelt(constraint, &keys));
                hide(&mut from.scope, 0..first_right);
                right
            }
            _ => left.into_iter().chain(right).collect(),
        };
        from.conversions.push(conversion);
    }
    Ok(left)
}

/// The result columns of a FULL or RIGHT join by name are only known if all columns are.
fn refuse_unknown(left: &[Star], right: &[Star]) -> Result<()> {
    if left.iter().chain(right).any(|item| matches!(item, Star::All(..))) {
        let message =
            "the columns of a FULL or RIGHT join by USING or NATURAL are not known before it runs";
        return Err(Error::statement(message).with_hint("write the join with ON"));
    }
    Ok(())
}

fn hide(scope: &mut Scope, which: std::ops::Range<usize>) {
    for (i, relation) in scope.relations.iter_mut().enumerate() {
        relation.visible &= !which.contains(&i);
    }
}

/// One side's column of a join by name.
struct Side {
    value: Expr,
    actual: String,
    parts: Vec<(usize, String)>,
    /// Its position in `*`.
    at: Option<usize>,
}

struct Key {
    name: String,
    left: Side,
    right: Side,
}

fn using(
    resolver: &Resolver<'_>,
    scope: &Scope,
    names: &[ObjectName],
    left: &[Star],
    right: &[Star],
) -> Option<Vec<Key>> {
    let key = |name: &ObjectName| {
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        let (left, right) =
            (side(resolver, scope, left, ident)?, side(resolver, scope, right, ident)?);
        Some(Key { name: left.actual.clone(), left, right })
    };
    names.iter().map(key).collect()
}

fn natural(scope: &Scope, left: &[Star], right: &[Star]) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    for (at, item) in left.iter().enumerate() {
        let Some(name) = name_of(item)? else { continue };
        let mut others = Vec::new();
        for (at, other) in right.iter().enumerate() {
            if name_of(other)?.as_deref() == Some(&name) {
                others.push((at, other));
            }
        }
        let [(other_at, other)] = others.as_slice() else { continue };
        keys.push(Key {
            left: side_of(scope, item, at, &name)?,
            right: side_of(scope, other, *other_at, &name)?,
            name,
        });
    }
    Some(keys)
}

/// The name of an item of `*`: `None` if the item is all of an unknown relation, `Some(None)` if
/// the column has no name.
fn name_of(item: &Star) -> Option<Option<String>> {
    match item {
        Star::Merged(merged) => Some(Some(merged.name.clone())),
        Star::Column(_, column) => Some(column.name.clone()),
        Star::All(..) => None,
    }
}

/// The column of a side that a name in USING means, if it is unambiguous.
fn side(resolver: &Resolver<'_>, scope: &Scope, star: &[Star], ident: &Ident) -> Option<Side> {
    let folded = resolver.fold(ident);
    let named = |test: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let is = |item: &Star| name_of(item).flatten().is_some_and(|name| test(&name));
        (0..star.len()).filter(|&i| is(&star[i])).collect()
    };
    let mut found = named(&|name| name == folded);
    if found.is_empty() && ident.quote_style.is_none() {
        found = named(&|name| name == ident.value);
        if found.is_empty() {
            found = named(&|name| name.to_lowercase() == folded.to_lowercase());
        }
    }
    if let [at] = found.as_slice() {
        return side_of(scope, &star[*at], *at, &folded);
    }
    // If exactly one relation has unknown columns, the column is one of them.
    let mut unknown = star.iter().filter_map(|item| match item {
        Star::All(relation, _) => Some(*relation),
        _ => None,
    });
    match (found.is_empty(), unknown.next(), unknown.next()) {
        (true, Some(relation), None) => Some(Side {
            value: scope.relations[relation].column(&folded),
            parts: vec![(relation, folded.clone())],
            actual: folded,
            at: None,
        }),
        _ => None,
    }
}

fn side_of(scope: &Scope, item: &Star, at: usize, name: &str) -> Option<Side> {
    match item {
        Star::Merged(merged) => {
            let Merged { name, value, parts } = merged.as_ref().clone();
            Some(Side { value, actual: name, parts, at: Some(at) })
        }
        Star::Column(relation, column) => {
            let actual = column.actual.clone().unwrap_or_else(|| name.to_owned());
            Some(Side {
                value: scope.relations[*relation].column(&actual),
                parts: vec![(*relation, actual.clone())],
                actual,
                at: Some(at),
            })
        }
        Star::All(..) => None,
    }
}

/// The condition that the keys of both sides are equal.
fn all_equal(keys: &[Key]) -> Option<Expr> {
    let equal = |key: &Key| {
        build::binary(key.left.value.clone(), BinaryOperator::Eq, key.right.value.clone())
    };
    keys.iter().map(equal).reduce(|all, one| build::binary(all, BinaryOperator::And, one))
}

/// USING with the names in the spelling of the columns.
fn spelt(constraint: Option<&JoinConstraint>, keys: &[Key]) -> Option<JoinConstraint> {
    let Some(JoinConstraint::Using(_)) = constraint else { return None };
    let name = |key: &Key| ObjectName::from(vec![build::quoted(&key.left.actual)]);
    Some(JoinConstraint::Using(keys.iter().map(name).collect()))
}

/// The expansion of `*` if the keys are left to DataFusion, which shows those of the left side.
fn without_keys(left: Vec<Star>, right: Vec<Star>, keys: &[Key]) -> Vec<Star> {
    let mut star = left;
    star.extend(right_without(right, keys));
    star
}

fn right_without(right: Vec<Star>, keys: &[Key]) -> Vec<Star> {
    let mut star = Vec::new();
    for (at, item) in right.into_iter().enumerate() {
        if !keys.iter().any(|key| key.right.at == Some(at)) {
            star.push(without(item, keys.iter().map(|key| &key.right)));
        }
    }
    star
}

/// `item` without the keys that it includes.
fn without<'a>(item: Star, keys: impl Iterator<Item = &'a Side>) -> Star {
    let Star::All(relation, mut names) = item else { return item };
    let parts = keys.filter(|side| side.at.is_none()).flat_map(|side| &side.parts);
    names.extend(parts.filter(|part| part.0 == relation).map(|part| part.1.clone()));
    Star::All(relation, names)
}

/// The expansion of `*` if each key is one column of both sides.
fn merge(left: Vec<Star>, right: Vec<Star>, keys: &[Key], kind: Kind) -> Vec<Star> {
    let merged = |Key { name, left, right }: &Key| {
        let value = match kind {
            Kind::Full => build::call("coalesce", vec![left.value.clone(), right.value.clone()]),
            Kind::Right => right.value.clone(),
            _ => left.value.clone(),
        };
        let parts = left.parts.iter().chain(&right.parts).cloned().collect();
        Star::Merged(Box::new(Merged { name: name.clone(), value, parts }))
    };
    // Keys of a relation with unknown columns come first.
    let mut star: Vec<Star> = keys.iter().filter(|key| key.left.at.is_none()).map(merged).collect();
    for (at, item) in left.into_iter().enumerate() {
        match keys.iter().find(|key| key.left.at == Some(at)) {
            Some(key) => star.push(merged(key)),
            None => star.push(without(item, keys.iter().map(|key| &key.left))),
        }
    }
    star.extend(right_without(right, keys));
    star
}

/// The columns of one table, query or function in FROM.
fn factor(
    resolver: &mut Resolver<'_>,
    from: &mut From,
    table: &TableFactor,
    convert: Conversion,
) -> Result<Vec<Star>> {
    let (path, columns, alias) = match table {
        TableFactor::Table { name, alias, args: None, .. } => {
            let columns = resolver.columns_of_table(name);
            (resolver.path_of(name), columns, alias.as_ref())
        }
        TableFactor::Derived { subquery, alias, .. } => {
            let columns_of = resolver.columns_of;
            let columns = columns_of(resolver, subquery)?;
            // A join by ON must qualify its columns.
            let own = (convert != Conversion::None && alias.is_none())
                .then(|| resolver.unused_name("unnamed"));
            from.aliases.push(own.clone());
            (own.into_iter().collect(), columns, alias.as_ref())
        }
        TableFactor::NestedJoin { table_with_joins, alias: None } => {
            return joined(resolver, from, table_with_joins, convert);
        }
        TableFactor::NestedJoin { table_with_joins, alias: Some(alias) } => {
            let mut inner = From::default();
            let star = joined(resolver, &mut inner, table_with_joins, convert)?;
            from.conversions.append(&mut inner.conversions);
            from.aliases.append(&mut inner.aliases);
            (Vec::new(), columns_of_star(&star), Some(alias))
        }
        TableFactor::UNNEST { alias, .. } => (Vec::new(), None, alias.as_ref()),
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
            (resolver.path_of(name), None, alias.as_ref())
        }
        _ => (Vec::new(), None, None),
    };
    let relation = match alias {
        Some(alias) => aliased(resolver, alias, columns),
        None => Relation { path, columns, visible: true },
    };
    let index = from.scope.relations.len();
    let star = match &relation.columns {
        Some(columns) => columns.iter().map(|c| Star::Column(index, c.clone())).collect(),
        None => vec![Star::All(index, Vec::new())],
    };
    from.scope.relations.push(relation);
    Ok(star)
}

fn columns_of_star(star: &[Star]) -> Option<Vec<Column>> {
    let column = |item: &Star| match item {
        Star::Merged(merged) => Some(Column::named(&merged.name)),
        Star::Column(_, column) => Some(column.clone()),
        Star::All(..) => None,
    };
    star.iter().map(column).collect()
}

/// A relation under the names of an alias.
pub(super) fn aliased(
    resolver: &Resolver<'_>,
    alias: &TableAlias,
    columns: Option<Vec<Column>>,
) -> Relation {
    let path = vec![resolver.fold(&alias.name)];
    Relation { path, columns: renamed(resolver, alias, columns), visible: true }
}

/// The columns under the names of an alias.
pub(super) fn renamed(
    resolver: &Resolver<'_>,
    alias: &TableAlias,
    columns: Option<Vec<Column>>,
) -> Option<Vec<Column>> {
    let mut columns = columns?;
    for (column, new) in columns.iter_mut().zip(&alias.columns) {
        *column = Column::named(resolver.fold(&new.name));
    }
    Some(columns)
}

/// Completes an alias that names only the first columns: DataFusion requires all names or none.
pub(super) fn name_all(alias: &mut TableAlias, columns: Option<Vec<Column>>) {
    let names = alias.columns.len();
    for column in columns.into_iter().flatten().skip(names) {
        let Some(name) = column.actual else { break };
        alias.columns.push(TableAliasColumnDef { name: build::quoted(name), data_type: None });
    }
}
