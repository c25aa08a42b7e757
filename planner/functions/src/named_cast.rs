//! `named_cast(CAST(value AS type))`: the cast, in a plan with a name of its own.
//!
//! DataFusion 55.2 gives a cast the name of its value. Over groups it finds columns by name:
//! `GROUP BY id, CAST(id AS VARCHAR)` and `sum(x::INT), sum(x::DOUBLE)` were refused, and after
//! `SELECT k AS id, CAST(id AS VARCHAR) ... GROUP BY 1, 2` the clause `ORDER BY id` sorted by the
//! cast. The planner wraps such casts in this function, and removes it from the plan.

use std::fmt::Write;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The name of the function.
pub const NAMED_CAST: &str = "named_cast";

/// The function of one argument, which it returns.
pub(crate) fn named_cast() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(NamedCast { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NamedCast {
    signature: Signature,
}

impl ScalarUDFImpl for NamedCast {
    fn name(&self) -> &'static str {
        NAMED_CAST
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let mut name = String::new();
        for arg in args {
            write!(name, "{arg}")?;
        }
        Ok(name)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [kind] => Ok(kind.clone()),
            _ => exec_err!("named_cast takes one value"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::new(Field::clone(field).with_name(self.name()))),
            _ => exec_err!("named_cast takes one value"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match <[ColumnarValue; 1]>::try_from(args.args) {
            Ok([value]) => Ok(value),
            Err(_) => exec_err!("named_cast takes one value"),
        }
    }
}
