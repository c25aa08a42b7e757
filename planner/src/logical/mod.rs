//! Rules over logical plans: DataFusion's in their order, with ours among them.
//!
//! Each of our rules works around one kind of DataFusion fault, which its module names. The
//! rewritten plan returns the same rows in one process and on machines.

mod case_nulls;
mod date_comparison;
mod decimal_literals;
mod expressions;
mod filters_above;
mod float_keys;
mod in_lists;
mod inserted;
mod kept_order;
mod lean_windows;
mod leaves;
mod list_fields;
mod mixed_numbers;
mod mixed_values;
mod named_casts;
mod null_equal;
mod number_texts;
mod numbers;
mod operators;
mod order_columns;
mod outer_aggregates;
mod range_frames;
mod same_value;
mod self_equal;
mod set_all;
mod simplify;
mod text_calls;
mod time_casts;
mod time_order;
mod time_units;
mod timestamp_units;
mod truth_tests;
mod typed_time;
mod unnest;
mod unnest_records;
mod volatile_once;
mod window_types;

use std::sync::Arc;

use datafusion::optimizer::extract_leaf_expressions::{
    ExtractLeafExpressions, PushDownLeafProjections,
};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};

use self::unnest::UnnestSubqueries;
pub use lean_windows::LeanWindows;

pub(crate) use kept_order::ORDERED;
pub(crate) use operators::Operators;

/// The analyzer rules in their order: they make a plan of SQL ready to be optimized.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let coercion = rules.iter().position(|rule| rule.name() == "type_coercion");
    let coercion = coercion.unwrap_or(rules.len());
    rules.insert(coercion, Arc::new(time_order::TimeOrder));
    rules.insert(coercion, Arc::new(time_units::TimeUnits));
    rules.insert(coercion, Arc::new(list_fields::ListFields));
    rules.insert(coercion, Arc::new(text_calls::TextCalls));
    rules.insert(coercion, Arc::new(range_frames::RangeFrames));
    // After subqueries became joins: the rule looks at the keys of joins.
    rules.insert(coercion, Arc::new(mixed_numbers::MixedNumbers));
    // Before types are coerced: the comparisons that become joins are coerced like the user's.
    rules.insert(coercion, Arc::new(UnnestSubqueries));
    rules.insert(coercion, Arc::new(outer_aggregates::OuterAggregates));
    // Before types are coerced: coercion would turn decimals into doubles.
    rules.insert(coercion, Arc::new(decimal_literals::DecimalLiterals));
    rules.insert(coercion, Arc::new(inserted::Inserted));
    // Before literals become decimals: the rule finds what DataFusion cast.
    rules.insert(coercion, Arc::new(mixed_values::MixedValues));
    rules.insert(coercion, Arc::new(timestamp_units::TimestampUnits));
    rules.insert(coercion, Arc::new(number_texts::NumberTexts));
    // Before the rules that look at casts, but after DataFusion's for `grouping`, which finds keys
    // by their names.
    rules.insert(coercion, Arc::new(named_casts::NamedCasts));
    rules.insert(0, Arc::new(unnest_records::UnnestRecords));
    rules.insert(0, Arc::new(set_all::SetAll));
    rules.insert(0, Arc::new(kept_order::KeptOrder));
    rules.insert(0, Arc::new(window_types::WindowTypes));
    // After types are coerced: these rules look at types.
    rules.push(Arc::new(numbers::Numbers));
    rules.push(Arc::new(float_keys::FloatKeys));
    rules.push(Arc::new(time_casts::TimeCasts));
    rules.push(Arc::new(volatile_once::VolatileOnce));
    rules.push(Arc::new(truth_tests::TruthTests));
    rules.push(Arc::new(order_columns::OrderColumns));
    rules.push(Arc::new(case_nulls::CaseNulls));
    rules.push(Arc::new(self_equal::SelfEqual));
    rules
}

/// The optimizer rules in their order.
pub(crate) fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    for rule in &mut rules {
        match rule.name() {
            "simplify_expressions" => *rule = Arc::new(simplify::SafeSimplify::default()),
            "extract_leaf_expressions" => {
                *rule = Arc::new(leaves::UnlessVolatile(ExtractLeafExpressions::new()));
            }
            "push_down_leaf_projections" => {
                *rule = Arc::new(leaves::UnlessVolatile(PushDownLeafProjections::new()));
            }
            "push_down_filter" => *rule = Arc::new(filters_above::FiltersAbove(Arc::clone(rule))),
            "extract_equijoin_predicate" => *rule = Arc::new(null_equal::Keys(Arc::clone(rule))),
            "eliminate_cross_join" => *rule = Arc::new(null_equal::Flattened(Arc::clone(rule))),
            _ => {}
        }
    }
    rules
}
