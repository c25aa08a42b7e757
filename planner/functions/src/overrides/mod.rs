//! DataFusion functions with changed results for some arguments.
//!
//! Each keeps the name, the signature and the documentation of the original; an [`Override`]
//! defines the differences.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions::{core, datetime, math, regex, string, unicode};
use datafusion::functions_nested as nested;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};

mod choices;
mod counts;
mod list_sum;
mod lists;
mod padding;
mod regexes;
mod sorted;
mod to_char;
mod whole_decimals;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    use choices::Choice;
    use counts::Signed;
    use lists::{Both, Length, Twin};
    let reverse = nested::reverse::array_reverse_udf();
    vec![
        overridden(unicode::character_length(), Length),
        overridden(unicode::reverse(), Twin(reverse)),
        overridden(string::concat(), Twin(nested::concat::array_concat_udf())),
        overridden(string::contains(), Twin(nested::array_has::array_has_udf())),
        overridden(nested::length::array_length_udf(), Signed),
        overridden(nested::cardinality::cardinality_udf(), Signed),
        overridden(nested::dimension::array_ndims_udf(), Signed),
        overridden(nested::position::array_position_udf(), Signed),
        overridden(nested::array_has::array_has_any_udf(), Both),
        overridden(nested::array_has::array_has_all_udf(), Both),
        overridden(nested::sort::array_sort_udf(), sorted::Sorted),
        overridden(nested::array_sum::array_sum_udf(), list_sum::ListSum),
        overridden(unicode::lpad(), padding::Length),
        overridden(unicode::rpad(), padding::Length),
        overridden(regex::regexp_replace(), regexes::Replace),
        overridden(regex::regexp_match(), regexes::Match),
        overridden(datetime::to_char(), to_char::Patterns),
        overridden(core::greatest(), Choice::Greatest),
        overridden(core::least(), Choice::Least),
        overridden(core::coalesce(), Choice::Other),
        overridden(core::nullif(), Choice::Other),
        overridden(core::nvl(), Choice::Other),
        overridden(math::ceil(), whole_decimals::Towards::Above),
        overridden(math::floor(), whole_decimals::Towards::Below),
    ]
}

fn overridden(original: Arc<ScalarUDF>, changes: impl Override) -> Arc<ScalarUDF> {
    let signature = if changes.accepts_more_types() {
        Signature::user_defined(original.signature().volatility)
    } else {
        original.signature().clone()
    };
    Arc::new(ScalarUDF::from(Overridden { original, signature, changes: Arc::new(changes) }))
}

/// The differences of a function from the original.
trait Override: Debug + Send + Sync + 'static {
    /// True if it accepts types that the original does not.
    fn accepts_more_types(&self) -> bool {
        false
    }

    /// The types that arguments are cast to; `None` to use the original's.
    fn argument_types(&self, _types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        Ok(None)
    }

    /// The type of the result; `None` to use the original's.
    fn result_type(&self, _types: &[DataType]) -> Result<Option<DataType>> {
        Ok(None)
    }

    /// True if the original's simplification is correct.
    fn simplifies(&self) -> bool {
        false
    }

    fn call(&self, original: &ScalarUDF, args: ScalarFunctionArgs) -> Result<ColumnarValue>;
}

/// The types that `function` casts arguments of these types to.
fn coerced(function: &ScalarUDF, types: &[DataType]) -> Result<Vec<DataType>> {
    let fields: Vec<FieldRef> =
        types.iter().map(|kind| Arc::new(Field::new("x", kind.clone(), true))).collect();
    let fields = fields_with_udf(&fields, function)?;
    Ok(fields.iter().map(|field| field.data_type().clone()).collect())
}

#[derive(Debug)]
struct Overridden {
    original: Arc<ScalarUDF>,
    signature: Signature,
    changes: Arc<dyn Override>,
}

// Each original is overridden once.
impl PartialEq for Overridden {
    fn eq(&self, other: &Self) -> bool {
        self.original == other.original
    }
}

impl Eq for Overridden {}

impl Hash for Overridden {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.original.hash(state);
    }
}

impl ScalarUDFImpl for Overridden {
    fn name(&self) -> &str {
        self.original.name()
    }

    fn aliases(&self) -> &[String] {
        self.original.aliases()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.original.documentation()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match self.changes.argument_types(types)? {
            Some(types) => Ok(types),
            None => coerced(&self.original, types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.changes.result_type(types)? {
            Some(kind) => Ok(kind),
            None => self.original.inner().return_type(types),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        match self.changes.result_type(&types)? {
            Some(kind) => Ok(Arc::new(Field::new(self.name(), kind, true))),
            None => self.original.inner().return_field_from_args(args),
        }
    }

    fn is_strict(&self) -> bool {
        self.original.inner().is_strict()
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.original.inner().output_ordering(inputs)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let types: Vec<_> = inputs.iter().map(|input| input.data_type()).collect();
        match self.changes.result_type(&types)? {
            Some(kind) => Interval::make_unbounded(&kind),
            None => self.original.inner().evaluate_bounds(inputs),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if self.changes.simplifies() {
            return self.original.inner().simplify(args, info);
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn short_circuits(&self) -> bool {
        self.original.inner().short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.original.inner().conditional_arguments(args)
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        info: &SimplifyContext,
    ) -> Result<PreimageResult> {
        let is_float = literal.as_literal().is_some_and(|value| value.data_type().is_floating());
        if is_float {
            self.original.inner().preimage(args, literal, info)
        } else {
            Ok(PreimageResult::None)
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.changes.call(&self.original, args)
    }
}

/// Applies `of` to arrays; returns one value if all arguments are scalars.
fn by_rows(
    args: &ScalarFunctionArgs,
    of: impl FnOnce(&[datafusion::arrow::array::ArrayRef]) -> Result<datafusion::arrow::array::ArrayRef>,
) -> Result<ColumnarValue> {
    let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if scalar { 1 } else { args.number_rows };
    let arrays: Vec<_> = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
    let result = of(&arrays)?;
    Ok(if scalar {
        ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?)
    } else {
        ColumnarValue::Array(result)
    })
}
