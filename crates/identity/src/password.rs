//! Rules for passwords, making them, and the slow hash of them.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use strongroom_device::Env;
use zeroize::Zeroizing;

use crate::{PasswordError, names};

const LEN_MIN: usize = 8;
/// Windows takes 127 characters in its dialogues.
const LEN_MAX: usize = 127;
const DISTINCT_MIN: usize = 4;
/// 32 characters that nobody takes for another: no l, no o, no 0, no 1.
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Four groups of four characters of five bits each are 80 bits; a fifth group is for good measure.
const GROUPS: usize = 5;
const GROUP_LEN: usize = 4;

/// Refuses passwords that are guessed first. Length is what counts, so classes of characters are not asked for.
pub(crate) fn check(name: &str, password: &str) -> Result<(), PasswordError> {
    let length = password.chars().count();
    if length < LEN_MIN {
        return Err(PasswordError::TooShort { min: LEN_MIN });
    }
    if length > LEN_MAX {
        return Err(PasswordError::TooLong { max: LEN_MAX });
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    if distinct(password) < DISTINCT_MIN {
        return Err(PasswordError::Monotonous);
    }
    let folded = Zeroizing::new(names::fold(password));
    let bare = folded.trim_end_matches(|character: char| !character.is_alphabetic());
    let name = names::fold(name);
    if *folded == name || bare == name {
        return Err(PasswordError::IsName);
    }
    Ok(())
}

/// How many different characters there are, counted up to what is asked for.
fn distinct(password: &str) -> usize {
    let mut seen = Zeroizing::new(['\0'; DISTINCT_MIN]);
    let mut count = 0;
    for character in password.chars() {
        if count < DISTINCT_MIN && !seen[..count].contains(&character) {
            seen[count] = character;
            count += 1;
        }
    }
    count
}

/// A password to print once, as `k7mf-p3xq-2vab-9wkc-tn4e`: readable, 100 bits.
pub fn generate_password(env: &dyn Env) -> Zeroizing<String> {
    let mut random = Zeroizing::new([0; GROUPS * GROUP_LEN]);
    env.fill_random(&mut *random);
    let mut password = Zeroizing::new(String::with_capacity(GROUPS * (GROUP_LEN + 1)));
    for (at, byte) in random.iter().enumerate() {
        if at > 0 && at % GROUP_LEN == 0 {
            password.push('-');
        }
        password.push(char::from(READABLE[usize::from(byte % 32)]));
    }
    password
}

/// The argon2id hash in PHC form. Takes some tens of milliseconds and 19 MiB.
pub(crate) fn hash(password: &str, salt: &[u8; 16]) -> String {
    let salt = SaltString::encode_b64(salt).expect("16 bytes are a salt");
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
    hash.expect("argon2id takes a password of any length we take")
        .to_string()
}

/// Whether `password` is the one of `phc`; damaged hashes match nothing.
pub(crate) fn verify(password: &str, phc: &str) -> bool {
    PasswordHash::new(phc).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

/// As long as [`verify`] takes, for a user that is not there.
pub(crate) fn verify_nothing(password: &str) {
    std::hint::black_box(hash(password, &[0; 16]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededEnv;

    #[test]
    fn takes_long_passwords_of_one_class_of_characters() {
        assert_eq!(check("anna", "correct horse"), Ok(()));
        assert_eq!(check("anna", "pässwörter"), Ok(()));
    }

    #[test]
    fn refuses_what_is_guessed_first() {
        assert_eq!(
            check("anna", "seven77"),
            Err(PasswordError::TooShort { min: 8 })
        );
        assert_eq!(
            check("anna", &"xyz".repeat(50)),
            Err(PasswordError::TooLong { max: 127 })
        );
        assert_eq!(check("anna", "abcabcabc"), Err(PasswordError::Monotonous));
        assert_eq!(
            check("anna", "correct horse\n"),
            Err(PasswordError::Control)
        );
        assert_eq!(check("Annabell", "annaBELL"), Err(PasswordError::IsName));
        assert_eq!(
            check("Annabell", "annabell2026!"),
            Err(PasswordError::IsName)
        );
    }

    #[test]
    fn generated_passwords_are_readable_and_differ() {
        let env = SeededEnv::new(7);
        let first = generate_password(&env);
        assert_eq!(first.len(), 24);
        assert_eq!(check("admin", &first), Ok(()));
        assert_ne!(first, generate_password(&env));
        assert!(
            first
                .bytes()
                .all(|byte| byte == b'-' || READABLE.contains(&byte))
        );
    }

    #[test]
    fn only_the_right_password_verifies() {
        let phc = hash("correct horse", &[3; 16]);
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify("correct horse", &phc));
        assert!(!verify("correct horsf", &phc));
        assert!(!verify("correct horse", "$argon2id$damaged"));
    }
}
