//! Keys: the first column of a slice of pairs, of any type. Key equality is defined here, for
//! hashing, sorting and comparing: every NaN is the same key, and so are the two zeros; null is a
//! key, too.

use std::ops::Neg;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, FixedSizeListArray, ListArray,
    StructArray,
};
use datafusion::arrow::compute::{SortOptions, is_not_null, nullif};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::hash_utils::{RandomState, create_hashes};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// Smallest first, null first.
pub(crate) const ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

/// The seed of the hash that partitions rows by key. It differs from that of DataFusion's tables:
/// with the same seed, all keys of a shard would fall into the same buckets of a table.
const SEED: u64 = 0xb165_11ce_0000_0001;

/// The same keys, with one NaN and no negative zero, also within structs and lists.
///
/// GROUP BY, hashing and sorting treat these differently; on canonical keys they agree.
pub(crate) fn canonical(keys: &ArrayRef) -> ArrayRef {
    match keys.data_type() {
        DataType::Float64 => floats::<Float64Type>(keys, f64::NAN, 0.0),
        DataType::Float32 => floats::<Float32Type>(keys, f32::NAN, 0.0),
        DataType::Float16 => floats::<Float16Type>(keys, F16::NAN, F16::ZERO),
        DataType::Struct(fields) => {
            let parts = keys.as_struct();
            let columns: Vec<ArrayRef> = parts.columns().iter().map(canonical).collect();
            let changed = columns.iter().zip(parts.columns()).any(|(a, b)| !Arc::ptr_eq(a, b));
            let nulls = || parts.nulls().cloned();
            rebuilt(keys, changed, || StructArray::try_new(fields.clone(), columns, nulls()))
        }
        DataType::List(item) => {
            let list = keys.as_list::<i32>();
            let items = canonical(list.values());
            let changed = !Arc::ptr_eq(&items, list.values());
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            rebuilt(keys, changed, || ListArray::try_new(Arc::clone(item), offsets, items, nulls))
        }
        DataType::FixedSizeList(item, size) => {
            let list = keys.as_fixed_size_list();
            let items = canonical(list.values());
            let changed = !Arc::ptr_eq(&items, list.values());
            let (item, nulls) = (Arc::clone(item), list.nulls().cloned());
            rebuilt(keys, changed, || FixedSizeListArray::try_new(item, *size, items, nulls))
        }
        _ => Arc::clone(keys),
    }
}

/// Canonical floats. Most columns are canonical, so they are scanned before anything is copied.
fn floats<T: ArrowPrimitiveType>(keys: &ArrayRef, nan: T::Native, zero: T::Native) -> ArrayRef
where
    T::Native: PartialOrd + Neg<Output = T::Native>,
{
    // Only a NaN differs from itself; a zero whose bits differ from `zero` is the negative one.
    let is_nan = |x: T::Native| x.partial_cmp(&x).is_none();
    let is_negative_zero = |x: T::Native| x == zero && x.is_ne(zero);
    let floats = keys.as_primitive::<T>();
    if !floats.values().iter().any(|x| is_nan(*x) || is_negative_zero(*x)) {
        return Arc::clone(keys);
    }
    let same = |x| match x {
        x if is_nan(x) => nan,
        x if x == zero => zero,
        x => x,
    };
    Arc::new(floats.unary::<_, T>(same))
}

/// Rebuilds nested keys from changed parts.
fn rebuilt<A: Array + 'static>(
    keys: &ArrayRef,
    changed: bool,
    build: impl FnOnce() -> Result<A, ArrowError>,
) -> ArrayRef {
    match changed.then(build) {
        Some(Ok(same)) => Arc::new(same),
        // Parts of the same types and lengths always fit.
        Some(Err(_)) | None => Arc::clone(keys),
    }
}

/// The batch with its first `keys` columns in canonical form.
pub(crate) fn with_canonical(batch: &RecordBatch, keys: usize) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    for column in &mut columns[..keys] {
        *column = canonical(column);
    }
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The shard number, below `shards`, of each row of a batch by its first `keys` columns, which are
/// canonical.
pub(crate) fn shard_ids(
    batch: &RecordBatch,
    keys: usize,
    shards: usize,
    ids: &mut Vec<u32>,
) -> Result<()> {
    ids_of(&batch.columns()[..keys], batch.num_rows(), shards, ids)
}

/// The shard number, below `shards`, of each of `rows` rows with these canonical keys.
pub(crate) fn ids_of(
    keys: &[ArrayRef],
    rows: usize,
    shards: usize,
    ids: &mut Vec<u32>,
) -> Result<()> {
    let mut hashes = vec![0; rows];
    let state = RandomState::with_seed(SEED);
    create_hashes(keys, &state, &mut hashes)?;
    let shards = shards as u64;
    // The remainder is below the number of shards, which is far below 2^32.
    ids.extend(hashes.into_iter().map(|hash| u32::try_from(hash % shards).unwrap_or(0)));
    Ok(())
}

/// The columns that order and identify the keys in `keys`: the leaves of nested keys, each with the
/// nulls of its parents, and for each optional part whether it is present.
pub(crate) fn leaves(keys: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let DataType::Struct(_) = keys.data_type() else { return Ok(vec![Arc::clone(keys)]) };
    let parts = keys.as_struct();
    // Always present, so that each batch has the same columns.
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
