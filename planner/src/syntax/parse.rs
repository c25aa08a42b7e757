//! Parses the text of one statement. [`rewrite`](super::rewrite) then corrects the syntax tree.

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::balance::Balance;
use super::dialect::Corrected;
use super::visit::visit_mut;

/// Parses `sql`, which must be one statement, in `dialect`, with at most `nesting_max` nested
/// parentheses and subqueries.
///
/// # Errors
/// If the text is not exactly one valid statement.
pub fn parse(
    sql: &str,
    dialect: Box<dyn Dialect>,
    nesting_max: usize,
) -> Result<Statement, DataFusionError> {
    let dialect = Corrected::of(dialect);
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(ParserError::from)?;
    whole_numbers(&mut tokens)?;
    without_materialized(&mut tokens);
    let mut statements = DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(nesting_max)
        .build()?
        .parse_statements()?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(mut statement), true) => {
            visit_mut(&mut statement, &mut Balance)
                .map_err(|e| DataFusionError::External(e.into()))?;
            Ok(statement)
        }
        (None, _) => Err(DataFusionError::Plan("the text contains no statement".to_owned())),
        (Some(_), false) => Err(DataFusionError::Plan(
            "expected one statement, but the text contains several".to_owned(),
        )),
    }
}

/// Removes `[NOT] MATERIALIZED` from `WITH q AS MATERIALIZED (...)`, which sqlparser 0.62 reads
/// only in PostgreSQL's dialect. It is a hint that does not change the rows.
fn without_materialized(tokens: &mut Vec<TokenWithSpan>) {
    let word = |token: &TokenWithSpan, keyword: Keyword| matches!(&token.token, Token::Word(word) if word.quote_style.is_none() && word.keyword == keyword);
    let is_space = |token: &&TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let mut at = 0;
    while at < tokens.len() {
        let after = tokens[at + 1..].iter().find(|token| !is_space(token));
        let opens = after.is_some_and(|token| token.token == Token::LParen);
        if !(word(&tokens[at], Keyword::MATERIALIZED) && opens) {
            at += 1;
            continue;
        }
        let before = |end: usize| tokens[..end].iter().rposition(|token| !is_space(&token));
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
