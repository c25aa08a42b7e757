//! What Parquet files say about their rows, as far as it can be believed: rows, nulls and bounds of
//! each column, for whole files and for groups of them. Plans are made, rows are counted and files
//! are left out by it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::FileGroup;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::Result;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};

use crate::adapt::columns_of;
use crate::caught::caught_in;
use crate::error::{NOT_ITS_FORMAT, explain, reason, unreadable};
use crate::location::Location;
use crate::parquet_file::bounds::believable;
use crate::scan::watched::is_about_bytes;

/// Adds what Parquet files say about their rows, whose columns in the table are `schema`.
pub(crate) async fn with_statistics(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    files: Vec<PartitionedFile>,
    schema: &SchemaRef,
) -> Result<Vec<PartitionedFile>> {
    let at_once = session.config_options().execution.meta_fetch_concurrency.get();
    futures::stream::iter(files)
        .map(|file| async move {
            let meta = &file.object_meta;
            let named = || location.show(&meta.location);
            let statistics = match caught_in(read(session, store, meta, schema).boxed()).await {
                Ok(Ok(statistics)) => statistics,
                Ok(Err(error)) if is_about_bytes(&error) && explain(&error).is_none() => {
                    return Err(unreadable(&named(), &reason(&error)));
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(unreadable(&named(), NOT_ITS_FORMAT)),
            };
            let statistics = inexact_float_bounds(of_columns(statistics, schema), schema);
            Ok(with_nulls(file.with_statistics(Arc::new(statistics))))
        })
        .buffered(at_once)
        .try_collect()
        .await
}

async fn read(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    schema: &SchemaRef,
) -> Result<Statistics> {
    let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
    let footer = DFParquetMetadata::new(store.as_ref(), file);
    let footer = footer.with_file_metadata_cache(Some(cache)).fetch_metadata().await?;
    let names = footer.file_metadata().schema().get_fields();
    let names = names.iter().map(|column| Field::new(column.name(), DataType::Null, true));
    let schema = named_as(&Schema::new(names.collect::<Vec<_>>()), schema);
    DFParquetMetadata::statistics_from_parquet_metadata(&*believable(footer)?, &schema)
}

/// The table's columns by the names that a file has for them.
fn named_as(file: &Schema, table: &SchemaRef) -> SchemaRef {
    let places = columns_of(file, table);
    let fields = table.fields().iter().zip(places).map(|(field, place)| match place {
        Some(at) if file.field(at).name() != field.name() => {
            Arc::new(field.as_ref().clone().with_name(file.field(at).name()))
        }
        _ => Arc::clone(field),
    });
    let fields: Vec<FieldRef> = fields.collect();
    Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))
}

/// Leaves out bounds that are not of their column's type. DataFusion 55.2 gathers them by the type
/// of the table's column, and gives up in the midst of it when that of the file's is another one.
fn of_columns(mut statistics: Statistics, schema: &Schema) -> Statistics {
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        let kind = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            kind => kind,
        };
        let of_type = |bound: &Precision<ScalarValue>| {
            bound.get_value().is_none_or(|value| !value.is_null() && value.data_type() == *kind)
        };
        if !of_type(&column.min_value) || !of_type(&column.max_value) {
            column.min_value = Precision::Absent;
            column.max_value = Precision::Absent;
        }
    }
    statistics
}

/// Of all columns of floats, at any depth, bounds become estimates.
fn inexact_float_bounds(mut statistics: Statistics, schema: &Schema) -> Statistics {
    for (field, column) in schema.fields().iter().zip(&mut statistics.column_statistics) {
        if has_floats(field.data_type()) {
            column.min_value = std::mem::take(&mut column.min_value).to_inexact();
            column.max_value = std::mem::take(&mut column.max_value).to_inexact();
            column.sum_value = std::mem::take(&mut column.sum_value).to_inexact();
        }
    }
    statistics
}

fn has_floats(kind: &DataType) -> bool {
    match kind {
        kind if kind.is_floating() => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::Dictionary(_, values) => has_floats(values),
        _ => false,
    }
}

/// Says of the folders of rows without a value that all of these are null.
///
/// DataFusion 55.2 adds what folders say to the statistics of a file, "as partition values are
/// never null" (`PartitionedFile::with_statistics`): counts and filters were answered by it.
fn with_nulls(mut file: PartitionedFile) -> PartitionedFile {
    if file.partition_values.iter().all(|value| !value.is_null()) {
        return file;
    }
    if let Some(statistics) = &mut file.statistics {
        let statistics = Arc::make_mut(statistics);
        let first = statistics.column_statistics.len().saturating_sub(file.partition_values.len());
        let columns = statistics.column_statistics.iter_mut().skip(first);
        for (column, value) in columns.zip(&file.partition_values) {
            if value.is_null() {
                *column = ColumnStatistics {
                    null_count: statistics.num_rows,
                    distinct_count: Precision::Absent,
                    ..ColumnStatistics::new_unknown()
                };
            }
        }
    }
    file
}

/// Files in as many groups as there are partitions, and what is known of all of them together.
pub(crate) fn grouped(
    session: &dyn Session,
    files: Vec<PartitionedFile>,
    schema: &SchemaRef,
) -> Result<(Vec<FileGroup>, Statistics)> {
    let known = files.iter().all(|file| file.statistics.is_some());
    let groups = FileGroup::new(files).split_files(session.config().target_partitions().max(1));
    if !known {
        return Ok((groups, Statistics::new_unknown(schema)));
    }
    let merged = |files: &mut dyn Iterator<Item = &PartitionedFile>| {
        let each = files.filter_map(|file| file.statistics.as_deref());
        Statistics::try_merge_iter(each, schema)
    };
    let statistics = merged(&mut groups.iter().flat_map(FileGroup::iter))?;
    let groups = groups
        .into_iter()
        .map(|group| {
            let statistics = merged(&mut group.iter())?;
            Ok(group.with_statistics(Arc::new(statistics)))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok((groups, statistics))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Int32Array};
    use datafusion::arrow::record_batch::RecordBatch;
    use datafusion::parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn nulls_of_folders_are_still_needed() {
        let mut file = PartitionedFile::new("region=__HIVE_DEFAULT_PARTITION__/x.parquet", 1);
        file.partition_values = vec![ScalarValue::Utf8(None)];
        let rows = Statistics {
            num_rows: Precision::Exact(7),
            total_byte_size: Precision::Absent,
            column_statistics: Vec::new(),
        };
        let file = file.with_statistics(Arc::new(rows));
        let nulls = |file: &PartitionedFile| {
            file.statistics.as_ref().unwrap().column_statistics[0].null_count
        };
        assert_eq!(nulls(&file), Precision::Exact(0), "DataFusion counts these nulls now");
        assert_eq!(nulls(&with_nulls(file)), Precision::Exact(7));
    }

    /// The bounds of columns whose type in the table is not that of the file.
    #[test]
    fn bounds_of_the_columns_type_are_still_needed() {
        let values: ArrayRef = Arc::new(Int32Array::from(vec![9, 10]));
        let rows = RecordBatch::try_from_iter([("a", Arc::clone(&values)), ("b", values)]).unwrap();
        let mut file = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        file.write(&rows).unwrap();
        let footer = file.close().unwrap();
        let fields = [("a", DataType::Utf8), ("b", DataType::Int32)];
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        let table: SchemaRef = Arc::new(Schema::new(fields.to_vec()));
        let theirs = DFParquetMetadata::statistics_from_parquet_metadata(&footer, &table).unwrap();
        let greatest =
            |statistics: &Statistics, at: usize| statistics.column_statistics[at].max_value.clone();
        let null = Precision::Exact(ScalarValue::Utf8(None));
        assert_eq!(greatest(&theirs, 0), null, "DataFusion leaves the bound out now");
        let ours = of_columns(theirs, &table);
        assert_eq!(greatest(&ours, 0), Precision::Absent);
        assert_eq!(greatest(&ours, 1), Precision::Exact(ScalarValue::Int32(Some(10))));
    }
}
