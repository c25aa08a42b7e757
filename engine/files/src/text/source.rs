//! Text files as a source of DataFusion's scans: what a plan carries, and what opens each file.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use super::csv::CsvReader;
use super::dialect::Dialect;
use super::input::Origin;
use super::json::JsonReader;
use super::reading::Reading;
use crate::location::shown;

/// The default number of rows of a batch.
const BATCH_ROWS: usize = 8192;

/// The options for reading the text of a table. They travel with the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TextOptions {
    /// The format of rows.
    pub(crate) layout: Layout,
    /// A user declared the columns and their types.
    pub(crate) declared: bool,
}

/// The format of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Layout {
    /// Values with delimiters between them.
    Csv(Dialect),
    /// Objects of JSON.
    Json,
}

impl TextOptions {
    /// The options of a format, if it is text.
    pub(crate) fn of(
        reader: &dyn FileFormat,
        session: &dyn Session,
        declared: bool,
    ) -> Result<Option<Self>> {
        let layout = if let Some(csv) = reader.downcast_ref::<CsvFormat>() {
            let header = session.config_options().catalog.has_header;
            Layout::Csv(Dialect::of(csv.options(), header)?)
        } else if reader.downcast_ref::<JsonFormat>().is_some() {
            Layout::Json
        } else {
            return Ok(None);
        };
        Ok(Some(Self { layout, declared }))
    }
}

/// A source of rows that reads text.
#[derive(Debug, Clone)]
pub(crate) struct TextSource {
    options: Arc<TextOptions>,
    table_schema: TableSchema,
    projection: SplitProjection,
    batch_rows: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl TextSource {
    /// A source of all columns.
    pub(crate) fn new(table_schema: TableSchema, options: TextOptions) -> Self {
        Self {
            options: Arc::new(options),
            projection: SplitProjection::unprojected(&table_schema),
            table_schema,
            batch_rows: BATCH_ROWS,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The options for reading.
    pub(crate) fn options(&self) -> &TextOptions {
        &self.options
    }
}

impl FileSource for TextSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let table = self.table_schema.file_schema();
        let reading = Reading {
            table: Arc::clone(table),
            projection: self.projection.file_indices.clone(),
            schema: Arc::new(table.project(&self.projection.file_indices)?),
            declared: self.options.declared,
            batch_rows: self.batch_rows,
        };
        let opener = TextOpener {
            reading: Arc::new(reading),
            options: Arc::clone(&self.options),
            store,
            compression: scan.file_compression_type.into(),
            url: scan.object_store_url.clone(),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), table)
    }

    fn table_schema(&self) -> &TableSchema {
        &self.table_schema
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { batch_rows, ..self.clone() })
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        let projection = SplitProjection::new(self.table_schema.file_schema(), &merged);
        Ok(Some(Arc::new(Self { projection, ..self.clone() })))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &'static str {
        match self.options.layout {
            Layout::Csv(_) => "csv",
            Layout::Json => "json",
        }
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.options.layout, kind) {
            (Layout::Json, _) | (_, DisplayFormatType::TreeRender) => Ok(()),
            (Layout::Csv(dialect), _) => write!(f, ", has_header={}", dialect.header),
        }
    }

    fn supports_repartitioning(&self) -> bool {
        match &self.options.layout {
            // A quote in a comment is none, which a part that begins in the middle cannot know.
            Layout::Csv(dialect) => dialect.comment.is_none(),
            Layout::Json => true,
        }
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expression in self.projection.source.iter() {
            if visit(&expression.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }
}

/// Opens the files of a scan.
struct TextOpener {
    reading: Arc<Reading>,
    options: Arc<TextOptions>,
    store: Arc<dyn ObjectStore>,
    compression: CompressionTypeVariant,
    /// Of the store.
    url: ObjectStoreUrl,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let origin = Origin {
            store: Arc::clone(&self.store),
            name: shown(&self.url, &file.object_meta.location),
            file: file.object_meta,
            compression: self.compression,
        };
        let part = match file.range {
            Some(range) => Some(offset(range.start)?..offset(range.end)?),
            None => None,
        };
        let (reading, options) = (Arc::clone(&self.reading), Arc::clone(&self.options));
        Ok(Box::pin(async move {
            let reader = match &options.layout {
                Layout::Csv(dialect) => {
                    let csv = CsvReader::open(reading, dialect, origin, part).await?;
                    csv.map(|csv| Reader::Csv(Box::new(csv)))
                }
                Layout::Json => {
                    let json = JsonReader::open(&reading, origin, part).await?;
                    json.map(|json| Reader::Json(Box::new(json)))
                }
            };
            let rows = futures::stream::unfold(reader, |reader| async move {
                let mut reader = reader?;
                match reader.next().await {
                    Ok(Some(batch)) => Some((Ok(batch), Some(reader))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            });
            let rows: BoxStream<'static, Result<RecordBatch>> = rows.boxed();
            Ok(rows)
        }))
    }
}

/// Reads the rows of a file.
enum Reader {
    Csv(Box<CsvReader>),
    Json(Box<JsonReader>),
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Csv(csv) => csv.next().await,
            Self::Json(json) => json.next().await,
        }
    }
}

fn offset(at: i64) -> Result<u64> {
    u64::try_from(at)
        .map_err(|_| DataFusionError::Execution("a part of a file begins before it".to_owned()))
}
