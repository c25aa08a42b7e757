//! A value as a row of one column, with the name `value`. A macro and not a blanket
//! implementation: tuples and structs are values too, but as rows they have many columns.

/// Implements [`Row`](super::Row) for a [`Value`](super::Value); its generics come in brackets.
macro_rules! row {
    ([$($generics:tt)*] $value:ty) => {
        impl<$($generics)*> Row for $value {
            crate::shared::one_column!("value");
        }
    };
}

pub(super) use row;
