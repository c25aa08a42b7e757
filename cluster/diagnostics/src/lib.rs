//! What every crate needs to explain a failure to a user: the causes of an error, the message of a
//! panic, and a suggestion for a misspelt name. The lowest crate of the workspace, so that machines
//! and files, which do not know each other, say these things in the same way.

mod causes;
mod nearest;
mod panic;

pub use causes::{causes, chain, root_cause, with_causes};
pub use nearest::{did_you_mean, distance, nearest};
pub use panic::panic_text;
