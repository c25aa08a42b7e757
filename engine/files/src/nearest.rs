//! Suggests the name that a user may have meant.

use datafusion::common::utils::datafusion_strsim::levenshtein;

/// The name that may have been meant instead of `wanted`.
pub fn did_you_mean<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let wanted = wanted.to_lowercase();
    let (distance, name) =
        names.map(|name| (levenshtein(&wanted, &name.to_lowercase()), name)).min()?;
    (distance * 2 <= wanted.chars().count()).then(|| format!("did you mean \"{name}\"?"))
}
