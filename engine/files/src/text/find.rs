//! Looks for bytes, eight at a time: values of text are short, and a call for each would cost more
//! than the look.

/// The lowest bit of each byte.
const LOW: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first position of one of three bytes from `at` on, or the end of the text.
#[inline]
pub(super) fn find(text: &[u8], mut at: usize, marks: [u8; 3]) -> usize {
    let [a, b, c] = marks.map(|mark| LOW * u64::from(mark));
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let (x, y, z) = (word ^ a, word ^ b, word ^ c);
        // A byte that is zero borrows from its highest bit; the lowest such mark is exact.
        let found =
            (x.wrapping_sub(LOW) & !x) | (y.wrapping_sub(LOW) & !y) | (z.wrapping_sub(LOW) & !z);
        let found = found & HIGH;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.iter().position(|byte| marks.contains(byte));
    text.len().min(at + length.unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_first_of_three_is_found() {
        let text: Vec<u8> = (0..=255).collect();
        for byte in 0..=255_u8 {
            assert_eq!(find(&text, 0, [byte, 255, 255]), usize::from(byte));
        }
        assert_eq!(find(b"aaaaaaaaaaaaaaaaab", 3, [b'x', b'y', b'b']), 17);
        assert_eq!(find(b"aaaa", 2, [b'x'; 3]), 4);
        assert_eq!(find(b"", 0, [b'x'; 3]), 0);
    }
}
