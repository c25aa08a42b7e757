//! Funcs: functions that build slices, which every process of a session can call by name.
//!
//! A closure is never sent. The driver sends an [`Invocation`]: the name of a func and its encoded
//! arguments. Driver and worker are the same program, so a worker that calls the func with the same
//! arguments builds the same slice, with closures of its own.
//!
//! ```text
//! driver                                             worker
//!   f(a, b)            ─► Invocation{name, bytes}
//!   Session::run: build ─► Built{slice, steps}         Registry: the name's func
//!                              │  the steps              build(bytes) ─► Built{slice, steps}
//!                              └───── sent with tasks ──► compared; a difference is an error
//! ```
//!
//! * [`held`]: values that a call holds because its arguments refer to them;
//! * [`invocation`]: the invocation, and how arguments are encoded;
//! * [`registry`](mod@registry): all funcs of this program.

mod held;
mod invocation;
mod registry;

pub(crate) use held::{Held, hold, is_receiving};
pub(crate) use invocation::Call;
pub use invocation::{Invocation, decode, invoke};
pub use registry::{Built, Func, IntoSlice};
pub(crate) use registry::{difference, registry};
