//! The type that a column has when its files have it as two: one that holds every value of both as
//! it is.
//!
//! What has no such type (text and numbers, a decimal of more than 76 digits) has none here, and
//! the files are refused with their names. Two pairs are not exact by type alone: of long integers
//! and floats, where those integers are looked at when they are read (see `adapt`), and of decimals
//! and floats, of which one is not exact to begin with.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType::{
    self, Binary, BinaryView, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256,
    Dictionary, Duration, FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int8, Int16,
    Int32, Int64, LargeBinary, LargeList, LargeListView, LargeUtf8, List, ListView, Map, Null,
    Struct, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
};
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, Field, FieldRef, Fields, TimeUnit,
};

/// The zone in which moments of different zones meet.
const UTC: &str = "UTC";

/// A type that has all values of both.
pub(crate) fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (Int64 | UInt64, float) | (float, Int64 | UInt64) if float.is_floating() => Some(Float64),
        (decimal, Float32 | Float64) | (Float32 | Float64, decimal) if decimal.is_decimal() => {
            Some(Float64)
        }
        _ => exactly(a, b),
    }
}

/// A type to which each value of both goes unchanged, whatever it is.
fn exactly(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Dictionary(_, values), other) | (other, Dictionary(_, values)) => exactly(values, other),
        (Struct(left), Struct(right)) => Some(Struct(fields(left, right)?)),
        (Map(left, sorted), Map(right, _)) => Some(Map(entries(left, right)?, *sorted)),
        _ => {
            numbers(a, b).or_else(|| moments(a, b)).or_else(|| bytes(a, b)).or_else(|| lists(a, b))
        }
    }
}

fn numbers(a: &DataType, b: &DataType) -> Option<DataType> {
    if a.is_floating() || b.is_floating() {
        return floats(a, b);
    }
    if a.is_integer() && b.is_integer() {
        return integers(a, b);
    }
    let ((left_whole, left_scale), (right_whole, right_scale)) = (digits(a)?, digits(b)?);
    let scale = left_scale.max(right_scale);
    let precision = left_whole.max(right_whole) + scale;
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    if precision <= DECIMAL128_MAX_PRECISION {
        return Some(Decimal128(precision.max(1), scale));
    }
    (precision <= DECIMAL256_MAX_PRECISION).then_some(Decimal256(precision, scale))
}

/// Digits before and after the point.
fn digits(kind: &DataType) -> Option<(i16, i16)> {
    match kind {
        Int8 | UInt8 => Some((3, 0)),
        Int16 | UInt16 => Some((5, 0)),
        Int32 | UInt32 => Some((10, 0)),
        Int64 => Some((19, 0)),
        UInt64 => Some((20, 0)),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
        | Decimal256(precision, scale) => {
            Some((i16::from(*precision) - i16::from(*scale), i16::from(*scale)))
        }
        _ => None,
    }
}

fn integers(a: &DataType, b: &DataType) -> Option<DataType> {
    let bits = |kind: &DataType| kind.primitive_width().map(|bytes| bytes * 8);
    let widest = bits(a)?.max(bits(b)?);
    if a.is_unsigned_integer() && b.is_unsigned_integer() {
        return Some(if bits(a)? == widest { a.clone() } else { b.clone() });
    }
    // A sign takes a bit that unsigned numbers need.
    let needed = |kind: &DataType| Some(bits(kind)? + usize::from(kind.is_unsigned_integer()));
    Some(match needed(a)?.max(needed(b)?) {
        0..=8 => Int8,
        9..=16 => Int16,
        17..=32 => Int32,
        33..=64 => Int64,
        _ => Decimal128(20, 0),
    })
}

fn floats(a: &DataType, b: &DataType) -> Option<DataType> {
    let small = |kind: &DataType| matches!(kind, Int8 | UInt8 | Float16);
    let middle = |kind: &DataType| small(kind) || matches!(kind, Int16 | UInt16 | Float32);
    let large = |kind: &DataType| middle(kind) || matches!(kind, Int32 | UInt32 | Float64);
    match (a, b) {
        _ if small(a) && small(b) => Some(Float16),
        _ if middle(a) && middle(b) => Some(Float32),
        _ if large(a) && large(b) => Some(Float64),
        _ => None,
    }
}

fn moments(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        (Timestamp(left, zone), Timestamp(right, other)) => {
            let zone = match zone == other {
                true => zone.clone(),
                // A moment without a zone is one of UTC, as `cast(x as timestamptz)` takes it.
                false => Some(UTC.into()),
            };
            Some(Timestamp(finer(*left, *right), zone))
        }
        (Timestamp(unit, zone), date) | (date, Timestamp(unit, zone)) if is_date(date) => {
            let zone = zone.as_ref().map(|_| UTC.into());
            let unit = if *date == Date64 { finer(*unit, TimeUnit::Millisecond) } else { *unit };
            Some(Timestamp(unit, zone))
        }
        (Date32, Date64) | (Date64, Date32) => Some(Date64),
        (Time32(left) | Time64(left), Time32(right) | Time64(right)) => {
            Some(match finer(*left, *right) {
                unit @ (TimeUnit::Second | TimeUnit::Millisecond) => Time32(unit),
                unit => Time64(unit),
            })
        }
        (Duration(left), Duration(right)) => Some(Duration(finer(*left, *right))),
        _ => None,
    }
}

fn is_date(kind: &DataType) -> bool {
    matches!(kind, Date32 | Date64)
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    let rank = |unit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

fn bytes(a: &DataType, b: &DataType) -> Option<DataType> {
    let text = |kind: &DataType| matches!(kind, Utf8 | LargeUtf8 | Utf8View);
    let binary =
        |kind: &DataType| matches!(kind, Binary | LargeBinary | BinaryView | FixedSizeBinary(_));
    let view = |kind: &DataType| matches!(kind, Utf8View | BinaryView);
    let large = |kind: &DataType| matches!(kind, LargeUtf8 | LargeBinary);
    match (text(a), text(b)) {
        (true, true) if view(a) || view(b) => Some(Utf8View),
        (true, true) => Some(LargeUtf8),
        // Every text is also bytes.
        _ if (text(a) || binary(a)) && (text(b) || binary(b)) => Some(if view(a) || view(b) {
            BinaryView
        } else if large(a) || large(b) {
            LargeBinary
        } else {
            Binary
        }),
        _ => None,
    }
}

fn lists(a: &DataType, b: &DataType) -> Option<DataType> {
    let of = |kind: &DataType| match kind {
        List(item) | ListView(item) | FixedSizeList(item, _) => Some((Arc::clone(item), false)),
        LargeList(item) | LargeListView(item) => Some((Arc::clone(item), true)),
        _ => None,
    };
    let ((left, left_large), (right, right_large)) = (of(a)?, of(b)?);
    let item = item(&left, &right, left.name())?;
    Some(if left_large || right_large { LargeList(item) } else { List(item) })
}

/// The entries of maps: keys and values by their places, whatever a file calls them.
fn entries(left: &FieldRef, right: &FieldRef) -> Option<FieldRef> {
    let (Struct(pairs), Struct(others)) = (left.data_type(), right.data_type()) else {
        return None;
    };
    let ([key, value], [other_key, other_value]) = (pairs.as_ref(), others.as_ref()) else {
        return None;
    };
    let pair = [item(key, other_key, key.name())?, item(value, other_value, value.name())?];
    Some(Arc::new(left.as_ref().clone().with_data_type(Struct(pair.to_vec().into()))))
}

fn item(left: &FieldRef, right: &FieldRef, name: &str) -> Option<FieldRef> {
    let kind = exactly(left.data_type(), right.data_type())?;
    let nullable = left.is_nullable() || right.is_nullable();
    Some(Arc::new(
        left.as_ref().clone().with_name(name).with_data_type(kind).with_nullable(nullable),
    ))
}

/// The fields of both records, by name.
fn fields(left: &Fields, right: &Fields) -> Option<Fields> {
    let of = |fields: &Fields, name: &str| fields.iter().find(|f| f.name() == name).cloned();
    let mut all: Vec<FieldRef> = Vec::with_capacity(left.len().max(right.len()));
    let absent = |field: &Field| Arc::new(field.clone().with_nullable(true));
    for field in left {
        all.push(match of(right, field.name()) {
            Some(other) => item(field, &other, field.name())?,
            None => absent(field),
        });
    }
    all.extend(right.iter().filter(|f| of(left, f.name()).is_none()).map(|f| absent(f)));
    Some(all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_numbers() {
        for (a, b, wide) in [
            (Int8, UInt8, Some(Int16)),
            (UInt8, UInt32, Some(UInt32)),
            (Int16, UInt32, Some(Int64)),
            (Int64, UInt64, Some(Decimal128(20, 0))),
            (Int16, Float32, Some(Float32)),
            (Int32, Float32, Some(Float64)),
            (UInt64, Float32, Some(Float64)),
            (Decimal128(10, 2), Decimal128(12, 4), Some(Decimal128(12, 4))),
            (Decimal128(22, 2), Decimal128(9, 4), Some(Decimal128(24, 4))),
            (Decimal128(38, 0), Decimal128(38, 10), Some(Decimal256(48, 10))),
            (Decimal256(76, 0), Decimal128(10, 2), None),
            (Int64, Decimal128(5, 2), Some(Decimal128(21, 2))),
            (Decimal128(5, 2), Float64, Some(Float64)),
            (Int64, Utf8, None),
            (DataType::Boolean, Int8, None),
        ] {
            assert_eq!(wider(&a, &b), wide, "{a} and {b}");
            assert_eq!(wider(&b, &a), wide, "{b} and {a}");
        }
    }

    #[test]
    fn of_moments() {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        let zoned = |unit, zone: &str| Timestamp(unit, Some(zone.into()));
        for (a, b, wide) in [
            (
                Timestamp(Millisecond, None),
                Timestamp(Nanosecond, None),
                Timestamp(Nanosecond, None),
            ),
            (zoned(Second, "Asia/Tokyo"), zoned(Second, "Asia/Tokyo"), zoned(Second, "Asia/Tokyo")),
            (zoned(Second, "Asia/Tokyo"), zoned(Millisecond, "UTC"), zoned(Millisecond, "UTC")),
            (Timestamp(Microsecond, None), zoned(Second, "Asia/Tokyo"), zoned(Microsecond, "UTC")),
            (Date32, Timestamp(Second, None), Timestamp(Second, None)),
            (Date32, Date64, Date64),
            (Time32(Second), Time64(Nanosecond), Time64(Nanosecond)),
        ] {
            assert_eq!(wider(&a, &b), Some(wide.clone()), "{a} and {b}");
            assert_eq!(wider(&b, &a), Some(wide), "{b} and {a}");
        }
        assert_eq!(wider(&Date32, &Int32), None);
    }

    #[test]
    fn of_nested() {
        let list = |kind: DataType, nullable| List(Arc::new(Field::new("item", kind, nullable)));
        assert_eq!(wider(&list(Int8, false), &list(Int32, true)), Some(list(Int32, true)));
        let record =
            |name: &str, kind: DataType| Struct(vec![Field::new(name, kind, false)].into());
        let both: Fields = vec![Field::new("x", Int8, true), Field::new("y", Utf8, true)].into();
        assert_eq!(wider(&record("x", Int8), &record("y", Utf8)), Some(Struct(both)));
        let dictionary = Dictionary(Box::new(Int32), Box::new(Utf8));
        assert_eq!(wider(&dictionary, &Utf8View), Some(Utf8View));
        assert_eq!(wider(&list(Int64, false), &list(Float64, false)), None);
    }
}
