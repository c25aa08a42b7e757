//! The leaf of a plan that reads a run: from where its shards are, or through the driver, which
//! computes what is not there. Made by [`RunTable`](super::RunTable).

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::DisplayFormatType;
use futures::{StreamExt, TryStreamExt};

use crate::base::task_error::TaskError;
use crate::leaf_plan::{LeafPlan, LeafSource, Rows};
use crate::runs::job::job::Job;
use crate::runs::job::reading::open_shard;
use crate::runs::job::table::pieces::{Piece, Share, dealt};
use crate::runs::task::{ShardReader, ShardTicket};

/// A scan of a run, or of a part of it.
pub(crate) type RunScan = LeafPlan<RunSource>;

/// What a [`RunScan`] reads.
#[derive(Debug, Clone)]
pub(crate) struct RunSource {
    /// What the run is called.
    pub(super) title: Arc<str>,
    /// Of whole rows.
    pub(super) rows: SchemaRef,
    /// The columns that are read, by their numbers.
    pub(super) columns: Arc<[usize]>,
    /// No partition need give more rows than this. The plan has the limit itself above.
    pub(super) limit: Option<usize>,
    pub(super) reading: Reading,
}

/// How the rows are read.
#[derive(Debug, Clone)]
pub(super) enum Reading {
    /// By the driver alone, a partition for each shard.
    ByDriver { job: Arc<Job>, generation: Arc<OnceLock<u64>> },
    /// From where they are.
    Stored {
        share: Share,
        /// All shards of the run, if this is a scan of all of it.
        whole: Option<Arc<[Piece]>>,
        /// Who reads; none in a plan that is only on its way.
        reader: Option<Arc<ShardReader>>,
        /// In the driver: for as long as the plan is there, the shards are.
        held: Option<Arc<Job>>,
    },
}

impl Reading {
    pub(super) fn by_driver(job: &Arc<Job>, generation: &Arc<OnceLock<u64>>) -> Self {
        Self::ByDriver { job: Arc::clone(job), generation: Arc::clone(generation) }
    }

    fn partitions(&self) -> usize {
        match self {
            Self::ByDriver { job, .. } => job.shards(),
            Self::Stored { share, .. } => share.partitions.len(),
        }
    }
}

impl RunScan {
    /// A scan of these columns of rows with the schema `rows`.
    pub(super) fn new(
        title: Arc<str>,
        rows: &SchemaRef,
        columns: Arc<[usize]>,
        limit: Option<usize>,
        reading: Reading,
    ) -> Result<Self> {
        let schema = Arc::new(rows.project(&columns)?);
        let (rows, partitions) = (Arc::clone(rows), reading.partitions());
        let source = RunSource { title, rows, columns, limit, reading };
        Ok(Self::scan(source, schema, partitions))
    }

    /// The bytes that it reads; none if only the driver can.
    pub(super) fn bytes(&self) -> Option<u64> {
        match &self.reading {
            Reading::ByDriver { .. } => None,
            Reading::Stored { share, .. } => {
                Some(share.partitions.iter().flatten().map(|piece| piece.bytes).sum())
            }
        }
    }

    /// The address of the machine that has most of what it reads.
    pub(super) fn home(&self) -> Option<&str> {
        match &self.reading {
            Reading::ByDriver { .. } => None,
            Reading::Stored { share, .. } => share.home.as_deref(),
        }
    }

    /// One scan for each of this number of tasks, with as many partitions as this one has. `None`
    /// if this one is not of all of a run, or cannot be read but by the driver.
    pub(super) fn split(&self, tasks: usize) -> Result<Option<Vec<Self>>> {
        let Reading::Stored { whole: Some(whole), reader, held, share } = &self.reading else {
            return Ok(None);
        };
        let shares = dealt(whole, tasks, share.partitions.len());
        let scans = shares.into_iter().map(|share| {
            let (reader, held) = (reader.clone(), held.clone());
            let reading = Reading::Stored { share, whole: None, reader, held };
            let (title, columns) = (Arc::clone(&self.title), Arc::clone(&self.columns));
            Self::new(title, &self.rows, columns, self.limit, reading)
        });
        scans.collect::<Result<_>>().map(Some)
    }
}

impl RunSource {
    /// The blocks that it reads.
    pub(super) fn blocks(&self) -> usize {
        match &self.reading {
            Reading::ByDriver { .. } => 0,
            Reading::Stored { share, .. } => {
                share.partitions.iter().flatten().map(|piece| piece.blocks.len()).sum()
            }
        }
    }
}

impl LeafSource for RunSource {
    const NAME: &'static str = "RunScan";

    fn describe(
        &self,
        schema: &Schema,
        format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        if matches!(format, DisplayFormatType::TreeRender) {
            return f.write_str(&self.title);
        }
        write!(f, "RunScan: {}", self.title)?;
        match &self.reading {
            Reading::ByDriver { job, .. } => write!(f, ", shards={}", job.shards())?,
            Reading::Stored { whole: Some(whole), .. } => write!(f, ", shards={}", whole.len())?,
            Reading::Stored { .. } => write!(f, ", blocks={}", self.blocks())?,
        }
        if let Some(rows) = self.row_count(None).get_value() {
            write!(f, ", rows={rows}")?;
        }
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", names.join(", "))?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }

    fn open(&self, partition: usize, _schema: &SchemaRef, _context: &TaskContext) -> Result<Rows> {
        match &self.reading {
            Reading::ByDriver { job, generation } => {
                let (job, generation) = (Arc::clone(job), Arc::clone(generation));
                let (rows, columns) = (Arc::clone(&self.rows), Arc::clone(&self.columns));
                let begun = async move {
                    let of = Arc::clone(&rows);
                    open_shard(job, partition, of, &generation).await.map_err(DataFusionError::from)
                };
                let read = futures::stream::once(begun).try_flatten();
                Ok(read.map(move |batch| Ok(batch?.project(&columns)?)).boxed())
            }
            Reading::Stored { reader: None, .. } => {
                internal_err!("a scan of a run is read where nobody can read it")
            }
            Reading::Stored { share, reader: Some(reader), .. } => {
                let tickets = share.partitions[partition].iter().map(|piece| {
                    let (at, blocks) = (piece.at.clone(), Some(piece.blocks.clone()));
                    ShardTicket { at, partition: 0, blocks }
                });
                let read = reader.read_tickets(tickets.collect(), &self.rows, Some(&self.columns));
                // The driver has to know which shard it is that is lost.
                Ok(read.map_err(TaskError::travelling).boxed())
            }
        }
    }

    fn limit(&self) -> Option<usize> {
        self.limit
    }

    fn row_count(&self, partition: Option<usize>) -> Precision<usize> {
        let count = |pieces: &mut dyn Iterator<Item = &Piece>| {
            usize::try_from(pieces.map(|piece| piece.rows).sum::<u64>()).unwrap_or(usize::MAX)
        };
        let Reading::Stored { share, whole, .. } = &self.reading else { return Precision::Absent };
        match (partition, whole) {
            (Some(partition), _) => match share.partitions.get(partition) {
                Some(pieces) => Precision::Inexact(count(&mut pieces.iter())),
                None => Precision::Absent,
            },
            (None, Some(whole)) => Precision::Exact(count(&mut whole.iter())),
            (None, None) => Precision::Inexact(count(&mut share.partitions.iter().flatten())),
        }
    }
}
