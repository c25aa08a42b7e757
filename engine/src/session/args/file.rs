//! The settings file: TOML, with keys at the top level or split at their dots into tables.
//!
//! ```toml
//! workers = 4
//! memory-limit = "8G"
//!
//! [datafusion.execution]
//! batch_size = 4096
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ec2::PREFIX;
use super::setting::Setting;
use crate::error::{Error, Result};

/// Maximum size of the file, far above that of all settings together.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings of a file, in its order; empty if there is no such file.
pub(super) fn read_if_there(path: &Path) -> Result<Vec<Setting>> {
    match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        _ => read(path),
    }
}

/// The settings of a file, in its order.
pub(super) fn read(path: &Path) -> Result<Vec<Setting>> {
    let wrong = |why: String| Error::config(format!("cannot read \"{}\": {why}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|e| wrong(e.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(wrong(format!("it is larger than {} KiB", FILE_BYTES_MAX >> 10)));
    }
    parse(&text, &path.display().to_string())
}

/// The settings in `text`, the content of the file called `name`.
pub(super) fn parse(text: &str, name: &str) -> Result<Vec<Setting>> {
    let place = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        format!("{name}:{}", before.matches('\n').count() + 1)
    };
    let table = DeTable::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        Error::config(format!("{}: {}", place(at), e.message()))
    })?;
    let mut found = Vec::new();
    flatten(table.get_ref(), "", &mut found);
    found.sort_by_key(|(at, ..)| *at);
    let settings = found.into_iter().map(|(at, key, value)| {
        let setting = Setting { key, value: String::new(), place: place(at) };
        match scalar(value) {
            Some(value) => Ok(Setting { value, ..setting }),
            None => {
                let kind = value.type_str();
                Err(setting.refused(&format!(
                    "the value has type {kind}; it must be a string, a number, true or false"
                )))
            }
        }
    });
    let settings = settings.collect::<Result<Vec<_>>>()?;
    one_system(&settings)?;
    Ok(settings)
}

/// The positions of a table's keys, their full names and their values.
fn flatten<'t, 'i>(
    table: &'t DeTable<'i>,
    prefix: &str,
    found: &mut Vec<(usize, String, &'t DeValue<'i>)>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        match Spanned::get_ref(value) {
            DeValue::Table(inner) => flatten(inner, &format!("{name}."), found),
            // Some EC2 options may be repeated.
            DeValue::Array(list) if name.starts_with(PREFIX) => {
                let each = list.iter().map(Spanned::get_ref);
                found.extend(each.map(|value| (key.span().start, name.clone(), value)));
            }
            scalar => found.push((key.span().start, name, scalar)),
        }
    }
}

/// The text of a value, in the syntax of `--set`.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The order of two settings in a file must not decide which one applies.
fn one_system(settings: &[Setting]) -> Result<()> {
    let of = |key: &str| settings.iter().find(|setting| setting.key == key);
    let other = of("workers").and_then(|_| of("system").or_else(|| of("max")));
    match other {
        Some(other) => {
            Err(other.refused("\"workers\" already sets the machines: keep one of them"))
        }
        None => Ok(()),
    }
}
