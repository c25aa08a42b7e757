//! The function `float_key`: normalizes floats to one zero and one NaN.
//!
//! In SQL, the two zeros are equal, and NaN equals itself and is the largest value. Arrow orders
//! floats by their bits: -0.0 is less than 0.0, and a NaN with its sign set, the x86 result of 0.0
//! / 0.0, is less than everything. DataFusion 55.2 normalizes zeros in comparisons, groups and
//! joins, but not in windows, sorts, `CASE x WHEN`, `nullif` and comparisons of lists; and it never
//! normalizes NaN. So the planner wraps each float in `float_key` where values are ordered or
//! compared.
//!
//! Columns without such values are returned unchanged after one vectorized scan.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeListArray, GenericListArray, MapArray,
    OffsetSizeTrait, PrimitiveArray, StructArray,
};
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The name of the function in plans.
pub const FLOAT_KEY: &str = "float_key";

/// The function `float_key(x)`: `x` with one zero and one NaN, at any depth of lists and structs.
pub fn float_key() -> ScalarUDF {
    ScalarUDF::from(FloatKey { signature: Signature::any(1, Volatility::Immutable) })
}

/// True if values of this type contain floats, so that `float_key` may change them.
pub fn has_float_keys(kind: &DataType) -> bool {
    match kind {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_float_keys(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_float_keys(field.data_type())),
        DataType::Map(entries, _) => has_float_keys(entries.data_type()),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatKey {
    signature: Signature,
}

impl ScalarUDFImpl for FloatKey {
    fn name(&self) -> &'static str {
        FLOAT_KEY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // Casts are part of this name, unlike other names: `x = a AND x = CAST(a AS DOUBLE)` has
        // two keys.
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(format!("{FLOAT_KEY}({})", args.join(", ")))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind] => Ok(kind.clone()),
            _ => plan_err!("{FLOAT_KEY} takes one argument"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let arg = &args.arg_fields[0];
        Ok(Arc::new(Field::new(self.name(), arg.data_type().clone(), arg.is_nullable())))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Array(values) => ColumnarValue::Array(keys(values)?),
            ColumnarValue::Scalar(value) => {
                let key = keys(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&key, 0)?)
            }
        })
    }
}

/// `values` with one zero and one NaN.
pub(crate) fn keys(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float16 => of_floats::<Float16Type>(
            values,
            |x| matches!(x.to_bits(), 0x8000 | 0x7c01..=0x7dff | 0x7e01..=0x7fff | 0xfc01..),
            |x| {
                if x.is_nan() {
                    <Float16Type as ArrowPrimitiveType>::Native::NAN
                } else {
                    Default::default()
                }
            },
        ),
        DataType::Float32 => of_floats::<Float32Type>(
            values,
            |x| (x.is_nan() && x.to_bits() != f32::NAN.to_bits()) || x.to_bits() == 1 << 31,
            |x| if x.is_nan() { f32::NAN } else { 0.0 },
        ),
        DataType::Float64 => of_floats::<Float64Type>(
            values,
            |x| (x.is_nan() && x.to_bits() != f64::NAN.to_bits()) || x.to_bits() == 1 << 63,
            |x| if x.is_nan() { f64::NAN } else { 0.0 },
        ),
        kind if !has_float_keys(kind) => Arc::clone(values),
        DataType::List(_) => of_list::<i32>(values)?,
        DataType::LargeList(_) => of_list::<i64>(values)?,
        DataType::FixedSizeList(item, size) => {
            let list = values.as_fixed_size_list();
            let items = keys(list.values())?;
            let (item, nulls) = (Arc::clone(item), list.nulls().cloned());
            Arc::new(FixedSizeListArray::try_new(item, *size, items, nulls)?)
        }
        DataType::Struct(fields) => {
            let record = values.as_struct();
            let columns = record.columns().iter().map(keys).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, record.nulls().cloned())?)
        }
        DataType::Map(..) => {
            let (field, offsets, entries, nulls, sorted) = values.as_map().clone().into_parts();
            let entries = keys(&(Arc::new(entries) as ArrayRef))?.as_struct().clone();
            Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
        }
        _ => Arc::clone(values),
    })
}

/// Replaces the values that are `odd` by `normalized`. Nothing is copied if there are none; the
/// scan has no branch, so that it is vectorized.
fn of_floats<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    odd: impl Fn(T::Native) -> bool,
    normalized: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let floats = values.as_primitive::<T>();
    let any = floats
        .values()
        .chunks(1024)
        .any(|chunk| chunk.iter().fold(false, |any, value| any | odd(*value)));
    if !any {
        return Arc::clone(values);
    }
    let keys: PrimitiveArray<T> =
        floats.unary(|value| if odd(value) { normalized(value) } else { value });
    Arc::new(keys)
}

fn of_list<O: OffsetSizeTrait>(values: &ArrayRef) -> Result<ArrayRef> {
    let list = values.as_list::<O>();
    let (item, offsets, items, nulls) = list.clone().into_parts();
    Ok(Arc::new(GenericListArray::<O>::try_new(item, offsets, keys(&items)?, nulls)?))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float16Array, Float64Array, ListArray};
    use datafusion::prelude::SessionContext;

    use super::*;

    fn bits(values: &ArrayRef) -> Vec<u64> {
        let values = values.as_primitive::<Float64Type>();
        values.values().iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn zeros_and_nans_become_one() {
        let odd = [-0.0, 0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7ff0_0000_0000_0001), -1.5];
        let column: ArrayRef = Arc::new(Float64Array::from(odd.to_vec()));
        let expected = [0.0, 0.0, f64::NAN, f64::NAN, f64::NAN, -1.5].map(f64::to_bits);
        assert_eq!(bits(&keys(&column).expect("keys")), expected);
        let list = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![Some(odd.map(Some))]);
        let list: ArrayRef = Arc::new(list);
        assert_eq!(bits(keys(&list).expect("keys").as_list::<i32>().values()), expected);
    }

    #[test]
    fn half_floats_become_one_too() {
        type F16 = <Float16Type as ArrowPrimitiveType>::Native;
        let odd = [0x8000, 0, 0x7e00, 0xfe00, 0x7c01, 0x7c00, 0xfc00, 0xbc00].map(F16::from_bits);
        let column: ArrayRef = Arc::new(Float16Array::from(odd.to_vec()));
        let keys = keys(&column).expect("keys");
        let keys: Vec<u16> =
            keys.as_primitive::<Float16Type>().values().iter().map(|key| key.to_bits()).collect();
        assert_eq!(keys, [0, 0, 0x7e00, 0x7e00, 0x7e00, 0x7c00, 0xfc00, 0xbc00]);
    }

    #[tokio::test]
    async fn float_key_is_still_needed() {
        let sql = "SELECT rank() OVER (ORDER BY x), count(*) OVER (PARTITION BY x), \
                   CASE x WHEN 0.0 THEN 1 ELSE 0 END FROM (VALUES (0.0), (-0.0)) v(x)";
        let plain = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let rows: usize = plain
            .expect("ran")
            .iter()
            .map(|batch| {
                let ranks =
                    batch.column(0).as_primitive::<datafusion::arrow::datatypes::UInt64Type>();
                ranks.values().iter().filter(|rank| **rank == 1).count()
            })
            .sum();
        assert_eq!(rows, 1, "DataFusion tells the zeros apart");
    }
}
