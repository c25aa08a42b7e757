//! A scan of files that are read whole, one after the other, by one task each.
//!
//! The exchange cuts files at any byte and sends scans in DataFusion's encoding. Neither is right for
//! all files: Avro, compressed text, text with line breaks in values, JSON arrays and Arrow streams
//! cannot be cut (an Avro file that is cut is read by every task: each row comes out many times),
//! and the encoding forgets compression, line ends, JSON arrays and Arrow streams. Such a scan is
//! sealed: a leaf of its own, which carries what the encoding forgets and deals out whole files.
//!
//! [`SealScans`] seals what it finds in a finished plan; `table` seals what cannot be seen there.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::{ConfigOptions, CsvOptions};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_datafusion_err, internal_err};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{
    ArrowSource, AvroSource, CsvSource, FileScanConfig, FileScanConfigBuilder, FileSource,
    JsonSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
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

use super::members::to_their_ends;
use super::watched::watched;

/// Bytes before the encoded scan: compression, line end and whether there is one, two marks.
const HEADER_BYTES: usize = 5;

/// What DataFusion's encoding of a scan forgets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Files are compressed as a whole.
    pub(crate) compression: Option<CompressionTypeVariant>,
    /// Rows of text end otherwise than in a line feed.
    pub(crate) terminator: Option<u8>,
    /// The file is one array of rows.
    pub(crate) json_array: bool,
    /// The file is a stream of Arrow messages without a footer.
    pub(crate) arrow_stream: bool,
    /// Nothing is forgotten, but the file cannot be cut.
    pub(crate) whole: bool,
}

impl Seal {
    /// Would a scan without it go wrong on workers?
    pub(crate) fn is_needed(self) -> bool {
        self != Self::default()
    }

    /// What can be seen of it in a scan.
    fn of(scan: &FileScanConfig) -> Self {
        let source = scan.file_source();
        let csv = source.downcast_ref::<CsvSource>();
        let compression = CompressionTypeVariant::from(scan.file_compression_type);
        Self {
            compression: Some(compression)
                .filter(|kind| *kind != CompressionTypeVariant::UNCOMPRESSED),
            terminator: csv.and_then(CsvSource::terminator),
            json_array: false,
            arrow_stream: false,
            whole: source.downcast_ref::<AvroSource>().is_some()
                || csv.is_some_and(CsvSource::newlines_in_values),
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
        let marks = u8::from(self.json_array) | (u8::from(self.arrow_stream) << 1);
        [
            compression,
            u8::from(self.terminator.is_some()),
            self.terminator.unwrap_or_default(),
            marks,
            u8::from(self.whole),
        ]
    }

    fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Result<Self> {
        let [compression, has_terminator, terminator, marks, whole] = bytes;
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
            terminator: (has_terminator != 0).then_some(terminator),
            json_array: marks & 1 != 0,
            arrow_stream: marks & 2 != 0,
            whole: whole != 0,
        })
    }

    /// Puts back what the encoding forgot.
    fn restore(self, scan: FileScanConfig) -> Result<FileScanConfig> {
        let source = Arc::clone(scan.file_source());
        let source: Arc<dyn FileSource> = if let Some(csv) = source.downcast_ref::<CsvSource>() {
            let options = CsvOptions {
                has_header: Some(csv.has_header()),
                delimiter: csv.delimiter(),
                quote: csv.quote(),
                terminator: self.terminator,
                escape: csv.escape(),
                comment: csv.comment(),
                newlines_in_values: Some(csv.newlines_in_values()),
                truncated_rows: Some(csv.truncate_rows()),
                ..CsvOptions::default()
            };
            Arc::new(csv.clone().with_csv_options(options))
        } else if let Some(json) = source.downcast_ref::<JsonSource>() {
            Arc::new(json.clone().with_newline_delimited(!self.json_array))
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

/// A scan of whole files.
#[derive(Debug, Clone)]
pub(crate) struct SealedScan {
    scan: Arc<dyn ExecutionPlan>,
    seal: Seal,
}

impl SealedScan {
    /// Seals a scan of files.
    pub(crate) fn new(scan: Arc<dyn ExecutionPlan>, mut seal: Seal) -> Self {
        if let Some(seen) = file_scan(&scan).map(Seal::of) {
            seal.compression = seal.compression.or(seen.compression);
            seal.terminator = seal.terminator.or(seen.terminator);
            seal.whole |= seen.whole;
        }
        Self { scan, seal }
    }

    /// The scan of files within.
    pub(crate) fn scan(&self) -> Option<&FileScanConfig> {
        file_scan(&self.scan)
    }

    /// The same seal on another scan.
    pub(crate) fn with_scan(&self, scan: FileScanConfig) -> Self {
        Self { scan: DataSourceExec::from_data_source(scan), seal: self.seal }
    }

    /// Appends this node to `buffer`.
    pub(crate) fn encode(
        &self,
        buffer: &mut Vec<u8>,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let scan = Arc::clone(&self.scan);
        buffer.extend_from_slice(&self.seal.to_bytes());
        buffer.extend(physical_plan_to_bytes_with_proto_converter(scan, codec, converter)?);
        Ok(())
    }

    /// Reads what [`SealedScan::encode`] wrote.
    pub(crate) fn decode(
        bytes: &[u8],
        context: &TaskContext,
        codec: &dyn PhysicalExtensionCodec,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Self> {
        let malformed = || internal_datafusion_err!("a sealed scan is malformed");
        let (header, scan) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let seal = Seal::from_bytes(*header)?;
        let scan = physical_plan_from_bytes_with_proto_converter(scan, context, codec, converter)?;
        let scan = seal.restore(file_scan(&scan).ok_or_else(malformed)?.clone())?;
        Ok(Self { scan: DataSourceExec::from_data_source(scan), seal })
    }
}

/// The files of a plan that is a scan of files.
pub(crate) fn file_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
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
        let Some(scan) = self.scan() else { return self.scan.execute(partition, context) };
        let scan = to_their_ends(scan).unwrap_or_else(|| scan.clone());
        let scan = watched(&scan, None)?.unwrap_or(scan);
        DataSourceExec::from_data_source(scan).execute(partition, context)
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
        Some(Arc::new(Self { scan, seal: self.seal }))
    }
}

/// The last rule of the physical optimizer: seals every scan that may not be cut or sent as it is, and has the
/// others watched.
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
