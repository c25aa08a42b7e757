//! `get_field`, also written `r['x']` and `r.x`: a field of a null struct is null.
//!
//! DataFusion 55.2: `get_field` returns the values of a struct's child column unchanged, and a
//! non-nullable child has no null mask of its own. Below a null struct it holds arbitrary values,
//! mostly 0 and empty text, which filters, counts and averages then saw (apache/datafusion#25120).
//! Structs with required fields come from Avro, Protocol Buffers, Spark and every Parquet reader.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use datafusion::arrow::compute::kernels::nullif::nullif;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature,
};

/// The function, public for code that recognizes it in a plan.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct GetField {
    theirs: GetFieldFunc,
}

impl GetField {
    pub(crate) fn new() -> Self {
        Self { theirs: GetFieldFunc::new() }
    }
}

/// `get_field` that respects null structs.
pub fn get_field() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(GetField::new()))
}

/// Replaces DataFusion's function by [`GetField`]: DataFusion's expression planner uses its own
/// without asking the session.
#[derive(Debug)]
pub(crate) struct FieldsOfNullRecords;

impl FunctionRewrite for FieldsOfNullRecords {
    fn name(&self) -> &'static str {
        "fields_of_null_records"
    }

    fn rewrite(
        &self,
        expr: Expr,
        _schema: &DFSchema,
        _config: &ConfigOptions,
    ) -> Result<Transformed<Expr>> {
        Ok(ours(expr))
    }
}

fn ours(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args })
            if func.inner().is::<GetFieldFunc>() =>
        {
            Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(get_field(), args)))
        }
        other => Transformed::no(other),
    }
}

impl ScalarUDFImpl for GetField {
    fn name(&self) -> &str {
        self.theirs.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.theirs.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.theirs.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.theirs.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.theirs.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.theirs.coerce_types(arg_types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.theirs.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.theirs.placement(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let (args, flattened) = flatten(args);
        Ok(match self.theirs.simplify(args, info)? {
            // The rest of a path into `named_struct(...)` is a call of DataFusion's own function.
            ExprSimplifyResult::Simplified(expr) => {
                ExprSimplifyResult::Simplified(expr.transform_up(|expr| Ok(ours(expr)))?.data)
            }
            ExprSimplifyResult::Original(args) if flattened => ExprSimplifyResult::Simplified(
                Expr::ScalarFunction(ScalarFunction::new_udf(get_field(), args)),
            ),
            original => original,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((base, keys)) = args.args.split_first().filter(|(_, keys)| !keys.is_empty())
        else {
            return exec_err!("get_field takes a struct or a map, and the name of a field");
        };
        let mut current = base.clone();
        for key in keys {
            if current.data_type().is_null() {
                return Ok(ColumnarValue::Scalar(ScalarValue::Null));
            }
            current = match (&current.data_type(), key) {
                (DataType::Struct(_), ColumnarValue::Scalar(key)) => {
                    let record = current.to_array(1)?;
                    ColumnarValue::Array(of_record(record.as_struct(), key)?)
                }
                (DataType::Dictionary(_, values), ColumnarValue::Scalar(key))
                    if matches!(values.as_ref(), DataType::Struct(_)) =>
                {
                    let record = current.to_array(1)?;
                    let record = record.as_any_dictionary();
                    let values = of_record(record.values().as_struct(), key)?;
                    ColumnarValue::Array(record.with_values(values))
                }
                _ => {
                    let mut step = args.clone();
                    step.args = vec![current, key.clone()];
                    self.theirs.invoke_with_args(step)?
                }
            };
        }
        Ok(current)
    }
}

/// The field of that name, null where the struct is.
fn of_record(record: &StructArray, key: &ScalarValue) -> Result<ArrayRef> {
    let Some(name) = key.try_as_str().flatten() else {
        return exec_err!("the name of a struct field must be text, not {key}");
    };
    let Some(field) = record.column_by_name(name) else {
        return exec_err!("the struct has no field \"{name}\"");
    };
    match record.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(Arc::clone(field)),
        Some(nulls) => {
            let absent = BooleanArray::new(!nulls.inner(), None);
            Ok(nullif(field.as_ref(), &absent)?)
        }
    }
}

/// Flattens `get_field(get_field(r, 'a'), 'b')` to the arguments of `get_field(r, 'a', 'b')`; true
/// if it was nested.
fn flatten(mut args: Vec<Expr>) -> (Vec<Expr>, bool) {
    let mut flattened = false;
    while let Some(Expr::ScalarFunction(ScalarFunction { func, args: inner })) = args.first()
        && func.inner().is::<GetField>()
    {
        let mut path = inner.clone();
        path.extend(args.drain(1..));
        args = path;
        flattened = true;
    }
    (args, flattened)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StructArray};
    use datafusion::arrow::buffer::NullBuffer;
    use datafusion::arrow::datatypes::{Field, Fields};

    use super::*;

    /// Two structs with the required field `x`; the second is null.
    fn records() -> StructArray {
        let fields = Fields::from(vec![Field::new("x", DataType::Int64, false)]);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![7, 0]));
        StructArray::new(fields, vec![values], Some(NullBuffer::from(vec![true, false])))
    }

    fn field_by(function: &dyn ScalarUDFImpl, record: ArrayRef) -> ArrayRef {
        let record_field: FieldRef = Arc::new(Field::new("r", record.data_type().clone(), true));
        let key_field: FieldRef = Arc::new(Field::new("k", DataType::Utf8, false));
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Array(record), ColumnarValue::Scalar(ScalarValue::from("x"))],
            arg_fields: vec![record_field, key_field],
            number_rows: 2,
            return_field: Arc::new(Field::new("x", DataType::Int64, true)),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().into_array(2).unwrap()
    }

    #[test]
    fn a_field_of_a_null_record_is_null() {
        let field = field_by(&GetField::new(), Arc::new(records()));
        assert_eq!(field.as_ref(), &Int64Array::from(vec![Some(7), None]) as &dyn Array);
    }

    #[test]
    fn fields_of_null_records_are_still_needed() {
        let field = field_by(&GetFieldFunc::new(), Arc::new(records()));
        assert_eq!(field.null_count(), 0, "DataFusion's own get_field knows of null records now");
    }
}
