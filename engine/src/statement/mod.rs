//! From the text of a statement to its logical plan and the work to do: steps 1 and 2 in the life
//! of a query ([`run`](crate::query::run)).

pub(crate) mod explain;
pub(crate) mod inserted;
pub(crate) mod lookup;
pub(crate) mod materialized;
pub(crate) mod planning;
pub(crate) mod work;
mod written;
