//! Suggests the name that a user may have meant.

/// The number of letters to change, add or remove to turn one name into the other, ignoring case.
pub fn distance(one: &str, other: &str) -> usize {
    strsim::levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

/// The name closest to `wanted`, if at most half of its letters differ.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.map(|name| (distance(wanted, name), name)).min()?;
    (distance * 2 <= wanted.chars().count()).then_some(name)
}

/// A hint that suggests the name closest to `wanted`, if there is one.
pub fn did_you_mean<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(wanted, names).map(|name| format!("did you mean \"{name}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_letters_may_differ() {
        let names = || ["delimiter", "header", "quote"].into_iter();
        assert_eq!(nearest("DELIMITR", names()), Some("delimiter"));
        assert_eq!(nearest("xyz", names()), None);
        assert_eq!(did_you_mean("headre", names()).unwrap(), "did you mean \"header\"?");
    }
}
