//! What functions of SQL take and return, row by row: called by the code that `#[bigslice::udf]`
//! writes.

mod arguments;
mod returned;

pub use arguments::{Argument, Arguments, called};
pub use returned::{Done, Returned};
