//! Rows in files: the tables that SQL reads too, pruned to the columns of the row and cast to its types
//! where nothing can be lost by it. The driver lists the files and plans the scan; a task gets the
//! scan of its own shard.

use std::panic::Location;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as PlanResult, TableReference, internal_datafusion_err};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::physical_plan::FileScanConfigBuilder;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};

use crate::codec::PlanCodec;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::slice::node::{Op, Resolving, Source, TaskCx};
use crate::slice::source::columns::{columns_of, rows};
use crate::slice::{Slice, typed};
use crate::source::{SealedScan, file_scan};

/// Bytes of files that one shard has, unless there would be too few shards then: a few seconds of work.
const SHARD_BYTES: u64 = 128 * 1024 * 1024;
/// Shards that files are read in, at most.
const SHARDS_MAX: usize = 4096;

/// Places of files: paths, folders, patterns, addresses.
pub trait Paths {
    /// As texts.
    fn into_paths(self) -> Vec<String>;
}

impl Paths for &str {
    fn into_paths(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl Paths for String {
    fn into_paths(self) -> Vec<String> {
        vec![self]
    }
}

impl<S: Into<String>> Paths for Vec<S> {
    fn into_paths(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<S: Into<String>, const N: usize> Paths for [S; N] {
    fn into_paths(self) -> Vec<String> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Row> Slice<T> {
    /// The rows of files of any format that SQL reads too: by the end of their names Parquet, CSV and
    /// TSV, JSON lines, Arrow IPC or Avro, also compressed; a path, a folder, a pattern, `s3://...`,
    /// `https://...`, or several of these.
    ///
    /// Columns are found by the names of the row's fields; others are not read. A column of another
    /// type is an error when the slice is run that names the column, both types and the place; types that
    /// hold all values of the file's are converted to. Large files are read in several shards. The order
    /// of rows is that of the files within a shard.
    ///
    /// # Errors
    /// When no place is given.
    #[track_caller]
    pub fn read(paths: impl Paths) -> Result<Self> {
        Self::files("read", Location::caller(), None, paths.into_paths())
    }

    /// [`read`](Self::read), of Parquet files. Of each file only the columns of the row are read.
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_parquet(paths: impl Paths) -> Result<Self> {
        Self::files("read_parquet", Location::caller(), Some(&["parquet"]), paths.into_paths())
    }

    /// [`read`](Self::read), of CSV or TSV files with a line of names at the top.
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_csv(paths: impl Paths) -> Result<Self> {
        Self::files("read_csv", Location::caller(), Some(&["csv", "tsv"]), paths.into_paths())
    }

    /// [`read`](Self::read), of JSON lines.
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_json(paths: impl Paths) -> Result<Self> {
        let endings = Some(&["json", "jsonl", "ndjson"][..]);
        Self::files("read_json", Location::caller(), endings, paths.into_paths())
    }

    /// [`read`](Self::read), of Arrow IPC files.
    ///
    /// # Errors
    /// When no place is given, or one has the ending of another format.
    #[track_caller]
    pub fn read_arrow(paths: impl Paths) -> Result<Self> {
        let endings = Some(&["arrow", "ipc", "feather"][..]);
        Self::files("read_arrow", Location::caller(), endings, paths.into_paths())
    }

    fn files(
        verb: &'static str,
        place: &'static Location<'static>,
        endings: Option<&[&str]>,
        paths: Vec<String>,
    ) -> Result<Self> {
        if paths.is_empty() {
            return Err(Error::query(format!("{verb} at {place}: there is no path to read")));
        }
        let known = ["parquet", "csv", "tsv", "json", "jsonl", "ndjson", "arrow", "ipc", "avro"];
        for path in &paths {
            let name = path.rsplit('/').next().unwrap_or(path);
            let wrong = |end: &str| name.split('.').skip(1).any(|part| part == end);
            let other = known.iter().filter(|end| !endings.is_none_or(|own| own.contains(end)));
            if let Some(end) = other.copied().find(|end| wrong(end)) {
                return Err(Error::query(format!(
                    "{verb} at {place}: the name of \"{path}\" says that it is {end}"
                )));
            }
        }
        let files = Files { paths, schema: typed::schema::<T>() };
        Ok(Self::new(verb, place, Op::Source(Arc::new(files))))
    }
}

struct Files {
    paths: Vec<String>,
    schema: SchemaRef,
}

#[async_trait]
impl Source for Files {
    async fn shards(&self, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let mut shards = Vec::new();
        for path in &self.paths {
            shards.extend(self.shards_of(path, resolving).await?);
        }
        Ok(shards)
    }

    fn open(&self, spec: &[u8], cx: &TaskCx) -> PlanResult<SendableRecordBatchStream> {
        let Some((partition, plan)) = spec.split_first_chunk::<4>() else {
            return Err(internal_datafusion_err!("the scan of a shard is malformed"));
        };
        let plan = physical_plan_from_bytes_with_extension_codec(plan, &cx.context, &PlanCodec)?;
        let partition = u32::from_le_bytes(*partition) as usize;
        let scanned = plan.execute(partition, Arc::clone(&cx.context))?;
        Ok(rows(scanned, &self.schema))
    }
}

impl Files {
    async fn shards_of(&self, path: &str, resolving: &Resolving) -> Result<Vec<Arc<[u8]>>> {
        let context = &resolving.session.context;
        let of = |e: datafusion::error::DataFusionError| Error::of(&e, "");
        let provider = context.table_provider(TableReference::bare(path)).await.map_err(of)?;
        let table = context.read_table(provider).map_err(of)?;
        let rows = columns_of(&self.schema, &format!("\"{path}\""), table)?;
        let mut state = context.state();
        let options = state.config_mut().options_mut();
        options.execution.target_partitions = resolving.slots;
        options.optimizer.enable_round_robin_repartition = false;
        let plan = plan_of(&rows, &state).await?;
        let bytes = bytes_of(&plan);
        let wanted = usize::try_from(bytes / SHARD_BYTES).unwrap_or(SHARDS_MAX).min(SHARDS_MAX);
        let plan = if wanted > resolving.slots {
            state.config_mut().options_mut().execution.target_partitions = wanted;
            plan_of(&rows, &state).await?
        } else {
            plan
        };
        (0..plan.output_partitioning().partition_count())
            .map(|partition| spec(&plan, partition))
            .collect()
    }
}

/// Plans without machines: what comes out is cut into shards by its partitions.
pub(super) async fn plan_of(
    rows: &DataFrame,
    state: &datafusion::execution::SessionState,
) -> Result<Arc<dyn ExecutionPlan>> {
    let of = |e: datafusion::error::DataFusionError| Error::of(&e, "");
    let plan = state.optimize(rows.logical_plan()).map_err(of)?;
    DefaultPhysicalPlanner::default().create_physical_plan(&plan, state).await.map_err(of)
}

/// The bytes of the files that a plan scans.
fn bytes_of(plan: &Arc<dyn ExecutionPlan>) -> u64 {
    let own = file_scan(plan).map_or(0, |scan| {
        let files = scan.file_groups.iter().flat_map(|group| group.iter());
        files.map(|file| file.object_meta.size).sum()
    });
    own + plan.children().into_iter().map(bytes_of).sum::<u64>()
}

/// What a task gets: one partition of the plan, without the files of the others.
fn spec(plan: &Arc<dyn ExecutionPlan>, partition: usize) -> Result<Arc<[u8]>> {
    let of = |e: datafusion::error::DataFusionError| Error::of(&e, "");
    let alone = Arc::clone(plan).transform_up(|node| {
        let sealed = node.downcast_ref::<SealedScan>();
        let Some(scan) = sealed.and_then(SealedScan::scan).or_else(|| file_scan(&node)) else {
            return Ok(Transformed::no(node));
        };
        let mut groups = scan.file_groups.clone();
        for (n, group) in groups.iter_mut().enumerate() {
            if n != partition {
                *group = Vec::new().into();
            }
        }
        let scan = FileScanConfigBuilder::from(scan.clone()).with_file_groups(groups).build();
        let node: Arc<dyn ExecutionPlan> = match sealed {
            Some(sealed) => Arc::new(sealed.with_scan(scan)),
            None => DataSourceExec::from_data_source(scan),
        };
        Ok(Transformed::yes(node))
    });
    let plan = alone.map_err(of)?.data;
    let bytes = physical_plan_to_bytes_with_extension_codec(plan, &PlanCodec).map_err(of)?;
    let partition = u32::try_from(partition).unwrap_or(u32::MAX);
    Ok([&partition.to_le_bytes()[..], &bytes].concat().into())
}
