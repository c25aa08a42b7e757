//! TPC-H, the benchmark everyone compares by: its eight tables generated on the fly or into
//! Parquet files, and its 22 queries.
//!
//! `--tpch SF` registers [`table_provider`] for each [`TableName`]; a scan of one is a [`Scan`],
//! whose partitions each generate a range of the table's keys, so that nothing is stored or sent
//! before a query asks for it. [`desired_task_count`] and [`scale_up_leaf`] spread a scan over
//! machines. [`generate()`] writes the same rows as Parquet, and [`query`] has the queries' text.
//!
//! ```text
//! table ── name, schema, size                    columns ── rows to Arrow arrays, by projection
//!   └── part ── a range of a table's keys  ──►  batches ── an iterator over a part's batches
//!                                                  ├── scan ── a plan's leaf ◄── provider, distribute
//!                                                  └── generate ── Parquet files
//! ```
//!
//! Rows are those of the specification's own generator (crate `tpchgen`), byte for byte.

mod batches;
mod columns;
mod distribute;
mod generate;
mod parquet_file;
mod part;
mod provider;
mod queries;
mod scan;
mod table;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use distribute::{desired_task_count, scale_up_leaf};
pub use generate::{GenerateOptions, Generated, generate, generate_until};
pub use provider::table_provider;
pub use queries::{QUERIES, query};
pub(crate) use scan::Scan;
pub use table::{SCALE_MAX, SCALE_MIN, TableName, check_scale};
