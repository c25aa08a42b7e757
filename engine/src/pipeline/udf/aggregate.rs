//! Aggregate functions as DataFusion calls them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature,
};

use crate::pipeline::udf::coercion::coerced;
use crate::pipeline::udf::function::{AggregateParts, Udf};
use crate::pipeline::udf::groups::{Groups, Ungrouped};
use crate::pipeline::udf::state::Aggregate;
use crate::row::Value;
use crate::row::function::Arguments;

impl AggregateParts {
    /// The parts of the aggregate `S`.
    pub const fn of<S: Aggregate>() -> Self {
        Self { function: |udf| AggregateUDF::new_from_impl(Many::<S>::new(udf)) }
    }
}

/// An aggregate function as a DataFusion function.
struct Many<S> {
    udf: &'static Udf,
    arguments: Vec<DataType>,
    signature: Signature,
    state: PhantomData<fn() -> S>,
}

impl<S: Aggregate> Many<S> {
    fn new(udf: &'static Udf) -> Self {
        Self {
            udf,
            arguments: S::Arguments::types(),
            signature: Signature::user_defined(udf.volatility.into()),
            state: PhantomData,
        }
    }

    /// DataFusion rewrites DISTINCT if it is the only aggregate; other cases would need all values.
    fn refuse_distinct(&self, args: &AccumulatorArgs<'_>) -> Result<()> {
        if args.is_distinct {
            return not_impl_err!(
                "{}(DISTINCT ..) beside another aggregate is not supported",
                self.udf.name
            );
        }
        Ok(())
    }
}

impl<S> fmt::Debug for Many<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Aggregate").field(&self.udf.name).finish()
    }
}

impl<S> PartialEq for Many<S> {
    fn eq(&self, other: &Self) -> bool {
        self.udf.is(other.udf)
    }
}

impl<S> Eq for Many<S> {}

impl<S> Hash for Many<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.udf.name.hash(state);
    }
}

impl<S: Aggregate> AggregateUDFImpl for Many<S> {
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
        Ok(S::Output::data_type())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "state");
        Ok(vec![Arc::new(Field::new(name, S::data_type(), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        self.refuse_distinct(&args)?;
        Ok(Box::new(Ungrouped::<S>::new(self.udf)))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        not_impl_err!(
            "{} over a sliding window is not supported: start the frame at UNBOUNDED PRECEDING",
            self.udf.name
        )
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        self.refuse_distinct(&args)?;
        Ok(Box::new(Groups::<S>::new(self.udf)))
    }

    /// States are merged in any order, so the function cannot depend on the order of rows.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    /// The value for no rows, for example of a subquery without a match.
    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ungrouped::<S>::new(self.udf).evaluate()
    }
}
