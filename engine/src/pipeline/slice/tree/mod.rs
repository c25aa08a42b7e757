//! The tree of a slice: its nodes, the types of its rows, the order sensitivity of operators, and
//! how the tree is displayed.

pub(crate) mod chosen;
pub(crate) mod declared_order;
pub(crate) mod explain;
pub(crate) mod lossless;
pub(crate) mod node;
pub(crate) mod order_sensitivity;
pub(crate) mod pragma;
pub(crate) mod steps;
pub(crate) mod streams;
pub(crate) mod typed;
pub(crate) mod user;
