//! The tree of a slice: what a node can be, the types of its rows, which verbs go by order, and how the tree is shown.

pub(crate) mod chosen;
pub(crate) mod explain;
pub(crate) mod lossless;
pub(crate) mod node;
pub(crate) mod order;
pub(crate) mod pragma;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod typed;
pub(crate) mod user;
