//! Values that may be null.

use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::mismatch::Mismatch;
use super::{Value, nulls, shared};

/// Column of optional values.
#[derive(Debug)]
pub struct Optional<C> {
    /// Absent if this batch has no nulls.
    nulls: Option<NullBuffer>,
    values: C,
}

impl<T: Value> Value for Option<T> {
    type View<'a> = Option<T::View<'a>>;
    type Column = Optional<T::Column>;
    /// Every builder takes nulls, since any value may stand below a parent that is null.
    type Builder = T::Builder;

    const NULLABLE: bool = {
        assert!(!T::NULLABLE, "a column cannot tell the null of an Option<Option<_>> from None");
        true
    };
    const HAS_HEAP: bool = T::HAS_HEAP;

    fn data_type() -> DataType {
        T::data_type()
    }

    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch> {
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        let inner = nulls::inner(array, outer);
        Ok(Optional { values: T::column(array, inner.as_ref())?, nulls })
    }

    #[inline]
    fn rows(column: &Self::Column) -> usize {
        T::rows(&column.values)
    }

    #[inline(always)]
    fn get(column: &Self::Column, row: usize) -> Self::View<'_> {
        match &column.nulls {
            Some(nulls) if row >= nulls.len() || nulls.is_null(row) => None,
            _ => Some(T::get(&column.values, row)),
        }
    }

    #[inline]
    fn to_owned(view: Self::View<'_>) -> Self {
        view.map(T::to_owned)
    }

    #[inline]
    fn view(&self) -> Self::View<'_> {
        self.as_ref().map(T::view)
    }

    #[inline]
    fn hash_key<State: Hasher>(view: Self::View<'_>, state: &mut State) {
        view.is_some().hash(state);
        if let Some(view) = view {
            T::hash_key(view, state);
        }
    }

    #[inline]
    fn same_key(a: Self::View<'_>, b: Self::View<'_>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => T::same_key(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }

    #[inline]
    fn heap_bytes(view: Self::View<'_>) -> usize {
        view.map_or(0, T::heap_bytes)
    }

    fn builder(capacity: usize) -> Self::Builder {
        // Without this the constant would not be evaluated, and its check not made.
        const { assert!(Self::NULLABLE) };
        T::builder(capacity)
    }

    #[inline]
    fn append(builder: &mut Self::Builder, view: Self::View<'_>) {
        match view {
            Some(view) => T::append(builder, view),
            None => T::append_null(builder),
        }
    }

    fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
        T::lend(builder, arrays);
    }

    fn append_null(builder: &mut Self::Builder) {
        T::append_null(builder);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        T::finish(builder)
    }
}

shared::row!([T: Value] Option<T>);
