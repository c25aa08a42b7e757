//! Clauses of tables and joins.

use datafusion::sql::sqlparser::ast::{
    FunctionArg, Join, JoinOperator, TableAlias, TableAliasColumnDef, TableFactor,
    TableFunctionArgs, TableWithJoins,
};

use super::without;
use crate::error::{Error, Result};

pub(super) fn check(table: &TableFactor) -> Result<()> {
    match table {
        TableFactor::Table {
            name: _,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            without("WITH (...) after a table", !with_hints.is_empty())?;
            without("a version of a table", version.is_some())?;
            without_ordinality(*with_ordinality)?;
            without("PARTITION after a table", !partitions.is_empty())?;
            without("a path into a table", json_path.is_some())?;
            without("TABLESAMPLE", sample.is_some())?;
            without("USE INDEX, IGNORE INDEX or FORCE INDEX", !index_hints.is_empty())?;
            if let Some(TableFunctionArgs { args: _, settings }) = args {
                without("SETTINGS of a table function", settings.is_some())?;
            }
            check_optional(alias.as_ref())
        }
        TableFactor::Derived { lateral: _, subquery: _, alias, sample } => {
            without("TABLESAMPLE", sample.is_some())?;
            check_optional(alias.as_ref())
        }
        TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
            without_ordinality(*with_ordinality)?;
            let named = args.iter().any(|arg| !matches!(arg, FunctionArg::Unnamed(_)));
            without(&format!("a named argument of {name}"), named)?;
            check_optional(alias.as_ref())
        }
        TableFactor::UNNEST {
            alias,
            array_exprs: _,
            with_offset: _,
            with_offset_alias: _,
            with_ordinality,
        } => {
            without_ordinality(*with_ordinality)?;
            check_optional(alias.as_ref())
        }
        TableFactor::NestedJoin { table_with_joins, alias } => {
            check_joins(table_with_joins)?;
            check_optional(alias.as_ref())
        }
        TableFactor::TableFunction { .. } => {
            Err(Error::unsupported("TABLE (...)")
                .with_hint("call the function in FROM without TABLE"))
        }
        TableFactor::JsonTable { .. } => Err(Error::unsupported("JSON_TABLE")),
        TableFactor::OpenJsonTable { .. } => Err(Error::unsupported("OPENJSON")),
        TableFactor::Pivot { .. } => Err(Error::unsupported("PIVOT")
            .with_hint("write an aggregate with FILTER (WHERE ...) for each column")),
        TableFactor::Unpivot { .. } => Err(Error::unsupported("UNPIVOT")
            .with_hint("write a UNION ALL with a branch for each column")),
        TableFactor::MatchRecognize { .. } => Err(Error::unsupported("MATCH_RECOGNIZE")),
        TableFactor::XmlTable { .. } => Err(Error::unsupported("XMLTABLE")),
        TableFactor::SemanticView { .. } => Err(Error::unsupported("SEMANTIC_VIEW")),
    }
}

fn without_ordinality(is_there: bool) -> Result<()> {
    without("WITH ORDINALITY", is_there).map_err(|error| {
        error.with_hint(
            "unnest the positions beside the list: SELECT unnest(xs), unnest(generate_series(1, \
             cardinality(xs)))",
        )
    })
}

fn check_optional(alias: Option<&TableAlias>) -> Result<()> {
    alias.map_or(Ok(()), check_alias)
}

pub(super) fn check_alias(alias: &TableAlias) -> Result<()> {
    let TableAlias { explicit: _, name: _, columns, at } = alias;
    without("AT after a table name", at.is_some())?;
    for TableAliasColumnDef { name: _, data_type } in columns {
        without("a type after a column name in FROM", data_type.is_some())?;
    }
    Ok(())
}

pub(super) fn check_joins(tables: &TableWithJoins) -> Result<()> {
    let TableWithJoins { relation: _, joins } = tables;
    for Join { relation: _, global, join_operator } in joins {
        without("GLOBAL JOIN", *global)?;
        match join_operator {
            JoinOperator::Join(_)
            | JoinOperator::Inner(_)
            | JoinOperator::Left(_)
            | JoinOperator::LeftOuter(_)
            | JoinOperator::Right(_)
            | JoinOperator::RightOuter(_)
            | JoinOperator::FullOuter(_)
            | JoinOperator::CrossJoin(_)
            | JoinOperator::LeftSemi(_)
            | JoinOperator::RightSemi(_)
            | JoinOperator::LeftAnti(_)
            | JoinOperator::RightAnti(_) => {}
            JoinOperator::Semi(_) | JoinOperator::Anti(_) => {
                return Err(Error::unsupported("SEMI JOIN or ANTI JOIN without LEFT or RIGHT")
                    .with_hint("write LEFT SEMI JOIN or LEFT ANTI JOIN"));
            }
            JoinOperator::CrossApply | JoinOperator::OuterApply => {
                return Err(Error::unsupported("CROSS APPLY or OUTER APPLY")
                    .with_hint("write CROSS JOIN LATERAL or LEFT JOIN LATERAL ... ON true"));
            }
            JoinOperator::AsOf { .. } => return Err(Error::unsupported("ASOF JOIN")),
            JoinOperator::StraightJoin(_) => {
                return Err(Error::unsupported("STRAIGHT_JOIN").with_hint("write JOIN"));
            }
            JoinOperator::ArrayJoin
            | JoinOperator::LeftArrayJoin
            | JoinOperator::InnerArrayJoin => {
                return Err(
                    Error::unsupported("ARRAY JOIN").with_hint("write CROSS JOIN UNNEST(...)")
                );
            }
        }
    }
    Ok(())
}
