//! What a function may return, and how it comes into a column.

use std::fmt;

use bytes::Bytes;

use crate::Value;

/// A return type of an SQL function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what a function of SQL returns",
    label = "no column holds this type",
    note = "a function returns what a column holds: booleans, numbers, strings, `&str`, `Bytes`, \
            `&[u8]`, dates and times of chrono, `Decimal`, `Vec`, `#[derive(Row)]` types; an option \
            of these, or a `Result` whose error can be shown"
)]
pub trait Returned {
    /// What the column holds.
    type Value: Value;

    /// Adds it to the column.
    ///
    /// # Errors
    /// The error of the function.
    fn append(self, builder: &mut <Self::Value as Value>::Builder) -> Result<(), String>;
}

impl<T: Value> Returned for T {
    type Value = T;

    #[inline(always)]
    fn append(self, builder: &mut T::Builder) -> Result<(), String> {
        <T as Value>::append(builder, self.view());
        Ok(())
    }
}

/// Values that borrow from the arguments are copied once, into the column.
macro_rules! borrowed {
    ($($view:ty => $value:ty,)*) => {$(
        impl Returned for $view {
            type Value = $value;

            #[inline(always)]
            fn append(self, builder: &mut <$value as Value>::Builder) -> Result<(), String> {
                <$value as Value>::append(builder, self);
                Ok(())
            }
        }
    )*};
}

borrowed! {
    &str => String,
    &[u8] => Bytes,
    Option<&str> => Option<String>,
    Option<&[u8]> => Option<Bytes>,
}

impl<T: Returned, E: fmt::Display> Returned for Result<T, E> {
    type Value = T::Value;

    #[inline(always)]
    fn append(self, builder: &mut <T::Value as Value>::Builder) -> Result<(), String> {
        match self {
            Ok(value) => value.append(builder),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A return type of a step of an aggregate: nothing, or a result of nothing.
#[diagnostic::on_unimplemented(
    message = "`add` and `merge` of an aggregate function cannot return `{Self}`",
    label = "neither `()` nor a `Result` of it",
    note = "return nothing, or `Result<(), E>` with an error that can be shown"
)]
pub trait Done {
    /// The result.
    ///
    /// # Errors
    /// The error of the function.
    fn done(self) -> Result<(), String>;
}

impl Done for () {
    #[inline(always)]
    fn done(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Done for Result<(), E> {
    #[inline(always)]
    fn done(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}
