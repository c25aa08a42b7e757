//! `array_sum` of integers and decimals, exact.
//!
//! DataFusion 55.2 adds all numbers as doubles: from 2^53 on, integers lose their last digits, and
//! decimals are not exact either.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, OffsetSizeTrait};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Field};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{Override, by_rows, coerced};

/// The most digits of a sum.
const DIGITS: u8 = 38;

#[derive(Debug)]
pub(super) struct ListSum;

/// The element type of a list.
fn element(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

/// The type of the sum of a list; `None` for doubles, which are left to DataFusion.
fn exact(list: &DataType) -> Option<DataType> {
    match element(list)? {
        kind if kind.is_integer() => Some(DataType::Int64),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => Some(DataType::Decimal128(DIGITS, *scale)),
        _ => None,
    }
}

impl Override for ListSum {
    fn accepts_more_types(&self) -> bool {
        true
    }

    fn argument_types(&self, types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        let [list] = types else { return Ok(None) };
        let Some(kind) = element(list).filter(|_| exact(list).is_some()) else { return Ok(None) };
        let field = Arc::new(Field::new_list_field(kind.clone(), true));
        Ok(Some(vec![match list {
            DataType::LargeList(_) | DataType::LargeListView(_) => DataType::LargeList(field),
            _ => DataType::List(field),
        }]))
    }

    fn result_type(&self, types: &[DataType]) -> Result<Option<DataType>> {
        Ok(types.first().and_then(exact))
    }

    fn call(&self, original: &ScalarUDF, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(kind) = args.args.first().and_then(|arg| exact(&arg.data_type())) {
            return by_rows(&args, |arrays| match arrays[0].data_type() {
                DataType::LargeList(_) => sums::<i64>(&arrays[0], &kind),
                _ => sums::<i32>(&arrays[0], &kind),
            });
        }
        // A type that coercion did not see.
        let types: Vec<_> = args.args.iter().map(ColumnarValue::data_type).collect();
        for (arg, to) in args.args.iter_mut().zip(coerced(original, &types)?) {
            *arg = arg.cast_to(&to, None)?;
        }
        original.invoke_with_args(args)
    }
}

/// The sum of each list, of type `kind`: nulls do not count, and a list without numbers has none.
fn sums<O: OffsetSizeTrait>(lists: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    let overflow = || {
        exec_datafusion_err!(
            "overflow in array_sum: a sum does not fit {kind}; cast the elements to DECIMAL(38, 0)"
        )
    };
    let lists = lists.as_list::<O>();
    let scale = match kind {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    };
    let values = cast(lists.values(), &DataType::Decimal128(DIGITS, scale))?;
    let values = values.as_primitive::<Decimal128Type>();
    let mut sums = Decimal128Array::builder(lists.len());
    for (row, ends) in lists.value_offsets().windows(2).enumerate() {
        let (begin, end) = (ends[0].as_usize(), ends[1].as_usize());
        let mut sum = None;
        if lists.is_valid(row) {
            for at in (begin..end).filter(|at| values.is_valid(*at)) {
                let so_far: i128 = sum.unwrap_or(0);
                sum = Some(so_far.checked_add(values.value(at)).ok_or_else(overflow)?);
            }
        }
        sums.append_option(sum);
    }
    let sums = sums.finish().with_precision_and_scale(DIGITS, scale)?;
    sums.validate_decimal_precision(DIGITS).map_err(|_| overflow())?;
    if *kind == DataType::Int64 {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        return cast_with_options(&sums, kind, &strict).map_err(|_| overflow());
    }
    Ok(Arc::new(sums))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn exact_sums_of_lists_are_still_needed() {
        let plan = SessionContext::new().sql("SELECT array_sum([1, 2])").await.expect("planned");
        assert_eq!(*plan.schema().field(0).data_type(), DataType::Float64, "DataFusion's is exact");
    }
}
