//! The words that a user may type: SQL keywords, and the session's current names. Highlighting and
//! completion read them; the prompt refreshes them before each line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bigslice::Session;
use parking_lot::RwLock;

/// Maximum number of tables whose columns are looked up; larger catalogs complete by table names
/// only.
const TABLES_WITH_COLUMNS_MAX: usize = 500;

/// Keywords that are highlighted and completed. The parser has a thousand; most of them would be in
/// the way, because they are good column names.
pub(crate) const KEYWORDS: &[&str] = &[
    "all",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "bigint",
    "boolean",
    "by",
    "case",
    "cast",
    "copy",
    "create",
    "cross",
    "current",
    "date",
    "decimal",
    "delete",
    "desc",
    "describe",
    "distinct",
    "double",
    "drop",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "explain",
    "external",
    "extract",
    "false",
    "filter",
    "first",
    "float",
    "following",
    "from",
    "full",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "inner",
    "insert",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "last",
    "lateral",
    "left",
    "like",
    "limit",
    "location",
    "natural",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "options",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "partitioned",
    "preceding",
    "range",
    "recursive",
    "replace",
    "right",
    "rollup",
    "row",
    "rows",
    "select",
    "semi",
    "set",
    "sets",
    "show",
    "similar",
    "stages",
    "stored",
    "table",
    "tables",
    "temporary",
    "then",
    "time",
    "timestamp",
    "to",
    "true",
    "unbounded",
    "union",
    "unnest",
    "using",
    "values",
    "varchar",
    "verbose",
    "view",
    "when",
    "where",
    "window",
    "with",
    "within",
];

/// Whether a word is one of [`KEYWORDS`].
pub(crate) fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word.to_ascii_lowercase().as_str()).is_ok()
}

/// The names in a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Tables, each with its columns.
    pub(crate) tables: BTreeMap<String, Vec<String>>,
    /// Functions of all kinds.
    pub(crate) functions: BTreeSet<String>,
}

/// The names, shared by the prompt, which refreshes them, and the editor, which reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vocabulary(Arc<RwLock<Arc<Names>>>);

impl Vocabulary {
    /// The names at the last refresh.
    pub(crate) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.0.read())
    }

    /// Looks up the session's current names.
    pub(crate) async fn renew(&self, session: &Session) {
        let state = session.context().state();
        let functions = state
            .scalar_functions()
            .keys()
            .chain(state.aggregate_functions().keys())
            .chain(state.window_functions().keys())
            .chain(state.table_functions().keys())
            .cloned()
            .collect();
        let infos = session.tables();
        let with_columns = infos.len() <= TABLES_WITH_COLUMNS_MAX;
        let mut tables = BTreeMap::new();
        for info in infos {
            let columns = match with_columns {
                // A table whose look-up fails is still completed by its name.
                true => session.table_schema(&info.name).await.ok(),
                false => None,
            };
            let columns = columns
                .map(|schema| schema.fields().iter().map(|field| field.name().clone()).collect());
            tables.insert(info.name, columns.unwrap_or_default());
        }
        self.set(Names { tables, functions });
    }

    pub(crate) fn set(&self, names: Names) {
        *self.0.write() = Arc::new(names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_for_the_search() {
        assert!(KEYWORDS.is_sorted());
        assert!(is_keyword("SELECT") && !is_keyword("name"));
    }
}
