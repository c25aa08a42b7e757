//! The dependencies between the modules of a crate, read from the text of its files, and their
//! cycles.
//!
//! A module here is a file or a folder directly below one folder: `src`, or any folder in it. It
//! uses what its `use` lines name, and its paths that begin with `crate`, `super`, `self` or an
//! imported name. A path through a re-export also uses the module that defines the item. The
//! folder's own `mod.rs` is not one of the modules. Tests do not count: they may use anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The path of a module or of an item, from the root of its crate.
type Names = Vec<String>;

/// The modules that each module uses, and the paths by which it names them.
pub(crate) type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The modules of a crate.
#[derive(Default)]
pub(crate) struct Modules {
    /// The text of each module without its tests.
    texts: BTreeMap<Names, String>,
    /// For each module, its imports and re-exports: the local name, and what it stands for.
    imports: BTreeMap<Names, Vec<(String, Names)>>,
}

impl Modules {
    /// The modules in `files`, the sources of the crate whose root is in `src`.
    pub(crate) fn read(src: &Path, files: &[PathBuf]) -> Self {
        let has_library = files.contains(&src.join("lib.rs"));
        let texts = files.iter().filter_map(|file| {
            let file = file.strip_prefix(src).ok()?;
            // The program beside a library is a crate of its own.
            let is_other = has_library && file == "main.rs";
            let path = module_path(file).filter(|_| !is_other)?;
            Some((path, fs::read_to_string(src.join(file)).unwrap()))
        });
        Self::new(texts.collect())
    }

    fn new(texts: BTreeMap<Names, String>) -> Self {
        let mut tests = BTreeSet::new();
        for (path, text) in &texts {
            tests.extend(files_of_tests(text).map(|name| joined(path, &[name.to_owned()])));
        }
        let texts = texts.into_iter().filter(|(path, _)| !tests.contains(path));
        let texts = texts.map(|(path, text)| (path, without_tests(&without_comments(&text))));
        let mut modules = Self { texts: texts.collect(), imports: BTreeMap::new() };
        let imports = modules.texts.iter();
        let imports =
            imports.map(|(path, text)| (path.clone(), modules.imports_of(text, path, false)));
        modules.imports = imports.collect();
        modules
    }

    /// The folders with modules, from the root of the crate.
    pub(crate) fn folders(&self) -> BTreeSet<Names> {
        let parents = self.texts.keys().filter_map(|path| path.split_last());
        parents.map(|(_, parent)| parent.to_vec()).collect()
    }

    /// The graph of the modules directly below `folder`.
    pub(crate) fn graph(&self, folder: &[String]) -> Graph {
        let below = |path: &[String]| {
            let inside = path.len() > folder.len() && path.starts_with(folder);
            inside.then(|| path[folder.len()].clone())
        };
        let names = self.texts.keys().filter_map(|path| below(path));
        let mut graph: Graph = names.map(|name| (name, BTreeMap::new())).collect();
        let names: BTreeSet<String> = graph.keys().cloned().collect();
        for path in self.texts.keys() {
            let Some(name) = below(path) else { continue };
            for used in self.used(path) {
                let other = below(&used).filter(|other| *other != name && names.contains(other));
                let Some(other) = other else { continue };
                let paths = graph.entry(name.clone()).or_default().entry(other).or_default();
                paths.insert(used[folder.len()..].join("::"));
            }
        }
        graph
    }

    /// The paths that a module names, and the paths of the items that they stand for.
    fn used(&self, path: &[String]) -> BTreeSet<Names> {
        let text = &self.texts[path];
        let local = self.imports_of(text, path, true);
        let words = words(text);
        let mut used = BTreeSet::new();
        let mut at = 0;
        while at < words.len() {
            let begins = at == 0 || words[at - 1] != "::";
            let continues = words.get(at + 1) == Some(&"::");
            let imported = || local.iter().filter(|(name, _)| name == words[at]);
            if begins && matches!(words[at], "crate" | "super" | "self") {
                let mut named = Vec::new();
                names(&words, &mut at, Vec::new(), &mut named);
                used.extend(named.iter().filter_map(|(_, parts)| from_root(parts, path)));
            } else if begins && continues && imported().next().is_some() {
                let modules: Vec<_> = imported().collect();
                let mut named = Vec::new();
                names(&words, &mut at, Vec::new(), &mut named);
                for (_, module) in modules {
                    used.extend(named.iter().map(|(_, parts)| joined(module, &parts[1..])));
                }
            } else {
                at += 1;
            }
        }
        let mut resolved = BTreeSet::new();
        for path in used {
            self.resolve(&path, &mut resolved);
        }
        resolved
    }

    /// Adds `path` and what it stands for to `found`.
    fn resolve(&self, path: &[String], found: &mut BTreeSet<Names>) {
        if !found.insert(path.to_vec()) {
            return;
        }
        let is_module = |length: &usize| self.texts.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(is_module).unwrap_or(0);
        let imports = self.imports.get(&path[..length]).into_iter().flatten();
        let Some(name) = path.get(length) else { return };
        let is_same = |local: &String| local == name || name == "*";
        let (same, other): (Vec<_>, Vec<_>) = imports.partition(|(local, _)| is_same(local));
        // A glob imports only what has no import of its own.
        let globs = other.into_iter().filter(|(local, _)| same.is_empty() && local == "*");
        for (local, stands_for) in same.iter().copied().chain(globs) {
            let rest = if local == "*" { &path[length..] } else { &path[length + 1..] };
            let stands_for = match stands_for.split_last() {
                Some((last, before)) if last == "*" => before,
                _ => stands_for,
            };
            self.resolve(&joined(stands_for, rest), found);
        }
    }

    /// What the `use` lines of `text` import from this crate into the module `path`. Those of its
    /// functions and inline modules, which rustfmt indents, count only if `nested`.
    fn imports_of(&self, text: &str, path: &[String], nested: bool) -> Vec<(String, Names)> {
        let is_child =
            |name: &String| self.texts.contains_key(&joined(path, std::slice::from_ref(name)));
        let mut imports = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("use ") {
            let line = rest[..start].rfind('\n').map_or(0, |end| end + 1);
            let before = &rest[line..start];
            rest = &rest[start + "use ".len()..];
            let visibility = before.trim();
            let is_item = matches!(visibility, "" | "pub")
                || visibility.starts_with("pub(") && visibility.ends_with(')');
            if !is_item || !(nested || before.trim_start() == before) {
                continue;
            }
            let item = &rest[..rest.find(';').unwrap_or(rest.len())];
            let mut named = Vec::new();
            names(&words(item), &mut 0, Vec::new(), &mut named);
            for (local, parts) in named {
                let ours = matches!(parts[0].as_str(), "crate" | "super" | "self");
                let parts = match is_child(&parts[0]) && !ours {
                    true => Some(joined(path, &parts)),
                    false => ours.then(|| from_root(&parts, path)).flatten(),
                };
                imports.extend(parts.map(|parts| (local, parts)));
            }
        }
        imports
    }
}

/// The modules that use themselves indirectly.
pub(crate) fn in_cycles(graph: &Graph) -> Vec<String> {
    let reaches = |from: &String| {
        let mut seen = BTreeSet::new();
        let used = |name| graph.get(name).into_iter().flatten().map(|(other, _)| other);
        let mut open: Vec<&String> = used(from).collect();
        while let Some(next) = open.pop() {
            if seen.insert(next) {
                open.extend(used(next));
            }
        }
        seen.contains(from)
    };
    graph.keys().filter(|name| reaches(name)).cloned().collect()
}

/// The path of the module in a file, empty for the root of a crate; `None` for tests.
fn module_path(file: &Path) -> Option<Names> {
    let mut parts: Names =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    match parts.as_slice() {
        [only] if only == "lib" || only == "main" => Some(Vec::new()),
        _ => (!parts.iter().any(|part| part == "tests")).then_some(parts),
    }
}

fn joined(path: &[String], rest: &[String]) -> Names {
    path.iter().chain(rest).cloned().collect()
}

/// Parses a path that begins at `at`, including its braces: the local name and the parts of each
/// path in it.
fn names(words: &[&str], at: &mut usize, before: Names, named: &mut Vec<(String, Names)>) {
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
                        _ => names(words, at, parts.clone(), named),
                    }
                }
                return;
            }
            Some(word) if is_name(word) || *word == "*" => parts.push((*word).to_owned()),
            _ => {}
        }
        *at += 1;
        if words.get(*at) != Some(&"::") {
            break;
        }
        *at += 1;
    }
    let mut local = parts.iter().rev().find(|part| *part != "self").cloned();
    if words.get(*at) == Some(&"as") {
        local = words.get(*at + 1).map(|name| (*name).to_owned());
        *at += 2;
    }
    named.extend(local.map(|local| (local, parts)));
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
    let end = modules_of_tests(text).find(|(_, line)| line.ends_with('{')).map(|(at, _)| at);
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The names of the modules of tests that have files of their own.
fn files_of_tests(text: &str) -> impl Iterator<Item = &str> {
    let files = modules_of_tests(text).filter_map(|(_, line)| line.strip_suffix(';'));
    files.filter_map(|line| line.split_whitespace().last())
}

/// The places of the modules that exist only in tests, and the line that declares each.
fn modules_of_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let attributes = text.match_indices("#[cfg(").filter_map(|(at, _)| {
        let (attribute, rest) = text[at..].split_once('\n')?;
        let is_test =
            matches!(attribute, "#[cfg(test)]") || attribute.starts_with("#[cfg(all(test,");
        Some((at, rest.lines().next()?)).filter(|_| is_test)
    });
    attributes.filter(|(_, line)| line.starts_with("mod ") || line.contains(" mod "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules with these paths and texts.
    fn modules(texts: &[(&str, &str)]) -> Modules {
        let texts = texts.iter().map(|(path, text)| (names_of(path), (*text).to_owned()));
        Modules::new(texts.collect())
    }

    fn names_of(path: &str) -> Names {
        path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    /// The edges of the graph below `folder`, like "a b" if a uses b.
    fn edges(modules: &Modules, folder: &str) -> Vec<String> {
        let graph = modules.graph(&names_of(folder));
        let edges = graph.iter().flat_map(|(name, used)| used.keys().map(move |o| (name, o)));
        edges.map(|(name, other)| format!("{name} {other}")).collect()
    }

    #[test]
    fn what_is_used_is_seen() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("use crate::a::B;", "x", &["a::B"]),
            ("use crate::{a::{B, self}, c as d, E};", "x", &["E", "a", "a::B", "c"]),
            ("use super::b::C;", "x", &["b::C"]),
            ("use super::b::C;", "x::y", &["x::b::C"]),
            ("use super::super::b::C;", "x::y", &["b::C"]),
            ("fn f() { crate::a::f(crate::b::C) }", "x", &["a::f", "b::C"]),
            ("use crate::a;\nfn f() { a::g::<a::B>() }", "x", &["a", "a::B", "a::g"]),
            ("// use crate::a;\n#[cfg(test)]\nmod tests {\n use crate::b;\n}", "x", &[]),
            ("#[cfg(test)]\nmod tests;\nuse crate::b::C;\nfn f() {}", "x", &["b::C"]),
            ("#[cfg(all(test, unix))]\nmod tests {\n use super::*;\n}", "x::y", &[]),
        ];
        for (text, at, expected) in cases {
            let used = modules(&[(*at, *text)]).used(&names_of(at));
            let found: Vec<_> = used.iter().map(|path| path.join("::")).collect();
            assert_eq!(&found, expected, "{text}");
        }
    }

    #[test]
    fn a_re_export_is_followed_to_the_module_that_defines_the_item() {
        let modules = modules(&[
            ("", "pub use runs::Job;\npub(crate) use runs::job as work;"),
            ("runs", "pub use job::{Job, Runner as Engine};\nuse pool::*;"),
            ("runs::job", "pub(crate) use runner::Runner;\npub use plan::Job;"),
            ("runs::job::plan", "use crate::runs::job::Runner;"),
            ("runs::job::runner", "use crate::Job;"),
            ("runs::pool", "pub(crate) struct Pool;\nuse crate::work::Runner;"),
            ("runs::slots", "use super::{Engine, Pool};"),
            ("runs::walk", "fn f() { use super::job; job::Job::new() }"),
            ("runs::apart", "mod inner {\n    pub use crate::runs::slots;\n}"),
            ("runs::last", "use super::apart::slots;"),
        ]);
        assert_eq!(edges(&modules, "runs::job"), ["plan runner", "runner plan"]);
        let between = edges(&modules, "runs");
        assert_eq!(
            between,
            ["apart slots", "last apart", "pool job", "slots job", "slots pool", "walk job"]
        );
        assert!(edges(&modules, "").is_empty());
        let folders: Vec<_> = modules.folders().iter().map(|path| path.join("::")).collect();
        assert_eq!(folders, ["", "runs", "runs::job"]);
    }

    #[test]
    fn files_of_tests_are_no_modules() {
        let modules = modules(&[
            ("a", "#[cfg(test)]\nmod samples;\nmod b;"),
            ("a::b", ""),
            ("a::samples", "use super::b;"),
        ]);
        assert!(edges(&modules, "a").is_empty());
    }

    #[test]
    fn cycles_are_found() {
        let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "e")];
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry(from.to_owned()).or_default().entry(to.to_owned()).or_default();
        }
        assert_eq!(in_cycles(&graph), ["b", "c"]);
    }
}
