//! Scalar functions: the DataFusion function, and the loop over a batch.

use std::fmt;
use std::hash::{Hash, Hasher};

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use crate::pipeline::udf::coercion::coerced;
use crate::pipeline::udf::fault::Fault;
use crate::pipeline::udf::function::{ScalarParts, Udf, Volatility};
use crate::row::Value;
use crate::row::function::{Arguments, called};

/// Calls `function` for each of `rows` rows, and returns a column of the appended values. The
/// result is null where an argument that is not an `Option` is null.
///
/// # Errors
/// If the function fails, or the arrays do not have its argument types.
pub fn each_row<A: Arguments, V: Value>(
    arrays: &[ArrayRef],
    rows: usize,
    function: impl for<'a> Fn(A::Views<'a>, &mut V::Builder) -> Result<(), String>,
) -> Result<ArrayRef, Fault> {
    let calls = called::<A>(arrays, None);
    let columns = A::open(arrays, calls.as_ref())?;
    let mut builder = V::builder(rows);
    match calls {
        None => {
            for row in 0..rows {
                function(A::get(&columns, row), &mut builder)?;
            }
        }
        Some(calls) => {
            for row in 0..rows {
                if calls.is_valid(row) {
                    function(A::get(&columns, row), &mut builder)?;
                } else {
                    V::append_null(&mut builder);
                }
            }
        }
    }
    Ok(V::finish(&mut builder))
}

/// A scalar function as a DataFusion function.
pub(super) struct Scalar {
    udf: &'static Udf,
    parts: ScalarParts,
    arguments: Vec<DataType>,
    signature: Signature,
}

impl Scalar {
    pub(super) fn new(udf: &'static Udf, parts: ScalarParts) -> Self {
        let signature = Signature::user_defined(udf.volatility.into());
        Self { udf, parts, arguments: (parts.arguments)(), signature }
    }
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scalar").field(&self.udf.name).finish()
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.udf.is(other.udf)
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.udf.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.udf.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced(self.udf, &self.arguments, given)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok((self.parts.returns)())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        // Nothing is computed for no rows: a call that would fail must not.
        let once = constant && self.udf.volatility != Volatility::Volatile && args.number_rows > 0;
        let rows = if once { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let array = self.udf.guarded(|| (self.parts.evaluate)(&arrays, rows))?;
        Ok(if once {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        } else {
            ColumnarValue::Array(array)
        })
    }
}
