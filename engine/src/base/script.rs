//! Splits a script into its statements, each with its position, and recognises the statements that
//! only Bigslice has. Called by [`Session::statements`](crate::Session::statements); what comes out
//! is text, parsed later by the planning thread.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{Error, Position, Result};

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its text, from its first word to before its semicolon.
    pub text: String,
    /// The line of the script it starts on, from 1.
    pub line: u64,
    /// The column it starts at, from 1, in characters.
    pub column: u64,
}

impl Statement {
    /// A statement that is a script of its own.
    pub(crate) fn alone(text: &str) -> Result<Self> {
        let mut statements = split(text)?;
        match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => Ok(statement),
            (None, _) => Err(Error::statement("there is no statement in the text", None)),
            (Some(extra), false) => Err(Error::statement(
                "one statement was expected, but the text holds several",
                Some(Position::at(extra.line, extra.column)),
            )),
        }
    }

    /// The position in the script of a position in this statement.
    pub fn position_in_script(&self, position: Position) -> Position {
        let moved = |line: u64, column: u64| {
            if line == 1 {
                (self.line, self.column + column - 1)
            } else {
                (self.line + line - 1, column)
            }
        };
        let (line, column) = moved(position.line, position.column);
        let end = position.end.map(|(line, column)| moved(line, column));
        Position { line, column, end }
    }
}

/// The statements of `script`: whatever stands between semicolons that are not inside of a
/// string, a quoted name or a comment. Empty ones are left out.
pub(crate) fn split(script: &str) -> Result<Vec<Statement>> {
    let lines = Lines::of(script);
    let tokens = tokens(script)?;
    let mut statements = Vec::new();
    let mut first: Option<Location> = None;
    let mut end = 0;
    for token in &tokens {
        match &token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::SemiColon => {
                if let Some(start) = first.take() {
                    statements.push(lines.statement(start, end));
                }
            }
            _ => {
                first.get_or_insert(token.span.start);
                end = lines.offset(token.span.end);
            }
        }
    }
    if let Some(start) = first {
        statements.push(lines.statement(start, end));
    }
    Ok(statements)
}

/// If `text` is `EXPLAIN STAGES <query>`: the query, with blanks where the two words were, so
/// that every place in it stays what it was.
pub(crate) fn explain_stages(text: &str) -> Option<String> {
    let lines = Lines::of(text);
    let tokens = tokens(text).ok()?;
    let mut words = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    let mut blanked = text.to_owned();
    for expected in ["explain", "stages"] {
        let token = words.next()?;
        match &token.token {
            Token::Word(word)
                if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected) => {}
            _ => return None,
        }
        let range = lines.offset(token.span.start)..lines.offset(token.span.end);
        let blanks = " ".repeat(range.len());
        blanked.replace_range(range, &blanks);
    }
    // "explain stages" alone explains a table of that name in some dialects; here it is an
    // unfinished statement, which the parser is left to say.
    words.next().filter(|token| token.token != Token::EOF)?;
    Some(blanked)
}

/// Where `name` stands in the text, if it stands there exactly once as a word of its own.
pub(crate) fn only_word(text: &str, name: &str) -> Option<Position> {
    let tokens = tokens(text).ok()?;
    let mut found = tokens.iter().filter(
        |token| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name)),
    );
    let span = found.next()?.span;
    let end = Some((span.end.line, span.end.column));
    let place = Position { line: span.start.line, column: span.start.column, end };
    found.next().is_none().then_some(place)
}

/// The place just after the text.
pub(crate) fn end_of(text: &str) -> Position {
    let text = text.trim_end();
    let line = text.matches('\n').count() as u64 + 1;
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position::at(line, last.chars().count() as u64 + 1)
}

fn tokens(text: &str) -> Result<Vec<TokenWithSpan>> {
    Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().map_err(|e| {
        let place = Position::at(e.location.line, e.location.column);
        Error::statement(crate::base::diagnostics::sentence(&e.message), Some(place))
    })
}

/// Where the lines of a text begin, to turn a line and column into an offset.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1));
        Self { text, starts: starts.collect() }
    }

    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(&start) = self.starts.get(line) else { return self.text.len() };
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(i, _)| start + i)
    }

    fn statement(&self, start: Location, end: usize) -> Statement {
        let text = self.text[self.offset(start)..end].to_owned();
        Statement { text, line: start.line, column: start.column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_split_where_a_reader_would() {
        type Found = &'static [(&'static str, u64, u64)];
        let cases: &[(&str, Found)] = &[
            ("", &[]),
            (" ;; -- nothing\n ;", &[]),
            ("select 1", &[("select 1", 1, 1)]),
            ("select 1;", &[("select 1", 1, 1)]),
            ("select 1 ; select 2", &[("select 1", 1, 1), ("select 2", 1, 12)]),
            ("select ';'; select 2", &[("select ';'", 1, 1), ("select 2", 1, 13)]),
            ("select 'it''s;'; select 2", &[("select 'it''s;'", 1, 1), ("select 2", 1, 18)]),
            ("select \"a;b\" from t", &[("select \"a;b\" from t", 1, 1)]),
            ("-- a; b\nselect 1;\n\n  select\n 2", &[("select 1", 2, 1), ("select\n 2", 4, 3)]),
            ("/* ; /* nested; */ */ select 1", &[("select 1", 1, 23)]),
            ("select 1 -- end; no\n; select 2", &[("select 1", 1, 1), ("select 2", 2, 3)]),
            ("select $$a;b$$; select 2", &[("select $$a;b$$", 1, 1), ("select 2", 1, 17)]),
            ("select $x$a;$$b$x$; select 2", &[("select $x$a;$$b$x$", 1, 1), ("select 2", 1, 21)]),
            ("select 'ä;ö' ; select 'ß'", &[("select 'ä;ö'", 1, 1), ("select 'ß'", 1, 16)]),
            ("select 1;\r\nselect 2;\r\n", &[("select 1", 1, 1), ("select 2", 2, 1)]),
        ];
        for (script, expected) in cases {
            let found = split(script).unwrap();
            let found: Vec<_> = found.iter().map(|s| (s.text.as_str(), s.line, s.column)).collect();
            assert_eq!(&found, expected, "{script:?}");
        }
    }

    #[test]
    fn an_open_string_is_an_error_with_its_place() {
        let error = split("select 1;\nselect 'open").unwrap_err();
        let place = error.position().unwrap();
        assert_eq!((place.line, place.column), (2, 8), "{error}");
    }

    #[test]
    fn one_statement_means_one() {
        assert_eq!(Statement::alone(" select 1; ").unwrap().text, "select 1");
        assert!(Statement::alone("").is_err());
        let error = Statement::alone("select 1; select 2").unwrap_err();
        assert_eq!(error.position().unwrap().column, 11);
    }

    #[test]
    fn places_move_with_their_statement() {
        let statement = Statement { text: "a\nb".into(), line: 7, column: 5 };
        assert_eq!(statement.position_in_script(Position::at(1, 3)), Position::at(7, 7));
        assert_eq!(statement.position_in_script(Position::at(2, 3)), Position::at(8, 3));
    }

    #[test]
    fn explain_stages_is_found_and_blanked() {
        let text = "explain /* x */ Stages\nselect 1";
        let blanked = explain_stages(text).unwrap();
        assert_eq!(blanked, "        /* x */       \nselect 1");
        for text in ["explain select 1", "explain stages", "select stages", "explain \"stages\" x"]
        {
            assert_eq!(explain_stages(text), None, "{text}");
        }
    }
}
