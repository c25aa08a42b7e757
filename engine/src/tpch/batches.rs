//! The record batches of a part of a table, one at a time.
//!
//! [`Scan`](super::Scan) and [`generate`](super::generate()) read these. A batch is made when it
//! is asked for, so that a reader that stops early has paid only for what it took.

use std::sync::{Arc, LazyLock};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
    error::ArrowError,
};
use tpchgen::{
    distribution::Distributions,
    generators::{
        CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator,
        PartSuppGenerator, RegionGenerator, SupplierGenerator,
    },
    text::TextPool,
};

use super::{
    columns::{Column, Row},
    part::Part,
    table::TableName,
};

/// Batches of a part of a table.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// Which rows of which table, which of their columns, and how many rows to a batch.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) table: TableName,
    pub(super) scale: f64,
    pub(super) part: Part,
    /// Of the columns chosen.
    pub(super) schema: SchemaRef,
    /// The columns chosen, by position in the table.
    pub(super) columns: Vec<usize>,
    pub(super) batch_rows: usize,
}

impl Selection {
    /// Is a comment among the columns? Only then is the large pool of text needed. Comments are
    /// the last column of every table.
    pub(super) fn has_comment(&self) -> bool {
        self.columns.contains(&(self.table.schema().fields().len() - 1))
    }

    /// The batches. The first batch with a comment in it makes the pool of text, if the process
    /// has none yet: a second of work, which the caller may do before with [`prepare_text`].
    pub(super) fn batches(self) -> Batches {
        let keys = self.part.key_count(self.table, self.scale);
        if keys == 0 {
            return Box::new(std::iter::empty());
        }
        if self.columns.is_empty() {
            return self.counts();
        }
        let text = if self.has_comment() { TextPool::get_or_init_default() } else { &SMALL_TEXT };
        let names = Distributions::static_default();
        let scale = self.scale;
        let (part, count) = self.part.numbers();
        match self.table {
            TableName::Nation => {
                self.read(NationGenerator::new_with_distributions_and_text_pool(names, text))
            }
            TableName::Region => {
                self.read(RegionGenerator::new_with_distributions_and_text_pool(names, text))
            }
            TableName::Part => self.read(PartGenerator::new_with_distributions_and_text_pool(
                scale, part, count, names, text,
            )),
            TableName::Supplier => {
                self.read(SupplierGenerator::new_with_distributions_and_text_pool(
                    scale, part, count, names, text,
                ))
            }
            TableName::PartSupp => {
                self.read(PartSuppGenerator::new_with_text_pool(scale, part, count, text))
            }
            TableName::Customer => {
                self.read(CustomerGenerator::new_with_distributions_and_text_pool(
                    scale, part, count, names, text,
                ))
            }
            TableName::Orders => self.read(OrderGenerator::new_with_distributions_and_text_pool(
                scale, part, count, names, text,
            )),
            TableName::LineItem => {
                self.read(LineItemGenerator::new_with_distributions_and_text_pool(
                    scale, part, count, names, text,
                ))
            }
        }
    }

    fn read<G>(self, generator: G) -> Batches
    where
        G: IntoIterator<Item: Row, IntoIter: Send + 'static>,
    {
        let columns = self.columns.iter().map(|&column| G::Item::COLUMNS[column]).collect();
        let rows = generator.into_iter();
        Box::new(Read { rows, columns, schema: self.schema, batch_rows: self.batch_rows })
    }

    /// Batches without columns, for when only the number of rows counts: no row is made.
    fn counts(self) -> Batches {
        let mut left = self.row_count();
        Box::new(std::iter::from_fn(move || {
            let rows = left.min(self.batch_rows);
            left -= rows;
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            (rows > 0).then(|| {
                RecordBatch::try_new_with_options(Arc::clone(&self.schema), vec![], &options)
            })
        }))
    }

    /// The exact number of rows. For lines it rolls the dice that say how many lines an order has,
    /// and no others.
    fn row_count(&self) -> usize {
        let keys = self.part.key_count(self.table, self.scale);
        if self.table != TableName::LineItem {
            return keys * self.table.rows_per_key();
        }
        let mut line_count = OrderGenerator::create_line_count_random();
        let first = self.part.first_key(self.table, self.scale);
        line_count.advance_rows(i64::try_from(first).unwrap_or(i64::MAX));
        let lines = (0..keys).map(|_| {
            let lines = line_count.next_value();
            line_count.row_finished();
            usize::try_from(lines).unwrap_or(0)
        });
        lines.sum()
    }
}

/// Makes the pool of text that comments are cut from: 300 MB, once in a process, in about a second.
pub(super) fn prepare_text() {
    TextPool::get_or_init_default();
}

/// What comments are cut from if they are not read: the generator's other columns do
/// not depend on it.
static SMALL_TEXT: LazyLock<TextPool> =
    LazyLock::new(|| TextPool::new(SMALL_TEXT_BYTES, Distributions::static_default()));

/// More than the longest comment, which is 199 bytes.
const SMALL_TEXT_BYTES: i32 = 16 * 1024;

/// Rows taken from a generator, a batch at a time.
struct Read<I: Iterator> {
    rows: I,
    columns: Vec<Column<I::Item>>,
    schema: SchemaRef,
    batch_rows: usize,
}

impl<I: Iterator> Iterator for Read<I> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows: Vec<_> = self.rows.by_ref().take(self.batch_rows).collect();
        if rows.is_empty() {
            return None;
        }
        let columns = self.columns.iter().map(|column| column(&rows)).collect();
        Some(RecordBatch::try_new(Arc::clone(&self.schema), columns))
    }
}
