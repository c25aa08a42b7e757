//! The function `nested_key`: one order for lists, structs and maps.
//!
//! As in PostgreSQL and DuckDB, a null inside a nested value is the largest value and equal to
//! itself. DataFusion 55.2 does so in ascending sorts only; its operators and its `min` and `max`
//! take it for the smallest, and the `NULLS FIRST` of an ORDER BY applies to the elements. A join
//! derives dynamic filters in one order and applies them in another, and rows are lost. So the
//! planner wraps each nested value that is compared or ordered in `nested_key`: bytes in the order
//! of the values, null for a null.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use crate::float_key::keys;

/// The name of the function in plans.
pub const NESTED_KEY: &str = "nested_key";

/// Inner nulls are the largest, wherever outer nulls go.
const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The function `nested_key(x)`: bytes in the order of `x`.
pub fn nested_key() -> ScalarUDF {
    ScalarUDF::from(NestedKey { signature: Signature::any(1, Volatility::Immutable) })
}

/// True if values of this type are compared by their `nested_key`.
pub fn has_nested_key(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::List(_)
            | DataType::LargeList(_)
            | DataType::FixedSizeList(..)
            | DataType::ListView(_)
            | DataType::LargeListView(_)
            | DataType::Struct(_)
            | DataType::Map(..)
    ) && RowConverter::supports_fields(&[SortField::new(kind.clone())])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NestedKey {
    signature: Signature,
}

impl ScalarUDFImpl for NestedKey {
    fn name(&self) -> &'static str {
        NESTED_KEY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        // Includes casts, like the name of `float_key`.
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        Ok(format!("{NESTED_KEY}({})", args.join(", ")))
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind] if has_nested_key(kind) => Ok(DataType::Binary),
            _ => plan_err!("{NESTED_KEY} takes one list, struct or map"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Array(values) => ColumnarValue::Array(Arc::new(nested_keys(values)?)),
            ColumnarValue::Scalar(value) => {
                let key = nested_keys(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&key, 0)?)
            }
        })
    }
}

/// The keys of `values`.
pub(crate) fn nested_keys(values: &ArrayRef) -> Result<BinaryArray> {
    let field = SortField::new_with_options(values.data_type().clone(), ORDER);
    let converter = RowConverter::new(vec![field])?;
    let rows = converter.convert_columns(&[keys(values)?])?.try_into_binary()?;
    let (offsets, bytes, _) = rows.into_parts();
    Ok(BinaryArray::try_new(offsets, bytes, values.logical_nulls())?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, ListArray};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;

    #[test]
    fn keys_order_inner_nulls_last_and_keep_outer_ones() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
            Some(vec![]),
            Some(vec![Some(1)]),
            Some(vec![Some(1), Some(2)]),
            Some(vec![Some(1), None]),
            Some(vec![Some(2)]),
            Some(vec![None]),
            None,
        ]);
        let keys = nested_keys(&(Arc::new(lists) as ArrayRef)).expect("keys");
        assert!(keys.is_null(6));
        let present: Vec<&[u8]> = keys.iter().flatten().collect();
        assert!(present.is_sorted_by(|a, b| a < b), "{present:?}");
    }

    #[test]
    fn only_nested_types_have_keys() {
        assert!(!has_nested_key(Int64Array::from(vec![1]).data_type()));
        assert!(has_nested_key(&DataType::new_list(DataType::Int64, true)));
    }

    #[tokio::test]
    async fn nested_key_is_still_needed() {
        let sql = "SELECT make_array(1, NULL) > make_array(1, 2) AS x";
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let shown = pretty_format_batches(&rows.expect("ran")).expect("shown").to_string();
        assert!(shown.contains("false"), "DataFusion's inner nulls are the largest: {shown}");
    }
}
