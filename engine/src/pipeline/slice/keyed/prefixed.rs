//! Turns the first elements of tuples into their key, by regrouping columns without looking at
//! rows.

use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StructArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result as PlanResult;
use datafusion::execution::SendableRecordBatchStream;

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::TaskCx;
use crate::pipeline::slice::tree::streams;
use crate::pipeline::slice::tree::typed;
use crate::row::{Row, Value};

/// A tuple whose first `N` elements are its key: every tuple of two to twelve values, for every `N`
/// that leaves at least one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no key of its first {N} elements",
    note = "`prefixed::<N>()` is for tuples of more than N values"
)]
pub trait Prefix<const N: usize>: Row {
    /// The first `N` elements: a tuple, or a single element itself.
    type Key: Value;
    /// The other elements: a tuple, or a single element itself.
    type Rest: Value;
}

impl<T: Row> Slice<T> {
    /// Pairs of the first `N` elements of each row and the other elements. From `(a, b, c)`,
    /// `prefixed::<2>()` makes `((a, b), c)`, and `prefixed::<1>()` makes `(a, (b, c))`.
    ///
    /// Keeps order and shards. Nothing is copied: the columns stay the same.
    ///
    /// ```
    /// use bigslice::prelude::*;
    ///
    /// #[bigslice::func]
    /// fn sales_by_year_and_shop() -> Slice<((u16, String), f64)> {
    ///     let sales = [(2025, "east", 1.5), (2026, "west", 2.0), (2025, "east", 0.5)];
    ///     Slice::const_(2, sales.map(|(year, shop, sum)| (year, shop.to_owned(), sum)))
    ///         .prefixed::<2>()
    ///         .reduce(|a, b| a + b)
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let session = Session::builder().build().await?;
    /// let mut rows = session.run(sales_by_year_and_shop()).await?.collect().await?;
    /// rows.sort_by(|a, b| a.0.cmp(&b.0));
    /// assert_eq!(rows, [((2025, "east".to_owned()), 2.0), ((2026, "west".to_owned()), 2.0)]);
    /// # Ok(()) })
    /// # }
    /// ```
    #[track_caller]
    pub fn prefixed<const N: usize>(self) -> Slice<(T::Key, T::Rest)>
    where
        T: Prefix<N>,
    {
        let schema = typed::schema::<(T::Key, T::Rest)>();
        self.narrow(
            "prefixed",
            Location::caller(),
            move |input: SendableRecordBatchStream, _: &TaskCx| {
                let made = Arc::clone(&schema);
                Ok(streams::each(input, &schema, move |batch| {
                    let (key, rest) = batch.columns().split_at(N);
                    let columns = vec![one::<T::Key>(key)?, one::<T::Rest>(rest)?];
                    Ok(RecordBatch::try_new(Arc::clone(&made), columns)?)
                }))
            },
        )
    }
}

/// The column of a `V` with these parts, or with this single part.
fn one<V: Value>(parts: &[ArrayRef]) -> PlanResult<ArrayRef> {
    match (parts, V::data_type()) {
        ([part], _) => Ok(Arc::clone(part)),
        (parts, DataType::Struct(fields)) => {
            Ok(Arc::new(StructArray::try_new(fields, parts.to_vec(), None)?))
        }
        (_, other) => datafusion::common::internal_err!("{} parts of a {other}", parts.len()),
    }
}

/// A single element is itself, several are a tuple.
macro_rules! joined {
    ($one:ident) => { $one };
    ($($several:ident)+) => { ($($several,)+) };
}

macro_rules! one {
    ($element:ident) => {
        1
    };
}

/// The implementations for one tuple, with its elements in two groups, and for every later split.
macro_rules! prefixes {
    ([$($key:ident)+] []) => {};
    ([$($key:ident)+] [$next:ident $($rest:ident)*]) => {
        impl<$($key: Value,)+ $next: Value, $($rest: Value,)*> Prefix<{ 0 $(+ one!($key))+ }>
            for ($($key,)+ $next, $($rest,)*)
        {
            type Key = joined!($($key)+);
            type Rest = joined!($next $($rest)*);
        }

        prefixes!([$($key)+ $next] [$($rest)*]);
    };
}

prefixes!([A][B]);
prefixes!([A] [B C]);
prefixes!([A] [B C D]);
prefixes!([A] [B C D E]);
prefixes!([A] [B C D E F]);
prefixes!([A] [B C D E F G]);
prefixes!([A] [B C D E F G H]);
prefixes!([A] [B C D E F G H I]);
prefixes!([A] [B C D E F G H I J]);
prefixes!([A] [B C D E F G H I J K]);
prefixes!([A] [B C D E F G H I J K L]);
