//! `opaque_cast(value)`: a cast that optimizer rules do not see through, for files in which a
//! column has another type than in the table.
//!
//! DataFusion 55.2 turns `CAST(milliseconds AS nanoseconds) < literal` into a comparison in
//! milliseconds, and truncates the literal: rows equal to the truncated value were lost or included
//! by mistake.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The cast to the type `to`.
pub fn opaque_cast(to: DataType) -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(OpaqueCast { to, signature }))
}

#[derive(Debug, PartialEq, Eq)]
struct OpaqueCast {
    to: DataType,
    signature: Signature,
}

impl Hash for OpaqueCast {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to.hash(state);
    }
}

impl ScalarUDFImpl for OpaqueCast {
    fn name(&self) -> &'static str {
        "opaque_cast"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = args.args.as_slice() else {
            return exec_err!("opaque_cast takes one value");
        };
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let values = value.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(cast_with_options(&values, &self.to, &strict)?))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::TimeUnit;
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr_common::casts::try_cast_literal_to_type;

    use super::*;

    #[test]
    fn opaque_casts_are_still_needed() {
        let nanos = ScalarValue::TimestampNanosecond(Some(123_456_789), None);
        let cut =
            try_cast_literal_to_type(&nanos, &DataType::Timestamp(TimeUnit::Millisecond, None));
        let lost = ScalarValue::TimestampMillisecond(Some(123), None);
        assert_eq!(cut, Some(lost), "DataFusion no longer cuts digits off literals");
    }
}
