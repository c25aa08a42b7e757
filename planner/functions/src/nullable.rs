//! `nullable(value)`: the value, as a nullable column.
//!
//! DataFusion 55.2 considers a scalar subquery non-nullable if its column is. But without rows its
//! value is null: `(SELECT 1 WHERE false) IS NULL` was false, and `coalesce` of it was null or an
//! error. The planner wraps the value of such subqueries in this function.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function of one argument. If `is_constant`, constant folding leaves it alone: a literal
/// would not be nullable.
pub fn nullable(is_constant: bool) -> Arc<ScalarUDF> {
    let volatility = if is_constant { Volatility::Volatile } else { Volatility::Immutable };
    Arc::new(ScalarUDF::new_from_impl(Nullable { signature: Signature::any(1, volatility) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Nullable {
    signature: Signature,
}

impl ScalarUDFImpl for Nullable {
    fn name(&self) -> &'static str {
        match self.signature.volatility {
            Volatility::Volatile => "nullable_constant",
            _ => "nullable",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind] => Ok(kind.clone()),
            _ => exec_err!("nullable takes one value"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::new(Field::clone(field).with_name(self.name()).with_nullable(true))),
            _ => exec_err!("nullable takes one value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match <[ColumnarValue; 1]>::try_from(args.args) {
            Ok([value]) => Ok(value),
            Err(_) => exec_err!("nullable takes one value"),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::AsArray;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn nullable_subqueries_are_still_needed() {
        let plain = SessionContext::new();
        let rows = plain.sql("SELECT (SELECT 1 WHERE false) IS NULL").await.expect("planned");
        let rows = rows.collect().await.expect("rows");
        assert!(!rows[0].column(0).as_boolean().value(0), "DataFusion finds it null by itself");
    }
}
