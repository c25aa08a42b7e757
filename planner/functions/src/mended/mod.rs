//! DataFusion's functions with other answers for some arguments.
//!
//! Each keeps the name, the signature and the documentation of the original; a [`Mend`] says what is otherwise.

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
mod lists;
mod padding;
mod regexes;
mod sorted;
mod to_char;
mod whole_decimals;

/// The functions of this module, to be registered.
pub(crate) fn functions() -> Vec<Arc<ScalarUDF>> {
    use choices::Choice;
    use lists::{Both, Length, Twin};
    let reverse = nested::reverse::array_reverse_udf();
    vec![
        mended(unicode::character_length(), Length),
        mended(unicode::reverse(), Twin(reverse)),
        mended(string::concat(), Twin(nested::concat::array_concat_udf())),
        mended(string::contains(), Twin(nested::array_has::array_has_udf())),
        mended(nested::array_has::array_has_any_udf(), Both),
        mended(nested::array_has::array_has_all_udf(), Both),
        mended(nested::sort::array_sort_udf(), sorted::Sorted),
        mended(unicode::lpad(), padding::Length),
        mended(unicode::rpad(), padding::Length),
        mended(regex::regexp_replace(), regexes::Replace),
        mended(regex::regexp_match(), regexes::Match),
        mended(datetime::to_char(), to_char::Patterns),
        mended(core::greatest(), Choice::Greatest),
        mended(core::least(), Choice::Least),
        mended(core::coalesce(), Choice::Other),
        mended(core::nullif(), Choice::Other),
        mended(core::nvl(), Choice::Other),
        mended(math::ceil(), whole_decimals::Towards::Above),
        mended(math::floor(), whole_decimals::Towards::Below),
    ]
}

fn mended(original: Arc<ScalarUDF>, mend: impl Mend) -> Arc<ScalarUDF> {
    let signature = if mend.has_types() {
        Signature::user_defined(original.signature().volatility)
    } else {
        original.signature().clone()
    };
    Arc::new(ScalarUDF::from(Mended { original, signature, mend: Arc::new(mend) }))
}

/// What a function does otherwise.
trait Mend: Debug + Send + Sync + 'static {
    /// Whether it takes types that the original does not take.
    fn has_types(&self) -> bool {
        false
    }

    /// The types that arguments are cast to; none if the original decides.
    fn takes(&self, _types: &[DataType]) -> Result<Option<Vec<DataType>>> {
        Ok(None)
    }

    /// The type of the result; none if it is the original's.
    fn gives(&self, _types: &[DataType]) -> Result<Option<DataType>> {
        Ok(None)
    }

    /// Whether what the original becomes when it is simplified is right.
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
struct Mended {
    original: Arc<ScalarUDF>,
    signature: Signature,
    mend: Arc<dyn Mend>,
}

// Of one original there is one mended function.
impl PartialEq for Mended {
    fn eq(&self, other: &Self) -> bool {
        self.original == other.original
    }
}

impl Eq for Mended {}

impl Hash for Mended {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.original.hash(state);
    }
}

impl ScalarUDFImpl for Mended {
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
        match self.mend.takes(types)? {
            Some(types) => Ok(types),
            None => coerced(&self.original, types),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match self.mend.gives(types)? {
            Some(kind) => Ok(kind),
            None => self.original.inner().return_type(types),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        match self.mend.gives(&types)? {
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
        match self.mend.gives(&types)? {
            Some(kind) => Interval::make_unbounded(&kind),
            None => self.original.inner().evaluate_bounds(inputs),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if self.mend.simplifies() {
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
        self.mend.call(&self.original, args)
    }
}

/// The result of `of` for each row, and one value if all arguments are.
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
