//! What can be wrong with a batch for a type of rows; made when the batch is opened, shown to the
//! user, who knows the column but not this code.

use arrow::datatypes::DataType;

/// A batch does not hold rows of the expected type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// One of the columns is not as expected.
    #[error("column \"{column}\" {problem}")]
    Column {
        /// The path to the column, such as `visit.tags[].name`.
        column: String,
        /// The problem.
        problem: Problem,
    },
    /// The batch has another number of columns.
    #[error("found {found} columns, expected {expected} ({names})")]
    Count {
        /// The number of columns that the batch has.
        found: usize,
        /// The number of columns that the row has.
        expected: usize,
        /// The names of the columns that the row has, quoted.
        names: String,
    },
}

/// A problem with a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It has another type.
    #[error("has the type {found}, expected {expected}")]
    Type {
        /// The type that the value is stored as.
        expected: DataType,
        /// The type of the column.
        found: DataType,
    },
    /// It has another number of rows than the first column.
    #[error("has {found} rows, expected {expected}")]
    Rows {
        /// The rows of the first column.
        expected: usize,
        /// The rows of this column.
        found: usize,
    },
    /// It has a null, but the value is not optional.
    #[error("is null in row {row}, but its values are not optional; an Option can hold nulls")]
    Null {
        /// The first such row of the batch, counted from zero.
        row: usize,
    },
    /// It has a text that is not a variant of the enum.
    #[error("holds \"{text}\" in row {row}, expected one of {variants}")]
    Variant {
        /// The first such row of the batch, counted from zero.
        row: usize,
        /// The value in the column.
        text: String,
        /// The names of all variants, quoted.
        variants: String,
    },
    /// It has a value that the Rust type cannot express.
    #[error("holds {value} in row {row}, which is out of the range of {rust}")]
    Range {
        /// The first such row of the batch, counted from zero.
        row: usize,
        /// The number that is stored.
        value: i64,
        /// The name of the Rust type.
        rust: &'static str,
    },
}

impl Mismatch {
    /// A problem of the column itself; its parents add their names.
    pub(super) fn new(problem: Problem) -> Self {
        Self::Column { column: String::new(), problem }
    }

    /// Says to which column of a row or struct, or with `[]` to which list, this belongs.
    #[doc(hidden)]
    #[must_use]
    pub fn within(mut self, name: &str) -> Self {
        if let Self::Column { column, .. } = &mut self {
            let dot = if column.is_empty() || column.starts_with('[') { "" } else { "." };
            *column = format!("{name}{dot}{column}");
        }
        self
    }

    /// Turns the position of an item into the row of its list.
    pub(super) fn map_row(mut self, parent: impl Fn(usize) -> usize) -> Self {
        if let Self::Column { problem, .. } = &mut self {
            match problem {
                Problem::Null { row }
                | Problem::Variant { row, .. }
                | Problem::Range { row, .. } => *row = parent(*row),
                Problem::Type { .. } | Problem::Rows { .. } => {}
            }
        }
        self
    }
}

/// Names as a message shows them: quoted and separated by commas.
pub(super) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
