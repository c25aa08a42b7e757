//! The language of comments and documentation: phrases that are hard to read, and overlong lines.

/// Maximum columns of a comment or of Markdown text. rustfmt checks code only.
const COLUMNS_MAX: usize = 100;

/// Phrases that an English reader stumbles over, with plainer alternatives. A match starts at a
/// word.
const PHRASES: &[(&str, &str)] = &[
    ("anew", "again"),
    ("anybody", "name the caller, the reader or the user"),
    ("as the work asks", "on demand"),
    ("becomes of", "say what happens"),
    ("became of", "say what happened"),
    ("befall", "happen to"),
    ("begun", "started"),
    ("comes of", "results from"),
    ("comes to nothing", "fails"),
    ("is gone on", "continues"),
    ("is there of", "name the part"),
    ("nobody", "say what does not happen"),
    ("of it is there", "exists, or is stored"),
    ("so many", "this number of"),
    ("so much of", "this amount of"),
    ("somebody", "name the caller, the reader or the user"),
    ("the less often", "with backoff"),
    ("to be had", "available"),
    ("undress", "unwrap"),
    ("what there is", "name it"),
    ("whoever", "name the caller, the reader or the user"),
    ("will not do", "is not enough"),
];

/// Complaints about the comments of a Rust source file, each with its line. Tables, code, drawings
/// and links may be long.
pub(crate) fn of_source(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(comment).collect();
    let mut found = phrases(&lines);
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        let whole_line = line.trim_start().strip_prefix("//");
        let Some(said) = whole_line.map(|line| line.trim_start_matches(['/', '!']).trim_start())
        else {
            is_code = false;
            continue;
        };
        let is_fence = said.starts_with("```");
        is_code ^= is_fence;
        if !is_code && !is_fence && !said.starts_with('|') && !said.contains("](") {
            found.extend(too_long(number, line));
        }
    }
    found
}

/// Complaints about a Markdown file, each with its line. Tables, code and links may be long.
pub(crate) fn of_markdown(text: &str) -> Vec<String> {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some(line)
    });
    let lines: Vec<_> = lines.collect();
    let mut found = phrases(&lines);
    found.extend(lines.iter().enumerate().filter_map(|(number, line)| {
        let line = line.filter(|line| {
            !line.starts_with('|') && !line.contains("](") && !line.contains("://")
        })?;
        too_long(number, line)
    }));
    found
}

/// The text of a comment in a line of code.
fn comment(line: &str) -> Option<&str> {
    let trimmed = line.trim_start();
    let text = match trimmed.strip_prefix("//") {
        Some(text) => text,
        None => trimmed.split_once(" // ")?.1,
    };
    Some(text.trim_start_matches(['/', '!']))
}

/// The phrases in lines of text; a phrase may continue on the next line.
fn phrases(lines: &[Option<&str>]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(line) = line else { continue };
        let next = lines.get(number + 1).copied().flatten().unwrap_or_default();
        let text = format!("{} {}", line.trim(), next.trim()).to_lowercase();
        for (phrase, instead) in PHRASES {
            let starts_word = |at: usize| !text[..at].ends_with(char::is_alphanumeric);
            let mut places = text.match_indices(phrase).map(|(at, _)| at);
            if places.any(|at| at < line.trim().len() && starts_word(at)) {
                found.push(format!("line {}: \"{phrase}\": write: {instead}", number + 1));
            }
        }
    }
    found
}

fn too_long(number: usize, line: &str) -> Option<String> {
    let columns = line.chars().count();
    (columns > COLUMNS_MAX)
        .then(|| format!("line {}: {columns} columns, wrap at {COLUMNS_MAX}", number + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_comments_only() {
        let source = format!(
            "//! So\n//! many words.\nlet x = \"whoever\"; {} anew\nlet also_many = 1;",
            "//"
        );
        let found = of_source(&source);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("line 1: \"so many\""), "{found:?}");
        assert!(found[1].starts_with("line 3: \"anew\""), "{found:?}");
        assert_eq!(of_source("// also many words"), [""; 0]);
    }

    #[test]
    fn long_lines_of_text_are_found() {
        let long = "word ".repeat(30);
        assert_eq!(of_source(&format!("// {long}\nlet x = \"{long}\";")).len(), 1);
        let text = format!("{long}\n| {long} |\n```\n{long}\n```\n[{long}](x.md)\n");
        assert_eq!(of_markdown(&text).len(), 1);
    }
}
