//! SQL functions: replacements for DataFusion functions that return wrong rows, and functions that
//! our planner inserts. Each module names the fault that it works around and has a test that fails
//! once DataFusion has fixed it, so that the module can go.
//!
//! Plans refer to functions by name, so every process of a session calls [`register`].
//!
//! Deliberately absent: sessions, machines and networking.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;

mod arithmetic;
mod collected;
mod exact_float;
mod field;
mod float_key;
mod like_pattern;
mod min_max;
mod named_cast;
mod nested_key;
mod not_null;
mod null_fields;
mod nullable;
mod opaque_cast;
mod ordered_set;
mod overrides;
mod parquet_values;
mod partition_text;
mod percentile;
mod quotient;
mod rank;
mod recomputed;
mod round_parts;
mod same_value;
mod time;
mod total;
mod window;

pub use arithmetic::{checked, checked_negation};
pub use exact_float::exact_float;
pub use field::{GetField, get_field};
pub use float_key::{FLOAT_KEY, float_key, has_float_keys};
pub use named_cast::NAMED_CAST;
pub use nested_key::{NESTED_KEY, has_nested_key, nested_key};
pub use not_null::not_null;
pub use null_fields::null_fields;
pub use nullable::nullable;
pub use opaque_cast::opaque_cast;
pub use parquet_values::{parquet_interval, uuid_text};
pub use partition_text::{NULL_PARTITION, PARTITION_ESCAPE, partition_kept, partition_text};
use quotient::rounded_divide;
pub use rank::{dense_rank, ntile, rank, row_number, signed_rank};
pub use round_parts::{round_parts, rounds_parts, whole_type};
pub use same_value::{same_value, unknown};
use time::at_time_zone::at_time_zone;
pub use time::at_time_zone::{INSTANT_OF_ANY, instant_of};
pub use time::cast::{OutOfRange, cast_time, casts_time};
pub use time::date_part::date_part;
pub use time::days_between::days_between;
pub use time::interval::{Carry, justify};
pub use time::interval_text::normal_interval;
pub use time::parse::{normal_timestamp, unit_for};
pub use time::scale::{Scale, scale_interval};
pub use time::shift::shift_time;
pub use time::timestamp_of::timestamp_of;
pub use time::units::finest_time;
pub use window::ignoring_nulls;

pub mod only_row;
pub mod rows;

/// Adds the functions to `builder`, replacing functions of the same name.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    let functions = builder.scalar_functions().get_or_insert_default();
    functions.extend([
        same_value(),
        unknown(),
        at_time_zone(),
        cast_time(OutOfRange::Error),
        cast_time(OutOfRange::Null),
        cast_time(OutOfRange::Clamp),
        justify(Carry::All),
        justify(Carry::Days),
        justify(Carry::Hours),
        shift_time(),
        scale_interval(Scale::Multiply),
        scale_interval(Scale::Divide),
        time::at_time_zone::instant_of(),
        time::at_time_zone::instant_of_any(),
        time::timestamp_of::timestamp_of(OutOfRange::Error),
        time::timestamp_of::timestamp_of(OutOfRange::Null),
        date_part(),
        time::date_trunc::date_trunc(),
        days_between(),
    ]);
    functions.extend(time::to_timestamp::functions());
    functions.extend([only_row::only_row(), rows::row_of()]);
    functions.extend([field::get_field(), named_cast::named_cast()]);
    functions.extend([
        nullable(true),
        nullable(false),
        not_null(),
        null_fields(),
        partition_text(),
        partition_kept(),
    ]);
    functions.extend(arithmetic::functions());
    functions.extend([Arc::new(rounded_divide()), Arc::new(float_key())]);
    functions.extend([Arc::new(nested_key()), Arc::new(round_parts())]);
    functions.extend(overrides::functions());
    functions.push(Arc::new(ScalarUDF::from(like_pattern::LikePattern::new())));
    // Names from the SQL standard.
    functions.push(Arc::new(
        datafusion::functions::math::signum().as_ref().clone().with_aliases(["sign"]),
    ));
    let aggregates = builder.aggregate_functions().get_or_insert_default();
    aggregates.extend(total::functions());
    aggregates.extend(min_max::functions());
    aggregates.extend(collected::functions());
    aggregates.extend(percentile::functions());
    aggregates.extend(ordered_set::functions());
    aggregates.extend(recomputed::functions());
    let windows = builder.window_functions().get_or_insert_default();
    windows.extend(window::functions());
    windows.extend(rank::functions());
    builder
}

/// Rewrites that replace functions which DataFusion's planner inserts without looking them up by
/// name.
pub fn rewrites() -> Vec<Arc<dyn FunctionRewrite + Send + Sync>> {
    vec![Arc::new(field::FieldsOfNullRecords)]
}
