//! Names unnamed result columns after the text of their expression in the select list. DataFusion
//! 55.2 names them after its own expressions (`Int64(7) % Int64(3)`, `sum(t.x)`).

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateView, Cte, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement,
    TableAlias, TableFactor, Value, Visit, Visitor, WildcardAdditionalOptions, visit_expressions,
};

use super::build;

/// The column names of a result. Between the first and the last items of the select list there may
/// be items with an unknown number of columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    first: Vec<Option<String>>,
    last: Vec<Option<String>>,
    /// True if there is such an item, `*` for one.
    is_open: bool,
}

impl Headers {
    /// The names to show for the columns that the plan calls `names`.
    pub fn over(&self, names: &[&str]) -> Vec<String> {
        let n_known = self.first.len() + self.last.len();
        let fits = if self.is_open { n_known <= names.len() } else { n_known == names.len() };
        let first_of_last = names.len().saturating_sub(self.last.len());
        let header = |(at, name): (usize, &&str)| {
            let known = match at.checked_sub(first_of_last) {
                Some(at) => self.last.get(at),
                None => self.first.get(at),
            };
            known.filter(|_| fits).cloned().flatten().unwrap_or_else(|| (*name).to_owned())
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
        self.first.iter().chain(&self.last).all(Option::is_none)
    }
}

/// The column names of the result that the parsed statement returns or stores.
pub fn headers(statement: &Parsed) -> Headers {
    let query = match statement {
        Parsed::Statement(statement) => match statement.as_ref() {
            Statement::Query(query) => Some(query),
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
            SelectItem::UnnamedExpr(expr) if is_several(expr) => headers.open(),
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
    fn push(&mut self, header: Option<String>) {
        let known = if self.is_open { &mut self.last } else { &mut self.first };
        known.push(header);
    }

    fn open(&mut self) {
        self.is_open = true;
        self.last.clear();
    }
}

/// True if the expression may be several columns, such as `unnest` of a struct.
fn is_several(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("unnest") => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// The name of an unnamed expression; columns keep their names.
fn text_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
        Expr::Nested(inner) => match inner.as_ref() {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
            _ => Some(expr.to_string()),
        },
        _ => Some(expr.to_string()),
    }
}

/// Names select items that contain a subquery: DataFusion 55.2 names the column after one of the
/// subquery's, or gives all the same name.
pub(super) fn name_subqueries(select: &mut Select) {
    name_items(select, has_subquery);
}

/// Names casts of columns: DataFusion gives `CAST(x AS INT)` the name `x`, and `ORDER BY x` then
/// finds two columns of that name.
pub(super) fn name_casts(select: &mut Select) {
    name_items(select, |expr| matches!(expr, Expr::Cast { .. }) && column_of(expr).is_some());
}

/// The name of the column that `expr` is, or is a cast of.
fn column_of(expr: &Expr) -> Option<&Ident> {
    let mut expr = expr;
    loop {
        expr = match expr {
            Expr::Cast { expr, .. } | Expr::Nested(expr) => expr,
            Expr::Identifier(name) => return Some(name),
            Expr::CompoundIdentifier(path) => return path.last(),
            _ => return None,
        };
    }
}

/// Names casts of columns after the columns in the first SELECT of a set operation, because ORDER
/// BY refers to these names.
pub(super) fn name_casts_of_set(set: &mut SetExpr) {
    let mut set = set;
    let select = loop {
        set = match set {
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Select(select) => break select,
            _ => return,
        };
    };
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(cast @ Expr::Cast { .. }) = item
            && let Some(alias) = column_of(cast).cloned()
        {
            let expr = std::mem::replace(cast, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

fn name_items(select: &mut Select, is_meant: impl Fn(&Expr) -> bool) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && is_meant(expr)
        {
            let alias = build::quoted(expr.to_string());
            let expr = std::mem::replace(expr, Expr::value(Value::Null));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
}

/// True if `expr` contains a query.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    struct Queries;
    impl Visitor for Queries {
        type Break = ();
        fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    expr.visit(&mut Queries).is_break()
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
        let cases: [(&str, &[&str], &[&str]); 9] = [
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
