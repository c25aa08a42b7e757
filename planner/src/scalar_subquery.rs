//! Makes a scalar subquery with more than one row an error on machines, as it is in one process.
//!
//! In one process DataFusion runs an uncorrelated scalar subquery separately (`ScalarSubqueryExec`)
//! and checks that it has at most one row. Its value cannot reach the other stages of a distributed
//! plan, so there such subqueries become left joins, which silently repeat a row for each row of
//! the subquery. [`OneRowSubqueries`] adds the aggregate [`one_row`] to each of them: the value of
//! the only row, null if there is none, an error if there are more.

use std::mem::size_of_val;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, UInt64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, LogicalPlanBuilder, Signature,
    Subquery, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// The analyzer rule that adds a row-count check to each uncorrelated scalar subquery.
#[derive(Debug, Default)]
pub struct OneRowSubqueries;

impl AnalyzerRule for OneRowSubqueries {
    fn name(&self) -> &'static str {
        "one_row_subqueries"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let rewritten = plan.transform_up_with_subqueries(|node| {
            let changed = node.map_expressions(|expr| expr.transform_up(checked))?;
            if !changed.transformed {
                return Ok(changed);
            }
            Ok(Transformed::yes(changed.data.recompute_schema()?))
        })?;
        Ok(rewritten.data)
    }
}

/// Adds the check to `expr` if it is a subquery that may return several rows.
fn checked(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarSubquery(subquery)
            if subquery.outer_ref_columns.is_empty()
                && subquery.subquery.max_rows().is_none_or(|rows| rows > 1) =>
        {
            let rows = Arc::unwrap_or_clone(subquery.subquery);
            let column = Expr::from(rows.schema().columns().swap_remove(0));
            let name = rows.schema().field(0).name().clone();
            let value = one_row().call(vec![column]).alias(name);
            let plan = LogicalPlanBuilder::from(rows)
                .aggregate(Vec::<Expr>::new(), vec![value])?
                .build()?;
            Ok(Transformed::yes(Expr::ScalarSubquery(Subquery {
                subquery: Arc::new(plan),
                outer_ref_columns: Vec::new(),
                spans: subquery.spans,
            })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The aggregate `one_row(x)`: the value of the only row, null for no rows, an error for more than
/// one. Workers find it by name, so every process of a session registers it.
pub fn one_row() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(OneRow { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneRow {
    signature: Signature,
}

impl AggregateUDFImpl for OneRow {
    fn name(&self) -> &'static str {
        "one_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = Field::new(format!("{}[value]", args.name), args.return_type().clone(), true);
        let rows = Field::new(format!("{}[rows]", args.name), DataType::UInt64, true);
        Ok(vec![Arc::new(value), Arc::new(rows)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(args.return_field.data_type())?;
        Ok(Box::new(OnlyRow { value, rows: 0 }))
    }
}

#[derive(Debug)]
struct OnlyRow {
    value: ScalarValue,
    rows: u64,
}

impl OnlyRow {
    /// Takes the value at `index`, the value of one more row.
    fn take(&mut self, values: &ArrayRef, index: usize) -> Result<()> {
        if self.rows > 0 {
            return too_many();
        }
        self.rows = 1;
        self.value = ScalarValue::try_from_array(values, index)?;
        Ok(())
    }
}

fn too_many<T>() -> Result<T> {
    // DataFusion's wording, so that the message is the same in one process and on machines.
    exec_err!("Scalar subquery returned more than one row")
}

impl Accumulator for OnlyRow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values[0].len() {
            0 => Ok(()),
            1 => self.take(&values[0], 0),
            _ => too_many(),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states[1].as_primitive::<UInt64Type>();
        for index in 0..rows.len() {
            match if rows.is_null(index) { 0 } else { rows.value(index) } {
                0 => {}
                1 => self.take(&states[0], index)?,
                _ => return too_many(),
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::UInt64(Some(self.rows))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() - size_of_val(&self.value)
    }
}
