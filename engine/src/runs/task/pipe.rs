//! The pipe of a task: from the shards that it reads, through the verbs of its stage, to the rows
//! that it stores.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::StreamExt;
use parking_lot::Mutex;

use crate::pipeline::slice::WrittenFile;
use crate::pipeline::slice::{Node, Op, Split, TaskCx};
use crate::row::Row;
use crate::runs::task::plan::{Stage, StageId};
use crate::runs::task::plan_cache::TaskSpec;
use crate::runs::task::reader::{ShardReader, with_schema};
use crate::runs::task::request::{ShardSource, TaskRequest};
use bigslice_files::Stores;
use bigslice_files::sink::{self, Opening, SinkSpec, Written};

/// Makes the streams of one task.
pub(super) struct Pipe<'a> {
    pub(super) reader: &'a Arc<ShardReader>,
    pub(super) stores: &'a Arc<Stores>,
    pub(super) request: &'a TaskRequest,
    pub(super) spec: &'a TaskSpec,
    pub(super) context: &'a Arc<TaskContext>,
    /// The files written for sinks so far.
    pub(super) written: &'a Arc<Mutex<Vec<Written>>>,
}

impl Pipe<'_> {
    /// The rows that the task stores.
    pub(super) fn rows(&self, stage: &Stage) -> Result<SendableRecordBatchStream> {
        let task = self.request.task as usize;
        match (&stage.before, &stage.node.op) {
            (Some(before), Op::Narrow { input, .. }) if before.spans() => {
                before.run(self.node(input, task)?, &self.cx(task))
            }
            (Some(before), _) => before.run(self.node(&stage.node, task)?, &self.cx(task)),
            (None, _) => self.node(&stage.node, task),
        }
    }

    fn cx(&self, shard: usize) -> TaskCx {
        TaskCx { shard, context: Arc::clone(self.context) }
    }

    /// The rows of one shard of a node.
    fn node(&self, node: &Arc<Node>, shard: usize) -> Result<SendableRecordBatchStream> {
        let cx = self.cx(shard);
        match &node.op {
            Op::Source(source) => {
                let id = self.spec.plan.source_id(node).map(|id| id as u32);
                let specs = self.request.sources.iter();
                let mut found = specs.filter(|(of, s, _)| Some(*of) == id && *s as usize == shard);
                match found.next() {
                    Some((_, _, ShardSource::Open(spec))) => source.open(spec, &cx),
                    Some((_, _, ShardSource::Stored(at))) => {
                        Ok(self.reader.read(vec![at.clone()], 0, &node.schema))
                    }
                    None => {
                        Err(internal_datafusion_err!("no way to open shard {shard} of a source"))
                    }
                }
            }
            Op::Narrow { input, work } => work.run(self.node(input, shard)?, &cx),
            Op::Sink { input, spec } => self.sink(node, input, spec, shard),
            Op::Union(inputs) => {
                let mut shard = shard;
                for input in inputs {
                    let shards = self.spec.plan.shards(input, &self.spec.source_shards);
                    if shard < shards {
                        return self.node(input, shard);
                    }
                    shard -= shards;
                }
                Err(internal_datafusion_err!("a union has no shard {shard}"))
            }
            Op::Wide { work, .. } => {
                let exchanges = self.spec.plan.exchanges(node).iter();
                let inputs = exchanges.map(|stage| self.exchange(*stage, shard));
                work.run(inputs.collect::<Result<_>>()?, &cx)
            }
        }
    }

    /// One row, about the file that a shard of a sink is written to.
    fn sink(
        &self,
        node: &Arc<Node>,
        input: &Arc<Node>,
        spec: &Arc<SinkSpec>,
        shard: usize,
    ) -> Result<SendableRecordBatchStream> {
        let id = self.spec.plan.sink_id(node).map(|id| id as u32);
        let mut opened = self.request.sinks.iter();
        let opened = opened.find(|o| Some(o.sink) == id && o.shard as usize == shard).cloned();
        let opened = opened.ok_or_else(|| internal_datafusion_err!("a sink was not opened"))?;
        if let Opening::Written { rows, bytes } = opened.opening {
            let row = written_row(&node.schema, opened.path, rows, bytes);
            return Ok(with_schema(&node.schema, futures::stream::iter([row])));
        }
        let (spec, rows) = (Arc::clone(spec), self.node(input, shard)?);
        let (stores, context) = (Arc::clone(self.stores), Arc::clone(self.context));
        let (all, schema) = (Arc::clone(self.written), Arc::clone(&node.schema));
        let row = async move {
            let path = opened.path.clone();
            let written = sink::write(&spec, opened, rows, &stores, &context).await?;
            let row = written_row(&schema, path, written.rows, written.bytes);
            all.lock().push(written);
            row
        };
        Ok(with_schema(&node.schema, futures::stream::once(row)))
    }

    /// Writes the files of sinks that no verb above has read: a sink writes all of its files.
    pub(super) async fn finish_sinks(&self) -> Result<()> {
        for opened in &self.request.sinks {
            let id = (opened.sink, opened.shard);
            let is_written = self.written.lock().iter().any(|w| (w.sink, w.shard) == id);
            if is_written || matches!(opened.opening, Opening::Written { .. }) {
                continue;
            }
            let node = self.spec.plan.sink(opened.sink);
            let node = node.ok_or_else(|| internal_datafusion_err!("an unknown sink"))?;
            let mut rows = self.node(node, opened.shard as usize)?;
            while rows.next().await.transpose()?.is_some() {}
        }
        Ok(())
    }

    /// The rows that a stage has stored for one shard of the next stage.
    fn exchange(&self, id: StageId, shard: usize) -> Result<SendableRecordBatchStream> {
        let stage = &self.spec.plan.stages[id.0];
        let mut inputs = self.spec.inputs.stages.iter();
        let stored = inputs.find(|(of, _)| *of as usize == id.0);
        let Some((_, stored)) = stored else {
            return Err(internal_datafusion_err!("a task without the shards of stage {}", id.0));
        };
        Ok(match stage.split {
            Split::Keep => {
                // A shard beyond those of the input is empty.
                let own = stored.get(shard).cloned();
                self.reader.read(own.into_iter().collect(), 0, &stage.schema)
            }
            Split::One => self.reader.read(stored.clone(), 0, &stage.schema),
            Split::ByHash(_) | Split::By(_) => {
                self.reader.read(stored.clone(), shard, &stage.schema)
            }
        })
    }
}

/// The row about a file.
fn written_row(schema: &SchemaRef, path: String, rows: u64, bytes: u64) -> Result<RecordBatch> {
    let mut builder = WrittenFile::builder(1);
    WrittenFile::append(&mut builder, WrittenFile { path, rows, bytes }.view());
    Ok(RecordBatch::try_new(Arc::clone(schema), WrittenFile::finish(&mut builder))?)
}
