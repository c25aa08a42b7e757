//! Plans operators and EXTRACT as calls of our functions.
//!
//! DataFusion 55.2 plans EXTRACT as its own `date_part`, even if the session has another function
//! of that name. It refuses to multiply an interval or the difference of two timestamps, to add the
//! latter to a date or an interval, to compare times of day of different units, and to look up a
//! non-literal key in a map. It finds a field only under its exact name, whereas columns are found
//! in any capitalisation.

use bigslice_functions::{Scale, date_part, finest_time, get_field, scale_interval};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit};
use datafusion::common::{Column, DFSchema, Result, TableReference, plan_err};
use datafusion::functions_nested::expr_fn::{array_element, map_extract};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::planner::{
    ExprPlanner, PlannerResult, RawBinaryExpr, RawFieldAccessExpr,
};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// The expression planner, which runs before DataFusion's.
#[derive(Debug)]
pub(crate) struct Operators;

impl ExprPlanner for Operators {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let call = ScalarFunction::new_udf(date_part(), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }

    fn plan_field_access(
        &self,
        expr: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match (&expr.field_access, expr.expr.get_type(schema)) {
            (GetFieldAccess::NamedStructField { name }, Ok(kind)) => {
                let spelt = match name.try_as_str().flatten() {
                    Some(name) => spelt(&kind, name)?,
                    None => None,
                };
                let Some((spelt, _)) = spelt else { return Ok(PlannerResult::Original(expr)) };
                let field_access = GetFieldAccess::NamedStructField { name: spelt.into() };
                Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr: expr.expr }))
            }
            (GetFieldAccess::ListIndex { key }, Ok(DataType::Map(..)))
                if !matches!(**key, Expr::Literal(..)) =>
            {
                let found = map_extract(expr.expr.clone(), key.as_ref().clone());
                Ok(PlannerResult::Planned(array_element(found, lit(1_i64))))
            }
            _ => Ok(PlannerResult::Original(expr)),
        }
    }

    fn plan_compound_identifier(
        &self,
        field: &Field,
        qualifier: Option<&TableReference>,
        nested_names: &[String],
    ) -> Result<PlannerResult<Vec<Expr>>> {
        let mut expr = Expr::Column(Column::from((qualifier, field)));
        let mut kind = field.data_type().clone();
        for name in nested_names {
            let found = spelt(&kind, name)?;
            let (name, of) = found.unwrap_or_else(|| (name.clone(), DataType::Null));
            let args = vec![expr, lit(name)];
            expr = Expr::ScalarFunction(ScalarFunction::new_udf(get_field(), args));
            kind = of;
        }
        Ok(PlannerResult::Planned(expr))
    }

    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let (left, right) = (expr.left.get_type(schema), expr.right.get_type(schema));
        let (Ok(left), Ok(right)) = (left, right) else { return Ok(PlannerResult::Original(expr)) };
        let scale = match expr.op {
            BinaryOperator::Multiply => Scale::Multiply,
            BinaryOperator::Divide => Scale::Divide,
            BinaryOperator::Plus | BinaryOperator::Minus => {
                return Ok(PlannerResult::Original(with_intervals(expr, &left, &right)));
            }
            _ => return Ok(PlannerResult::Original(with_one_unit(expr, &left, &right))),
        };
        let lasts = |of: &DataType| matches!(of, DataType::Interval(_) | DataType::Duration(_));
        let args = match (left, right) {
            (left, of) if lasts(&left) && of.is_numeric() => {
                vec![as_interval(expr.left, &left), expr.right]
            }
            (of, right) if lasts(&right) && of.is_numeric() && scale == Scale::Multiply => {
                vec![as_interval(expr.right, &right), expr.left]
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let call = ScalarFunction::new_udf(scale_interval(scale), args);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

/// The name and the type of a struct's field: the one called `name`, or else the only one whose
/// name differs in its capital letters. `None` if the value is not a struct, or has no such field.
fn spelt(kind: &DataType, name: &str) -> Result<Option<(String, DataType)>> {
    let fields = match kind {
        DataType::Struct(fields) => fields,
        DataType::Dictionary(_, values) => return spelt(values, name),
        _ => return Ok(None),
    };
    let lower = name.to_lowercase();
    let mut alike: Vec<_> = fields.iter().filter(|field| field.name() == name).collect();
    if alike.is_empty() {
        alike = fields.iter().filter(|field| field.name().to_lowercase() == lower).collect();
    }
    match alike.as_slice() {
        [] => Ok(None),
        [field, ..] if alike.len() == 1 || field.name() == name => {
            Ok(Some((field.name().clone(), field.data_type().clone())))
        }
        several => {
            let names: Vec<_> =
                several.iter().map(|field| format!("\"{}\"", field.name())).collect();
            plan_err!(
                "the field \"{name}\" is ambiguous, it can be {}: write it in double quotes",
                names.join(" or ")
            )
        }
    }
}

/// The difference of two timestamps as an interval, if the other operand is a date or an interval.
fn with_intervals(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> RawBinaryExpr {
    let beside = |of: &DataType| matches!(of, DataType::Date32 | DataType::Interval(_));
    let lasts = |of: &DataType| matches!(of, DataType::Duration(_));
    if !(beside(left) && lasts(right) || beside(right) && lasts(left)) {
        return expr;
    }
    RawBinaryExpr {
        left: as_interval(expr.left, left),
        right: as_interval(expr.right, right),
        op: expr.op,
    }
}

fn as_interval(expr: Expr, of: &DataType) -> Expr {
    if !matches!(of, DataType::Duration(_)) {
        return expr;
    }
    let to = DataType::Interval(IntervalUnit::MonthDayNano);
    Expr::Cast(Cast::new(Box::new(expr), to))
}

/// Both times of day in the finer of their units.
fn with_one_unit(expr: RawBinaryExpr, left: &DataType, right: &DataType) -> RawBinaryExpr {
    let Some(unit) = finest_time([left, right]) else { return expr };
    let cast = |expr: Expr, of: &DataType| {
        if *of == unit { expr } else { Expr::Cast(Cast::new(Box::new(expr), unit.clone())) }
    };
    RawBinaryExpr { left: cast(expr.left, left), right: cast(expr.right, right), op: expr.op }
}
