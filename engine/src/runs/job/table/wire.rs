//! Encodes a [`RunScan`], for the engine's codec. Driver and worker are one program, so the
//! encoding has no versions.

use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err, not_impl_err};
use serde::{Deserialize, Serialize};

use crate::base::wire::{decode, encode, number};
use crate::runs::job::table::pieces::{Piece, Share};
use crate::runs::job::table::scan::{Reading, RunScan};
use crate::runs::task::ShardReader;
use crate::shard::{schema_from_bytes, schema_to_bytes};

#[derive(Serialize, Deserialize)]
struct Wire {
    title: String,
    schema: Vec<u8>,
    columns: Vec<u32>,
    limit: Option<u64>,
    partitions: Vec<Vec<Piece>>,
}

impl RunScan {
    /// Appends this scan to `buffer`.
    ///
    /// # Errors
    /// When only the driver can read it.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) -> Result<()> {
        let Reading::Stored { share, .. } = &self.reading else {
            return not_impl_err!(
                "a run whose shards were not located can only be read by the driver"
            );
        };
        let schema = schema_to_bytes(&self.rows).map_err(|e| internal_datafusion_err!("{e}"))?;
        let columns = self.columns.iter().map(|n| number(*n, "columns"));
        let wire = Wire {
            title: self.title.to_string(),
            schema,
            columns: columns.collect::<crate::error::Result<_>>()?,
            limit: self.limit.map(|limit| limit as u64),
            partitions: share.partitions.clone(),
        };
        buffer.extend(encode(&wire)?);
        Ok(())
    }

    /// Decodes a scan. `reader` reads the shards, in a process that runs the scan.
    pub(crate) fn decode(bytes: &[u8], reader: Option<&Arc<ShardReader>>) -> Result<Self> {
        let Wire { title, schema, columns, limit, partitions } = decode(bytes)?;
        let schema = schema_from_bytes(&schema).map_err(|e| internal_datafusion_err!("{e}"))?;
        let columns = columns.into_iter().map(|n| n as usize).collect();
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let share = Share { home: None, partitions };
        let reading = Reading::Stored { share, whole: None, reader: reader.cloned(), held: None };
        Self::new(title.into(), &schema, columns, limit, reading)
    }
}
