//! A query as a tree of text, printed in each engine's dialect and reduced without knowledge of
//! SQL: a part is replaced by a part of the same kind within it, by the smallest of its kind, or by
//! nothing if it is optional. A result that is not valid SQL fails in every engine and is skipped.

use std::fmt::Write as _;

/// The dialect to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Ours,
    DuckDb,
    Sqlite,
}

/// The kind of a part: parts of one kind are interchangeable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    Integer,
    Float,
    Text,
    Date,
    Timestamp,
    Decimal,
    List,
    Query,
    From,
    Other,
}

/// A part of a query.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Whether it is optional.
    pub(crate) optional: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// Text that differs by engine: ours, DuckDB's and SQLite's.
    Each([String; 3]),
    Child(Node),
    /// Parts with a separator, of which at least `min` remain.
    List {
        items: Vec<Node>,
        separator: &'static str,
        min: usize,
    },
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, optional: false, parts: Vec::new() }
    }

    /// A part that is only text.
    pub(crate) fn leaf(kind: Kind, text: impl Into<String>) -> Self {
        Self::new(kind).text(text)
    }

    /// Makes it optional.
    pub(crate) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    pub(crate) fn each(mut self, ours: &str, duck: &str, lite: &str) -> Self {
        self.parts.push(Part::Each([ours.to_owned(), duck.to_owned(), lite.to_owned()]));
        self
    }

    pub(crate) fn child(mut self, child: Self) -> Self {
        self.parts.push(Part::Child(child));
        self
    }

    pub(crate) fn list(mut self, items: Vec<Self>, separator: &'static str, min: usize) -> Self {
        self.parts.push(Part::List { items, separator, min });
        self
    }

    /// The text for an engine.
    pub(crate) fn sql(&self, dialect: Dialect) -> String {
        let mut text = String::new();
        self.write(dialect, &mut text);
        text
    }

    fn write(&self, dialect: Dialect, text: &mut String) {
        for part in &self.parts {
            match part {
                Part::Text(t) => text.push_str(t),
                Part::Each([ours, duck, lite]) => text.push_str(match dialect {
                    Dialect::Ours => ours,
                    Dialect::DuckDb => duck,
                    Dialect::Sqlite => lite,
                }),
                Part::Child(child) => child.write(dialect, text),
                Part::List { items, separator, .. } => {
                    for (n, item) in items.iter().enumerate() {
                        let separator = if n > 0 { *separator } else { "" };
                        // Writing to a string cannot fail.
                        let _ = text.write_str(separator);
                        item.write(dialect, text);
                    }
                }
            }
        }
    }

    /// The length of the text, which the reduction minimizes.
    pub(crate) fn size(&self) -> usize {
        self.sql(Dialect::Ours).len()
    }

    /// All trees with one part reduced, the largest reductions first.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        self.replacements(&mut |smaller| found.push(smaller));
        found.retain(|smaller| smaller.size() < self.size());
        found.sort_by_key(Self::size);
        found
    }

    /// Calls `found` with each replacement within this part.
    fn replacements(&self, found: &mut dyn FnMut(Self)) {
        for within in self.of_kind(self.kind, true) {
            found(within.clone());
        }
        if let Some(least) = least(self.kind)
            && self.sql(Dialect::Ours) != least
        {
            found(Self::leaf(self.kind, least));
        }
        for (n, part) in self.parts.iter().enumerate() {
            let with = |part: Part| {
                let mut copy = self.clone();
                copy.parts[n] = part;
                copy
            };
            match part {
                Part::Text(_) | Part::Each(_) => {}
                Part::Child(child) => {
                    if child.optional {
                        found(with(Part::Text(String::new())));
                    }
                    child.replacements(&mut |smaller| {
                        let smaller = Self { optional: child.optional, ..smaller };
                        found(with(Part::Child(smaller)));
                    });
                }
                Part::List { items, separator, min } => {
                    for m in 0..items.len() {
                        let list = |items: Vec<Self>| Part::List { items, separator, min: *min };
                        if items.len() > *min {
                            let mut rest = items.clone();
                            rest.remove(m);
                            found(with(list(rest)));
                        }
                        items[m].replacements(&mut |smaller| {
                            let mut changed = items.clone();
                            changed[m] = smaller;
                            found(with(list(changed)));
                        });
                    }
                }
            }
        }
    }

    /// The parts of this kind below this one.
    fn of_kind(&self, kind: Kind, top: bool) -> Vec<&Self> {
        if kind == Kind::Other {
            return Vec::new();
        }
        if !top && self.kind == kind {
            return vec![self];
        }
        let children = self.parts.iter().flat_map(|part| match part {
            Part::Text(_) | Part::Each(_) => Vec::new(),
            Part::Child(child) => vec![child],
            Part::List { items, .. } => items.iter().collect(),
        });
        children.flat_map(|child| child.of_kind(kind, false)).collect()
    }
}

/// The smallest part of a kind.
fn least(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Boolean => Some("true"),
        Kind::Integer => Some("1"),
        Kind::Float => Some("cast(1 as double)"),
        Kind::Text => Some("'a'"),
        Kind::Date => Some("date '2024-01-01'"),
        Kind::Timestamp | Kind::Decimal | Kind::List | Kind::Query | Kind::From | Kind::Other => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_gives_way_to_one_of_its_kind_or_to_nothing() {
        let column = Node::leaf(Kind::Integer, "a");
        let sum = Node::new(Kind::Integer).text("(").child(column).text(" + 7)");
        let filter = Node::new(Kind::Other)
            .text(" where ")
            .child(Node::new(Kind::Boolean).child(sum).text(" > 2"))
            .optional();
        let query = Node::new(Kind::Query).text("select a from t").child(filter);
        let texts: Vec<String> =
            query.smaller().iter().map(|smaller| smaller.sql(Dialect::Ours)).collect();
        assert_eq!(
            texts,
            [
                "select a from t",
                "select a from t where true",
                "select a from t where a > 2",
                "select a from t where 1 > 2"
            ]
        );
    }
}
