//! 8.3 names (MS-FSCC 2.1.5.2.1). They are computed from the long name and kept nowhere: a character of the name, six
//! digits of a hash of it (base 36) around a tilde, and what its extension has to give. Two names of a directory may
//! come to the same; it then stands for neither.

use super::fold;

const STEM_MAX: usize = 8;
const EXTENSION_MAX: usize = 3;
/// Where the tilde is in a made name.
const TILDE: usize = 6;
/// 36 to the power of the six digits.
const HASHES: u64 = 2_176_782_336;
/// Characters of 8.3 names besides letters and digits (MS-FSCC 2.1.5.2.1).
const OTHERS: &str = "!#$%&'()-@^_`{}~";

/// Whether a name is short enough to be its own 8.3 name.
pub fn is_short(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let valid = |c: char| c.is_ascii_alphanumeric() || OTHERS.contains(c);
    let dotted = name.contains('.');
    (1..=STEM_MAX).contains(&stem.len())
        && extension.len() <= EXTENSION_MAX
        && (!dotted || !extension.is_empty())
        && stem.chars().chain(extension.chars()).all(valid)
}

/// The 8.3 name of a long one; None for a name that is short itself.
pub fn short_name(name: &str) -> Option<String> {
    if is_short(name) {
        return None;
    }
    let first = name.chars().find(char::is_ascii_alphanumeric);
    let mut short = String::with_capacity(STEM_MAX + 1 + EXTENSION_MAX);
    short.push(first.map_or('_', |c| c.to_ascii_uppercase()));
    let mut rest = hash(&fold(name)) % HASHES;
    for at in 1..STEM_MAX {
        if at == TILDE {
            short.push('~');
        } else {
            short.push(digit(rest % 36));
            rest /= 36;
        }
    }
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let kept = extension.chars().filter(char::is_ascii_alphanumeric);
    let kept: String = kept.take(EXTENSION_MAX).collect();
    if !kept.is_empty() {
        short.push('.');
        short.push_str(&kept.to_ascii_uppercase());
    }
    Some(short)
}

/// Whether a name looks as [`short_name`] makes them.
pub(crate) fn may_be_made(name: &str) -> bool {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let made = |(at, byte): (usize, u8)| match at {
        0 => byte.is_ascii_alphanumeric() || byte == b'_',
        TILDE => byte == b'~',
        _ => byte.is_ascii_alphanumeric(),
    };
    stem.len() == STEM_MAX
        && stem.bytes().enumerate().all(made)
        && extension.len() <= EXTENSION_MAX
        && extension.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn digit(value: u64) -> char {
    u32::try_from(value)
        .ok()
        .and_then(|value| char::from_digit(value, 36))
        .map_or('0', |digit| digit.to_ascii_uppercase())
}

/// FNV-1a. Clients may keep short names, so it must stay the same for good.
fn hash(folded: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    folded.bytes().fold(0xCBF2_9CE4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_their_own() {
        for name in ["a", "README", "readme.txt", "A-B_1.c", "12345678.123"] {
            assert!(is_short(name), "{name}");
            assert_eq!(short_name(name), None);
        }
    }

    #[test]
    fn long_names_get_one_that_is_short_and_looks_made() {
        for name in [
            "a long name.text",
            "123456789",
            ".profile",
            "two.dots.c",
            "a b",
            "trailing\u{F029}",
            "größe.jpeg",
            "日本",
            "name.",
            "+.+",
        ] {
            let short = short_name(name).unwrap();
            assert!(is_short(&short) && may_be_made(&short), "{name}: {short}");
        }
    }

    #[test]
    fn they_are_the_same_in_any_case_and_for_good() {
        let short = short_name("A Long Name.Text").unwrap();
        assert_eq!(short_name("a long name.TEXT"), Some(short.clone()));
        assert_ne!(short_name("a long name 2.text").unwrap(), short);
        assert!(short.starts_with('A') && short.ends_with(".TEX"), "{short}");
    }
}
