//! Keys: the first column of a slice of pairs, whatever its type. What makes two keys the same is
//! decided here, once, for hashing, sorting and comparing: floats are ordered totally and every NaN is
//! the same; a null is a key of its own.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float16Array, Float32Array, Float64Array, StructArray,
};
use datafusion::arrow::compute::{SortOptions, is_not_null, nullif};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::hash_utils::{RandomState, create_hashes};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// Smallest first, null before all.
pub(super) const ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

/// The seed of the hash that splits rows by key. Others than DataFusion's tables use: with one seed all
/// keys of a shard would fall into the same buckets of a table.
const SEED: u64 = 0xb165_11ce_0000_0001;

/// The same keys with every NaN the same NaN.
pub(super) fn canonical(keys: &ArrayRef) -> ArrayRef {
    match keys.data_type() {
        DataType::Float64 => {
            let floats = keys.as_primitive::<Float64Type>();
            if !floats.values().iter().any(|x| x.is_nan()) {
                return Arc::clone(keys);
            }
            let same: Float64Array = floats.unary(|x| if x.is_nan() { f64::NAN } else { x });
            Arc::new(same)
        }
        DataType::Float32 => {
            let floats = keys.as_primitive::<Float32Type>();
            if !floats.values().iter().any(|x| x.is_nan()) {
                return Arc::clone(keys);
            }
            let same: Float32Array = floats.unary(|x| if x.is_nan() { f32::NAN } else { x });
            Arc::new(same)
        }
        DataType::Float16 => {
            let floats = keys.as_primitive::<Float16Type>();
            let same: Float16Array = floats.unary(|x| if x.is_nan() { F16::NAN } else { x });
            Arc::new(same)
        }
        DataType::Struct(fields) => {
            let parts = keys.as_struct();
            let columns: Vec<ArrayRef> = parts.columns().iter().map(canonical).collect();
            let unchanged = columns.iter().zip(parts.columns()).all(|(a, b)| Arc::ptr_eq(a, b));
            if unchanged {
                return Arc::clone(keys);
            }
            let nulls = parts.nulls().cloned();
            match StructArray::try_new(fields.clone(), columns, nulls) {
                Ok(same) => Arc::new(same),
                // Parts of the same types and lengths always fit.
                Err(_) => Arc::clone(keys),
            }
        }
        _ => Arc::clone(keys),
    }
}

/// A batch whose first `keys` columns are canonical.
pub(super) fn with_canonical(batch: &RecordBatch, keys: usize) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for column in &mut columns[..keys] {
        *column = canonical(column);
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The shard of each row of a batch by its first `keys` columns, which are canonical: one of
/// `shards`.
pub(crate) fn shard_ids(
    batch: &RecordBatch,
    keys: usize,
    shards: usize,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let mut hashes = vec![0; batch.num_rows()];
    let state = RandomState::with_seed(SEED);
    create_hashes(&batch.columns()[..keys], &state, &mut hashes)?;
    let shards = shards as u64;
    // The remainder is below the number of shards, which is far below 2^32.
    ids.extend(hashes.into_iter().map(|hash| u32::try_from(hash % shards).unwrap_or(0)));
    Ok(())
}

/// The columns that order and tell apart the keys in `keys`: the leaves of nested ones, each with
/// the nulls of what it is in, and for a part that may be missing whether it is.
pub(super) fn leaves(keys: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let DataType::Struct(_) = keys.data_type() else { return Ok(vec![Arc::clone(keys)]) };
    let parts = keys.as_struct();
    // Always there, so that each batch has the same columns.
    let there = is_not_null(keys)?;
    let mut found: Vec<ArrayRef> = vec![Arc::new(there)];
    for part in parts.columns() {
        let part = match parts.nulls() {
            Some(nulls) => nullif(part, &BooleanArray::new(!nulls.inner(), None))?,
            None => Arc::clone(part),
        };
        found.extend(leaves(&part)?);
    }
    Ok(found)
}
