//! Suggests the name that a user may have meant.

/// How many letters have to be changed, added or left out to make one name of the other, whatever
/// their case.
pub fn distance(one: &str, other: &str) -> usize {
    strsim::levenshtein(&one.to_lowercase(), &other.to_lowercase())
}

/// The nearest of `names` to `wanted`, if at most half of the letters differ.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, name) = names.map(|name| (distance(wanted, name), name)).min()?;
    (distance * 2 <= wanted.chars().count()).then_some(name)
}

/// A hint with the nearest of `names` to `wanted`, if there is one.
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
