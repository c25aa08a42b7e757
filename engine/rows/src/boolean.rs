//! Booleans, which Arrow stores as bits.

use std::convert::identity;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::Value;
use super::mismatch::{Mismatch, Problem};
use super::nulls::{self, Nulls};
use super::shared::{self, scalar};

/// Builder of booleans.
#[derive(Debug)]
pub struct Booleans {
    values: BooleanBufferBuilder,
    nulls: Nulls,
}

impl Value for bool {
    scalar!(identity);

    type Column = BooleanBuffer;
    type Builder = Booleans;

    fn data_type() -> DataType {
        DataType::Boolean
    }

    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch> {
        let Some(booleans) = array.as_boolean_opt() else {
            let found = array.data_type().clone();
            return Err(Mismatch::new(Problem::Type { expected: Self::data_type(), found }));
        };
        nulls::check(booleans, outer)?;
        Ok(booleans.values().clone())
    }

    #[inline]
    fn rows(column: &Self::Column) -> usize {
        column.len()
    }

    #[inline(always)]
    fn get(column: &Self::Column, row: usize) -> Self {
        row < column.len() && column.value(row)
    }

    fn builder(capacity: usize) -> Self::Builder {
        Booleans { values: BooleanBufferBuilder::new(capacity), nulls: Nulls::default() }
    }

    #[inline]
    fn append(builder: &mut Self::Builder, view: Self) {
        builder.values.append(view);
    }

    fn append_null(builder: &mut Self::Builder) {
        builder.nulls.push(builder.values.len());
        builder.values.append(false);
    }

    fn finish(builder: &mut Self::Builder) -> ArrayRef {
        let values = builder.values.finish();
        let nulls = builder.nulls.finish(values.len());
        Arc::new(BooleanArray::new(values, nulls))
    }
}

shared::row!([] bool);
