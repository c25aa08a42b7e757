//! Verbs that take expressions and SQL, which the optimizer sees through as it sees through SQL.
//!
//! Such verbs build a logical plan whose leaves are slices. A verb upon such a verb goes on with the same
//! plan, so that they are optimised together; a closure ends it, and begins the next as a leaf. Every
//! verb plans at once, so that what is wrong is told where it was written, and so that driver and machines
//! can compare what they have planned:
//!
//! ```text
//! verbs, sql    expressions, text ─► logical plan, its columns those of the row   [shape]
//! planner       optimised, lowered to a physical plan for several partitions
//!                 leaves: slices; scans of files take filters and columns         [leaf]
//! cut           exchanges become exchanges of slices, what is between them the work of nodes,
//!                 where each shard may do it by itself                            [proof]
//! fragment      on a task: the operators, fed with the rows of its shard
//! ```

mod cut;
mod fragment;
mod leaf;
mod planner;
mod proof;
mod shape;
mod sql;
mod verbs;

use std::fmt;
use std::panic::Location;

use datafusion::error::DataFusionError;

pub(super) use planner::can_travel;
pub(super) use shape::shaped;
pub use sql::Table;

use crate::error::Error;

/// The call of a verb.
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
