//! Takes what is about a store out of a statement before it is planned: credentials and settings
//! in `OPTIONS` go to the [`Stores`], and the statement that is planned, shown and remembered does
//! not have them. Completes what DataFusion cannot read off the name of a file.

use datafusion::error::Result;
use datafusion::sql::parser::{CopyToStatement, CreateExternalTable, Statement};
use datafusion::sql::sqlparser::ast::Value;

use crate::error::{SourceError, SourceErrorKind};
use crate::format::{Format, Kind};
use crate::location::{Location, with_home};
use crate::stores::Stores;
use crate::stores::settings::StoreOptions;
use crate::table::options::normalize;

/// To be called on every statement between parsing and planning.
pub fn prepare(statement: Statement, stores: &Stores) -> Result<Statement> {
    Ok(match statement {
        Statement::CreateExternalTable(mut create) => {
            take_options(&mut create.options, &create.locations, stores)?;
            let mut create = keyword_in_capitals(create);
            let format = keyword(&create.file_type).ok_or_else(|| unreadable(&create.file_type))?;
            normalize(&mut create.options, format)?;
            Statement::CreateExternalTable(create)
        }
        Statement::CopyTo(mut copy) => {
            let target = std::slice::from_ref(&copy.target);
            take_options(&mut copy.options, target, stores)?;
            refuse_devices(&copy.target)?;
            complete_copy(&mut copy)?;
            copy.target = with_home(copy.target, stores.home())?;
            Statement::CopyTo(copy)
        }
        Statement::Explain(mut explain) => {
            explain.statement = Box::new(prepare(*explain.statement, stores)?);
            Statement::Explain(explain)
        }
        other => other,
    })
}

fn take_options(
    options: &mut Vec<(String, Value)>,
    locations: &[String],
    stores: &Stores,
) -> Result<()> {
    let mut taken = StoreOptions::default();
    let mut left = Vec::with_capacity(options.len());
    for (key, value) in options.drain(..) {
        match StoreOptions::canonical(&key) {
            Some(canonical) => taken.set(canonical?, text_of(&key, value)?),
            None => left.push((key, value)),
        }
    }
    *options = left;
    if taken.is_empty() {
        return Ok(());
    }
    for location in locations {
        let parsed = Location::parse(location, stores.home())?;
        let bucket = parsed.bucket_name().ok_or_else(|| {
            SourceError::new(
                SourceErrorKind::Invalid,
                format!("options of a store were given, but \"{location}\" is not in a bucket"),
            )
            .into_datafusion()
        })?;
        stores.set_options(bucket, taken.clone());
    }
    Ok(())
}

fn text_of(key: &str, value: Value) -> Result<String> {
    match value {
        Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Ok(text),
        Value::Number(text, _) => Ok(text),
        Value::Boolean(value) => Ok(value.to_string()),
        _ => Err(SourceError::new(
            SourceErrorKind::Invalid,
            format!("the value of option \"{key}\" is not a text"),
        )
        .into_datafusion()),
    }
}

fn keyword_in_capitals(mut create: CreateExternalTable) -> CreateExternalTable {
    create.file_type = create.file_type.to_uppercase();
    create
}

/// Format and compression of a result by its file name, if the statement does not give them.
fn complete_copy(copy: &mut CopyToStatement) -> Result<()> {
    let by_name = Format::of_name(&copy.target);
    let keyword = match copy.stored_as.as_deref().map(str::to_uppercase).as_deref() {
        None => match by_name {
            Some(format) => format.keyword(),
            None => return Err(unknown(&copy.target)),
        },
        Some("PARQUET") => "PARQUET",
        Some("CSV") => "CSV",
        Some("TSV") => {
            set(copy, "format.delimiter", "\t");
            "CSV"
        }
        Some("JSON" | "JSONL" | "NDJSON") => "JSON",
        Some("ARROW" | "IPC" | "FEATHER") => "ARROW",
        Some(other) => return Err(unwritable(other)),
    };
    if keyword == "AVRO" {
        return Err(unwritable("AVRO"));
    }
    normalize(&mut copy.options, keyword)?;
    if let Some(format) = by_name.filter(|format| format.keyword() == keyword) {
        if let Some(compression) = format.compression_option() {
            set(copy, "format.compression", compression);
        }
        if format.kind == Kind::Tsv {
            set(copy, "format.delimiter", "\t");
        }
    }
    copy.stored_as = Some(keyword.to_owned());
    Ok(())
}

/// Sets an option that the statement does not have.
fn set(copy: &mut CopyToStatement, key: &str, value: &str) {
    let name = key.rsplit('.').next().unwrap_or(key);
    let has = copy
        .options
        .iter()
        .any(|(other, _)| other.eq_ignore_ascii_case(key) || other.eq_ignore_ascii_case(name));
    if !has {
        copy.options.push((key.to_owned(), Value::SingleQuotedString(value.to_owned())));
    }
}

/// How DataFusion calls a format.
fn keyword(stored_as: &str) -> Option<&'static str> {
    Some(match stored_as {
        "PARQUET" => "PARQUET",
        "CSV" | "TSV" => "CSV",
        "JSON" | "JSONL" | "NDJSON" => "JSON",
        "ARROW" | "IPC" | "FEATHER" => "ARROW",
        "AVRO" => "AVRO",
        _ => return None,
    })
}

/// Refuses pipes and terminals: a result is written to a temporary file and then renamed.
fn refuse_devices(target: &str) -> Result<()> {
    let path = target.strip_prefix("file://").unwrap_or(target);
    if path != "-" && !path.starts_with("/dev/") && !path.starts_with("/proc/") {
        return Ok(());
    }
    Err(SourceError::new(
        SourceErrorKind::Invalid,
        format!("COPY writes files, and \"{target}\" is not a file"),
    )
    .hint(
        "for rows on standard output run the query itself: bigsql --quiet --format csv --command 'select ...'; \
         a file whose name is a minus sign is './-.csv'",
    )
    .into_datafusion())
}

fn unreadable(stored_as: &str) -> datafusion::error::DataFusionError {
    SourceError::new(SourceErrorKind::Invalid, format!("no format is called \"{stored_as}\""))
        .hint("formats are PARQUET, CSV, TSV, JSON, ARROW and AVRO")
        .into_datafusion()
}

fn unknown(target: &str) -> datafusion::error::DataFusionError {
    SourceError::new(
        SourceErrorKind::Invalid,
        format!("the format of \"{target}\" is not clear from its name"),
    )
    .hint("write COPY ... TO '...' STORED AS PARQUET, CSV, JSON or ARROW")
    .into_datafusion()
}

fn unwritable(keyword: &str) -> datafusion::error::DataFusionError {
    SourceError::new(SourceErrorKind::Invalid, format!("{keyword} files cannot be written"))
        .hint("formats that can be written are PARQUET, CSV, TSV, JSON and ARROW")
        .into_datafusion()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use datafusion::sql::parser::DFParser;

    fn prepared(sql: &str, stores: &Stores) -> String {
        let statement = DFParser::parse_sql(sql).unwrap().pop_front().unwrap();
        prepare(statement, stores).map_or_else(|error| error.to_string(), |s| format!("{s} {s:?}"))
    }

    #[test]
    fn secrets_leave_the_statement() {
        let stores = Stores::new(&Environment::default());
        for sql in [
            "create external table t stored as csv location 's3://b/x/' \
             options ('aws.secret_access_key' 'hunter2', 'aws_access_key_id' 'hunter2', \
             'format.delimiter' ';')",
            "explain copy t to 's3://b/x.csv' options ('secret_access_key' 'hunter2', \
             'format.delimiter' ';')",
        ] {
            let shown = prepared(sql, &stores);
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("format.delimiter"), "{shown}");
        }
        assert!(!format!("{stores:?}").contains("hunter2"));
    }

    #[test]
    fn a_misspelled_secret_is_refused_without_being_shown() {
        let stores = Stores::new(&Environment::default());
        let shown =
            prepared("copy t to 's3://b/x.csv' options ('aws.secret_key_id' 'hunter2')", &stores);
        assert!(shown.contains("unknown option \"aws.secret_key_id\""), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_name_of_a_result_tells_its_format() {
        let stores = Stores::new(&Environment::default());
        let shown = prepared("copy t to 'x.csv.gz'", &stores);
        assert!(shown.contains("STORED AS CSV") && shown.contains("gzip"), "{shown}");
        let shown = prepared("copy t to 'x.jsonl'", &stores);
        assert!(shown.contains("STORED AS JSON"), "{shown}");
        assert!(prepared("copy t to 'x'", &stores).contains("is not clear from its name"));
        assert!(prepared("copy t to 'x.avro'", &stores).contains("cannot be written"));
    }
}
