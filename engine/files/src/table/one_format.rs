//! The one format of the files of a place, and the files that have it.

use datafusion::error::{DataFusionError, Result};
use object_store::ObjectMeta;

use crate::error::{SourceError, SourceErrorKind};
use crate::format::Format;
use crate::listing::Listing;
use crate::location::Location;

/// The one format of the files of a place.
pub(crate) fn common_format(location: &Location, listing: &Listing) -> Result<Format> {
    let of = |file: &ObjectMeta| Format::of_name(file.location.as_ref());
    let mut known = listing.files.iter().filter_map(|file| Some((of(file)?, file)));
    let Some((format, first)) = known.next() else {
        return Err(SourceError::new(
            SourceErrorKind::Invalid,
            format!("the format of \"{}\" is not clear from its name", location.text()),
        )
        .hint(
            "known are .parquet, .csv, .tsv, .json, .jsonl, .ndjson, .arrow, .ipc, .feather and \
             .avro; text also with .gz, .zst, .bz2 or .xz; for another name write \
             CREATE EXTERNAL TABLE ... STORED AS ...",
        )
        .into_datafusion());
    };
    match known.find(|(other, _)| *other != format) {
        Some((_, other)) => Err(formats_differ(location, first, other)),
        None => Ok(format),
    }
}

/// Of the files in a folder or of a pattern, those of the table's format. A folder whose files have
/// no extension that says anything is taken as it is. Files that differ in their compression alone
/// are an error: a declared table of CSV has all of them.
pub(crate) fn of_format(
    mut listing: Listing,
    format: Format,
    location: &Location,
) -> Result<Listing> {
    if listing.single {
        return Ok(listing);
    }
    let of = |file: &ObjectMeta| Format::of_name(file.location.as_ref());
    let is = |file: &ObjectMeta| of(file).is_some_and(|of| of.is_read_as(format));
    let packed = |file: &ObjectMeta| {
        of(file)
            .is_some_and(|of| Format { compression: format.compression, ..of }.is_read_as(format))
    };
    let some = listing.files.iter().find(|file| is(file));
    let other = listing.files.iter().find(|file| packed(file) && !is(file));
    match (some, other) {
        (Some(some), Some(other)) => Err(formats_differ(location, some, other)),
        (None, Some(other)) => Err(compressed_otherwise(location, other, format)),
        (Some(_), None) => {
            let bare = |file: &&ObjectMeta| {
                file.location.filename().is_some_and(|name| !name.contains('.'))
            };
            if let Some(file) = listing.files.iter().find(bare) {
                return Err(not_told(location, some_name(&listing, is), file));
            }
            listing.files.retain(is);
            Ok(listing)
        }
        (None, None) => {
            listing.files.retain(|file| of(file).is_none());
            Ok(listing)
        }
    }
}

/// The ending of the files that are read.
fn some_name(listing: &Listing, is: impl Fn(&ObjectMeta) -> bool) -> &str {
    let some = listing.files.iter().find(|file| is(file));
    let ending = some.and_then(|file| file.location.filename()?.split_once('.'));
    ending.map_or("parquet", |(_, ending)| ending)
}

/// The error for a file beside those of a table whose name does not tell whether it is one of them.
fn not_told(location: &Location, ending: &str, file: &ObjectMeta) -> DataFusionError {
    let file = location.show(&file.location);
    SourceError::new(
        SourceErrorKind::Differ,
        format!(
            "\"{}\" has the file \"{file}\", whose format is not clear from its name",
            location.text()
        ),
    )
    .hint(format!(
        "name the files by a pattern such as 'folder/*.{ending}', or hide the file: \
         files whose names begin with a dot are skipped"
    ))
    .into_datafusion()
}

/// The error for a table none of whose files is compressed as it is declared.
fn compressed_otherwise(location: &Location, file: &ObjectMeta, format: Format) -> DataFusionError {
    let file = location.show(&file.location);
    let (message, hint) = match format.compression_option() {
        None => (
            format!(
                "\"{file}\" is compressed by its name, and the table is declared without compression"
            ),
            "add OPTIONS ('format.compression' 'gzip') to the statement, or 'zstd', 'bzip2' or 'xz'",
        ),
        Some(declared) => (
            format!(
                "\"{file}\" is not compressed with {declared} by its name, and the table is declared so"
            ),
            "change or leave out the option 'format.compression'",
        ),
    };
    SourceError::new(SourceErrorKind::Differ, message).hint(hint).into_datafusion()
}

/// The error for two files in one place.
fn formats_differ(location: &Location, one: &ObjectMeta, other: &ObjectMeta) -> DataFusionError {
    let extension = one.location.filename().and_then(|name| name.split_once('.'));
    let extension = extension.map_or("parquet", |(_, extension)| extension);
    SourceError::new(
        SourceErrorKind::Differ,
        format!(
            "\"{}\" has files of different formats: \"{}\" and \"{}\"",
            location.text(),
            location.show(&one.location),
            location.show(&other.location)
        ),
    )
    .hint(format!("name those of one format by a pattern such as 'folder/*.{extension}'"))
    .into_datafusion()
}
