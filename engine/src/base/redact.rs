//! Masks secrets in the text of statements before it is stored, or shown to anyone but its author.

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The replacement for a secret.
const REDACTED: &str = "***";

/// Parts of the names of options with secret values.
const SECRET_NAMES: [&str; 6] =
    ["secret", "password", "token", "credential", "access_key", "passphrase"];

/// Masks the value of every option in a statement whose name is that of a secret. A statement that
/// cannot be lexed and mentions secrets becomes empty.
pub fn redact(text: &str) -> String {
    if !names_secret(text) {
        return text.to_owned();
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text).with_unescape(false).tokenize();
    let Ok(tokens) = tokens else { return String::new() };
    let mut redacted = String::with_capacity(text.len());
    // A name and its value may be separated by blanks, `=` and the like.
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

/// Like [`redact`], and also masks what follows `?` in an address, which is where signed URLs have
/// their signature: for text that is shown to others than the user.
pub(crate) fn for_others(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    // Every second part is quoted.
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

/// True if a text contains a part of the name of a secret.
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
