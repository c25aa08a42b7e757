//! Types that Parquet has no name for, as the types that it has.
//!
//! parquet 59.3 writes moments and times in seconds, and dates in milliseconds, as bare integers:
//! other programs read numbers. In milliseconds, and in days, they are what they are.

use std::sync::Arc;

use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// The type that is written, if it is another one.
fn stored(kind: &DataType) -> Option<DataType> {
    Some(match kind {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::List(item) => DataType::List(stored_field(item)?),
        DataType::LargeList(item) => DataType::LargeList(stored_field(item)?),
        DataType::ListView(item) => DataType::ListView(stored_field(item)?),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(stored_field(item)?, *size),
        DataType::Map(entries, sorted) => DataType::Map(stored_field(entries)?, *sorted),
        DataType::Dictionary(_, values) => stored(values)?,
        DataType::Struct(fields) => {
            let changed: Vec<Option<FieldRef>> = fields.iter().map(stored_field).collect();
            if changed.iter().all(Option::is_none) {
                return None;
            }
            let each = fields.iter().zip(changed);
            DataType::Struct(
                each.map(|(field, changed)| changed.unwrap_or_else(|| Arc::clone(field))).collect(),
            )
        }
        _ => return None,
    })
}

fn stored_field(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(field.as_ref().clone().with_data_type(stored(field.data_type())?)))
}

/// The schema of a Parquet file of such rows.
pub(crate) fn stored_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| stored_field(field).unwrap_or_else(|| Arc::clone(field));
    let fields: Vec<FieldRef> = schema.fields().iter().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Rows as a Parquet file with this schema has them.
pub(crate) fn stored_batch(batch: &RecordBatch, to: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(to.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast_with_options(column, field.data_type(), &strict),
    });
    RecordBatch::try_new(Arc::clone(to), columns.collect::<Result<Vec<_>, _>>()?)
}

/// The rows of a plan as a Parquet file has them.
pub(crate) fn stored_rows(input: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let schema = Arc::clone(input.schema());
    if schema.fields().iter().all(|field| stored(field.data_type()).is_none()) {
        return Ok(input);
    }
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field.as_ref())));
        match stored(field.data_type()) {
            Some(kind) => cast(column, kind).alias(field.name()),
            None => column,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(columns)?;
    Ok(Arc::new(plan.build()?))
}

/// The same for a plan of operators.
pub(crate) fn stored_physical(
    session: &dyn Session,
    input: Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = input.schema();
    if schema.fields().iter().all(|field| stored(field.data_type()).is_none()) {
        return Ok(input);
    }
    let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
    let column = |field: &FieldRef| {
        let column = Expr::Column(Column::from_name(field.name()));
        let column = match stored(field.data_type()) {
            Some(kind) => cast(column, kind),
            None => column,
        };
        Ok((session.create_physical_expr(column, &df_schema)?, field.name().clone()))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, input)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Field;
    use parquet::arrow::ArrowSchemaConverter;

    #[test]
    fn stored_types_are_still_needed() {
        for kind in [
            DataType::Timestamp(TimeUnit::Second, None),
            DataType::Time32(TimeUnit::Second),
            DataType::Date64,
        ] {
            let named = |kind: DataType| {
                let schema = Schema::new(vec![Field::new("t", kind, true)]);
                let converted = ArrowSchemaConverter::new().convert(&schema).unwrap();
                converted.column(0).logical_type_ref().is_some()
            };
            assert!(!named(kind.clone()), "Parquet has a name for {kind} now");
            assert!(named(stored(&kind).unwrap()), "{kind}");
        }
    }

    #[test]
    fn types_within_others_are_changed_too() {
        let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
        let millis = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let list = |kind| DataType::List(Arc::new(Field::new("item", kind, true)));
        let record = |kind| {
            let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", kind, true)];
            DataType::Struct(fields.into())
        };
        assert_eq!(stored(&list(record(seconds))), Some(list(record(millis))));
        assert_eq!(stored(&list(record(DataType::Utf8))), None);
    }
}
