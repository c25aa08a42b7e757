//! One schema for the files of a table, and which two files disagree when there is none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::error::{DataFusionError, Result};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore};
use parquet::schema::types::TypePtr;

use super::caught::caught_in;
use super::error::{NOT_ITS_FORMAT, SourceError, SourceErrorKind, explain, reason};
use super::format::{Format, Kind, Sniffed, without_compression};
use super::location::Location;
use super::logical::{is_special, of_table};
use super::sample::{Sample, arrow_schema};
use super::wider::wider;

/// How many files are asked for their columns at once.
const ASKED_AT_ONCE: usize = 16;

/// How many files of a format without a footer are asked; the others are taken to be alike.
const ASKED_MAX: usize = 64;

/// The schema of all files, and what their first one tells about how to read them.
pub(crate) async fn infer(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    format: Format,
    reader: Option<&Arc<dyn FileFormat>>,
    files: &[ObjectMeta],
) -> Result<(SchemaRef, Sniffed)> {
    let asked = match format.kind {
        Kind::Parquet | Kind::Arrow | Kind::Avro => files.len(),
        _ => files.len().min(ASKED_MAX),
    };
    // Collected before they are polled: a stream that borrows them inside an async trait is more
    // than the compiler can prove to be `Send`.
    let questions: Vec<_> = files[..asked]
        .iter()
        .map(|file| of_file(session, store, location, format, reader, file))
        .collect();
    let schemas: Vec<(SchemaRef, Sniffed)> =
        futures::stream::iter(questions).buffered(ASKED_AT_ONCE).try_collect().await?;
    let sniffed = Sniffed {
        json_array: schemas.first().is_some_and(|(_, sniffed)| sniffed.json_array),
        newlines_in_values: schemas.iter().any(|(_, sniffed)| sniffed.newlines_in_values),
    };
    if schemas.iter().any(|(_, other)| other.json_array != sniffed.json_array) {
        return Err(differ("some of the JSON files have a row in each line, others are arrays"));
    }
    let named: Vec<(String, &Schema)> = files
        .iter()
        .map(|file| location.show(&file.location))
        .zip(schemas.iter().map(|(schema, _)| schema.as_ref()))
        .collect();
    let schema = match format.kind {
        Kind::Csv | Kind::Tsv => by_position(&named)?,
        _ => by_name(&named)?,
    };
    Ok((Arc::new(settle(&schema)), sniffed))
}

async fn of_file(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    format: Format,
    reader: Option<&Arc<dyn FileFormat>>,
    file: &ObjectMeta,
) -> Result<(SchemaRef, Sniffed)> {
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
) -> Result<(SchemaRef, Sniffed)> {
    if format.kind == Kind::Arrow {
        let schema = arrow_schema(store, file).await?;
        fields_once(schema.fields())?;
        return Ok((schema, Sniffed::default()));
    }
    if format.kind == Kind::Parquet {
        let reader = reader.map_or_else(|| format.reader(session, Sniffed::default()), Arc::clone);
        let schema = reader.infer_schema(session, store, std::slice::from_ref(file)).await?;
        let cache = session.runtime_env().cache_manager.get_file_metadata_cache();
        let footer = DFParquetMetadata::new(store.as_ref(), file);
        let footer = footer.with_file_metadata_cache(Some(cache)).fetch_metadata().await?;
        // DataFusion's schema has one column of each name.
        columns_once(footer.file_metadata().schema().get_fields())?;
        let schema = match is_special(&schema) {
            true => Arc::new(of_table(&schema, &footer)),
            false => schema,
        };
        return Ok((schema, Sniffed::default()));
    }
    let sample = Sample::read(store, file, format).await?;
    let sniffed = sample.sniff(format);
    if sample.is_cut_array(sniffed) {
        let schema = format
            .reader(session, sniffed)
            .infer_schema(session, store, std::slice::from_ref(file))
            .await?;
        return Ok((schema, sniffed));
    }
    let (head, meta) = sample.into_store(file, format.kind != Kind::Avro).await?;
    // The head is decompressed already.
    let plain = Format { compression: CompressionTypeVariant::UNCOMPRESSED, ..format };
    let reader = match reader {
        Some(reader) if format.compression == CompressionTypeVariant::UNCOMPRESSED => {
            Arc::clone(reader)
        }
        Some(reader) => without_compression(reader),
        None => plain.reader(session, sniffed),
    };
    let schema = reader.infer_schema(session, &head, &[meta]).await?;
    Ok((schema, sniffed))
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

/// Text files without names in their rows: the columns must be the same ones in the same order.
fn by_position(files: &[(String, &Schema)]) -> Result<Schema> {
    let Some((first, schema)) = files.first() else { return Ok(Schema::empty()) };
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    for (file, other) in &files[1..] {
        let names = |schema: &Schema| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        if names(schema) != names(other) {
            return Err(SourceError::new(
                SourceErrorKind::Differ,
                format!(
                    "\"{}\" and \"{}\" do not have the same columns: ({}) and ({})",
                    first,
                    file,
                    names(schema).join(", "),
                    names(other).join(", ")
                ),
            )
            .hint("read them one by one and join the results with UNION ALL BY NAME")
            .into_datafusion());
        }
        for (field, other) in fields.iter_mut().zip(other.fields()) {
            // Text can be read as text whatever is in it.
            let kind = wider(field.data_type(), other.data_type()).unwrap_or(DataType::Utf8);
            *field = Arc::new(field.as_ref().clone().with_data_type(kind));
        }
    }
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Files whose rows name their columns: all columns of all of them.
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
                    known.data_type(),
                    from,
                    field.data_type(),
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

/// Two columns of one name, in a file or in a record: nothing could tell them apart, and one would be lost.
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
        .hint("files of one table must have columns of types that can be read as one")
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
        let message = by_name(&[(x.clone(), &one), (y.clone(), &two)]).unwrap_err().to_string();
        assert!(message.contains("column \"a\" is Int32 in \"x\" and Utf8 in \"y\""), "{message}");
        let three = schema(&[("b", DataType::Int32)]);
        let message = by_position(&[(x.clone(), &one), (y, &three)]).unwrap_err().to_string();
        assert!(message.contains("(a) and (b)"), "{message}");
    }
}
