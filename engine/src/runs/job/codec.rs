//! The codec for the leaves of a plan that DataFusion does not know, such as results of runs.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::base::codec::{FileCodec, Tag};
use crate::runs::job::RunScan;
use crate::runs::task::ShardReader;

/// Encodes and decodes our nodes. Fails for all others, so that the next codec tries.
#[derive(Debug, Default)]
pub(crate) struct PlanCodec {
    /// Reads the shards of runs, in a process that runs the plans it decodes.
    reader: Option<Arc<ShardReader>>,
    files: FileCodec,
}

impl PlanCodec {
    /// The codec of a process in which `reader` reads the shards of runs.
    pub(crate) fn reading_by(reader: Arc<ShardReader>) -> Self {
        Self { reader: Some(reader), files: FileCodec }
    }
}

impl PhysicalExtensionCodec for PlanCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        match node.downcast_ref::<RunScan>() {
            Some(scan) => {
                buffer.push(Tag::Run as u8);
                scan.encode(buffer)
            }
            None => self.files.try_encode(node, buffer, converter),
        }
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match bytes.split_first() {
            Some((&tag, bytes)) if tag == Tag::Run as u8 => {
                Ok(Arc::new(RunScan::decode(bytes, self.reader.as_ref())?))
            }
            _ => self.files.try_decode(bytes, inputs, ctx, converter),
        }
    }
}
