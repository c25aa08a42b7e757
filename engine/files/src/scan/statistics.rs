//! What Parquet files say about their rows, as far as it can be believed: rows, nulls and bounds of
//! each column, for whole files and for groups of them. Plans are made, rows are counted and files
//! are left out by it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ScalarValue, Statistics};
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
use crate::partition::with_nulls;
use crate::scan::float_bounds::inexact_float_bounds;
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
