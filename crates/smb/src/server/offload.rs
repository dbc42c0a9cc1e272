//! Tokens that stand for a range of a file as it was at an instant (STORAGE_OFFLOAD_TOKEN, MS-FSCC 2.1.11).
//!
//! All that there is to know stands in the token itself, under a code of authentication, so that a client can make us
//! hold nothing and can make none itself. The code is also over the user, so that nobody else can use what leaks.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use strongroom_device::Env;
use strongroom_vfs::{DataInstant, Inode, ShareId, Sid};

use crate::wire::fscc::fsctl::OFFLOAD_TOKEN_LEN;
use crate::wire::{Put, Reader, WireError};

/// STORAGE_OFFLOAD_TOKEN_TYPE_ZERO_DATA: stands for zeros, and anybody may make it.
const TYPE_ZERO: [u8; 4] = [0xFF, 0xFF, 0x00, 0x01];
/// Ours, as vendors may choose.
const TYPE_OURS: [u8; 4] = *b"SRM1";
/// Type, reserved and length, which are in the order of SCSI.
const HEAD: usize = 8;
const ID_LEN: u16 = 504;
const MAC_LEN: usize = 32;
/// Share, inode, number, size, offset, length, expiry.
const FIELDS: usize = 4 + 6 * 8;
/// How long a token lives where its client leaves it to us, and at most.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(300);

pub(crate) type Token = [u8; OFFLOAD_TOKEN_LEN];

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Zeros,
    Data(Range),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) instant: DataInstant,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// Makes and reads the tokens of one run of the server.
pub(crate) struct Tokens {
    key: hmac::Key,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Tokens")
    }
}

impl Tokens {
    pub(crate) fn new(env: &dyn Env) -> Self {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        env.fill_random(&mut *secret);
        Self {
            key: hmac::Key::new(HMAC_SHA256, &*secret),
        }
    }

    /// `wanted` is what the client asks for, zero where it leaves that to us.
    pub(crate) fn make(&self, range: &Range, user: &Sid, now: Duration, wanted: Duration) -> Token {
        let life = if wanted.is_zero() {
            DEFAULT_LIFE
        } else {
            wanted.min(LIFE_MAX)
        };
        let mut out = Vec::with_capacity(OFFLOAD_TOKEN_LEN);
        out.put(&TYPE_OURS);
        out.put_zeros(2);
        out.put(&ID_LEN.to_be_bytes());
        out.put_u32(range.instant.share.0);
        out.put_u64(range.instant.inode.0);
        out.put_u64(range.instant.number);
        out.put_u64(range.instant.size);
        out.put_u64(range.offset);
        out.put_u64(range.length);
        out.put_u64(milliseconds(now.saturating_add(life)));
        let mac = self.mac(&out, user);
        out.put(mac.as_ref());
        out.resize(OFFLOAD_TOKEN_LEN, 0);
        let mut token = [0; OFFLOAD_TOKEN_LEN];
        token.copy_from_slice(&out);
        token
    }

    /// None for what this server did not make for this user, and for what is too old.
    pub(crate) fn read(&self, token: &Token, user: &Sid, now: Duration) -> Option<Meaning> {
        let kind = token.first_chunk::<4>()?;
        if *kind == TYPE_ZERO {
            return Some(Meaning::Zeros);
        }
        let said = token.get(..HEAD + FIELDS)?;
        let given = token.get(HEAD + FIELDS..)?.get(..MAC_LEN)?;
        verify_slices_are_equal(self.mac(said, user).as_ref(), given).ok()?;
        let (range, expiry) = fields(said).ok()?;
        (milliseconds(now) < expiry).then_some(Meaning::Data(range))
    }

    fn mac(&self, said: &[u8], user: &Sid) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(said);
        context.update(user.to_string().as_bytes());
        context.sign()
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn fields(said: &[u8]) -> Result<(Range, u64), WireError> {
    let mut reader = Reader::new(said);
    reader.skip(HEAD)?;
    let instant = DataInstant {
        share: ShareId(reader.u32()?),
        inode: Inode(reader.u64()?),
        number: reader.u64()?,
        size: reader.u64()?,
    };
    let range = Range {
        instant,
        offset: reader.u64()?,
        length: reader.u64()?,
    };
    Ok((range, reader.u64()?))
}

#[cfg(test)]
mod tests {
    use strongroom_device::sim::SimEnv;

    use super::*;

    fn range() -> Range {
        Range {
            instant: DataInstant {
                share: ShareId(3),
                inode: Inode(77),
                number: 5,
                size: 10_000,
            },
            offset: 512,
            length: 4096,
        }
    }

    fn user(number: u32) -> Sid {
        format!("S-1-5-21-1-2-3-{number}").parse().unwrap()
    }

    #[test]
    fn a_token_means_what_it_was_made_for_until_its_time_is_over() {
        let tokens = Tokens::new(&*SimEnv::new(1));
        let (now, second) = (Duration::from_secs(100), Duration::from_secs(1));
        let token = tokens.make(&range(), &user(1), now, second * 2);
        let read = |at| tokens.read(&token, &user(1), at);
        assert_eq!(read(now), Some(Meaning::Data(range())));
        assert_eq!(read(now + second), Some(Meaning::Data(range())));
        assert_eq!(read(now + second * 2), None);
        let long = tokens.make(&range(), &user(1), now, Duration::from_secs(1 << 31));
        assert_eq!(tokens.read(&long, &user(1), now + LIFE_MAX), None);
        let left = tokens.make(&range(), &user(1), now, Duration::ZERO);
        assert!(tokens.read(&left, &user(1), now + second * 59).is_some());
    }

    #[test]
    fn nobody_else_s_token_and_no_changed_one_is_good() {
        let (env, other_env) = (SimEnv::new(1), SimEnv::new(2));
        let (tokens, others) = (Tokens::new(&*env), Tokens::new(&*other_env));
        let now = Duration::from_secs(100);
        let token = tokens.make(&range(), &user(1), now, Duration::ZERO);
        assert_eq!(tokens.read(&token, &user(2), now), None);
        assert_eq!(others.read(&token, &user(1), now), None);
        for at in 0..HEAD + FIELDS + MAC_LEN {
            for bit in 0..8 {
                let mut changed = token;
                changed[at] ^= 1 << bit;
                assert_eq!(tokens.read(&changed, &user(1), now), None, "byte {at}");
            }
        }
        assert_eq!(tokens.read(&[0; OFFLOAD_TOKEN_LEN], &user(1), now), None);
    }

    #[test]
    fn the_token_of_zeros_is_everybody_s() {
        let tokens = Tokens::new(&*SimEnv::new(1));
        let mut token = [0; OFFLOAD_TOKEN_LEN];
        token[..4].copy_from_slice(&TYPE_ZERO);
        let read = tokens.read(&token, &user(1), Duration::ZERO);
        assert_eq!(read, Some(Meaning::Zeros));
    }
}
