//! The names in the header of a file of delimited text, and which of its values belongs to which
//! column of a table.
//!
//! A file's own header decides, however many files a table has: values go by name. A header that
//! has other names than the table is an error, or, with the option `truncated_rows`, a file that
//! lacks columns.

use std::collections::{HashMap, HashSet};

use datafusion::arrow::datatypes::Schema;
use datafusion::error::{DataFusionError, Result};

use super::fault::shown;
use crate::error::{SourceError, SourceErrorKind};

/// The number of names in an error.
const SHOWN_NAMES: usize = 20;

/// The names of columns by the values of a header: what is empty is called by its place, and what
/// is there twice gets a number (`a`, `a_1`).
pub(super) fn names(header: Vec<String>, file: &str) -> Result<Vec<String>> {
    if header.iter().any(|name| name.contains('\0')) {
        let message = format!("\"{file}\" is not text: its first row has zero bytes");
        return Err(SourceError::new(SourceErrorKind::Invalid, message)
            .hint("is it another format, or UTF-16 without a byte order mark?")
            .into_datafusion());
    }
    let taken: HashSet<String> = header.iter().cloned().collect();
    let mut used: HashSet<String> = HashSet::with_capacity(header.len());
    let mut names = Vec::with_capacity(header.len());
    for (at, name) in header.into_iter().enumerate() {
        let base = if name.is_empty() { by_place(at) } else { name };
        let mut name = base.clone();
        let mut number = 0;
        while used.contains(&name) || (number > 0 && taken.contains(&name)) {
            number += 1;
            name = format!("{base}_{number}");
        }
        used.insert(name.clone());
        names.push(name);
    }
    Ok(names)
}

/// The name of a column that has none.
pub(super) fn by_place(at: usize) -> String {
    format!("column_{}", at + 1)
}

/// For each value of a row of a file, the column of the table that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places(pub(super) Vec<Option<usize>>);

impl Places {
    /// Values in the order of the columns.
    pub(super) fn in_order(columns: usize) -> Self {
        Self((0..columns).map(Some).collect())
    }

    /// By the names of a file.
    pub(super) fn by_name(
        names: &[String],
        table: &Schema,
        ragged: bool,
        declared: bool,
        file: &str,
    ) -> Result<Self> {
        let columns: Vec<&str> = table.fields().iter().map(|field| field.name().as_str()).collect();
        let known: HashMap<&str, usize> =
            columns.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let mut places: Vec<Option<usize>> =
            names.iter().map(|name| known.get(name.as_str()).copied()).collect();
        let found: HashSet<usize> = places.iter().flatten().copied().collect();
        let mut missing: Vec<usize> = (0..columns.len()).filter(|at| !found.contains(at)).collect();
        if declared && !missing.is_empty() {
            // A user may have written the names in small letters.
            for (place, name) in places.iter_mut().zip(names) {
                let alike = |at: &&usize| columns[**at].eq_ignore_ascii_case(name);
                if place.is_none() && missing.iter().filter(alike).count() == 1 {
                    *place = missing.iter().find(alike).copied();
                    missing.retain(|at| Some(*at) != *place);
                }
            }
        }
        let extra = places.contains(&None);
        if missing.is_empty() && (declared || !extra) {
            return Ok(Self(places));
        }
        if declared && renamed(&places, columns.len()) {
            return Ok(Self::in_order(columns.len()));
        }
        if ragged && (declared || !extra) {
            return Ok(Self(places));
        }
        Err(differ(names, &columns, file, declared))
    }
}

/// True if a table's columns are those of the file in their order, some under another name.
fn renamed(places: &[Option<usize>], columns: usize) -> bool {
    places.len() == columns
        && places.iter().enumerate().all(|(at, place)| place.is_none_or(|column| column == at))
}

fn differ(names: &[String], columns: &[&str], file: &str, declared: bool) -> DataFusionError {
    let list = |names: &mut dyn Iterator<Item = String>| {
        let mut names: Vec<String> = names.take(SHOWN_NAMES + 1).collect();
        if names.len() > SHOWN_NAMES {
            names[SHOWN_NAMES] = "...".to_owned();
        }
        names.join(", ")
    };
    let of_file = list(&mut names.iter().map(|name| shown(name)));
    let of_table = list(&mut columns.iter().map(|name| shown(name)));
    let whose = if declared { "those of the table" } else { "those of the other files" };
    SourceError::new(
        SourceErrorKind::Differ,
        format!("\"{file}\" has other columns than {whose}: ({of_file}) and ({of_table})"),
    )
    .hint(
        "read files with other columns apart and join the results with UNION ALL BY NAME; files that only lack \
         columns can be read with CREATE EXTERNAL TABLE ... OPTIONS ('format.truncated_rows' 'true'), which makes \
         what they lack null",
    )
    .into_datafusion()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field};

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_column_has_a_name_of_its_own() {
        let of = |header: &[&str]| names(owned(header), "f").unwrap();
        assert_eq!(of(&["a", "", "a", "a_1"]), ["a", "column_2", "a_2", "a_1"]);
        assert_eq!(of(&["", ""]), ["column_1", "column_2"]);
        assert!(names(owned(&["a\0"]), "f").is_err());
    }

    #[test]
    fn values_go_by_name() {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        let table = Schema::new(fields.to_vec());
        let places = |names: &[&str], ragged, declared| {
            Places::by_name(&owned(names), &table, ragged, declared, "f").ok().map(|p| p.0)
        };
        assert_eq!(places(&["b", "a"], false, false), Some(vec![Some(1), Some(0)]));
        assert_eq!(places(&["a"], false, false), None);
        assert_eq!(places(&["a"], true, false), Some(vec![Some(0)]));
        assert_eq!(places(&["a", "b", "c"], false, false), None);
        assert_eq!(places(&["a", "b", "c"], false, true), Some(vec![Some(0), Some(1), None]));
        assert_eq!(places(&["B", "A"], false, true), Some(vec![Some(1), Some(0)]));
        assert_eq!(places(&["x", "y"], false, true), Some(vec![Some(0), Some(1)]));
        assert_eq!(places(&["x", "a"], false, true), None);
    }
}
