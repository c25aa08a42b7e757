//! The join operator of a task, on columns: a hash join on the side that ends first if it fits into
//! memory, otherwise a sort-merge join, which spills.
//!
//! ```text
//! left  ─ batches in turn ─┐   one side has ended  ─► hash join, that side built
//! right ─ batches in turn ─┤   no room for more    ─► sort both, merge join
//!                          └─► key, value, key, value ─► key, (value, value)
//! ```
//!
//! The operators are DataFusion's. Key equality is decided before: keys are canonical, nested keys
//! are compared leaf by leaf as in [`keys`], and numbers are compared by their bits.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, StructArray, make_array};
use datafusion::arrow::compute::{is_not_null, kernels::zip::zip};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{JoinType, NullEquality, Result, internal_datafusion_err};
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryReservation, UnboundedMemoryPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode, SortMergeJoinExec};
use futures::{StreamExt, TryStreamExt};

use crate::pipeline::slice::keyed::keys;
use crate::pipeline::slice::keyed::sorting;
use crate::pipeline::slice::tree::node::{TaskCx, Wide};
use crate::pipeline::slice::tree::streams;
use crate::shard::bytes_of;

/// The overhead of a row in a hash table: its hash, its position and the next row with that hash,
/// in a table that is at least half full.
const TABLE_ROW_BYTES: usize = 40;

/// The fraction of the memory pool (one part in this many) that both sides may take before one is
/// known to fit: as many tasks as there are cores do the same.
const HELD_PARTS: usize = 8;

/// The maximum size of both sides up to then, in bytes: the rows of a table are put into one batch,
/// whose text columns have 32-bit offsets.
const HELD_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Joins the rows of two exchanges.
pub(crate) struct JoinOperator {
    kind: JoinType,
    /// The schema of the joined pairs.
    schema: SchemaRef,
}

impl JoinOperator {
    /// A join of this kind with an output of this schema: keys, and the values of both sides, or of
    /// the left side only if the kind returns only left rows.
    pub(crate) fn new(kind: JoinType, schema: SchemaRef) -> Self {
        Self { kind, schema }
    }

    /// True if the operators can compare keys of this type.
    pub(crate) fn supports(key: &DataType) -> bool {
        match key {
            DataType::Struct(fields) => {
                fields.iter().all(|field| Self::supports(field.data_type()))
            }
            key => bits_of(key).is_some(),
        }
    }
}

impl Wide for JoinOperator {
    fn run(
        &self,
        inputs: Vec<SendableRecordBatchStream>,
        cx: &TaskCx,
    ) -> Result<SendableRecordBatchStream> {
        let mut inputs = inputs.into_iter();
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else {
            return Err(internal_datafusion_err!("a join needs two sides"));
        };
        let sides = [Side::new(left)?, Side::new(right)?];
        let (kind, schema, cx) = (self.kind, Arc::clone(&self.schema), cx.clone());
        let made = Arc::clone(&schema);
        let rows = async move { joined(kind, made, sides, &cx).await };
        Ok(streams::with_schema(schema, futures::stream::once(rows).try_flatten()))
    }

    fn describe(&self) -> Option<String> {
        Some(format!("HashJoin or SortMergeJoin: {}", self.kind))
    }
}

/// One side: its rows, preceded by their keys in comparable form.
struct Side {
    rows: SendableRecordBatchStream,
    /// The number of key columns.
    keys: usize,
    /// The batches read so far.
    held: Vec<RecordBatch>,
    held_rows: usize,
    held_bytes: usize,
    /// The estimated size of a row, in bytes.
    row_bytes: usize,
}

impl Side {
    fn new(input: SendableRecordBatchStream) -> Result<Self> {
        let schema = input.schema();
        let leaves = comparable(RecordBatch::new_empty(Arc::clone(&schema)).column(0))?;
        let keys = leaves.len();
        let fields = leaves.iter().enumerate().map(|(n, leaf)| {
            Arc::new(Field::new(format!("key {n}"), leaf.data_type().clone(), true))
        });
        let fields: Vec<_> = fields.chain(schema.fields().iter().cloned()).collect();
        let wide: SchemaRef = Arc::new(Schema::new(fields));
        let made = Arc::clone(&wide);
        let rows = streams::each(input, &wide, move |batch| {
            let mut columns = comparable(batch.column(0))?;
            columns.extend(batch.columns().iter().cloned());
            Ok(RecordBatch::try_new(Arc::clone(&made), columns)?)
        });
        Ok(Self { rows, keys, held: Vec::new(), held_rows: 0, held_bytes: 0, row_bytes: 0 })
    }

    /// Reads another batch; false if there is none.
    async fn read(&mut self) -> Result<bool> {
        let Some(batch) = self.rows.next().await.transpose()? else { return Ok(false) };
        self.held_rows += batch.num_rows();
        self.held_bytes += batch.get_array_memory_size();
        self.row_bytes = self.row_bytes.max(bytes_of(&batch) / batch.num_rows().max(1));
        self.held.push(batch);
        Ok(true)
    }

    /// All of its rows, including those already read.
    fn all(self) -> SendableRecordBatchStream {
        let schema = self.rows.schema();
        let held = futures::stream::iter(self.held.into_iter().map(Ok));
        streams::with_schema(schema, held.chain(self.rows))
    }
}

/// The side that has ended within the available memory.
enum Small {
    Left,
    Right,
    /// Neither.
    None,
}

async fn joined(
    kind: JoinType,
    schema: SchemaRef,
    mut sides: [Side; 2],
    cx: &TaskCx,
) -> Result<SendableRecordBatchStream> {
    let memory = MemoryConsumer::new("rows to be joined").register(cx.context.memory_pool());
    let small = smaller(&mut sides, &memory, cx).await?;
    let keys = sides[0].keys;
    let row_bytes = sides[0].row_bytes + sides[1].row_bytes;
    let context = sorting::with_batches_for(row_bytes, Arc::clone(&cx.context));
    let [left, right] = sides.map(Side::all);
    let (rows, sides) = match small {
        Small::Left => {
            let plan = hashed(left, right, keys, kind)?;
            (plan.execute(0, alone(&context)?)?, [0, keys + 2])
        }
        Small::Right => {
            let plan = hashed(right, left, keys, kind.swap())?;
            (plan.execute(0, alone(&context)?)?, [keys + 2, 0])
        }
        Small::None => {
            memory.free();
            let (left, right) = (sorted(left, keys, cx)?, sorted(right, keys, cx)?);
            let options = vec![keys::ORDER; keys];
            let equal = NullEquality::NullEqualsNull;
            let on = on(&left, &right, keys);
            let plan = SortMergeJoinExec::try_new(left, right, on, None, kind, options, equal)?;
            (plan.execute(0, context)?, [0, keys + 2])
        }
    };
    let made = Arc::clone(&schema);
    Ok(streams::each(rows, &schema, move |batch| {
        // Held for as long as the join has rows.
        let _held = &memory;
        assembled(&batch, kind, sides.map(|side| side + keys), &made)
    }))
}

/// Reads both sides in turn until one has ended and a table of it fits into memory.
async fn smaller(sides: &mut [Side; 2], memory: &MemoryReservation, cx: &TaskCx) -> Result<Small> {
    let most = match cx.context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => (bytes / HELD_PARTS).min(HELD_BYTES_MAX),
        MemoryLimit::Infinite | MemoryLimit::Unknown => HELD_BYTES_MAX,
    };
    let room = |bytes: usize| bytes <= most && memory.try_resize(bytes).is_ok();
    loop {
        for (n, small) in [Small::Left, Small::Right].into_iter().enumerate() {
            if !sides[n].read().await? {
                // While a table is built, its rows are in memory twice.
                let table = sides[n].held_bytes + sides[n].held_rows * TABLE_ROW_BYTES;
                let fits = room(sides[0].held_bytes + sides[1].held_bytes + table);
                return Ok(if fits { small } else { Small::None });
            }
        }
        if !room(sides[0].held_bytes + sides[1].held_bytes) {
            return Ok(Small::None);
        }
    }
}

type On = Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>;

fn on(left: &Arc<dyn ExecutionPlan>, right: &Arc<dyn ExecutionPlan>, keys: usize) -> On {
    let column = |side: &Arc<dyn ExecutionPlan>, n: usize| -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(side.schema().field(n).name(), n))
    };
    (0..keys).map(|n| (column(left, n), column(right, n))).collect()
}

fn hashed(
    build: SendableRecordBatchStream,
    probe: SendableRecordBatchStream,
    keys: usize,
    kind: JoinType,
) -> Result<HashJoinExec> {
    let (build, probe) = (streams::feed(build), streams::feed(probe));
    let (on, mode) = (on(&build, &probe, keys), PartitionMode::CollectLeft);
    let equal = NullEquality::NullEqualsNull;
    HashJoinExec::try_new(build, probe, on, None, &kind, None, mode, equal, false)
}

fn sorted(
    side: SendableRecordBatchStream,
    keys: usize,
    cx: &TaskCx,
) -> Result<Arc<dyn ExecutionPlan>> {
    sorting::by_columns(side, keys, keys::ORDER, None, cx).map(streams::feed)
}

/// The context without a memory limit: the operator's memory is reserved already, and an operator
/// that fails because others were faster could not be restarted.
fn alone(context: &TaskContext) -> Result<Arc<TaskContext>> {
    let runtime = RuntimeEnvBuilder::from_runtime_env(&context.runtime_env())
        .with_memory_pool(Arc::new(UnboundedMemoryPool::default()))
        .build_arc()?;
    Ok(Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        context.session_config().clone(),
        // Functions are never looked up by name here.
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        HashMap::new(),
        runtime,
    )))
}

/// Builds pairs from the output of an operator: `sides` are the positions of the key of the left
/// and of the right side, each followed by its value.
fn assembled(
    batch: &RecordBatch,
    kind: JoinType,
    [left, right]: [usize; 2],
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let alone = matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
    if alone {
        // Such a join outputs no columns of the other side, so the position is counted from the
        // end.
        let first = batch.num_columns() - 2;
        let columns = batch.columns()[first..].to_vec();
        return Ok(RecordBatch::try_new(Arc::clone(schema), columns)?);
    }
    let (mut key, value) = (Arc::clone(batch.column(left)), batch.column(left + 1));
    let other = batch.column(right + 1);
    if kind == JoinType::Full && value.null_count() > 0 {
        // Values of a full join are never null: a null means that there is no row.
        key = zip(&is_not_null(value)?, &key, batch.column(right))?;
    }
    let DataType::Struct(fields) = schema.field(1).data_type() else {
        return Err(internal_datafusion_err!("joined values have one column"));
    };
    let values = vec![Arc::clone(value), Arc::clone(other)];
    let values: ArrayRef = Arc::new(StructArray::try_new(fields.clone(), values, None)?);
    Ok(RecordBatch::try_new(Arc::clone(schema), vec![key, values])?)
}

/// The columns that identify canonical keys, as types that every operator can compare.
fn comparable(keys: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let leaves = keys::leaves(keys)?.into_iter().map(|leaf| {
        let bits = bits_of(leaf.data_type());
        let bits = bits.ok_or_else(|| internal_datafusion_err!("unsupported key type"))?;
        if bits == *leaf.data_type() {
            return Ok(leaf);
        }
        let data = leaf.to_data().into_builder().data_type(bits);
        Ok(make_array(data.build()?))
    });
    leaves.collect()
}

/// The type as which values are compared; it has the same equality.
fn bits_of(leaf: &DataType) -> Option<DataType> {
    Some(match leaf {
        DataType::Float64
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Time64(_)
        | DataType::Date64 => DataType::Int64,
        DataType::Float32 | DataType::Date32 | DataType::Time32(_) => DataType::Int32,
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::BinaryView
        | DataType::Decimal128(..) => leaf.clone(),
        _ => return None,
    })
}
