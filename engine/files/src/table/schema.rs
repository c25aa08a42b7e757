//! The common schema of the files of a table, or an error that names two files that disagree.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::{DataFusionError, Result};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use parquet::schema::types::TypePtr;

use crate::arrow_file::head::arrow_schema;
use crate::avro::avro_schema;
use crate::caught::caught_in;
use crate::error::{NOT_ITS_FORMAT, SourceError, SourceErrorKind, explain, reason};
use crate::format::{Format, Kind};
use crate::location::Location;
use crate::parquet_file::logical::{is_special, of_table};
use crate::text::{self, Origin, TextOptions, type_name};
use crate::wider::wider;

/// The number of files whose schemas are read at once.
const ASKED_AT_ONCE: usize = 16;

/// The schema of all files.
pub(crate) async fn infer(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    format: Format,
    reader: Option<&Arc<dyn FileFormat>>,
    files: &[ObjectMeta],
) -> Result<SchemaRef> {
    if matches!(format.kind, Kind::Csv | Kind::Tsv | Kind::Json) {
        let reader = reader.map_or_else(|| format.reader(session), Arc::clone);
        let origins = text_files(store, location, format, files);
        if let Some(schema) = of_text(session, reader.as_ref(), origins).await? {
            return Ok(schema);
        }
    }
    // Collected before they are polled: a stream that borrows them inside an async trait is more
    // than the compiler can prove to be `Send`.
    let questions: Vec<_> =
        files.iter().map(|file| of_file(session, store, location, format, reader, file)).collect();
    let schemas: Vec<SchemaRef> =
        futures::stream::iter(questions).buffered(ASKED_AT_ONCE).try_collect().await?;
    let named: Vec<(String, &Schema)> = files
        .iter()
        .map(|file| location.show(&file.location))
        .zip(schemas.iter().map(AsRef::as_ref))
        .collect();
    let schema = by_name(&named)?;
    Ok(Arc::new(settle(&schema)))
}

/// Files of text as the readers of text know them.
fn text_files(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    format: Format,
    files: &[ObjectMeta],
) -> Vec<Origin> {
    let origin = |file: &ObjectMeta| Origin {
        store: Arc::clone(store),
        file: file.clone(),
        compression: format.compression,
        name: location.show(&file.location),
    };
    files.iter().map(origin).collect()
}

/// The columns of files of text, by the options of their reader.
async fn of_text(
    session: &dyn Session,
    reader: &dyn FileFormat,
    files: Vec<Origin>,
) -> Result<Option<SchemaRef>> {
    let Some(options) = TextOptions::of(reader, session, false)? else { return Ok(None) };
    text::infer(&options, files, rows_that_decide(reader)).await.map(Some)
}

/// How many rows decide types, if an option says it.
fn rows_that_decide(reader: &dyn FileFormat) -> Option<usize> {
    match (reader.downcast_ref::<CsvFormat>(), reader.downcast_ref::<JsonFormat>()) {
        (Some(csv), _) => csv.options().schema_infer_max_rec,
        (_, Some(json)) => json.options().schema_infer_max_rec,
        _ => None,
    }
}

async fn of_file(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    format: Format,
    reader: Option<&Arc<dyn FileFormat>>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    let named = location.show(&file.location);
    match caught_in(ask(session, store, format, reader, file).boxed()).await {
        Ok(asked) => asked.map_err(|error| unreadable(error, &named, format)),
        Err(_) => {
            let reason = NOT_ITS_FORMAT.to_owned();
            Err(unreadable(DataFusionError::Execution(reason), &named, format))
        }
    }
}

async fn ask(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    format: Format,
    reader: Option<&Arc<dyn FileFormat>>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    if format.kind == Kind::Arrow {
        let schema = arrow_schema(store, file).await?;
        fields_once(schema.fields())?;
        return Ok(schema);
    }
    let reader = reader.map_or_else(|| format.reader(session), Arc::clone);
    if format.kind == Kind::Parquet {
        let schema = reader.infer_schema(session, store, std::slice::from_ref(file)).await?;
        let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
        let footer = DFParquetMetadata::new(store.as_ref(), file);
        let footer = footer.with_file_metadata_cache(Some(cache)).fetch_metadata().await?;
        // DataFusion's schema has one column of each name.
        columns_once(footer.file_metadata().schema().get_fields())?;
        return Ok(match is_special(&schema) {
            true => Arc::new(of_table(&schema, &footer)),
            false => schema,
        });
    }
    if format.kind == Kind::Avro {
        return avro_schema(store, file).await;
    }
    reader.infer_schema(session, store, std::slice::from_ref(file)).await
}

fn unreadable(error: DataFusionError, file: &str, format: Format) -> DataFusionError {
    if explain(&error).is_some() || matches!(error, DataFusionError::ResourcesExhausted(_)) {
        return error;
    }
    let reason = reason(&error);
    SourceError::new(
        SourceErrorKind::Invalid,
        format!("\"{file}\" cannot be read as {}: {reason}", format.keyword()),
    )
    .into_datafusion()
}

/// The union of the columns of all files, by name.
fn by_name(files: &[(String, &Schema)]) -> Result<Schema> {
    let Some((first, schema)) = files.first() else { return Ok(Schema::empty()) };
    let mut fields: Vec<(Field, &str, usize)> =
        schema.fields().iter().map(|field| (field.as_ref().clone(), first.as_str(), 1)).collect();
    let mut places: HashMap<String, usize> =
        fields.iter().enumerate().map(|(at, (field, ..))| (field.name().clone(), at)).collect();
    for (file, other) in &files[1..] {
        for field in other.fields() {
            let Some(&at) = places.get(field.name()) else {
                places.insert(field.name().clone(), fields.len());
                fields.push((field.as_ref().clone(), file, 1));
                continue;
            };
            let (known, from, seen) = &mut fields[at];
            let kind = wider(known.data_type(), field.data_type()).ok_or_else(|| {
                differ(&format!(
                    "column \"{}\" is {} in \"{}\" and {} in \"{}\"",
                    field.name(),
                    type_name(known.data_type()),
                    from,
                    type_name(field.data_type()),
                    file
                ))
            })?;
            let nullable = known.is_nullable() || field.is_nullable();
            *known = known.clone().with_data_type(kind).with_nullable(nullable);
            *seen += 1;
        }
    }
    let fields: Vec<Field> = fields
        .into_iter()
        .map(|(field, _, seen)| {
            let nullable = field.is_nullable() || seen < files.len();
            field.with_nullable(nullable)
        })
        .collect();
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Two columns of one name, in a file or in a record: nothing could tell them apart, and one would
/// be lost.
fn once<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let message = format!("it has several columns of the same name \"{name}\"");
            return Err(DataFusionError::Execution(message));
        }
    }
    Ok(())
}

fn columns_once(columns: &[TypePtr]) -> Result<()> {
    once(columns.iter().map(|column| column.name()))?;
    let groups = columns.iter().filter(|column| column.is_group());
    groups.into_iter().try_for_each(|group| columns_once(group.get_fields()))
}

fn fields_once(fields: &Fields) -> Result<()> {
    once(fields.iter().map(|field| field.name().as_str()))?;
    fields.iter().try_for_each(|field| match field.data_type() {
        DataType::Struct(fields) => fields_once(fields),
        _ => Ok(()),
    })
}

fn differ(message: &str) -> DataFusionError {
    SourceError::new(SourceErrorKind::Differ, message)
        .hint("read the files one by one, cast the column, and join the results with UNION ALL BY NAME")
        .into_datafusion()
}

/// Columns in which nothing was seen are text: a later row may have something.
fn settle(schema: &Schema) -> Schema {
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Null => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
            _ => Arc::clone(field),
        })
        .collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(
            fields.iter().map(|(n, t)| Field::new(*n, t.clone(), false)).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn columns_by_name_are_united() {
        let (x, y) = ("x".to_owned(), "y".to_owned());
        let one = schema(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
        let two =
            schema(&[("b", DataType::Utf8View), ("c", DataType::Date32), ("a", DataType::Float32)]);
        let united = by_name(&[(x.clone(), &one), (y.clone(), &two)]).unwrap();
        let types: Vec<_> = united
            .fields()
            .iter()
            .map(|f| (f.name().as_str(), f.data_type().clone(), f.is_nullable()))
            .collect();
        assert_eq!(
            types,
            [
                ("a", DataType::Float64, false),
                ("b", DataType::Utf8View, false),
                ("c", DataType::Date32, true)
            ]
        );
    }

    #[test]
    fn files_that_disagree_are_named() {
        let (x, y) = ("x".to_owned(), "y".to_owned());
        let one = schema(&[("a", DataType::Int32)]);
        let two = schema(&[("a", DataType::Utf8)]);
        let message = by_name(&[(x, &one), (y, &two)]).unwrap_err().to_string();
        assert!(message.contains("column \"a\" is INT in \"x\" and VARCHAR in \"y\""), "{message}");
    }
}
