//! User-defined functions that SQL and expressions can call by name: what `#[bigslice::udf]`
//! registers.
//!
//! Plans refer to a function by its name only. Each process of a session finds it among the
//! functions linked into the program, which is the same program everywhere.
//!
//! ```text
//! #[udf] fn gc(seq: &str) -> f64   ─►  Udf: name, place, types, loop   [function]
//!                                          │ as DataFusion calls it
//!                     [scalar]  one row in, one value out
//!                     [aggregate]  many rows in, one value out; a state for each group [state, groups]
//!
//! a batch:  arrays ─► columns, opened once [Arguments] ─► the function, row by row ─► builder [Returned]
//! ```
//!
//! * [`Arguments`], [`Returned`]: the types that a function may take and return, and how they are
//!   read from and written to columns;
//! * [`coercion`]: the column types that an argument accepts;
//! * [`linked`]: finds the functions of this program;
//! * [`fault`]: the errors of user functions.

mod aggregate;
mod coercion;
mod fault;
mod function;
mod groups;
mod linked;
mod macros;
mod scalar;
mod state;

#[cfg(doc)]
use crate::row::function::{Arguments, Returned};

pub use fault::Fault;
pub use function::{AggregateParts, Kind, ScalarParts, Udf, Volatility};
pub use linked::expr;
pub(crate) use linked::{check, register};
pub use macros::udf;
pub use scalar::each_row;
pub use state::Aggregate;
