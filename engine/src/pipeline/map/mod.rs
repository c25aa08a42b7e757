//! [`Session::map`](crate::Session::map): a function over any items, on all machines.
//!
//! ```text
//! driver                                               machine
//!   items ─► encoded, one by one, as machines have free slots
//!              └─► job::map: name + item  ──── run ───► call: the function, by its name
//!   Mapped ◄─ (index, result), as they finish ◄────────  result or error
//! ```
//!
//! An item is not a task of a slice: nothing is stored, nothing moves between machines, and an
//! error of one item is the result of that item alone.
//!
//! * [`function`]: the traits behind `#[map]`, and all such functions of this program;
//! * [`call`]: request and reply, and how a machine answers;
//! * [`mapped`]: the results.

mod call;
mod function;
mod macros;
mod mapped;

pub(crate) use call::{CallHeader, answer, read, request};
pub use function::{Fallible, MapFunction, Mapping, Pending};
pub use macros::map;
pub use mapped::Mapped;
