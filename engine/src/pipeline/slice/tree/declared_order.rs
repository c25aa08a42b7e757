//! Operators that declare their order sensitivity.

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::tree::node::{Narrow, TaskCx, Wide};
use crate::pipeline::slice::tree::order_sensitivity::OrderSensitivity;

/// An operator with a declared order sensitivity.
pub(crate) struct WithOrder<W> {
    work: W,
    order: OrderSensitivity,
}

/// Declares that `work` does not depend on the order of its input, and keeps it.
pub(crate) fn order_preserving<W>(work: W) -> WithOrder<W> {
    WithOrder { work, order: OrderSensitivity::Preserves }
}

/// Declares that `work` depends on the order of its input, and keeps it.
pub(crate) fn order_sensitive<W>(work: W) -> WithOrder<W> {
    WithOrder { work, order: OrderSensitivity::Sensitive }
}

impl<W: Narrow> Narrow for WithOrder<W> {
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.work.run(input, cx)
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        self.order
    }
}

impl<W: Wide> Wide for WithOrder<W> {
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.work.run(inputs, cx)
    }

    fn order_sensitivity(&self) -> OrderSensitivity {
        self.order
    }
}
