//! `only_row(value, rows, outer)`: the value of a scalar subquery, or an error if it has more than
//! one row. The planner puts it above the join that replaces a correlated subquery: the join alone
//! would repeat the row of the outer query.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::max;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function `only_row`.
pub fn only_row() -> Arc<ScalarUDF> {
    static ONLY_ROW: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(OnlyRow { signature }))
    });
    Arc::clone(&ONLY_ROW)
}

/// A call of `only_row`. `outer` is a column of the outer query, if there is one: it keeps
/// optimizers from moving the call to the side of the subquery, which has groups that no outer row
/// matches.
pub fn call(value: Expr, rows: Expr, outer: Option<Expr>) -> Expr {
    only_row().call([value, rows].into_iter().chain(outer).collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OnlyRow {
    signature: Signature,
}

impl ScalarUDFImpl for OnlyRow {
    fn name(&self) -> &'static str {
        "only_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(first) if types.len() > 1 => Ok(first.clone()),
            _ => exec_err!("only_row takes a value and a number of rows"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.args[1].to_array(args.number_rows)?;
        let most = rows.as_primitive_opt::<Int64Type>().and_then(max);
        if most.is_some_and(|most| most > 1) {
            // DataFusion's wording for such a subquery.
            return exec_err!("Scalar subquery returned more than one row");
        }
        Ok(args.args[0].clone())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::config::ConfigOptions;

    use super::*;

    fn value_of(rows: Vec<Option<i64>>) -> Result<ColumnarValue> {
        let n = rows.len();
        let values = StringArray::from(vec![Some("a"); n]);
        only_row().invoke_with_args(ScalarFunctionArgs {
            args: vec![
                ColumnarValue::Array(Arc::new(values)),
                ColumnarValue::Array(Arc::new(Int64Array::from(rows))),
            ],
            arg_fields: vec![
                Arc::new(Field::new("value", DataType::Utf8, true)),
                Arc::new(Field::new("rows", DataType::Int64, true)),
            ],
            number_rows: n,
            return_field: Arc::new(Field::new("only", DataType::Utf8, true)),
            config_options: Arc::new(ConfigOptions::default()),
        })
    }

    #[test]
    fn one_row_or_none_is_a_value() {
        assert!(value_of(vec![Some(1), None, Some(0)]).is_ok());
    }

    #[test]
    fn two_rows_are_an_error() {
        let error = value_of(vec![Some(1), Some(2)]).unwrap_err().to_string();
        assert!(error.contains("more than one row"), "{error}");
    }
}
