//! How an operator depends on the order of its input rows.
//!
//! A retried task gets the same rows, but not always in the same order: a hash table that spilled
//! gives them in another order than one that fit in memory. That only matters to operators that
//! depend on the order. One of them, such as `head`, may then take different rows, which must not
//! be mixed with rows that were read before. Its stage is treated as `deterministic(false)`.

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::tree::node::{Narrow, TaskCx, Wide};

/// How an operator depends on the order of its input rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderSensitivity {
    /// It does not depend on the order, and its output keeps it.
    Preserves,
    /// Its output rows depend on the order of the input, and keep it.
    Sensitive,
    /// It does not depend on the order, and its output may have any order.
    Unordered,
    /// Its output rows depend on an order that may differ from run to run.
    Nondeterministic,
}

impl OrderSensitivity {
    /// True if the order of the output may change while the order of the input does not.
    pub(crate) fn varies(self) -> bool {
        matches!(self, Self::Unordered | Self::Nondeterministic)
    }

    /// True if the output rows may change when the operator runs again on the same input rows.
    /// `input_varies` says whether the order of these rows may change.
    pub(crate) fn rows_vary(self, input_varies: bool) -> bool {
        match self {
            Self::Preserves | Self::Unordered => false,
            Self::Sensitive => input_varies,
            Self::Nondeterministic => true,
        }
    }
}

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
