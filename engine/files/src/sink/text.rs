//! The sinks of text that `COPY` and `INSERT` write to: DataFusion's, with rows written by us.
//!
//! DataFusion 55.2: rows of CSV have null and the empty text alike (see [`Delimited`]), and rows of
//! JSON lack the keys that are null: a column that is null in the first rows, or in all, is missing
//! when the file is read. NaN and infinities, which JSON does not have, become null there; here
//! they are texts, as in PostgreSQL, which our reader takes for numbers beside numbers.

use std::fmt;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{Array, ArrowPrimitiveType, AsArray};
use datafusion::arrow::datatypes::{
    DataType, FieldRef, Float16Type, Float32Type, Float64Type, SchemaRef,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder,
};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::file_format::csv::CsvSink;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::file_format::json::JsonSink;
use datafusion::datasource::file_format::write::BatchSerializer;
use datafusion::datasource::file_format::write::demux::DemuxedStreamReceiver;
use datafusion::datasource::file_format::write::orchestration::spawn_writer_tasks_and_join;
use datafusion::datasource::physical_plan::{FileSink, FileSinkConfig};
use datafusion::datasource::sink::{DataSink, DataSinkExec};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use object_store::ObjectStore;

use super::delimited::Delimited;

/// Rows of JSON, a line each, with the keys that are null.
#[derive(Debug)]
pub(super) struct JsonLines;

impl JsonLines {
    /// Appends rows.
    pub(super) fn rows(batch: &RecordBatch, out: &mut Vec<u8>) -> Result<()> {
        let mut rows = json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .with_encoder_factory(Arc::new(Floats))
            .build::<_, json::writer::LineDelimited>(out);
        rows.write(batch)?;
        Ok(rows.finish()?)
    }
}

impl BatchSerializer for JsonLines {
    fn serialize(&self, batch: RecordBatch, _initial: bool) -> Result<Bytes> {
        let mut out = Vec::with_capacity(4096);
        Self::rows(&batch, &mut out)?;
        Ok(out.into())
    }
}

/// Encoders of floating-point numbers that write what is not a number as text.
#[derive(Debug)]
struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
        let kinds = match array.data_type() {
            DataType::Float16 => kinds::<Float16Type>(array),
            DataType::Float32 => kinds::<Float32Type>(array),
            DataType::Float64 => kinds::<Float64Type>(array),
            _ => return Ok(None),
        };
        if kinds.iter().all(Option::is_none) {
            return Ok(None);
        }
        let numbers = make_encoder(field, array, &PLAIN)?;
        let nulls = array.nulls().cloned();
        Ok(Some(NullableEncoder::new(Box::new(NoNumbers { numbers, kinds }), nulls)))
    }
}

/// What to write for each value that is not a number.
fn kinds<T: ArrowPrimitiveType>(array: &dyn Array) -> Vec<Option<&'static str>>
where
    T::Native: Into<f64>,
{
    let of = |value: &T::Native| match (*value).into() {
        value if value.is_nan() => Some("\"NaN\""),
        f64::INFINITY => Some("\"Infinity\""),
        f64::NEG_INFINITY => Some("\"-Infinity\""),
        _ => None,
    };
    array.as_primitive::<T>().values().iter().map(of).collect()
}

struct NoNumbers<'a> {
    numbers: NullableEncoder<'a>,
    kinds: Vec<Option<&'static str>>,
}

impl Encoder for NoNumbers<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        match self.kinds[at] {
            Some(text) => out.extend_from_slice(text.as_bytes()),
            None => self.numbers.encode(at, out),
        }
    }
}

/// A sink of DataFusion's whose rows are written by `rows`.
struct TextSink<S> {
    original: S,
    rows: Arc<dyn BatchSerializer>,
    compression: FileCompressionType,
    level: Option<u32>,
}

impl<S: DisplayAs> fmt::Debug for TextSink<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_as(DisplayFormatType::Default, f)
    }
}

impl<S: DisplayAs> DisplayAs for TextSink<S> {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.original.fmt_as(kind, f)
    }
}

#[async_trait]
impl<S: FileSink> FileSink for TextSink<S> {
    fn config(&self) -> &FileSinkConfig {
        self.original.config()
    }

    async fn spawn_writer_tasks_and_join(
        &self,
        context: &Arc<TaskContext>,
        demux_task: SpawnedTask<Result<()>>,
        file_stream_rx: DemuxedStreamReceiver,
        object_store: Arc<dyn ObjectStore>,
    ) -> Result<u64> {
        spawn_writer_tasks_and_join(
            context,
            Arc::clone(&self.rows),
            self.compression,
            self.level,
            object_store,
            demux_task,
            file_stream_rx,
        )
        .await
    }
}

#[async_trait]
impl<S: FileSink> DataSink for TextSink<S> {
    fn schema(&self) -> &SchemaRef {
        self.original.schema()
    }

    async fn write_all(
        &self,
        data: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> Result<u64> {
        FileSink::write_all(self, data, context).await
    }
}

/// The rule that puts our sinks in the place of DataFusion's.
#[derive(Debug)]
pub struct WriteText;

impl PhysicalOptimizerRule for WriteText {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let Some(writes) = node.downcast_ref::<DataSinkExec>() else {
                return Ok(Transformed::no(node));
            };
            let Some(sink) = text_sink(writes.sink()) else { return Ok(Transformed::no(node)) };
            let input = Arc::clone(writes.input());
            let plan = DataSinkExec::new(input, sink, writes.sort_order().clone());
            Ok(Transformed::yes(Arc::new(plan) as Arc<dyn ExecutionPlan>))
        });
        changed.map(|changed| changed.data)
    }

    fn name(&self) -> &'static str {
        "write_text"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn text_sink(sink: &dyn DataSink) -> Option<Arc<dyn DataSink>> {
    if let Some(csv) = sink.downcast_ref::<CsvSink>() {
        let options = csv.writer_options();
        return Some(Arc::new(TextSink {
            original: CsvSink::new(csv.config().clone(), options.clone()),
            rows: Arc::new(Delimited::new(options.writer_options.clone())),
            compression: options.compression.into(),
            level: options.compression_level,
        }));
    }
    let json = sink.downcast_ref::<JsonSink>()?;
    let options = json.writer_options();
    Some(Arc::new(TextSink {
        original: JsonSink::new(json.config().clone(), options.clone()),
        rows: Arc::new(JsonLines),
        compression: options.compression.into(),
        level: options.compression_level,
    }))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array, ListArray};

    use super::*;

    #[test]
    fn what_is_not_a_number_is_text() {
        let values = [Some(f64::NAN), Some(1.5), None, Some(f64::NEG_INFINITY)];
        let x: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let lists = values.map(|value| Some(vec![value, Some(f64::INFINITY)]));
        let l: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
        let batch = RecordBatch::try_from_iter([("x", x), ("l", l)]).unwrap();
        let mut out = Vec::new();
        JsonLines::rows(&batch, &mut out).unwrap();
        let expected = r#"{"x":"NaN","l":["NaN","Infinity"]}
{"x":1.5,"l":[1.5,"Infinity"]}
{"x":null,"l":[null,"Infinity"]}
{"x":"-Infinity","l":["-Infinity","Infinity"]}
"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
