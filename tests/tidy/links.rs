//! References in Markdown: files of the repository, in backticks or as the target of a link. They
//! must exist, so that the documentation follows moved and renamed files.

use std::path::Path;

/// Folders at the root of the repository: a path in backticks that starts with one of them must
/// exist.
const FOLDERS: &[&str] =
    &["benches", "cli", "cluster", "docs", "engine", "flight", "planner", "testdata", "tests"];

/// The files named in a page that do not exist, each with its line. The page is in `folder`.
pub(crate) fn missing(text: &str, folder: &Path, root: &Path) -> Vec<String> {
    let mut is_code = false;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        let paths = line.split('`').skip(1).step_by(2).filter(|text| is_path(text));
        let paths = paths.map(|path| (path, root.join(path)));
        let links = targets(line).map(|link| (link, folder.join(link)));
        for (name, path) in paths.chain(links) {
            if !path.exists() {
                found.push(format!("line {}: \"{name}\" does not exist", number + 1));
            }
        }
    }
    found
}

/// Whether a text in backticks is a path from the root of the repository.
fn is_path(text: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    text.chars().all(is_plain)
        && text.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder))
}

/// The targets of the links in a line that are files, without their anchors.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    files.map(|link| link.split('#').next().unwrap_or(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = "see `tests/tidy/links.rs`, `tests/none.rs` and `none/at/all`\n\
                    [a](tidy/main.rs) [b](tidy/none.md#x) [c](https://x.org/none) [d](#none)";
        let found = missing(text, &root.join("tests"), root);
        let expect =
            ["line 1: \"tests/none.rs\" does not exist", "line 2: \"tidy/none.md\" does not exist"];
        assert_eq!(found, expect);
    }
}
