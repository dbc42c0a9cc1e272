//! The fields of a form.

use crate::Problem;

/// As they were sent, in order; a name may come several times.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(pub(super) Vec<(String, String)>);

impl Fields {
    /// What was typed, without blanks around it; empty where it is missing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// As it was typed: blanks belong to a password.
    pub(super) fn raw(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.0.iter().filter(|(known, _)| known == name);
        fields.map(|(_, value)| value.trim()).collect()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    pub(super) fn number(&self, name: &str) -> Result<u64, Problem> {
        let text = self.text(name);
        text.parse()
            .map_err(|_| Problem::wrong(format!("{text:?} is no number")))
    }

    /// A number where there is one.
    pub(super) fn number_if(&self, name: &str) -> Result<Option<u64>, Problem> {
        if self.is_set(name) {
            return self.number(name).map(Some);
        }
        Ok(None)
    }
}

/// A place in the console to go back to; never another site.
pub(super) fn local(path: &str) -> &str {
    let leads_away = path.starts_with("//") || path.contains(['\\', '\r', '\n', '\t']);
    if path.starts_with('/') && !leads_away && path.is_ascii() {
        path
    } else {
        "/"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        for path in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "javascript:x",
            "",
            "/\t/evil",
        ] {
            assert_eq!(local(path), "/", "{path}");
        }
        assert_eq!(local("/files?path=a%2Fb"), "/files?path=a%2Fb");
    }
}
