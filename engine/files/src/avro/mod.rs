//! Avro files, checked block by block, and with types that SQL has.
//!
//! arrow-avro 59.3 ends without a word where a file does: rows of a last block that is cut off were
//! lost, and it does not look at the marks between blocks. It reads unions as Arrow's unions, of
//! which filters and casts lose rows, and does not find types by the name of a namespace that they
//! are in by their place, as Java writes them.
//!
//! `blocks` gives its reader only blocks that are whole, `names` a schema that it understands, and
//! `unions` makes columns of what it reads.

use std::fmt;
use std::io::{BufReader, Cursor, Read};
use std::sync::Arc;

use arrow_avro::reader::{Reader, ReaderBuilder};
use bytes::Buf;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    AvroSource, FileOpenFuture, FileOpener, FileScanConfig, FileSource,
};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr_adapter::{BatchAdapter, BatchAdapterFactory};
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::proto::ExecutionPlanEncodeCtx;
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{FutureExt, StreamExt};
use object_store::{GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::adapt::{Adapters, columns_of};
use blocks::{Blocks, Head};

mod blocks;
mod names;
mod unions;

/// The default number of rows of a batch.
const BATCH_ROWS: usize = 8192;

/// The size of the first read of a file for its schema.
const HEAD_BYTES: u64 = 1 << 20;

/// The maximum size of that read.
const HEAD_BYTES_MAX: u64 = 64 << 20;

/// A source of Avro files that reads them as this module does.
pub(super) struct AvroFiles {
    inner: AvroSource,
    batch_rows: usize,
}

impl AvroFiles {
    /// Files of the same table.
    pub(super) fn new(inner: AvroSource) -> Self {
        Self { inner, batch_rows: BATCH_ROWS }
    }
}

impl FileSource for AvroFiles {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        _scan: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let table = self.inner.table_schema();
        let split = match self.inner.projection() {
            Some(projection) => SplitProjection::new(table.file_schema(), projection),
            None => SplitProjection::unprojected(table),
        };
        let wanted = Arc::new(table.file_schema().project(&split.file_indices)?);
        let whole = Arc::clone(table.file_schema());
        let files = Arc::new(Files { store, wanted, table: whole, batch_rows: self.batch_rows });
        ProjectionOpener::try_new(split, files, table.file_schema())
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self { inner: self.inner.clone(), batch_rows })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(kind, f)
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(visit)
    }

    fn try_to_proto(
        &self,
        scan: &FileScanConfig,
        context: &ExecutionPlanEncodeCtx<'_>,
    ) -> Result<Option<PhysicalPlanNode>> {
        self.inner.try_to_proto(scan, context)
    }
}

/// Opens Avro files.
struct Files {
    store: Arc<dyn ObjectStore>,
    /// The columns that come out.
    wanted: SchemaRef,
    /// All columns of the table's files.
    table: SchemaRef,
    batch_rows: usize,
}

impl FileOpener for Files {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let store = Arc::clone(&self.store);
        let (wanted, table) = (Arc::clone(&self.wanted), Arc::clone(&self.table));
        let batch_rows = self.batch_rows;
        Ok(async move {
            let found = store.get(&file.object_meta.location).await?;
            let content: Box<dyn Read + Send> = match found.payload {
                GetResultPayload::File(file, _) => Box::new(BufReader::new(file)),
                GetResultPayload::Stream(_) => Box::new(found.bytes().await?.reader()),
            };
            let batches = Batches::open(content, &table, &wanted, batch_rows)?;
            Ok(futures::stream::iter(batches).boxed())
        }
        .boxed())
    }
}

type Content = std::io::Chain<Cursor<Vec<u8>>, Blocks<Box<dyn Read + Send>>>;

/// The rows of a file.
struct Batches {
    reader: Reader<Content>,
    /// The file's columns that are read, as SQL has them.
    there: SchemaRef,
    /// Those of them that are wanted, by their places.
    places: Vec<usize>,
    adapter: BatchAdapter,
}

impl Batches {
    fn open(
        mut content: Box<dyn Read + Send>,
        table: &SchemaRef,
        wanted: &SchemaRef,
        batch_rows: usize,
    ) -> Result<Self> {
        let head = Head::read(&mut content).map_err(of_io)?;
        let of_file = columns(&head)?;
        let named = columns_of(&of_file, table);
        let mut read: Vec<usize> = Vec::with_capacity(wanted.fields().len());
        let mut fields = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let place = table.index_of(field.name()).ok().and_then(|at| named[at]);
            if let Some(place) = place {
                read.push(place);
                fields.push(of_file.field(place).clone().with_name(field.name()));
            }
        }
        let (bytes, refers) = head.bytes().map_err(damaged)?;
        let mut places: Vec<usize> = (0..read.len()).collect();
        if refers {
            // A column may be of a type that another one defines.
            places = std::mem::replace(&mut read, (0..of_file.fields().len()).collect());
        } else if read.is_empty() {
            // Rows of no column are counted by one.
            read.extend((!of_file.fields().is_empty()).then_some(0));
        }
        let there = Arc::new(of_file.project(&read)?);
        let content = Read::chain(Cursor::new(bytes), Blocks::new(content, head.sync));
        let mut builder = ReaderBuilder::new().with_batch_size(batch_rows.max(1));
        if !read.iter().copied().eq(0..of_file.fields().len()) {
            builder = builder.with_projection(read);
        }
        let reader = builder.build(content).map_err(of_decoder)?;
        let factory = BatchAdapterFactory::new(Arc::clone(wanted));
        let factory = factory.with_adapter_factory(Arc::new(Adapters));
        let adapter = factory.make_adapter(&Arc::new(Schema::new(fields)))?;
        Ok(Self { reader, there, places, adapter })
    }

    fn batch(&self, read: &RecordBatch) -> Result<RecordBatch> {
        let batch = unions::batch(read, &self.there).map_err(of_decoder)?;
        self.adapter.adapt_batch(&batch.project(&self.places)?)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.reader.next()? {
            Ok(read) => self.batch(&read),
            Err(error) => Err(of_decoder(error)),
        })
    }
}

/// The columns of a file by its first bytes.
pub(super) async fn avro_schema(
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    let mut length = HEAD_BYTES;
    loop {
        let head = store.get_range(&file.location, 0..length.min(file.size)).await?;
        match Head::read(&mut head.reader()) {
            Ok(head) => return columns(&head),
            Err(_) if length < file.size.min(HEAD_BYTES_MAX) => length = HEAD_BYTES_MAX,
            Err(error) => return Err(of_io(error)),
        }
    }
}

/// The columns of a file, as SQL has them.
fn columns(head: &Head) -> Result<SchemaRef> {
    let (bytes, _) = head.bytes().map_err(damaged)?;
    let reader = ReaderBuilder::new().build(Cursor::new(bytes)).map_err(of_decoder)?;
    Ok(Arc::new(unions::schema(&reader.schema()).map_err(damaged)?))
}

/// An error of reading bytes: of the place where they are, or of what they say.
fn of_io(error: std::io::Error) -> DataFusionError {
    match error.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
            damaged(error.to_string())
        }
        _ => DataFusionError::IoError(error),
    }
}

/// An error of the decoder, as one about the bytes of a file whatever kind it is of.
fn of_decoder(error: ArrowError) -> DataFusionError {
    match error {
        ArrowError::ExternalError(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => of_io(*error),
            Err(other) => damaged(other.to_string()),
        },
        ArrowError::ComputeError(message) => damaged(message),
        other => damaged(other.to_string()),
    }
}

fn damaged(message: impl Into<String>) -> DataFusionError {
    DataFusionError::from(ArrowError::AvroError(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of one column of longs, in blocks of one row.
    fn file(rows: &[u8]) -> Vec<u8> {
        let schema =
            r#"{"type":"record","name":"row","fields":[{"name":"a","type":"long"}]}"#.to_owned();
        let head = Head { schema, codec: None, sync: [7; 16] };
        let (mut bytes, _) = head.bytes().unwrap();
        for row in rows {
            bytes.extend([2, 2, row * 2]);
            bytes.extend([7; 16]);
        }
        bytes
    }

    #[test]
    fn checked_blocks_are_still_needed() {
        let whole = file(&[1, 2, 3]);
        let rows = |bytes: &[u8]| {
            let reader = ReaderBuilder::new().build(Cursor::new(bytes.to_vec())).unwrap();
            reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>()
        };
        assert_eq!(rows(&whole), 3);
        assert_eq!(
            rows(&whole[..whole.len() - 1]),
            2,
            "arrow-avro sees files that are cut off now"
        );
        let schema: SchemaRef =
            Arc::new(Schema::new(vec![datafusion::arrow::datatypes::Field::new(
                "a",
                datafusion::arrow::datatypes::DataType::Int64,
                true,
            )]));
        let checked = |bytes: &[u8]| {
            let content: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
            let batches = Batches::open(content, &schema, &schema, 100)?;
            let rows = batches.map(|batch| batch.map(|batch| batch.num_rows()));
            rows.sum::<Result<usize>>()
        };
        assert_eq!(checked(&whole).unwrap(), 3);
        for end in 1..whole.len() {
            let row = (whole.len() - end).is_multiple_of(19) && whole.len() - end <= 57;
            assert_eq!(checked(&whole[..end]).is_ok(), row, "{end} bytes");
        }
        let mut wrong = whole.clone();
        *wrong.last_mut().unwrap() = 8;
        assert!(checked(&wrong).unwrap_err().to_string().contains("mark"));
        let mut longer = whole;
        longer.extend(*b"garbage");
        assert!(checked(&longer).is_err());
    }
}
