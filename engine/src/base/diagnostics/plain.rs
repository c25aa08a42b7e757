//! Removes from a message what only developers of DataFusion and Arrow understand: the kinds of
//! wrapped errors, the address of a bug tracker, names of Arrow's types, literals in Rust's
//! notation. Called by
//! [`diagnostics`](crate::base::diagnostics).

/// The prefixes of DataFusion's messages that name their kind.
const KINDS: &[&str] = &[
    "Error during planning: ",
    "Internal error: ",
    "Execution error: ",
    "Schema error: ",
    "Arrow error: ",
    "External error: ",
    "Optimizer error: ",
    "SQL error: ",
    "This feature is not implemented: ",
    "Invalid or Unsupported Configuration: ",
    "Compute error: ",
    "Cast error: ",
    "Invalid argument error: ",
    "Parser error: ",
    "Object Store error: ",
];

/// The start of the text that DataFusion puts after an internal error.
const TRACKER: &str = "This issue was likely caused by a bug in DataFusion's code";

/// The end of that text.
const TRACKER_END: &str = "https://github.com/apache/datafusion/issues";

/// Arrow's types with their names in SQL.
const TYPES: &[(&str, &str)] = &[
    ("Utf8View", "VARCHAR"),
    ("LargeUtf8", "VARCHAR"),
    ("Utf8", "VARCHAR"),
    ("BinaryView", "BYTEA"),
    ("LargeBinary", "BYTEA"),
    ("Binary", "BYTEA"),
    ("FixedSizeBinary", "BYTEA"),
    ("Boolean", "BOOLEAN"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("UInt8", "TINYINT UNSIGNED"),
    ("UInt16", "SMALLINT UNSIGNED"),
    ("UInt32", "INT UNSIGNED"),
    ("UInt64", "BIGINT UNSIGNED"),
    ("Float16", "FLOAT16"),
    ("Float32", "REAL"),
    ("Float64", "DOUBLE"),
    ("Decimal32", "DECIMAL"),
    ("Decimal64", "DECIMAL"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("Date32", "DATE"),
    ("Date64", "DATE"),
    ("Time32", "TIME"),
    ("Time64", "TIME"),
    ("Timestamp", "TIMESTAMP"),
    ("Interval", "INTERVAL"),
    ("Duration", "INTERVAL"),
];

/// Types whose parameters have no meaning in SQL.
const BARE: &[&str] = &["DATE", "TIME", "TIMESTAMP", "INTERVAL", "BYTEA"];

/// The text in words for a user.
pub(crate) fn plain(text: &str) -> String {
    let text = without_tracker(text);
    let text = text.split("\n\nbacktrace:").next().unwrap_or_default();
    let mut text = text.replace("\n\ncaused by\n", ": ").replace("\ncaused by\n", ": ");
    for kind in KINDS {
        text = text.replace(kind, "");
        // The beginning of a sentence of ours is in small letters.
        if text.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind)) {
            text.replace_range(..kind.len(), "");
        }
    }
    in_types_of_sql(without_debug(&of_call(text.trim())))
}

/// The message about a call that matches no function: the reason if there is one, and the call,
/// without the list of candidates.
fn of_call(text: &str) -> String {
    let tried = text.split_once(" failed to match any signature, errors:");
    let matched = text.split_once("No function matches the given name and argument types '");
    let call = matched.and_then(|(_, rest)| rest.split_once('\'')).map(|(call, _)| call);
    match (tried, matched, call) {
        (Some((function, _)), _, Some(call)) => {
            format!("{function} takes arguments of other types than {call}")
        }
        (Some((function, _)), _, None) => format!("{function} takes arguments of other types"),
        (None, Some((reason, _)), Some(call)) => {
            let reason = reason.trim().trim_end_matches('.');
            let reason = reason.rsplit(" coercion failed with: ").next().unwrap_or(reason);
            match reason.starts_with("Fail to find the coerced type") {
                true => format!("the arguments of {call} have no common type"),
                false => format!("{reason}: it cannot be called as {call}"),
            }
        }
        _ => text.to_owned(),
    }
}

/// The text before a structure in Rust's notation.
fn without_debug(text: &str) -> &str {
    for (theirs, ours) in [
        (
            "physical plan does not support logical expression WindowFunction",
            "a window function cannot stand here: compute it in a query within, or use QUALIFY",
        ),
        ("physical plan does not support logical expression Wildcard", "* cannot stand here"),
    ] {
        if text.to_lowercase().contains(&theirs.to_lowercase()) {
            return ours;
        }
    }
    let Some(brace) = text.find(" { ") else { return text };
    let before = &text[..brace];
    let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    if !before[start..].starts_with(char::is_uppercase) {
        return text;
    }
    text[..start].trim_end_matches([' ', ':', ','])
}

fn without_tracker(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find(TRACKER) {
        let rest = &text[start..];
        let end = rest.find(TRACKER_END).map_or(rest.len(), |at| at + TRACKER_END.len());
        let before = text[..start].trim_end().trim_end_matches('.').to_owned();
        let after = text[start + end..].trim_start().to_owned();
        text = if after.is_empty() { before } else { format!("{before} {after}") };
    }
    text
}

/// Writes names of types, and literals that are written as `Int64(1)`, as SQL does. What stands in
/// quotes stays.
fn in_types_of_sql(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        // Not the apostrophe of "can't".
        let in_word = c == '\'' && written.ends_with(char::is_alphanumeric);
        if (c == '\'' && !in_word) || c == '"' {
            let end = rest[1..].find(c).map_or(rest.len(), |at| at + 2);
            written.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if !(c.is_alphanumeric() || c == '_') {
            written.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        match TYPES.iter().find(|(arrow, _)| *arrow == word) {
            None => written.push_str(word),
            Some((arrow, sql)) => rest = type_or_literal(arrow, sql, after, &mut written),
        }
    }
    written
}

/// Writes the type or literal whose name stood before `after`; gives what is behind it.
fn type_or_literal<'a>(arrow: &str, sql: &str, after: &'a str, to: &mut String) -> &'a str {
    let Some(inside) = after.strip_prefix('(').and_then(closed) else {
        to.push_str(sql);
        return after;
    };
    let behind = &after[inside.len() + 2..];
    if BARE.contains(&sql) {
        to.push_str(sql);
    } else if arrow.starts_with("Decimal") {
        to.push_str(sql);
        to.push('(');
        to.push_str(inside);
        to.push(')');
    } else if let Some(text) = inside.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        to.push('\'');
        to.push_str(text);
        to.push('\'');
    } else {
        to.push_str(inside);
    }
    behind
}

/// What stands before the parenthesis that closes.
fn closed(text: &str) -> Option<&str> {
    let mut open = 1;
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => open += 1,
            ')' if !quoted => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_in_words_of_sql() {
        for (theirs, ours) in [
            ("cannot add Utf8View to Int64", "cannot add VARCHAR to BIGINT"),
            ("t.a + Int64(1) = Utf8(\"x(1)\")", "t.a + 1 = 'x(1)'"),
            ("Timestamp(ns, \"UTC\") and Decimal128(10, 2)", "TIMESTAMP and DECIMAL(10, 2)"),
            ("the column 'Int64' is a Boolean", "the column 'Int64' is a BOOLEAN"),
            ("can't make Int64 a Boolean", "can't make BIGINT a BOOLEAN"),
            (
                "Internal error: no such thing.\nThis issue was likely caused by a bug in DataFusion's code. \
                 Please help us: https://github.com/apache/datafusion/issues",
                "no such thing",
            ),
            ("x\n\nbacktrace:  0: main", "x"),
            (
                "Function 'sum' failed to match any signature, errors: x. No function matches the given name and argument \
                 types 'sum(Utf8)'. You might",
                "Function 'sum' takes arguments of other types than sum(VARCHAR)",
            ),
            (
                "internal error: Function 'sum' failed to match any signature, errors: x. No function matches the given \
                 name and argument types 'sum(Utf8)'. You might",
                "Function 'sum' takes arguments of other types than sum(VARCHAR)",
            ),
            ("no dots in: Identifier(Ident { value: \"a\" })", "no dots in"),
            ("Error during planning: Execution error: no", "no"),
        ] {
            assert_eq!(plain(theirs), ours);
        }
    }
}
