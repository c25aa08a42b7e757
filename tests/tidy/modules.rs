//! The dependencies between the modules of a crate, read from the text of its files, and their
//! cycles.
//!
//! A module here is a file or a folder directly below one folder, `src` or a wing. It uses what its
//! `use` lines name, and its paths that begin with `crate` or `super`. Tests within a file do not
//! count: they may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module uses.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The graph of the modules directly below `folder`, in the crate whose sources are in `src`.
pub(crate) fn graph(src: &Path, files: &[PathBuf], folder: &[&str]) -> Graph {
    let below = |path: &[String]| {
        let inside = path.len() > folder.len() && folder.iter().zip(path).all(|(a, b)| a == b);
        inside.then(|| path[folder.len()].clone())
    };
    let paths: Vec<(Vec<String>, String, &PathBuf)> = files
        .iter()
        .filter_map(|file| {
            let path = module_path(file.strip_prefix(src).ok()?)?;
            let name = below(&path)?;
            Some((path, name, file))
        })
        .collect();
    let mut graph: Graph =
        paths.iter().map(|(_, name, _)| (name.clone(), BTreeSet::new())).collect();
    let names: BTreeSet<String> = graph.keys().cloned().collect();
    for (path, name, file) in paths {
        let text = fs::read_to_string(file).unwrap();
        let used = used(&text, &path);
        let used = used.iter().filter_map(|used| below(used));
        let used = used.filter(|used| *used != name && names.contains(used));
        graph.entry(name.clone()).or_default().extend(used);
    }
    graph
}

/// The modules that use themselves indirectly.
pub(crate) fn in_cycles(graph: &Graph) -> Vec<String> {
    let reaches = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = graph.get(from).into_iter().flatten().collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(graph.get(next).into_iter().flatten());
            }
        }
        seen.contains(from)
    };
    graph.keys().filter(|name| reaches(name)).cloned().collect()
}

/// The path of the module in a file; `None` for the root of the crate and for tests.
fn module_path(file: &Path) -> Option<Vec<String>> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    let is_root = matches!(parts.as_slice(), [only] if only == "lib" || only == "main");
    (!is_root && !parts.iter().any(|part| part == "tests")).then_some(parts)
}

/// The paths that `text`, in the module `path`, names, from the root of the crate.
fn used(text: &str, path: &[String]) -> BTreeSet<Vec<String>> {
    let text = without_tests(&without_comments(text));
    let words = words(&text);
    let mut used = BTreeSet::new();
    let mut at = 0;
    while at < words.len() {
        let begins = at == 0 || !matches!(words[at - 1], "::" | "pub(");
        if begins && matches!(words[at], "crate" | "super" | "self") {
            named(&words, &mut at, Vec::new(), path, &mut used);
        } else {
            at += 1;
        }
    }
    used
}

/// Parses a path that begins at `at`, including its braces.
fn named(
    words: &[&str],
    at: &mut usize,
    before: Vec<String>,
    path: &[String],
    used: &mut BTreeSet<Vec<String>>,
) {
    let mut parts = before;
    loop {
        match words.get(*at) {
            Some(&"{") => {
                *at += 1;
                while let Some(word) = words.get(*at) {
                    match *word {
                        "}" => {
                            *at += 1;
                            return;
                        }
                        "," => *at += 1,
                        _ => named(words, at, parts.clone(), path, used),
                    }
                }
                return;
            }
            Some(word) if is_name(word) => parts.push((*word).to_owned()),
            _ => {}
        }
        *at += 1;
        if words.get(*at) != Some(&"::") {
            break;
        }
        *at += 1;
    }
    if words.get(*at) == Some(&"as") {
        *at += 2;
    }
    used.extend(from_root(&parts, path));
}

/// The path from the root that `parts` names in the module `path`.
fn from_root(parts: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut here = match parts.first()?.as_str() {
        "crate" => Vec::new(),
        _ => path.to_vec(),
    };
    for part in parts {
        match part.as_str() {
            "super" => drop(here.pop()),
            "crate" | "self" => {}
            _ => here.push(part.clone()),
        }
    }
    Some(here)
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Splits the text into names, `::`, and single characters.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_name = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            c if in_name(c) => rest.find(|c| !in_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        if !first.is_whitespace() {
            words.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    words
}

fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.trim_start().starts_with("//") {
        true => String::new(),
        false => line.to_owned(),
    };
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// The text before the module of tests, which is the last item in a file.
fn without_tests(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").filter(|at| text[*at..].contains('{'));
    text[..end.unwrap_or(text.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_seen() {
        let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
        let cases: &[(&str, &str, &[&str])] = &[
            ("use crate::a::B;", "x", &["a::B"]),
            ("use crate::{a::{B, self}, c as d, E};", "x", &["E", "a", "a::B", "c"]),
            ("use super::b::C;", "x", &["b::C"]),
            ("use super::b::C;", "x::y", &["x::b::C"]),
            ("use super::super::b::C;", "x::y", &["b::C"]),
            ("fn f() { crate::a::f(crate::b::C) }", "x", &["a::f", "b::C"]),
            ("// use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::b;\n}", "x", &[]),
        ];
        for (text, at, expected) in cases {
            let found: Vec<_> = used(text, &path(at)).iter().map(|path| path.join("::")).collect();
            assert_eq!(&found, expected, "{text}");
        }
    }

    #[test]
    fn cycles_are_found() {
        let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "e")];
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(from.to_owned()).or_default().insert(to.to_owned());
        }
        assert_eq!(in_cycles(&graph), ["b", "c"]);
    }
}
