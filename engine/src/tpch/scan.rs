//! The leaf of a plan that reads a table of TPC-H: each partition generates one part of the table.
//!
//! [`table_provider`](super::table_provider) makes it, [`scale_up_leaf`](super::scale_up_leaf)
//! splits it over tasks, the engine's codec sends it to workers by [`Scan::encode`]. Every scan
//! of one table in one stage has the same number of parts in all and its own set of part numbers,
//! so that each row is generated exactly once however the scan is cut.

use std::{fmt, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    common::{DataFusionError, Result, internal_err, runtime::SpawnedTask, stats::Precision},
    execution::TaskContext,
    physical_plan::DisplayFormatType,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    batches::{Selection, prepare_text},
    part::{PARTS_MAX, Part, divisible},
    table::{TableName, check_scale},
};
use crate::leaf_plan::{LeafPlan, LeafSource, Rows};

/// Generates some parts of a table, one to a partition.
pub(crate) type Scan = LeafPlan<Parts>;

/// What a [`Scan`] generates.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(super) table: TableName,
    pub(super) scale: f64,
    /// The numbers (from 1) of the parts that this scan generates, one to a partition.
    pub(super) parts: Vec<u32>,
    /// How many parts the table is cut into, over all tasks.
    pub(super) part_count: u32,
    /// The columns to generate, by position in the table.
    pub(super) columns: Vec<usize>,
    /// No partition need generate more rows than this. The plan has the limit itself above.
    pub(super) limit: Option<usize>,
}

impl Scan {
    /// A scan of a whole table in the parts `parts`.
    pub(super) fn try_new(
        table: TableName,
        scale: f64,
        parts: Vec<u32>,
        columns: Vec<usize>,
        limit: Option<usize>,
    ) -> Result<Self> {
        let part_count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        Self::of_parts(table, scale, parts, part_count, columns, limit)
    }

    /// A scan of some of a table's parts. Checks everything: a part of it may come from the wire.
    pub(super) fn of_parts(
        table: TableName,
        scale: f64,
        parts: Vec<u32>,
        part_count: u32,
        columns: Vec<usize>,
        limit: Option<usize>,
    ) -> Result<Self> {
        check_scale(scale)?;
        let valid = part_count <= PARTS_MAX
            && !parts.is_empty()
            && parts.iter().all(|part| (1..=part_count).contains(part));
        if !valid {
            return internal_err!("parts {parts:?} of {part_count} are not parts of a table");
        }
        let fields = table.schema();
        let schema = Arc::new(fields.project(&columns)?);
        let partitions = parts.len();
        let source = Parts { table, scale, parts, part_count, columns, limit };
        Ok(Self::scan(source, schema, partitions))
    }

    /// The bytes that the scan would read if the table were stored: whole rows, since the
    /// generator makes every value of a row whichever are asked for.
    pub(super) fn byte_count(&self) -> usize {
        self.row_count(None).get_value().copied().unwrap_or(0) * self.table.row_bytes()
    }

    /// More partitions than this, in all tasks together, would have some without a row.
    pub(super) fn partition_count_max(&self) -> usize {
        if divisible(self.table) { self.table.key_count(self.scale) } else { 1 }
    }

    /// One scan for each of `task_count` tasks, with as many partitions as this one has. `None`
    /// if this one does not have the whole table.
    pub(super) fn split(&self, task_count: usize) -> Result<Option<Vec<Self>>> {
        if self.parts.len() != self.part_count as usize {
            return Ok(None);
        }
        let tasks = u32::try_from(task_count).unwrap_or(u32::MAX).max(1);
        let part_count = self.part_count.saturating_mul(tasks);
        let share = |task: u32| {
            // Round robin: what remains of a division is in the last part, and a limit is met by
            // the first ones.
            let parts = (0..self.part_count).map(|i| i * tasks + task + 1).collect();
            let columns = self.columns.clone();
            Self::of_parts(self.table, self.scale, parts, part_count, columns, self.limit)
        };
        (0..tasks).map(share).collect::<Result<Vec<_>>>().map(Some)
    }
}

impl Parts {
    fn part(&self, partition: usize) -> Part {
        Part { number: self.parts[partition], count: self.part_count }
    }

    fn selection(&self, partition: usize, schema: &SchemaRef, batch_rows: usize) -> Selection {
        Selection {
            table: self.table,
            scale: self.scale,
            part: self.part(partition),
            schema: Arc::clone(schema),
            columns: self.columns.clone(),
            batch_rows,
        }
    }
}

impl LeafSource for Parts {
    const NAME: &'static str = "TpchScan";

    fn describe(
        &self,
        schema: &Schema,
        format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        if matches!(format, DisplayFormatType::TreeRender) {
            return write!(f, "{}", self.table);
        }
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "TpchScan: table={}, sf={}", self.table, self.scale)?;
        if divisible(self.table) {
            write!(f, ", parts={:?} of {}", self.parts, self.part_count)?;
        }
        write!(f, ", columns=[{}]", names.join(", "))?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }

    fn open(&self, partition: usize, schema: &SchemaRef, context: &TaskContext) -> Result<Rows> {
        let batch_rows = context.session_config().batch_size();
        let selection = self.selection(partition, schema, batch_rows);
        let start = async move {
            if selection.has_comment() {
                // A second of work the first time: not on a thread that other queries wait for.
                SpawnedTask::spawn_blocking(prepare_text)
                    .join_unwind()
                    .await
                    .map_err(|error| DataFusionError::External(Box::new(error)))?;
            }
            let batches = selection.batches().map(|batch| batch.map_err(Into::into));
            Ok::<_, DataFusionError>(stream::iter(batches))
        };
        Ok(stream::once(start).try_flatten().boxed())
    }

    fn limit(&self) -> Option<usize> {
        self.limit
    }

    fn row_count(&self, partition: Option<usize>) -> Precision<usize> {
        let partitions = match partition {
            Some(partition) => partition..partition + 1,
            None => 0..self.parts.len(),
        };
        let rows = partitions
            .map(|i| self.part(i).key_count(self.table, self.scale) * self.table.rows_per_key())
            .sum();
        match self.table.row_count(self.scale) {
            Precision::Exact(_) => Precision::Exact(rows),
            _ => Precision::Inexact(rows),
        }
    }
}
