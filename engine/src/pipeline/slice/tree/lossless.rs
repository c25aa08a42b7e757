//! Which casts lose nothing.

use datafusion::arrow::datatypes::DataType;

/// Whether `to` holds every value of `from`, so that a cast loses nothing.
pub(crate) fn holds(to: &DataType, from: &DataType) -> bool {
    use DataType::{
        Binary, BinaryView, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, Duration,
        FixedSizeBinary, Float16, Float32, Float64, Int8, Int16, Int32, LargeBinary, LargeList,
        LargeUtf8, List, ListView, Null, Struct, Time32, Time64, Timestamp, UInt8, UInt16, UInt32,
        Utf8, Utf8View,
    };
    if to == from {
        return true;
    }
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, from), to) => holds(to, from),
        (from, Dictionary(_, to)) => holds(to, from),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_),
            Binary | LargeBinary | BinaryView,
        )
        | (Float16, Float32 | Float64)
        | (Float32, Float64)
        // Documented at the row's types: times are to the microsecond.
        | (Time32(_) | Time64(_), Time64(_))
        | (Duration(_), Duration(_)) => true,
        (Timestamp(_, from), Timestamp(_, to)) => from.is_some() == to.is_some(),
        (Int8 | UInt8 | Int16 | UInt16, Float32 | Float64) | (Int32 | UInt32, Float64) => true,
        (from, to) if from.is_integer() && to.is_integer() => {
            let bits = |kind: &DataType| kind.primitive_width().unwrap_or(0);
            match (from.is_signed_integer(), to.is_signed_integer()) {
                (true, true) | (false, false) => bits(from) <= bits(to),
                (false, true) => bits(from) < bits(to),
                (true, false) => false,
            }
        }
        (
            Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s),
            Decimal32(q, t) | Decimal64(q, t) | Decimal128(q, t) | Decimal256(q, t),
        ) => s <= t && i16::from(*p) - i16::from(*s) <= i16::from(*q) - i16::from(*t),
        (List(from) | LargeList(from) | ListView(from), List(to)) => {
            holds(to.data_type(), from.data_type())
        }
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| {
                    from.name() == to.name() && holds(to.data_type(), from.data_type())
                })
        }
        _ => false,
    }
}
