//! Text functions applied to lists, and functions of two lists of which one is null.
//!
//! DataFusion 55.2 computes `length([1, 2, 3])`, `reverse([1, 2])`, `concat([1], [2])` and
//! `contains([1], 1)` from the printed text of the lists; and `array_has_any` and `array_has_all`
//! of a null list are null or false, depending on the other rows of the batch.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, GenericListArray, Int64Array, OffsetSizeTrait,
};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};

use super::{Override, by_rows, coerced};

fn is_list(kind: &DataType) -> bool {
    matches!(kind, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
}

/// `length` of a list: the number of elements.
#[derive(Debug)]
pub(super) struct Length;

impl Override for Length {
    fn accepts_more_types(&self) -> bool {
        true
    }

    fn argument_types(&self, types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        match types {
            [kind] if is_list(kind) => Ok(Some(vec![kind.clone()])),
            [kind] if kind.is_nested() => {
                plan_err!(
                    "length takes a text or a list, not {kind}; of a map write cardinality(..)"
                )
            }
            _ => Ok(None),
        }
    }

    fn result_type(&self, types: &[DataType]) -> Result<Option<DataType>> {
        Ok(types.first().filter(|kind| is_list(kind)).map(|_| DataType::Int64))
    }

    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.first().is_none_or(|list| !is_list(&list.data_type())) {
            return original.invoke_with_args(args);
        }
        by_rows(&args, |arrays| lengths(&arrays[0]))
    }
}

fn lengths(list: &ArrayRef) -> Result<ArrayRef> {
    fn of<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> ArrayRef {
        let lengths = list.offsets().windows(2).map(|pair| (pair[1] - pair[0]).as_usize() as i64);
        Arc::new(Int64Array::new(lengths.collect(), list.nulls().cloned()))
    }
    Ok(match list.data_type() {
        DataType::List(_) => of(list.as_list::<i32>()),
        DataType::LargeList(_) => of(list.as_list::<i64>()),
        DataType::FixedSizeList(_, n) => {
            let lengths = vec![i64::from(*n); list.len()];
            Arc::new(Int64Array::new(lengths.into(), list.nulls().cloned()))
        }
        other => return exec_err!("length takes a text or a list, not {other}"),
    })
}

/// The list function that replaces a text function if its first argument is a list.
#[derive(Debug)]
pub(super) struct Twin(pub(super) Arc<ScalarUDF>);

impl Twin {
    fn is_for(&self, types: &[DataType]) -> bool {
        types.first().is_some_and(is_list)
            || (types.first().is_some_and(DataType::is_null) && types.iter().any(is_list))
    }
}

impl Override for Twin {
    fn accepts_more_types(&self) -> bool {
        true
    }

    fn argument_types(&self, types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        if self.is_for(types) {
            return coerced(&self.0, types).map(Some);
        }
        match types.iter().find(|kind| kind.is_nested()) {
            Some(kind) => plan_err!(
                "a text function got {kind}: cast it with CAST(.. AS VARCHAR), or write \
                 array_to_string(list, ', ')"
            ),
            None => Ok(None),
        }
    }

    fn result_type(&self, types: &[DataType]) -> Result<Option<DataType>> {
        self.is_for(types).then(|| self.0.inner().return_type(types)).transpose()
    }

    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<_> = args.args.iter().map(ColumnarValue::data_type).collect();
        let function = if self.is_for(&types) { &self.0 } else { original };
        function.invoke_with_args(args)
    }
}

/// Null if either list is null.
#[derive(Debug)]
pub(super) struct Both;

impl Override for Both {
    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lists = args.args.clone();
        let null = |arg: &ColumnarValue| matches!(arg, ColumnarValue::Scalar(of) if of.is_null());
        if lists.iter().any(null) {
            return Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)));
        }
        let scalar = lists.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = args.number_rows;
        let found = original.invoke_with_args(args)?;
        if scalar {
            return Ok(found);
        }
        // For an empty constant the result is one value for all rows.
        let found = found.into_array(rows)?;
        let found = found.as_boolean();
        let nulls = lists.iter().fold(found.nulls().cloned(), |nulls, arg| match arg {
            ColumnarValue::Array(list) => {
                NullBuffer::union(nulls.as_ref(), list.logical_nulls().as_ref())
            }
            ColumnarValue::Scalar(_) => nulls,
        });
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::new(found.values().clone(), nulls))))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    async fn plain(sql: &str) -> String {
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        pretty_format_batches(&rows.expect("ran")).expect("shown").to_string()
    }

    #[tokio::test]
    async fn lengths_of_lists_are_still_needed() {
        let shown = plain("SELECT length(make_array(1, 2, 3)) AS x").await;
        assert!(shown.contains("| 9"), "{shown}");
    }

    #[tokio::test]
    async fn nulls_of_either_list_are_still_needed() {
        let sql = "SELECT array_has_all(l, m) IS NULL AS x FROM \
                   (VALUES (make_array(1), arrow_cast(NULL, 'List(Int64)'))) t(l, m)";
        let shown = plain(sql).await;
        assert!(shown.contains("false"), "{shown}");
    }
}
