//! What the arguments of a function may be, and how they are read: each column is opened once for a
//! batch, each row is then a few loads.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use bytes::Bytes;

use crate::{List, Mismatch, Value, columns};

/// The type of an argument: made of the view of a column's value, for as long as the batch lives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a function of SQL",
    label = "no column holds this type",
    note = "arguments are booleans, numbers, `&str`, `&[u8]`, slices of numbers, dates and times of \
            chrono, `Decimal`, `Vec`, `List`, `#[derive(Row)]` types, and options of these"
)]
pub trait Argument<'a>: Sized {
    /// What the column holds.
    type Value: Value;

    /// The argument for a value of the column.
    fn of(view: <Self::Value as Value>::View<'a>) -> Self;
}

impl<'a, T: Value> Argument<'a> for T {
    type Value = T;

    #[inline(always)]
    fn of(view: T::View<'a>) -> T {
        <T as Value>::to_owned(view)
    }
}

impl<'a> Argument<'a> for &'a str {
    type Value = String;

    #[inline(always)]
    fn of(view: &'a str) -> Self {
        view
    }
}

impl<'a> Argument<'a> for &'a [u8] {
    type Value = Bytes;

    #[inline(always)]
    fn of(view: &'a [u8]) -> Self {
        view
    }
}

impl<'a, T: Value> Argument<'a> for List<'a, T> {
    type Value = Vec<T>;

    #[inline(always)]
    fn of(view: Self) -> Self {
        view
    }
}

macro_rules! slices {
    ($($number:ty)*) => {$(
        impl<'a> Argument<'a> for &'a [$number] {
            type Value = Vec<$number>;

            #[inline(always)]
            fn of(view: List<'a, $number>) -> Self {
                view.as_slice()
            }
        }
    )*};
}

// Not of `u8`: those are bytes.
slices!(i8 i16 i32 i64 u16 u32 u64 f32 f64);

/// The arguments of a function: a tuple of values, none of them included.
pub trait Arguments: 'static {
    /// The form of a row that the function gets.
    type Views<'a>;
    /// The columns of a batch, opened.
    type Columns;

    /// The type of each.
    fn types() -> Vec<DataType>;

    /// Which of them may be null.
    fn nullable() -> Vec<bool>;

    /// Opens the arrays of a batch. Where `outer` is null nothing is read.
    ///
    /// # Errors
    /// An array has another type, or a null within it that its type cannot express.
    fn open(arrays: &[ArrayRef], outer: Option<&NullBuffer>) -> Result<Self::Columns, Mismatch>;

    /// The arguments of a row.
    fn get(columns: &Self::Columns, row: usize) -> Self::Views<'_>;
}

/// The rows that a function is called for: those in which no argument is null that may not be, and
/// that `filter` lets through. Absent if these are all.
pub fn called<A: Arguments>(
    arrays: &[ArrayRef],
    filter: Option<&NullBuffer>,
) -> Option<NullBuffer> {
    let strict = arrays.iter().zip(A::nullable()).filter(|(_, nullable)| !nullable);
    let nulls = strict.fold(filter.cloned(), |nulls, (array, _)| {
        NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref())
    });
    nulls.filter(|nulls| nulls.null_count() > 0)
}

impl Arguments for () {
    type Views<'a> = ();
    type Columns = ();

    fn types() -> Vec<DataType> {
        Vec::new()
    }

    fn nullable() -> Vec<bool> {
        Vec::new()
    }

    fn open(_: &[ArrayRef], _: Option<&NullBuffer>) -> Result<(), Mismatch> {
        Ok(())
    }

    #[inline(always)]
    fn get((): &(), _: usize) {}
}

macro_rules! arguments {
    ($count:literal: $($value:ident $array:ident $n:tt $name:literal),+) => {
        impl<$($value: Value),+> Arguments for ($($value,)+) {
            type Views<'a> = ($($value::View<'a>,)+);
            type Columns = ($($value::Column,)+);

            fn types() -> Vec<DataType> {
                vec![$($value::data_type()),+]
            }

            fn nullable() -> Vec<bool> {
                vec![$($value::NULLABLE),+]
            }

            fn open(
                arrays: &[ArrayRef],
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Columns, Mismatch> {
                let [$($array),+] = arrays else {
                    let names = [$($name),+].join(", ");
                    return Err(Mismatch::Count { found: arrays.len(), expected: $count, names });
                };
                Ok(($(columns::open::<$value>($array, outer, $name)?,)+))
            }

            #[inline(always)]
            fn get(columns: &Self::Columns, row: usize) -> Self::Views<'_> {
                ($($value::get(&columns.$n, row),)+)
            }
        }
    };
}

arguments!(1: A a 0 "argument 1");
arguments!(2: A a 0 "argument 1", B b 1 "argument 2");
arguments!(3: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3");
arguments!(4: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4");
arguments!(
    5: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5"
);
arguments!(
    6: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6"
);
arguments!(
    7: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7"
);
arguments!(
    8: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7", H h 7 "argument 8"
);
arguments!(
    9: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7", H h 7 "argument 8",
    I i 8 "argument 9"
);
arguments!(
    10: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7", H h 7 "argument 8",
    I i 8 "argument 9", J j 9 "argument 10"
);
arguments!(
    11: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7", H h 7 "argument 8",
    I i 8 "argument 9", J j 9 "argument 10", K k 10 "argument 11"
);
arguments!(
    12: A a 0 "argument 1", B b 1 "argument 2", C c 2 "argument 3", D d 3 "argument 4",
    E e 4 "argument 5", F f 5 "argument 6", G g 6 "argument 7", H h 7 "argument 8",
    I i 8 "argument 9", J j 9 "argument 10", K k 10 "argument 11", L l 11 "argument 12"
);
