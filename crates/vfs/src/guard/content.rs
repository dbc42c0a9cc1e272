//! What a few bytes of a file look like: nothing, something that people or programs wrote, something compressed, or noise
//! as encryption makes it.
//!
//! Encryption leaves bytes of which each value is as likely as any other, which compression nearly does as well. The two
//! are told apart by what stands at the beginning: what compresses says so in its first bytes, or nobody could open it.

/// Bytes of a file that are looked at in one place.
pub(crate) const SAMPLE: usize = 1_024;
/// Fewer bytes tell nothing.
const SHORTEST: usize = 48;
/// From here on the distribution of byte values is tested; below it, whether the bytes could be text.
const DISTRIBUTION: usize = 512;
/// The largest sum of squared deviations, each by what was expected, that noise has: with 255 degrees of freedom the mean
/// is 255 and the standard deviation 22.6, so noise passes this once in many millions.
const DEVIATION_MAX: f64 = 400.0;
/// Base64 and its like: different characters that are used, and the longest text without any white space.
const ENCODED_ALPHABET: std::ops::RangeInclusive<usize> = 48..=68;
const ENCODED_LEAST: usize = 256;

/// What bytes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No bytes, too few, or only zeroes, as in space that was set aside.
    Empty,
    /// They have an order of their own.
    Ordered,
    /// They begin as some compressed or otherwise dense format does.
    Packed,
    /// Each value as likely as any other, and nothing that says what it is.
    Noise,
}

/// First bytes of formats whose content is dense: offset, bytes.
const PACKED: &[(usize, &[u8])] = &[
    (0, b"PK\x03\x04"),
    (0, b"PK\x05\x06"),
    (0, b"\x1F\x8B"),
    (0, b"BZh"),
    (0, b"\xFD7zXZ\x00"),
    (0, b"\x28\xB5\x2F\xFD"),
    (0, b"\x04\x22\x4D\x18"),
    (0, b"7z\xBC\xAF\x27\x1C"),
    (0, b"Rar!\x1A\x07"),
    (0, b"MSCF"),
    (0, b"\xFF\xD8\xFF"),
    (0, b"\x89PNG"),
    (0, b"GIF8"),
    (0, b"RIFF"),
    (0, b"OggS"),
    (0, b"fLaC"),
    (0, b"ID3"),
    (0, b"\xFF\xFB"),
    (0, b"\xFF\xF3"),
    (0, b"\xFF\xF1"),
    (0, b"\x1A\x45\xDF\xA3"),
    (0, b"\x00\x00\x01\xBA"),
    (0, b"\x00\x00\x01\xB3"),
    (0, b"%PDF"),
    (0, b"PACK"),
    (0, b"\x78\x01"),
    (0, b"\x78\x5E"),
    (0, b"\x78\x9C"),
    (0, b"\x78\xDA"),
    (0, b"II*\x00"),
    (0, b"MM\x00*"),
    (0, b"\xFF\x4F\xFF\x51"),
    (0, b"wOFF"),
    (0, b"wOF2"),
    (4, b"ftyp"),
    (4, b"jP  "),
    (257, b"ustar"),
];

/// Tells what the bytes of one place of a file look like. Only at its beginning a format can say what it is.
pub(crate) fn look(bytes: &[u8], at_start: bool) -> Look {
    if bytes.len() < SHORTEST || bytes.iter().all(|byte| *byte == 0) {
        return Look::Empty;
    }
    if at_start && is_packed(bytes) {
        return Look::Packed;
    }
    if is_noise(bytes) || is_encoded(bytes) {
        Look::Noise
    } else {
        Look::Ordered
    }
}

/// Whether bytes that were something have become noise.
pub(crate) fn was_spoilt(before: Look, after: Look) -> bool {
    matches!(before, Look::Ordered | Look::Packed) && after == Look::Noise
}

fn is_packed(bytes: &[u8]) -> bool {
    PACKED.iter().any(|(offset, magic)| {
        let there = bytes.get(*offset..);
        there.is_some_and(|there| there.starts_with(magic))
    })
}

fn is_noise(bytes: &[u8]) -> bool {
    if bytes.len() >= DISTRIBUTION {
        return deviation(bytes) <= DEVIATION_MAX;
    }
    let high = bytes.iter().filter(|byte| **byte >= 128).count();
    // Half of the bytes of noise are 128 and above, give or take four standard deviations.
    let off = (2 * high).abs_diff(bytes.len());
    off * off <= 16 * bytes.len()
        && std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() + 4 < bytes.len())
        && is_spread(bytes)
}

/// Few bytes are noise when hardly any value comes often: so many of one value have noise a chance below one in millions.
fn is_spread(bytes: &[u8]) -> bool {
    let most = counts(bytes).into_iter().max().unwrap_or(0);
    usize::try_from(most).is_ok_and(|most| most <= 6 + bytes.len() / 64)
}

fn counts(bytes: &[u8]) -> [u32; 256] {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    counts
}

/// Pearson's statistic of the counts of byte values against equal ones.
fn deviation(bytes: &[u8]) -> f64 {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let expected = f64::from(len) / 256.0;
    let squares = counts(bytes).into_iter().map(|count| {
        let off = f64::from(count) - expected;
        off * off / expected
    });
    squares.sum()
}

/// Whether bytes are noise written in letters: one long word that uses nearly all of base64's alphabet alike.
fn is_encoded(bytes: &[u8]) -> bool {
    if bytes.len() < ENCODED_LEAST {
        return false;
    }
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n".contains(byte);
    if !bytes.iter().all(letters) {
        return false;
    }
    let counts = counts(bytes);
    let used = counts.iter().filter(|count| **count > 0).count();
    let most = counts.iter().max().copied().unwrap_or(0);
    let breaks = bytes.iter().filter(|byte| b"\r\n".contains(byte)).count();
    ENCODED_ALPHABET.contains(&used)
        && usize::try_from(most).is_ok_and(|most| most <= bytes.len() / 20)
        && breaks <= bytes.len() / 30
}

#[cfg(test)]
mod tests {
    use strongroom_device::sim::Rng;

    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Rng::new(seed).fill(&mut bytes);
        bytes
    }

    #[test]
    fn noise_is_noise_at_every_length() {
        for seed in 0..400 {
            for len in [48, 64, 100, 255, 511, 512, 700, 1_024, 4_096] {
                let found = look(&noise(seed, len), false);
                assert_eq!(found, Look::Noise, "seed {seed}, {len} bytes");
            }
        }
    }

    #[test]
    fn what_people_write_is_not_noise() {
        let text =
            "The price list of November: nails, 4.20 a box; screws, 5.10; Größe 12 ist aus.\r\n";
        for len in [48, 60, 80, 500, 4_096] {
            let text: Vec<u8> = text.bytes().cycle().take(len).collect();
            assert_eq!(look(&text, true), Look::Ordered);
        }
        let numbers: Vec<u8> = (0..1_024_u32)
            .flat_map(|n| (n * 37).to_le_bytes())
            .collect();
        assert_eq!(look(&numbers, true), Look::Ordered);
        let greek: Vec<u8> = "Ο κατάλογος των τιμών ".bytes().cycle().take(300).collect();
        assert_eq!(look(&greek, true), Look::Ordered);
        // Text in UTF-16, as Windows writes it, and a table of floating-point numbers.
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(look(&wide, true), Look::Ordered);
        let table: Vec<u8> = (0..500_u16)
            .flat_map(|n| (f64::from(n) / 7.0).to_le_bytes())
            .collect();
        assert_eq!(look(&table, true), Look::Ordered);
    }

    #[test]
    fn formats_say_what_they_are_at_the_beginning_only() {
        let mut zip = noise(1, 4_096);
        zip.splice(..4, *b"PK\x03\x04");
        assert_eq!(look(&zip, true), Look::Packed);
        assert_eq!(look(&zip, false), Look::Noise);
        let mut film = noise(2, 4_096);
        film.splice(4..8, *b"ftyp");
        assert_eq!(look(&film, true), Look::Packed);
    }

    #[test]
    fn nothing_is_told_of_nothing() {
        assert_eq!(look(&[], true), Look::Empty);
        assert_eq!(look(&[0; 4_096], true), Look::Empty);
        assert_eq!(look(&noise(3, 47), true), Look::Empty);
    }

    #[test]
    fn noise_in_letters_is_noise() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bytes = noise(4, 4_096);
        let letters: Vec<u8> = bytes
            .iter()
            .map(|byte| alphabet[usize::from(byte % 64)])
            .collect();
        assert_eq!(look(&letters, true), Look::Noise);
        let program = b"fn main() { println!(\"hello\"); }\n".repeat(40);
        assert_eq!(look(&program, true), Look::Ordered);
        let numbers = b"0123456789abcdef".repeat(100);
        assert_eq!(look(&numbers, true), Look::Ordered);
    }

    #[test]
    fn only_what_was_something_is_spoilt_by_noise() {
        assert!(was_spoilt(Look::Ordered, Look::Noise));
        assert!(was_spoilt(Look::Packed, Look::Noise));
        for (before, after) in [
            (Look::Empty, Look::Noise),
            (Look::Noise, Look::Noise),
            (Look::Ordered, Look::Packed),
            (Look::Packed, Look::Ordered),
        ] {
            assert!(!was_spoilt(before, after));
        }
    }
}
