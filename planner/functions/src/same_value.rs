//! `same_value(x)` is `x`, as a barrier to optimizers: they know nothing about `x` beyond it, and
//! do not simplify expressions across it. Planner rules insert it where DataFusion would be wrong.
//!
//! Optimizers know two things about an expression: its shape, which `same_value(x)` hides, and
//! properties of its values (constant, or sorted). The latter pass through any function whose
//! arguments have them. `same_value(x, unknown())` hides those too, because nothing is known about
//! `unknown()`. A number as a third argument distinguishes two calls whose `x` are known to be
//! equal.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

/// The function `same_value`.
pub fn same_value() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(SameValue::new())));
    Arc::clone(&UDF)
}

/// The function `unknown`: null, about which an optimizer knows nothing.
pub fn unknown() -> Arc<ScalarUDF> {
    static UDF: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::from(Unknown::new())));
    Arc::clone(&UDF)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SameValue {
    signature: Signature,
}

impl SameValue {
    fn new() -> Self {
        let shapes = (1..=3).map(TypeSignature::Any).collect();
        Self { signature: Signature::one_of(shapes, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for SameValue {
    fn name(&self) -> &'static str {
        "same_value"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(of) => Ok(of.clone()),
            None => exec_err!("same_value takes a value"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let Some(of) = args.arg_fields.first() else {
            return exec_err!("same_value takes a value");
        };
        let field = Field::new(self.name(), of.data_type().clone(), of.is_nullable());
        Ok(Arc::new(field.with_metadata(of.metadata().clone())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => exec_err!("same_value takes a value"),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Unknown {
    signature: Signature,
}

impl Unknown {
    fn new() -> Self {
        // Volatile, so that it is not evaluated during planning.
        Self { signature: Signature::nullary(Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Unknown {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Boolean(None)))
    }
}
