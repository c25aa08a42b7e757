//! Memory sizes in user syntax: `4G`, `512M`, `1.5GiB`. Not by the crate `bytesize`, for which `4G`
//! is a power of 1000.

/// Parses a size in bytes. Units are powers of 1024 with or without the `i`, as is usual for
/// memory.
///
/// ```
/// assert_eq!(bigslice::parse_size("1.5G"), Ok(3 << 29));
/// ```
///
/// # Errors
/// The text is not a size; the message gives examples.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|char: char| !(char.is_ascii_digit() || char == '.'));
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let wrong = || format!("\"{text}\" is not a size such as 512M, 4G or 1.5GiB");
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(wrong()),
    };
    let bytes = number * 1024_f64.powi(power);
    if !(1.0..9e18).contains(&bytes) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above"
    )]
    Ok(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1", 1),
            ("100B", 100),
            ("4G", 4 << 30),
            ("512M", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("2 tb", 2 << 40),
            ("64k", 64 << 10),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1G", "4X", "0", "1e3", "nan", "1..2G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
