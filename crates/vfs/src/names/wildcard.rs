//! Patterns of directory listings (MS-FSA 2.1.4.4, MS-FSCC 2.1.4.4).
//!
//! `*` any characters; `?` one; `<` (DOS_STAR) any up to the last dot; `>` (DOS_QM) one, or none at a dot or the end;
//! `"` (DOS_DOT) a dot, or none at the end. The places in the pattern where a match may stand are the bits of a few
//! words, moved together, so that no pattern makes a name cost much: patterns are hostile, and directories long.

use super::{fold, utf16_len};
use crate::types::NAME_MAX;
use crate::{CaseMode, Result, VfsError};

/// Places in a pattern: one bit before each part and one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Places([u64; 4]);

impl Places {
    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn has(self, at: usize) -> bool {
        self.0[at / 64] & (1 << (at % 64)) != 0
    }

    fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    /// From the lowest word up.
    fn join(self, other: Self, mut with: impl FnMut(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| {
            with(self.0[word], other.0[word])
        }))
    }

    fn and(self, other: Self) -> Self {
        self.join(other, |a, b| a & b)
    }

    fn or(self, other: Self) -> Self {
        self.join(other, |a, b| a | b)
    }

    /// Every place one further.
    fn next(self) -> Self {
        let mut carry = 0;
        Self(self.0.map(|word| {
            let moved = word << 1 | carry;
            carry = word >> 63;
            moved
        }))
    }

    fn plus(self, other: Self) -> Self {
        let mut carry = false;
        self.join(other, |a, b| {
            let (sum, over) = a.overflowing_add(b);
            let (sum, over_too) = sum.overflowing_add(u64::from(carry));
            carry = over || over_too;
            sum
        })
    }

    /// These places and all that are reached from them over parts that may stand for nothing: in a run of such parts
    /// the sum's carry passes from the first place taken to the one behind the run.
    fn over(self, skippable: Self) -> Self {
        let taken = self.and(skippable);
        let passed = skippable.plus(taken).join(skippable, |a, b| a ^ b);
        self.or(taken).or(passed)
    }
}

/// A pattern ready to be matched.
#[derive(Debug, Clone)]
pub struct Pattern {
    parts: Vec<char>,
    case: CaseMode,
    everything: bool,
    literal: bool,
    /// Where a certain character is taken, by character.
    literals: Vec<(char, Places)>,
    /// Where the wildcards are: `*`, `?`, `<`, `>`, `"`.
    stars: Places,
    ones: Places,
    dos_stars: Places,
    dos_ones: Places,
    dos_dots: Places,
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
            case,
            literals: literals(&parts),
            stars: places_of(&parts, '*'),
            ones: places_of(&parts, '?'),
            dos_stars: places_of(&parts, '<'),
            dos_ones: places_of(&parts, '>'),
            dos_dots: places_of(&parts, '"'),
            parts,
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
        let mut places = Places::default();
        places.set(0);
        for (at, c) in name.char_indices() {
            places = self.step(places, c, Some(at) == last_dot);
            if places.is_empty() {
                return false;
            }
        }
        let skippable = self.stars.or(self.dos_stars);
        let skippable = skippable.or(self.dos_ones).or(self.dos_dots);
        places.over(skippable).has(self.parts.len())
    }

    /// Moves every place over one character.
    fn step(&self, places: Places, c: char, is_last_dot: bool) -> Places {
        let mut skippable = self.stars.or(self.dos_stars);
        let mut takes = self.literal_places(c).or(self.ones);
        if c == '.' {
            skippable = skippable.or(self.dos_ones);
            takes = takes.or(self.dos_dots);
        } else {
            takes = takes.or(self.dos_ones);
        }
        let places = places.over(skippable);
        let mut stays = places.and(self.stars);
        if !is_last_dot {
            stays = stays.or(places.and(self.dos_stars));
        }
        stays.or(places.and(takes).next())
    }

    fn literal_places(&self, c: char) -> Places {
        let found = self.literals.binary_search_by_key(&c, |(c, _)| *c);
        found.map_or(Places::default(), |at| self.literals[at].1)
    }
}

fn places_of(parts: &[char], part: char) -> Places {
    let mut places = Places::default();
    for (at, this) in parts.iter().enumerate() {
        if *this == part {
            places.set(at);
        }
    }
    places
}

fn literals(parts: &[char]) -> Vec<(char, Places)> {
    let mut chars = parts.to_vec();
    chars.sort_unstable();
    chars.dedup();
    chars.retain(|c| !matches!(c, '*' | '?' | '<' | '>' | '"'));
    let places = |c: char| (c, places_of(parts, c));
    chars.into_iter().map(places).collect()
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

    /// The rules one after the other, with nothing clever: does the pattern's rest match the name's rest?
    fn plainly(pattern: &[char], name: &[char]) -> bool {
        let Some((part, rest)) = pattern.split_first() else {
            return name.is_empty();
        };
        let after = |count: usize| name.get(count..).is_some_and(|name| plainly(rest, name));
        let last_dot = name.iter().rposition(|c| *c == '.');
        let takes_one = |taken: bool| taken && after(1);
        match part {
            '*' => (0..=name.len()).any(after),
            '<' => (0..=last_dot.unwrap_or(name.len())).any(after),
            '>' => {
                (!name.is_empty() && name[0] != '.' && after(1))
                    || ((name.is_empty() || name[0] == '.') && after(0))
            }
            '?' => takes_one(!name.is_empty()),
            '"' => (name.is_empty() && after(0)) || takes_one(name.first() == Some(&'.')),
            literal => takes_one(name.first() == Some(literal)),
        }
    }

    #[test]
    fn matches_as_the_rules_do_one_after_the_other() {
        let mut rng = strongroom_device::sim::Rng::new(7);
        let mut matched = 0;
        for _ in 0..20_000 {
            let mut pick = |from: &str, len: usize| -> String {
                let from: Vec<char> = from.chars().collect();
                (0..len).map(|_| from[rng.below(from.len())]).collect()
            };
            let length = pick("12345", 2).into_bytes();
            let pattern = pick("AB.*?<>\"", usize::from(length[0] - b'0'));
            let name = pick("AB.", usize::from(length[1] - b'0'));
            let mut chars: Vec<char> = pattern.chars().collect();
            chars.dedup_by(|a, b| *a == '*' && *b == '*');
            let name_chars: Vec<char> = name.chars().collect();
            let expected = pattern == "*.*" || plainly(&chars, &name_chars);
            matched += usize::from(expected);
            assert_eq!(matches(&pattern, &name), expected, "{pattern} {name}");
        }
        assert!(matched > 1_000);
    }

    #[test]
    fn a_pattern_of_full_length_is_matched_over_all_words() {
        for pattern in [
            "?".repeat(255),
            "*?".repeat(127) + "?",
            "a".repeat(255),
            ">".repeat(255),
        ] {
            assert!(matches(&pattern, &"a".repeat(255)), "{pattern}");
        }
        assert!(!matches(&"?".repeat(255), &"a".repeat(254)));
        assert!(matches(&("*".to_owned() + &"<>".repeat(127)), "b"));
    }

    #[test]
    fn hostile_patterns_cost_little_a_name() {
        let name = fold(&("a".repeat(254) + "b"));
        for pattern in [
            "*a".repeat(127),
            "?*".repeat(127) + "x",
            "<>".repeat(127) + "x",
        ] {
            let pattern = Pattern::new(&pattern, CaseMode::Insensitive).unwrap();
            let begun = std::time::Instant::now();
            for _ in 0..10_000 {
                assert!(!pattern.matches_folded(&name));
            }
            // Pattern times name would take most of a second even where it is fast.
            assert!(
                begun.elapsed() < std::time::Duration::from_millis(400),
                "{:?}",
                begun.elapsed()
            );
        }
    }

    #[test]
    fn exact_case_is_kept_where_asked() {
        let pattern = Pattern::new("A*", CaseMode::Exact).unwrap();
        assert!(pattern.matches("Abc"));
        assert!(!pattern.matches("abc"));
    }
}
