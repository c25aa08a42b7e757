//! A value as a row of one column, with the name `value`. A macro and not a blanket
//! implementation: tuples and structs are values too, but as rows they have many columns.

/// Implements [`Row`](super::Row) for a [`Value`](super::Value); its generics come in brackets.
macro_rules! row {
    ([$($generics:tt)*] $value:ty) => {
        impl<$($generics)*> Row for $value {
            type View<'a> = <Self as Value>::View<'a>;
            type Columns = <Self as Value>::Column;
            type Builder = <Self as Value>::Builder;

            const HAS_HEAP: bool = <Self as Value>::HAS_HEAP;

            fn fields() -> arrow::datatypes::Fields {
                super::columns::fields([super::columns::field::<Self>("value")])
            }

            fn columns(arrays: &[ArrayRef]) -> Result<Self::Columns, Mismatch> {
                super::columns::check(arrays, &["value"])?;
                super::columns::open::<Self>(&arrays[0], None, "value")
            }

            #[inline]
            fn has_rows(columns: &Self::Columns, rows: usize) -> bool {
                <Self as Value>::rows(columns) >= rows
            }

            #[inline(always)]
            fn get(columns: &Self::Columns, row: usize) -> <Self as Row>::View<'_> {
                super::columns::in_batch::<Self>(columns, row);
                <Self as Value>::get(columns, row)
            }

            #[inline]
            fn to_owned(view: <Self as Row>::View<'_>) -> Self {
                <Self as Value>::to_owned(view)
            }

            #[inline]
            fn view(&self) -> <Self as Row>::View<'_> {
                <Self as Value>::view(self)
            }

            #[inline]
            fn heap_bytes(view: <Self as Row>::View<'_>) -> usize {
                <Self as Value>::heap_bytes(view)
            }

            fn builder(capacity: usize) -> <Self as Row>::Builder {
                <Self as Value>::builder(capacity)
            }

            #[inline]
            fn append(builder: &mut <Self as Row>::Builder, view: <Self as Row>::View<'_>) {
                <Self as Value>::append(builder, view);
            }

            fn lend(builder: &mut <Self as Row>::Builder, arrays: &[ArrayRef]) {
                <Self as Value>::lend(builder, arrays);
            }

            fn finish(builder: &mut <Self as Row>::Builder) -> Vec<ArrayRef> {
                vec![<Self as Value>::finish(builder)]
            }
        }
    };
}

pub(super) use row;
