//! The items that implementations of [`Value`](crate::Value) and [`Row`](crate::Row) share, as
//! macros for the inside of an `impl`. Derived code calls them too, through
//! [`derive`](crate::derive). They are macros and no blanket implementation over a trait of
//! scalars, because that trait would have to be public, for derived enums, and repeat most of
//! `Value`.

/// The items of a [`Value`](crate::Value) that is its own view. Two values are the same key if
/// `$key` gives the same for both.
#[doc(hidden)]
#[macro_export]
macro_rules! __scalar {
    ($key:expr) => {
        type View<'a> = Self;

        const NULLABLE: bool = false;

        #[inline]
        fn to_owned(view: Self) -> Self {
            view
        }

        #[inline]
        fn view(&self) -> Self {
            *self
        }

        #[inline]
        fn hash_key<State: ::core::hash::Hasher>(view: Self, state: &mut State) {
            ::core::hash::Hash::hash(&$key(view), state);
        }

        #[inline]
        fn same_key(a: Self, b: Self) -> bool {
            $key(a) == $key(b)
        }
    };
}

/// The items of a [`Row`](crate::Row) whose views and builders are those of the type as a
/// [`Value`](crate::Value).
#[doc(hidden)]
#[macro_export]
macro_rules! __row_as_value {
    () => {
        type View<'a> = <Self as $crate::Value>::View<'a>;
        type Columns = <Self as $crate::Value>::Column;
        type Builder = <Self as $crate::Value>::Builder;

        const HAS_HEAP: bool = <Self as $crate::Value>::HAS_HEAP;

        #[inline(always)]
        fn get(columns: &Self::Columns, row: usize) -> <Self as $crate::Value>::View<'_> {
            $crate::derive::in_batch::<Self>(columns, row);
            <Self as $crate::Value>::get(columns, row)
        }

        #[inline]
        fn to_owned(view: <Self as $crate::Value>::View<'_>) -> Self {
            <Self as $crate::Value>::to_owned(view)
        }

        #[inline]
        fn view(&self) -> <Self as $crate::Value>::View<'_> {
            <Self as $crate::Value>::view(self)
        }

        #[inline]
        fn heap_bytes(view: <Self as $crate::Value>::View<'_>) -> usize {
            <Self as $crate::Value>::heap_bytes(view)
        }

        fn builder(capacity: usize) -> <Self as $crate::Value>::Builder {
            <Self as $crate::Value>::builder(capacity)
        }

        #[inline]
        fn append(
            builder: &mut <Self as $crate::Value>::Builder,
            view: <Self as $crate::Value>::View<'_>,
        ) {
            <Self as $crate::Value>::append(builder, view);
        }

        fn lend(
            builder: &mut <Self as $crate::Value>::Builder,
            arrays: &[$crate::derive::ArrayRef],
        ) {
            <Self as $crate::Value>::lend(builder, arrays);
        }
    };
}

/// All items of a [`Row`](crate::Row) of one column with the name `$name`.
#[doc(hidden)]
#[macro_export]
macro_rules! __one_column {
    ($name:expr) => {
        $crate::__row_as_value!();

        fn fields() -> $crate::derive::Fields {
            $crate::derive::fields([$crate::derive::field::<Self>($name)])
        }

        fn columns(
            arrays: &[$crate::derive::ArrayRef],
        ) -> ::core::result::Result<Self::Columns, $crate::Mismatch> {
            $crate::derive::check(arrays, &[$name])?;
            $crate::derive::open::<Self>(&arrays[0], ::core::option::Option::None, $name)
        }

        #[inline]
        fn has_rows(columns: &Self::Columns, rows: usize) -> bool {
            <Self as $crate::Value>::rows(columns) >= rows
        }

        fn finish(
            builder: &mut <Self as $crate::Value>::Builder,
        ) -> ::std::vec::Vec<$crate::derive::ArrayRef> {
            ::std::vec![<Self as $crate::Value>::finish(builder)]
        }
    };
}

/// Implements [`Row`](crate::Row) for a [`Value`](crate::Value), as one column with the name
/// `value`; its generics come in brackets.
macro_rules! row {
    ([$($generics:tt)*] $value:ty) => {
        impl<$($generics)*> $crate::Row for $value {
            $crate::__one_column!("value");
        }
    };
}

pub(super) use row;

pub use crate::{__one_column as one_column, __row_as_value as row_as_value, __scalar as scalar};
