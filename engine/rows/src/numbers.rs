//! Integers and floats, and the column and builder of everything that Arrow stores as numbers of
//! a fixed width: dates, times, decimals and the keys of enums use them too.

use std::convert::identity;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::Value;
use super::list::List;
use super::mismatch::{Mismatch, Problem};
use super::nulls::{self, Nulls};
use super::shared::{self, scalar};

/// The numbers of an array, after checking its type and nulls.
pub(super) fn scalars<P: ArrowPrimitiveType>(
    array: &ArrayRef,
    outer: Option<&NullBuffer>,
    expected: DataType,
) -> Result<ScalarBuffer<P::Native>, Mismatch> {
    match array.as_primitive_opt::<P>() {
        Some(numbers) if *array.data_type() == expected => {
            nulls::check(numbers, outer)?;
            Ok(numbers.values().clone())
        }
        _ => Err(Mismatch::new(Problem::Type { expected, found: array.data_type().clone() })),
    }
}

/// Builder of numbers.
#[derive(Debug)]
pub struct Numbers<N> {
    values: Vec<N>,
    nulls: Nulls,
}

impl<N: ArrowNativeType> Numbers<N> {
    #[inline]
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { values: Vec::with_capacity(capacity), nulls: Nulls::default() }
    }

    #[inline]
    pub(super) fn push(&mut self, value: N) {
        self.values.push(value);
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(N::default());
    }

    /// The array; the type is given since times and decimals have parameters.
    pub(super) fn finish<P: ArrowPrimitiveType<Native = N>>(
        &mut self,
        data_type: DataType,
    ) -> PrimitiveArray<P> {
        // The next batch is likely to be as long.
        let next = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, next);
        let nulls = self.nulls.finish(values.len());
        PrimitiveArray::new(ScalarBuffer::from(values), nulls).with_data_type(data_type)
    }
}

/// The items of a [`Value`] for the builder of a scalar that Arrow stores as `$arrow`. `$write`
/// gives the number that is stored.
macro_rules! built_as {
    ($arrow:ty, $write:expr) => {
        type Builder = Numbers<<$arrow as ArrowPrimitiveType>::Native>;

        fn builder(capacity: usize) -> Self::Builder {
            Numbers::with_capacity(capacity)
        }

        #[inline]
        fn append(builder: &mut Self::Builder, view: Self) {
            builder.push($write(view));
        }

        fn append_null(builder: &mut Self::Builder) {
            builder.push_null();
        }

        fn finish(builder: &mut Self::Builder) -> ArrayRef {
            Arc::new(builder.finish::<$arrow>(Self::data_type()))
        }
    };
}

/// [`built_as`], and the items for a column that is the stored numbers themselves. `$read` makes a
/// value of one.
macro_rules! stored_as {
    ($arrow:ty, $read:expr, $write:expr) => {
        type Column = ScalarBuffer<<$arrow as ArrowPrimitiveType>::Native>;

        #[inline]
        fn rows(column: &Self::Column) -> usize {
            column.len()
        }

        #[inline(always)]
        fn get(column: &Self::Column, row: usize) -> Self {
            $read(column.get(row).copied().unwrap_or_default())
        }

        $crate::numbers::built_as!($arrow, $write);
    };
}

pub(super) use {built_as, stored_as};

macro_rules! numbers {
    ($($number:ty => $arrow:ident, $key:expr;)*) => {$(
        impl Value for $number {
            scalar!($key);
            stored_as!($arrow, identity, identity);

            fn data_type() -> DataType {
                $arrow::DATA_TYPE
            }

            fn column(
                array: &ArrayRef,
                outer: Option<&NullBuffer>,
            ) -> Result<Self::Column, Mismatch> {
                scalars::<$arrow>(array, outer, Self::data_type())
            }
        }

        shared::row!([] $number);

        impl<'a> List<'a, $number> {
            /// All items as a slice, for loops that the compiler can vectorise.
            #[inline]
            pub fn as_slice(self) -> &'a [$number] {
                self.slice_of(|column| column)
            }
        }
    )*};
}

/// The bits of a float as a key.
macro_rules! float_bits {
    ($float:ty) => {
        // A zero that is added makes the negative zero the other.
        |x: $float| if x.is_nan() { <$float>::NAN.to_bits() } else { (x + 0.0).to_bits() }
    };
}

numbers! {
    i8 => Int8Type, identity;
    i16 => Int16Type, identity;
    i32 => Int32Type, identity;
    i64 => Int64Type, identity;
    u8 => UInt8Type, identity;
    u16 => UInt16Type, identity;
    u32 => UInt32Type, identity;
    u64 => UInt64Type, identity;
    f32 => Float32Type, float_bits!(f32);
    f64 => Float64Type, float_bits!(f64);
}
