//! Rows as text, for comparing engines.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// A row: each value as text, or null.
pub(crate) type Row = Vec<Option<String>>;

/// The answer to a query: rows, or an error.
pub(crate) type Answer = Result<Vec<Row>, String>;

/// Numbers within this relative difference are equal, because sums of floats depend on their order.
const TOLERANCE: f64 = 1e-9;

/// The rows of some batches.
pub(crate) fn rows_of(batches: &[RecordBatch]) -> Answer {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(|column| texts(column.as_ref()));
        let columns = columns.collect::<Result<Vec<_>, String>>()?;
        rows.extend((0..batch.num_rows()).map(|n| columns.iter().map(|c| c[n].clone()).collect()));
    }
    Ok(rows)
}

fn texts(array: &dyn Array) -> Result<Vec<Option<String>>, String> {
    let floats = |value: Option<f64>| value.map(float);
    Ok(match array.data_type() {
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>().iter();
            values.map(|v| floats(v.map(|v| v.to_f64()))).collect()
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().iter();
            values.map(|v| floats(v.map(f64::from))).collect()
        }
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().map(floats).collect(),
        _ => {
            let options = FormatOptions::new()
                .with_null("null")
                .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
            let format = ArrayFormatter::try_new(array, &options).map_err(|e| e.to_string())?;
            (0..array.len())
                .map(|n| (!array.is_null(n)).then(|| format.value(n).to_string()))
                .collect()
        }
    })
}

fn float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    format!("{value:?}")
}

/// The difference between two answers, if any.
pub(crate) fn difference(ours: &[Row], theirs: &[Row], ordered: bool) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, not {}", ours.len(), theirs.len()));
    }
    let (mut ours, mut theirs) = (ours.to_vec(), theirs.to_vec());
    if !ordered {
        ours.sort_by_cached_key(sort_key);
        theirs.sort_by_cached_key(sort_key);
    }
    let same = |(a, b): (&Row, &Row)| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a.as_deref(), b.as_deref()))
    };
    if !ordered {
        // Rows with equal sort keys may come in any order.
        for n in 0..ours.len() {
            if !same((&ours[n], &theirs[n])) {
                let other = (n + 1..theirs.len()).find(|m| same((&ours[n], &theirs[*m])));
                theirs.swap(n, other.unwrap_or(n));
            }
        }
    }
    let at = (0..ours.len()).find(|n| !same((&ours[*n], &theirs[*n])))?;
    Some(format!("row {}: {} is not {}", at + 1, show(&ours[at]), show(&theirs[at])))
}

/// A sort key that is equal for rows that differ only in the last digits of a number.
fn sort_key(row: &Row) -> Vec<(bool, String)> {
    let key = |value: &Option<String>| match value {
        None => (false, String::new()),
        Some(text) => (true, number(text).map_or_else(|| text.clone(), |n| format!("{n:.6e}"))),
    };
    row.iter().map(key).collect()
}

/// A number as text, with both zeros as one.
fn number(text: &str) -> Option<f64> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '-') && text != "inf" {
        return None;
    }
    text.parse::<f64>().ok().map(|n| if n == 0.0 { 0.0 } else { n })
}

fn same_value(a: Option<&str>, b: Option<&str>) -> bool {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) if a != b => (a, b),
        (a, b) => return a == b,
    };
    // SQLite's truth values are numbers.
    let truth = |text: &str, number: &str| {
        (text == "true" && number == "1") || (text == "false" && number == "0")
    };
    if truth(a, b) || truth(b, a) {
        return true;
    }
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

/// A row for display.
pub(crate) fn show(row: &Row) -> String {
    let values = row.iter().map(|value| value.as_deref().unwrap_or("null"));
    format!("({})", values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Row {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    #[test]
    fn order_counts_only_if_it_is_asked_for() {
        let (a, b) = (vec![row(&["1"]), row(&["2"])], vec![row(&["2"]), row(&["1"])]);
        assert_eq!(difference(&a, &b, false), None);
        assert!(difference(&a, &b, true).is_some());
    }

    #[test]
    fn rows_that_sort_alike_are_found_in_any_order() {
        let (low, high) = (row(&["1000000.0"]), row(&["1000000.5"]));
        assert_eq!(difference(&[low.clone(), high.clone()], &[high, low], false), None);
    }

    #[test]
    fn a_value_that_differs_is_told() {
        let (a, b) = (vec![row(&["1", "x"])], vec![row(&["1", "y"])]);
        assert_eq!(difference(&a, &b, false).unwrap(), "row 1: (1, x) is not (1, y)");
        assert!(difference(&a, &[], false).is_some());
        assert!(difference(&[vec![None]], &[row(&["0"])], false).is_some());
    }

    #[test]
    fn the_last_digits_of_a_float_and_the_sign_of_zero_do_not_count() {
        let (a, b) = (vec![row(&["0.1", "-0.0"])], vec![row(&["0.10000000000001", "0"])]);
        assert_eq!(difference(&a, &b, false), None);
    }
}
