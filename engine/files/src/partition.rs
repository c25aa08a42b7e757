//! Columns from folders: `year=2013/month=1/x.parquet` has the columns `year` and `month`.

use bigslice_functions::NULL_PARTITION;
use datafusion::arrow::array::{Array, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, utils};
use object_store::ObjectMeta;
use object_store::path::Path;
use std::sync::Arc;

use crate::error::{SourceError, SourceErrorKind};
use crate::listing::relative;
use crate::location::Location;

/// Names and types of the columns that come from folders.
pub(crate) type Columns = Vec<(String, DataType)>;

/// The value in the name of one folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    name: String,
    /// `None` for the folder of the rows with null.
    value: Option<String>,
    /// A character is escaped, so the value is text.
    escaped: bool,
}

/// The folders in the path of a file, from the outermost in.
fn folders(root: &Path, file: &Path) -> Vec<Folder> {
    let Some((folders, _)) = relative(root, file).and_then(|rest| rest.rsplit_once('/')) else {
        return Vec::new();
    };
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| {
            let (text, escaped) = decode(value);
            let value = (value != NULL_PARTITION).then_some(text);
            Folder { name: decode(name).0, value, escaped }
        })
        .collect()
}

/// The columns in the folders of these files; all files must agree on the names.
pub(crate) fn infer(location: &Location, root: &Path, files: &[ObjectMeta]) -> Result<Columns> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let names: Vec<String> = folders(root, &first.location).into_iter().map(|f| f.name).collect();
    let mut types: Vec<Option<DataType>> = vec![None; names.len()];
    for file in files {
        let folders = folders(root, &file.location);
        if !folders.iter().map(|folder| &folder.name).eq(&names) {
            return Err(SourceError::new(
                SourceErrorKind::Differ,
                format!(
                    "files of one table are in folders of different names: \"{}\" and \"{}\"",
                    location.show(&first.location),
                    location.show(&file.location)
                ),
            )
            .into_datafusion());
        }
        for (kind, folder) in types.iter_mut().zip(&folders) {
            if folder.value.is_some() {
                *kind = Some(narrowest(kind.take(), folder));
            }
        }
    }
    let types = types.into_iter().map(|kind| kind.unwrap_or(DataType::Utf8));
    Ok(names.into_iter().zip(types).collect())
}

/// The values of the columns for one file. Folders that are not among the columns are skipped.
pub(crate) fn values(
    root: &Path,
    file: &Path,
    columns: &[(String, DataType)],
) -> Result<Vec<ScalarValue>> {
    let folders = folders(root, file);
    let of_column = |(name, kind): &(String, DataType)| {
        let folder = folders.iter().rfind(|folder| folder.name == *name);
        let value = folder.and_then(|folder| folder.value.as_deref());
        // No number and no date is written as nothing.
        let Some(value) = value.filter(|value| !value.is_empty() || kind.is_string()) else {
            return ScalarValue::try_from(kind);
        };
        ScalarValue::try_from_string(value.to_owned(), kind).map_err(|_| {
            let message =
                format!("the folder \"{name}={value}\" of \"{file}\" has no value of type {kind}");
            SourceError::new(SourceErrorKind::Differ, message).into_datafusion()
        })
    };
    columns.iter().map(of_column).collect()
}

/// The columns as fields of a table.
pub(crate) fn fields(columns: &[(String, DataType)]) -> impl Iterator<Item = Field> {
    columns.iter().map(|(name, kind)| Field::new(name, kind.clone(), true))
}

/// The files for whose folders all of `filters` are true.
///
/// DataFusion 55.2 looks at what stands below a null when it asks a filter about a folder
/// (`filter_partitioned_file`): `region <> 'EU'` kept the folder of rows without a region.
pub(crate) fn filtered(
    session: &dyn Session,
    files: Vec<PartitionedFile>,
    filters: &[Expr],
    columns: &[(String, DataType)],
) -> Result<Vec<PartitionedFile>> {
    let Some(filter) = utils::conjunction(filters.iter().cloned()) else { return Ok(files) };
    if files.is_empty() {
        return Ok(files);
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields(columns).collect::<Vec<_>>()));
    let df_schema = DFSchema::try_from(Arc::clone(&schema))?;
    let arrays = (0..columns.len())
        .map(|at| ScalarValue::iter_to_array(files.iter().map(|f| f.partition_values[at].clone())))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(files.len()));
    let folders = RecordBatch::try_new_with_options(schema, arrays, &options)?;
    let fulfilled = session.create_physical_expr(filter, &df_schema)?.evaluate(&folders)?;
    let fulfilled = fulfilled.into_array(files.len())?;
    let fulfilled: &BooleanArray = fulfilled.as_boolean();
    let kept = |at: usize| fulfilled.is_valid(at) && fulfilled.value(at);
    Ok(files.into_iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, file)| file).collect())
}

/// The type that fits the values so far and one more.
fn narrowest(seen: Option<DataType>, folder: &Folder) -> DataType {
    let value = folder.value.as_deref().unwrap_or_default();
    let of_value = if folder.escaped {
        DataType::Utf8
    } else if is_integer(value) {
        DataType::Int64
    } else if matches!(value, "true" | "false") {
        DataType::Boolean
    } else if is_date(value) {
        DataType::Date32
    } else {
        moment(value).unwrap_or(DataType::Utf8)
    };
    match (seen, of_value) {
        (Some(DataType::Timestamp(unit, zone)), DataType::Timestamp(other, other_zone))
            if zone == other_zone =>
        {
            let nanos = unit == TimeUnit::Nanosecond || other == TimeUnit::Nanosecond;
            DataType::Timestamp(if nanos { TimeUnit::Nanosecond } else { unit }, zone)
        }
        (Some(seen), of_value) if seen != of_value => DataType::Utf8,
        (_, of_value) => of_value,
    }
}

/// The type of a timestamp as this program writes it: `2024-02-29T12:30:00.5`, with a `Z` if it has
/// a zone.
fn moment(value: &str) -> Option<DataType> {
    let (time, zone) = match value.strip_suffix('Z') {
        Some(time) => (time, Some("UTC".into())),
        None => (value, None),
    };
    let (day, time) = time.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let shape = time.split(':').map(str::len).eq([2, 2, 2]) && time.split(':').all(digits);
    if !is_date(day) || !shape || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let unit = if fraction.len() > 6 { TimeUnit::Nanosecond } else { TimeUnit::Microsecond };
    let kind = DataType::Timestamp(unit, zone);
    ScalarValue::try_from_string(value.to_owned(), &kind).is_ok().then_some(kind)
}

/// A zero before a digit is common (`month=01`). More of them, a plus, or a minus before a zero,
/// would be lost.
fn is_integer(value: &str) -> bool {
    let padded = value.starts_with('0') && value.len() > 2;
    value.parse::<i64>().is_ok() && !padded && !value.starts_with('+') && !value.starts_with("-0")
}

fn is_date(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let shape = value.len() == 10
        && value.split('-').map(str::len).eq([4, 2, 2])
        && value.split('-').all(digits);
    shape && ScalarValue::try_from_string(value.to_owned(), &DataType::Date32).is_ok()
}

/// Undoes the percent-encoding of characters that a folder's name may not have; true when there was
/// one.
fn decode(text: &str) -> (String, bool) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    let escaped = out.len() < bytes.len();
    (String::from_utf8(out).unwrap_or_else(|_| text.to_owned()), escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<ObjectMeta> {
        paths
            .iter()
            .map(|path| ObjectMeta {
                location: Path::parse(path).unwrap(),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: 1,
                e_tag: None,
                version: None,
            })
            .collect()
    }

    fn here() -> Location {
        Location::parse("/t", None).unwrap()
    }

    #[test]
    fn types_are_the_narrowest_of_all_values() {
        let files = files(&[
            "t/year=2013/month=01/day=2013-01-01/c=a%20b/x.csv",
            "t/year=2014/month=x/day=2013-01-02/c=__HIVE_DEFAULT_PARTITION__/y.csv",
        ]);
        let root = Path::from("t");
        let columns = infer(&here(), &root, &files).unwrap();
        let types: Vec<_> = columns.iter().map(|(_, kind)| kind.clone()).collect();
        assert_eq!(types, [DataType::Int64, DataType::Utf8, DataType::Date32, DataType::Utf8]);
        let first = values(&root, &files[0].location, &columns).unwrap();
        assert_eq!(first[0], ScalarValue::Int64(Some(2013)));
        assert_eq!(first[3], ScalarValue::Utf8(Some("a b".to_owned())));
        assert!(values(&root, &files[1].location, &columns).unwrap()[3].is_null());
    }

    #[test]
    fn no_value_and_the_text_that_is_written_like_it() {
        let files = files(&[
            "t/c=__HIVE_DEFAULT_PARTITION__/x.csv",
            "t/c=%5F_HIVE_DEFAULT_PARTITION__/x.csv",
            "t/c=/x.csv",
        ]);
        let root = Path::from("t");
        let columns = infer(&here(), &root, &files).unwrap();
        let value = |at: usize| values(&root, &files[at].location, &columns).unwrap()[0].clone();
        assert_eq!(value(0), ScalarValue::Utf8(None));
        assert_eq!(value(1), ScalarValue::from(NULL_PARTITION));
        assert_eq!(value(2), ScalarValue::from(""));
        let numbers = vec![("c".to_owned(), DataType::Int64)];
        let nothing = values(&root, &files[2].location, &numbers).unwrap();
        assert_eq!(nothing, [ScalarValue::Int64(None)]);
    }

    #[test]
    fn numbers_that_would_lose_something_are_text() {
        let kind = |value: &str| {
            let files = files(&[&format!("t/c={value}/x.csv")]);
            infer(&here(), &Path::from("t"), &files).unwrap()[0].1.clone()
        };
        for number in ["7", "-7", "01", "9223372036854775807"] {
            assert_eq!(kind(number), DataType::Int64, "{number}");
        }
        let moment = |unit, zone: Option<&str>| DataType::Timestamp(unit, zone.map(Into::into));
        assert_eq!(kind("2024-02-29T12:30:00"), moment(TimeUnit::Microsecond, None));
        assert_eq!(
            kind("2024-02-29T12:30:00.123456789Z"),
            moment(TimeUnit::Nanosecond, Some("UTC"))
        );
        for text in ["2024-02-29 12:30:00", "2024-02-30T12:30:00", "2024-02-29T12:30", "aTb:cc:dd"]
        {
            assert_eq!(kind(text), DataType::Utf8, "{text}");
        }
        assert_eq!(kind("true"), DataType::Boolean);
        for text in
            ["010", "007", "True", "+7", "-0", "-07", "9223372036854775808", "%3007", "1.5", ""]
        {
            assert_eq!(kind(text), DataType::Utf8, "{text}");
        }
    }

    #[test]
    fn files_that_disagree_are_named() {
        let error =
            infer(&here(), &Path::from("t"), &files(&["t/a=1/x.csv", "t/y.csv"])).unwrap_err();
        assert!(error.to_string().contains("t/y.csv"), "{error}");
    }

    #[test]
    fn dates_are_dates_and_not_just_dashes() {
        assert!(is_date("2013-01-31"));
        assert!(!is_date("2013-02-31"));
        assert!(!is_date("13-1-1"));
    }

    #[test]
    fn filters_of_folders_are_still_needed() {
        use datafusion::datasource::listing::helpers::filter_partitioned_file;
        use datafusion::logical_expr::{col, lit};

        let mut file = PartitionedFile::new("region=__HIVE_DEFAULT_PARTITION__/x.parquet", 1);
        file.partition_values = vec![ScalarValue::Utf8(None)];
        let schema = Schema::new(vec![Field::new("region", DataType::Utf8, true)]);
        let schema = DFSchema::try_from(schema).unwrap();
        let filter = [col("region").not_eq(lit("EU"))];
        let kept = filter_partitioned_file(file, &filter, &schema).unwrap();
        assert!(kept.is_some(), "DataFusion knows of folders without a value now");
    }
}
