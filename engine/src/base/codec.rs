//! The encoding of our nodes in plans for workers: one tag byte, then the node's own encoding.
//! [`FileCodec`] covers nodes that read files, generate tables or pass rows on. Every process of a
//! session registers [`PlanCodec`](crate::runs::job::PlanCodec), which also covers the results of
//! runs.

use std::sync::Arc;

use datafusion::common::{Result, internal_err, not_impl_err};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::base::memory::compact_views::CompactViewsExec;
use crate::tpch;
use bigslice_files::SealedScan;

/// The first byte of a node. A tag is never reused for another node: driver and worker are one
/// binary, but a stored plan may outlive it.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Tag {
    Tpch = 1,
    Sealed = 2,
    Run = 3,
    CompactViews = 4,
}

/// Encodes and decodes all our nodes but those that read results of runs.
#[derive(Debug, Default)]
pub(crate) struct FileCodec;

impl PhysicalExtensionCodec for FileCodec {
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
        if node.is::<CompactViewsExec>() {
            buffer.push(Tag::CompactViews as u8);
            return Ok(());
        }
        not_impl_err!("{} cannot be sent to another machine", node.name())
    }

    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
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
            tag if tag == Tag::CompactViews as u8 => match inputs {
                [input] => Ok(Arc::new(CompactViewsExec::new(Arc::clone(input)))),
                _ => internal_err!("CompactViewsExec has {} inputs", inputs.len()),
            },
            tag => internal_err!("a plan node with the unknown tag {tag}"),
        }
    }
}
