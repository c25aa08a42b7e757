//! Verbs that take expressions or SQL, which the optimizer sees through.
//!
//! These verbs build a logical plan whose leaves are slices. A verb on top of such a verb extends
//! the same plan, so that both are optimised together. A closure ends the plan; its slice is a leaf
//! of the next. Every verb plans at once, so that an error names the line that caused it, and so
//! that the driver and the workers can compare their plans:
//!
//! ```text
//! verbs, sql    expressions or text ─► logical plan with the columns of the row   [shape]
//! planner       optimised, lowered to a physical plan for several partitions
//!                 leaves: slices; scans of files take filters and columns         [leaf]
//! cut           exchanges become exchanges of slices, the operators between them become nodes,
//!                 if each shard may run them by itself     [bigslice_planner::row_properties]
//! fragment      in a task: the operators, fed with the rows of its shard
//! ```

mod cut;
mod fragment;
mod leaf;
mod planner;
mod shape;
mod sql;
#[cfg(test)]
mod tests;
mod verbs;

use std::fmt;
use std::panic::Location;

use datafusion::error::DataFusionError;

pub(super) use planner::can_travel;
pub(super) use shape::shaped;
pub use sql::Table;

use crate::error::Error;

/// A call of a verb, for error messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) verb: &'static str,
    pub(super) place: &'static Location<'static>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.verb, self.place)
    }
}

impl Call {
    pub(super) fn error(self, message: impl fmt::Display) -> Error {
        Error::query(format!("{self}: {message}"))
    }

    fn failed(self, error: DataFusionError) -> Error {
        Error::from(error).within(&self.to_string())
    }
}
