//! The length of functions: from the line with `fn` to its closing brace, as formatted by rustfmt.

/// A message about the first function with more than `most` lines. Macro definitions and tests do
/// not count.
pub(crate) fn longest(text: &str, most: usize) -> Option<String> {
    let mut open: Option<(usize, usize, &str)> = None;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("#[cfg(test)]") {
            return None;
        }
        let indent = line.len() - line.trim_start().len();
        match open {
            None if begins_function(line) => {
                open = (!line.trim_end().ends_with([';', '}'])).then_some((number, indent, line));
            }
            Some((begin, at, first)) if indent == at && line.trim_start().starts_with('}') => {
                let lines = number - begin + 1;
                if lines > most {
                    let name = first.split("fn ").nth(1).unwrap_or(first);
                    let name = name.split(['(', '<']).next().unwrap_or(name);
                    return Some(format!("the function `{name}` has {lines} lines"));
                }
                open = None;
            }
            // A declaration without a body.
            Some((_, at, _)) if indent == at && line.trim_end().ends_with(");") => open = None,
            _ => {}
        }
    }
    None
}

fn begins_function(line: &str) -> bool {
    let words = line.trim_start();
    let is_qualifier =
        |word: &str| matches!(word, "const" | "async" | "unsafe") || word.starts_with("pub");
    let mut words = words
        .split_whitespace()
        .skip_while(|word| is_qualifier(word) || word.ends_with(')') || *word == "in");
    words.next() == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_functions_are_named() {
        let text = "impl X {\n    pub(crate) async fn f(\n        a: u8,\n    ) {\n        if a {\n        }\n    }\n}\n";
        assert_eq!(longest(text, 6), None);
        assert_eq!(longest(text, 5).unwrap(), "the function `f` has 6 lines");
        let after = "trait T {\n    fn g();\n    fn h(\n        a: u8,\n    );\n}\nfn i() {\n}\n";
        assert_eq!(longest(after, 2), None);
    }
}
