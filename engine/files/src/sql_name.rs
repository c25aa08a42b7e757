//! The names of types as SQL writes them, for messages, headers of tables and `.schema`.

use arrow::datatypes::{DataType, TimeUnit};

/// The SQL name of an Arrow type.
pub fn sql_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "utinyint",
        DataType::UInt16 => "usmallint",
        DataType::UInt32 => "uinteger",
        DataType::UInt64 => "ubigint",
        DataType::Float16 => "half",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "blob",
        DataType::FixedSizeBinary(size) => return format!("blob({size})"),
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(unit, zone) => return timestamp(*unit, zone.as_deref()),
        DataType::Duration(_) => "duration",
        DataType::Interval(_) => "interval",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            return format!("decimal({precision},{scale})");
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => return format!("{}[]", sql_name(item.data_type())),
        DataType::FixedSizeList(item, size) => {
            return format!("{}[{size}]", sql_name(item.data_type()));
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|field| format!("{} {}", field.name(), sql_name(field.data_type())))
                .collect();
            return format!("struct({})", fields.join(", "));
        }
        DataType::Map(entries, _) => {
            if let DataType::Struct(fields) = entries.data_type()
                && let [key, value] = fields.as_ref()
            {
                return format!(
                    "map({}, {})",
                    sql_name(key.data_type()),
                    sql_name(value.data_type())
                );
            }
            "map"
        }
        DataType::Union(..) => "union",
        DataType::Dictionary(_, value) => return sql_name(value),
        DataType::RunEndEncoded(_, value) => return sql_name(value.data_type()),
    };
    name.to_owned()
}

/// Microseconds and nanoseconds are the defaults of most engines; coarser ones are named.
fn timestamp(unit: TimeUnit, zone: Option<&str>) -> String {
    let unit = match unit {
        TimeUnit::Second => "_s",
        TimeUnit::Millisecond => "_ms",
        TimeUnit::Microsecond | TimeUnit::Nanosecond => "",
    };
    match zone {
        None => format!("timestamp{unit}"),
        Some(_) => format!("timestamptz{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn nested_types_are_spelt_out() {
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let list = DataType::List(item);
        assert_eq!(sql_name(&list), "bigint[]");
        let fields = vec![Field::new("a", DataType::Utf8, true), Field::new("b", list, true)];
        assert_eq!(sql_name(&DataType::Struct(fields.into())), "struct(a varchar, b bigint[])");
        assert_eq!(sql_name(&DataType::Decimal128(15, 2)), "decimal(15,2)");
        let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        assert_eq!(sql_name(&zoned), "timestamptz_ms");
    }
}
