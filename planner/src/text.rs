//! Limits on the text and the tokens of a statement, checked before it is parsed.
//!
//! The parser itself stops at 50 nested parentheses. It does not stop at chains, which it builds in
//! a loop: `a OR b OR c ...` makes a tree as deep as the chain is long, and each later pass
//! descends it on the stack. Chains are found here in the tokens, so that no part of the grammar
//! can hide one.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::error::{Error, Result};

/// The limits of a statement. The defaults admit what people write by hand or generate in good
/// faith (lists of a hundred thousand literals, thousands of conditions, a union of 200 branches,
/// 500 columns); statements within them were measured to plan within 64 MiB of stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLimits {
    /// Maximum length in bytes.
    pub bytes_max: usize,
    /// Maximum number of tokens, without white space and comments.
    pub tokens_max: usize,
    /// Maximum number of operators in a row without a comma, clause, parenthesis, AND or OR in
    /// between.
    pub chain_max: usize,
    /// Maximum depth of an expression.
    pub depth_max: usize,
    /// Maximum number of expressions other than literals.
    pub exprs_max: usize,
    /// Maximum number of set operations (UNION, INTERSECT, EXCEPT).
    pub branches_max: usize,
    /// Maximum number of joined tables.
    pub joins_max: usize,
    /// Maximum number of common table expressions.
    pub ctes_max: usize,
}

impl Default for StatementLimits {
    fn default() -> Self {
        Self {
            bytes_max: 16 * 1024 * 1024,
            tokens_max: 1_000_000,
            chain_max: 3_000,
            depth_max: 1_000,
            exprs_max: 20_000,
            branches_max: 500,
            joins_max: 150,
            ctes_max: 300,
        }
    }
}

/// One of the [`StatementLimits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Bytes,
    Tokens,
    Chain,
    Depth,
    Exprs,
    Branches,
    Joins,
    Ctes,
}

impl Limit {
    /// Fails if `found` exceeds the limit.
    pub(crate) fn check(self, found: usize, limits: &StatementLimits) -> Result<()> {
        let (what, limit, setting) = match self {
            Self::Bytes => ("bytes", limits.bytes_max, "statement_bytes_max"),
            Self::Tokens => ("tokens", limits.tokens_max, "statement_tokens_max"),
            Self::Chain => ("operators in one chain", limits.chain_max, "statement_chain_max"),
            Self::Depth => {
                ("levels of nested expressions", limits.depth_max, "statement_depth_max")
            }
            Self::Exprs => ("expressions", limits.exprs_max, "statement_expressions_max"),
            Self::Branches => ("set operations", limits.branches_max, "statement_branches_max"),
            Self::Joins => ("joins", limits.joins_max, "statement_joins_max"),
            Self::Ctes => ("common table expressions", limits.ctes_max, "statement_ctes_max"),
        };
        if found > limit { Err(Error::TooLarge { what, found, limit, setting }) } else { Ok(()) }
    }
}

/// Refuses text that is too long to be lexed.
///
/// # Errors
/// [`Error::TooLarge`].
pub fn check_text(sql: &str, limits: &StatementLimits) -> Result<()> {
    Limit::Bytes.check(sql.len(), limits)
}

/// Refuses tokens that are too many or form too long a chain.
pub(crate) fn check_tokens<'a>(
    tokens: impl Iterator<Item = &'a Token>,
    limits: &StatementLimits,
) -> Result<()> {
    let (mut count, mut branches, mut joins) = (0, 0, 0);
    // Operators since the last separator, with one counter per open parenthesis.
    let mut chains: Vec<usize> = vec![0];
    for token in tokens {
        if matches!(token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        count += 1;
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => chains.push(0),
            Token::RParen | Token::RBracket | Token::RBrace if chains.len() > 1 => {
                chains.pop();
            }
            Token::Comma | Token::SemiColon => reset(&mut chains),
            Token::Word(word) => match word.keyword {
                Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT => branches += 1,
                Keyword::JOIN => {
                    joins += 1;
                    reset(&mut chains);
                }
                // Chains of AND or OR are flat in the tree; see `balance`.
                Keyword::AND | Keyword::OR => reset(&mut chains),
                keyword if is_clause(keyword) => reset(&mut chains),
                keyword if is_operator_word(keyword) => grow(&mut chains, limits)?,
                _ => {}
            },
            Token::Number(..) | Token::Period | Token::RParen | Token::RBracket | Token::RBrace => {
            }
            other if is_string(other) => {}
            _ => grow(&mut chains, limits)?,
        }
    }
    Limit::Tokens.check(count, limits)?;
    Limit::Branches.check(branches, limits)?;
    Limit::Joins.check(joins, limits)
}

fn reset(chains: &mut [usize]) {
    if let Some(chain) = chains.last_mut() {
        *chain = 0;
    }
}

fn grow(chains: &mut [usize], limits: &StatementLimits) -> Result<()> {
    if let Some(chain) = chains.last_mut() {
        *chain += 1;
        Limit::Chain.check(*chain, limits)?;
    }
    Ok(())
}

/// Keywords that start a new expression.
fn is_clause(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::ORDER
            | Keyword::LIMIT
            | Keyword::VALUES
            | Keyword::ON
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
    )
}

/// Keywords that join or wrap expressions.
fn is_operator_word(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::XOR
            | Keyword::NOT
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::SIMILAR
            | Keyword::BETWEEN
            | Keyword::COLLATE
            | Keyword::AT
            | Keyword::DIV
            | Keyword::OVERLAPS
    )
}

fn is_string(token: &Token) -> bool {
    matches!(
        token,
        Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::HexStringLiteral(_)
            | Token::Placeholder(_)
    )
}
