//! House rules that the compiler does not check: dependencies between crates, banned crates, cycles
//! between modules, dependencies between wings, unused re-exports, a header in every file,
//! meaningless names, the length of files and functions, the size of folders, links, and the
//! language of comments and documentation.

#![expect(clippy::unwrap_used, reason = "what cannot be read fails the test")]

mod exports;
mod functions;
mod language;
mod links;
mod modules;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use modules::Modules;

/// Which of our crates each folder may name under `[dependencies]`.
const ARROWS: &[(&str, &[&str])] = &[
    ("cluster", &["bigslice-cluster-macros", "bigslice-diagnostics"]),
    ("cluster/diagnostics", &[]),
    ("planner", &["bigslice-functions"]),
    ("planner/functions", &[]),
    ("flight", &["bigslice-cluster", "bigslice-diagnostics"]),
    (
        "engine",
        &[
            "bigslice-cluster",
            "bigslice-diagnostics",
            "bigslice-files",
            "bigslice-flight",
            "bigslice-macros",
            "bigslice-planner",
            "bigslice-rows",
        ],
    ),
    ("engine/files", &["bigslice-diagnostics", "bigslice-functions"]),
    ("engine/rows", &["bigslice-macros"]),
    ("cli", &["bigslice", "bigslice-features"]),
    ("benches", &["bigslice", "bigslice-features", "bigsql"]),
    ("tests", &["bigslice", "bigslice-features"]),
    ("tests/features", &[]),
];

/// Dependencies that a folder must not have, even from outside the workspace.
const MUST_NOT_KNOW: &[(&str, &[&str])] = &[
    ("cluster", &["arrow", "arrow-flight", "datafusion", "datafusion-distributed", "parquet"]),
    ("planner", &["tokio", "tonic", "object_store", "arrow-flight", "futures"]),
    ("engine/files", &["tonic", "arrow-flight"]),
    ("engine/rows", &["datafusion", "parquet", "object_store", "tokio", "tonic", "arrow-flight"]),
    (
        "planner/functions",
        &["datafusion-distributed", "tokio", "tonic", "object_store", "arrow-flight"],
    ),
];

/// The wings of the two large crates: the modules that each module directly below `src` may use.
/// ARCHITECTURE.md describes them.
const WINGS: &[(&str, &[(&str, &[&str])])] = &[
    (
        "engine",
        &[
            ("error", &[]),
            ("expr", &[]),
            ("guide", &[]),
            ("leaf_plan", &[]),
            ("metrics", &[]),
            ("shard", &[]),
            ("render", &[]),
            ("tpch", &["error", "leaf_plan"]),
            ("base", &["error", "metrics", "tpch"]),
            ("statement", &["base", "error"]),
            ("pipeline", &["base", "error", "leaf_plan", "metrics", "shard", "statement", "tpch"]),
            ("runs", &["base", "error", "leaf_plan", "metrics", "pipeline", "shard"]),
            ("query", &["base", "error", "pipeline", "render", "runs", "statement"]),
            (
                "session",
                &["base", "error", "pipeline", "query", "render", "runs", "statement", "tpch"],
            ),
        ],
    ),
    (
        "cluster",
        &[
            ("error", &["identity"]),
            ("faults", &["identity"]),
            ("guide", &[]),
            ("identity", &[]),
            ("linked", &[]),
            ("markup", &[]),
            ("requirements", &[]),
            ("process", &["error", "identity"]),
            ("observe", &["error", "identity", "markup"]),
            ("security", &["error", "faults", "identity", "requirements"]),
            ("machine", &["error", "faults", "identity", "observe", "security"]),
            (
                "service",
                &["error", "identity", "linked", "machine", "observe", "requirements", "security"],
            ),
            (
                "worker",
                &[
                    "error",
                    "faults",
                    "identity",
                    "machine",
                    "observe",
                    "requirements",
                    "security",
                    "service",
                ],
            ),
            (
                "fleet",
                &[
                    "error",
                    "identity",
                    "machine",
                    "observe",
                    "process",
                    "requirements",
                    "security",
                    "worker",
                ],
            ),
            ("debug", &["error", "fleet", "identity", "markup", "observe"]),
            (
                "systems",
                &[
                    "error", "faults", "fleet", "identity", "machine", "observe", "process",
                    "security", "service", "worker",
                ],
            ),
        ],
    ),
];

/// Crates that would add a second TLS stack, or a build tool beyond a C compiler.
const BANNED: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "cmake",
    "native-tls",
    "openssl",
    "openssl-sys",
    "prost-build",
    "protobuf-src",
];

/// Module names without meaning.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "util", "utils"];

/// Maximum lines of a source file; data tables and tests may be longer.
const LINES_MAX: usize = 500;

/// Maximum lines of a function outside of tests.
const FUNCTION_LINES_MAX: usize = 70;

/// Maximum number of files in a folder, without its subfolders.
const FILES_FLAT_MAX: usize = 20;

/// Folders with one file for each of many similar things: rules, functions, cases.
const LARGE_FOLDERS: &[&str] = &[
    "cluster/src/systems/ec2",
    "cli/src",
    "planner/functions/src",
    "planner/src/logical",
    "tests/slices",
    "tests/sources",
];

/// Functions that match on all variants of a foreign enum, so that a new variant is a compile
/// error.
const LISTS: &[&str] = &["planner/src/syntax/clauses/expr.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").into()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    files_below(folder, "rs", found);
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if path.is_dir() && !path.ends_with("target") && !is_hidden {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// The names under `[dependencies]` of a manifest (dev-dependencies may point anywhere).
fn dependencies(folder: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut names = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
        } else if inside && let Some(end) = line.find([' ', '.', '=']) {
            names.push(line[..end].to_owned());
        }
    }
    assert!(!names.is_empty(), "no dependencies read from {folder}/Cargo.toml");
    names
}

#[test]
fn arrows_between_crates_run_one_way() {
    for (folder, allowed) in ARROWS {
        for name in dependencies(folder) {
            let ours = name.starts_with("bigslice") || name == "bigsql";
            assert!(
                !ours || allowed.contains(&name.as_str()),
                "{folder} must not depend on {name}: see the arrows in ARCHITECTURE.md"
            );
        }
    }
    for (folder, banned) in MUST_NOT_KNOW {
        for name in dependencies(folder) {
            assert!(!banned.contains(&name.as_str()), "{folder} must not know {name}");
        }
    }
}

fn modules_of(crate_folder: &str) -> Modules {
    let src = root().join(crate_folder).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    Modules::read(&src, &files)
}

/// The folders of our crates, from the manifest of the workspace.
fn crates() -> Vec<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = text.lines().find_map(|line| line.strip_prefix("members = [")).unwrap();
    let members: Vec<String> = members.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(members.len() >= ARROWS.len(), "only {members:?} were found");
    members
}

#[test]
fn modules_of_a_folder_use_each_other_one_way() {
    let mut complaints = Vec::new();
    for crate_folder in crates() {
        let modules = modules_of(&crate_folder);
        for folder in modules.folders() {
            let graph = modules.graph(&folder);
            let cycles = modules::in_cycles(&graph);
            for (name, used) in graph.iter().filter(|(name, _)| cycles.contains(name)) {
                let place = format!("{crate_folder}/src/{}: {name}", folder.join("/"));
                let back = used.iter().filter(|(other, _)| cycles.contains(other));
                let back = back.map(|(other, paths)| format!("{place} uses {other}: {paths:?}"));
                complaints.extend(back);
            }
        }
    }
    assert!(complaints.is_empty(), "modules that use each other: {complaints:#?}");
}

#[test]
fn wings_use_those_below_them() {
    let mut complaints = Vec::new();
    for (crate_folder, wings) in WINGS {
        let wings: BTreeMap<&str, &[&str]> = wings.iter().copied().collect();
        for (name, used) in modules_of(crate_folder).graph(&[]) {
            let Some(allowed) = wings.get(name.as_str()) else {
                panic!("{crate_folder}/src/{name} is in no row of the table of wings")
            };
            let banned = used.iter().filter(|(other, _)| !allowed.contains(&other.as_str()));
            complaints.extend(banned.map(|(other, paths)| {
                format!("in {crate_folder}, {name} must not use {other}: {paths:?}")
            }));
        }
    }
    assert!(complaints.is_empty(), "see the wings in ARCHITECTURE.md: {complaints:#?}");
}

#[test]
fn a_re_export_is_used() {
    let root = root();
    let mut sources = Vec::new();
    rust_files(&root, &mut sources);
    files_below(&root, "md", &mut sources);
    let texts: Vec<(PathBuf, String)> =
        sources.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect();
    let mut unused = BTreeMap::new();
    for (crate_folder, _) in ARROWS {
        let src = root.join(crate_folder).join("src");
        let Ok(lib) = fs::read_to_string(src.join("lib.rs")) else { continue };
        let (own, others): (Vec<_>, Vec<_>) =
            texts.iter().partition(|(file, _)| file.starts_with(&src));
        let signatures: String = own.iter().map(|(_, text)| exports::signatures(text)).collect();
        // `#[derive(Row)]` makes the type `NameView`.
        let is_view = |name: &str| name.ends_with("View");
        let is_unused = |name: &String| {
            !is_view(name)
                && !others.iter().any(|(_, text)| exports::names(text, name))
                && !exports::names(&signatures, name)
        };
        let found: Vec<_> = exports::re_exports(&lib).into_iter().filter(is_unused).collect();
        if !found.is_empty() {
            unused.insert(*crate_folder, found);
        }
    }
    assert!(unused.is_empty(), "re-exported and used by nothing: {unused:#?}");
}

#[test]
fn banned_crates_stay_out_of_the_tree() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    assert!(lock.contains("name = \"ring\""), "the lock file names ring");
    for name in BANNED {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name} came into Cargo.lock");
    }
}

#[test]
fn every_file_has_a_header_a_telling_name_and_a_bearable_length() {
    let mut files = Vec::new();
    for (folder, _) in ARROWS {
        rust_files(&root().join(folder), &mut files);
    }
    // Crates may be nested.
    files.sort();
    files.dedup();
    assert!(files.len() > 20, "only {} source files were found", files.len());
    let mut complaints = BTreeMap::new();
    let mut flat = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let is_test = file.components().any(|part| part.as_os_str() == "tests");
        if !text.starts_with("//!") {
            complaints.insert(file.clone(), "does not start with a `//!` header".to_owned());
        }
        if EMPTY_NAMES.contains(&stem.as_str()) {
            complaints.insert(file.clone(), format!("\"{stem}\" says nothing: name the concept"));
        }
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        *flat.entry(folder).or_insert(0) += usize::from(!is_test);
        let lines = text.lines().count();
        if !is_test && lines > LINES_MAX {
            complaints.insert(file.clone(), format!("{lines} lines: look for a seam"));
        }
        // The code of a macro expansion is mostly its output.
        let is_macro = file.components().any(|part| part.as_os_str() == "macros");
        let is_list = LISTS.iter().any(|list| file.ends_with(list));
        if !is_test
            && !is_macro
            && !is_list
            && let Some(long) = functions::longest(&text, FUNCTION_LINES_MAX)
        {
            complaints.insert(file, format!("{long}: look for a seam"));
        }
    }
    for (folder, files) in flat {
        let is_list = LARGE_FOLDERS.iter().any(|large| folder.ends_with(large));
        if files > FILES_FLAT_MAX && !is_list {
            complaints.insert(folder, format!("{files} files in one folder: look for groups"));
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn documentation_names_files_that_exist() {
    let mut pages = Vec::new();
    files_below(&root(), "md", &mut pages);
    let mut complaints = BTreeMap::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let missing = links::missing(&text, page.parent().unwrap(), &root());
        if !missing.is_empty() {
            complaints.insert(page, missing);
        }
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn comments_and_documentation_are_plain_english() {
    let root = root();
    let mut sources = Vec::new();
    rust_files(&root, &mut sources);
    let mut pages = Vec::new();
    files_below(&root, "md", &mut pages);
    assert!(pages.len() > 10, "only {} Markdown files were found", pages.len());
    let mut complaints = BTreeMap::new();
    for file in sources.iter().chain(&pages) {
        let text = fs::read_to_string(file).unwrap();
        let is_page = file.extension().is_some_and(|extension| extension == "md");
        let found = if is_page { language::of_markdown(&text) } else { language::of_source(&text) };
        if found.is_empty() {
            continue;
        }
        complaints.insert(file.strip_prefix(&root).unwrap().to_owned(), found);
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}
