//! How the plan nodes that are ours travel to a worker: one tag byte, then what the node writes
//! of itself. Every process of a session registers the one [`PlanCodec`].

use std::sync::Arc;

use datafusion::common::{Result, internal_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::job::RunScan;
use crate::source::SealedScan;
use crate::task::Host;
use crate::tpch;

/// The first byte of a node. A tag is never used again for another node: driver and worker are
/// one binary, but a stored plan may outlive it.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Tag {
    Tpch = 1,
    Sealed = 2,
    Run = 3,
}

/// Encodes and decodes our nodes. It refuses all others, which lets the next codec try.
#[derive(Debug, Default)]
pub(crate) struct PlanCodec {
    /// Who reads the shards of runs, in a process that runs what it decodes.
    host: Option<Arc<Host>>,
}

impl PlanCodec {
    /// The codec of a process where `host` reads the shards of runs.
    pub(crate) fn reading_by(host: Arc<Host>) -> Self {
        Self { host: Some(host) }
    }
}

impl PhysicalExtensionCodec for PlanCodec {
    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(scan) = node.downcast_ref::<tpch::Scan>() {
            buffer.push(Tag::Tpch as u8);
            scan.encode(buffer);
            return Ok(());
        }
        if let Some(scan) = node.downcast_ref::<SealedScan>() {
            buffer.push(Tag::Sealed as u8);
            return scan.encode(buffer, self, converter);
        }
        if let Some(scan) = node.downcast_ref::<RunScan>() {
            buffer.push(Tag::Run as u8);
            return scan.encode(buffer);
        }
        not_impl_err!("{} cannot be sent to another machine", node.name())
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        _inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some((&tag, bytes)) = bytes.split_first() else {
            return internal_err!("a plan node without a tag");
        };
        match tag {
            tag if tag == Tag::Tpch as u8 => Ok(Arc::new(tpch::Scan::decode(bytes)?)),
            tag if tag == Tag::Sealed as u8 => {
                Ok(Arc::new(SealedScan::decode(bytes, ctx, self, converter)?))
            }
            tag if tag == Tag::Run as u8 => {
                Ok(Arc::new(RunScan::decode(bytes, self.host.as_ref())?))
            }
            tag => internal_err!("a plan node of the unknown kind {tag}"),
        }
    }
}
