//! Texts beside numbers where one type is needed: in UNION, CASE and lists.
//!
//! DataFusion 55.2 turns the numbers of a UNION or a CASE into texts: `select 1 union select 'x'`
//! returns the text `1`. Elsewhere the text is read as a number. As in PostgreSQL, a literal is
//! read as a number here, too; other texts have to be cast.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;
use datafusion::logical_expr::{Case, Expr, ExprSchemable, LogicalPlan, Projection, Union};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the header of its file. It runs before types are coerced.
#[derive(Debug)]
pub(super) struct NumberTexts;

impl AnalyzerRule for NumberTexts {
    fn name(&self) -> &'static str {
        "number_texts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let of_node = |node| match node {
            LogicalPlan::Union(union) => of_union(union),
            other => Ok(Transformed::no(other)),
        };
        rewrite(plan, &of_node, &|expr, schema| {
            transform_parts(expr, &mut |mut part| {
                let changed = of_expr(&mut part, schema)?;
                Ok(Transformed::new_transformed(part, changed))
            })
        })
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn of_expr(expr: &mut Expr, schema: &DFSchema) -> Result<bool> {
    let (what, parts): (_, Vec<&mut Expr>) = match expr {
        Expr::Case(Case { when_then_expr, else_expr, .. }) => {
            let results = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            ("CASE", results.chain(else_expr.as_deref_mut()).collect())
        }
        Expr::ScalarFunction(call) if call.func.name() == "make_array" => {
            ("the list", call.args.iter_mut().collect())
        }
        _ => return Ok(false),
    };
    let kinds = parts.iter().map(|part| part.get_type(schema)).collect::<Result<Vec<_>>>();
    let Ok(kinds) = kinds else { return Ok(false) };
    let Some(number) = number_of(&kinds) else { return Ok(false) };
    let mut changed = false;
    for (part, kind) in parts.into_iter().zip(&kinds) {
        if !is_text(kind) {
            continue;
        }
        match read(part, &number, what)? {
            Some(literal) => {
                *part = literal;
                changed = true;
            }
            None if what == "the list" => {}
            None => {
                return plan_err!("{what} gives {number} and {kind}: cast one of them");
            }
        }
    }
    Ok(changed)
}

/// The type of the numbers, if there are numbers and texts, and nothing else but nulls.
fn number_of(kinds: &[DataType]) -> Option<DataType> {
    let known = || kinds.iter().filter(|kind| !kind.is_null());
    if !known().any(is_text) || !known().all(|kind| is_text(kind) || kind.is_numeric()) {
        return None;
    }
    let numbers: Vec<_> = known().filter(|kind| kind.is_numeric()).cloned().collect();
    type_union_resolution(&numbers)
}

/// The text literal as a number. `None` if it is no literal.
fn read(text: &Expr, number: &DataType, what: &str) -> Result<Option<Expr>> {
    let Expr::Literal(value, _) = text.clone().unalias() else { return Ok(None) };
    let Some(text) = value.try_as_str() else { return Ok(None) };
    match value.cast_to(number) {
        Ok(value) => Ok(Some(Expr::Literal(value, None))),
        Err(_) => plan_err!(
            "{what} has numbers ({number}) and the text '{}': cast the numbers to VARCHAR, or write \
             a number",
            text.unwrap_or_default()
        ),
    }
}

fn of_union(union: Union) -> Result<Transformed<LogicalPlan>> {
    let Union { mut inputs, schema } = union;
    let width = inputs.iter().map(|input| input.schema().fields().len()).min().unwrap_or(0);
    let mut changed = false;
    for at in 0..width {
        let kind_at = |input: &Arc<LogicalPlan>| input.schema().field(at).data_type().clone();
        let kinds: Vec<_> = inputs.iter().map(kind_at).collect();
        check(at, &kinds)?;
        let Some(number) = number_of(&kinds) else { continue };
        for (input, kind) in inputs.iter_mut().zip(&kinds) {
            if is_text(kind) {
                *input = with_number(input, at, &number)?;
                changed = true;
            }
        }
    }
    Ok(match changed {
        true => Transformed::yes(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?)),
        false => Transformed::no(LogicalPlan::Union(Union { inputs, schema })),
    })
}

/// `input` with the literal of its column `at` as a number.
fn with_number(input: &Arc<LogicalPlan>, at: usize, number: &DataType) -> Result<Arc<LogicalPlan>> {
    let what = format!("column {} of a UNION", at + 1);
    if let LogicalPlan::Projection(projection) = input.as_ref()
        && let Some(literal) = read(&projection.expr[at], number, &what)?
    {
        let mut exprs = projection.expr.clone();
        let (relation, field) = projection.schema.qualified_field(at);
        exprs[at] = literal.alias_qualified(relation.cloned(), field.name());
        let projection = Projection::try_new(exprs, Arc::clone(&projection.input))?;
        return Ok(Arc::new(LogicalPlan::Projection(projection)));
    }
    let text = input.schema().field(at).data_type();
    plan_err!("{what} is {number} in one query and {text} in another; cast one of them")
}

/// Refuses columns of a UNION that are of one kind in one query and of another kind elsewhere.
/// DataFusion 55.2 turns numbers into dates: 1 becomes the second of January 1970.
fn check(at: usize, kinds: &[DataType]) -> Result<()> {
    let is_apart = |one: &DataType, other: &DataType| {
        let apart = |of: fn(&DataType) -> bool, from: fn(&DataType) -> bool| {
            of(one) && from(other) || from(one) && of(other)
        };
        let is_truth: fn(&DataType) -> bool = |kind| *kind == DataType::Boolean;
        apart(DataType::is_temporal, DataType::is_numeric)
            || apart(is_truth, DataType::is_numeric)
            || apart(is_truth, DataType::is_temporal)
            || apart(is_truth, is_text)
            || differ_within(one, other)
    };
    for (n, one) in kinds.iter().enumerate() {
        if let Some(other) = kinds[n + 1..].iter().find(|other| is_apart(one, other)) {
            return plan_err!(
                "column {} of a UNION is {one} in one query and {other} in another; cast one of them",
                at + 1
            );
        }
    }
    Ok(())
}

/// True for lists of which one has numbers, and the other has texts.
fn differ_within(one: &DataType, other: &DataType) -> bool {
    let item = |kind: &DataType| match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type().clone())
        }
        _ => None,
    };
    let (Some(one), Some(other)) = (item(one), item(other)) else { return false };
    one.is_numeric() && is_text(&other)
        || is_text(&one) && other.is_numeric()
        || differ_within(&one, &other)
}
