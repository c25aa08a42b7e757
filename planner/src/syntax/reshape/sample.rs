//! Rewrites `TABLESAMPLE`, which DataFusion 55.2 ignores, as a query: each row is sampled with the
//! given probability, or a fixed number of rows is sampled.

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, TableAlias, TableFactor, TableSample, TableSampleKind, TableSampleMethod,
    TableSampleQuantity, TableSampleUnit, Value,
};

use super::super::build;
use super::super::build::number;
use crate::error::{Error, Result};

/// Replaces a table with TABLESAMPLE by a query for the sample.
pub(crate) fn reshape(table: &mut TableFactor) -> Result<()> {
    let (sample, alias) = match table {
        TableFactor::Table { sample, alias, name, .. } => {
            let Some(sample) = sample.take() else { return Ok(()) };
            let named = || name.0.last().and_then(|part| part.as_ident()).cloned().map(alias_of);
            (sample, alias.take().or_else(named))
        }
        TableFactor::Derived { sample, alias, .. } => {
            let Some(sample) = sample.take() else { return Ok(()) };
            (sample, alias.take())
        }
        _ => return Ok(()),
    };
    let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) =
        sample;
    let TableSample { modifier: _, name, quantity, seed, bucket, offset } = *sample;
    if seed.is_some() {
        return Err(Error::unsupported("TABLESAMPLE ... REPEATABLE").with_hint(
            "leave it out, or keep the sample: CREATE TABLE s AS SELECT * FROM t TABLESAMPLE ...",
        ));
    }
    if bucket.is_some() || offset.is_some() {
        return Err(Error::unsupported("TABLESAMPLE with BUCKET or OFFSET"));
    }
    let Some(TableSampleQuantity { parenthesized: _, value, unit }) = quantity else {
        return Err(Error::statement("TABLESAMPLE needs a percentage or a number of rows"));
    };
    let from = std::mem::replace(table, build::no_table());
    let mut query = build::all_of(from);
    match (unit, name) {
        (Some(TableSampleUnit::Rows), _) => {
            build::order_by_and_limit(&mut query, build::call("random", Vec::new()), value);
        }
        (Some(TableSampleUnit::Percent), _)
        | (None, Some(TableSampleMethod::Bernoulli | TableSampleMethod::System)) => {
            percent(&value)?;
            let drawn = build::times(build::call("random", Vec::new()), number("100"));
            build::keep_where(&mut query, build::less(drawn, value));
        }
        (None, _) => {
            return Err(Error::statement("TABLESAMPLE needs a unit: PERCENT or ROWS")
                .with_hint("write TABLESAMPLE (10 PERCENT) or TABLESAMPLE (10 ROWS)"));
        }
    }
    *table =
        TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
    Ok(())
}

fn alias_of(name: Ident) -> TableAlias {
    // A file name is a string literal; as a table name it needs the quotes of an identifier.
    let name = match name.quote_style {
        Some('\'') => Ident::with_quote('"', name.value),
        _ => name,
    };
    TableAlias { explicit: true, name, columns: Vec::new(), at: None }
}

fn percent(value: &Expr) -> Result<()> {
    if let Expr::Value(value) = value
        && let Value::Number(text, _) = &value.value
        && !text.parse().is_ok_and(|percent: f64| (0.0..=100.0).contains(&percent))
    {
        return Err(Error::statement(format!("{text} is not a valid percentage")));
    }
    Ok(())
}
