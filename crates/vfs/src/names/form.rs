//! Unicode's two ways of spelling a letter with a mark (UAX #15): macOS's programs decompose (NFD), nearly everybody else
//! composes (NFC).
//!
//! Nothing on disk depends on it: names are kept as they were given, and a name that is not there in the form asked for
//! is looked for in the other. So a newer Unicode may come without a new version of the format.

use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization;

use super::utf16_len;
use crate::types::NAME_MAX;

/// The composed and the decomposed form of a name, as far as they differ from it and could be a name's.
pub(crate) fn other_forms(name: &str) -> SmallVec<[String; 2]> {
    let mut forms = SmallVec::new();
    if name.is_ascii() {
        return forms;
    }
    let (composed, decomposed): (String, String) = (name.nfc().collect(), name.nfd().collect());
    for form in [composed, decomposed] {
        if form != name && utf16_len(&form) <= NAME_MAX && !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_the_other() {
        assert_eq!(other_forms("caf\u{e9}").as_slice(), ["cafe\u{301}"]);
        assert_eq!(other_forms("cafe\u{301}").as_slice(), ["caf\u{e9}"]);
        // Half of each.
        let mixed = other_forms("\u{e9}e\u{301}");
        assert_eq!(mixed.as_slice(), ["\u{e9}\u{e9}", "e\u{301}e\u{301}"]);
    }

    #[test]
    fn a_name_that_has_one_form_has_no_other() {
        for name in ["cafe", "\u{DF}", "\u{3C3}", "\u{F022}", ""] {
            assert!(other_forms(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_form_that_is_too_long_for_a_name_is_none() {
        assert!(other_forms(&"\u{e9}".repeat(128)).is_empty());
        assert_eq!(other_forms(&"\u{e9}".repeat(127)).len(), 1);
    }
}
