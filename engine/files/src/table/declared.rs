//! Columns that a user declared and no file has: every value of such a column would be null,
//! without a word about the name that is wrong.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::datasource::file_format::FileFormat;
use datafusion::error::Result;
use object_store::{ObjectMeta, ObjectStore};

use crate::adapt::columns_of;
use crate::error::{SourceError, SourceErrorKind};
use crate::format::{Format, Kind};
use crate::location::Location;
use crate::table::schema;
use bigslice_diagnostics::{did_you_mean, distance};

/// Files that are asked for a column, at most. In more of them it may be anywhere.
const ASKED_MAX: usize = 1000;

/// Columns that an error lists, at most.
const NAMES_MAX: usize = 20;

/// Checks that each declared column is in one of the files, as far as these are there. A key of
/// JSON may be in later rows than those that are looked at: there it is an error only if there is
/// another key of almost its name.
pub(crate) async fn check_names(
    session: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    (table, format, reader): (&SchemaRef, Format, &Arc<dyn FileFormat>),
    files: &[ObjectMeta],
) -> Result<()> {
    if matches!(format.kind, Kind::Csv | Kind::Tsv) || files.is_empty() || files.len() > ASKED_MAX {
        // Of delimited text the readers compare the names of each file with those of the table.
        return Ok(());
    }
    let mut missing: Vec<&str> = table.fields().iter().map(|field| field.name().as_str()).collect();
    let mut there: Vec<String> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    for file in files {
        let file = std::slice::from_ref(file);
        let found = schema::infer(session, store, location, format, Some(reader), file).await?;
        let places = columns_of(&found, table);
        let lacks = |name: &&str| table.index_of(name).is_ok_and(|at| places[at].is_none());
        missing.retain(lacks);
        if missing.is_empty() {
            return Ok(());
        }
        let names = found.fields().iter().map(|field| field.name());
        there.extend(names.filter(|name| known.insert((*name).clone())).cloned());
    }
    let others = others(&there, table);
    let meant = |name: &&&str| others.iter().any(|other| is_close(name, other));
    let wrong = match format.kind {
        Kind::Json => missing.iter().find(meant),
        _ => missing.first(),
    };
    wrong.map_or(Ok(()), |name| {
        Err(unknown(location, files.len(), name, &there, &others).into_datafusion())
    })
}

/// Is one name the other but for a letter in three?
fn is_close(name: &str, other: &str) -> bool {
    distance(name, other) * 3 <= name.chars().count()
}

/// The names in files that are not columns of the table.
fn others<'a>(there: &'a [String], table: &Schema) -> Vec<&'a str> {
    let mine =
        |name: &str| table.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name));
    there.iter().map(String::as_str).filter(|name| !mine(name)).collect()
}

fn unknown(
    location: &Location,
    files: usize,
    name: &str,
    there: &[String],
    others: &[&str],
) -> SourceError {
    let text = location.text();
    let message = match files {
        1 => format!("\"{text}\" has no column \"{name}\", which is declared"),
        _ => format!("no file of \"{text}\" has the column \"{name}\", which is declared"),
    };
    let mut names: Vec<String> =
        there.iter().take(NAMES_MAX).map(|name| format!("\"{name}\"")).collect();
    if there.len() > NAMES_MAX {
        names.push(format!("and {} more", there.len() - NAMES_MAX));
    }
    let columns = format!("the columns there are {}", names.join(", "));
    SourceError::new(SourceErrorKind::Differ, message).hint(
        match did_you_mean(name, others.iter().copied()) {
            Some(meant) => format!("{meant} {columns}"),
            None => columns,
        },
    )
}
