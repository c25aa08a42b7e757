//! From the text of one statement to its syntax tree. The text is lexed once: [`Tokens`] are
//! measured, relieved of words that are ours alone, and then parsed. What sqlparser and DataFusion
//! misread is changed afterwards by [`rewrite`](super::rewrite).

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{
    Location, Token, TokenWithSpan, Tokenizer, Whitespace,
};

use super::balance::Balance;
use super::dialect::Corrected;
use super::visit::visit_mut;
use crate::error::Result;
use crate::text::{StatementLimits, check_tokens};

/// The tokens of a statement, with the dialect they were read in.
#[derive(Debug)]
pub struct Tokens {
    tokens: Vec<TokenWithSpan>,
    dialect: Corrected,
}

impl Tokens {
    /// Lexes `sql` in `dialect`.
    ///
    /// # Errors
    /// When a string, a quoted name or a comment is not closed, or a number runs into a word.
    pub fn of(sql: &str, dialect: Box<dyn Dialect>) -> Result<Self, DataFusionError> {
        let dialect = Corrected::of(dialect);
        let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
        let mut tokens = tokens.map_err(ParserError::from)?;
        whole_numbers(&mut tokens)?;
        Ok(Self { tokens, dialect })
    }

    /// Refuses tokens that are too many or form too long a chain.
    ///
    /// # Errors
    /// [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn check(&self, limits: &StatementLimits) -> Result<()> {
        check_tokens(self.tokens.iter().map(|token| &token.token), limits)
    }

    /// Removes `words` from the front if the statement starts with them and has more after them.
    /// Returns whether it did. The other tokens keep their positions in the text.
    pub fn strip_prefix(&mut self, words: &[&str]) -> bool {
        let mut solid = self.tokens.iter().enumerate().filter(|(_, token)| !is_space(token));
        let starts = words.iter().all(|expected| {
            solid.next().is_some_and(|(_, token)| {
                matches!(&token.token, Token::Word(word)
                    if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
            })
        });
        match solid.next() {
            Some((rest, token)) if starts && token.token != Token::EOF => {
                self.tokens.drain(..rest);
                true
            }
            _ => false,
        }
    }

    /// Parses the tokens as one statement, with at most `nesting_max` nested parentheses and
    /// subqueries.
    ///
    /// # Errors
    /// When the tokens are not exactly one statement.
    pub fn parse(mut self, nesting_max: usize) -> Result<Statement, DataFusionError> {
        if let Some(Location { line, column }) = self.second_statement() {
            let text = "expected one statement, but the text contains several";
            let text = format!("{text} at Line: {line}, Column: {column}");
            return Err(ParserError::ParserError(text).into());
        }
        without_materialized(&mut self.tokens);
        refuse_exclusion(&self.tokens)?;
        with_trimmed_spaces(&mut self.tokens);
        let mut statements = DFParserBuilder::new(self.tokens)
            .with_dialect(&self.dialect)
            .with_recursion_limit(nesting_max)
            .build()?
            .parse_statements()?;
        let Some(mut statement) = statements.pop_front() else {
            return Err(DataFusionError::Plan("the text contains no statement".to_owned()));
        };
        visit_mut(&mut statement, &mut Balance).map_err(|e| DataFusionError::External(e.into()))?;
        Ok(statement)
    }

    /// Where a second statement starts: the first token after a semicolon that follows a token.
    fn second_statement(&self) -> Option<Location> {
        let is_separator = |token: &&TokenWithSpan| token.token == Token::SemiColon;
        let mut solid = self.tokens.iter().filter(|token| !is_space(token));
        solid.by_ref().find(|token| !is_separator(token))?;
        solid.by_ref().find(is_separator)?;
        let second = solid.find(|token| !is_separator(token))?;
        (second.token != Token::EOF).then_some(second.span.start)
    }
}

/// Parses `sql`, which is one statement, in `dialect`: [`Tokens::of`] and [`Tokens::parse`].
///
/// # Errors
/// When the text is not exactly one statement.
pub fn parse(
    sql: &str,
    dialect: Box<dyn Dialect>,
    nesting_max: usize,
) -> Result<Statement, DataFusionError> {
    Tokens::of(sql, dialect)?.parse(nesting_max)
}

fn is_space(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_))
}

/// Removes `[NOT] MATERIALIZED` from `WITH q AS MATERIALIZED (...)`, which sqlparser 0.62 reads in
/// PostgreSQL's dialect only. It says how to compute the query and does not change its rows.
fn without_materialized(tokens: &mut Vec<TokenWithSpan>) {
    let word = |token: &TokenWithSpan, keyword: Keyword| {
        matches!(&token.token, Token::Word(word)
            if word.quote_style.is_none() && word.keyword == keyword)
    };
    let mut at = 0;
    while at < tokens.len() {
        let after = tokens[at + 1..].iter().find(|token| !is_space(token));
        let opens = after.is_some_and(|token| token.token == Token::LParen);
        if !(word(&tokens[at], Keyword::MATERIALIZED) && opens) {
            at += 1;
            continue;
        }
        let before = |end: usize| tokens[..end].iter().rposition(|token| !is_space(token));
        let not = before(at).filter(|&not| word(&tokens[not], Keyword::NOT));
        let first = not.unwrap_or(at);
        if before(first).is_some_and(|previous| word(&tokens[previous], Keyword::AS)) {
            tokens.drain(first..=at);
            at = first;
        } else {
            at += 1;
        }
    }
}

/// Adds the characters to `TRIM(BOTH FROM text)`, where they are spaces by default: sqlparser 0.62
/// requires them.
fn with_trimmed_spaces(tokens: &mut Vec<TokenWithSpan>) {
    let solid: Vec<usize> = (0..tokens.len()).filter(|&at| !is_space(&tokens[at])).collect();
    let word = |at: usize, keywords: &[Keyword]| {
        matches!(&tokens[at].token, Token::Word(word)
            if word.quote_style.is_none() && keywords.contains(&word.keyword))
    };
    let sides = [Keyword::BOTH, Keyword::LEADING, Keyword::TRAILING];
    let of_spaces = |at: &[usize]| {
        word(at[0], &[Keyword::TRIM])
            && tokens[at[1]].token == Token::LParen
            && word(at[2], &sides)
            && word(at[3], &[Keyword::FROM])
    };
    let before: Vec<usize> = solid.windows(4).filter(|at| of_spaces(at)).map(|at| at[3]).collect();
    for at in before.into_iter().rev() {
        let span = tokens[at].span;
        tokens.insert(at, TokenWithSpan::new(Token::Whitespace(Whitespace::Space), span));
        tokens.insert(at, TokenWithSpan::new(Token::SingleQuotedString(" ".to_owned()), span));
    }
}

/// Refuses EXCLUDE in the frame of a window, which sqlparser 0.62 does not read.
fn refuse_exclusion(tokens: &[TokenWithSpan]) -> Result<(), DataFusionError> {
    let mut solid = tokens.iter().filter(|token| !is_space(token)).peekable();
    let word = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
        _ => None,
    };
    let mut ends_frame = false;
    while let Some(token) = solid.next() {
        let this = word(token);
        let next = solid.peek().and_then(|token| word(token));
        let excludes = ["CURRENT", "GROUP", "TIES", "NO"];
        if ends_frame
            && this.as_deref() == Some("EXCLUDE")
            && next.is_some_and(|next| excludes.contains(&next.as_str()))
        {
            let Location { line, column } = token.span.start;
            let text = "EXCLUDE in a window frame is not supported";
            let text = format!("{text} at Line: {line}, Column: {column}");
            return Err(ParserError::ParserError(text).into());
        }
        ends_frame = this.is_some_and(|this| ["ROW", "PRECEDING", "FOLLOWING"].contains(&&*this));
    }
    Ok(())
}

/// Removes underscores from numbers, and refuses a number that runs into a word: sqlparser 0.62
/// reads `12abc` as the number 12 with the alias `abc`.
fn whole_numbers(tokens: &mut [TokenWithSpan]) -> Result<(), DataFusionError> {
    for i in 0..tokens.len() {
        let (head, tail) = tokens.split_at_mut(i + 1);
        let Some(TokenWithSpan { token: Token::Number(digits, _), span }) = head.last_mut() else {
            continue;
        };
        if let Some(TokenWithSpan { token: Token::Word(word), .. }) = tail.first()
            && word.quote_style.is_none()
        {
            let text = format!("\"{digits}{}\" is neither a number nor a name", word.value);
            let at = format!("{text} at Line: {}, Column: {}", span.start.line, span.start.column);
            return Err(ParserError::ParserError(at).into());
        }
        digits.retain(|c| c != '_');
    }
    Ok(())
}
