//! Error messages: what is wrong, where in the script, the line of SQL with a marker below, and a
//! hint.

use bigslice::{Position, Statement};
use unicode_width::UnicodeWidthChar;

use crate::cell;
use crate::error::Error;
use crate::format::Paint;

/// Width of the SQL excerpt around the position; generated SQL has very long lines.
const LINE_COLUMNS: usize = 100;

/// Maximum length of a message.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// The origin of a statement or command.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin<'a> {
    /// The script's name; `None` for typed input.
    pub(crate) script: Option<&'a str>,
    /// The line in the script, from 1.
    pub(crate) line: u64,
}

/// The full error message about a statement or command.
pub(crate) fn report(
    error: &Error,
    statement: Option<&Statement>,
    origin: Origin<'_>,
    paint: Paint,
) -> String {
    let message = shortened(&error.to_string());
    let mut lines = vec![format!("{} {}", paint.error("error:"), cell::escape(&message))];
    let place = match error {
        Error::Statement(error) => error.position(),
        _ => None,
    };
    let in_script = match (statement, place) {
        (Some(statement), Some(place)) => {
            let place = statement.position_in_script(place);
            Some((place.line, Some(place.column)))
        }
        _ => Some((origin.line, None)),
    };
    if let (Some(script), Some((line, column))) = (origin.script, in_script) {
        let column = column.map(|column| format!(":{column}")).unwrap_or_default();
        let place = format!("--> {}:{line}{column}", cell::escape_line(script));
        lines.push(format!("  {}", paint.dim(&place)));
    }
    if let (Some(statement), Some(place)) = (statement, place)
        && let Some((text, mark)) = excerpt(&statement.text, place)
    {
        lines.push(format!("  {text}"));
        lines.push(format!("  {}", paint.error(&mark)));
    }
    if let Some(hint) = error.hint() {
        let hint = shortened(&hint);
        lines.push(format!("{} {}", paint.hint("hint:"), cell::escape(&hint)));
    }
    lines.join("\n")
}

/// Shortened: a message that quotes a whole generated statement would scroll everything else off
/// the screen.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message.to_owned(),
    }
}

/// The line with the position, and a line of carets below it.
fn excerpt(text: &str, place: Position) -> Option<(String, String)> {
    let line = text.lines().nth(usize::try_from(place.line).ok()?.checked_sub(1)?)?;
    let chars: Vec<char> = line.chars().map(printable).collect();
    // A position just past the end of a line means that something is missing there.
    let start = usize::try_from(place.column).ok()?.checked_sub(1)?.min(chars.len());
    let end = match place.end {
        Some((end_line, column)) if end_line == place.line => {
            usize::try_from(column).ok()?.saturating_sub(1).min(chars.len())
        }
        Some(_) => chars.len(),
        None => word_end(&chars, start),
    };
    let end = end.max(start + 1).min(start + LINE_COLUMNS);

    let (from, to) = match chars.len() > LINE_COLUMNS {
        false => (0, chars.len()),
        true => {
            let from = start.saturating_sub(LINE_COLUMNS / 2).min(chars.len() - LINE_COLUMNS);
            (from, from + LINE_COLUMNS)
        }
    };
    let mut shown = String::new();
    if from > 0 {
        shown.push('…');
    }
    let before = usize::from(from > 0) + columns(&chars[from..start.max(from)]);
    shown.extend(&chars[from..to]);
    if to < chars.len() {
        shown.push('…');
    }
    let marked = columns(&chars[start..end.min(to).max(start)]).max(1);
    Some((shown.trim_end().to_owned(), format!("{}{}", " ".repeat(before), "^".repeat(marked))))
}

fn columns(chars: &[char]) -> usize {
    chars.iter().map(|char| char.width().unwrap_or(1)).sum()
}

/// The end of the word at a position.
fn word_end(chars: &[char], start: usize) -> usize {
    let word = |char: &&char| char.is_alphanumeric() || **char == '_';
    start + chars[start..].iter().take_while(word).count()
}

/// One column per character: a tab would shift the marker.
fn printable(char: char) -> char {
    match char {
        char if char.is_control() => ' ',
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        char => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, place: Position, expect: [&str; 2]) {
        let (line, mark) = excerpt(text, place).unwrap();
        assert_eq!([line.as_str(), mark.as_str()], expect);
    }

    #[test]
    fn the_word_at_the_place_is_marked() {
        check("select foo from t", Position::at(1, 8), ["select foo from t", "       ^^^"]);
        check("select\n\tfoo, 1", Position::at(2, 2), [" foo, 1", " ^^^"]);
        let end = Some((1, 14));
        let place = Position { line: 1, column: 8, end };
        check("select 日本 + 1", place, ["select 日本 + 1", "       ^^^^^^^^"]);
    }

    #[test]
    fn what_is_missing_is_marked_after_the_end() {
        check("select", Position::at(1, 7), ["select", "      ^"]);
        check("select", Position::at(1, 99), ["select", "      ^"]);
        assert!(excerpt("select", Position::at(9, 1)).is_none());
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("select {}, wrong, {}", "a, ".repeat(100), "b, ".repeat(100));
        let column = text.find("wrong").unwrap() as u64 + 1;
        let (line, mark) = excerpt(&text, Position::at(1, column)).unwrap();
        assert!(line.chars().count() <= LINE_COLUMNS + 2, "{line}");
        let marked: String =
            line.chars().skip(mark.find('^').unwrap()).take(mark.matches('^').count()).collect();
        assert_eq!(marked, "wrong");
    }

    #[test]
    fn a_report_names_the_script_and_hints() {
        let error = Error::command_hint("no command \".hlep\"", "did you mean \".help\"?");
        let origin = Origin { script: Some("a.sql"), line: 3 };
        assert_eq!(
            report(&error, None, origin, Paint::Off),
            "error: no command \".hlep\"\n  --> a.sql:3\nhint: did you mean \".help\"?"
        );
    }
}
