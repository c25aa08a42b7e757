//! The columns of a row among those of a table: found by their names, and cast to the types of the row
//! where nothing can be lost by it. [`files`](super::files) and [`provider`](super::provider) read tables.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, cast};

use crate::error::{Error, Result};
use crate::pipeline::slice::streams;

/// Of a table that is called `name`, the columns of `row`.
pub(super) fn columns_of(row: &SchemaRef, name: &str, table: DataFrame) -> Result<DataFrame> {
    let found = table.schema();
    let mut columns = Vec::new();
    for field in row.fields() {
        let column_name = field.name();
        let Ok(there) = found.field_with_unqualified_name(column_name) else {
            let names = found.fields().iter().map(|f| f.name().as_str());
            return Err(Error::Query {
                message: format!("{name} has no column \"{column_name}\""),
                hint: bigslice_files::did_you_mean(column_name, names),
            });
        };
        let column = Expr::Column(Column::from_name(column_name));
        let (from, to) = (there.data_type(), field.data_type());
        columns.push(if from == to {
            column
        } else if holds(to, from) {
            cast(column, to.clone()).alias(column_name)
        } else {
            return Err(Error::query(format!(
                "the column \"{column_name}\" of {name} is {from}, but the row has {to}"
            )));
        });
    }
    table.select(columns).map_err(|e| Error::of(&e, ""))
}

/// The rows of a scan with the schema of the row.
pub(super) fn rows(
    scanned: SendableRecordBatchStream,
    row: &SchemaRef,
) -> SendableRecordBatchStream {
    let made = Arc::clone(row);
    streams::each(scanned, row, move |batch| {
        Ok(RecordBatch::try_new(nullable_as_found(&made, &batch), batch.columns().to_vec())?)
    })
}

/// The row's schema, except that a column with nulls may have them: the row says better what is wrong.
fn nullable_as_found(schema: &SchemaRef, batch: &RecordBatch) -> SchemaRef {
    let has_nulls = batch.columns().iter().any(|column| column.null_count() > 0);
    if !has_nulls {
        return Arc::clone(schema);
    }
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Whether `to` holds every value of `from`, so that a cast loses nothing.
pub(in crate::pipeline::slice) fn holds(to: &DataType, from: &DataType) -> bool {
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
