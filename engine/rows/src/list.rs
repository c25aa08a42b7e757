//! Vectors, stored as lists, and the view of them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::mismatch::{Mismatch, Problem};
use super::nulls::{self, Nulls};
use super::{Value, shared};

/// The view of a `Vec<T>`: items of a column, or a slice of owned values.
pub struct List<'a, T: Value>(Source<'a, T>);

enum Source<'a, T: Value> {
    Column { column: &'a T::Column, start: usize, len: usize },
    Slice(&'a [T]),
}

impl<'a, T: Value> List<'a, T> {
    /// The number of items.
    #[inline]
    pub fn len(self) -> usize {
        match self.0 {
            Source::Column { len, .. } => len,
            Source::Slice(slice) => slice.len(),
        }
    }

    /// Whether there are no items.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The item at a position, if the list is that long.
    #[inline(always)]
    pub fn get(self, index: usize) -> Option<T::View<'a>> {
        match self.0 {
            Source::Column { column, start, len } => {
                (index < len).then(|| T::get(column, start + index))
            }
            Source::Slice(slice) => slice.get(index).map(T::view),
        }
    }

    /// The items in order.
    #[inline]
    pub fn iter(self) -> Items<'a, T> {
        Items { list: self, next: 0, end: self.len() }
    }

    /// The items as a slice, for types whose columns are slices.
    #[inline]
    pub(super) fn slice_of(self, column_slice: impl FnOnce(&'a T::Column) -> &'a [T]) -> &'a [T] {
        match self.0 {
            Source::Column { column, start, len } => &column_slice(column)[start..start + len],
            Source::Slice(slice) => slice,
        }
    }
}

impl<'a, T: Value> From<&'a [T]> for List<'a, T> {
    #[inline]
    fn from(slice: &'a [T]) -> Self {
        Self(Source::Slice(slice))
    }
}

// Derives would demand the same of T.
impl<T: Value> Clone for List<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Value> Copy for List<'_, T> {}

impl<T: Value> Clone for Source<'_, T> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Value> Copy for Source<'_, T> {}

impl<T: Value> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'a, T: Value> IntoIterator for List<'a, T> {
    type Item = T::View<'a>;
    type IntoIter = Items<'a, T>;

    #[inline]
    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

/// The items of a [`List`] in order.
pub struct Items<'a, T: Value> {
    list: List<'a, T>,
    next: usize,
    end: usize,
}

impl<'a, T: Value> Iterator for Items<'a, T> {
    type Item = T::View<'a>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        self.list.get(self.next - 1)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}

impl<T: Value> DoubleEndedIterator for Items<'_, T> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        self.end -= 1;
        self.list.get(self.end)
    }
}

impl<T: Value> ExactSizeIterator for Items<'_, T> {}

impl<T: Value> FusedIterator for Items<'_, T> {}

impl<T: Value> Clone for Items<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<T: Value> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Column of lists.
#[derive(Debug)]
pub struct Lists<C> {
    /// The offsets of the lists in the array that the items were cut from.
    offsets: OffsetBuffer<i32>,
    /// The items of these lists only.
    items: C,
}

/// Builder of lists.
#[derive(Debug)]
pub struct ListBuilder<B> {
    offsets: Vec<i32>,
    items: B,
    nulls: Nulls,
}

impl<B> ListBuilder<B> {
    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or_default()
    }
}

fn item_field<T: Value>() -> FieldRef {
    Arc::new(Field::new_list_field(T::data_type(), T::NULLABLE))
}

/// The items in use, which are not in a list that is null or below a null.
fn items_outer(offsets: &[i32], lists: Option<&NullBuffer>) -> Option<NullBuffer> {
    let lists = lists?;
    let mut valid = BooleanBufferBuilder::new(0);
    for (row, ends) in offsets.windows(2).enumerate() {
        valid.append_n(position(ends[1], ends[0]), lists.is_valid(row));
    }
    Some(NullBuffer::new(valid.build())).filter(|nulls| nulls.null_count() > 0)
}

/// The distance of two offsets, which never decrease.
#[inline]
fn position(offset: i32, first: i32) -> usize {
    usize::try_from(offset - first).unwrap_or_default()
}

impl<T: Value> Value for Vec<T> {
    type View<'a> = List<'a, T>;
    type Column = Lists<T::Column>;
    type Builder = ListBuilder<T::Builder>;

    const NULLABLE: bool = false;
    const HAS_HEAP: bool = true;

    fn data_type() -> DataType {
        DataType::List(item_field::<T>())
    }

    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch> {
        let Some(lists) = array.as_list_opt::<i32>() else {
            let found = array.data_type().clone();
            return Err(Mismatch::new(Problem::Type { expected: Self::data_type(), found }));
        };
        nulls::check(lists, outer)?;
        let offsets = lists.offsets();
        let first = offsets[0];
        let last = offsets[offsets.len() - 1];
        // A slice of an array of lists still has the items of all: those before and after these
        // lists may be null.
        let items = lists.values().slice(position(first, 0), position(last, first));
        let inner = nulls::inner(lists, outer);
        let items = T::column(&items, items_outer(offsets, inner.as_ref()).as_ref()).map_err(
            |mismatch| {
                let list = |item| offsets.partition_point(|&end| position(end, first) <= item) - 1;
                mismatch.within("[]").map_row(list)
            },
        )?;
        Ok(Lists { offsets: offsets.clone(), items })
    }

    #[inline]
    fn rows(column: &Self::Column) -> usize {
        column.offsets.len() - 1
    }

    #[inline(always)]
    fn get(column: &Self::Column, row: usize) -> Self::View<'_> {
        let offsets: &[i32] = &column.offsets;
        let first = offsets.first().copied().unwrap_or_default();
        let (start, len) = match offsets.get(row..).and_then(|rest| rest.first_chunk()) {
            Some(&[start, end]) => (position(start, first), position(end, start)),
            None => (0, 0),
        };
        List(Source::Column { column: &column.items, start, len })
    }

    fn to_owned(view: Self::View<'_>) -> Self {
        view.iter().map(T::to_owned).collect()
    }

    #[inline]
    fn view(&self) -> Self::View<'_> {
        List::from(self.as_slice())
    }

    #[inline]
    fn hash_key<State: Hasher>(view: Self::View<'_>, state: &mut State) {
        view.len().hash(state);
        view.iter().for_each(|item| T::hash_key(item, state));
    }

    #[inline]
    fn same_key(a: Self::View<'_>, b: Self::View<'_>) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| T::same_key(a, b))
    }

    #[inline]
    fn heap_bytes(view: Self::View<'_>) -> usize {
        let items = if T::HAS_HEAP { view.iter().map(T::heap_bytes).sum() } else { 0 };
        view.len() * size_of::<T>() + items
    }

    fn builder(capacity: usize) -> Self::Builder {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        // A guess: as many items as lists.
        ListBuilder { offsets, items: T::builder(capacity), nulls: Nulls::default() }
    }

    /// # Panics
    ///
    /// The lists of one batch have more than 2^31 items.
    #[inline]
    fn append(builder: &mut Self::Builder, view: Self::View<'_>) {
        for item in view {
            T::append(&mut builder.items, item);
        }
        let len = i32::try_from(view.len()).ok();
        let end = len.and_then(|len| builder.end().checked_add(len));
        builder.offsets.push(end.expect("the lists of a batch have less than 2^31 items"));
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.nulls.push(builder.offsets.len() - 1);
        builder.offsets.push(builder.end());
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        let mut next = Vec::with_capacity(builder.offsets.len());
        next.push(0);
        let offsets = std::mem::replace(&mut builder.offsets, next);
        let nulls = builder.nulls.finish(offsets.len() - 1);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Arc::new(ListArray::new(item_field::<T>(), offsets, T::finish(&mut builder.items), nulls))
    }
}

shared::row!([T: Value] Vec<T>);
