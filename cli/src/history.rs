//! The input history: whole statements, in the user's state folder, without secrets.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use bigslice::redact;
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery,
};

/// Maximum number of remembered statements.
const STATEMENTS_MAX: usize = 10_000;

/// A history that redacts secrets.
pub(crate) struct Remembered(FileBackedHistory);

impl Remembered {
    /// Opens the history in a folder, which is created if necessary and readable by the user only.
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

#[cfg(test)]
mod tests {
    use reedline::SearchDirection;

    use super::*;

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
