//! Splits what a user typed, or a script, into SQL statements and commands of the shell. A command
//! begins with a dot or a backslash, stands where a statement could begin, and ends with its line.
//!
//! The editor asks the same function whether a statement is complete, so that what is entered
//! line by line and what is read from a file mean the same.

/// A statement or a command, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    /// Its text, without the semicolon that ends it and without blanks around it.
    pub(crate) text: &'a str,
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// The column at which it begins, from 1, in characters.
    pub(crate) column: usize,
    /// Whether its end was seen: a semicolon, or for a command the end of its line.
    pub(crate) ended: bool,
}

/// What a piece of a script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Statement,
    Command,
}

/// The pieces of a script, in order. What holds nothing but comments is no piece.
pub(crate) fn split(script: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut scan = Scan { rest: script, line: 1, column: 1 };
    loop {
        scan.skip_blanks_and_comments();
        if scan.rest.is_empty() {
            return pieces;
        }
        let (line, column, start) = (scan.line, scan.column, scan.rest);
        let (kind, ended) = match start.starts_with(['.', '\\']) {
            true => {
                scan.advance(start.find('\n').unwrap_or(start.len()));
                (Kind::Command, true)
            }
            false => (Kind::Statement, scan.skip_statement()),
        };
        let text = &start[..start.len() - scan.rest.len()];
        let text = text.strip_suffix(';').unwrap_or(text).trim();
        if !text.is_empty() {
            pieces.push(Piece { kind, text, line, column, ended });
        }
    }
}

/// Whether all that was begun in a text is ended, so that it can be run.
pub(crate) fn is_complete(text: &str) -> bool {
    if unfinished_comment(text) {
        return false;
    }
    split(text).last().is_none_or(|piece| piece.ended)
}

fn unfinished_comment(text: &str) -> bool {
    let mut scan = Scan { rest: text, line: 1, column: 1 };
    while !scan.rest.is_empty() {
        if scan.rest.starts_with("/*") && !scan.skip_block_comment() {
            return true;
        }
        if !scan.skip_token() {
            return false;
        }
    }
    false
}

struct Scan<'a> {
    rest: &'a str,
    line: usize,
    column: usize,
}

impl Scan<'_> {
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        match passed.rfind('\n') {
            None => self.column += passed.chars().count(),
            Some(last) => {
                self.line += passed.matches('\n').count();
                self.column = passed[last + 1..].chars().count() + 1;
            }
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.advance(blanks);
            if self.rest.starts_with("--") {
                self.skip_line();
            } else if self.rest.starts_with("/*") {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
    }

    /// Comments nest, as they do in the parser. Whether the comment has an end.
    fn skip_block_comment(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.advance(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.advance(2);
                if depth == 0 {
                    return true;
                }
            } else if !self.skip_char() {
                return false;
            }
        }
    }

    fn skip_char(&mut self) -> bool {
        match self.rest.chars().next() {
            Some(char) => {
                self.advance(char.len_utf8());
                true
            }
            None => false,
        }
    }

    /// Goes past the statement and its semicolon. Whether there was one.
    fn skip_statement(&mut self) -> bool {
        while !self.rest.is_empty() {
            if self.rest.starts_with(';') {
                self.advance(1);
                return true;
            }
            if !self.skip_token() {
                return false;
            }
        }
        false
    }

    /// Goes past one thing inside of which a semicolon has no meaning, or past one word or
    /// character. Whether it has an end.
    fn skip_token(&mut self) -> bool {
        if self.rest.starts_with("--") {
            self.skip_line();
            return true;
        }
        if self.rest.starts_with("/*") {
            return self.skip_block_comment();
        }
        if let Some(tag) = dollar_tag(self.rest) {
            let end = self.rest[tag.len()..].find(tag).map(|at| at + 2 * tag.len());
            self.advance(end.unwrap_or(self.rest.len()));
            return end.is_some();
        }
        let Some(first) = self.rest.chars().next() else { return false };
        match first {
            '\'' | '"' | '`' => self.skip_quoted(first, false),
            'e' | 'E' if self.rest[1..].starts_with('\'') => {
                self.advance(1);
                self.skip_quoted('\'', true)
            }
            first if first.is_alphanumeric() || first == '_' => {
                let end = self.rest.find(|char: char| !(char.is_alphanumeric() || char == '_'));
                self.advance(end.unwrap_or(self.rest.len()));
                true
            }
            _ => self.skip_char(),
        }
    }

    /// A quote inside of quotes is written twice; that reads as two quoted texts in a row, so
    /// nothing need be done about it.
    fn skip_quoted(&mut self, quote: char, backslash_escapes: bool) -> bool {
        self.skip_char();
        while let Some(char) = self.rest.chars().next() {
            self.advance(char.len_utf8());
            if char == quote {
                return true;
            }
            if char == '\\' && backslash_escapes {
                self.skip_char();
            }
        }
        false
    }
}

/// The `$tag$` a text begins with, if it begins with one. `$1` is a parameter, not a tag.
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

    #[track_caller]
    fn check(script: &str, expect: &[(&str, usize, usize)]) {
        let pieces: Vec<_> =
            split(script).into_iter().map(|piece| (piece.text, piece.line, piece.column)).collect();
        assert_eq!(pieces, expect, "{script:?}");
    }

    #[test]
    fn statements_end_at_semicolons_that_are_not_quoted() {
        check("", &[]);
        check(" ;; -- nothing\n ; /* nor here */", &[]);
        check("select 1; select 2", &[("select 1", 1, 1), ("select 2", 1, 11)]);
        check("select ';'; x", &[("select ';'", 1, 1), ("x", 1, 13)]);
        check("select 'it''s;'; x", &[("select 'it''s;'", 1, 1), ("x", 1, 18)]);
        check("select E'\\';'; x", &[("select E'\\';'", 1, 1), ("x", 1, 16)]);
        check("select \"a;b\", `c;d`; x", &[("select \"a;b\", `c;d`", 1, 1), ("x", 1, 22)]);
        check("select $$a;b$$; x", &[("select $$a;b$$", 1, 1), ("x", 1, 17)]);
        check("select $t$a;$$b$t$; x", &[("select $t$a;$$b$t$", 1, 1), ("x", 1, 21)]);
        check("select $1 + $2; x", &[("select $1 + $2", 1, 1), ("x", 1, 17)]);
        check("select 1 -- a; b\n; x", &[("select 1 -- a; b", 1, 1), ("x", 2, 3)]);
        check("/* ; /* nested; */ */ x", &[("x", 1, 23)]);
        check("-- first\nselect 'ä;ö' ;\n\n y", &[("select 'ä;ö'", 2, 1), ("y", 4, 2)]);
        check("a;\r\nb;\r\n", &[("a", 1, 1), ("b", 2, 1)]);
    }

    #[test]
    fn commands_end_with_their_line() {
        let pieces = split(".mode csv\nselect 1;\n  \\d flights;\n.read it's here\nselect\n.5;");
        let found: Vec<_> =
            pieces.iter().map(|piece| (piece.kind, piece.text, piece.line)).collect();
        let expect = [
            (Kind::Command, ".mode csv", 1),
            (Kind::Statement, "select 1", 2),
            (Kind::Command, "\\d flights", 3),
            (Kind::Command, ".read it's here", 4),
            (Kind::Statement, "select\n.5", 5),
        ];
        assert_eq!(found, expect);
    }

    #[test]
    fn the_editor_waits_for_the_end_of_a_statement() {
        for complete in
            ["", "  ", "-- note", "select 1;", "select 1; -- done", ".help", "\\d t", "a; b;"]
        {
            assert!(is_complete(complete), "{complete:?}");
        }
        for open in
            ["select", "select 1;\nselect", "select ';", "select 'a''b;", "/* ;", "$$;", "\"a;"]
        {
            assert!(!is_complete(open), "{open:?}");
        }
    }
}
