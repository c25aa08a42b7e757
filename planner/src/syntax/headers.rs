//! Names unnamed result columns after the text of their expression in the select list. DataFusion
//! 55.2 names them after its own expressions (`Int64(7) % Int64(3)`, `sum(t.x)`).

use std::collections::HashSet;

use datafusion::sql::parser::{CopyToSource, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateView, Cte, Expr, Query, Select, SelectItem, SetExpr, Statement, TableAlias,
    TableFactor, WildcardAdditionalOptions,
};

use super::reshape::is_unnest;

/// The column names of a result. Between the first and the last items of the select list there may
/// be items with an unknown number of columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    first: Vec<Option<Header>>,
    last: Vec<Option<Header>>,
    /// True if there is such an item, `*` for one.
    is_open: bool,
    /// The items with an `unnest`, which is one column for a list, and several for a struct.
    unnests: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Header {
    text: String,
    /// True for `a.b`, which is a column with a name of its own, or the field of a column.
    may_be_column: bool,
}

impl Header {
    /// The name to show for a column that the plan calls `name`.
    fn over(&self, name: &str) -> Option<String> {
        // DataFusion's names for fields.
        let is_field = name.contains('[') && name.ends_with(']');
        (!self.may_be_column || is_field).then(|| self.text.clone())
    }
}

impl Headers {
    /// The names to show for the columns that the plan calls `names`.
    pub fn over(&self, names: &[&str]) -> Vec<String> {
        let n_known = self.first.len() + self.last.len();
        let fits = if self.is_open { n_known <= names.len() } else { n_known == names.len() };
        let first_of_last = names.len().saturating_sub(self.last.len());
        // DataFusion's names for columns of lists that are unnested.
        let mut unnested: Vec<usize> =
            (0..names.len()).filter(|at| names[*at].contains("UNNEST(")).collect();
        if unnested.len() != self.unnests.len() {
            unnested.clear();
        }
        let header = |(at, name): (usize, &&str)| {
            let known = match at.checked_sub(first_of_last) {
                Some(at) => self.last.get(at),
                None => self.first.get(at),
            };
            let known = known.filter(|_| fits).and_then(Option::as_ref);
            let known = known.and_then(|header| header.over(name));
            let nth = || unnested.iter().position(|unnested| *unnested == at);
            known
                .or_else(|| nth().map(|nth| self.unnests[nth].clone()))
                .unwrap_or_else(|| (*name).to_owned())
        };
        names.iter().enumerate().map(header).collect()
    }

    /// The same for a stored result, whose column names must differ: if they would not, all stay as
    /// in `names`.
    pub fn over_stored(&self, names: &[&str]) -> Vec<String> {
        let given = self.over(names);
        let mut seen = HashSet::new();
        match given.iter().all(|name| seen.insert(name)) {
            true => given,
            false => names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// True if there are no columns to rename.
    pub fn is_empty(&self) -> bool {
        self.unnests.is_empty() && self.first.iter().chain(&self.last).all(Option::is_none)
    }
}

/// The column names of the result that the parsed statement returns or stores.
pub fn headers(statement: &Parsed) -> Headers {
    let query = match statement {
        Parsed::Statement(statement) => match statement.as_ref() {
            Statement::Query(query) => Some(query),
            Statement::Prepare { statement, .. } => match statement.as_ref() {
                Statement::Query(query) => Some(query),
                _ => None,
            },
            Statement::CreateTable(CreateTable { query, columns, .. }) if columns.is_empty() => {
                query.as_ref()
            }
            Statement::CreateView(CreateView { query, columns, .. }) if columns.is_empty() => {
                Some(query)
            }
            _ => None,
        },
        Parsed::CopyTo(copy) => match &copy.source {
            CopyToSource::Query(query) => Some(query),
            CopyToSource::Relation(_) => None,
        },
        _ => None,
    };
    query.map(|query| of_query(query, &[])).unwrap_or_default()
}

/// The column names of a query; `around` are the queries of WITH that it can read.
fn of_query(query: &Query, around: &[&Cte]) -> Headers {
    if !query.pipe_operators.is_empty() {
        return Headers::default();
    }
    let own = query.with.iter().flat_map(|with| &with.cte_tables);
    let ctes: Vec<_> = around.iter().copied().chain(own).collect();
    let mut set = query.body.as_ref();
    loop {
        set = match set {
            SetExpr::Select(select) => return of_select(select, &ctes),
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Query(query) => return of_query(query, &ctes),
            _ => return Headers::default(),
        };
    }
}

fn of_select(select: &Select, ctes: &[&Cte]) -> Headers {
    if is_all(select)
        && let [from] = select.from.as_slice()
        && from.joins.is_empty()
    {
        return of_relation(&from.relation, ctes);
    }
    let mut headers = Headers::default();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) if is_unnest(expr) => {
                headers.open();
                headers.unnests.push(expr.to_string());
            }
            SelectItem::UnnamedExpr(expr) => headers.push(text_of(expr)),
            SelectItem::ExprWithAlias { .. } => headers.push(None),
            _ => headers.open(),
        }
    }
    headers.is_open |= select.projection.is_empty();
    headers
}

/// True if the select list is `*`.
fn is_all(select: &Select) -> bool {
    match select.projection.as_slice() {
        [] => true,
        [SelectItem::Wildcard(options)] => *options == WildcardAdditionalOptions::default(),
        _ => false,
    }
}

/// The column names of a relation that is a query.
fn of_relation(relation: &TableFactor, ctes: &[&Cte]) -> Headers {
    let no_names = |alias: Option<&TableAlias>| alias.is_none_or(|alias| alias.columns.is_empty());
    match relation {
        TableFactor::Derived { subquery, alias, .. } if no_names(alias.as_ref()) => {
            of_query(subquery, ctes)
        }
        TableFactor::Table { name, alias, args: None, .. } if no_names(alias.as_ref()) => {
            let [part] = name.0.as_slice() else { return Headers::default() };
            let is_it = |cte: &&&Cte| Some(&cte.alias.name) == part.as_ident();
            match ctes.iter().rposition(|cte| is_it(&cte)) {
                Some(at) if ctes[at].alias.columns.is_empty() => {
                    of_query(&ctes[at].query, &ctes[..at])
                }
                _ => Headers::default(),
            }
        }
        _ => Headers::default(),
    }
}

impl Headers {
    fn push(&mut self, header: Option<Header>) {
        let known = if self.is_open { &mut self.last } else { &mut self.first };
        known.push(header);
    }

    fn open(&mut self) {
        self.is_open = true;
        self.last.clear();
    }
}

/// The name of an unnamed expression; columns keep their names.
fn text_of(expr: &Expr) -> Option<Header> {
    let inner = match expr {
        Expr::Nested(inner) => inner.as_ref(),
        _ => expr,
    };
    let may_be_column = matches!(inner, Expr::CompoundIdentifier(_));
    let is_column = matches!(inner, Expr::Identifier(_));
    (!is_column).then(|| Header { text: expr.to_string(), may_be_column })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;

    use super::super::parse;
    use super::{Headers, headers};

    fn of(sql: &str) -> Headers {
        headers(&parse(sql, Box::new(GenericDialect {}), 50).expect("it can be parsed"))
    }

    #[test]
    fn columns_without_a_name_are_called_as_they_are_written() {
        let cases: [(&str, &[&str], &[&str]); 12] = [
            ("SELECT 7 % 3, k, x AS y FROM a", &["Int64(7)", "k", "y"], &["7 % 3", "k", "y"]),
            ("SELECT sum(x) FROM a", &["sum(a.x)"], &["sum(x)"]),
            ("SELECT 1 + 1, * FROM a", &["Int64(1)", "k", "x"], &["1 + 1", "k", "x"]),
            ("SELECT *, 1 + 1 FROM a", &["k", "x", "Int64(1)"], &["k", "x", "1 + 1"]),
            (
                "SELECT *, x + 1, a.* FROM a",
                &["k", "x", "e", "k:1", "x:1"],
                &["k", "x", "e", "k:1", "x:1"],
            ),
            ("SELECT unnest(s), x + 1 FROM a", &["p", "q", "e"], &["p", "q", "x + 1"]),
            (
                "SELECT *, unnest(xs) + 1 FROM a",
                &["p", "q", "UNNEST(a.xs) + Int64(1)"],
                &["p", "q", "unnest(xs) + 1"],
            ),
            ("SELECT a.k, s.f FROM a", &["k", "a.s[f]"], &["k", "s.f"]),
            ("PREPARE p AS SELECT 1 + 1", &["e"], &["1 + 1"]),
            ("SELECT (k), - k FROM a UNION ALL SELECT 1, 2", &["k", "n"], &["k", "-k"]),
            ("COPY (SELECT count(*) FROM a) TO 'x.csv'", &["n"], &["count(*)"]),
            ("INSERT INTO a SELECT 1 + 1", &["count"], &["count"]),
        ];
        for (sql, names, expected) in cases {
            assert_eq!(of(sql).over(names), expected, "{sql}");
        }
    }

    #[test]
    fn stored_columns_keep_names_that_differ() {
        let names = ["Int64(1)", "Int64(1):1"];
        assert_eq!(of("CREATE TABLE t AS SELECT 1 + 1, 1 + 1").over_stored(&names), names);
        assert_eq!(of("CREATE TABLE t AS SELECT 1 + 1").over_stored(&["e"]), ["1 + 1"]);
    }
}
