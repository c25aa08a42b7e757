//! Row selection by a closure: a bit per row of a batch, which readers of the batch apply.

use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::panic::Location;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use crate::pipeline::slice::UserCode;
use crate::pipeline::slice::tree::chosen::Chosen;
use crate::pipeline::slice::tree::node::Select;
use crate::pipeline::slice::tree::typed;
use crate::row::Row;

/// The rows of a chunk: the number of bits of a word.
const CHUNK: usize = 64;

/// Selects rows by a closure, among those selected before.
pub(crate) struct Filter<T, F> {
    pub(crate) before: Option<Arc<dyn Select>>,
    pub(crate) f: F,
    pub(crate) verb: &'static str,
    pub(crate) place: &'static Location<'static>,
    pub(crate) kind: PhantomData<fn() -> T>,
}

impl<T, F> Select for Filter<T, F>
where
    T: Row,
    F: for<'a> Fn(T::View<'a>, &UserCode) -> Result<bool> + Send + Sync,
{
    fn select(&self, batch: &RecordBatch, shard: usize) -> Result<Chosen> {
        let code = UserCode { verb: self.verb, place: self.place, shard };
        let columns = typed::columns::<T>(batch, &code)?;
        let before = self.before.as_ref().map(|select| select.select(batch, shard)).transpose()?;
        let mut failed = None;
        let keep = |view: T::View<'_>| {
            (self.f)(view, &code).unwrap_or_else(|error| {
                failed.get_or_insert(error);
                false
            })
        };
        let rows = batch.num_rows();
        let chosen = code.call(|| {
            Ok(match before {
                None => among_all::<T>(&columns, rows, keep),
                Some(before) => among_some::<T>(&columns, before, keep),
            })
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(chosen),
        }
    }
}

/// The rows for which `keep` is true, among the first `rows`.
///
/// Asserts for each chunk that the columns have all of its rows, so that reading them needs no
/// bounds check; a closure that compares numbers is then vectorized.
fn among_all<T: Row>(
    columns: &T::Columns,
    rows: usize,
    mut keep: impl FnMut(T::View<'_>) -> bool,
) -> Chosen {
    let mut words = Vec::with_capacity(rows.div_ceil(CHUNK));
    for chunk in 0..rows / CHUNK {
        let (begin, end) = (chunk * CHUNK, chunk * CHUNK + CHUNK);
        assert!(begin < end && T::has_rows(columns, end), "a row past the end of its batch");
        let mut kept = [false; CHUNK];
        for row in begin..end {
            kept[row % CHUNK] = keep(T::get(columns, row));
        }
        words.push(word(kept));
    }
    if !rows.is_multiple_of(CHUNK) {
        let mut kept = [false; CHUNK];
        for row in rows - rows % CHUNK..rows {
            kept[row % CHUNK] = keep(T::get(columns, row));
        }
        words.push(word(kept));
    }
    Chosen { words, rows }
}

/// The rows for which `keep` is true, among those selected before.
fn among_some<T: Row>(
    columns: &T::Columns,
    mut chosen: Chosen,
    mut keep: impl FnMut(T::View<'_>) -> bool,
) -> Chosen {
    for (chunk, word) in chosen.words.iter_mut().enumerate() {
        let mut left = *word;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            if !keep(T::get(columns, chunk * CHUNK + bit.trailing_zeros() as usize)) {
                *word ^= bit;
            }
        }
    }
    chosen
}

/// A bit for each of `kept`.
#[inline]
fn word(kept: [bool; CHUNK]) -> u64 {
    let (bytes, _) = kept.as_chunks::<8>();
    let bits = bytes.iter().map(|&byte| {
        // The factor moves bit 8n, the only one of byte n, to bit 56 + n.
        let byte = u64::from_le_bytes(byte.map(u8::from));
        (byte.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
    });
    let mut word = [0; 8];
    word.iter_mut().zip(bits).for_each(|(to, bits)| *to = bits);
    u64::from_le_bytes(word)
}

/// Why reading stops.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The output is full and has to be passed on first.
    Full,
    /// A closure failed. Boxed, so that the success case fits into a register.
    Failed(Box<DataFusionError>),
}

impl Stop {
    /// Continues unless `enough`.
    #[inline]
    pub(crate) fn when(enough: bool) -> ControlFlow<Self> {
        if enough { ControlFlow::Break(Self::Full) } else { ControlFlow::Continue(()) }
    }

    #[cold]
    pub(crate) fn failed(error: DataFusionError) -> ControlFlow<Self> {
        ControlFlow::Break(Self::Failed(Box::new(error)))
    }
}

/// Passes the selected `rows`, or all, to `each`. If it stops, returns the row and the reason.
pub(crate) fn visit<T: Row>(
    columns: &T::Columns,
    chosen: Option<&Chosen>,
    rows: Range<usize>,
    mut each: impl FnMut(T::View<'_>) -> ControlFlow<Stop>,
) -> Option<(usize, Stop)> {
    let Range { start, end } = rows;
    let mut before = !0 << (start % CHUNK);
    for chunk in start / CHUNK..end.div_ceil(CHUNK) {
        // One loop for both cases: with two calls of `each`, it would not be inlined.
        let mut left = chosen.map_or(!0, |chosen| chosen.words[chunk]) & before;
        before = !0;
        let beyond = end - chunk * CHUNK;
        if beyond < CHUNK {
            left &= !(!0 << beyond);
        }
        while left != 0 {
            let row = chunk * CHUNK + left.trailing_zeros() as usize;
            left &= left - 1;
            if let ControlFlow::Break(stop) = each(T::get(columns, row)) {
                return Some((row, stop));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::buffer::ScalarBuffer;

    use super::*;

    fn numbers(rows: usize) -> ScalarBuffer<i64> {
        (0..rows as i64).collect::<Vec<_>>().into()
    }

    #[test]
    fn every_row_is_asked_for_once_and_found_by_arrow() {
        for rows in [0, 1, 63, 64, 65, 128, 1000] {
            let column = numbers(rows);
            let mut asked = Vec::new();
            let chosen = among_all::<i64>(&column, rows, |n| {
                asked.push(n);
                n % 3 == 0
            });
            assert!(asked.into_iter().eq(0..rows as i64), "{rows} rows");
            let chosen = among_some::<i64>(&column, chosen, |n| n % 2 == 0);
            let mask = chosen.into_mask();
            assert!(mask.values().iter().eq((0..rows).map(|n| n % 6 == 0)), "{rows} rows");
        }
    }

    #[test]
    fn rows_are_visited_in_order_wherever_one_stops() {
        let column = numbers(200);
        let odd = among_all::<i64>(&column, 200, |n| n % 2 == 1);
        for (chosen, step) in [(None, 1), (Some(&odd), 2)] {
            for end in [0, 1, 64, 65, 199, 200] {
                let (mut next, mut seen) = (0, Vec::new());
                while next < end {
                    let stopped = visit::<i64>(&column, chosen, next..end, |n| {
                        seen.push(n);
                        Stop::when(n % 7 == 0)
                    });
                    next = stopped.map_or(end, |(row, _)| row + 1);
                }
                let all = (0..end as i64).filter(|n| step == 1 || n % 2 == 1);
                assert!(seen.into_iter().eq(all), "to {end}");
            }
        }
    }
}
