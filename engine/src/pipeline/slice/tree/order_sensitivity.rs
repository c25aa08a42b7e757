//! How an operator depends on the order of its input rows.
//!
//! A retried task gets the same rows, but not always in the same order: a hash table that spilled
//! gives them in another order than one that fit in memory. That only matters to operators that
//! depend on the order. One of them, such as `head`, may then take different rows, which must not
//! be mixed with rows that were read before. Its stage is treated as `deterministic(false)`.

/// How an operator depends on the order of its input rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderSensitivity {
    /// It does not depend on the order, and its output keeps it.
    Preserves,
    /// Its output rows depend on the order of the input, and keep it.
    Sensitive,
    /// It does not depend on the order, and its output may have any order.
    Unordered,
    /// Its output rows depend on an order that may differ from run to run.
    Nondeterministic,
}

impl OrderSensitivity {
    /// True if the order of the output may change while the order of the input does not.
    pub(crate) fn varies(self) -> bool {
        matches!(self, Self::Unordered | Self::Nondeterministic)
    }

    /// True if the output rows may change when the operator runs again on the same input rows.
    /// `input_varies` says whether the order of these rows may change.
    pub(crate) fn rows_vary(self, input_varies: bool) -> bool {
        match self {
            Self::Preserves | Self::Unordered => false,
            Self::Sensitive => input_varies,
            Self::Nondeterministic => true,
        }
    }
}
