//! `PARTITIONED BY`: values as names of folders, in a form that reads back as the same value.
//!
//! DataFusion's writer is given texts alone, made by `partition_text`, and percent-encodes what a
//! name may not have. [`real`] gives a file the path that it is to have, with the escapes that only
//! `partition_text` knows of.

use std::sync::Arc;

use bigslice_functions::{PARTITION_ESCAPE, partition_kept, partition_text};
use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema};
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use object_store::path::Path;

use crate::error::SourceError;

/// How the writer's percent-encoding leaves [`PARTITION_ESCAPE`].
const ESCAPE_ENCODED: &str = "%EE%80%80";

/// The rows of `input` with texts for folders in the place of the columns of `partition_by`; with
/// values that are looked at, if these columns are `kept` in the files.
pub(crate) fn named(
    input: LogicalPlan,
    partition_by: &[String],
    kept: bool,
) -> Result<LogicalPlan> {
    let name = if kept { partition_kept() } else { partition_text() };
    let schema = Arc::clone(input.schema());
    for column in partition_by {
        check_name(column)?;
        if schema.fields().iter().all(|field| field.name() != column) {
            let columns: Vec<_> =
                schema.fields().iter().map(|f| format!("\"{}\"", f.name())).collect();
            return Err(SourceError::invalid(format!(
                "the result has no column \"{column}\" to be partitioned by"
            ))
            .hint(format!("its columns are {}", columns.join(", ")))
            .into_datafusion());
        }
    }
    check_rest(schema.fields(), partition_by)?;
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field.as_ref())));
        if !partition_by.contains(field.name()) {
            return Ok(column);
        }
        check_type(field.name(), field.data_type())?;
        Ok(name.call(vec![column]).alias(field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(input).project(columns)?.build()
}

/// The same for a plan of operators, with the schema that it then has.
pub(crate) fn named_physical(
    session: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
    partition_by: &[(String, DataType)],
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = Expr::Column(Column::from_name(field.name()));
        let column = match partition_by.iter().any(|(name, _)| name == field.name()) {
            true => {
                check_name(field.name())?;
                check_type(field.name(), field.data_type())?;
                partition_text().call(vec![column])
            }
            false => column,
        };
        columns.push((session.create_physical_expr(column, &df_schema)?, field.name().clone()));
    }
    Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
}

/// A schema whose columns of `partition_by` are text.
pub(crate) fn named_schema(schema: &Schema, partition_by: &[(String, DataType)]) -> Schema {
    let named = |field: &Field| partition_by.iter().any(|(name, _)| name == field.name());
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| match named(field) {
            true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
            false => Arc::clone(field),
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The path of a file whose folders have names by `partition_text`.
pub(crate) fn real(path: &Path) -> object_store::Result<Path> {
    debug_assert_eq!(PARTITION_ESCAPE, '\u{e000}');
    match path.as_ref().contains(ESCAPE_ENCODED) {
        false => Ok(path.clone()),
        true => Ok(Path::parse(path.as_ref().replace(ESCAPE_ENCODED, "%"))?),
    }
}

/// Each column is in the names of folders once, and some are left for the files.
fn check_rest(fields: &Fields, partition_by: &[String]) -> Result<()> {
    let twice =
        partition_by.iter().enumerate().find(|(at, name)| partition_by[..*at].contains(name));
    if let Some((_, name)) = twice {
        let message = format!("\"{name}\" is twice among the columns to be partitioned by");
        return Err(SourceError::invalid(message).into_datafusion());
    }
    if fields.iter().any(|field| !partition_by.contains(field.name())) {
        return Ok(());
    }
    Err(SourceError::invalid(
        "all columns are in the names of folders, and none is left for the files".to_owned(),
    )
    .hint("partition by fewer columns")
    .into_datafusion())
}

fn check_name(name: &str) -> Result<()> {
    if !name.contains('=') {
        return Ok(());
    }
    Err(SourceError::invalid(format!(
        "a folder's name cannot say where the column \"{name}\" ends"
    ))
    .hint("give the column a name without =")
    .into_datafusion())
}

fn check_type(name: &str, kind: &DataType) -> Result<()> {
    if kind.is_nested() {
        return Err(SourceError::invalid(format!(
            "column \"{name}\" is {kind}: folders cannot be called by it"
        ))
        .hint("partition by a text or a number made of it")
        .into_datafusion());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_percents() {
        let path = Path::from("out").join("p=\u{e000}3007");
        assert_eq!(real(&path).unwrap().as_ref(), "out/p=%3007");
        let path = Path::from("out").join("p=100%");
        assert_eq!(real(&path).unwrap().as_ref(), "out/p=100%25");
    }
}
