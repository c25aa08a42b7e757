//! Takes secrets out of the text of statements, before it is remembered or shown to anybody but whoever
//! wrote it.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// What stands where a secret was.
const REDACTED: &str = "***";

/// Parts of the names of options whose values are secrets.
const SECRET_NAMES: [&str; 6] =
    ["secret", "password", "token", "credential", "access_key", "passphrase"];

/// The text of a statement with the value of every option that has the name of a secret taken out. Of
/// one that cannot be read and speaks of secrets nothing is left.
pub fn redact(text: &str) -> String {
    if !names_secret(text) {
        return text.to_owned();
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).with_unescape(false).tokenize();
    let Ok(tokens) = tokens else { return String::new() };
    let mut redacted = String::with_capacity(text.len());
    // Blanks, `=` and the like may stand between a name and its value.
    let mut value_follows = false;
    for token in tokens {
        match &token {
            Token::SingleQuotedString(value) if value_follows => {
                redacted.push_str(&format!("'{}'", if value.is_empty() { "" } else { REDACTED }));
                value_follows = false;
                continue;
            }
            Token::SingleQuotedString(name) => value_follows = names_secret(name),
            Token::Word(name) => value_follows = value_follows || names_secret(&name.value),
            Token::Comma | Token::SemiColon | Token::RParen => value_follows = false,
            _ => {}
        }
        redacted.push_str(&token.to_string());
    }
    redacted
}

/// The same without what follows a `?` in an address, which is how the web signs them: for what is shown
/// to others than the user.
pub(crate) fn for_others(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // Every second part is in quotes.
    for (n, part) in redact(text).split('\'').enumerate() {
        if n > 0 {
            kept.push('\'');
        }
        match part.split_once('?').filter(|(address, _)| n % 2 == 1 && address.contains("://")) {
            Some((address, _)) => kept.push_str(&format!("{address}?{REDACTED}")),
            None => kept.push_str(part),
        }
    }
    kept
}

/// Whether a text has something of the name of a secret in it.
pub(crate) fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::{for_others, redact};

    #[test]
    fn secrets_are_not_remembered() {
        let text = "create external table t stored as csv location 's3://b/k'\n  options \
                    ('aws.access_key_id' 'AKIA', 'aws.secret_access_key' 'canary', 'a' 'b')";
        let kept = redact(text);
        assert!(!kept.contains("canary") && !kept.contains("AKIA"), "{kept}");
        assert!(kept.contains("'s3://b/k'\n") && kept.contains("'a' 'b'"), "{kept}");
        assert_eq!(redact("set aws.session_token = 'canary';"), "set aws.session_token = '***';");
        assert_eq!(redact("options ('password' 'cana"), "");
        assert_eq!(redact("select 'it''s' from t"), "select 'it''s' from t");
    }

    #[test]
    fn signed_addresses_are_nobody_elses_business() {
        let text = "select 'why?' from 'https://h/a.csv?X-Amz-Signature=canary' where a = '?'";
        let shown = "select 'why?' from 'https://h/a.csv?***' where a = '?'";
        assert_eq!(for_others(text), shown);
    }
}
