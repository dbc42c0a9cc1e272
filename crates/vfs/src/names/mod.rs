//! Names: which are valid, how paths are taken apart, how names compare, and how other protocols spell them.

mod fold;
mod form;
mod path;
mod short;
mod unix;
mod wildcard;

pub(crate) use fold::fold;
pub(crate) use form::other_forms;
pub(crate) use path::ParsedPath;
pub(crate) use short::may_be_made;
pub use short::{is_short, short_name};
pub use unix::{from_unix, to_unix};
pub use wildcard::Pattern;

use std::borrow::Cow;

use crate::types::NAME_MAX;
use crate::{Result, VfsError};

/// Characters that no name has (MS-FSCC 2.1.5), besides control characters.
const ILLEGAL: [char; 9] = ['"', '*', '/', ':', '<', '>', '?', '\\', '|'];

/// Length as clients count it.
pub(crate) fn utf16_len(name: &str) -> usize {
    if name.is_ascii() {
        name.len()
    } else {
        name.encode_utf16().count()
    }
}

/// The form in which a name is kept: a trailing dot or space is spelt by its stand-in (docs/names.md).
///
/// Errors: `InvalidName` for empty names, `.` and `..`, illegal characters, and stand-ins that no other protocol
/// could spell; `NameTooLong` beyond 255 UTF-16 units.
pub fn canonical(name: &str) -> Result<Cow<'_, str>> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(VfsError::InvalidName);
    }
    if utf16_len(name) > NAME_MAX {
        return Err(VfsError::NameTooLong);
    }
    if name.chars().any(|c| c < ' ' || ILLEGAL.contains(&c)) {
        return Err(VfsError::InvalidName);
    }
    let kept = unix::spell_trailing(name);
    if !kept.is_ascii() && !unix::has_one_spelling(&kept) {
        return Err(VfsError::InvalidName);
    }
    Ok(kept)
}

/// Checks a stream's name (MS-FSCC 2.1.5.3).
pub(crate) fn check_stream_name(name: &str) -> Result<()> {
    if utf16_len(name) > NAME_MAX {
        return Err(VfsError::NameTooLong);
    }
    let illegal = |c| matches!(c, '\0' | '/' | '\\' | ':');
    if name.is_empty() || name.chars().any(illegal) {
        return Err(VfsError::InvalidName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_no_name_may_hold() {
        for name in [
            "", ".", "..", "a:b", "a/b", "a\\b", "a*", "a?", "a\"", "a<", "a>", "a|", "a\u{1}",
        ] {
            assert!(
                matches!(canonical(name), Err(VfsError::InvalidName)),
                "{name:?}"
            );
        }
    }

    #[test]
    fn length_is_counted_in_utf16_units() {
        assert!(canonical(&"a".repeat(255)).is_ok());
        assert!(matches!(
            canonical(&"a".repeat(256)),
            Err(VfsError::NameTooLong)
        ));
        assert!(canonical(&"é".repeat(255)).is_ok());
        assert!(matches!(
            canonical(&"😀".repeat(128)),
            Err(VfsError::NameTooLong)
        ));
    }

    #[test]
    fn trailing_dots_and_spaces_are_spelt_by_their_stand_in() {
        assert_eq!(canonical("a.").unwrap(), "a\u{F029}");
        assert_eq!(canonical("a ").unwrap(), "a\u{F028}");
        assert_eq!(canonical("a. .").unwrap(), "a. \u{F029}");
        assert_eq!(canonical("a.b").unwrap(), "a.b");
    }
}
