//! Rewrites `LIKE ... ESCAPE` with any character, `SIMILAR TO`, `RLIKE` and `REGEXP`.
//!
//! DataFusion 55.2 supports only the backslash as an escape character, so patterns are rewritten to
//! use it; and it takes the pattern of `SIMILAR TO` for a regular expression that may match
//! anywhere.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value, ValueWithSpan};

use super::super::build;
use crate::error::{Error, Result};

/// The function that does the same at run time for a pattern that is not a literal.
const LIKE_PATTERN: &str = "like_pattern";

/// Rewrites `expr` if it is one of these pattern matches.
pub(crate) fn reshape(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            let Some(escape) = escape_char.take() else { return Ok(()) };
            let escape = one_character(&escape)?;
            if escape == Some('\\') {
                return Ok(());
            }
            let written = std::mem::replace(pattern.as_mut(), build::text(""));
            **pattern = match literal(&written) {
                Some(text) => build::text(with_backslashes(text, escape)?),
                None => {
                    let escape = escape.map(String::from).unwrap_or_default();
                    build::call(LIKE_PATTERN, vec![written, build::text(escape)])
                }
            };
        }
        Expr::RLike { negated, expr: of, pattern, regexp: _ } => {
            let regex = std::mem::replace(pattern.as_mut(), build::text(""));
            *expr = matches(*negated, of, regex);
        }
        Expr::SimilarTo { negated, expr: of, pattern, escape_char } => {
            let escape = match escape_char {
                Some(escape) => one_character(escape)?,
                None => Some('\\'),
            };
            let Some(text) = literal(pattern) else {
                return Err(Error::unsupported("SIMILAR TO with a pattern that is not a literal")
                    .with_hint(
                        "write the pattern as a literal, or use regexp_like(value, pattern)",
                    ));
            };
            let regex = build::text(regular(text, escape)?);
            *expr = matches(*negated, of, regex);
        }
        _ => {}
    }
    Ok(())
}

/// `of ~ regex` or its negation.
fn matches(negated: bool, of: &mut Expr, regex: Expr) -> Expr {
    let op = match negated {
        true => BinaryOperator::PGRegexNotMatch,
        false => BinaryOperator::PGRegexMatch,
    };
    let of = std::mem::replace(of, build::text(""));
    Expr::Nested(Box::new(build::binary(of, op, regex)))
}

/// The value of a string literal.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(ValueWithSpan { value, .. }) => match value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            Value::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        },
        _ => None,
    }
}

/// The character after ESCAPE; `None` if the text is empty, which turns escaping off.
fn one_character(escape: &ValueWithSpan) -> Result<Option<char>> {
    let wrong = || {
        Error::statement(format!("ESCAPE takes a single character, not {escape}"))
            .with_hint("write it like ESCAPE '!'")
    };
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &escape.value
    else {
        return Err(wrong());
    };
    let mut chars = text.chars();
    let first = chars.next();
    if chars.next().is_some() { Err(wrong()) } else { Ok(first) }
}

fn ends_in(escape: char, pattern: &str) -> Error {
    Error::statement(format!(
        "the pattern '{pattern}' ends with its escape character {escape}: a character must follow"
    ))
}

/// The LIKE pattern with a backslash in place of `escape`.
fn with_backslashes(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut written = String::with_capacity(pattern.len() + 4);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let literal = if Some(c) == escape {
            let next = chars.next().ok_or_else(|| ends_in(c, pattern))?;
            matches!(next, '%' | '_' | '\\').then_some('\\').into_iter().chain([next])
        } else {
            (c == '\\').then_some('\\').into_iter().chain([c])
        };
        written.extend(literal);
    }
    Ok(written)
}

/// The pattern of SIMILAR TO as a regular expression that matches the whole text.
fn regular(pattern: &str, escape: Option<char>) -> Result<String> {
    let mut regex = String::from("(?s)^(?:");
    let mut chars = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(c) = chars.next() {
        match c {
            _ if Some(c) == escape => {
                let next = chars.next().ok_or_else(|| ends_in(c, pattern))?;
                push_literal(&mut regex, next);
            }
            '[' if !in_brackets => {
                in_brackets = true;
                regex.push(c);
                if chars.next_if_eq(&'^').is_some() {
                    regex.push('^');
                }
            }
            ']' if in_brackets => {
                in_brackets = false;
                regex.push(c);
            }
            '[' if in_brackets && chars.peek() == Some(&':') => {
                regex.push(c);
                for c in chars.by_ref() {
                    regex.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            // Characters that only have a meaning in regular expressions.
            '\\' | '[' | '&' | '~' if in_brackets => {
                regex.push('\\');
                regex.push(c);
            }
            _ if in_brackets => regex.push(c),
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => regex.push(c),
            _ => push_literal(&mut regex, c),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}

fn push_literal(regex: &mut String, c: char) {
    if c.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns_are_written_with_backslashes() {
        let cases = [
            ("100!%%", Some('!'), "100\\%%"),
            ("a!!b", Some('!'), "a!b"),
            ("a!xb", Some('!'), "axb"),
            ("a\\b!_", Some('!'), "a\\\\b\\_"),
            ("%%x%_", Some('%'), "\\%x\\_"),
            ("é%é_", Some('é'), "\\%\\_"),
            ("a\\%", None, "a\\\\%"),
        ];
        for (pattern, escape, expected) in cases {
            assert_eq!(with_backslashes(pattern, escape).unwrap(), expected, "{pattern}");
        }
        assert!(with_backslashes("a!", Some('!')).is_err());
    }

    #[test]
    fn similar_to_is_for_the_whole_text() {
        let cases = [
            ("a%", "(?s)^(?:a.*)$"),
            ("(a|b)+_", "(?s)^(?:(a|b)+.)$"),
            ("a.c$", "(?s)^(?:a\\.c\\$)$"),
            ("[^a-c%]x{2}", "(?s)^(?:[^a-c%]x{2})$"),
            ("[[:alpha:]_]%", "(?s)^(?:[[:alpha:]_].*)$"),
            ("\\%\\_", "(?s)^(?:\\%\\_)$"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(regular(pattern, Some('\\')).unwrap(), expected, "{pattern}");
        }
    }
}
