//! Cuts text into its lines, chunk by chunk.

use memchr::memchr;

/// Takes the chunks of a text one after the other and gives the lines that begin before `end`.
pub(super) struct Cutter {
    /// What is here of a line whose end is not.
    begun: Vec<u8>,
    /// Where the next line begins.
    at: u64,
    /// Where the lines of another begin.
    end: u64,
    /// Whether the first line began before.
    skips: bool,
    bytes_max: usize,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// Where it begins.
    pub(super) at: u64,
}

impl Cutter {
    /// Lines that begin in `begin..end`; what it is given first must be the byte before `begin`, if
    /// there is one. Lines have at most `bytes_max` bytes, their ends not counted.
    pub(super) fn new(begin: u64, end: u64, bytes_max: usize) -> Self {
        let at = begin.saturating_sub(1);
        Self { begun: Vec::new(), at, end, skips: begin > 0, bytes_max }
    }

    /// Whether the lines of this are complete.
    pub(super) fn is_done(&self) -> bool {
        self.at >= self.end
    }

    /// Takes the next chunk. Lines come without `\n` or `\r\n`, with the place that they begin at.
    pub(super) fn take<E: From<TooLong>>(
        &mut self,
        chunk: &[u8],
        mut give: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        if self.skips {
            let skipped = memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
            self.skips = rest[..skipped].last() != Some(&b'\n');
            self.at += skipped as u64;
            rest = &rest[skipped..];
        }
        while !self.is_done() && !self.skips {
            let Some(n) = memchr(b'\n', rest) else {
                self.begun.extend_from_slice(rest);
                // One more, in case that it ends in \r\n.
                return self.check(self.begun.len().saturating_sub(1)).map_err(E::from);
            };
            let line = if self.begun.is_empty() {
                &rest[..n]
            } else {
                self.begun.extend_from_slice(&rest[..n]);
                &self.begun
            };
            let text = line.strip_suffix(b"\r").unwrap_or(line);
            self.check(text.len())?;
            give(self.at, text)?;
            self.at += line.len() as u64 + 1;
            self.begun.clear();
            rest = &rest[n + 1..];
        }
        Ok(())
    }

    /// The text is over: its last line may have no end.
    pub(super) fn finish<E: From<TooLong>>(
        &mut self,
        mut give: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.begun.is_empty() || self.is_done() {
            return Ok(());
        }
        self.check(self.begun.len())?;
        give(self.at, &self.begun)
    }

    fn check(&self, bytes: usize) -> Result<(), TooLong> {
        if bytes > self.bytes_max { Err(TooLong { at: self.at }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lines of each part of a text that is cut at these places and arrives in such chunks.
    fn lines(
        text: &[u8],
        cuts: &[u64],
        chunk: usize,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, TooLong> {
        let size = text.len() as u64;
        let mut places: Vec<u64> = cuts.iter().map(|cut| cut % (size + 1)).collect();
        places.extend([0, size]);
        places.sort_unstable();
        let mut found = Vec::new();
        for part in places.windows(2) {
            let mut cutter = Cutter::new(part[0], part[1], bytes_max);
            let mut give = |at, line: &[u8]| {
                found.push((at, line.to_vec()));
                Ok(())
            };
            let first = part[0].saturating_sub(1) as usize;
            for chunk in text[first..].chunks(chunk) {
                cutter.take(chunk, &mut give)?;
            }
            cutter.finish(give)?;
        }
        Ok(found)
    }

    #[test]
    fn a_line_may_be_as_long_as_it_may_be() {
        let eight = |end: &str| format!("a\n12345678{end}").into_bytes();
        for text in ["", "\n", "\r\n", "\r\n9"].map(eight) {
            for chunk in 1..12 {
                assert_eq!(lines(&text, &[], chunk, 8).unwrap()[1].1, b"12345678");
            }
        }
        for text in ["9", "9\n", "9\r\n", "\r", "\r\r\n"].map(eight) {
            for chunk in 1..12 {
                assert_eq!(lines(&text, &[5], chunk, 8), Err(TooLong { at: 2 }));
            }
        }
    }

    proptest! {
        #[test]
        fn every_line_comes_once(
            text in "([ab\r]{0,4}\n?){0,9}",
            cuts in proptest::collection::vec(any::<u64>(), 0..6),
            chunk in 1..20usize,
        ) {
            let mut at = 0;
            let mut right = Vec::new();
            for line in text.split_inclusive('\n') {
                let ended = line.strip_suffix('\n');
                let text = ended.map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
                right.push((at, text.as_bytes().to_vec()));
                at += line.len() as u64;
            }
            prop_assert_eq!(lines(text.as_bytes(), &cuts, chunk, 64).unwrap(), right);
        }
    }
}
