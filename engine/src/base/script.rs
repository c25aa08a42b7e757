//! Splits a script into its statements, and for a shell into its commands as well, each with its
//! position. Called by [`Session::statements`](crate::Session::statements) and by shells
//! ([`ScriptPiece::split`]); the planning thread lexes and parses the text of each statement later.
//!
//! This does not use sqlparser's tokenizer, which fails on text that is still being typed and reads
//! on across the commands of a shell. A test compares the two.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::{Error, Position, Result};

/// One statement of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its text, from its first word to its last, without the semicolon.
    pub text: String,
    /// The line of the script it starts on, from 1.
    pub line: u64,
    /// The column it starts at, from 1, in characters.
    pub column: u64,
}

impl Statement {
    /// Converts a position within this statement to a position within its script.
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

/// A statement or a command in the script of a shell, such as bigsql.
///
/// A command starts with a dot or a backslash where a statement could start, and ends with its
/// line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptPiece<'a> {
    /// Statement or command.
    pub kind: PieceKind,
    /// Its text, without the semicolon and without white space and comments around it.
    pub text: &'a str,
    /// The line it starts on, from 1.
    pub line: u64,
    /// The column it starts at, from 1, in characters.
    pub column: u64,
    /// True if it has an end: a semicolon, or the end of the line for a command.
    pub ended: bool,
}

/// The kind of a [`ScriptPiece`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceKind {
    /// An SQL statement.
    Statement,
    /// A command of the shell.
    Command,
}

impl<'a> ScriptPiece<'a> {
    /// The statements and commands of a script, in order. Empty ones are left out.
    ///
    /// Never fails: a statement that is not complete extends to the end of the script.
    pub fn split(script: &'a str) -> Vec<Self> {
        pieces(script, Commands::Lines).0
    }

    /// True if a script can be run as it is: each of its statements has its semicolon, and its last
    /// comment is closed. An editor that asks this after each line means the same as
    /// [`Self::split`].
    pub fn is_complete(script: &str) -> bool {
        let (pieces, open) = pieces(script, Commands::Lines);
        open.is_none() && pieces.last().is_none_or(|piece| piece.ended)
    }
}

/// The statements of `script`: the text between semicolons outside strings, quoted names and
/// comments. Empty ones are left out.
///
/// # Errors
/// When a string, a quoted name or a comment is not closed.
pub(crate) fn split(script: &str) -> Result<Vec<Statement>> {
    let (pieces, open) = pieces(script, Commands::None);
    if let Some(Open { what, line, column }) = open {
        let position = Position::at(line, column);
        return Err(Error::statement(format!("unterminated {what}"), Some(position)));
    }
    let statements = pieces.into_iter().map(|ScriptPiece { text, line, column, .. }| Statement {
        text: text.to_owned(),
        line,
        column,
    });
    Ok(statements.collect())
}

/// Where `name` occurs in the text, if it occurs exactly once as a word of its own. Only used for
/// the position of an error.
pub(crate) fn only_word(text: &str, name: &str) -> Option<Position> {
    let mut tokens: Vec<TokenWithSpan> = Vec::new();
    let tokenizer = &mut Tokenizer::new(&GenericDialect {}, text);
    tokenizer.tokenize_with_location_into_buf(&mut tokens).ok()?;
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

/// The commands of a script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Commands {
    /// A line that starts with a dot or a backslash where a statement could start.
    Lines,
    None,
}

/// A string, quoted name or comment that the end of the script leaves open.
#[derive(Clone, Copy)]
struct Open {
    what: &'static str,
    line: u64,
    column: u64,
}

fn pieces(script: &str, commands: Commands) -> (Vec<ScriptPiece<'_>>, Option<Open>) {
    let mut pieces = Vec::new();
    let mut scan = Scan { rest: script, line: 1, column: 1, open: None };
    loop {
        scan.skip_space();
        if scan.rest.is_empty() {
            return (pieces, scan.open);
        }
        let (line, column, start) = (scan.line, scan.column, scan.rest);
        let (kind, end, ended) = match start.starts_with(['.', '\\']) {
            true if commands == Commands::Lines => {
                scan.skip_line();
                (PieceKind::Command, scan.rest.len(), true)
            }
            _ => {
                let (end, ended) = scan.skip_statement();
                (PieceKind::Statement, end, ended)
            }
        };
        let text = start[..start.len() - end].trim_end();
        let text = match kind {
            PieceKind::Command => text.strip_suffix(';').unwrap_or(text).trim_end(),
            PieceKind::Statement => text,
        };
        if !text.is_empty() {
            pieces.push(ScriptPiece { kind, text, line, column, ended });
        }
    }
}

/// A position in a script.
struct Scan<'a> {
    rest: &'a str,
    line: u64,
    column: u64,
    open: Option<Open>,
}

impl Scan<'_> {
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        match passed.rfind('\n') {
            None => self.column += passed.chars().count() as u64,
            Some(last) => {
                self.line += passed.matches('\n').count() as u64;
                self.column = passed[last + 1..].chars().count() as u64 + 1;
            }
        }
    }

    /// Skips white space and comments.
    fn skip_space(&mut self) {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.advance(blanks);
            if self.rest.starts_with("--") {
                self.skip_line();
            } else if self.rest.starts_with("/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    /// Skips a comment. Comments nest, as they do in the parser.
    fn skip_comment(&mut self) {
        let open = self.opened("comment");
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return;
                }
            } else if !self.skip_char() {
                self.open = Some(open);
                return;
            }
        }
    }

    /// Skips a character. Returns whether there was one.
    fn skip_char(&mut self) -> bool {
        match self.rest.chars().next() {
            Some(char) => {
                self.advance(char.len_utf8());
                true
            }
            None => false,
        }
    }

    /// Skips the statement and its semicolon. Returns how many bytes were left after its last
    /// token, and whether there was a semicolon.
    fn skip_statement(&mut self) -> (usize, bool) {
        let mut end = self.rest.len();
        loop {
            self.skip_space();
            if self.rest.starts_with(';') {
                self.advance(1);
                return (end, true);
            }
            if self.rest.is_empty() {
                return (end, false);
            }
            self.skip_token();
            end = self.rest.len();
        }
    }

    /// Skips a token in which a semicolon has no meaning, a word, or a character.
    fn skip_token(&mut self) {
        if let Some(tag) = dollar_tag(self.rest) {
            let end = self.rest[tag.len()..].find(tag).map(|at| at + 2 * tag.len());
            if end.is_none() {
                self.open = Some(self.opened("string"));
            }
            self.advance(end.unwrap_or(self.rest.len()));
            return;
        }
        let Some(first) = self.rest.chars().next() else { return };
        match first {
            '\'' => self.skip_quoted(first, "string", Escapes::Doubled),
            '"' | '`' => self.skip_quoted(first, "quoted name", Escapes::Doubled),
            'e' | 'E' if self.rest[1..].starts_with('\'') => {
                self.advance(1);
                self.skip_quoted('\'', "string", Escapes::Backslash);
            }
            first if first.is_ascii_digit() => self.skip_while(char::is_alphanumeric),
            first if is_word(first) => self.skip_while(|char| is_word(char) || char == '$'),
            _ => {
                self.skip_char();
            }
        }
    }

    fn skip_while(&mut self, within: impl Fn(char) -> bool) {
        let end = self.rest.find(|char: char| !within(char));
        self.advance(end.unwrap_or(self.rest.len()));
    }

    /// Skips a quoted text. A doubled quote inside it reads as two quoted texts in a row, so it
    /// needs no attention.
    fn skip_quoted(&mut self, quote: char, what: &'static str, escapes: Escapes) {
        let open = self.opened(what);
        self.skip_char();
        while let Some(char) = self.rest.chars().next() {
            self.advance(char.len_utf8());
            if char == quote {
                return;
            }
            if char == '\\' && escapes == Escapes::Backslash {
                self.skip_char();
            }
        }
        self.open = Some(open);
    }

    fn opened(&self, what: &'static str) -> Open {
        Open { what, line: self.line, column: self.column }
    }
}

/// How a quoted text contains its quote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Doubled,
    Backslash,
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '#' | '@')
}

/// The `$tag$` that a text starts with, if any. `$1` is a parameter, not a tag.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let is_name = inner[..end].chars().all(|char| char.is_alphanumeric() || char == '_')
        && !inner.starts_with(|char: char| char.is_ascii_digit());
    is_name.then(|| &text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_split_where_a_reader_would() {
        type Found = &'static [(&'static str, u64, u64)];
        let cases: &[(&str, Found)] = &[
            ("", &[]),
            (" ;; -- nothing\n ; /* nor here */", &[]),
            ("select 1", &[("select 1", 1, 1)]),
            ("select 1;", &[("select 1", 1, 1)]),
            ("select 1 ; select 2", &[("select 1", 1, 1), ("select 2", 1, 12)]),
            ("select ';'; select 2", &[("select ';'", 1, 1), ("select 2", 1, 13)]),
            ("select 'it''s;'; select 2", &[("select 'it''s;'", 1, 1), ("select 2", 1, 18)]),
            ("select E'\\';'; x", &[("select E'\\';'", 1, 1), ("x", 1, 16)]),
            ("select \"a;b\", `c;d`; x", &[("select \"a;b\", `c;d`", 1, 1), ("x", 1, 22)]),
            ("-- a; b\nselect 1;\n\n  select\n 2", &[("select 1", 2, 1), ("select\n 2", 4, 3)]),
            ("/* ; /* nested; */ */ select 1", &[("select 1", 1, 23)]),
            ("select 1 -- end; no\n; select 2", &[("select 1", 1, 1), ("select 2", 2, 3)]),
            ("select $$a;b$$; select 2", &[("select $$a;b$$", 1, 1), ("select 2", 1, 17)]),
            ("select $x$a;$$b$x$; select 2", &[("select $x$a;$$b$x$", 1, 1), ("select 2", 1, 21)]),
            ("select $1 + $2; x", &[("select $1 + $2", 1, 1), ("x", 1, 17)]),
            ("select a$b$c; x", &[("select a$b$c", 1, 1), ("x", 1, 15)]),
            ("-- first\nselect 'ä;ö' ;\n\n y", &[("select 'ä;ö'", 2, 1), ("y", 4, 2)]),
            ("select 1;\r\nselect 2;\r\n", &[("select 1", 1, 1), ("select 2", 2, 1)]),
        ];
        for (script, expected) in cases {
            let found = split(script).unwrap();
            let found: Vec<_> = found.iter().map(|s| (s.text.as_str(), s.line, s.column)).collect();
            assert_eq!(&found, expected, "{script:?}");
            let pieces = ScriptPiece::split(script);
            let pieces: Vec<_> = pieces.iter().map(|p| (p.text, p.line, p.column)).collect();
            assert_eq!(&pieces, expected, "{script:?}");
        }
    }

    /// The statements of `script` as sqlparser's tokenizer finds them.
    fn split_by_tokens(script: &str) -> Option<Vec<(u64, u64)>> {
        let tokens = Tokenizer::new(&GenericDialect {}, script).tokenize_with_location().ok()?;
        let mut starts = Vec::new();
        let mut within = false;
        for token in &tokens {
            match token.token {
                Token::Whitespace(_) | Token::EOF => {}
                Token::SemiColon => within = false,
                _ if within => {}
                _ => {
                    within = true;
                    starts.push((token.span.start.line, token.span.start.column));
                }
            }
        }
        Some(starts)
    }

    #[test]
    fn the_tokenizer_finds_the_same_statements() {
        let fragments = [
            "select",
            "'a;b'",
            "'it''s;'",
            "\"q;\"",
            "`b;`",
            "$$x;$$",
            "$t$;$$;$t$",
            "-- c; '\n",
            "/* ; /* n; */ ' */",
            ";",
            ";",
            "E'\\';'",
            "a$b$c",
            "#x$y",
            "@y",
            "1.5",
            ".5",
            "\n",
            "$1",
            "||",
            "e",
            "(",
            ")",
            "'open",
            "/* open",
            "\"open",
        ];
        let mut seed = 42_u64;
        for _ in 0..20_000 {
            let mut script = String::new();
            for _ in 0..8 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                script.push_str(fragments[(seed >> 33) as usize % fragments.len()]);
                script.push(' ');
            }
            let ours = split(&script).ok();
            let ours: Option<Vec<_>> =
                ours.map(|found| found.iter().map(|s| (s.line, s.column)).collect());
            assert_eq!(ours, split_by_tokens(&script), "{script:?}");
        }
    }

    #[test]
    fn an_open_string_is_an_error_with_its_place() {
        let error = split("select 1;\nselect 'open").unwrap_err();
        let place = error.position().unwrap();
        assert_eq!((place.line, place.column), (2, 8), "{error}");
        assert_eq!(error.to_string(), "unterminated string");
    }

    #[test]
    fn places_move_with_their_statement() {
        let statement = Statement { text: "a\nb".into(), line: 7, column: 5 };
        assert_eq!(statement.position_in_script(Position::at(1, 3)), Position::at(7, 7));
        assert_eq!(statement.position_in_script(Position::at(2, 3)), Position::at(8, 3));
    }

    #[test]
    fn commands_end_with_their_line() {
        let script = ".mode csv\nselect 1;\n  \\d flights;\n.read it's here\nselect\n.5;";
        let pieces = ScriptPiece::split(script);
        let found: Vec<_> = pieces.iter().map(|p| (p.kind, p.text, p.line)).collect();
        let expect = [
            (PieceKind::Command, ".mode csv", 1),
            (PieceKind::Statement, "select 1", 2),
            (PieceKind::Command, "\\d flights", 3),
            (PieceKind::Command, ".read it's here", 4),
            (PieceKind::Statement, "select\n.5", 5),
        ];
        assert_eq!(found, expect);
        assert_eq!(split(".5 + 1").unwrap().len(), 1);
    }

    #[test]
    fn the_editor_waits_for_the_end_of_a_statement() {
        for complete in
            ["", "  ", "-- note", "select 1;", "select 1; -- done", ".help", "\\d t", "a; b;"]
        {
            assert!(ScriptPiece::is_complete(complete), "{complete:?}");
        }
        for open in
            ["select", "select 1;\nselect", "select ';", "select 'a''b;", "/* ;", "$$;", "\"a;"]
        {
            assert!(!ScriptPiece::is_complete(open), "{open:?}");
        }
    }
}
