//! The names of columns to which a query gives none: what stands in the select list, as it was written. DataFusion
//! 55.2 names them after its own expressions (`Int64(7) % Int64(3)`, `sum(t.x)`).

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{
    CreateTable, CreateView, Expr, Query, Select, SelectItem, SetExpr, Statement, visit_expressions,
};

/// The names of a result's columns. Between what the list begins and ends with there may be items of which it is
/// not known how many columns they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    first: Vec<Option<String>>,
    last: Vec<Option<String>>,
    /// Whether there is such an item, `*` for one.
    is_open: bool,
}

impl Headers {
    /// What to call each of the columns that are called `names` in the plan.
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

    /// The same where all columns must have different names: if they would not, all keep theirs.
    pub fn over_stored(&self, names: &[&str]) -> Vec<String> {
        let given = self.over(names);
        let mut seen = HashSet::new();
        match given.iter().all(|name| seen.insert(name)) {
            true => given,
            false => names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// Whether all columns have their names already.
    pub fn is_empty(&self) -> bool {
        self.first.iter().chain(&self.last).all(Option::is_none)
    }
}

/// The names of the columns that the statement gives or stores, as it was parsed.
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
    query.and_then(|query| select_of(query)).map(of_select).unwrap_or_default()
}

/// The select list that names the columns of a query.
fn select_of(query: &Query) -> Option<&Select> {
    let mut set = query.body.as_ref();
    if !query.pipe_operators.is_empty() {
        return None;
    }
    loop {
        set = match set {
            SetExpr::Select(select) => return Some(select),
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Query(query) => return select_of(query),
            _ => return None,
        };
    }
}

fn of_select(select: &Select) -> Headers {
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

/// Whether the expression may be several columns: `unnest` of a record is.
fn is_several(expr: &Expr) -> bool {
    let found = visit_expressions(expr, |expr| match expr {
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("unnest") => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// What to call an expression; columns have the names that they have.
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
