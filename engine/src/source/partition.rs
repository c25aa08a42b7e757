//! Columns from folders: `year=2013/month=1/x.parquet` has the columns `year` and `month`.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::error::{SourceError, SourceErrorKind};
use super::listing::relative;
use super::location::Location;

/// How Hive and everyone after it calls the folder of rows without a value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Names and types of the columns that folders stand for.
pub(crate) type Columns = Vec<(String, DataType)>;

/// Names and values in the path of a file, from the outermost folder in.
pub(crate) fn pairs(root: &Path, file: &Path) -> Vec<(String, String)> {
    let Some((folders, _)) = relative(root, file).and_then(|rest| rest.rsplit_once('/')) else {
        return Vec::new();
    };
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The columns that the folders of these files stand for; all files must agree on the names.
pub(crate) fn infer(location: &Location, root: &Path, files: &[ObjectMeta]) -> Result<Columns> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let names: Vec<String> = pairs(root, &first.location).into_iter().map(|(n, _)| n).collect();
    let mut types: Vec<Option<DataType>> = vec![None; names.len()];
    for file in files {
        let pairs = pairs(root, &file.location);
        if !pairs.iter().map(|(name, _)| name).eq(&names) {
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
        for (kind, (_, value)) in types.iter_mut().zip(&pairs) {
            if value != NULL {
                *kind = Some(narrowest(kind.take(), value));
            }
        }
    }
    let types = types.into_iter().map(|kind| kind.unwrap_or(DataType::Utf8));
    Ok(names.into_iter().zip(types).collect())
}

/// The values of the columns for one file. Folders that are not among the columns are passed over.
pub(crate) fn values(
    root: &Path,
    file: &Path,
    columns: &[(String, DataType)],
) -> Result<Vec<ScalarValue>> {
    let pairs = pairs(root, file);
    columns
        .iter()
        .map(|(name, kind)| {
            let value = pairs.iter().find(|(n, _)| n == name).map(|(_, value)| value);
            match value.filter(|value| *value != NULL) {
                Some(value) => ScalarValue::try_from_string(value.clone(), kind).map_err(|_| {
                    SourceError::new(
                        SourceErrorKind::Differ,
                        format!(
                            "the folder \"{name}={value}\" of \"{file}\" has no value of type {kind}"
                        ),
                    )
                    .into_datafusion()
                }),
                None => ScalarValue::try_from(kind),
            }
        })
        .collect()
}

/// The type that has both what was seen so far and one more value.
fn narrowest(seen: Option<DataType>, value: &str) -> DataType {
    let of_value = if value.parse::<i64>().is_ok() {
        DataType::Int64
    } else if is_date(value) {
        DataType::Date32
    } else {
        DataType::Utf8
    };
    match seen {
        Some(seen) if seen != of_value => DataType::Utf8,
        _ => of_value,
    }
}

fn is_date(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let shape = value.len() == 10
        && value.split('-').map(str::len).eq([4, 2, 2])
        && value.split('-').all(digits);
    shape && ScalarValue::try_from_string(value.to_owned(), &DataType::Date32).is_ok()
}

/// Undoes the percent-encoding of characters that a folder's name may not have.
fn decode(text: &str) -> String {
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
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
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
}
