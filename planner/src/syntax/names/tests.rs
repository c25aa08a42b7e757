//! Statements, and how their names are resolved.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::super::{parse, rewrite};
use super::{Catalog, Labels, resolve};
use crate::error::Error;

struct Tables(HashMap<&'static str, Vec<&'static str>>);

impl Catalog for Tables {
    fn columns(&self, table: &ObjectName) -> Option<Vec<String>> {
        let columns = self.0.get(table.to_string().as_str())?;
        Some(columns.iter().map(|&column| column.to_owned()).collect())
    }

    fn is_scalar(&self, function: &str) -> bool {
        function == "abs"
    }

    fn is_volatile(&self, function: &str) -> bool {
        function == "random"
    }

    fn folds_names(&self) -> bool {
        true
    }
}

fn resolved(sql: &str) -> Result<(String, Labels), Error> {
    let tables = [("a", vec!["k", "x"]), ("b", vec!["k", "y"]), ("c", vec!["UserID", "k"])];
    let statement = parse(sql, Box::new(GenericDialect {}), 50).expect("it can be parsed");
    let mut statement = rewrite(statement)?;
    let labels = resolve(&mut statement, &Tables(HashMap::from(tables)))?;
    Ok((statement.to_string(), labels))
}

#[test]
fn names_are_written_out() {
    let cases = [
        ("SELECT k, x FROM a", "SELECT k, x FROM a"),
        (
            "SELECT * FROM a JOIN b USING (k)",
            "SELECT `a`.`k` AS \"k\", `a`.`x`, `b`.`y` FROM a JOIN b ON `a`.`k` = `b`.`k`",
        ),
        ("SELECT * FROM a JOIN unknown USING (k)", "SELECT * FROM a JOIN unknown USING(\"k\")"),
        (
            "SELECT k FROM a FULL JOIN b USING (k) WHERE k > 1 ORDER BY k",
            "SELECT coalesce(`a`.`k`, `b`.`k`) AS \"k\" FROM a FULL JOIN b ON `a`.`k` = `b`.`k` \
             WHERE coalesce(`a`.`k`, `b`.`k`) > 1 ORDER BY k",
        ),
        (
            "SELECT * FROM a RIGHT JOIN b USING (k)",
            "SELECT `b`.`k` AS \"k\", `a`.`x`, `b`.`y` FROM a RIGHT JOIN b ON `a`.`k` = `b`.`k`",
        ),
        ("SELECT userid FROM c", "SELECT \"UserID\" FROM c"),
        ("SELECT t.USERID FROM c AS t", "SELECT t.\"UserID\" FROM c AS t"),
        ("SELECT k, k FROM a", "SELECT k, k AS \"k:1\" FROM a"),
        ("SELECT a.k, b.k FROM a, b", "SELECT a.k, b.k FROM a, b"),
        ("COPY (SELECT k, k FROM a) TO 'x.csv'", "COPY (SELECT k, k AS \"k_1\" FROM a) TO x.csv"),
    ];
    for (sql, expected) in cases {
        assert_eq!(resolved(sql).unwrap().0, expected, "{sql}");
    }
}

#[test]
fn results_have_the_names_that_were_asked_for() {
    let (_, labels) = resolved("SELECT k, k, count(*), count(*) FROM a GROUP BY k").unwrap();
    let shown = labels.shown(&["k", "k:1", "count(*)", "count(*):1"]);
    assert_eq!(shown, ["k", "k", "count(*)", "count(*)"]);
    assert!(resolved("SELECT k FROM a").unwrap().1.is_empty());
}

#[test]
fn what_can_mean_several_columns_is_refused() {
    for sql in [
        "SELECT k FROM (SELECT k, k FROM a) q",
        "SELECT v FROM (SELECT 1 AS \"vV\", 2 AS \"VV\") q WHERE vv = 1",
        "SELECT abs(DISTINCT k) FROM a",
    ] {
        assert!(resolved(sql).is_err(), "{sql}");
    }
}
