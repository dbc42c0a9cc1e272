//! Paths taken apart: components and the stream behind the last one (MS-FSA 2.1.5.1, MS-FSCC 2.1.5).

use smallvec::SmallVec;

use super::{canonical, check_stream_name, utf16_len};
use crate::types::PATH_MAX;
use crate::{Result, VfsError};

/// A path relative to some directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedPath<'a> {
    /// Each in the form in which names are kept. Empty: the directory itself.
    pub(crate) components: SmallVec<[std::borrow::Cow<'a, str>; 8]>,
    /// The named stream; None is the file itself.
    pub(crate) stream: Option<&'a str>,
    /// Written with a trailing separator or as `::$INDEX_ALLOCATION`: only a directory will do.
    pub(crate) must_be_directory: bool,
    /// Written as `::$DATA`: only a file will do.
    pub(crate) must_be_file: bool,
}

impl<'a> ParsedPath<'a> {
    /// Errors: `InvalidName`, `NameTooLong`.
    pub(crate) fn parse(path: &'a str) -> Result<Self> {
        if utf16_len(path) > PATH_MAX {
            return Err(VfsError::NameTooLong);
        }
        let mut parsed = Self {
            components: SmallVec::new(),
            stream: None,
            must_be_directory: false,
            must_be_file: false,
        };
        if path.is_empty() {
            return Ok(parsed);
        }
        let trimmed = path.strip_suffix(['\\', '/']).unwrap_or(path);
        parsed.must_be_directory = trimmed.len() != path.len();
        let mut parts = trimmed.split(['\\', '/']).peekable();
        while let Some(part) = parts.next() {
            let name = if parts.peek().is_none() {
                parsed.take_stream(part)?
            } else {
                part
            };
            // An empty name is the directory itself, where only a stream of it is named.
            if !name.is_empty() || !parsed.names_stream(trimmed) {
                parsed.components.push(canonical(name)?);
            }
        }
        Ok(parsed)
    }

    /// The components before the last, and the last.
    pub(crate) fn split(
        &self,
    ) -> Option<(&std::borrow::Cow<'a, str>, &[std::borrow::Cow<'a, str>])> {
        self.components.split_last()
    }

    fn names_stream(&self, whole: &str) -> bool {
        whole.starts_with(':')
            && (self.stream.is_some() || self.must_be_directory || self.must_be_file)
    }

    /// Takes `:stream:type` off the last component.
    fn take_stream(&mut self, part: &'a str) -> Result<&'a str> {
        let Some((name, rest)) = part.split_once(':') else {
            return Ok(part);
        };
        let (stream, kind) = match rest.split_once(':') {
            Some((stream, kind)) => (stream, Some(kind)),
            None => (rest, None),
        };
        match kind {
            None => self.stream = Some(stream),
            Some(kind) if kind.eq_ignore_ascii_case("$DATA") => {
                self.stream = Some(stream).filter(|stream| !stream.is_empty());
                self.must_be_file = stream.is_empty();
            }
            Some(kind) if kind.eq_ignore_ascii_case("$INDEX_ALLOCATION") => {
                if !stream.is_empty() && !stream.eq_ignore_ascii_case("$I30") {
                    return Err(VfsError::InvalidName);
                }
                self.must_be_directory = true;
            }
            Some(_) => return Err(VfsError::InvalidName),
        }
        if let Some(stream) = self.stream {
            check_stream_name(stream)?;
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> (Vec<String>, Option<String>) {
        let parsed = ParsedPath::parse(path).unwrap();
        let components = parsed.components.iter().map(ToString::to_string).collect();
        (components, parsed.stream.map(str::to_owned))
    }

    #[test]
    fn takes_paths_apart() {
        assert_eq!(parts(""), (vec![], None));
        assert_eq!(
            parts("a\\b/c"),
            (vec!["a".into(), "b".into(), "c".into()], None)
        );
        assert_eq!(
            parts("a\\b:s"),
            (vec!["a".into(), "b".into()], Some("s".into()))
        );
        assert_eq!(parts("b:s:$data"), (vec!["b".into()], Some("s".into())));
        assert_eq!(parts("b::$DATA"), (vec!["b".into()], None));
        assert_eq!(parts(":s"), (vec![], Some("s".into())));
        assert_eq!(parts(":s:$DATA"), (vec![], Some("s".into())));
    }

    #[test]
    fn a_trailing_separator_asks_for_a_directory() {
        assert!(ParsedPath::parse("a\\").unwrap().must_be_directory);
        assert!(
            ParsedPath::parse("a::$INDEX_ALLOCATION")
                .unwrap()
                .must_be_directory
        );
        assert!(
            ParsedPath::parse("a:$I30:$INDEX_ALLOCATION")
                .unwrap()
                .must_be_directory
        );
        assert!(ParsedPath::parse("a::$DATA").unwrap().must_be_file);
    }

    #[test]
    fn refuses_bad_paths() {
        for path in [
            "\\a", "a\\\\b", "..", "a\\..\\b", ".", "a:", "a:b\\c", "a:s:$X", "a:s:t:u", "\\", ":",
            "::", "a\\:s",
        ] {
            assert!(
                matches!(ParsedPath::parse(path), Err(VfsError::InvalidName)),
                "{path}"
            );
        }
    }
}
