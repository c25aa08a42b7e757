//! Scans that say which file is wrong: what goes wrong in the bytes of a file becomes an error with
//! its name, and a panic of a decoder is such an error, too.
//!
//! The last rule of the physical optimizer puts a [`Watched`] into every scan of a format whose
//! bytes are not text; a worker does so with the plans that it is sent. The encoding of a scan does
//! not see it.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    ArrowSource, AvroSource, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
    ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::proto::ExecutionPlanEncodeCtx;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::ObjectStore;
use parquet::errors::ParquetError;

use crate::adapt::{Adapters, asked_to_adapt};
use crate::arrow_file::reader::ByName;
use crate::avro::AvroFiles;
use crate::caught::{caught, caught_in};
use crate::error::{NOT_ITS_FORMAT, explain, reason, unreadable, wrapped_causes};
use crate::location::shown;
use crate::parquet_file::pages::CheckedFiles;
use crate::scan::file_scan;

/// Watches all scans of a plan that are not watched.
pub fn watch(plan: Arc<dyn ExecutionPlan>, runtime: &RuntimeEnv) -> Result<Arc<dyn ExecutionPlan>> {
    let watched = plan.transform_up(|node| {
        let scan = file_scan(&node).map(|scan| watched(scan, Some(runtime))).transpose()?.flatten();
        Ok(match scan {
            Some(scan) => Transformed::yes(DataSourceExec::from_data_source(scan) as _),
            None => Transformed::no(node),
        })
    });
    watched.map(|watched| watched.data)
}

/// The scan to run instead. `None` if there is nothing to watch, or it is watched already.
pub(crate) fn watched(
    scan: &FileScanConfig,
    runtime: Option<&RuntimeEnv>,
) -> Result<Option<FileScanConfig>> {
    let source = scan.file_source();
    let url = scan.object_store_url.clone();
    if let Some(parquet) = source.downcast_ref::<ParquetSource>() {
        let inner: Arc<dyn FileSource> = Arc::new(checked(parquet, &url, runtime)?);
        let scan = FileScanConfigBuilder::from(scan.clone())
            .with_source(Arc::new(Watched { inner, url }))
            .with_expr_adapter(Some(Arc::new(Adapters)));
        return Ok(Some(scan.build()));
    }
    let inner: Arc<dyn FileSource> = match source.downcast_ref::<AvroSource>() {
        Some(avro) => Arc::new(AvroFiles::new(avro.clone())),
        None if source.is::<ArrowSource>() => Arc::clone(source),
        None => return Ok(None),
    };
    let scan = FileScanConfigBuilder::from(scan.clone());
    Ok(Some(scan.with_source(Arc::new(Watched { inner, url })).build()))
}

/// The source with readers that check what they read.
fn checked(
    source: &ParquetSource,
    url: &ObjectStoreUrl,
    runtime: Option<&RuntimeEnv>,
) -> Result<ParquetSource> {
    let mut source = source.clone();
    if let Some(condition) = asked_to_adapt(&source) {
        source = source.with_predicate(condition);
    }
    let factory: Arc<dyn ParquetFileReaderFactory> =
        match (source.parquet_file_reader_factory(), runtime) {
            (Some(factory), _) => Arc::clone(factory),
            (None, Some(runtime)) => {
                let cache = runtime.cache_manager.get_file_metadata_cache();
                Arc::new(CachedParquetFileReaderFactory::new(runtime.object_store(url)?, cache))
            }
            (None, None) => return Ok(source),
        };
    Ok(source.with_parquet_file_reader_factory(Arc::new(CheckedFiles::new(factory))))
}

/// A source whose errors name the file.
pub(crate) struct Watched {
    inner: Arc<dyn FileSource>,
    /// The store, for the names of files.
    url: ObjectStoreUrl,
}

impl Watched {
    /// Whether all rows of the files come out, as far as the scan shows.
    fn is_whole(&self, scan: &FileScanConfig) -> bool {
        let any = |filter: Arc<dyn PhysicalExpr>| filter.downcast_ref::<Literal>().is_some();
        let parquet = self.inner.downcast_ref::<ParquetSource>();
        scan.limit.is_none() && parquet.is_some_and(|source| source.filter().is_none_or(any))
    }
}

impl FileSource for Watched {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.inner.create_file_opener(store, scan, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        let inner = match self.inner.downcast_ref::<ArrowSource>() {
            Some(arrow) => ByName(arrow.clone()).create_morselizer(store, scan, partition)?,
            None => self.inner.create_morselizer(store, scan, partition)?,
        };
        let (url, whole) = (self.url.clone(), self.is_whole(scan));
        let of_any_kind = self.inner.is::<AvroFiles>();
        Ok(Box::new(WatchedFiles { inner, url, whole, of_any_kind }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let inner = self.inner.with_batch_size(batch_size);
        Arc::new(Self { inner, url: self.url.clone() })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(kind, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.inner.supports_repartitioning()
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.inner.reorder_files(files)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(visit)
    }

    fn try_to_proto(
        &self,
        scan: &FileScanConfig,
        context: &ExecutionPlanEncodeCtx<'_>,
    ) -> Result<Option<PhysicalPlanNode>> {
        self.inner.try_to_proto(scan, context)
    }
}

/// Names the file in an error.
#[derive(Debug, Clone)]
struct Named {
    file: Arc<str>,
    /// The format's decoder has no errors of its own.
    of_any_kind: bool,
}

impl Named {
    /// The error with the file's name, if it is about the file's bytes.
    fn error(&self, error: DataFusionError) -> DataFusionError {
        let about_bytes = is_about_bytes(&error) || (self.of_any_kind && is_of_arrow(&error));
        if explain(&error).is_some() || !about_bytes {
            return error;
        }
        unreadable(&self.file, &reason(&error))
    }

    fn panic(&self, text: &str) -> DataFusionError {
        tracing::warn!("reading \"{}\" panicked: {text}", self.file);
        unreadable(&self.file, NOT_ITS_FORMAT)
    }

    fn short(&self, seen: usize, rows: usize) -> DataFusionError {
        unreadable(
            &self.file,
            &format!("{seen} rows were read, but its footer says that it has {rows}"),
        )
    }

    /// Runs a step of reading and turns a panic into an error.
    fn step<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        match caught(step) {
            Ok(done) => done.map_err(|error| self.error(error)),
            Err(panic) => Err(self.panic(&panic)),
        }
    }
}

/// Whether an error comes from a decoder, and not from a computation on rows.
pub(crate) fn is_about_bytes(error: &DataFusionError) -> bool {
    let mut found = false;
    for cause in wrapped_causes(error) {
        if cause.is::<object_store::Error>() {
            return false;
        }
        found |= match cause.downcast_ref::<ArrowError>() {
            Some(arrow) => matches!(
                arrow,
                ArrowError::ParquetError(_)
                    | ArrowError::IpcError(_)
                    | ArrowError::AvroError(_)
                    | ArrowError::SchemaError(_)
                    | ArrowError::IoError(..)
            ),
            None => cause.is::<ParquetError>(),
        };
    }
    found
}

/// Whether an error is one of Arrow's that no computation has.
fn is_of_arrow(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => !matches!(
            arrow.as_ref(),
            ArrowError::DivideByZero
                | ArrowError::ArithmeticOverflow(_)
                | ArrowError::CastError(_)
                | ArrowError::ComputeError(_)
        ),
        _ => false,
    }
}

#[derive(Debug)]
struct WatchedFiles {
    inner: Box<dyn Morselizer>,
    url: ObjectStoreUrl,
    /// All rows come out.
    whole: bool,
    of_any_kind: bool,
}

impl Morselizer for WatchedFiles {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let file_name = shown(&self.url, &file.object_meta.location);
        let name = Named { file: file_name.into(), of_any_kind: self.of_any_kind };
        let known = file.statistics.as_ref().filter(|_| self.whole && file.range.is_none());
        let rows = match known.map(|statistics| statistics.num_rows) {
            Some(Precision::Exact(rows)) => Some(rows),
            _ => None,
        };
        let inner = name.step(|| self.inner.plan_file(file))?;
        Ok(Box::new(WatchedPlanner { inner, name, rows }))
    }
}

#[derive(Debug)]
struct WatchedPlanner {
    inner: Box<dyn MorselPlanner>,
    name: Named,
    /// How many rows will come, if that is known.
    rows: Option<usize>,
}

impl MorselPlanner for WatchedPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, name, rows } = *self;
        let Some(mut plan) = name.step(|| inner.plan())? else { return Ok(None) };
        let morsels = plan.take_morsels();
        // Of several, it is not known how the rows are shared out among them.
        let of_one = rows.filter(|_| morsels.len() == 1);
        let morsels = morsels.into_iter().map(|inner| {
            let name = name.clone();
            Box::new(WatchedMorsel { inner, name, rows: of_one }) as Box<dyn Morsel>
        });
        let planners = plan.take_ready_planners().into_iter().map(|inner| {
            let name = name.clone();
            Box::new(Self { inner, name, rows }) as Box<dyn MorselPlanner>
        });
        let mut watched =
            MorselPlan::new().with_morsels(morsels.collect()).with_planners(planners.collect());
        if let Some(pending) = plan.take_pending_planner() {
            watched.set_pending_planner(async move {
                match caught_in(pending.into_future()).await {
                    Ok(Ok(inner)) => {
                        Ok(Box::new(Self { inner, name, rows }) as Box<dyn MorselPlanner>)
                    }
                    Ok(Err(error)) => Err(name.error(error)),
                    Err(panic) => Err(name.panic(&panic)),
                }
            });
        }
        Ok(Some(watched))
    }
}

#[derive(Debug)]
struct WatchedMorsel {
    inner: Box<dyn Morsel>,
    name: Named,
    rows: Option<usize>,
}

impl Morsel for WatchedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, name, rows } = *self;
        let mut inner = match name.step(|| Ok(inner.into_stream())) {
            Ok(stream) => Some(stream),
            Err(error) => return futures::stream::once(async { Err(error) }).boxed(),
        };
        let mut seen = 0;
        futures::stream::poll_fn(move |cx| {
            let Some(stream) = &mut inner else { return Poll::Ready(None) };
            let next = match caught(|| stream.poll_next_unpin(cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(next)) => next,
                Err(panic) => Some(Err(name.panic(&panic))),
            };
            let next = match next {
                Some(Ok(batch)) => {
                    seen += batch.num_rows();
                    return Poll::Ready(Some(Ok(batch)));
                }
                Some(Err(error)) => Some(Err(name.error(error))),
                None => rows.filter(|rows| *rows != seen).map(|rows| Err(name.short(seen, rows))),
            };
            inner = None;
            Poll::Ready(next)
        })
        .boxed()
    }
}
