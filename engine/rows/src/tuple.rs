//! Tuples: as a row one column for each element, as a value a struct; the names are `_0`, `_1`
//! and so on.

use std::hash::Hasher;

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Fields};

use super::columns;
use super::group::Group;
use super::shared::row_as_value;
use super::{Mismatch, Row, Value};

macro_rules! tuple {
    ($($element:ident $position:tt $name:literal,)+) => {
        impl<$($element: Value),+> Value for ($($element,)+) {
            type View<'a> = ($($element::View<'a>,)+);
            type Column = ($($element::Column,)+);
            type Builder = Group<($($element::Builder,)+)>;

            const NULLABLE: bool = false;
            const HAS_HEAP: bool = $($element::HAS_HEAP)||+;

            fn data_type() -> DataType {
                columns::struct_type(<Self as Row>::fields())
            }

            fn column(
                array: &ArrayRef,
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Column, Mismatch> {
                let (arrays, inner) = columns::open_struct::<Self>(array, outer, &[$($name),+])?;
                let inner = inner.as_ref();
                Ok(($(columns::open::<$element>(&arrays[$position], inner, $name)?,)+))
            }

            #[inline]
            fn rows(column: &Self::Column) -> usize {
                A::rows(&column.0)
            }

            #[inline(always)]
            fn get(column: &Self::Column, row: usize) -> <Self as Value>::View<'_> {
                ($($element::get(&column.$position, row),)+)
            }

            #[inline]
            fn to_owned(view: <Self as Value>::View<'_>) -> Self {
                ($($element::to_owned(view.$position),)+)
            }

            #[inline]
            fn view(&self) -> <Self as Value>::View<'_> {
                ($(self.$position.view(),)+)
            }

            #[inline]
            fn hash_key<State: Hasher>(view: <Self as Value>::View<'_>, state: &mut State) {
                $($element::hash_key(view.$position, state);)+
            }

            #[inline]
            fn same_key(a: <Self as Value>::View<'_>, b: <Self as Value>::View<'_>) -> bool {
                $($element::same_key(a.$position, b.$position))&&+
            }

            #[inline]
            fn heap_bytes(view: <Self as Value>::View<'_>) -> usize {
                0 $(+ $element::heap_bytes(view.$position))+
            }

            fn builder(capacity: usize) -> <Self as Value>::Builder {
                Group::new(($($element::builder(capacity),)+))
            }

            #[inline]
            fn append(builder: &mut <Self as Value>::Builder, view: <Self as Value>::View<'_>) {
                $($element::append(&mut builder.children.$position, view.$position);)+
                builder.count();
            }

            fn lend(builder: &mut <Self as Value>::Builder, arrays: &[ArrayRef]) {
                $($element::lend(&mut builder.children.$position, arrays);)+
            }

            fn append_null(builder: &mut <Self as Value>::Builder) {
                $($element::append_null(&mut builder.children.$position);)+
                builder.count_null();
            }

            fn finish(builder: &mut <Self as Value>::Builder) -> ArrayRef {
                let arrays = vec![$($element::finish(&mut builder.children.$position)),+];
                builder.finish(<Self as Row>::fields(), arrays)
            }
        }

        impl<$($element: Value),+> Row for ($($element,)+) {
            row_as_value!();

            fn fields() -> Fields {
                columns::fields([$(columns::field::<$element>($name)),+])
            }

            fn columns(arrays: &[ArrayRef]) -> Result<Self::Columns, Mismatch> {
                columns::check(arrays, &[$($name),+])?;
                Ok(($(columns::open::<$element>(&arrays[$position], None, $name)?,)+))
            }

            #[inline]
            fn has_rows(columns: &Self::Columns, rows: usize) -> bool {
                $($element::rows(&columns.$position) >= rows)&&+
            }

            fn finish(builder: &mut <Self as Value>::Builder) -> Vec<ArrayRef> {
                builder.reset();
                vec![$($element::finish(&mut builder.children.$position)),+]
            }
        }
    };
}

tuple!(A 0 "_0",);
tuple!(A 0 "_0", B 1 "_1",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6",);
tuple!(A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6", H 7 "_7",);
tuple!(
    A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6", H 7 "_7", I 8 "_8",
);
tuple!(
    A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6", H 7 "_7", I 8 "_8",
    J 9 "_9",
);
tuple!(
    A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6", H 7 "_7", I 8 "_8",
    J 9 "_9", K 10 "_10",
);
tuple!(
    A 0 "_0", B 1 "_1", C 2 "_2", D 3 "_3", E 4 "_4", F 5 "_5", G 6 "_6", H 7 "_7", I 8 "_8",
    J 9 "_9", K 10 "_10", L 11 "_11",
);
