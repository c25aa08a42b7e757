//! Funcs: functions that build slices, which every process of a session can call by name.
//!
//! A closure is never sent anywhere. What travels is an [`Invocation`]: the name of a func and its
//! encoded arguments. Driver and worker are the same binary, so a worker that calls the func with
//! the same arguments gets the same slice, with closures of its own in it.
//!
//! ```text
//! driver                                             worker
//!   f(a, b)            ─► Invocation{name, bytes}
//!   Session::run: build ─► Built{slice, steps}         Registry: the name's func
//!                              │  the steps              build(bytes) ─► Built{slice, steps}
//!                              └───── sent with tasks ──► compared; a difference is an error
//! ```
//!
//! * [`invocation`]: what calling a func gives, and how arguments are encoded;
//! * [`registry`](mod@registry): all funcs of this binary;
//! * [`steps`]: what a func has built, verb by verb, so that two builds can be compared.

mod invocation;
mod registry;
mod steps;

pub(crate) use invocation::Call;
pub use invocation::{Invocation, decode, invoke};
pub use registry::{Built, Func, IntoSlice};
pub(crate) use registry::{difference, registry};
pub(crate) use steps::{Steps, record};
