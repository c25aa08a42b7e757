//! Enums without fields, stored as a dictionary of their names; called by derived code. What a
//! name means is decided once for each batch, so that a row costs two loads.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Int32Type};

use super::mismatch::{Mismatch, Problem, quoted};
use super::nulls;
use super::numbers::Numbers;

/// Column of an enum.
#[derive(Debug)]
pub struct Variants<E> {
    keys: ScalarBuffer<i32>,
    /// The variant of each entry of the dictionary.
    entries: Vec<E>,
    /// The value of rows that hold nothing.
    first: E,
}

impl<E: Copy + Debug> Variants<E> {
    /// Opens a dictionary: `names` and `variants` belong together.
    ///
    /// # Errors
    ///
    /// The array is not a dictionary of strings, or holds a null or an unknown text where the
    /// parent is valid. Entries that no row uses may be anything.
    pub fn open(
        array: &ArrayRef,
        outer: Option<&NullBuffer>,
        names: &[&str],
        variants: &[E],
    ) -> Result<Self, Mismatch> {
        let found =
            || Problem::Type { expected: Self::data_type(), found: array.data_type().clone() };
        let dictionary =
            array.as_dictionary_opt::<Int32Type>().ok_or_else(|| Mismatch::new(found()))?;
        let texts =
            dictionary.values().as_string_opt::<i32>().ok_or_else(|| Mismatch::new(found()))?;
        nulls::check(dictionary, outer)?;

        let variant_of = |text: &str| names.iter().position(|name| *name == text);
        let known: Vec<Option<usize>> =
            texts.iter().map(|text| text.and_then(variant_of)).collect();
        let keys = dictionary.keys().values();
        if known.contains(&None) {
            let inner = nulls::inner(dictionary, outer);
            let unknown = |(row, key): (usize, &i32)| {
                let entry = usize::try_from(*key).ok()?;
                let valid = inner.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                (valid && known.get(entry)?.is_none()).then_some((row, entry))
            };
            if let Some((row, entry)) = keys.iter().enumerate().find_map(unknown) {
                let text = texts.value(entry).to_owned();
                return Err(Mismatch::new(Problem::Variant { row, text, variants: quoted(names) }));
            }
        }
        let entries = known.iter().map(|known| variants[known.unwrap_or(0)]).collect();
        Ok(Self { keys: keys.clone(), entries, first: variants[0] })
    }

    /// The type of the column.
    pub fn data_type() -> DataType {
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
    }

    /// The number of rows.
    #[inline]
    pub fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The variant in a row.
    #[inline(always)]
    pub fn get(&self, row: usize) -> E {
        let key = self.keys.get(row).copied().unwrap_or_default();
        let entry = usize::try_from(key).unwrap_or_default();
        self.entries.get(entry).copied().unwrap_or(self.first)
    }
}

/// Builder of an enum: its dictionary is the names of all variants in the order of their
/// declaration.
#[derive(Debug)]
pub struct VariantKeys(Numbers<i32>);

impl VariantKeys {
    /// An empty builder.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Numbers::with_capacity(capacity))
    }

    /// Adds the variant at a position.
    #[inline]
    pub fn push(&mut self, position: i32) {
        self.0.push(position);
    }

    /// Adds a null.
    pub fn push_null(&mut self) {
        self.0.push_null();
    }

    /// The array. `names` is the same array in every batch, so that kernels see at a glance that
    /// the dictionaries are equal.
    pub fn finish(&mut self, names: &ArrayRef) -> ArrayRef {
        let keys = self.0.finish::<Int32Type>(DataType::Int32);
        Arc::new(DictionaryArray::new(keys, Arc::clone(names)))
    }
}

/// The names of the variants as the dictionary of their column.
pub fn names(names: &[&str]) -> ArrayRef {
    Arc::new(arrow::array::StringArray::from_iter_values(names))
}
