//! Syntax colours at the prompt, from the tokens of the SQL parser.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, Whitespace,
};
use nu_ansi_term::{Color, Style};
use reedline::{Highlighter, StyledText};

use crate::vocabulary::{self, Vocabulary};

/// Longer text is not coloured, because colouring runs at every key press.
const COLOURED_BYTES_MAX: usize = 100_000;

/// Colours SQL and commands.
pub(crate) struct SqlHighlighter {
    pub(crate) vocabulary: Vocabulary,
}

impl Highlighter for SqlHighlighter {
    fn highlight(&self, line: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        if line.len() > COLOURED_BYTES_MAX {
            styled.push((Style::new(), line.to_owned()));
            return styled;
        }
        if line.trim_start().starts_with(['.', '\\']) {
            styled.push((Color::Purple.normal(), line.to_owned()));
            return styled;
        }
        let mut tokens = Vec::new();
        let read = Tokenizer::new(&GenericDialect {}, line)
            .with_unescape(false)
            .tokenize_with_location_into_buf(&mut tokens);
        let names = self.vocabulary.names();
        let offsets = Offsets::of(line);
        let mut end = 0;
        for (i, token) in tokens.iter().enumerate() {
            let next = offsets.at(token.span.end).min(line.len());
            if next <= end {
                continue;
            }
            let called = followed_by_parenthesis(&tokens[i + 1..]);
            let style = style(&token.token, |word| {
                called && names.functions.contains(&word.to_ascii_lowercase())
            });
            styled.push((style, line[end..next].to_owned()));
            end = next;
        }
        if end < line.len() {
            // Where the tokenizer stopped, there is an unterminated string or comment.
            let style = if read.is_err() { string() } else { Style::new() };
            styled.push((style, line[end..].to_owned()));
        }
        styled
    }
}

fn style(token: &Token, is_function: impl Fn(&str) -> bool) -> Style {
    match token {
        Token::Word(word) if word.quote_style.is_some() => Style::new(),
        Token::Word(word) if is_function(&word.value) => Color::Yellow.normal(),
        Token::Word(word) if vocabulary::is_keyword(&word.value) => Color::Blue.bold(),
        Token::Number(..) => Color::Cyan.normal(),
        Token::SingleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::HexStringLiteral(_) => string(),
        Token::Whitespace(
            Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
        ) => Style::new().dimmed(),
        _ => Style::new(),
    }
}

fn string() -> Style {
    Color::Green.normal()
}

fn followed_by_parenthesis(tokens: &[TokenWithSpan]) -> bool {
    let mut solid = tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_)));
    solid.next().is_some_and(|token| token.token == Token::LParen)
}

/// Converts the tokenizer's lines and columns to offsets.
struct Offsets<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Offsets<'a> {
    fn of(text: &'a str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(starts).collect() }
    }

    fn at(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(usize::MAX).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(&start) = self.lines.get(line) else { return self.text.len() };
        let chars = self.text[start..].char_indices().map(|(at, _)| start + at);
        chars.chain([self.text.len()]).nth(column).unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn highlight(text: &str) -> Vec<(Style, String)> {
        let vocabulary = Vocabulary::default();
        vocabulary.set(vocabulary::Names {
            functions: ["count".to_owned()].into(),
            ..vocabulary::Names::default()
        });
        SqlHighlighter { vocabulary }.highlight(text, 0).buffer
    }

    #[test]
    fn nothing_is_lost_or_added() {
        for text in [
            "select 'ä' , count(*) from \"t\" -- note\nwhere x = 1;",
            "select 'open\n string",
            "/* open",
            "select $$a\nb$$; x",
            ".mode csv",
            "",
            "\n\n",
            "日本 select",
        ] {
            let shown: String = highlight(text).into_iter().map(|(_, text)| text).collect();
            assert_eq!(shown, text);
        }
    }

    #[test]
    fn words_are_coloured_by_what_they_are() {
        let found = highlight("select count(1), name, 'x'");
        let style = |word: &str| found.iter().find(|(_, text)| text == word).map(|(s, _)| *s);
        assert_eq!(style("select"), Some(Color::Blue.bold()));
        assert_eq!(style("count"), Some(Color::Yellow.normal()));
        assert_eq!(style("1"), Some(Color::Cyan.normal()));
        assert_eq!(style("name"), Some(Style::new()));
        assert_eq!(style("'x'"), Some(string()));
    }
}
