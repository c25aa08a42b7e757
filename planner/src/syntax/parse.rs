//! From text to the syntax tree of one statement. What sqlparser and DataFusion make of it is changed by
//! [`rewrite`](super::rewrite).

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::Dialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::balance::Balance;
use super::dialect::Mended;
use super::visit::visit_mut;

/// Parses the one statement that `sql` holds, in `dialect`, with no more than `nesting_max` parentheses and
/// subqueries within one another.
///
/// # Errors
/// When it is not one statement.
pub fn parse(
    sql: &str,
    dialect: Box<dyn Dialect>,
    nesting_max: usize,
) -> Result<Statement, DataFusionError> {
    let dialect = Mended::of(dialect);
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location();
    let mut tokens = tokens.map_err(ParserError::from)?;
    whole_numbers(&mut tokens)?;
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
        (None, _) => Err(DataFusionError::Plan("there is no statement in the text".to_owned())),
        (Some(_), false) => Err(DataFusionError::Plan(
            "one statement was expected, but the text holds several".to_owned(),
        )),
    }
}

/// Takes the underscores out of numbers, and refuses a number that goes over into a word: sqlparser 0.62 reads
/// `12abc` as the number 12 with the name `abc`.
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
