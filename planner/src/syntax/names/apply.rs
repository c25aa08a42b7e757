//! Rewrites a FROM clause: adds aliases for queries without one, and replaces USING by conditions.

use datafusion::sql::sqlparser::ast::{JoinConstraint, TableAlias, TableFactor, TableWithJoins};

use super::super::build;
use super::from::constraint_of;
use super::read::From;
use super::scope::Scope;

/// Applies the changes of `from` to `tables`.
pub(super) fn from(from: From, tables: &mut [TableWithJoins]) -> Scope {
    let From { scope, conversions, aliases } = from;
    let (mut conversions, mut aliases) = (conversions.into_iter(), aliases.into_iter());
    for table in tables {
        apply_to(table, &mut conversions, &mut aliases);
    }
    scope
}

fn apply_to(
    tables: &mut TableWithJoins,
    conversions: &mut impl Iterator<Item = Option<JoinConstraint>>,
    aliases: &mut impl Iterator<Item = Option<String>>,
) {
    apply_to_factor(&mut tables.relation, conversions, aliases);
    for join in &mut tables.joins {
        apply_to_factor(&mut join.relation, conversions, aliases);
        if let (Some(new), Some(old)) =
            (conversions.next().flatten(), constraint_of(&mut join.join_operator))
        {
            *old = new;
        }
    }
}

fn apply_to_factor(
    table: &mut TableFactor,
    conversions: &mut impl Iterator<Item = Option<JoinConstraint>>,
    aliases: &mut impl Iterator<Item = Option<String>>,
) {
    match table {
        TableFactor::NestedJoin { table_with_joins, .. } => {
            apply_to(table_with_joins, conversions, aliases);
        }
        TableFactor::Derived { alias, .. } => {
            if let Some(name) = aliases.next().flatten() {
                let name = build::quoted(name);
                *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
            }
        }
        _ => {}
    }
}
