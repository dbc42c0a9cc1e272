//! What an account may be called, and when two names are one.

use crate::NameError;

/// Room for a first and a last name; Windows itself stops at 20 for accounts made there.
const LEN_MAX: usize = 64;
/// The characters that Windows takes in no account name, and `@`, which parts a user from a domain.
const ILLEGAL: &str = "\"/\\[]:;|=,+*?<>@";
/// Names with a meaning of their own in access control lists, and those that no directory can have.
const RESERVED: &[&str] = &[
    "administrators",
    "anonymous",
    "anonymous logon",
    "authenticated users",
    "backup operators",
    "builtin",
    "creator group",
    "creator owner",
    "everyone",
    "guest",
    "guests",
    "local service",
    "network",
    "network service",
    "none",
    "nt authority",
    "null sid",
    "owner rights",
    "self",
    "system",
    "users",
    "aux",
    "con",
    "nul",
    "prn",
];

/// Refuses what cannot be a user's or a group's name.
pub(crate) fn check(name: &str) -> Result<(), NameError> {
    let illegal = |character: char| character.is_control() || ILLEGAL.contains(character);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > LEN_MAX {
        return Err(NameError::TooLong { max: LEN_MAX });
    }
    if let Some(character) = name.chars().find(|&character| illegal(character)) {
        return Err(NameError::Character { character });
    }
    if name.ends_with('.') || name.trim() != name {
        return Err(NameError::Edge);
    }
    let folded = fold(name);
    if RESERVED.contains(&folded.as_str()) || is_port(&folded) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

/// COM1 to COM9 and LPT1 to LPT9.
fn is_port(folded: &str) -> bool {
    let port = folded
        .strip_prefix("com")
        .or_else(|| folded.strip_prefix("lpt"));
    port.is_some_and(|digit| digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Equal for names that differ in case only.
pub(crate) fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_of_people() {
        for name in [
            "admin",
            "Zoë",
            "jean-luc.o'neill",
            "Anna Maria",
            "李雷",
            "x$",
            "com10",
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_each_illegal_character_by_name() {
        for character in ILLEGAL.chars().chain(['\0', '\n', '\u{7f}', '\u{85}']) {
            assert_eq!(
                check(&format!("a{character}b")),
                Err(NameError::Character { character })
            );
        }
    }

    #[test]
    fn refuses_edges_lengths_and_reserved_names() {
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check(&"x".repeat(65)), Err(NameError::TooLong { max: 64 }));
        for name in [" a", "a ", "a."] {
            assert_eq!(check(name), Err(NameError::Edge), "{name:?}");
        }
        for name in ["SYSTEM", "Everyone", "com1", "LPT9", "guest"] {
            assert_eq!(check(name), Err(NameError::Reserved), "{name}");
        }
    }

    #[test]
    fn folding_ignores_case_beyond_ascii() {
        assert_eq!(fold("ÄRGER"), fold("ärger"));
        assert_eq!(fold("ΣΑΣ"), fold("σασ"));
    }
}
