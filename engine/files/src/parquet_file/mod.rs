//! Parquet files: what is checked and mended before DataFusion's reader believes it.

pub(crate) mod bounds;
pub(crate) mod logical;
pub(crate) mod pages;
pub(crate) mod types;
