//! A scan of files that the exchange can neither split nor encode by itself.
//!
//! The exchange splits files at any byte and sends scans in DataFusion's encoding. Neither is right
//! for all files. Avro, compressed text and Arrow streams cannot be split (every task would read
//! all of a split Avro file, and each row would come out many times), and the encoding leaves out
//! compression and Arrow streams. These scans are sealed: the seal carries what the encoding leaves
//! out, and tasks get whole files.
//!
//! Scans of text have a source of ours, which DataFusion does not encode: the seal carries its
//! options. Text that is not compressed is split, because our readers allow it (see `text`).
//!
//! [`SealScans`] seals the scans of a finished plan; `table` seals those that a plan does not show.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::config::ConfigOptions;
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_datafusion_err, internal_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{
    ArrowSource, AvroSource, FileScanConfig, FileScanConfigBuilder, FileSource, JsonSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::members::to_their_ends;
use crate::scan::file_scan;
use crate::scan::watched::watched;
use crate::text::{TextOptions, TextSource};

/// Bytes before the encoded scan: compression, marks, and the length of the options of text.
const HEADER_BYTES: usize = 2;

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

/// The parts of a scan that DataFusion's encoding leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Files are compressed as a whole.
    pub(crate) compression: Option<CompressionTypeVariant>,
    /// The file is a stream of Arrow messages without a footer.
    pub(crate) arrow_stream: bool,
    /// The source is ours, of text.
    pub(crate) text: bool,
    /// The file cannot be cut.
    pub(crate) whole: bool,
}

impl Seal {
    /// True if a scan without the seal would go wrong on workers.
    pub(crate) fn is_needed(self) -> bool {
        self != Self::default()
    }

    /// The seal, as far as a scan shows it.
    fn of(scan: &FileScanConfig) -> Self {
        let source = scan.file_source();
        let compression = CompressionTypeVariant::from(scan.file_compression_type);
        let text = source.downcast_ref::<TextSource>();
        Self {
            compression: Some(compression)
                .filter(|kind| *kind != CompressionTypeVariant::UNCOMPRESSED),
            arrow_stream: false,
            text: text.is_some(),
            whole: source.downcast_ref::<AvroSource>().is_some()
                || text.is_some_and(|text| !text.supports_repartitioning()),
        }
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let compression = match self.compression {
            None | Some(CompressionTypeVariant::UNCOMPRESSED) => 0,
            Some(CompressionTypeVariant::GZIP) => 1,
            Some(CompressionTypeVariant::BZIP2) => 2,
            Some(CompressionTypeVariant::XZ) => 3,
            Some(CompressionTypeVariant::ZSTD) => 4,
        };
        let marks = [self.arrow_stream, self.text, self.whole];
        let marks = marks.iter().rev().fold(0, |bits, mark| bits << 1 | u8::from(*mark));
        [compression, marks]
    }

    fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Result<Self> {
        let [compression, marks] = bytes;
        let compression = match compression {
            0 => None,
            1 => Some(CompressionTypeVariant::GZIP),
            2 => Some(CompressionTypeVariant::BZIP2),
            3 => Some(CompressionTypeVariant::XZ),
            4 => Some(CompressionTypeVariant::ZSTD),
            other => return internal_err!("a sealed scan has no compression {other}"),
        };
        Ok(Self {
            compression,
            arrow_stream: marks & 1 != 0,
            text: marks & 2 != 0,
            whole: marks & 4 != 0,
        })
    }

    /// Restores what the encoding left out.
    fn restore(self, scan: FileScanConfig, text: Option<TextOptions>) -> Result<FileScanConfig> {
        let source = Arc::clone(scan.file_source());
        let source: Arc<dyn FileSource> = if let Some(options) = text {
            let text: Arc<dyn FileSource> =
                Arc::new(TextSource::new(source.table_schema().clone(), options));
            match source.projection() {
                Some(projection) => text.try_pushdown_projection(projection)?.unwrap_or(text),
                None => text,
            }
        } else if self.arrow_stream {
            let stream: Arc<dyn FileSource> =
                Arc::new(ArrowSource::new_stream_file_source(source.table_schema().clone()));
            match source.projection() {
                Some(projection) => stream.try_pushdown_projection(projection)?.unwrap_or(stream),
                None => stream,
            }
        } else {
            source
        };
        let compression =
            self.compression.map_or(FileCompressionType::UNCOMPRESSED, FileCompressionType::from);
        Ok(FileScanConfigBuilder::from(scan)
            .with_file_compression_type(compression)
            .with_source(source)
            .build())
    }
}

/// A scan of files with a [`Seal`]. It is not a `LeafPlan` of the engine: it forwards everything to
/// the scan within.
#[derive(Debug, Clone)]
pub struct SealedScan {
    scan: Arc<dyn ExecutionPlan>,
    seal: Seal,
    /// The scan as it is run: one for all partitions, which take files from one queue. With one for
    /// each, every partition would read all files.
    run: Arc<OnceLock<Arc<dyn ExecutionPlan>>>,
}

impl SealedScan {
    /// Seals a scan of files.
    pub(crate) fn new(scan: Arc<dyn ExecutionPlan>, mut seal: Seal) -> Self {
        if let Some(seen) = file_scan(&scan).map(Seal::of) {
            seal.compression = seal.compression.or(seen.compression);
            seal.text |= seen.text;
            seal.whole |= seen.whole;
        }
        Self::sealed(scan, seal)
    }

    fn sealed(scan: Arc<dyn ExecutionPlan>, seal: Seal) -> Self {
        Self { scan, seal, run: Arc::default() }
    }

    /// The scan as it is run.
    fn as_run(&self) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(run) = self.run.get() {
            return Ok(Arc::clone(run));
        }
        let run: Arc<dyn ExecutionPlan> = match self.scan() {
            None => Arc::clone(&self.scan),
            Some(scan) => {
                // Text is decompressed by its own reader.
                let ends = if self.seal.text { None } else { to_their_ends(scan) };
                let watched = watched(ends.as_ref().unwrap_or(scan), None)?;
                match watched.or(ends) {
                    Some(scan) => DataSourceExec::from_data_source(scan),
                    None => Arc::clone(&self.scan),
                }
            }
        };
        Ok(Arc::clone(self.run.get_or_init(|| run)))
    }

    /// The scan of files within.
    pub fn scan(&self) -> Option<&FileScanConfig> {
        file_scan(&self.scan)
    }

    /// True if files are read whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.seal.whole || self.seal.compression.is_some() || !self.seal.text
    }

    /// The same seal on another scan.
    pub fn with_scan(&self, scan: FileScanConfig) -> Self {
        Self::sealed(DataSourceExec::from_data_source(scan), self.seal)
    }

    /// Appends this node to `buffer`.
    pub fn encode(
        &self,
        buffer: &mut Vec<u8>,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        buffer.extend_from_slice(&self.seal.to_bytes());
        let mut scan = Arc::clone(&self.scan);
        let mut options = Vec::new();
        if let Some(config) = self.scan()
            && let Some(text) = config.file_source().downcast_ref::<TextSource>()
        {
            options = postcard::to_stdvec(text.options()).map_err(external)?;
            scan = stand_in(config, text)?;
        }
        let length = u32::try_from(options.len()).map_err(external)?;
        buffer.extend(length.to_le_bytes());
        buffer.extend(options);
        buffer.extend(physical_plan_to_bytes_with_proto_converter(scan, codec, converter)?);
        Ok(())
    }

    /// Decodes the bytes of [`SealedScan::encode`].
    pub fn decode(
        bytes: &[u8],
        context: &TaskContext,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let malformed = || internal_datafusion_err!("a sealed scan is malformed");
        let (header, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let seal = Seal::from_bytes(*header)?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or_else(malformed)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(external)?;
        let (options, scan) = rest.split_at_checked(length).ok_or_else(malformed)?;
        let text =
            seal.text.then(|| postcard::from_bytes(options).map_err(external)).transpose()?;
        let scan = physical_plan_from_bytes_with_proto_converter(scan, context, codec, converter)?;
        let scan = seal.restore(file_scan(&scan).ok_or_else(malformed)?.clone(), text)?;
        Ok(Self::sealed(DataSourceExec::from_data_source(scan), seal))
    }
}

/// A scan of text with a source that DataFusion encodes, for as long as it is encoded.
fn stand_in(scan: &FileScanConfig, text: &TextSource) -> Result<Arc<dyn ExecutionPlan>> {
    let json: Arc<dyn FileSource> = Arc::new(JsonSource::new(text.table_schema().clone()));
    let source = match text.projection() {
        Some(projection) => json.try_pushdown_projection(projection)?.unwrap_or(json),
        None => json,
    };
    let scan = FileScanConfigBuilder::from(scan.clone()).with_source(source).build();
    Ok(DataSourceExec::from_data_source(scan))
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl DisplayAs for SealedScan {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedScan: ")?;
        self.scan.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SealedScan {
    fn name(&self) -> &'static str {
        "SealedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.scan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.scan.apply_expressions(visit)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.as_run()?.execute(partition, context)
    }

    /// The new scan has no open files.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = Arc::clone(&self.scan).reset_state()?;
        Ok(Arc::new(Self::sealed(scan, self.seal)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.scan.metrics()
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        self.scan.statistics_from_inputs(inputs, args)
    }

    fn fetch(&self) -> Option<usize> {
        self.scan.fetch()
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let scan = self.scan.with_fetch(limit)?;
        Some(Arc::new(Self::sealed(scan, self.seal)))
    }
}

/// The last rule of the physical optimizer: seals every scan that cannot be split or sent as it is,
/// and watches the others.
#[derive(Debug)]
pub(crate) struct SealScans;

impl PhysicalOptimizerRule for SealScans {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let sealed = plan.transform_up(|node| {
            let Some(scan) = file_scan(&node) else { return Ok(Transformed::no(node)) };
            let seal = Seal::of(scan);
            if seal.is_needed() {
                return Ok(Transformed::yes(Arc::new(SealedScan::new(node, seal)) as _));
            }
            Ok(match watched(scan, None)? {
                Some(scan) => Transformed::yes(DataSourceExec::from_data_source(scan) as _),
                None => Transformed::no(node),
            })
        });
        sealed.map(|sealed| sealed.data)
    }

    fn name(&self) -> &'static str {
        "seal_scans"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
