//! Frequent mistakes in statements: for each, what is wrong and what to write instead of the
//! message of DataFusion.

/// Functions that are window functions only.
const OF_WINDOWS: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "nth_value",
];

/// The message and the hint for a message of DataFusion, if it is about one of these mistakes.
pub(crate) fn said(text: &str) -> Option<(String, Option<String>)> {
    ungrouped(text)
        .or_else(|| without_over(text))
        .or_else(|| varying(text))
        .or_else(|| distinct_on(text))
        .or_else(|| conflicting(text))
        .or_else(|| ragged(text))
        .or_else(|| too_large(text))
        .or_else(|| unreadable(text))
}

/// "While expanding wildcard, column "t.id" must appear in the GROUP BY clause or must be part of
/// an aggregate function, currently only "count(Int64(1))" appears in the SELECT clause satisfies
/// this requirement"
fn ungrouped(text: &str) -> Option<(String, Option<String>)> {
    let (before, _) = text.split_once("must appear in the GROUP BY clause")?;
    let column = before.rsplit_once("column \"")?.1.trim_end().trim_end_matches('"');
    Some((
        format!("the column \"{column}\" is neither in GROUP BY nor within an aggregate"),
        Some("add it to GROUP BY, or choose a value with min, max or first_value".to_owned()),
    ))
}

/// "Conflicting ordering requirements in aggregate functions is not supported"
fn conflicting(text: &str) -> Option<(String, Option<String>)> {
    text.contains("onflicting ordering requirements in aggregate functions").then(|| {
        (
            "aggregates of one SELECT need their rows in different orders".to_owned(),
            Some("compute them in separate subqueries, and join these by the keys".to_owned()),
        )
    })
}

/// "Inconsistent data length across values list: got 1 values in row 0 but expected 3"
fn ragged(text: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = text.split_once("nconsistent data length across values list: got ")?;
    let (count, rest) = rest.split_once(" values in row ")?;
    let (row, expected) = rest.split_once(" but expected ")?;
    let row = row.parse::<u64>().ok()?.checked_add(1)?;
    let expected: String = expected.chars().take_while(char::is_ascii_digit).collect();
    Some((
        format!("row {row} of VALUES has {count} values, and {expected} are needed"),
        Some("to insert into some columns, name them: INSERT INTO t (a, b) VALUES ...".to_owned()),
    ))
}

/// "Can't cast value 3000000000 to type Int32"
fn too_large(text: &str) -> Option<(String, Option<String>)> {
    let (value, of) = text.split_once("an't cast value ")?.1.rsplit_once(" to type ")?;
    Some((
        format!("overflow in a cast: {value} does not fit {of}"),
        Some("cast to a wider type, or write try_cast(...) for null".to_owned()),
    ))
}

/// "Cannot cast string 'a' to value of Int64 type"
fn unreadable(text: &str) -> Option<(String, Option<String>)> {
    let (value, of) = text.split_once("annot cast string ")?.1.rsplit_once(" to value of ")?;
    Some((
        format!("cannot read {value} as {}", of.strip_suffix(" type")?),
        Some("write try_cast(...) for null".to_owned()),
    ))
}

/// "Invalid function 'row_number'."
fn without_over(text: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = text.split_once("Invalid function '")?;
    let (name, _) = rest.split_once('\'')?;
    let name = OF_WINDOWS.iter().find(|known| known.eq_ignore_ascii_case(name))?;
    Some((
        format!("\"{name}\" is a window function, and is called without a window"),
        Some(format!("write {name}(...) OVER (ORDER BY ...)")),
    ))
}

/// "There is only support Literal types for field at idx: 1 in Window Function"
fn varying(text: &str) -> Option<(String, Option<String>)> {
    text.contains("only support Literal types for field at idx").then(|| {
        (
            "an argument of a window function varies from row to row, and must be a constant"
                .to_owned(),
            Some(
                "of lag, lead, ntile and nth_value only the first argument may be a column"
                    .to_owned(),
            ),
        )
    })
}

/// "SELECT DISTINCT ON expressions must match initial ORDER BY expressions"
fn distinct_on(text: &str) -> Option<(String, Option<String>)> {
    text.contains("DISTINCT ON expressions must match").then(|| {
        (
            "the ORDER BY of a SELECT DISTINCT ON begins with other expressions than its own"
                .to_owned(),
            Some(
                "write SELECT DISTINCT ON (a) ... ORDER BY a, b; for another order of the result, \
                 order a query around it"
                    .to_owned(),
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn mistakes_are_named() {
        let ungrouped = "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \
                         \"t.id\" must appear in the GROUP BY clause or must be part of an aggregate function, currently";
        let cases = [
            (ungrouped, "the column \"t.id\" is neither in GROUP BY nor within an aggregate"),
            (
                "Invalid function 'rank'.",
                "\"rank\" is a window function, and is called without a window",
            ),
            (
                "There is only support Literal types for field at idx: 1 in Window Function",
                "an argument of a window function varies from row to row, and must be a constant",
            ),
            (
                "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                "the ORDER BY of a SELECT DISTINCT ON begins with other expressions than its own",
            ),
        ];
        let cases = cases.into_iter().chain([
            (
                "Conflicting ordering requirements in aggregate functions is not supported",
                "aggregates of one SELECT need their rows in different orders",
            ),
            (
                "Inconsistent data length across values list: got 1 values in row 0 but expected 3",
                "row 1 of VALUES has 1 values, and 3 are needed",
            ),
            (
                "Can't cast value 3000000000 to type Int32",
                "overflow in a cast: 3000000000 does not fit Int32",
            ),
            ("Cannot cast string 'a to b' to value of Int64 type", "cannot read 'a to b' as Int64"),
        ]);
        for (theirs, ours) in cases {
            assert_eq!(said(theirs).unwrap().0, ours);
        }
        assert!(said("Invalid function 'foo'.").is_none());
    }
}
