//! Patterns of directory listings (MS-FSA 2.1.4.4, MS-FSCC 2.1.4.4).
//!
//! `*` any characters; `?` one; `<` (DOS_STAR) any up to the last dot; `>` (DOS_QM) one, or none at a dot or the end;
//! `"` (DOS_DOT) a dot, or none at the end. A set of states is kept, so that time is pattern times name at worst.

use super::{fold, utf16_len};
use crate::types::NAME_MAX;
use crate::{CaseMode, Result, VfsError};

/// A pattern ready to be matched.
#[derive(Debug, Clone)]
pub struct Pattern {
    parts: Vec<char>,
    case: CaseMode,
    everything: bool,
    literal: bool,
}

impl Pattern {
    /// Errors: `NameTooLong` beyond 255 UTF-16 units; `InvalidName` for an empty pattern or one with a separator.
    pub fn new(pattern: &str, case: CaseMode) -> Result<Self> {
        if utf16_len(pattern) > NAME_MAX {
            return Err(VfsError::NameTooLong);
        }
        if pattern.is_empty() || pattern.contains(['\\', '/', '\0']) {
            return Err(VfsError::InvalidName);
        }
        let folded = match case {
            CaseMode::Insensitive => fold(pattern),
            CaseMode::Exact => pattern.to_owned(),
        };
        let mut parts: Vec<char> = folded.chars().collect();
        parts.dedup_by(|a, b| *a == '*' && *b == '*');
        Ok(Self {
            everything: parts == ['*'] || folded == "*.*",
            literal: !folded.contains(['*', '?', '<', '>', '"']),
            parts,
            case,
        })
    }

    /// Matches every name. `*.*` does too, as DOS had it.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// Has no wildcard, so names one file at most.
    pub fn is_literal(&self) -> bool {
        self.literal
    }

    /// The pattern as it is compared.
    pub(crate) fn text(&self) -> String {
        self.parts.iter().collect()
    }

    pub fn matches(&self, name: &str) -> bool {
        if self.everything {
            return true;
        }
        match self.case {
            CaseMode::Insensitive => self.matches_folded(&fold(name)),
            CaseMode::Exact => self.matches_folded(name),
        }
    }

    /// Matches a name that is folded already (or is compared exactly).
    pub(crate) fn matches_folded(&self, name: &str) -> bool {
        if self.everything {
            return true;
        }
        let last_dot = name.rfind('.');
        let mut states = vec![false; self.parts.len() + 1];
        let mut next = states.clone();
        states[0] = true;
        for (at, c) in name.char_indices() {
            next.fill(false);
            self.step(&mut states, &mut next, c, Some(at) == last_dot);
            std::mem::swap(&mut states, &mut next);
            if !states.contains(&true) {
                return false;
            }
        }
        self.finish(&mut states)
    }

    /// Moves every state over one character; transitions without a character go forward within `states`.
    fn step(&self, states: &mut [bool], next: &mut [bool], c: char, is_last_dot: bool) {
        for (at, part) in self.parts.iter().enumerate() {
            if !states[at] {
                continue;
            }
            match part {
                '*' => {
                    states[at + 1] = true;
                    next[at] = true;
                }
                '<' => {
                    states[at + 1] = true;
                    next[at] |= !is_last_dot;
                }
                '>' if c == '.' => states[at + 1] = true,
                '?' | '>' => next[at + 1] = true,
                '"' => next[at + 1] |= c == '.',
                literal => next[at + 1] |= *literal == c,
            }
        }
    }

    fn finish(&self, states: &mut [bool]) -> bool {
        for (at, part) in self.parts.iter().enumerate() {
            if states[at] && matches!(part, '*' | '<' | '>' | '"') {
                states[at + 1] = true;
            }
        }
        states.last() == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, CaseMode::Insensitive)
            .unwrap()
            .matches(name)
    }

    #[test]
    fn matches_as_the_specification_says() {
        let cases = [
            ("*", "anything.txt", true),
            ("*.*", "noextension", true),
            ("*.txt", "A.TXT", true),
            ("*.txt", "a.txt.bak", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("???", "ab", false),
            // What FindFirstFile("???.txt"), ("*.") and ("*.txt") become.
            (">>>.txt", "ab.txt", true),
            (">>>.txt", "abcd.txt", false),
            (">>>>", "ab", true),
            ("<", "abc", true),
            ("<", "a.b.c", false),
            ("<.c", "a.b.c", true),
            ("<.txt", "a.b.txt", true),
            ("<\"*", "abc", true),
            ("abc\"", "abc", true),
            ("abc\"", "abc.", true),
            ("abc\"", "abcd", false),
            ("Straße", "STRAßE", true),
            ("É*", "école", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_patterns_take_no_more_than_pattern_times_name() {
        let pattern = "*a".repeat(127);
        let name = "a".repeat(254) + "b";
        for _ in 0..200 {
            assert!(!matches(&pattern, &name));
        }
    }

    #[test]
    fn exact_case_is_kept_where_asked() {
        let pattern = Pattern::new("A*", CaseMode::Exact).unwrap();
        assert!(pattern.matches("Abc"));
        assert!(!pattern.matches("abc"));
    }
}
