//! All functions of this program that SQL can call. They register themselves when the program is
//! linked, as funcs do; every session and every worker takes them from here.

use std::sync::Arc;

use bigslice_cluster::{Linked, LinkedItems};
use datafusion::execution::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};

use crate::error::{Error, Result};
use crate::pipeline::udf::function::{Kind, Udf};
use crate::pipeline::udf::scalar::Scalar;

inventory::collect!(Udf);

/// The functions as DataFusion calls them.
#[derive(Debug, Default)]
struct Functions {
    scalar: Vec<Arc<ScalarUDF>>,
    aggregate: Vec<Arc<AggregateUDF>>,
}

impl Functions {
    fn of(udfs: impl Iterator<Item = &'static Udf>) -> Self {
        let mut functions = Self::default();
        for udf in udfs {
            match &udf.kind {
                Kind::Scalar(parts) => {
                    functions
                        .scalar
                        .push(Arc::new(ScalarUDF::new_from_impl(Scalar::new(udf, *parts))));
                }
                Kind::Aggregate(parts) => functions.aggregate.push(Arc::new((parts.function)(udf))),
            }
        }
        functions
    }
}

/// Adds the functions of this program to what a session is made of.
pub(crate) fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let functions = Functions::of(inventory::iter::<Udf>());
    builder.scalar_functions().get_or_insert_default().extend(functions.scalar);
    builder.aggregate_functions().get_or_insert_default().extend(functions.aggregate);
    builder
}

/// Checks, before a session starts, that every name means one function. `builtin` has DataFusion's
/// functions and no others.
pub(crate) fn check(builtin: &SessionState) -> Result<()> {
    names(inventory::iter::<Udf>(), |name| {
        builtin.scalar_functions().contains_key(name)
            || builtin.aggregate_functions().contains_key(name)
            || builtin.window_functions().contains_key(name)
    })
}

impl Linked for Udf {
    const KIND: &'static str = "SQL function";

    fn name(&self) -> &'static str {
        self.name
    }

    fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }
}

fn names(
    udfs: impl IntoIterator<Item = &'static Udf>,
    builtin: impl Fn(&str) -> bool,
) -> Result<()> {
    let udfs = LinkedItems::new(udfs);
    udfs.check().map_err(Error::config)?;
    match udfs.iter().find(|udf| builtin(udf.name)) {
        Some(Udf { name, file, line, .. }) => Err(Error::config(format!(
            "the function \"{name}\" at {file}:{line} has the name of a built-in SQL function; give \
             it another: #[bigslice::udf(name = \"...\")]"
        ))),
        None => Ok(()),
    }
}

/// A call of a function in an expression; what `expr` of `#[udf]` makes.
pub fn expr(udf: &'static Udf, arguments: Vec<Expr>) -> Expr {
    match &udf.kind {
        Kind::Scalar(parts) => ScalarUDF::new_from_impl(Scalar::new(udf, *parts)).call(arguments),
        Kind::Aggregate(parts) => (parts.function)(udf).call(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::udf::function::{ScalarParts, Volatility};

    fn udf(name: &'static str, line: u32) -> &'static Udf {
        Box::leak(Box::new(Udf {
            name,
            file: "src/dna.rs",
            line,
            volatility: Volatility::Immutable,
            kind: Kind::Scalar(ScalarParts {
                arguments: Vec::new,
                returns: || arrow::datatypes::DataType::Int64,
                evaluate: |_, _| Err("not called".to_owned().into()),
            }),
        }))
    }

    #[test]
    fn a_name_means_one_function() {
        let check = |udfs: Vec<&'static Udf>| names(udfs, |name| name == "abs");
        check(vec![udf("gc", 3), udf("at", 4)]).unwrap();
        let error = check(vec![udf("gc", 3), udf("gc", 9)]).unwrap_err().to_string();
        assert_eq!(
            error,
            "there are two SQL functions \"gc\", at src/dna.rs:3 and at src/dna.rs:9"
        );
        let error = check(vec![udf("abs", 7)]).unwrap_err().to_string();
        assert!(error.contains("\"abs\" at src/dna.rs:7 has the name of a built-in"), "{error}");
    }
}
