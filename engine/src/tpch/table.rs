//! The eight tables of TPC-H: names, schemas and sizes. Every other file here builds on it.

use std::fmt;

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result, stats::Precision};
use tpchgen::generators::{
    CustomerGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow,
    SupplierArrow,
};

/// The smallest scale factor: 10 suppliers. Below it the generator's supplier formula, which
/// divides by a quarter of the suppliers, no longer has rows to choose from.
pub const SCALE_MIN: f64 = 0.001;

/// The largest scale factor: the largest that the specification names.
pub const SCALE_MAX: f64 = 100_000.0;

/// A table of TPC-H.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableName {
    /// The 25 nations.
    Nation,
    /// The 5 regions.
    Region,
    /// The parts on sale.
    Part,
    /// The suppliers of parts.
    Supplier,
    /// Which supplier has which part: 4 rows a part.
    PartSupp,
    /// The customers.
    Customer,
    /// The orders of customers.
    Orders,
    /// The lines of orders: 1 to 7 an order.
    LineItem,
}

impl TableName {
    /// All eight, the small ones first.
    pub const ALL: [Self; 8] = [
        Self::Nation,
        Self::Region,
        Self::Part,
        Self::Supplier,
        Self::PartSupp,
        Self::Customer,
        Self::Orders,
        Self::LineItem,
    ];

    /// The name in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nation => "nation",
            Self::Region => "region",
            Self::Part => "part",
            Self::Supplier => "supplier",
            Self::PartSupp => "partsupp",
            Self::Customer => "customer",
            Self::Orders => "orders",
            Self::LineItem => "lineitem",
        }
    }

    /// The columns: decimals are `Decimal128(15, 2)`, strings are views.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Nation => NationArrow::schema_ref(),
            Self::Region => RegionArrow::schema_ref(),
            Self::Part => PartArrow::schema_ref(),
            Self::Supplier => SupplierArrow::schema_ref(),
            Self::PartSupp => PartSuppArrow::schema_ref(),
            Self::Customer => CustomerArrow::schema_ref(),
            Self::Orders => OrderArrow::schema_ref(),
            Self::LineItem => LineItemArrow::schema_ref(),
        }
    }

    /// How many rows the table has: exact but for `lineitem`, whose number of rows is known only
    /// to who has rolled the dice of every order.
    pub(super) fn row_count(self, scale: f64) -> Precision<usize> {
        let keys = self.key_count(scale);
        match self {
            Self::PartSupp => Precision::Exact(keys * SUPPLIERS_PER_PART),
            Self::LineItem => Precision::Inexact(keys * LINES_PER_ORDER_AVERAGE),
            _ => Precision::Exact(keys),
        }
    }

    /// How many keys the table's generator counts through: parts for `partsupp`, orders for
    /// `lineitem`, rows for the others. A part of a table is a range of these.
    pub(super) fn key_count(self, scale: f64) -> usize {
        let keys = match self {
            Self::Nation => 25,
            Self::Region => 5,
            Self::Part => PartGenerator::calculate_row_count(scale, 1, 1),
            Self::Supplier => SupplierGenerator::calculate_row_count(scale, 1, 1),
            Self::PartSupp => PartSuppGenerator::calculate_row_count(scale, 1, 1),
            Self::Customer => CustomerGenerator::calculate_row_count(scale, 1, 1),
            Self::Orders | Self::LineItem => OrderGenerator::calculate_row_count(scale, 1, 1),
        };
        usize::try_from(keys).unwrap_or(0)
    }

    /// How many rows one key makes, on average.
    pub(super) fn rows_per_key(self) -> usize {
        match self {
            Self::PartSupp => SUPPLIERS_PER_PART,
            Self::LineItem => LINES_PER_ORDER_AVERAGE,
            _ => 1,
        }
    }

    /// The approximate size of a row in memory, to compare scans by.
    pub(super) fn row_bytes(self) -> usize {
        match self {
            Self::Nation | Self::Region => 150,
            Self::Part => 180,
            Self::Supplier => 200,
            Self::PartSupp => 190,
            Self::Customer => 230,
            Self::Orders => 170,
            Self::LineItem => 220,
        }
    }
}

/// Each part has this many suppliers.
pub(super) const SUPPLIERS_PER_PART: usize = 4;

/// An order has 1 to 7 lines.
const LINES_PER_ORDER_AVERAGE: usize = 4;

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Refuses a scale factor that is not a number or out of range.
pub fn check_scale(scale: f64) -> Result<()> {
    if (SCALE_MIN..=SCALE_MAX).contains(&scale) {
        return Ok(());
    }
    let range = format!("between {SCALE_MIN} and {SCALE_MAX}");
    let message = format!("the scale factor must be {range}, and is {scale}");
    Err(DataFusionError::Configuration(message))
}
