//! The history of what was typed: whole statements, in the user's state folder, without secrets.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery,
};

/// How many statements are remembered.
const STATEMENTS_MAX: usize = 10_000;

/// What stands where a secret was.
const REDACTED: &str = "***";

/// Parts of the names of options whose values are secrets.
const SECRET_NAMES: [&str; 6] =
    ["secret", "password", "token", "credential", "access_key", "passphrase"];

/// A history that forgets secrets.
pub(crate) struct Remembered(FileBackedHistory);

impl Remembered {
    /// The history in a folder, which is made if need be; nobody but the user may read it.
    pub(crate) fn in_folder(folder: &Path) -> std::io::Result<Self> {
        if !folder.is_dir() {
            if let Some(parent) = folder.parent() {
                fs::create_dir_all(parent)?;
            }
            DirBuilder::new().mode(0o700).create(folder)?;
        }
        let history = FileBackedHistory::with_file(STATEMENTS_MAX, folder.join("history"));
        history.map(Self).map_err(|e| std::io::Error::other(e.to_string()))
    }
}

impl History for Remembered {
    fn save(&mut self, mut item: HistoryItem) -> Result<HistoryItem> {
        item.command_line = redact(item.command_line.trim());
        self.0.save(item)
    }

    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }

    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }

    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }

    fn update(
        &mut self,
        id: HistoryItemId,
        updater: &dyn Fn(HistoryItem) -> HistoryItem,
    ) -> Result<()> {
        self.0.update(id, updater)
    }

    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }

    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }

    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

/// The text with the value of every option that has the name of a secret taken out. A statement
/// that cannot be read and speaks of secrets is not remembered at all.
fn redact(text: &str) -> String {
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

fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use reedline::SearchDirection;

    use super::*;

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
    fn statements_of_several_lines_are_one_entry() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("deep").join("bigslice");
        for text in ["select 1;", "select\n  2;"] {
            let mut history = Remembered::in_folder(&state).unwrap();
            history.save(HistoryItem::from_command_line(text)).unwrap();
            history.sync().unwrap();
        }
        let history = Remembered::in_folder(&state).unwrap();
        let all = SearchQuery::everything(SearchDirection::Forward, None);
        let found: Vec<_> =
            history.search(all).unwrap().into_iter().map(|item| item.command_line).collect();
        assert_eq!(found, ["select 1;", "select\n  2;"]);
    }
}
