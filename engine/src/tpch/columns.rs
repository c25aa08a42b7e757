//! Generated rows to Arrow arrays, one function for each column of each table.
//!
//! [`batches`](super::batches) calls only the functions of the columns that a scan asks for: what
//! a query does not read is never built. The order is that of the table's schema.

use std::{fmt, fmt::Write, sync::Arc};

use arrow::{
    array::{
        ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, StringViewArray,
        StringViewBuilder,
    },
    datatypes::DataType,
};
use tpchgen::{
    dates::TPCHDate,
    decimal::TPCHDecimal,
    generators::{Customer, LineItem, Nation, Order, Part, PartSupp, Region, Supplier},
};

/// Builds one column of some rows.
pub(super) type Column<R> = fn(&[R]) -> ArrayRef;

/// A row of a table, and how to build each of its columns.
pub(super) trait Row: Sized + Send + 'static {
    /// In the order of the schema.
    const COLUMNS: &'static [Column<Self>];
}

impl Row for Nation<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.n_nationkey),
        |rows| text(rows, |r| r.n_name),
        |rows| int64(rows, |r| r.n_regionkey),
        |rows| text(rows, |r| r.n_comment),
    ];
}

impl Row for Region<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.r_regionkey),
        |rows| text(rows, |r| r.r_name),
        |rows| text(rows, |r| r.r_comment),
    ];
}

impl Row for Part<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.p_partkey),
        |rows| shown(rows, |r| &r.p_name),
        |rows| shown(rows, |r| &r.p_mfgr),
        |rows| shown(rows, |r| &r.p_brand),
        |rows| text(rows, |r| r.p_type),
        |rows| int32(rows, |r| r.p_size),
        |rows| text(rows, |r| r.p_container),
        |rows| decimal(rows, |r| r.p_retailprice),
        |rows| text(rows, |r| r.p_comment),
    ];
}

impl Row for Supplier {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.s_suppkey),
        |rows| shown(rows, |r| &r.s_name),
        |rows| shown(rows, |r| &r.s_address),
        |rows| int64(rows, |r| r.s_nationkey),
        |rows| shown(rows, |r| &r.s_phone),
        |rows| decimal(rows, |r| r.s_acctbal),
        |rows| text(rows, |r| &r.s_comment),
    ];
}

impl Row for PartSupp<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.ps_partkey),
        |rows| int64(rows, |r| r.ps_suppkey),
        |rows| int32(rows, |r| r.ps_availqty),
        |rows| decimal(rows, |r| r.ps_supplycost),
        |rows| text(rows, |r| r.ps_comment),
    ];
}

impl Row for Customer<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.c_custkey),
        |rows| shown(rows, |r| &r.c_name),
        |rows| shown(rows, |r| &r.c_address),
        |rows| int64(rows, |r| r.c_nationkey),
        |rows| shown(rows, |r| &r.c_phone),
        |rows| decimal(rows, |r| r.c_acctbal),
        |rows| text(rows, |r| r.c_mktsegment),
        |rows| text(rows, |r| r.c_comment),
    ];
}

impl Row for Order<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.o_orderkey),
        |rows| int64(rows, |r| r.o_custkey),
        |rows| text(rows, |r| r.o_orderstatus.as_str()),
        |rows| decimal(rows, |r| r.o_totalprice),
        |rows| date(rows, |r| r.o_orderdate),
        |rows| text(rows, |r| r.o_orderpriority),
        |rows| shown(rows, |r| &r.o_clerk),
        |rows| int32(rows, |r| r.o_shippriority),
        |rows| text(rows, |r| r.o_comment),
    ];
}

impl Row for LineItem<'static> {
    const COLUMNS: &'static [Column<Self>] = &[
        |rows| int64(rows, |r| r.l_orderkey),
        |rows| int64(rows, |r| r.l_partkey),
        |rows| int64(rows, |r| r.l_suppkey),
        |rows| int32(rows, |r| r.l_linenumber),
        |rows| decimal(rows, |r| TPCHDecimal(r.l_quantity * 100)),
        |rows| decimal(rows, |r| r.l_extendedprice),
        |rows| decimal(rows, |r| r.l_discount),
        |rows| decimal(rows, |r| r.l_tax),
        |rows| text(rows, |r| r.l_returnflag),
        |rows| text(rows, |r| r.l_linestatus),
        |rows| date(rows, |r| r.l_shipdate),
        |rows| date(rows, |r| r.l_commitdate),
        |rows| date(rows, |r| r.l_receiptdate),
        |rows| text(rows, |r| r.l_shipinstruct),
        |rows| text(rows, |r| r.l_shipmode),
        |rows| text(rows, |r| r.l_comment),
    ];
}

fn int64<R>(rows: &[R], value: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
}

fn int32<R>(rows: &[R], value: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(value)))
}

fn date<R>(rows: &[R], value: impl Fn(&R) -> TPCHDate) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| value(row).to_unix_epoch())))
}

fn decimal<R>(rows: &[R], value: impl Fn(&R) -> TPCHDecimal) -> ArrayRef {
    let cents = rows.iter().map(|row| i128::from(value(row).0));
    let array = Decimal128Array::from_iter_values(cents);
    Arc::new(array.with_data_type(DataType::Decimal128(15, 2)))
}

fn text<R>(rows: &[R], value: impl for<'a> Fn(&'a R) -> &'a str) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(rows.iter().map(value)))
}

/// A column whose values the generator only knows how to print.
fn shown<R, V: fmt::Display>(rows: &[R], value: impl for<'a> Fn(&'a R) -> &'a V) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(rows.len());
    let mut buffer = String::new();
    for row in rows {
        buffer.clear();
        write!(buffer, "{}", value(row)).expect("writing to a string cannot fail");
        builder.append_value(&buffer);
    }
    Arc::new(builder.finish())
}
