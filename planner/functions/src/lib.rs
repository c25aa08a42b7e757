//! SQL functions that stand in for DataFusion's where those give wrong rows, and those that our planner
//! needs. Each module names the fault that it mends and has a test that fails when DataFusion has mended
//! it, so that the module can go.
//!
//! Functions are found by their names on every machine, so every process of a session calls
//! [`register`].
//!
//! What is deliberately absent: sessions, machines and the network.

use datafusion::execution::SessionStateBuilder;

mod same_value;
mod time;

pub use same_value::{same_value, unknown};
pub use time::at_time_zone::at_time_zone;
pub use time::cast::{Unfit, cast_time, casts_time};
pub use time::interval::{Carry, justify};
pub use time::interval_text::normal_interval;
pub use time::parse::{normal_timestamp, unit_for};
pub use time::shift::shift_time;

/// Adds the functions to those of `builder`. One with the name of a function that is there replaces it.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.scalar_functions().get_or_insert_default().extend([
        same_value(),
        unknown(),
        at_time_zone(),
        cast_time(Unfit::Fails),
        cast_time(Unfit::IsNull),
        cast_time(Unfit::IsClamped),
        justify(Carry::All),
        justify(Carry::Days),
        justify(Carry::Hours),
        shift_time(),
        time::at_time_zone::instant_of(),
        time::timestamp_of::timestamp_of(Unfit::Fails),
        time::timestamp_of::timestamp_of(Unfit::IsNull),
        time::date_part::date_part(),
        time::date_trunc::date_trunc(),
    ]);
    builder.scalar_functions().get_or_insert_default().extend(time::to_timestamp::functions());
    builder
}
