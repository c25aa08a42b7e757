//! Reads one SELECT: the scope of its FROM, and a select list with distinct names for DataFusion.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, ExcludeSelectItem, Expr, ObjectName, Select, SelectItem,
    SelectItemQualifiedWildcardKind, WildcardAdditionalOptions,
};

use super::super::build;
use super::from;
use super::item;
use super::read::Read;
use super::resolver::{Context, Resolver};
use super::scope::{Column, Meaning, Merged, Relation, Scope, Star};
use crate::error::{Error, Result};

/// One column of the select list.
struct Output {
    item: SelectItem,
    /// Its name, if known.
    name: Option<String>,
    /// The key that must be unique among the columns.
    key: String,
    /// The relation, for a plain column.
    relation: Option<usize>,
    /// True if the item must replace the original one.
    changed: bool,
    /// True if its alias is the name of a different column of FROM.
    hides: bool,
}

/// One column, or all of a relation with unknown columns.
enum Part {
    One(Output),
    Unknown(SelectItem),
}

/// Reads `select`, whose columns go to `context`. If `is_seen_past`, an alias must not shadow a
/// column: the ORDER BY of the query has expressions, in which names mean columns of FROM, but
/// DataFusion 55.2 finds the alias.
pub(super) fn read(
    resolver: &mut Resolver<'_>,
    select: &Select,
    (context, is_seen_past): (Context, bool),
) -> Result<Read> {
    let from = from::read(resolver, &select.from)?;
    let scope = from.scope.clone();
    let parts = resolver.within(scope.clone(), |resolver| parts(resolver, select, &scope))?;
    let renamed = tell_apart(resolver, parts, context, is_seen_past);
    let outputs = renamed.parts.iter().map(|(part, column)| match part {
        Part::One(_) => Some(column.clone()),
        Part::Unknown(_) => None,
    });
    let outputs = outputs.collect();
    let items = renamed.parts.into_iter().map(|(part, _)| match part {
        Part::One(output) => output.item,
        Part::Unknown(item) => item,
    });
    let projection = renamed.changed.then(|| items.collect());
    Ok(Read { from, projection, outputs })
}

fn parts(resolver: &Resolver<'_>, select: &Select, scope: &Scope) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => parts.push(Part::One(unnamed(resolver, expr)?)),
            SelectItem::ExprWithAlias { expr, alias } => {
                let name = resolver.fold(alias);
                let is_column = item::name_of(resolver, expr)?.as_ref() == Some(&name);
                let of_from = |relation: &Relation| !relation.find(&name, true).is_empty();
                let hides = !is_column && scope.relations.iter().any(of_from);
                parts.push(Part::One(Output {
                    item: item.clone(),
                    key: name.clone(),
                    name: Some(name),
                    relation: None,
                    changed: false,
                    hides,
                }));
            }
            SelectItem::Wildcard(options) => match star(scope, options) {
                Some(star) => parts.extend(star),
                None if scope.merged.is_empty() => parts.push(Part::Unknown(item.clone())),
                None => return Err(unlisted()),
            },
            SelectItem::QualifiedWildcard(
                SelectItemQualifiedWildcardKind::ObjectName(name),
                options,
            ) => match of_relation(resolver, scope, name, options) {
                Some(columns) => parts.extend(columns),
                None => parts.push(Part::Unknown(item.clone())),
            },
            other => parts.push(Part::Unknown(other.clone())),
        }
    }
    Ok(parts)
}

/// The error for columns that cannot be listed one by one.
fn unlisted() -> Error {
    Error::unsupported(
        "SELECT * with options, or with unnamed columns, over a FULL or RIGHT join by USING",
    )
    .with_hint("name the columns")
}

fn unnamed(resolver: &Resolver<'_>, expr: &Expr) -> Result<Output> {
    let name = item::name_of(resolver, expr)?;
    let key = match &name {
        Some(name) => name.clone(),
        None => item::key_of(resolver, expr)?,
    };
    let plain = item::peeled(expr);
    let merged = match plain {
        Expr::Identifier(ident) => match resolver.find(ident)? {
            Meaning::Is(value @ (Expr::Function(_) | Expr::CompoundIdentifier(_))) => Some(value),
            _ => None,
        },
        _ => None,
    };
    let (item, changed) = match (&name, merged) {
        (Some(name), Some(value)) => (aliased(value, name), true),
        _ => (SelectItem::UnnamedExpr(expr.clone()), false),
    };
    Ok(Output { item, relation: resolver.relation_of(plain), name, key, changed, hides: false })
}

fn aliased(expr: Expr, name: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: build::quoted(name) }
}

/// The columns of `*`, unless it has options that need DataFusion.
fn star(scope: &Scope, options: &WildcardAdditionalOptions) -> Option<Vec<Part>> {
    let left_out = left_out(options)?;
    // Items that DataFusion expands correctly stay as written, if nothing else has to change.
    let parts = scope.star.iter().map(|item| part(scope, item, &left_out));
    let parts: Option<Vec<Option<Part>>> = parts.collect();
    Some(parts?.into_iter().flatten().collect())
}

/// The names that EXCLUDE or EXCEPT remove; `None` if there is another option.
fn left_out(options: &WildcardAdditionalOptions) -> Option<Vec<String>> {
    if options.opt_ilike.is_some() || options.opt_replace.is_some() {
        return None;
    }
    let fold = |value: &str, quoted: bool| {
        if quoted { value.to_owned() } else { value.to_ascii_lowercase() }
    };
    let mut names = Vec::new();
    if let Some(ExceptSelectItem { first_element, additional_elements }) = &options.opt_except {
        let all = std::iter::once(first_element).chain(additional_elements);
        names.extend(all.map(|ident| fold(&ident.value, ident.quote_style.is_some())));
    }
    let excluded: &[ObjectName] = match &options.opt_exclude {
        None => &[],
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names,
    };
    for name in excluded {
        let [part] = name.0.as_slice() else { return None };
        let ident = part.as_ident()?;
        names.push(fold(&ident.value, ident.quote_style.is_some()));
    }
    Some(names)
}

/// The select-list item for a part of `*`: `None` if it cannot be written, `Some(None)` if it is
/// excluded.
fn part(scope: &Scope, item: &Star, left_out: &[String]) -> Option<Option<Part>> {
    let is_out = |name: &str| left_out.iter().any(|out| out == name);
    Some(match item {
        Star::Merged(merged) => {
            let Merged { name, value, .. } = merged.as_ref();
            (!is_out(name)).then(|| {
                Part::One(Output {
                    item: aliased(value.clone(), name),
                    name: Some(name.clone()),
                    key: name.clone(),
                    relation: None,
                    changed: true,
                    hides: false,
                })
            })
        }
        Star::Column(relation, Column { name: Some(name), actual: Some(actual) }) => {
            (!is_out(name)).then(|| {
                Part::One(Output {
                    item: SelectItem::UnnamedExpr(scope.relations[*relation].column(actual)),
                    name: Some(name.clone()),
                    key: name.clone(),
                    relation: Some(*relation),
                    changed: false,
                    hides: false,
                })
            })
        }
        // A column whose name only DataFusion knows.
        Star::Column(..) => return None,
        Star::All(relation, without) if left_out.is_empty() => {
            let path = &scope.relations[*relation].path;
            if path.is_empty() {
                return None;
            }
            let name = ObjectName::from(path.iter().map(build::quoted).collect::<Vec<_>>());
            let mut options = WildcardAdditionalOptions::default();
            let mut out = without.iter().map(build::quoted);
            if let Some(first_element) = out.next() {
                let additional_elements = out.collect();
                options.opt_except = Some(ExceptSelectItem { first_element, additional_elements });
            }
            let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
            Some(Part::Unknown(SelectItem::QualifiedWildcard(kind, options)))
        }
        Star::All(..) => return None,
    })
}

/// The columns of `relation.*`.
fn of_relation(
    resolver: &Resolver<'_>,
    scope: &Scope,
    name: &ObjectName,
    options: &WildcardAdditionalOptions,
) -> Option<Vec<Part>> {
    let left_out = left_out(options)?;
    let path = resolver.path_of(name);
    let index = scope.relations.iter().position(|relation| relation.is(&path))?;
    let columns = scope.relations[index].columns.as_ref()?;
    let parts =
        columns.iter().map(|column| part(scope, &Star::Column(index, column.clone()), &left_out));
    let parts: Option<Vec<Option<Part>>> = parts.collect();
    Some(parts?.into_iter().flatten().collect())
}

struct Renamed {
    parts: Vec<(Part, Column)>,
    changed: bool,
}

/// Renames columns that have the same name as an earlier one.
fn tell_apart(
    resolver: &mut Resolver<'_>,
    parts: Vec<Part>,
    context: Context,
    is_seen_past: bool,
) -> Renamed {
    let mut alike: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, part) in parts.iter().enumerate() {
        if let Part::One(output) = part {
            alike.entry(output.key.clone()).or_default().push(i);
        }
    }
    let mut rename = vec![false; parts.len()];
    for same in alike.values().filter(|same| same.len() > 1) {
        if context == Context::Result && of_different_relations(&parts, same) {
            continue;
        }
        same[1..].iter().for_each(|&i| rename[i] = true);
    }
    if is_seen_past && context != Context::Stored {
        for (rename, part) in rename.iter_mut().zip(&parts) {
            *rename |= matches!(part, Part::One(output) if output.hides);
        }
    }
    let positions_known = parts.iter().all(|part| matches!(part, Part::One(_)));
    let taken: Vec<String> = parts
        .iter()
        .filter_map(|part| match part {
            Part::One(output) => output.name.clone(),
            Part::Unknown(_) => None,
        })
        .collect();
    let mut changed = false;
    let mut renamed = Vec::with_capacity(parts.len());
    for (i, part) in parts.into_iter().enumerate() {
        let Part::One(mut output) = part else {
            renamed.push((part, Column::unknown()));
            continue;
        };
        changed |= output.changed || rename[i];
        let mut column = match &output.name {
            Some(name) => Column::named(name),
            None => Column::unknown(),
        };
        if rename[i] {
            let first = alike[&output.key][0];
            let actual =
                new_name(resolver, &output, context, &taken, positions_known.then_some(first));
            column.actual = Some(actual.clone());
            if context == Context::Stored {
                column.name = Some(actual.clone());
            }
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
                output.item
            else {
                continue;
            };
            output.item = aliased(expr, &actual);
        } else if let (Some(name), SelectItem::UnnamedExpr(_)) = (&output.name, &output.item)
            && output.relation.is_some()
        {
            // A renamed column of a subquery keeps its generated name.
            column.actual = output.actual().or_else(|| Some(name.clone()));
        }
        renamed.push((Part::One(output), column));
    }
    Renamed { parts: renamed, changed }
}

impl Output {
    /// The name in the plan of a plain column.
    fn actual(&self) -> Option<String> {
        match &self.item {
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts
                .last()
                .filter(|last| last.quote_style.is_some())
                .map(|last| last.value.clone()),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) if ident.quote_style.is_some() => {
                Some(ident.value.clone())
            }
            _ => None,
        }
    }
}

/// DataFusion distinguishes columns of the same name by their tables.
fn of_different_relations(parts: &[Part], same: &[usize]) -> bool {
    let relation = |i: &usize| match &parts[*i] {
        Part::One(output) => output.relation,
        Part::Unknown(_) => None,
    };
    let mut relations: Vec<_> = same.iter().map(relation).collect();
    relations.sort_unstable();
    relations.iter().all(Option::is_some) && relations.windows(2).all(|pair| pair[0] != pair[1])
}

fn new_name(
    resolver: &mut Resolver<'_>,
    output: &Output,
    context: Context,
    taken: &[String],
    first: Option<usize>,
) -> String {
    let text = match (&output.name, &output.item) {
        (Some(name), _) => name.clone(),
        (None, SelectItem::UnnamedExpr(expr)) => expr.to_string().to_lowercase(),
        (None, item) => item.to_string(),
    };
    if context == Context::Stored {
        // As DuckDB does.
        let mut names = (1..).map(|n| format!("{text}_{n}"));
        let free = names.find(|name| !taken.contains(name) && resolver.take_stored_name(name));
        return free.unwrap_or_default();
    }
    let actual = resolver.unused_name(&text);
    match (&output.name, first) {
        (None, Some(first)) if context == Context::Result => {
            resolver.label_like(actual.clone(), first, text);
        }
        _ => resolver.label(actual.clone(), text),
    }
    actual
}
