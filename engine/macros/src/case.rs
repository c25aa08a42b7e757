//! The rules of `rename_all`; as in serde, a capital letter begins a word of a variant and an
//! underscore ends one of a field.

use syn::{Error, LitStr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
}

const CASES: [(&str, Case); 7] = [
    ("lowercase", Case::Lower),
    ("UPPERCASE", Case::Upper),
    ("PascalCase", Case::Pascal),
    ("camelCase", Case::Camel),
    ("snake_case", Case::Snake),
    ("SCREAMING_SNAKE_CASE", Case::ScreamingSnake),
    ("kebab-case", Case::Kebab),
];

impl Case {
    pub(crate) fn parse(rule: &LitStr) -> syn::Result<Self> {
        let value = rule.value();
        match CASES.iter().find(|(name, _)| *name == value) {
            Some((_, case)) => Ok(*case),
            None => {
                let names: Vec<_> = CASES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
                let message = format!("\"{value}\" is not a rule, use one of {}", names.join(", "));
                Err(Error::new(rule.span(), message))
            }
        }
    }

    /// The name of a field, which is written in snake case.
    pub(crate) fn field(self, name: &str) -> String {
        let words: Vec<String> = name.split('_').map(str::to_owned).collect();
        match self {
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper | Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::Kebab => name.replace('_', "-"),
            Self::Pascal => words.iter().map(|word| capital(word)).collect(),
            Self::Camel => small(&Self::Pascal.field(name)),
        }
    }

    /// The name of a variant, which is written in Pascal case.
    pub(crate) fn variant(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_ascii_lowercase(),
            Self::Upper => name.to_ascii_uppercase(),
            Self::Pascal => name.to_owned(),
            Self::Camel => small(name),
            Self::Snake => snake(name),
            Self::ScreamingSnake => snake(name).to_ascii_uppercase(),
            Self::Kebab => snake(name).replace('_', "-"),
        }
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn small(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::{CASES, Case};

    fn all(name: impl Fn(Case) -> String) -> Vec<String> {
        CASES.iter().map(|(_, case)| name(*case)).collect()
    }

    #[test]
    fn rules() {
        assert_eq!(
            all(|case| case.field("page_url")),
            ["page_url", "PAGE_URL", "PageUrl", "pageUrl", "page_url", "PAGE_URL", "page-url"]
        );
        assert_eq!(
            all(|case| case.variant("NotFound")),
            ["notfound", "NOTFOUND", "NotFound", "notFound", "not_found", "NOT_FOUND", "not-found"]
        );
    }
}
