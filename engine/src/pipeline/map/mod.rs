//! A function over any items, on all machines: what [`Session::map`](crate::Session::map) is made of.
//!
//! ```text
//! driver                                               machine
//!   items ─► encoded, one by one, as machines have room
//!              └─► job::map: name + item  ──── run ───► call: the function, by its name
//!   Mapped ◄─ (index, result), as they finish ◄────────  result, or what went wrong
//! ```
//!
//! An item is no task of a slice: nothing is stored, nothing moves between machines, and what goes
//! wrong with one item is told of that item alone.
//!
//! * [`function`]: what `#[map]` makes, and all such functions of this program;
//! * [`call`]: what travels, and how a machine answers it;
//! * [`mapped`]: the results.

mod call;
mod function;
mod macros;
mod mapped;

pub(crate) use call::{CallHeader, answer, read, request};
pub use function::{Fallible, MapFunction, Mapping, Pending};
pub use macros::map;
pub use mapped::Mapped;
