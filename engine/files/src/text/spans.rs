//! Where the values of rows are in a text.

/// The value is in quotes.
const QUOTED: u32 = 1 << 31;

/// The value is among those that were copied.
const COPIED: u32 = 1 << 30;

/// The position of a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// A value that a row lacks.
    pub(super) const MISSING: Self = Self { start: 0, length: 0 };

    /// A value in the text.
    pub(super) fn plain(start: usize, end: usize) -> Self {
        Self { start: place(start), length: place(end - start) }
    }

    /// A value in quotes, in the text.
    pub(super) fn quoted(start: usize, end: usize) -> Self {
        Self { start: place(start), length: place(end - start) | QUOTED }
    }

    /// A value in quotes, among the copies.
    pub(super) fn copied(start: usize, end: usize) -> Self {
        Self { start: place(start), length: place(end - start) | QUOTED | COPIED }
    }

    /// The bytes of the value in the text, or among the copies.
    pub(super) fn bytes<'a>(self, text: &'a [u8], copies: &'a [u8]) -> &'a [u8] {
        let from = if self.length & COPIED == 0 { text } else { copies };
        let start = self.start as usize;
        let length = (self.length & !(QUOTED | COPIED)) as usize;
        from.get(start..start + length).unwrap_or_default()
    }

    /// True if the value is in quotes.
    pub(super) fn is_quoted(self) -> bool {
        self.length & QUOTED != 0
    }

    /// The value in the text, or among the copies.
    pub(super) fn of<'a>(self, text: &'a str, copies: &'a str) -> &'a str {
        let from = if self.length & COPIED == 0 { text } else { copies };
        let start = self.start as usize;
        let length = (self.length & !(QUOTED | COPIED)) as usize;
        from.get(start..start + length).unwrap_or_default()
    }
}

/// Rows of a text.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The values of each column that is wanted.
    pub(super) columns: Vec<Vec<Span>>,
    /// The start of each row.
    pub(super) starts: Vec<u32>,
    /// Values without the quotes that were doubled in them.
    pub(super) copies: Vec<u8>,
}

impl Rows {
    /// No rows, with this number of columns.
    pub(super) fn new(columns: usize) -> Self {
        Self { columns: vec![Vec::new(); columns], ..Self::default() }
    }

    /// The number of rows.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.columns.iter_mut().for_each(Vec::clear);
        self.starts.clear();
        self.copies.clear();
    }
}

/// Texts are split in parts of less than 4 GiB, and values are shorter than a row may be.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
