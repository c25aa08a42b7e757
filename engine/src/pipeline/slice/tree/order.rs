//! What the order of rows is to a verb. A task that is begun again gets the same rows, but not always in the same
//! order: a table of keys that had to spill gives them otherwise than one that had room. Where nobody goes by the
//! order that does not matter. A verb that does go by it, such as `head`, then takes other rows, which must not be
//! mixed with those that were read before: its stage counts as one of which `deterministic(false)` was said.

use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::tree::node::{Narrow, TaskCx, Wide};

/// What the order of its input is to a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing: rows come out in the order in which they came.
    Kept,
    /// They come out so, and which rows those are, or what they say, depends on it.
    Counted,
    /// Nothing: rows may come out in any order.
    Free,
    /// Which rows come out depends on an order that may be any.
    Drawn,
}

impl Order {
    /// Whether rows may come out in another order, where those of the input do not.
    pub(crate) fn varies(self) -> bool {
        matches!(self, Self::Free | Self::Drawn)
    }

    /// Whether other rows may come out, if those of the input are the same but for their order, which may or may not be
    /// another.
    pub(crate) fn rows_vary(self, input_varies: bool) -> bool {
        match self {
            Self::Kept | Self::Free => false,
            Self::Counted => input_varies,
            Self::Drawn => true,
        }
    }
}

/// Work of which that is said.
pub(crate) struct Ordered<W> {
    work: W,
    order: Order,
}

/// Work that keeps the order of its input.
pub(crate) fn keeping<W>(work: W) -> Ordered<W> {
    Ordered { work, order: Order::Kept }
}

/// Work that goes by the order of its input, and keeps it.
pub(crate) fn counting<W>(work: W) -> Ordered<W> {
    Ordered { work, order: Order::Counted }
}

impl<W: Narrow> Narrow for Ordered<W> {
    fn run(
        &self,
        input: SendableRecordBatchStream,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.work.run(input, cx)
    }

    fn order(&self) -> Order {
        self.order
    }
}

impl<W: Wide> Wide for Ordered<W> {
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        self.work.run(inputs, cx)
    }

    fn order(&self) -> Order {
        self.order
    }
}
