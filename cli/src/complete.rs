//! Tab completion: columns, tables, keywords and functions in a statement, files inside quotes, and
//! the shell's own commands.

use std::collections::BTreeSet;
use std::path::Path;

use reedline::{Completer, CompletionResult, Span, Suggestion};

use crate::command::COMMANDS;
use crate::format::Format;
use crate::vocabulary::{self, Names, Vocabulary};

/// Maximum number of suggestions; more would not be read.
const SUGGESTIONS_MAX: usize = 100;

/// Maximum number of folder entries to look at.
const FOLDER_ENTRIES_MAX: usize = 10_000;

/// Completes the text at the cursor.
pub(crate) struct SqlCompleter {
    pub(crate) vocabulary: Vocabulary,
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let found = complete(line, pos, &self.vocabulary.names());
        let suggestions: Vec<_> = found
            .words
            .into_iter()
            .take(SUGGESTIONS_MAX)
            .map(|word| Suggestion {
                append_whitespace: !word.ends_with(['(', '/', '.', '\'']),
                value: word,
                span: Span::new(found.start, pos),
                ..Suggestion::default()
            })
            .collect();
        CompletionResult::fresh(suggestions)
    }
}

/// Candidates for the word that starts at `start`.
#[derive(Debug, Default, PartialEq)]
struct Found {
    start: usize,
    words: Vec<String>,
}

fn complete(line: &str, pos: usize, names: &Names) -> Found {
    let Some(before) = line.get(..pos) else { return Found::default() };
    if before.starts_with(['.', '\\']) && !before.contains('\n') {
        return command(before, names);
    }
    match open_quote(before) {
        Some((quote, '\'')) => path(before, quote + 1),
        Some((quote, _)) => {
            let typed = &before[quote + 1..];
            let all = names.tables.values().flatten().chain(names.tables.keys());
            let words = matching(all.map(String::as_str), typed);
            Found { start: quote + 1, words: words.map(str::to_owned).collect() }
        }
        None => word(line, before, names),
    }
}

/// Completes a command or its argument.
fn command(before: &str, names: &Names) -> Found {
    let Some((name, argument)) = before.split_once(' ') else {
        let all = COMMANDS.iter().flat_map(|spec| spec.names).copied();
        return Found { start: 0, words: matching(all, before).map(str::to_owned).collect() };
    };
    let start = before.len() - argument.len();
    match name {
        ".read" | "\\i" | ".output" | "\\o" => path(before, start),
        ".mode" => {
            let all = Format::all().iter().map(|format| format.name());
            Found { start, words: matching(all, argument).map(str::to_owned).collect() }
        }
        ".timer" | "\\timing" => {
            Found { start, words: matching(["on", "off"], argument).map(str::to_owned).collect() }
        }
        _ => {
            let all = names.tables.keys().map(String::as_str);
            Found { start, words: matching(all, argument).map(str::to_owned).collect() }
        }
    }
}

/// Completes a word of a statement.
fn word(line: &str, before: &str, names: &Names) -> Found {
    let is_part = |char: char| char.is_alphanumeric() || matches!(char, '_' | '.');
    let typed_at = before
        .rfind(|char| !is_part(char))
        .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8));
    let typed = &before[typed_at..];
    if let Some((table, column)) = typed.rsplit_once('.') {
        let start = before.len() - column.len();
        let columns = columns_of(table, line, names);
        let words = matching(columns.iter().copied(), column).map(quoted);
        return Found { start, words: words.collect() };
    }
    let tables = || matching(names.tables.keys().map(String::as_str), typed).map(quoted);
    if expects_table(&before[..typed_at]) {
        return Found { start: typed_at, words: tables().collect() };
    }
    let mentioned: BTreeSet<&str> = words(line)
        .filter_map(|word| names.tables.get_key_value(word))
        .flat_map(|(_, columns)| columns.iter().map(String::as_str))
        .collect();
    if typed.is_empty() {
        let words = mentioned.into_iter().map(quoted).collect();
        return Found { start: typed_at, words };
    }
    // Without a table in the statement, any table's columns are candidates.
    let columns = match mentioned.is_empty() {
        true => names.tables.values().flatten().map(String::as_str).collect(),
        false => mentioned,
    };
    let mut words: Vec<String> = matching(columns, typed).map(quoted).collect();
    words.extend(tables());
    let upper = typed.chars().all(char::is_uppercase);
    words.extend(matching(vocabulary::KEYWORDS.iter().copied(), typed).map(|word| match upper {
        true => word.to_ascii_uppercase(),
        false => word.to_owned(),
    }));
    let functions = names.functions.iter().map(String::as_str);
    words.extend(matching(functions, typed).map(|name| format!("{name}(")));
    Found { start: typed_at, words }
}

/// The columns of a table, given its name or an alias.
fn columns_of<'a>(table: &str, line: &str, names: &'a Names) -> Vec<&'a str> {
    let table = table.rsplit('.').next().unwrap_or(table);
    let direct = names.tables.get(table);
    let aliased = || {
        let words: Vec<_> = words(line).collect();
        words.iter().enumerate().skip(1).filter(|(_, word)| **word == table).find_map(|(i, _)| {
            let before = words[..i].iter().rev().find(|word| !word.eq_ignore_ascii_case("as"))?;
            names.tables.get(*before)
        })
    };
    let columns = direct.or_else(aliased);
    columns.into_iter().flatten().map(String::as_str).collect()
}

/// Whether the text before the cursor expects a table.
fn expects_table(before: &str) -> bool {
    let last = before.trim_end();
    if last.len() == before.len() {
        return false;
    }
    let word = last.rsplit(|char: char| !char.is_alphanumeric()).next().unwrap_or_default();
    ["from", "join", "into", "table", "describe", "copy"]
        .iter()
        .any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// Completes a local path that begins at `start`.
fn path(before: &str, start: usize) -> Found {
    let typed = &before[start..];
    if typed.contains("://") {
        return Found::default();
    }
    let (folder, name) = match typed.rfind('/') {
        Some(at) => typed.split_at(at + 1),
        None => ("", typed),
    };
    let looked_in = if folder.is_empty() { Path::new(".") } else { Path::new(folder) };
    let Ok(entries) = std::fs::read_dir(looked_in) else { return Found::default() };
    let mut words: Vec<_> = entries
        .take(FOLDER_ENTRIES_MAX)
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let found = entry.file_name().into_string().ok()?;
            let hidden = found.starts_with('.') && !name.starts_with('.');
            let end = if entry.path().is_dir() { "/" } else { "" };
            (found.starts_with(name) && !hidden).then(|| format!("{found}{end}"))
        })
        .collect();
    words.sort();
    Found { start: start + folder.len(), words }
}

/// The position and kind of a quote that is still open at the end of the text.
fn open_quote(text: &str) -> Option<(usize, char)> {
    let mut open = None;
    for (at, char) in text.char_indices() {
        match (open, char) {
            (None, '\'' | '"') => open = Some((at, char)),
            (Some((_, quote)), char) if quote == char => open = None,
            _ => {}
        }
    }
    open
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|char: char| !(char.is_alphanumeric() || char == '_'))
        .filter(|word| !word.is_empty())
}

fn matching<'a>(
    all: impl IntoIterator<Item = &'a str>,
    typed: &str,
) -> impl Iterator<Item = &'a str> {
    let typed = typed.to_lowercase();
    all.into_iter().filter(move |word| word.to_lowercase().starts_with(&typed))
}

/// A name as it must be written in a statement.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(typed: &str, expect: &[&str]) {
        let names = Names {
            tables: [
                ("flights".to_owned(), vec!["carrier".to_owned(), "Dest Name".to_owned()]),
                ("planes".to_owned(), vec!["tailnum".to_owned()]),
            ]
            .into(),
            functions: ["concat".to_owned(), "count".to_owned()].into(),
        };
        // The bar marks the cursor.
        let pos = typed.find('|').expect("a cursor in the test");
        let found = complete(&typed.replace('|', ""), pos, &names);
        assert_eq!(found.words, expect, "{typed}");
    }

    #[test]
    fn tables_follow_from() {
        check("select * from |", &["flights", "planes"]);
        check("select * from fl|", &["flights"]);
        check("select 1 from flights join p|", &["planes"]);
    }

    #[test]
    fn columns_of_the_tables_that_are_named_come_first() {
        check("select ca| from flights", &["carrier", "case", "cast"]);
        check("select co| from planes", &["copy", "concat(", "count("]);
        check("select ta|", &["tailnum", "table", "tables"]);
        check("SEL|", &["SELECT"]);
        check("select f.c| from flights as f", &["carrier"]);
        check("select flights.| from flights", &["carrier", "\"Dest Name\""]);
        check("select p.| from flights, planes p", &["tailnum"]);
    }

    #[test]
    fn commands_and_their_arguments_are_completed() {
        check(".sc|", &[".schema"]);
        check(".schema fl|", &["flights"]);
        check(".mode json|", &["json", "jsonl"]);
        check("\\t|", &["\\timing"]);
    }

    #[test]
    fn files_are_completed_inside_of_quotes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("flights.parquet"), "").unwrap();
        std::fs::create_dir(folder.path().join("flow")).unwrap();
        let root = folder.path().display();
        check(&format!("select * from '{root}/fl|"), &["flights.parquet", "flow/"]);
        check("select * from 's3://bucket/|", &[]);
    }
}
