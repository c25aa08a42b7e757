//! Creates tables of files: for a place in `FROM`, and for `CREATE EXTERNAL TABLE`.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider, TableProviderFactory, UrlTableFactory};
use datafusion::common::Constraints;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::FileFormat;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::CreateExternalTable;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::RwLock;

use crate::error::{SourceError, SourceErrorKind, explain, invalid, kind_of};
use crate::format::{Format, Kind, complete, compression_of_name};
use crate::listing::{Listing, list, list_or_empty, not_empty, nothing};
use crate::location::{Location, Place};
use crate::partition;
use crate::stores::Stores;
use crate::table::declared::check_names;
use crate::table::one_format::{common_format, of_format};
use crate::table::provider::{FileTable, FileTableParts, check_orders};
use crate::table::schema;

/// Tables of places in `FROM`.
#[derive(Debug)]
pub(crate) struct PlaceTables {
    session: OnceLock<Weak<RwLock<SessionState>>>,
    stores: Arc<Stores>,
}

impl PlaceTables {
    /// Places are read with these stores; the session is set when there is one.
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { session: OnceLock::new(), stores }
    }

    /// Says which session plans the statements; the first time counts.
    pub(crate) fn set_session(&self, session: Weak<RwLock<SessionState>>) {
        let _first = self.session.set(session);
    }

    fn session(&self) -> Option<SessionState> {
        let session = self.session.get()?.upgrade()?;
        let session = session.read();
        Some(session.clone())
    }
}

#[async_trait]
impl UrlTableFactory for PlaceTables {
    async fn try_new(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if !Location::looks_like_one(name) {
            return Ok(None);
        }
        let Some(session) = self.session() else { return Ok(None) };
        let location = self.stores.location(name).await?;
        let text = location.text().to_owned();
        let table = of_place(&session, location).await.map_err(|e| by_name(e, &text, name))?;
        Ok(Some(Arc::new(table)))
    }
}

/// The error about the copy of a pipe as an error about the pipe.
fn by_name(error: DataFusionError, copy: &str, name: &str) -> DataFusionError {
    let (Some((message, hint)), Some(kind)) = (explain(&error), kind_of(&error)) else {
        return error;
    };
    if copy == name {
        return error;
    }
    let error = SourceError::new(kind, message.replace(copy, name));
    match hint {
        Some(hint) => error.hint(hint.replace(copy, name)).into_datafusion(),
        None => error.into_datafusion(),
    }
}

async fn of_place(session: &SessionState, location: Location) -> Result<FileTable> {
    let store = session.runtime_env().object_store(location.store())?;
    let listing = list_or_empty(&store, &location).await?;
    if listing.single && listing.files.is_empty() && is_empty_json(&location) {
        return empty(session, location);
    }
    let listing = not_empty(listing, &location)?;
    let format = common_format(&location, &listing)?;
    let listing = of_format(listing, format, &location)?;
    let file_schema =
        schema::infer(session, &store, &location, format, None, &listing.files).await?;
    let (file_schema, partition_columns) =
        with_folders(&location, format, file_schema, (&listing.keyed, &listing))?;
    let table = FileTable::new(FileTableParts {
        locations: vec![location],
        format,
        reader: format.reader(session),
        file_schema,
        required: Vec::new(),
        declared: false,
        partition_columns,
        orders: Vec::new(),
        constraints: Constraints::default(),
        defaults: HashMap::new(),
        definition: None,
    })?;
    Ok(table.with_listing(listing))
}

/// A result without rows is written as an empty file of JSON.
fn is_empty_json(location: &Location) -> bool {
    let format = Format::of_name(location.name());
    format.is_some_and(|format| {
        format == Format { kind: Kind::Json, compression: CompressionTypeVariant::UNCOMPRESSED }
    })
}

/// A table without rows, and without columns because they are unknown.
fn empty(session: &SessionState, location: Location) -> Result<FileTable> {
    let format = Format { kind: Kind::Json, compression: CompressionTypeVariant::UNCOMPRESSED };
    FileTable::new(FileTableParts {
        locations: vec![location],
        format,
        reader: format.reader(session),
        file_schema: Arc::new(Schema::empty()),
        required: Vec::new(),
        declared: false,
        partition_columns: Vec::new(),
        orders: Vec::new(),
        constraints: Constraints::default(),
        defaults: HashMap::new(),
        definition: None,
    })
}

/// The columns of files and folders. A folder's column takes the place of a file's column of that
/// name, except in text without names in its rows, where the file's columns cannot be left out.
fn with_folders(
    location: &Location,
    format: Format,
    file_schema: SchemaRef,
    (root, listing): (&Path, &Listing),
) -> Result<(SchemaRef, partition::Columns)> {
    let columns = partition::infer(location, root, &listing.files)?;
    if matches!(format.kind, Kind::Csv | Kind::Tsv) {
        let left = columns.into_iter().filter(|(name, _)| file_schema.index_of(name).is_err());
        let left = left.collect();
        return Ok((file_schema, left));
    }
    Ok((without(&file_schema, &columns), columns))
}

fn without(
    schema: &SchemaRef,
    columns: &[(String, datafusion::arrow::datatypes::DataType)],
) -> SchemaRef {
    let in_folders = |name: &str| columns.iter().any(|(column, _)| column == name);
    let fields: Vec<_> =
        schema.fields().iter().filter(|field| !in_folders(field.name())).cloned().collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Tables of `CREATE EXTERNAL TABLE`.
#[derive(Debug)]
pub(crate) struct ExternalTables {
    stores: Arc<Stores>,
}

impl ExternalTables {
    /// Places are read with these stores.
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { stores }
    }
}

#[async_trait]
impl TableProviderFactory for ExternalTables {
    async fn create(
        &self,
        session: &dyn Session,
        command: &CreateExternalTable,
    ) -> Result<Arc<dyn TableProvider>> {
        let mut locations = Vec::with_capacity(command.locations.len());
        for text in &command.locations {
            let location = self.stores.location(text).await?;
            locations.push(file_or_folder(session, location).await?);
        }
        let Some(first) = locations.first() else {
            return Err(invalid("an external table has no location".to_owned()));
        };
        let store = session.runtime_env().object_store(first.store())?;
        let mut parts = declared(session, command, &locations)?;
        let listing = listed(&store, &locations, parts.format).await?;
        if command.schema.fields().is_empty() {
            if listing.files.is_empty() {
                return Err(no_columns(first));
            }
            let file_schema = schema::infer(
                session,
                &store,
                first,
                parts.format,
                Some(&parts.reader),
                &listing.files,
            )
            .await?;
            let (file_schema, columns) =
                with_folders(first, parts.format, file_schema, (&listing.root, &listing))?;
            parts.partition_columns = chosen(columns, &command.table_partition_cols)?;
            parts.file_schema = file_schema;
        } else {
            (parts.file_schema, parts.partition_columns) = declared_columns(command)?;
            let declared = (&parts.file_schema, parts.format, &parts.reader);
            check_names(session, &store, first, declared, &listing.files).await?;
        }
        let table = FileTable::new(parts)?;
        check_orders(&table.schema(), &command.order_exprs)?;
        Ok(Arc::new(table))
    }
}

/// A place without a final slash and without an extension is a folder, unless it is a file.
async fn file_or_folder(session: &dyn Session, location: Location) -> Result<Location> {
    match location.place() {
        Place::Path(path) if path.extension().is_none() => {
            let store = session.runtime_env().object_store(location.store())?;
            Ok(if store.head(path).await.is_ok() { location } else { location.into_folder() })
        }
        _ => Ok(location),
    }
}

/// The parts that the statement gives: the format with its options, orders, constraints.
fn declared(
    session: &dyn Session,
    command: &CreateExternalTable,
    locations: &[Location],
) -> Result<FileTableParts> {
    let state = session
        .as_any()
        .downcast_ref::<SessionState>()
        .ok_or_else(|| invalid("external tables need a session of SQL".to_owned()))?;
    let keyword = command.file_type.to_lowercase();
    let mut options = command.options.clone();
    let keyword = match keyword.as_str() {
        "tsv" => {
            options.entry("format.delimiter".to_owned()).or_insert_with(|| "\t".to_owned());
            "csv"
        }
        "jsonl" | "ndjson" => "json",
        "ipc" | "feather" => "arrow",
        other => other,
    };
    let kind = match keyword {
        "parquet" => Kind::Parquet,
        "csv" => Kind::Csv,
        "json" => Kind::Json,
        "arrow" => Kind::Arrow,
        "avro" => Kind::Avro,
        _ => return Err(unknown_format(&command.file_type)),
    };
    let reader = state
        .get_file_format_factory(keyword)
        .ok_or_else(|| unknown_format(&command.file_type))?
        .create(state, &options)?;
    let by_name = locations
        .first()
        .filter(|_| !options.keys().any(|key| key.ends_with("compression")))
        .map(|location| compression_of_name(location.name()))
        .filter(|compression| *compression != CompressionTypeVariant::UNCOMPRESSED);
    let reader = complete(reader, by_name);
    Ok(FileTableParts {
        locations: locations.to_vec(),
        format: Format { kind, compression: compression_of(&reader) },
        reader,
        file_schema: Arc::new(Schema::empty()),
        required: {
            let fields = command.schema.fields().iter().filter(|field| !field.is_nullable());
            fields.map(|field| field.name().clone()).collect()
        },
        declared: !command.schema.fields().is_empty(),
        partition_columns: Vec::new(),
        orders: command.order_exprs.clone(),
        constraints: command.constraints.clone(),
        defaults: command.column_defaults.clone(),
        definition: command.definition.clone(),
    })
}

fn compression_of(reader: &Arc<dyn FileFormat>) -> CompressionTypeVariant {
    reader.compression_type().map_or(CompressionTypeVariant::UNCOMPRESSED, Into::into)
}

async fn listed(
    store: &Arc<dyn ObjectStore>,
    locations: &[Location],
    format: Format,
) -> Result<Listing> {
    let mut all: Option<Listing> = None;
    for location in locations {
        let listing = match location.place() {
            // The folder of a table that has no rows yet.
            Place::Folder(_) => list_or_empty(store, location).await?,
            _ if format.kind == Kind::Json => {
                let listing = list_or_empty(store, location).await?;
                match listing.single {
                    true => listing,
                    false => not_empty(listing, location)?,
                }
            }
            _ => list(store, location).await?,
        };
        let found = !listing.files.is_empty();
        let listing = of_format(listing, format, location)?;
        if found && listing.files.is_empty() {
            return Err(SourceError::new(
                SourceErrorKind::Missing,
                format!(
                    "\"{}\" has files, but none stored as {}",
                    location.text(),
                    format.keyword()
                ),
            )
            .into_datafusion());
        }
        match &mut all {
            Some(all) => all.files.extend(listing.files),
            None => all = Some(listing),
        }
    }
    all.ok_or_else(|| invalid("an external table has no location".to_owned()))
}

/// The columns of folders that a statement names in `PARTITIONED BY`; all of them without it.
fn chosen(columns: partition::Columns, named: &[String]) -> Result<partition::Columns> {
    if named.is_empty() {
        return Ok(columns);
    }
    named
        .iter()
        .map(|name| {
            columns.iter().find(|(column, _)| column == name).cloned().ok_or_else(|| {
                invalid(format!("the table's files are not in folders \"{name}=...\""))
            })
        })
        .collect()
}

fn declared_columns(command: &CreateExternalTable) -> Result<(SchemaRef, partition::Columns)> {
    let schema: SchemaRef = Arc::clone(command.schema.inner());
    let columns = command
        .table_partition_cols
        .iter()
        .map(|name| Ok((name.clone(), schema.field_with_name(name)?.data_type().clone())))
        .collect::<Result<partition::Columns>>()?;
    // Files need not hold what a statement declares: any value may be null.
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone());
    Ok((without(&Arc::new(schema), &columns), columns))
}

fn no_columns(location: &Location) -> DataFusionError {
    match location.place() {
        Place::Folder(_) => SourceError::new(
            SourceErrorKind::Missing,
            format!("\"{}\" has no files to take the columns from", location.text()),
        )
        .hint("declare them: CREATE EXTERNAL TABLE name (column type, ...) STORED AS ...")
        .into_datafusion(),
        _ => nothing(location),
    }
}

fn unknown_format(keyword: &str) -> DataFusionError {
    SourceError::new(SourceErrorKind::Invalid, format!("no format is called \"{keyword}\""))
        .hint("formats are PARQUET, CSV, TSV, JSON, ARROW and AVRO")
        .into_datafusion()
}
