//! Row constructors for `(a, b) IN (SELECT x, y ...)`: DataFusion 55.2 compares single columns
//! only. The syntax tree becomes `row_of(a, b) IN (SELECT row_of(x, y) ...)`, and the planner
//! splits the rows again. So the function is planned but never run.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function, which users do not write.
pub const NAME: &str = "__row_of";

/// The function `row_of`.
pub fn row_of() -> Arc<ScalarUDF> {
    static ROW_OF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::from(RowOf { signature }))
    });
    Arc::clone(&ROW_OF)
}

/// The columns of a row, if the expression is one.
pub fn row(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::ScalarFunction(function) if function.func.name() == NAME => Some(&function.args),
        Expr::Alias(alias) => row(&alias.expr),
        _ => None,
    }
}

/// The columns of a row, or the expression itself.
pub fn columns(expr: &Expr) -> Vec<Expr> {
    row(expr).map_or_else(|| vec![expr.clone()], <[Expr]>::to_vec)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowOf {
    signature: Signature,
}

impl ScalarUDFImpl for RowOf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let columns = types.iter().enumerate();
        let fields: Fields =
            columns.map(|(n, column)| Field::new(format!("c{n}"), column.clone(), true)).collect();
        Ok(DataType::Struct(fields))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!(
            "a row can only be compared with the rows of a subquery: compare its columns one by one"
        )
    }
}
