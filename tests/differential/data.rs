//! Random tables, as Parquet files: nulls, NaN, both zeros, extremes, duplicates, skew, empty
//! tables; one file or several, small row groups, sorted or not, with or without statistics.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, Int64Builder, ListBuilder, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::random::Random;
use crate::tree::Kind;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Column types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Int8,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal,
    Text,
    Date,
    Timestamp,
    List,
}

impl Type {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Boolean => Kind::Boolean,
            Self::Int8 | Self::Int32 | Self::Int64 => Kind::Integer,
            Self::Float32 | Self::Float64 => Kind::Float,
            Self::Decimal => Kind::Decimal,
            Self::Text => Kind::Text,
            Self::Date => Kind::Date,
            Self::Timestamp => Kind::Timestamp,
            Self::List => Kind::List,
        }
    }

    fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int8 => DataType::Int8,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal => DataType::Decimal128(12, 2),
            Self::Text => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::List => DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true))),
        }
    }
}

/// A table: its columns and rows, and their layout in files.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, Type)>,
    pub(crate) rows: RecordBatch,
    files: usize,
    group_rows: usize,
    statistics: bool,
}

const TYPES: [Type; 11] = [
    Type::Boolean,
    Type::Int8,
    Type::Int32,
    Type::Int64,
    Type::Float32,
    Type::Float64,
    Type::Decimal,
    Type::Text,
    Type::Date,
    Type::Timestamp,
    Type::List,
];

/// Tables `t0`, `t1`, ...: each has an `id` without duplicates or nulls, keys `k` and `s` shared
/// with other tables, and some more columns.
pub(crate) fn tables(random: &mut Random) -> Result<Vec<Table>, Failed> {
    (0..3).map(|n| table(random, &format!("t{n}"))).collect()
}

fn table(random: &mut Random, name: &str) -> Result<Table, Failed> {
    let rows = *random.pick(&[0, 1, 2, 5, 13, 20, 40, 80]);
    let mut columns: Vec<(String, Type)> =
        vec![("id".into(), Type::Int64), ("k".into(), Type::Int32), ("s".into(), Type::Text)];
    for n in 0..2 + random.below(4) {
        columns.push((format!("c{n}"), *random.pick(&TYPES)));
    }
    let sorted = random.chance(30);
    let mut arrays = vec![ids(rows)];
    for (_, column) in &columns[1..] {
        let nulls = *random.pick(&[0, 0, 10, 40, 100]);
        arrays.push(values(random, *column, rows, nulls)?);
    }
    let fields = columns.iter().map(|(name, of)| Field::new(name, of.arrow(), name != "id"));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut batch = RecordBatch::try_new(schema, arrays)?;
    if sorted {
        let order = arrow::compute::sort_to_indices(batch.column(1), None, None)?;
        batch = arrow::compute::take_record_batch(&batch, &order)?;
    }
    Ok(Table {
        name: name.to_owned(),
        columns,
        rows: batch,
        files: *random.pick(&[1, 1, 2, 3]),
        group_rows: *random.pick(&[3, 8, 1000]),
        statistics: random.chance(80),
    })
}

fn ids(rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values((0..rows).map(|n| n as i64)))
}

const TEXTS: [&str; 12] = [
    "",
    "a",
    "b",
    "ab",
    "A",
    "abc",
    "b%",
    "_",
    "ä",
    "zz",
    "10",
    "a rather longer text than fits in 12",
];
const FLOATS: [f64; 10] = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -3.25, 1e6, f64::NAN, f64::INFINITY];
const DAYS: [i32; 8] = [0, 1, 19_782, 19_783, 19_812, 11_016, -1, 20_089];

fn values(random: &mut Random, of: Type, rows: usize, nulls: usize) -> Result<ArrayRef, Failed> {
    // A small set of values gives duplicates, a frequent value gives skew.
    let spread = *random.pick(&[2, 4, 8, 100]);
    let mut numbers: Vec<Option<i64>> = Vec::with_capacity(rows);
    for _ in 0..rows {
        let number = if random.chance(20) { 1 } else { random.below(spread) as i64 };
        numbers.push((!random.chance(nulls)).then_some(number));
    }
    let extremes = random.chance(15);
    let each = numbers.into_iter();
    Ok(match of {
        Type::Boolean => Arc::new(BooleanArray::from_iter(each.map(|n| n.map(|n| n % 2 == 0)))),
        Type::Int8 => Arc::new(Int8Array::from_iter(
            each.map(|n| n.map(|n| i8::try_from(n - 3).unwrap_or(i8::MAX))),
        )),
        Type::Int32 => Arc::new(Int32Array::from_iter(
            each.map(|n| n.map(|n| i32::try_from(n - 1).unwrap_or(0))),
        )),
        Type::Int64 => Arc::new(Int64Array::from_iter(each.map(|n| {
            n.map(|n| match (extremes, n) {
                (true, 0) => i64::MAX,
                (true, 1) => i64::MIN,
                (_, n) => n - 2,
            })
        }))),
        #[expect(clippy::cast_possible_truncation, reason = "these values are the same in 32 bits")]
        Type::Float32 => Arc::new(Float32Array::from_iter(
            each.map(|n| n.map(|n| FLOATS[n as usize % FLOATS.len()] as f32)),
        )),
        Type::Float64 => Arc::new(Float64Array::from_iter(
            each.map(|n| n.map(|n| FLOATS[n as usize % FLOATS.len()])),
        )),
        Type::Decimal => Arc::new(
            Decimal128Array::from_iter(each.map(|n| n.map(|n| i128::from(n * 125 - 250))))
                .with_precision_and_scale(12, 2)?,
        ),
        Type::Text => Arc::new(StringArray::from_iter(
            each.map(|n| n.map(|n| TEXTS[n as usize % TEXTS.len()])),
        )),
        Type::Date => {
            Arc::new(Date32Array::from_iter(each.map(|n| n.map(|n| DAYS[n as usize % DAYS.len()]))))
        }
        Type::Timestamp => Arc::new(TimestampMicrosecondArray::from_iter(each.map(|n| {
            n.map(|n| i64::from(DAYS[n as usize % DAYS.len()]) * 86_400_000_000 + n * 3_600_000_000)
        }))),
        Type::List => {
            let mut lists = ListBuilder::new(Int64Builder::new());
            for number in each {
                let Some(n) = number else {
                    lists.append(false);
                    continue;
                };
                for item in 0..n % 4 {
                    lists.values().append_option((item != 1).then_some(n - item));
                }
                lists.append(true);
            }
            Arc::new(lists.finish())
        }
    })
}

impl Table {
    /// The same table with other rows.
    pub(crate) fn with_rows(&self, rows: RecordBatch) -> Self {
        Self { rows, ..self.clone() }
    }

    /// Writes its files into a folder named after it within `folder`.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Failed> {
        let folder = folder.join(&self.name);
        std::fs::create_dir_all(&folder)?;
        let statistics =
            if self.statistics { EnabledStatistics::Page } else { EnabledStatistics::None };
        let rows = self.rows.num_rows();
        let each = rows.div_ceil(self.files).max(1);
        for file in 0..self.files {
            let begin = (file * each).min(rows);
            let part = self.rows.slice(begin, each.min(rows - begin));
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(self.group_rows))
                .set_statistics_enabled(statistics)
                .set_bloom_filter_enabled(self.statistics)
                .build();
            let out = File::create(folder.join(format!("{file}.parquet")))?;
            let mut writer = ArrowWriter::try_new(out, self.rows.schema(), Some(properties))?;
            writer.write(&part)?;
            writer.close()?;
        }
        Ok(())
    }
}
