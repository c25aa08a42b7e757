//! Names that a crate re-exports at its root and that nothing needs.
//!
//! A name is needed if another crate, a test, an example or a page of the guide names it, or if it
//! is part of the crate's public signatures: users must be able to write the types that they get.

use std::collections::BTreeSet;

/// The names that the root of a crate re-exports from its own modules: `lib` is the text of its
/// `lib.rs`. Names of other crates are re-exported for users, who are not in this repository.
pub(crate) fn re_exports(lib: &str) -> BTreeSet<String> {
    let modules: BTreeSet<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
    let mut names = BTreeSet::new();
    // Items at the left margin: those of inner modules (`prelude`) repeat names of the root.
    for (at, _) in lib.match_indices("\npub use ") {
        let item = &lib[at + "\npub use ".len()..];
        let Some(item) = item.find(';').map(|end| &item[..end]) else { continue };
        let first = item.split("::").next().unwrap_or_default();
        if !modules.contains(first) {
            continue;
        }
        for name in item.split([',', '{', '}']) {
            let name = name.rsplit(" as ").next().unwrap_or_default();
            let name = name.rsplit("::").next().unwrap_or_default().trim();
            if !name.is_empty() {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// True if `text` has the word `name`.
pub(crate) fn names(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

/// The public signatures in the text of a file: functions, fields, variants, methods of traits,
/// associated types and implementations.
pub(crate) fn signatures(text: &str) -> String {
    let mut found = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let start = line.trim_start();
        // The fields of its variants have no `pub`.
        if line.starts_with("pub enum ") {
            for variant in lines.by_ref().take_while(|line| *line != "}") {
                found.push_str(variant);
                found.push('\n');
            }
            continue;
        }
        let begins = ["pub ", "fn ", "async fn ", "type ", "impl"];
        // The item itself does not need its own name.
        let defines =
            ["pub struct ", "pub enum ", "pub trait ", "pub const ", "pub use ", "pub mod "];
        if !begins.iter().any(|begin| start.starts_with(begin))
            || defines.iter().any(|define| start.starts_with(define))
        {
            continue;
        }
        found.push_str(line);
        found.push('\n');
        let mut last = line;
        while !last.contains(['{', ';']) && !last.trim_end().ends_with(',') {
            let Some(next) = lines.next() else { break };
            // Arguments of a function end with a comma each.
            last = next.trim_end().trim_end_matches(',');
            found.push_str(next);
            found.push('\n');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re_exported_names_are_read() {
        let lib = "mod a;\nmod b;\n\npub use a::X;\npub use b::{c::Y, Z as W};\npub use other::V;\n\
                   pub mod prelude {\n    pub use crate::X;\n}\n";
        let found: Vec<_> = re_exports(lib).into_iter().collect();
        assert_eq!(found, ["W", "X", "Y"]);
        assert!(names("let x: X = 1;", "X") && !names("XY", "X") && !names("_X", "X"));
    }

    #[test]
    fn signatures_are_read_over_several_lines() {
        let text = "pub fn f(\n    a: A,\n    b: B,\n) -> C {\n    D\n}\nfn g() {}\npub struct E {\n    \
                    pub f: F,\n}\n";
        let found = signatures(text);
        let has = |name| names(&found, name);
        assert!(has("A") && has("B") && has("C") && has("F") && !has("D") && !has("E"));
    }
}
