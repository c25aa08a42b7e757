//! Rows of every type for the tests, from seeded random numbers.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float64Array, Int8Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeListArray, LargeStringArray, ListArray, ListViewArray,
    MapArray, NullArray, RecordBatch, RunArray, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, UnionArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Field, Fields, Int8Type, Int32Type, IntervalMonthDayNano, Schema, SchemaRef,
    UnionFields,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Pseudorandom numbers (xorshift64*).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn texts(&mut self, rows: usize) -> Vec<Option<String>> {
        (0..rows).map(|_| self.optional().map(|n| self.text(n as usize % 40))).collect()
    }

    fn optional(&mut self) -> Option<u64> {
        Some(self.next()).filter(|n| n % 5 != 0)
    }

    fn integers(&mut self, rows: usize) -> Vec<Option<i64>> {
        (0..rows).map(|_| self.optional().map(|n| n as i64)).collect()
    }

    fn nulls(&mut self, rows: usize) -> Option<NullBuffer> {
        (self.below(2) == 0).then(|| (0..rows).map(|_| self.below(4) > 0).collect())
    }

    fn offsets(&mut self, rows: usize) -> OffsetBuffer<i32> {
        OffsetBuffer::from_lengths((0..rows).map(|_| self.below(4)))
    }
}

/// The number of kinds of columns.
pub(super) const KINDS: usize = 25;

/// The kind of list views.
pub(super) const LIST_VIEW: usize = 22;

/// A column of one kind.
fn column(kind: usize, rows: usize, of: &mut Numbers) -> ArrayRef {
    match kind {
        0 => Arc::new(Int64Array::from(of.integers(rows))),
        1 => Arc::new(StringViewArray::from_iter(of.texts(rows))),
        2 => {
            Arc::new((0..rows).map(|_| of.optional().map(|n| n % 2 == 0)).collect::<BooleanArray>())
        }
        3 => Arc::new(StringArray::from(of.texts(rows))),
        4 => Arc::new(LargeStringArray::from(of.texts(rows))),
        5 => Arc::new(BinaryViewArray::from_iter(of.texts(rows))),
        6 => Arc::new((0..rows).map(|_| Some(of.text(9))).collect::<BinaryArray>()),
        7 => Arc::new(NullArray::new(rows)),
        8 => {
            let values = of.integers(rows).into_iter().map(|n| n.map(i128::from));
            Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(38, 3).unwrap())
        }
        9 => Arc::new(TimestampMicrosecondArray::from(of.integers(rows)).with_timezone("+02:00")),
        10 => {
            let values = of.integers(rows).into_iter();
            let values = values.map(|n| n.map(|n| IntervalMonthDayNano::new(1, 2, n)));
            Arc::new(values.collect::<IntervalMonthDayNanoArray>())
        }
        11 => {
            let values = (0..rows).map(|_| of.optional().map(|n| n.to_le_bytes()));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 8).unwrap())
        }
        12..=14 | 16 | LIST_VIEW => lists(kind, rows, of),
        15 => {
            let columns = vec![column(1, rows, of), column(19, rows, of), column(2, rows, of)];
            let names = ["text", "word", "flag"].into_iter().zip(&columns);
            let fields = names.map(|(name, c)| Field::new(name, c.data_type().clone(), true));
            Arc::new(StructArray::new(fields.collect(), columns, of.nulls(rows)))
        }
        17 => map(rows, of),
        18 | 23 => union(rows, kind == 18, of),
        19 => dictionary(rows, of),
        20 => {
            let values = column(1, 50, of);
            let keys = (0..rows).map(|_| of.optional().map(|n| (n % 50) as i32));
            let keys = keys.collect::<Int32Array>();
            Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
        }
        21 => {
            let ends = (1..=rows.div_ceil(3)).map(|n| (n * 3).min(rows) as i32);
            let ends = ends.collect::<Int32Array>();
            let values = column(1, ends.len(), of);
            Arc::new(RunArray::<Int32Type>::try_new(&ends, &values).unwrap())
        }
        _ => Arc::new((0..rows).map(|_| of.optional().map(|n| n as f64)).collect::<Float64Array>()),
    }
}

fn lists(kind: usize, rows: usize, of: &mut Numbers) -> ArrayRef {
    match kind {
        12 | 13 => {
            let offsets = of.offsets(rows);
            let values = column(kind - 12, offsets[rows] as usize, of);
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Arc::new(ListArray::new(item, offsets, values, of.nulls(rows)))
        }
        14 => {
            let offsets = OffsetBuffer::<i64>::from_lengths((0..rows).map(|_| of.below(3)));
            let values = column(15, offsets[rows] as usize, of);
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Arc::new(LargeListArray::new(item, offsets, values, of.nulls(rows)))
        }
        16 => {
            let values = column(1, rows * 3, of);
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            Arc::new(FixedSizeListArray::new(item, 3, values, of.nulls(rows)))
        }
        _ => {
            let values = column(1, rows + 3, of);
            let item = Arc::new(Field::new_list_field(values.data_type().clone(), true));
            let sizes: ScalarBuffer<i32> = (0..rows).map(|_| of.below(4) as i32).collect();
            let offsets = (0..rows as i32).rev().collect();
            Arc::new(ListViewArray::new(item, offsets, sizes, values, of.nulls(rows)))
        }
    }
}

fn map(rows: usize, of: &mut Numbers) -> ArrayRef {
    let offsets = of.offsets(rows);
    let n = offsets[rows] as usize;
    let keys: ArrayRef = Arc::new((0..n).map(|_| Some(of.text(3))).collect::<StringArray>());
    let values = column(5, n, of);
    let fields = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", values.data_type().clone(), true),
    ]);
    let entries = StructArray::new(fields, vec![keys, values], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    Arc::new(MapArray::new(field, offsets, entries, of.nulls(rows), false))
}

fn union(rows: usize, dense: bool, of: &mut Numbers) -> ArrayRef {
    let children = vec![column(0, rows, of), column(1, rows, of)];
    let fields = children.iter().map(|c| Field::new("f", c.data_type().clone(), true));
    let fields = UnionFields::try_new([0, 1], fields).unwrap();
    let ids = (0..rows).map(|_| of.below(2) as i8).collect::<Vec<_>>();
    let offsets = dense.then(|| (0..rows as i32).collect());
    Arc::new(UnionArray::try_new(fields, ids.into(), offsets, children).unwrap())
}

/// A dictionary with narrow keys: two such dictionaries together have more values than keys can
/// number.
fn dictionary(rows: usize, of: &mut Numbers) -> ArrayRef {
    let values: ArrayRef = Arc::new((0..100).map(|_| Some(of.text(8))).collect::<StringArray>());
    let keys = (0..rows).map(|_| of.optional().map(|n| (n % 100) as i8)).collect::<Int8Array>();
    Arc::new(DictionaryArray::<Int8Type>::new(keys, values))
}

/// A batch of columns of these kinds.
pub(super) fn batch(kinds: &[usize], rows: usize, of: &mut Numbers) -> RecordBatch {
    let columns: Vec<_> = kinds.iter().map(|kind| column(*kind, rows, of)).collect();
    RecordBatch::try_new(schema_of(&columns), columns).unwrap()
}

/// Batches of columns of these kinds, most of them slices, some of them empty.
pub(super) fn batches(kinds: &[usize], n: usize, of: &mut Numbers) -> Vec<RecordBatch> {
    let mut slice = || {
        let rows = [1, 7, 100, 2000][of.below(4)];
        let batch = batch(kinds, rows, of);
        let start = of.below(rows);
        batch.slice(start, of.below(rows - start + 1))
    };
    (0..n).map(|_| slice()).collect()
}

fn schema_of(columns: &[ArrayRef]) -> SchemaRef {
    let fields = columns.iter().enumerate();
    let fields = fields.map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Each row as text, independent of how its values are stored.
pub(super) fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("null");
    let formatters = batch.columns().iter();
    let formatters: Vec<_> =
        formatters.map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    let text = |row| formatters.iter().map(|f| f.value(row).to_string()).collect::<Vec<_>>();
    (0..batch.num_rows()).map(|row| text(row).join("|")).collect()
}

/// The rows of `partition` by `ids`, as text.
pub(super) fn of_partition(batch: &RecordBatch, ids: &[u32], partition: u32) -> Vec<String> {
    let rows = (0..ids.len()).filter(|row| ids[*row] == partition);
    let all = texts(batch);
    rows.map(|row| all[row].clone()).collect()
}
