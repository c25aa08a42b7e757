//! The scope of one SELECT: the relations of its FROM, their columns, and the merged columns of
//! USING.

use datafusion::sql::sqlparser::ast::{AccessExpr, Expr, Ident};

use super::super::build;
use crate::error::{Error, Result};

/// A column of a relation or of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name in statements; `None` if only DataFusion knows it.
    pub(super) name: Option<String>,
    /// Its name in the plan; `None` if only DataFusion knows it.
    pub(super) actual: Option<String>,
}

impl Column {
    pub(super) fn named(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { actual: Some(name.clone()), name: Some(name) }
    }

    pub(super) fn unknown() -> Self {
        Self { name: None, actual: None }
    }
}

/// A table, a query or a function in FROM.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    /// The parts of its name, as they are matched.
    pub(super) path: Vec<String>,
    /// Its columns; `None` if they are not known.
    pub(super) columns: Option<Vec<Column>>,
    /// False for the side of a SEMI or ANTI join that is not in the result.
    pub(super) visible: bool,
}

impl Relation {
    /// The column `actual` of this relation, qualified.
    pub(super) fn column(&self, actual: &str) -> Expr {
        let mut parts: Vec<Ident> = self.path.iter().map(build::settled).collect();
        parts.push(build::settled(actual));
        match parts.len() {
            1 => Expr::Identifier(parts.remove(0)),
            _ => Expr::CompoundIdentifier(parts),
        }
    }

    /// The columns called `name`, case-sensitive if `exactly`.
    pub(super) fn find(&self, name: &str, exactly: bool) -> Vec<&Column> {
        let columns = self.columns.iter().flatten();
        columns
            .filter(|column| column.name.as_deref().is_some_and(|c| same(c, name, exactly)))
            .collect()
    }

    /// True if `path` is a valid way to write its name.
    pub(super) fn is(&self, path: &[String]) -> bool {
        let mut own = self.path.iter().rev();
        path.len() <= self.path.len()
            && path.iter().rev().all(|part| own.next().is_some_and(|o| same(o, part, false)))
    }
}

fn same(name: &str, wanted: &str, exactly: bool) -> bool {
    name == wanted || !exactly && name.to_lowercase() == wanted.to_lowercase()
}

/// A merged column of USING or NATURAL.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    pub(super) name: String,
    /// Its value.
    pub(super) value: Expr,
    /// The columns in it, as relation and actual name.
    pub(super) parts: Vec<(usize, String)>,
}

/// The expansion of `*`, in order.
#[derive(Debug, Clone)]
pub(super) enum Star {
    Merged(Box<Merged>),
    Column(usize, Column),
    /// All columns of a relation with unknown columns, except these names.
    All(usize, Vec<String>),
}

/// The scope of one SELECT.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) relations: Vec<Relation>,
    pub(super) merged: Vec<Merged>,
    pub(super) star: Vec<Star>,
}

/// The meaning of a name.
#[expect(clippy::large_enum_variant, reason = "short-lived: values are never stored")]
pub(super) enum Meaning {
    /// Left to DataFusion, which finds the column or reports that it does not exist.
    AsWritten,
    /// This expression.
    Is(Expr),
    /// Not a name of this scope.
    Nothing,
}

/// An unqualified name, as written and as matched.
pub(super) struct Written<'a> {
    pub(super) ident: &'a Ident,
    pub(super) folded: String,
}

impl Scope {
    /// The meaning of an unqualified name.
    pub(super) fn find(&self, name: &Written<'_>) -> Result<Meaning> {
        if let Some(found) = self.find_exactly(&name.folded)? {
            return Ok(found);
        }
        if self.relations.iter().any(|relation| relation.columns.is_none()) {
            return Ok(Meaning::AsWritten);
        }
        if name.ident.quote_style.is_some() {
            return Ok(Meaning::Nothing);
        }
        let raw = &name.ident.value;
        if *raw != name.folded
            && let Some(Meaning::AsWritten) = self.find_exactly(raw)?
        {
            return Ok(Meaning::Is(Expr::Identifier(build::quoted(raw))));
        }
        if let [merged] = self.merged_like(raw).as_slice() {
            return Ok(Meaning::Is(merged.value.clone()));
        }
        let mut alike = self.alike(raw);
        alike.sort_unstable();
        alike.dedup();
        match alike.as_slice() {
            [] => Ok(Meaning::Nothing),
            [one] => Ok(Meaning::Is(Expr::Identifier(build::quoted(*one)))),
            several => Err(capitals(raw, several)),
        }
    }

    /// The only visible relation that has a column of this name.
    pub(super) fn relation_with(&self, name: &str) -> Option<usize> {
        let mut with = (0..self.relations.len()).filter(|&i| {
            self.relations[i].visible && !self.relations[i].find(name, true).is_empty()
        });
        let (first, second) = (with.next(), with.next());
        if second.is_none() { first } else { None }
    }

    fn merged_like(&self, name: &str) -> Vec<&Merged> {
        self.merged.iter().filter(|merged| same(&merged.name, name, false)).collect()
    }

    /// Actual names of visible columns called `name`, ignoring case.
    fn alike(&self, name: &str) -> Vec<&str> {
        let visible = self.relations.iter().filter(|relation| relation.visible);
        let found = visible.flat_map(|relation| relation.find(name, false));
        found.filter_map(|column| column.actual.as_deref()).collect()
    }

    fn find_exactly(&self, name: &str) -> Result<Option<Meaning>> {
        let mut found = 0;
        for (i, relation) in self.relations.iter().enumerate().filter(|(_, r)| r.visible) {
            let columns = relation.find(name, true);
            let free = columns.iter().filter(|column| !self.is_merged(i, column)).count();
            if free > 1 {
                return Err(shared(name, relation, free));
            }
            found += free;
        }
        let merged: Vec<_> = self.merged.iter().filter(|merged| merged.name == name).collect();
        Ok(match (merged.as_slice(), found) {
            ([], 0) => None,
            ([one], 0) => Some(Meaning::Is(one.value.clone())),
            // If there are several, DataFusion reports that.
            ([], _) => Some(Meaning::AsWritten),
            _ => {
                return Err(Error::statement(format!("the column \"{name}\" is ambiguous"))
                    .with_hint("qualify it with the name of its table"));
            }
        })
    }

    fn is_merged(&self, relation: usize, column: &Column) -> bool {
        let is = |(r, name): &(usize, String)| {
            *r == relation && Some(name.as_str()) == column.actual.as_deref()
        };
        self.merged.iter().any(|merged| merged.parts.iter().any(is))
    }

    /// The meaning of a qualified name, or of a field of a column.
    pub(super) fn find_compound(&self, names: &[Written<'_>]) -> Result<Meaning> {
        let folded: Vec<String> = names.iter().map(|name| name.folded.clone()).collect();
        for length in (1..names.len().min(4)).rev() {
            let mut of = self.relations.iter().filter(|relation| relation.is(&folded[..length]));
            let (Some(relation), None) = (of.next(), of.next()) else { continue };
            return column_of(relation, names, length);
        }
        // The first part may be a column, and the rest its field.
        match self.find(&names[0])? {
            Meaning::Is(Expr::Identifier(first)) => {
                let mut parts: Vec<Ident> = names.iter().map(|name| name.ident.clone()).collect();
                parts[0] = first;
                Ok(Meaning::Is(Expr::CompoundIdentifier(parts)))
            }
            Meaning::Is(_) => Ok(Meaning::AsWritten),
            other => Ok(other),
        }
    }
}

impl Scope {
    /// The relation and the column of a qualified name, if they are known, and the number of parts
    /// that name the relation.
    pub(super) fn relation_of(&self, names: &[Written<'_>]) -> Option<(&Relation, &Column, usize)> {
        let folded: Vec<String> = names.iter().map(|name| name.folded.clone()).collect();
        (1..names.len().min(4)).rev().find_map(|length| {
            let mut of = self.relations.iter().filter(|relation| relation.is(&folded[..length]));
            let (Some(relation), None) = (of.next(), of.next()) else { return None };
            let name = &names[length];
            let mut found = relation.find(&name.folded, true);
            if found.is_empty() && name.ident.quote_style.is_none() {
                found = relation.find(&name.ident.value, false);
            }
            match found.as_slice() {
                [column] => Some((relation, *column, length)),
                _ => None,
            }
        })
    }

    /// True if a relation has a column called `name`.
    pub(super) fn has_column(&self, name: &Written<'_>) -> bool {
        let exactly = name.ident.quote_style.is_some();
        let has = |relation: &Relation| !relation.find(&name.folded, exactly).is_empty();
        self.relations.iter().any(has)
    }

    /// The qualified name of a column of this scope, or of its field, in a subquery. DataFusion
    /// 55.2 reads the name of the relation as a column of the subquery if there is one, unless the
    /// name also has a schema; and it finds no fields of outer columns by name.
    pub(super) fn column_of_outer(&self, names: &[Written<'_>]) -> Meaning {
        let Some((relation, column, length)) = self.relation_of(names) else {
            return Meaning::AsWritten;
        };
        let Some(actual) = &column.actual else { return Meaning::AsWritten };
        let mut path: Vec<Ident> = relation.path.iter().map(build::settled).collect();
        if path.len() == 1 {
            path.insert(0, build::settled(ANY_SCHEMA));
        }
        path.push(build::settled(actual));
        let root = Expr::CompoundIdentifier(path);
        let fields =
            names[length + 1..].iter().map(|name| AccessExpr::Dot(build::text(&name.folded)));
        let access_chain: Vec<_> = fields.collect();
        Meaning::Is(match access_chain.is_empty() {
            true => root,
            false => Expr::CompoundFieldAccess { root: Box::new(root), access_chain },
        })
    }
}

/// A schema for names of relations without one. DataFusion finds the relation whatever it is.
const ANY_SCHEMA: &str = "__outer";

/// The column named after the first `length` parts, which are a relation's name.
fn column_of(relation: &Relation, names: &[Written<'_>], length: usize) -> Result<Meaning> {
    let name = &names[length];
    let mut found = relation.find(&name.folded, true);
    if found.is_empty() && name.ident.quote_style.is_none() {
        found = relation.find(&name.ident.value, true);
        if found.is_empty() {
            found = relation.find(&name.ident.value, false);
        }
    }
    match found.as_slice() {
        [] => Ok(Meaning::AsWritten),
        [column] => {
            let Some(actual) = &column.actual else { return Ok(Meaning::AsWritten) };
            if *actual == name.folded {
                return Ok(Meaning::AsWritten);
            }
            let mut parts: Vec<Ident> = names.iter().map(|name| name.ident.clone()).collect();
            parts[length] = build::quoted(actual);
            Ok(Meaning::Is(Expr::CompoundIdentifier(parts)))
        }
        several => {
            let actual: Vec<_> = several.iter().filter_map(|c| c.name.as_deref()).collect();
            match actual.windows(2).all(|pair| pair[0] == pair[1]) {
                true => Err(shared(&name.folded, relation, several.len())),
                false => Err(capitals(&name.ident.value, &actual)),
            }
        }
    }
}

/// The one column called `name`, ignoring case.
pub(super) fn named_like(columns: Option<&[Column]>, name: &Written<'_>) -> Meaning {
    let Some(columns) = columns else { return Meaning::Nothing };
    if columns.iter().any(|column| column.name.as_deref() == Some(&name.folded)) {
        return Meaning::AsWritten;
    }
    if name.ident.quote_style.is_some() {
        return Meaning::Nothing;
    }
    let raw = &name.ident.value;
    let lower = raw.to_lowercase();
    let names = || columns.iter().filter_map(|column| column.name.as_deref());
    let same: Vec<&str> = match names().any(|column| column == raw) {
        true => vec![raw],
        false => names().filter(|column| column.to_lowercase() == lower).collect(),
    };
    match same.as_slice() {
        [one] => Meaning::Is(Expr::Identifier(build::quoted(*one))),
        _ => Meaning::Nothing,
    }
}

fn shared(name: &str, relation: &Relation, count: usize) -> Error {
    let of = match relation.path.last() {
        Some(table) => format!(" of \"{table}\""),
        None => String::new(),
    };
    Error::statement(format!(
        "the column \"{name}\"{of} is ambiguous: {count} columns have this name"
    ))
    .with_hint("give them different names with AS")
}

fn capitals(name: &str, several: &[&str]) -> Error {
    let names: Vec<_> = several.iter().map(|name| format!("\"{name}\"")).collect();
    Error::statement(format!(
        "the column \"{name}\" is ambiguous: it can be {}",
        names.join(" or ")
    ))
    .with_hint("write the name in double quotes")
}
