//! Strings and bytes, as Arrow's views: a short one lies in the view itself, a long one in a
//! buffer that arrays share.

use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{BinaryViewType, DataType, StringViewType};
use bytes::Bytes;

use super::mismatch::{Mismatch, Problem};
use super::texts::Texts;
use super::{Value, nulls, shared};

/// Whether two texts are the same. Most keys are short, and the call that compares bytes takes
/// longer than all the rest of looking one up: two loads from each end, which may overlap, compare
/// 4 to 16 bytes.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        8..=16 => a.first_chunk::<8>() == b.first_chunk() && a.last_chunk::<8>() == b.last_chunk(),
        4..8 => a.first_chunk::<4>() == b.first_chunk() && a.last_chunk::<4>() == b.last_chunk(),
        _ => a == b,
    }
}

macro_rules! text {
    ($owned:ty, $view:ty, $data_type:ident, $array:ident, $open:ident, $kind:ident, $empty:expr,
     $to_owned:expr) => {
        impl Value for $owned {
            type View<'a> = &'a $view;
            type Column = $array;
            type Builder = Texts<$kind>;

            const NULLABLE: bool = false;
            const HAS_HEAP: bool = true;

            fn data_type() -> DataType {
                DataType::$data_type
            }

            fn column(
                array: &ArrayRef,
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Column, Mismatch> {
                let Some(texts) = array.$open() else {
                    let found = array.data_type().clone();
                    return Err(Mismatch::new(Problem::Type {
                        expected: <Self as Value>::data_type(),
                        found,
                    }));
                };
                nulls::check(texts, outer)?;
                Ok(texts.clone())
            }

            #[inline]
            fn rows(column: &Self::Column) -> usize {
                column.len()
            }

            #[inline(always)]
            fn get(column: &Self::Column, row: usize) -> &$view {
                if row < column.len() { column.value(row) } else { $empty }
            }

            #[inline]
            fn to_owned(view: &$view) -> Self {
                $to_owned(view)
            }

            #[inline]
            fn view(&self) -> &$view {
                self
            }

            #[inline]
            fn hash_key<State: Hasher>(view: &$view, state: &mut State) {
                state.write(view.as_ref());
            }

            #[inline]
            fn same_key(a: &$view, b: &$view) -> bool {
                is_same(a.as_ref(), b.as_ref())
            }

            #[inline]
            fn heap_bytes(view: &$view) -> usize {
                view.len()
            }

            fn builder(capacity: usize) -> Self::Builder {
                Texts::with_capacity(capacity)
            }

            #[inline]
            fn append(builder: &mut Self::Builder, view: &$view) {
                builder.push(view);
            }

            fn append_null(builder: &mut Self::Builder) {
                builder.push_null();
            }

            fn lend(builder: &mut Self::Builder, arrays: &[ArrayRef]) {
                builder.lend(arrays);
            }

            fn finish(builder: &mut Self::Builder) -> ArrayRef {
                Arc::new(builder.finish())
            }
        }

        shared::row!([] $owned);
    };
}

macro_rules! string {
    ($owned:ty) => {
        text!(
            $owned,
            str,
            Utf8View,
            StringViewArray,
            as_string_view_opt,
            StringViewType,
            "",
            <$owned>::from
        );
    };
}

string!(String);
string!(Box<str>);
string!(Arc<str>);

text!(
    Bytes,
    [u8],
    BinaryView,
    BinaryViewArray,
    as_binary_view_opt,
    BinaryViewType,
    &[],
    Bytes::copy_from_slice
);
