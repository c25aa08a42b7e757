//! `coalesce`, `nullif`, `nvl`, `greatest` and `least` of times of several units, and the last two
//! of nested values.
//!
//! DataFusion 55.2 has no common type for such times. And for its `greatest`, a null inside a list
//! is not the largest value, as it is for ORDER BY.

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray, new_null_array};
use datafusion::arrow::compute::interleave;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{Override, by_rows};
use crate::nested_key::{has_nested_key, nested_keys};
use crate::time::units::finest_time;

/// Which of its arguments the function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Greatest,
    Least,
    Other,
}

impl Override for Choice {
    fn accepts_more_types(&self) -> bool {
        true
    }

    fn simplifies(&self) -> bool {
        *self == Self::Other
    }

    fn argument_types(&self, types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        Ok(finest_time(types).map(|finest| vec![finest; types.len()]))
    }

    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let nested = args.args.iter().all(|arg| has_nested_key(&arg.data_type()));
        if *self == Self::Other || !nested || args.args.len() < 2 {
            return original.invoke_with_args(args);
        }
        by_rows(&args, |arrays| chosen(arrays, *self))
    }
}

fn chosen(arrays: &[ArrayRef], choice: Choice) -> Result<ArrayRef> {
    let keys: Vec<BinaryArray> = arrays.iter().map(nested_keys).collect::<Result<_>>()?;
    let null = new_null_array(arrays[0].data_type(), 1);
    let rows = (0..arrays[0].len()).map(|row| {
        let present = keys.iter().enumerate().filter(|(_, keys)| keys.is_valid(row));
        let keyed = present.map(|(at, keys)| (keys.value(row), at));
        let best = match choice {
            Choice::Least => keyed.min_by_key(|(key, _)| *key),
            _ => keyed.max_by_key(|(key, _)| *key),
        };
        best.map_or((arrays.len(), 0), |(_, at)| (at, row))
    });
    let rows: Vec<(usize, usize)> = rows.collect();
    let mut sources: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    sources.push(null.as_ref());
    Ok(interleave(&sources, &rows)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;
    use datafusion::functions::core;

    use super::*;
    use crate::overrides::coerced;

    #[test]
    fn times_of_several_units_are_still_needed() {
        let types = [TimeUnit::Microsecond, TimeUnit::Nanosecond].map(DataType::Time64);
        coerced(&core::coalesce(), &types).expect_err("DataFusion has a common type");
    }
}
