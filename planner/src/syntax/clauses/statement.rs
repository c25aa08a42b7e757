//! Clauses of statements.

use datafusion::sql::sqlparser::ast::{DropFunction, Statement};

use super::{create, without};
use crate::error::{Error, Result};

/// Refuses what DataFusion drops between syntax tree and plan.
pub(super) fn check(statement: &Statement) -> Result<()> {
    match statement {
        Statement::CreateTable(table) => create::table(table),
        Statement::CreateView(view) => create::view(view),
        Statement::Drop {
            object_type: _,
            if_exists: _,
            names: _,
            cascade: _,
            restrict: _,
            purge,
            temporary: _,
            table,
        } => {
            without("DROP ... PURGE", *purge)?;
            without("DROP ... ON", table.is_some())
        }
        Statement::CreateSchema {
            schema_name: _,
            if_not_exists: _,
            with,
            options,
            default_collate_spec,
            clone,
        } => {
            let any = with.is_some() || options.is_some();
            without("CREATE SCHEMA with options", any)?;
            without("CREATE SCHEMA with a collation", default_collate_spec.is_some())?;
            without("CREATE SCHEMA ... CLONE", clone.is_some())
        }
        Statement::CreateDatabase { .. } => create_database(statement),
        Statement::Explain {
            describe_alias: _,
            analyze: _,
            verbose: _,
            query_plan,
            estimate,
            statement: _,
            format: _,
            options,
        } => {
            without("EXPLAIN QUERY PLAN", *query_plan)?;
            without("EXPLAIN ESTIMATE", *estimate)?;
            without("an option of EXPLAIN", options.is_some())
        }
        Statement::DropFunction(DropFunction { if_exists: _, func_desc, drop_behavior: _ }) => {
            without("DROP FUNCTION of several functions", func_desc.len() > 1)
        }
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. } => {
            Err(Error::unsupported("transactions (BEGIN, COMMIT, ROLLBACK)")
                .with_hint("each statement is atomic: leave out BEGIN and COMMIT"))
        }
        Statement::CreateIndex(_) => Err(Error::unsupported("CREATE INDEX")
            .with_hint("tables have no indexes; scans of sorted files skip what they do not need")),
        statement => refused(statement),
    }
}

/// Statements that DataFusion refuses, with what to write instead.
fn refused(statement: &Statement) -> Result<()> {
    let (what, instead) = match statement {
        Statement::Truncate(_) => ("TRUNCATE", "write DELETE FROM and the table's name"),
        Statement::Merge(_) => ("MERGE", "write UPDATE, DELETE and INSERT statements"),
        Statement::AlterTable(_) => {
            ("ALTER TABLE", "create a new table: CREATE TABLE new AS SELECT ... FROM old")
        }
        Statement::CreateFunction(_) | Statement::CreateMacro { .. } => {
            ("a function defined in SQL", "define it in a Rust program with #[bigslice::udf]")
        }
        Statement::Insert(insert) if insert.returning.is_some() => {
            ("INSERT ... RETURNING", "write a SELECT after it")
        }
        Statement::Update(update) if update.returning.is_some() => {
            ("UPDATE ... RETURNING", "write a SELECT after it")
        }
        Statement::Delete(delete) if delete.returning.is_some() => {
            ("DELETE ... RETURNING", "write a SELECT before it")
        }
        // DataFusion handles the others completely, or refuses them.
        _ => return Ok(()),
    };
    Err(Error::unsupported(what).with_hint(instead))
}

fn create_database(statement: &Statement) -> Result<()> {
    let Statement::CreateDatabase {
        db_name: _,
        if_not_exists: _,
        location,
        managed_location,
        or_replace,
        transient,
        clone,
        data_retention_time_in_days,
        max_data_extension_time_in_days,
        external_volume,
        catalog,
        replace_invalid_characters,
        default_ddl_collation,
        storage_serialization_policy,
        comment: _,
        default_charset,
        default_collation,
        catalog_sync,
        catalog_sync_namespace_mode,
        catalog_sync_namespace_flatten_delimiter,
        with_tags,
        with_contacts,
    } = statement
    else {
        return Ok(());
    };
    without("CREATE OR REPLACE DATABASE", *or_replace)?;
    let optional = location.is_some()
        || managed_location.is_some()
        || *transient
        || clone.is_some()
        || data_retention_time_in_days.is_some()
        || max_data_extension_time_in_days.is_some()
        || external_volume.is_some()
        || catalog.is_some()
        || replace_invalid_characters.is_some()
        || default_ddl_collation.is_some()
        || storage_serialization_policy.is_some()
        || default_charset.is_some()
        || default_collation.is_some()
        || catalog_sync.is_some()
        || catalog_sync_namespace_mode.is_some()
        || catalog_sync_namespace_flatten_delimiter.is_some()
        || with_tags.is_some()
        || with_contacts.is_some();
    without("CREATE DATABASE with options", optional)
}
