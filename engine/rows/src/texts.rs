//! The builder of strings and bytes. A row made of another often has its strings as they are: then
//! their views are gathered, which takes a quarter of the time that it takes to copy them.

use std::fmt;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericByteViewArray, GenericByteViewBuilder, MAX_INLINE_VIEW_LEN,
    UInt32Array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
use arrow::datatypes::ByteViewType;

use super::nulls::Nulls;

/// The bytes of a view before those of a short text.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Builder of strings or bytes.
///
/// Short texts lie within the views of their array, so that where a text lies tells which row it is
/// of. As long as all are short texts of one of the arrays that were [lent](Self::lend), only the
/// numbers of their rows are kept. The first that is not makes copies of all.
pub struct Texts<T: ByteViewType> {
    /// Where texts may be from: nothing once one was from elsewhere.
    lent: Vec<GenericByteViewArray<T>>,
    /// The one of them that texts are from, once there is a text.
    source: Option<GenericByteViewArray<T>>,
    /// Its views, and where the text in the first of them lies.
    views: ScalarBuffer<u128>,
    first: usize,
    rows: Vec<u32>,
    nulls: Nulls,
    copied: GenericByteViewBuilder<T>,
}

impl<T: ByteViewType> Texts<T> {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            lent: Vec::new(),
            source: None,
            views: Vec::new().into(),
            first: 0,
            rows: Vec::new(),
            nulls: Nulls::default(),
            copied: GenericByteViewBuilder::with_capacity(capacity),
        }
    }

    /// Says that texts are likely to be from one of `arrays`. The builder must be empty.
    pub(super) fn lend(&mut self, arrays: &[ArrayRef]) {
        let texts = arrays.iter().filter_map(|array| array.as_byte_view_opt::<T>());
        self.lent = texts.filter(|texts| u32::try_from(texts.len()).is_ok()).cloned().collect();
        self.close();
    }

    #[inline]
    pub(super) fn push(&mut self, text: &T::Native) {
        if self.lent.is_empty() {
            self.copied.append_value(text);
        } else if let Some(row) = row_of(&self.views, self.first, text.as_ref()) {
            self.rows.push(row);
        } else {
            self.push_other(text);
        }
    }

    /// Adds the first text, or one that is not where those before are from.
    #[cold]
    fn push_other(&mut self, text: &T::Native) {
        if self.source.is_some() || !self.open(text.as_ref()) {
            self.copy();
            self.copied.append_value(text);
        }
    }

    pub(super) fn push_null(&mut self) {
        if self.lent.is_empty() {
            self.copied.append_null();
        } else {
            self.nulls.push(self.rows.len());
            self.rows.push(0);
        }
    }

    /// The array of what was added; what was lent stays so.
    pub(super) fn finish(&mut self) -> GenericByteViewArray<T> {
        let Some(source) = &self.source else {
            self.copy();
            return self.copied.finish();
        };
        let next = Vec::with_capacity(self.rows.len());
        let rows = std::mem::replace(&mut self.rows, next);
        let nulls = self.nulls.finish(rows.len());
        let rows = UInt32Array::new(rows.into(), nulls);
        let gathered = take(source, &rows, None).expect("rows of this array");
        // Without the long texts that the array has besides.
        gathered.as_byte_view::<T>().gc()
    }

    /// Looks for the array that the first text is from.
    fn open(&mut self, text: &[u8]) -> bool {
        for lent in &self.lent {
            let first = lent.views().as_ptr().addr() + LENGTH_BYTES;
            if let Some(row) = row_of(lent.views(), first, text) {
                (self.views, self.first) = (lent.views().clone(), first);
                self.rows.reserve(lent.len());
                self.rows.push(row);
                self.source = Some(lent.clone());
                return true;
            }
        }
        false
    }

    /// Forgets where texts are from.
    fn close(&mut self) {
        self.source = None;
        self.views = Vec::new().into();
    }

    /// Copies the texts whose rows were kept, and keeps none from now on.
    fn copy(&mut self) {
        let nulls = self.nulls.finish(self.rows.len());
        for (i, row) in self.rows.drain(..).enumerate() {
            match &self.source {
                Some(source) if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(i)) => {
                    self.copied.append_value(source.value(row as usize));
                }
                _ => self.copied.append_null(),
            }
        }
        self.lent.clear();
        self.close();
    }
}

impl<T: ByteViewType> fmt::Debug for Texts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lent, rows, copied, .. } = self;
        f.debug_struct("Texts")
            .field("lent", &lent.len())
            .field("rows", rows)
            .field("copied", copied)
            .finish_non_exhaustive()
    }
}

/// The row whose view `text` lies in, if it is all of the text in one of `views`; that in the first
/// lies at the address `first`.
#[inline(always)]
fn row_of(views: &[u128], first: usize, text: &[u8]) -> Option<u32> {
    let distance = text.as_ptr().addr().wrapping_sub(first);
    let row = distance / size_of::<u128>();
    let view = views.get(row)?;
    let whole = distance.is_multiple_of(size_of::<u128>())
        && *view as u32 <= MAX_INLINE_VIEW_LEN
        && *view as u32 as usize == text.len();
    // An array with more rows is not lent.
    whole.then_some(row as u32)
}
