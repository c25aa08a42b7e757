//! The common type of times of day of several units: the finest.
//!
//! DataFusion 55.2 has no common type for a TIME of microseconds, as in a Parquet file, and one of
//! nanoseconds, as in a literal.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// The finest type, if all types are times or null, and units differ.
pub fn finest_time<'a>(types: impl IntoIterator<Item = &'a DataType>) -> Option<DataType> {
    let mut finest: Option<&DataType> = None;
    let mut differ = false;
    for kind in types {
        if kind.is_null() {
            continue;
        }
        let fineness = fineness(kind)?;
        if let Some(known) = finest {
            differ |= known != kind;
            if self::fineness(known)? >= fineness {
                continue;
            }
        }
        finest = Some(kind);
    }
    finest.filter(|_| differ).cloned()
}

fn fineness(kind: &DataType) -> Option<u8> {
    Some(match kind {
        DataType::Time32(TimeUnit::Second) => 0,
        DataType::Time32(TimeUnit::Millisecond) => 1,
        DataType::Time64(TimeUnit::Microsecond) => 2,
        DataType::Time64(TimeUnit::Nanosecond) => 3,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::Operator;
    use datafusion::logical_expr_common::type_coercion::binary::BinaryTypeCoercer;

    use super::*;

    const MICROS: DataType = DataType::Time64(TimeUnit::Microsecond);
    const NANOS: DataType = DataType::Time64(TimeUnit::Nanosecond);

    #[test]
    fn the_finest_is_common() {
        let seconds = DataType::Time32(TimeUnit::Second);
        assert_eq!(finest_time([&seconds, &DataType::Null, &MICROS]), Some(MICROS));
        assert_eq!(finest_time([&NANOS, &NANOS]), None);
        assert_eq!(finest_time([&NANOS, &DataType::Int32]), None);
    }

    #[test]
    fn common_times_are_still_needed() {
        let types = BinaryTypeCoercer::new(&MICROS, &Operator::Eq, &NANOS).get_input_types();
        types.expect_err("DataFusion compares times of two units");
    }
}
