//! From the text of a statement to a logical plan, and to what is to be done with it.

pub(crate) mod drawn;
pub(crate) mod explain;
pub(crate) mod lookup;
pub(crate) mod planning;
pub(crate) mod work;
mod written;
