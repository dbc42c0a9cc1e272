//! The second factor: codes of an application that change every half minute (RFC 6238), and codes on paper for the day
//! on which it is lost.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use strongroom_device::Env;
use strongroom_identity::generate_password;

const SECRET_LEN: usize = 20;
/// RFC 6238, section 4.1.
const STEP_S: u64 = 30;
const DIGITS: usize = 6;
/// Steps before and after now that are taken, for clocks that differ (RFC 6238, section 5.2).
const SKEW: u64 = 1;
const RECOVERY_CODES: usize = 8;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A second factor that an account has, or is about to get.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Enrolled {
    secret: Vec<u8>,
    /// A code was given once; before that it is not asked for.
    pub(crate) confirmed: bool,
    /// No code of this step or an earlier one is taken again (RFC 6238, section 5.2).
    last_step: u64,
    /// SHA-256 of the codes on paper that were not used yet.
    recovery: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Enrolled")
            .field("confirmed", &self.confirmed)
            .field("recovery", &self.recovery.len())
            .finish_non_exhaustive()
    }
}

impl Enrolled {
    /// A new one, with its codes on paper, which are shown this once.
    pub(crate) fn new(env: &dyn Env) -> (Enrolled, Vec<String>) {
        let mut secret = vec![0; SECRET_LEN];
        env.fill_random(&mut secret);
        let codes: Vec<String> = (0..RECOVERY_CODES)
            .map(|_| generate_password(env).to_string())
            .collect();
        let enrolled = Enrolled {
            secret,
            confirmed: false,
            last_step: 0,
            recovery: codes.iter().map(|code| hash(code)).collect(),
        };
        (enrolled, codes)
    }

    /// As people type it into an application.
    pub(crate) fn secret_text(&self) -> String {
        base32(&self.secret)
    }

    /// As applications read it from a picture.
    pub(crate) fn uri(&self, host: &str, name: &str) -> String {
        let (host, name) = (
            crate::endpoint::segment(host),
            crate::endpoint::segment(name),
        );
        let secret = self.secret_text();
        format!(
            "otpauth://totp/Strongroom%20{host}:{name}?secret={secret}&issuer=Strongroom%20{host}"
        )
    }

    pub(crate) fn recovery_left(&self) -> usize {
        self.recovery.len()
    }

    /// Uses a code up, of the application or on paper; false for a wrong or used one.
    pub(crate) fn take(&mut self, code: &str, now_s: u64) -> bool {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(step) = self.step_of(&code, now_s) {
            self.last_step = step;
            return true;
        }
        let hashed = hash(&code);
        let before = self.recovery.len();
        self.recovery
            .retain(|known| verify_slices_are_equal(known, &hashed).is_err());
        self.recovery.len() < before
    }

    /// All steps are looked at, so that the time tells nothing.
    fn step_of(&self, code: &str, now_s: u64) -> Option<u64> {
        let now = now_s / STEP_S;
        let steps = now.saturating_sub(SKEW)..=now + SKEW;
        let fits = |step: &u64| {
            let right = code_of(&self.secret, *step);
            verify_slices_are_equal(right.as_bytes(), code.as_bytes()).is_ok()
        };
        let found = steps.filter(fits).fold(None, |_, step| Some(step));
        found.filter(|step| *step > self.last_step)
    }
}

/// RFC 4226, section 5.3.
fn code_of(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag.last().copied().unwrap_or(0) & 15);
    let mut word = [0; 4];
    word.copy_from_slice(&tag[at..at + 4]);
    let number = u32::from_be_bytes(word) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 1_000_000)
}

fn hash(code: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, code.as_bytes()).as_ref());
    out
}

/// RFC 4648, section 6, without padding.
fn base32(bytes: &[u8]) -> String {
    let (mut held, mut bits, mut out) = (0_u32, 0, String::new());
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(BASE32[((held >> bits) & 31) as usize]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(BASE32[((held << (5 - bits)) & 31) as usize]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolled() -> Enrolled {
        Enrolled {
            secret: b"12345678901234567890".to_vec(),
            confirmed: true,
            last_step: 0,
            recovery: vec![hash("paper-code")],
        }
    }

    /// RFC 6238, appendix B, with the last six of the eight digits.
    #[test]
    fn codes_are_those_of_the_specification() {
        let secret = b"12345678901234567890";
        for (time, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_of(secret, time / STEP_S), code);
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn secrets_are_written_as_applications_read_them() {
        for (bytes, text) in [
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_code_is_taken_once() {
        let mut factor = enrolled();
        assert!(factor.take("287 082", 59));
        assert!(!factor.take("287082", 59));
        assert!(!factor.take("287082", 61), "nor a step later");
    }

    #[test]
    fn clocks_may_differ_by_a_step_and_no_more() {
        assert!(enrolled().take("287082", 89));
        assert!(enrolled().take("287082", 29));
        assert!(!enrolled().take("287082", 120));
    }

    #[test]
    fn a_code_on_paper_is_taken_once() {
        let mut factor = enrolled();
        assert!(!factor.take("paper-cod", 59));
        assert!(factor.take("paper-code", 59));
        assert!(!factor.take("paper-code", 59));
        assert_eq!(factor.recovery_left(), 0);
    }
}
