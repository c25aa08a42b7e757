//! Exact `sum` and `avg`, which fail on overflow.
//!
//! DataFusion 55.2 adds integers, decimals, durations and intervals modulo the width of their type,
//! so that an overflow silently gives another number. It averages integers as floats, which loses
//! digits beyond 2^53. And it subtracts what leaves a sliding window from a running sum of floats,
//! which keeps an infinity or a NaN forever.
//!
//! - [`whole`]: integers are added with 128 bits, so that only the result has to fit.
//! - [`checked`]: decimals that may overflow, durations and intervals are added with a check.
//! - [`sliding`]: sums of floats in sliding windows never subtract.
//!
//! Decimals of few digits keep DataFusion's accumulators: ten billion rows of them cannot overflow.

mod avg;
mod checked;
mod distinct;
mod interval_mean;
mod mean;
mod sliding;
mod sum;
mod whole;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;

/// The functions of this module, for registration.
pub(crate) fn functions() -> Vec<Arc<AggregateUDF>> {
    vec![
        Arc::new(AggregateUDF::from(sum::Sum::default())),
        Arc::new(AggregateUDF::from(avg::Avg::default())),
    ]
}
