//! How protocols with fewer illegal characters spell names, reversibly. docs/names.md is the long form.
//!
//! Names are kept as Windows clients can spell them. A character that they cannot is kept as its stand-in in the
//! private use area, the same that macOS and the Linux SMB client use, so all clients agree:
//!
//! ```text
//! 01..1F U+F001..U+F01F | " U+F020 | * U+F021 | : U+F022 | < U+F023 | > U+F024 | ? U+F025 | \ U+F026 | | U+F027
//! trailing space U+F028 | trailing dot U+F029 | a byte 80..FF that is not UTF-8 U+F080..U+F0FF
//! ```
//! A name that holds a stand-in itself is kept one step up: U+F0xx as U+10F0xx, U+10F0xx as U+10F1xx, and so on to
//! U+10FFxx, beyond which names are refused. So the spelling of every name in the other world is unique.

use std::borrow::Cow;

use crate::{Result, VfsError};

const STAND_IN: u32 = 0xF000;
const FIRST_STEP: u32 = 0x10_F000;
const LAST_STEP: u32 = 0x10_FF00;
const SPACE: u8 = 0x28;
const DOT: u8 = 0x29;
/// Characters with stand-ins U+F020 to U+F027, in this order.
const MAPPED: [char; 8] = ['"', '*', ':', '<', '>', '?', '\\', '|'];

/// Keeps a trailing dot or space as its stand-in.
pub(super) fn spell_trailing(name: &str) -> Cow<'_, str> {
    let code = match name.as_bytes().last() {
        Some(b'.') => DOT,
        Some(b' ') => SPACE,
        _ => return Cow::Borrowed(name),
    };
    let mut kept = name[..name.len() - 1].to_owned();
    kept.push(stand_in(code));
    Cow::Owned(kept)
}

/// Whether the kept name comes back when another protocol spells it.
pub(super) fn has_one_spelling(kept: &str) -> bool {
    let special = |c: char| matches!(u32::from(c), 0xF000..=0xF0FF | FIRST_STEP..);
    if !kept.chars().any(special) {
        return true;
    }
    let unix = to_unix(kept);
    unix != b"." && unix != b".." && from_unix(&unix).is_ok_and(|back| back == kept)
}

/// The kept form of a name that a protocol spells in bytes (NFS, S3, SFTP).
///
/// Errors: `InvalidName` for empty names, `.`, `..`, those with `/` or NUL and those beyond the last step.
/// The length is checked by [`super::canonical`].
pub fn from_unix(name: &[u8]) -> Result<String> {
    if name.is_empty()
        || name == b"."
        || name == b".."
        || name.iter().any(|b| matches!(b, 0 | b'/'))
    {
        return Err(VfsError::InvalidName);
    }
    let mut kept = String::with_capacity(name.len() + 8);
    let mut rest = name.utf8_chunks().peekable();
    while let Some(chunk) = rest.next() {
        let at_end = rest.peek().is_none() && chunk.invalid().is_empty();
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            kept.push(step_up(c, at_end && chars.peek().is_none())?);
        }
        kept.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
    }
    Ok(kept)
}

/// How a protocol that spells names in bytes sees a kept name.
pub fn to_unix(kept: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(kept.len());
    let mut chars = kept.chars().peekable();
    while let Some(c) = chars.next() {
        match step_down(c, chars.peek().is_none()) {
            Down::Char(c) => name.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Down::Byte(byte) => name.push(byte),
        }
    }
    name
}

fn stand_in(code: u8) -> char {
    char::from_u32(STAND_IN + u32::from(code)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Whether a code has a stand-in at this place of a name.
fn is_code(code: u32, last: bool) -> bool {
    matches!(code, 0x01..=0x27 | 0x80..=0xFF) || (last && matches!(code, 0x28 | 0x29))
}

fn step_up(c: char, last: bool) -> Result<char> {
    let code = u32::from(c);
    let up = match code {
        0x01..=0x1F => STAND_IN + code,
        0x20 if last => STAND_IN + u32::from(SPACE),
        0x2E if last => STAND_IN + u32::from(DOT),
        0xF000..=0xF0FF if is_code(code - STAND_IN, last) => code - STAND_IN + FIRST_STEP,
        FIRST_STEP.. if is_code(code & 0xFF, last) => code + 0x100,
        _ => match (0x20..).zip(MAPPED).find(|(_, mapped)| *mapped == c) {
            Some((offset, _)) => STAND_IN + offset,
            None => return Ok(c),
        },
    };
    if up >= LAST_STEP + 0x100 {
        return Err(VfsError::InvalidName);
    }
    char::from_u32(up).ok_or(VfsError::InvalidName)
}

enum Down {
    Char(char),
    Byte(u8),
}

fn step_down(c: char, last: bool) -> Down {
    let code = u32::from(c);
    match code {
        0xF000..=0xF0FF if is_code(code - STAND_IN, last) => native(code - STAND_IN),
        FIRST_STEP.. if is_code(code & 0xFF, last) => {
            let down = if code < FIRST_STEP + 0x100 {
                code - FIRST_STEP + STAND_IN
            } else {
                code - 0x100
            };
            Down::Char(char::from_u32(down).unwrap_or(c))
        }
        _ => Down::Char(c),
    }
}

/// What a stand-in stands for.
fn native(code: u32) -> Down {
    let low = u8::try_from(code).unwrap_or(b'?');
    match low {
        0x80.. => Down::Byte(low),
        SPACE => Down::Char(' '),
        DOT => Down::Char('.'),
        0x20..=0x27 => Down::Char(MAPPED[usize::from(low - 0x20)]),
        _ => Down::Char(char::from(low)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::canonical;

    #[test]
    fn every_unix_name_comes_back() {
        let names: [&[u8]; 13] = [
            b"a:b",
            b"trailing.",
            b"trailing ",
            b"...",
            b"\xff\xfe",
            b"caf\xc3",
            b"\xc3\xa9",
            b"a\\b|c?d*e<f>g\"",
            b"\x01\x1f",
            "\u{F022}".as_bytes(),
            "\u{F029}".as_bytes(),
            "\u{10F022}x".as_bytes(),
            b" . ",
        ];
        for name in names {
            let kept = from_unix(name).unwrap();
            assert_eq!(to_unix(&kept), name, "{kept:?}");
            assert_eq!(canonical(&kept).unwrap(), kept);
        }
    }

    #[test]
    fn stand_ins_are_those_of_macos_and_linux_clients() {
        assert_eq!(from_unix(b"a:b").unwrap(), "a\u{F022}b");
        assert_eq!(from_unix(b"what?").unwrap(), "what\u{F025}");
        assert_eq!(from_unix(b"end.").unwrap(), "end\u{F029}");
    }

    #[test]
    fn kept_names_have_one_spelling_or_are_refused() {
        assert!(has_one_spelling("plain"));
        assert!(has_one_spelling("a\u{F022}b"));
        assert!(has_one_spelling("\u{F0FF}"));
        // These would be spelt é and `.`, which others have already.
        assert!(!has_one_spelling("\u{F0C3}\u{F0A9}"));
        assert!(!has_one_spelling("\u{F029}"));
    }

    #[test]
    fn random_byte_names_come_back() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut name = Vec::new();
            for _ in 0..(state % 9 + 1) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let pick = state >> 33;
                match pick % 4 {
                    0 => name.extend("\u{F028}".as_bytes()),
                    1 => name.extend(
                        char::from_u32(0x10_F000 + (pick >> 8) as u32 % 0xE00)
                            .unwrap()
                            .to_string()
                            .bytes(),
                    ),
                    _ => name.push(pick.to_be_bytes()[5]),
                }
            }
            if let Ok(kept) = from_unix(&name) {
                assert_eq!(to_unix(&kept), name);
            }
        }
    }
}
