//! Functions of the user's that SQL and expressions can call by name: what `#[bigslice::udf]` makes.
//!
//! Nothing of a function travels but its name. Each process of a session finds it among those that
//! were linked into the program, which is the same one everywhere.
//!
//! ```text
//! #[udf] fn gc(seq: &str) -> f64   ─►  Udf: name, place, types, loop   [linked]
//!                                          │ as DataFusion calls it
//!                     [scalar]  one row in, one value out
//!                     [aggregate]  many rows in, one value out; a state for each group [groups]
//!
//! a batch:  arrays ─► columns, opened once [Arguments] ─► the function, row by row ─► builder [Returned]
//! ```
//!
//! * [`Arguments`], [`Returned`]: what a function may take and return, and how that is read from and written to columns;
//! * [`coercion`]: which columns SQL may give for an argument;
//! * [`linked`]: all functions of this program;
//! * [`fault`]: what is said when one fails.

mod aggregate;
mod coercion;
mod fault;
mod groups;
mod linked;
mod macros;
mod scalar;

#[cfg(doc)]
use crate::row::function::{Arguments, Returned};

pub use aggregate::{Aggregate, AggregateParts};
pub use fault::Fault;
pub use linked::{Kind, Udf, Volatility, expr};
pub(crate) use linked::{check, register};
pub use macros::udf;
pub use scalar::{ScalarParts, each_row};
