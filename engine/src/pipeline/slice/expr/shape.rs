//! Maps the columns of a plan to the fields of a row: by name, or by position if the fields have no
//! names. Called by every verb that takes expressions.

use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use super::Call;
use crate::error::{Error, Result};
use crate::pipeline::slice::tree::lossless::holds;

/// The plan with exactly the columns of `schema`, in their order.
///
/// # Errors
/// When a field has no column, or the column's type does not fit.
pub(in crate::pipeline::slice) fn shaped(
    plan: LogicalPlan,
    schema: &SchemaRef,
    call: Call,
) -> Result<LogicalPlan> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let found: Vec<(Option<TableReference>, FieldRef)> =
        plan.schema().iter().map(|(table, field)| (table.cloned(), Arc::clone(field))).collect();
    let by_position = has_no_names(&names);
    if by_position && found.len() != names.len() {
        let (expected, count) = (names.len(), found.len());
        return Err(call.error(format!(
            "the row has {expected} unnamed fields, but there are {count} columns"
        )));
    }
    let mut columns = Vec::with_capacity(names.len());
    for (n, field) in schema.fields().iter().enumerate() {
        let name = field.name();
        let (table, there) = match by_position {
            true => &found[n],
            false => named(&found, name, call)?,
        };
        let column = Expr::Column(Column::new(table.clone(), there.name()));
        let (from, to) = (there.data_type(), field.data_type());
        if from != to && !holds(to, from) {
            return Err(Error::Query {
                message: format!(
                    "{call}: the column \"{}\" is {from}, but the row has {to}",
                    there.name()
                ),
                hint: Some(format!(
                    "write the type in the expression: cast(..., DataType::{to}), or in SQL \
                     arrow_cast(..., '{to}')"
                )),
                source: None,
            });
        }
        let column = if from == to { column } else { cast(column, to.clone()) };
        columns.push(column.alias(name));
    }
    let shaped = LogicalPlanBuilder::from(plan).project(columns);
    shaped.and_then(LogicalPlanBuilder::build).map_err(|e| call.failed(e))
}

/// Whether these are the fields of a tuple or a single value.
fn has_no_names(names: &[&str]) -> bool {
    let of_tuple = names.iter().enumerate().all(|(n, name)| *name == format!("_{n}"));
    of_tuple || names == ["value"]
}

fn named<'a>(
    found: &'a [(Option<TableReference>, FieldRef)],
    name: &str,
    call: Call,
) -> Result<&'a (Option<TableReference>, FieldRef)> {
    let mut same = found.iter().filter(|(_, field)| field.name() == name);
    match (same.next(), same.next()) {
        (Some(column), None) => Ok(column),
        (Some(_), Some(_)) => {
            Err(call.error(format!("there are several columns \"{name}\" for the row's field")))
        }
        (None, _) => {
            let names = found.iter().map(|(_, field)| field.name().as_str());
            Err(Error::Query {
                message: format!("{call}: there is no column \"{name}\" for the row's field"),
                hint: bigslice_diagnostics::did_you_mean(name, names),
                source: None,
            })
        }
    }
}
