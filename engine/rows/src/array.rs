//! Arrays, stored as lists of a fixed size.

use std::array;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};

use super::group::Group;
use super::mismatch::{Mismatch, Problem};
use super::{Value, nulls, shared};

/// Column of arrays.
#[derive(Debug)]
pub struct Arrays<C> {
    rows: usize,
    items: C,
}

fn item_field<T: Value>() -> FieldRef {
    Arc::new(Field::new_list_field(T::data_type(), T::NULLABLE))
}

/// The length of an array as Arrow counts it.
const fn size<const N: usize>() -> i32 {
    const {
        assert!(N > 0 && N <= i32::MAX as usize, "a column of arrays has 1 to 2^31 items each");
        N as i32
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    type View<'a> = [T::View<'a>; N];
    type Column = Arrays<T::Column>;
    type Builder = Group<T::Builder>;

    const NULLABLE: bool = false;
    const HAS_HEAP: bool = T::HAS_HEAP;

    fn data_type() -> DataType {
        DataType::FixedSizeList(item_field::<T>(), size::<N>())
    }

    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch> {
        let lists = match array.as_fixed_size_list_opt() {
            Some(lists) if lists.value_length() == size::<N>() => lists,
            _ => {
                let found = array.data_type().clone();
                return Err(Mismatch::new(Problem::Type { expected: Self::data_type(), found }));
            }
        };
        nulls::check(lists, outer)?;
        let inner = nulls::inner(lists, outer).map(|nulls| nulls.expand(N));
        let items = lists.values().slice(0, lists.len() * N);
        let items = T::column(&items, inner.as_ref())
            .map_err(|mismatch| mismatch.within("[]").map_row(|item| item / N))?;
        Ok(Arrays { rows: lists.len(), items })
    }

    #[inline]
    fn rows(column: &Self::Column) -> usize {
        column.rows
    }

    #[inline(always)]
    fn get(column: &Self::Column, row: usize) -> Self::View<'_> {
        array::from_fn(|item| T::get(&column.items, row.wrapping_mul(N).wrapping_add(item)))
    }

    #[inline]
    fn to_owned(view: Self::View<'_>) -> Self {
        view.map(T::to_owned)
    }

    #[inline]
    fn view(&self) -> Self::View<'_> {
        self.each_ref().map(T::view)
    }

    #[inline]
    fn hash_key<State: Hasher>(view: Self::View<'_>, state: &mut State) {
        view.into_iter().for_each(|item| T::hash_key(item, state));
    }

    #[inline]
    fn same_key(a: Self::View<'_>, b: Self::View<'_>) -> bool {
        a.into_iter().zip(b).all(|(a, b)| T::same_key(a, b))
    }

    #[inline]
    fn heap_bytes(view: Self::View<'_>) -> usize {
        if T::HAS_HEAP { view.into_iter().map(T::heap_bytes).sum() } else { 0 }
    }

    fn builder(capacity: usize) -> Self::Builder {
        Group::new(T::builder(capacity.saturating_mul(N)))
    }

    #[inline]
    fn append(builder: &mut Self::Builder, view: Self::View<'_>) {
        for item in view {
            T::append(&mut builder.children, item);
        }
        builder.count();
    }

    fn append_null(builder: &mut Self::Builder) {
        for _ in 0..N {
            T::append_null(&mut builder.children);
        }
        builder.count_null();
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        let items = T::finish(&mut builder.children);
        let nulls = builder.take_nulls();
        Arc::new(FixedSizeListArray::new(item_field::<T>(), size::<N>(), items, nulls))
    }
}

shared::row!([T: Value, const N: usize] [T; N]);
