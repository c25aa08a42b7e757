//! A [`Scan`] as bytes, for the engine's codec: fixed-width little-endian numbers, in the order of
//! the fields. Driver and worker are one binary, so that there is no version to tell apart.

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};

use super::{part::PARTS_MAX, scan::Scan, table::TableName};

impl Scan {
    /// Appends this scan to `buffer`.
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let table = TableName::ALL.iter().position(|&table| table == self.table);
        put(buffer, table.unwrap_or(usize::MAX));
        buffer.extend(self.scale.to_le_bytes());
        put(buffer, self.part_count as usize);
        put(buffer, self.parts.len());
        self.parts.iter().for_each(|&part| put(buffer, part as usize));
        put(buffer, self.columns.len());
        self.columns.iter().for_each(|&column| put(buffer, column));
        // No limit is the largest one.
        put(buffer, self.limit.unwrap_or(usize::MAX));
    }

    /// Reads what [`Scan::encode`] wrote.
    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self> {
        let bytes = &mut bytes;
        let table = TableName::ALL.get(take(bytes)?).copied().ok_or_else(malformed)?;
        let scale = f64::from_le_bytes(take_bytes(bytes)?);
        let part_count = u32::try_from(take(bytes)?).map_err(|_| malformed())?;
        let parts = take_list(bytes, PARTS_MAX as usize)?
            .into_iter()
            .map(|part| u32::try_from(part).map_err(|_| malformed()))
            .collect::<Result<_>>()?;
        let columns = take_list(bytes, table.schema().fields().len())?;
        let limit = Some(take(bytes)?).filter(|&limit| limit != usize::MAX);
        if !bytes.is_empty() {
            return Err(malformed());
        }
        Self::of_parts(table, scale, parts, part_count, columns, limit)
    }
}

fn put(buffer: &mut Vec<u8>, number: usize) {
    buffer.extend((number as u64).to_le_bytes());
}

fn take(bytes: &mut &[u8]) -> Result<usize> {
    usize::try_from(u64::from_le_bytes(take_bytes(bytes)?)).map_err(|_| malformed())
}

fn take_bytes(bytes: &mut &[u8]) -> Result<[u8; 8]> {
    let (head, tail) = bytes.split_first_chunk().ok_or_else(malformed)?;
    *bytes = tail;
    Ok(*head)
}

fn take_list(bytes: &mut &[u8], length_max: usize) -> Result<Vec<usize>> {
    let length = take(bytes)?;
    if length > length_max {
        return Err(malformed());
    }
    (0..length).map(|_| take(bytes)).collect()
}

fn malformed() -> DataFusionError {
    internal_datafusion_err!("malformed scan of a table of TPC-H")
}
