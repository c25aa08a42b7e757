//! `reduce` of pairs that a closure has just made: values of equal keys are combined in a small table before there
//! are columns of anything. As long as most pairs find their key there, a pair costs what it costs in a loop with
//! a hash table; where keys are many, the table gives up, and the operator behind it has all the work.

use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::hash_utils::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::IntoIter;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::keyed::reducing::taken;
use crate::pipeline::slice::rows::building::{BATCH_BYTES, BATCH_ROWS, Building};
use crate::pipeline::slice::rows::making::Take;
use crate::row::{Row, Value};

/// Keys that a table has at most; fewer where they are large, so that it has at most
/// [`BATCH_BYTES`] and as much again outside. More would not stay in a core's own cache.
const KEYS_MAX: usize = 16 * 1024;

/// Pairs for each key of a full table that make the next one worth filling. To put a key in and to take it out again
/// costs about as much as ten pairs cost the operator behind.
const PAIRS_PER_KEY_MIN: usize = 16;

/// The seed of the table's hashes: neither that which splits rows by key, nor that of DataFusion's tables.
const SEED: u64 = 0xb165_11ce_0000_0002;

/// Combines the values of equal keys, by the closure of `code`.
pub(crate) struct Combining<K: Value, V: Value, F> {
    /// A value is away only while it is combined.
    table: HashTable<(K, Option<V>)>,
    hashes: RandomState,
    /// Keys that make the table full.
    most: usize,
    /// What keys and values refer to.
    heap: usize,
    /// Pairs that were taken since the table was empty.
    pairs: usize,
    /// What is left of a table that is given.
    given: Option<IntoIter<(K, Option<V>)>>,
    built: Building<(K, V)>,
    gives_up: bool,
    combine: Arc<F>,
    is_combining: bool,
    code: UserCode,
    schema: SchemaRef,
}

impl<K: Value, V: Value, F> Combining<K, V, F> {
    /// A table of pairs with this schema.
    pub(crate) fn new(combine: Arc<F>, schema: SchemaRef, code: UserCode) -> Self {
        Self {
            table: HashTable::new(),
            hashes: RandomState::with_seed(SEED),
            most: KEYS_MAX.min(BATCH_BYTES / size_of::<(K, Option<V>)>()).max(1),
            heap: 0,
            pairs: 0,
            given: None,
            built: Building::new(0, BATCH_ROWS),
            gives_up: false,
            combine,
            is_combining: false,
            code,
            schema,
        }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.table.len() >= self.most || self.heap >= BATCH_BYTES
    }

    #[cold]
    fn insert(&mut self, hash: u64, key: K, value: V) {
        self.heap += taken::<K>(&key) + taken::<V>(&value);
        let hashes = &self.hashes;
        let rehash = |(key, _): &(K, Option<V>)| hash_of::<K>(hashes, key.view());
        self.table.insert_unique(hash, (key, Some(value)), rehash);
    }
}

#[inline]
fn hash_of<K: Value>(hashes: &RandomState, key: K::View<'_>) -> u64 {
    let mut hasher = hashes.build_hasher();
    K::hash_key(key, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

impl<K, V, F> Take<(K, V)> for Combining<K, V, F>
where
    K: Value,
    V: Value,
    F: Fn(V, V) -> V + Send + Sync,
{
    fn take(&mut self, (key, value): <(K, V) as Row>::View<'_>) -> bool {
        self.pairs += 1;
        let hash = hash_of::<K>(&self.hashes, key);
        let found = self.table.find_mut(hash, |(held, _)| K::same_key(held.view(), key));
        match found.map(|(_, place)| (place.take(), place)) {
            Some((Some(before), place)) => {
                self.heap -= taken::<V>(&before);
                self.is_combining = true;
                let value = (self.combine)(before, V::to_owned(value));
                self.is_combining = false;
                self.heap += taken::<V>(&value);
                *place = Some(value);
            }
            Some((None, place)) => *place = Some(V::to_owned(value)),
            None => self.insert(hash, K::to_owned(key), V::to_owned(value)),
        }
        self.is_full()
    }

    fn give(&mut self) -> Result<Option<RecordBatch>> {
        if self.given.is_none() {
            self.gives_up |= self.is_full() && self.pairs < PAIRS_PER_KEY_MIN * self.table.len();
            (self.pairs, self.heap) = (0, 0);
        }
        let given = self.given.get_or_insert_with(|| std::mem::take(&mut self.table).into_iter());
        for (key, value) in given {
            // Only a panic leaves a key without its value, and then nothing is given.
            let Some(value) = value else { continue };
            self.built.push((key.view(), value.view()));
            if self.built.is_full() {
                break;
            }
        }
        let batch = self.built.take(&self.schema)?;
        if batch.is_none() {
            self.given = None;
        }
        Ok(batch)
    }

    fn gives_up(&self) -> bool {
        self.gives_up
    }

    fn within(&self) -> Option<UserCode> {
        self.is_combining.then_some(self.code)
    }
}
