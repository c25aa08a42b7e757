//! A table over files: lists them for every statement, reads only the folders that a filter leaves,
//! and writes into its folder.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Constraints, SchemaExt, ToDFSchema, project_schema};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::listing::{ListingTableUrl, PartitionedFile};
use datafusion::datasource::physical_plan::{
    FileGroup, FileOutputMode, FileScanConfigBuilder, FileSinkConfig,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::datasource::table_schema::TableSchemaBuilder;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::dml::InsertOp;
use datafusion::logical_expr::{
    Expr, LogicalPlan, SortExpr, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_expr::{LexOrdering, create_lex_ordering};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;

use crate::arrow_file::head::is_arrow_stream;
use crate::error::{SourceError, SourceErrorKind, invalid};
use crate::format::{Format, Kind};
use crate::listing::{Listing, list_or_empty};
use crate::location::{Location, Place};
use crate::parquet_file::types::{stored_physical, stored_schema};
use crate::partition;
use crate::scan::sealed::{Seal, SealedScan};
use crate::scan::statistics::{grouped, with_statistics};
use crate::table::folders::{named_physical, named_schema};
use crate::table::one_format::of_format;
use crate::text::{TextOptions, TextSource};

/// What a [`FileTable`] is made of.
#[derive(Debug, Clone)]
pub(crate) struct FileTableParts {
    /// Where the files are; all in one store, at least one.
    pub(crate) locations: Vec<Location>,
    /// The format of the files.
    pub(crate) format: Format,
    /// Its reader and writer.
    pub(crate) reader: Arc<dyn FileFormat>,
    /// The columns in the files.
    pub(crate) file_schema: SchemaRef,
    /// The columns that may not be null in rows that are added.
    pub(crate) required: Vec<String>,
    /// A user declared these columns; else they were found in the files.
    pub(crate) declared: bool,
    /// The columns that folders stand for.
    pub(crate) partition_columns: partition::Columns,
    /// Orders that the rows of each file are declared to have.
    pub(crate) orders: Vec<Vec<SortExpr>>,
    /// Constraints that were declared.
    pub(crate) constraints: Constraints,
    /// Values for columns that an INSERT leaves out.
    pub(crate) defaults: HashMap<String, Expr>,
    /// The statement that made the table, without settings of its store.
    pub(crate) definition: Option<String>,
}

/// A table over files.
#[derive(Debug, Clone)]
pub(crate) struct FileTable {
    parts: FileTableParts,
    store: ObjectStoreUrl,
    schema: SchemaRef,
    /// The files of a place when the table was made.
    listing: Option<Arc<Listing>>,
    /// Scans read [`Self::listing`] instead of listing again.
    pinned: bool,
}

/// The table to plan a statement with that runs once, right after it was planned. The table of a
/// place then reads the files that were listed when it was made, so that a statement lists a folder
/// once and all of its scans read the same files. `name` is what the statement calls the table.
pub fn read_as_listed(name: &str, table: Arc<dyn TableProvider>) -> Arc<dyn TableProvider> {
    match table.downcast_ref::<FileTable>() {
        // A table that is registered under a name of its own was made for an earlier statement.
        Some(place) if place.listing.is_some() && Location::looks_like_one(name) => {
            Arc::new(FileTable { pinned: true, ..place.clone() })
        }
        _ => table,
    }
}

/// Whether a plan reads files of this computer, which machines elsewhere do not see.
pub fn reads_files_here(plan: &LogicalPlan) -> Result<bool> {
    let mut here = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let provider = source_as_provider(&scan.source)?;
            let files = provider.downcast_ref::<FileTable>();
            here |= files.is_some_and(|table| table.parts.locations[0].is_local());
        }
        Ok(if here { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(here)
}

impl FileTable {
    /// Puts the parts together.
    pub(crate) fn new(parts: FileTableParts) -> Result<Self> {
        let store = match parts.locations.first() {
            Some(location) => location.store().clone(),
            None => return Err(invalid("a table of files has no location".to_owned())),
        };
        if let Some(other) = parts.locations.iter().find(|location| *location.store() != store) {
            return Err(invalid(format!(
                "the files of one table are in one store, but \"{}\" and \"{}\" are not",
                parts.locations[0].text(),
                other.text()
            )));
        }
        let mut fields: Vec<_> = parts.file_schema.fields().iter().cloned().collect();
        fields.extend(partition::fields(&parts.partition_columns).map(Arc::new));
        let schema = Schema::new_with_metadata(fields, parts.file_schema.metadata().clone());
        Ok(Self { parts, store, schema: Arc::new(schema), listing: None, pinned: false })
    }

    /// The same table, with the files of its one place as they were just listed.
    pub(crate) fn with_listing(self, listing: Listing) -> Self {
        Self { listing: Some(Arc::new(listing)), ..self }
    }

    /// The files that pass the `filters` on folders, with the values of their folders.
    async fn files(
        &self,
        session: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        filters: &[Expr],
    ) -> Result<Vec<PartitionedFile>> {
        let columns = &self.parts.partition_columns;
        let mut files: Vec<PartitionedFile> = Vec::new();
        for location in &self.parts.locations {
            let listing = match &self.listing {
                Some(listing) if self.pinned => Arc::clone(listing),
                _ => {
                    let listing = list_or_empty(store, location).await?;
                    Arc::new(of_format(listing, self.parts.format, location)?)
                }
            };
            for meta in &listing.files {
                let values = partition::values(&listing.keyed, &meta.location, columns)?;
                let mut file = PartitionedFile::from(meta.clone());
                file.partition_values = values;
                files.push(file);
            }
        }
        let mut files = partition::filtered(session, files, filters, columns)?;
        if self.parts.locations.len() > 1 {
            files.sort_by(|a, b| a.object_meta.location.cmp(&b.object_meta.location));
            files.dedup_by(|a, b| a.object_meta.location == b.object_meta.location);
        }
        Ok(files)
    }

    /// The schema of rows that are added, which DataFusion's sink holds to it.
    fn demanding(&self, schema: &Schema) -> Schema {
        let fields = schema.fields().iter().map(|field| {
            let nullable = field.is_nullable() && !self.parts.required.contains(field.name());
            field.as_ref().clone().with_nullable(nullable)
        });
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone())
    }

    fn is_partition_filter(&self, filter: &Expr) -> bool {
        let columns: Vec<&str> =
            self.parts.partition_columns.iter().map(|(name, _)| name.as_str()).collect();
        !columns.is_empty() && expr_applicable_for_cols(&columns, filter)
    }

    fn orderings(&self, session: &dyn Session) -> Result<Vec<LexOrdering>> {
        if self.parts.orders.is_empty() {
            return Ok(Vec::new());
        }
        create_lex_ordering(&self.schema, &self.parts.orders, session.execution_props())
    }

    /// What of the reading would get lost on the way to a worker.
    async fn seal(&self, store: &Arc<dyn ObjectStore>, files: &[PartitionedFile]) -> Result<Seal> {
        let arrow_stream = match files.first() {
            Some(file) if self.parts.format.kind == Kind::Arrow => {
                is_arrow_stream(store, &file.object_meta).await?
            }
            _ => false,
        };
        Ok(Seal { arrow_stream, ..Seal::default() })
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.parts.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.parts.definition.as_deref()
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.parts.defaults.get(column)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let of_filter = |filter: &&Expr| match self.is_partition_filter(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(of_filter).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let store = session.runtime_env().object_store(&self.store)?;
        let folders: Vec<Expr> =
            filters.iter().filter(|filter| self.is_partition_filter(filter)).cloned().collect();
        let files = self.files(session, &store, &folders).await?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let seal = self.seal(&store, &files).await?;
        let known =
            self.parts.format.kind == Kind::Parquet && session.config().collect_statistics();
        let files = match known {
            true => {
                let (location, schema) = (&self.parts.locations[0], &self.parts.file_schema);
                with_statistics(session, &store, location, files, schema).await?
            }
            false => files,
        };
        let (groups, statistics) = grouped(session, files, &self.schema)?;
        let table_schema = TableSchemaBuilder::from(&self.parts.file_schema)
            .with_table_partition_cols(
                partition::fields(&self.parts.partition_columns).map(Arc::new).collect::<Vec<_>>(),
            )
            .build();
        let reader = self.parts.reader.as_ref();
        let text = TextOptions::of(reader, session, self.parts.declared)?;
        let is_text = text.is_some();
        let source = match text {
            Some(options) => Arc::new(TextSource::new(table_schema, options)),
            None => reader.file_source(table_schema),
        };
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_groups(groups)
            .with_constraints(self.parts.constraints.clone())
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_output_ordering(self.orderings(session)?)
            .with_file_compression_type(self.parts.format.compression.into())
            .build();
        if is_text {
            return Ok(DataSourceExec::from_data_source(config));
        }
        let plan = reader.create_physical_plan(session, config).await?;
        Ok(if seal.is_needed() { Arc::new(SealedScan::new(plan, seal)) } else { plan })
    }

    async fn insert_into(
        &self,
        session: &dyn Session,
        input: Arc<dyn ExecutionPlan>,
        op: InsertOp,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.schema.logically_equivalent_names_and_types(&input.schema())?;
        let [location] = self.parts.locations.as_slice() else {
            return Err(invalid("a table of several locations cannot be written to".to_owned()));
        };
        if !matches!(location.place(), Place::Folder(_)) {
            return Err(SourceError::new(
                SourceErrorKind::Invalid,
                format!("rows cannot be added to \"{}\", which is not a folder", location.text()),
            )
            .hint("INSERT INTO adds a file to a table's folder; COPY ... TO writes a single file")
            .into_datafusion());
        }
        let reader = &self.parts.reader;
        let file_extension = match reader.compression_type() {
            Some(compression) => reader.get_ext_with_compression(&compression)?,
            None => reader.get_ext(),
        };
        let in_folders = &self.parts.partition_columns;
        let input = match in_folders.is_empty() {
            true => input,
            false => named_physical(session, input, in_folders)?,
        };
        let output_schema = Arc::new(self.demanding(&named_schema(&self.schema, in_folders)));
        let (input, output_schema) = match self.parts.format.kind {
            Kind::Parquet => (stored_physical(session, input)?, stored_schema(&output_schema)),
            _ => (input, output_schema),
        };
        let config = FileSinkConfig {
            original_url: location.text().to_owned(),
            object_store_url: self.store.clone(),
            table_paths: vec![ListingTableUrl::try_new(location.url()?, None)?],
            file_group: FileGroup::default(),
            output_schema,
            table_partition_cols: in_folders.clone(),
            insert_op: op,
            keep_partition_by_columns: false,
            file_extension,
            file_output_mode: FileOutputMode::Directory,
        };
        let order = self.orderings(session)?.into_iter().next().map(Into::into);
        reader.create_writer_physical_plan(input, session, config, order).await
    }
}

/// Checks that declared orders name columns of the table.
pub(crate) fn check_orders(schema: &SchemaRef, orders: &[Vec<SortExpr>]) -> Result<()> {
    let df_schema = Arc::clone(schema).to_dfschema()?;
    for column in orders.iter().flatten().flat_map(|order| order.expr.column_refs()) {
        if !df_schema.has_column(column) {
            return Err(invalid(format!("the table has no column \"{}\"", column.name())));
        }
    }
    Ok(())
}
