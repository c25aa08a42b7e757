//! Verbs that move rows by key.

pub(crate) mod cogroup;
pub(crate) mod combining;
pub(crate) mod join;
pub(crate) mod joining;
pub(crate) mod keys;
pub(crate) mod prefixed;
pub(crate) mod reducing;
pub(crate) mod sorting;
pub(crate) mod verbs;
