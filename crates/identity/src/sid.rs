//! Security identifiers: who a user or a group is, in the form that access control lists keep.
//!
//! Binary form of MS-DTYP 2.4.2.2, string form of MS-DTYP 2.4.2.1.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The most sub-authorities that a SID can carry.
pub const MAX_SUB_AUTHORITIES: usize = 15;
/// Bytes before the sub-authorities in the binary form.
const HEADER_LEN: usize = 8;
/// The longest binary form.
pub const MAX_SID_LEN: usize = HEADER_LEN + 4 * MAX_SUB_AUTHORITIES;

/// A security identifier, without allocation. Sub-authorities past `count` are zero.
#[derive(Clone, Copy)]
pub struct Sid {
    authority: [u8; 6],
    count: u8,
    sub_authorities: [u32; MAX_SUB_AUTHORITIES],
}

/// Why bytes or text are no SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SidError {
    #[error("the SID is cut off")]
    Truncated,
    #[error("the SID's revision is not 1")]
    Revision,
    #[error("the SID has more than 15 sub-authorities")]
    TooManySubAuthorities,
    #[error("not a SID: it is written S-1-authority-number-number...")]
    Syntax,
}

impl Sid {
    /// Nobody; the SID of an absent owner.
    pub const NULL: Sid = Sid::known(0, &[0]);
    /// Every account, the anonymous one too.
    pub const EVERYONE: Sid = Sid::known(1, &[0]);
    /// Stands for an object's owner in an inheritable entry; replaced when it is inherited.
    pub const CREATOR_OWNER: Sid = Sid::known(3, &[0]);
    pub const CREATOR_GROUP: Sid = Sid::known(3, &[1]);
    /// Limits what an object's owner may do by being the owner (MS-DTYP 2.4.2.4).
    pub const OWNER_RIGHTS: Sid = Sid::known(3, &[4]);
    pub const NETWORK: Sid = Sid::known(5, &[2]);
    pub const ANONYMOUS: Sid = Sid::known(5, &[7]);
    /// All who logged on with an account.
    pub const AUTHENTICATED_USERS: Sid = Sid::known(5, &[11]);
    pub const LOCAL_SYSTEM: Sid = Sid::known(5, &[18]);
    /// The group whose members administer this machine.
    pub const ADMINISTRATORS: Sid = Sid::known(5, &[32, 544]);
    /// The group that every account of this machine is a member of.
    pub const USERS: Sid = Sid::known(5, &[32, 545]);
    pub const GUESTS: Sid = Sid::known(5, &[32, 546]);
    pub const BACKUP_OPERATORS: Sid = Sid::known(5, &[32, 551]);

    /// A user of Unix systems by number, for whom no account stands (the authority that Samba uses for them).
    pub const fn unix_user(id: u32) -> Sid {
        Sid::known(22, &[1, id])
    }

    /// A group of Unix systems by number.
    pub const fn unix_group(id: u32) -> Sid {
        Sid::known(22, &[2, id])
    }

    const fn known(authority: u8, parts: &[u32]) -> Sid {
        let mut sub_authorities = [0; MAX_SUB_AUTHORITIES];
        let mut at = 0;
        while at < parts.len() {
            sub_authorities[at] = parts[at];
            at += 1;
        }
        assert!(parts.len() <= MAX_SUB_AUTHORITIES);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "bounded by the assertion above"
        )]
        let count = parts.len() as u8;
        Sid {
            authority: [0, 0, 0, 0, 0, authority],
            count,
            sub_authorities,
        }
    }

    /// A SID of an identifier authority (48 bits, the rest is dropped) and up to 15 sub-authorities.
    pub fn new(authority: u64, parts: &[u32]) -> Result<Sid, SidError> {
        let count = u8::try_from(parts.len()).map_err(|_| SidError::TooManySubAuthorities)?;
        let mut sub_authorities = [0; MAX_SUB_AUTHORITIES];
        sub_authorities
            .get_mut(..parts.len())
            .ok_or(SidError::TooManySubAuthorities)?
            .copy_from_slice(parts);
        let [_, _, low @ ..] = authority.to_be_bytes();
        Ok(Sid {
            authority: low,
            count,
            sub_authorities,
        })
    }

    /// The account domain of one machine: `S-1-5-21-a-b-c`.
    pub const fn machine(parts: [u32; 3]) -> Sid {
        Sid::known(5, &[21, parts[0], parts[1], parts[2]])
    }

    pub fn authority(&self) -> u64 {
        let [a, b, c, d, e, f] = self.authority;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    pub fn sub_authorities(&self) -> &[u32] {
        &self.sub_authorities[..usize::from(self.count)]
    }

    /// This domain's SID of the account with relative identifier `rid`; None if the SID is full.
    pub fn with_rid(&self, rid: u32) -> Option<Sid> {
        let mut sid = *self;
        *sid.sub_authorities.get_mut(usize::from(self.count))? = rid;
        sid.count += 1;
        Some(sid)
    }

    /// The last sub-authority.
    pub fn rid(&self) -> Option<u32> {
        self.sub_authorities().last().copied()
    }

    /// The SID without its last sub-authority.
    pub fn domain(&self) -> Option<Sid> {
        let mut sid = *self;
        sid.count = self.count.checked_sub(1)?;
        sid.sub_authorities[usize::from(sid.count)] = 0;
        Some(sid)
    }

    /// The RID if this is an account of `domain`.
    pub fn rid_in(&self, domain: &Sid) -> Option<u32> {
        (self.domain()? == *domain).then(|| self.rid()).flatten()
    }

    /// Length of the binary form: 8 + 4 per sub-authority.
    pub fn encoded_len(&self) -> usize {
        HEADER_LEN + 4 * usize::from(self.count)
    }

    /// Appends the binary form (MS-DTYP 2.4.2.2).
    pub fn encode(&self, out: &mut impl Extend<u8>) {
        out.extend([1, self.count]);
        out.extend(self.authority);
        out.extend(
            self.sub_authorities()
                .iter()
                .flat_map(|part| part.to_le_bytes()),
        );
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode(&mut bytes);
        bytes
    }

    /// Reads one SID from the front of `bytes`; what follows it is left alone (see [`Sid::encoded_len`]).
    pub fn from_bytes(bytes: &[u8]) -> Result<Sid, SidError> {
        let (header, body) = bytes.split_first_chunk::<8>().ok_or(SidError::Truncated)?;
        let [revision, count, authority @ ..] = *header;
        if revision != 1 {
            return Err(SidError::Revision);
        }
        let mut sub_authorities = [0; MAX_SUB_AUTHORITIES];
        let wanted = sub_authorities
            .get_mut(..usize::from(count))
            .ok_or(SidError::TooManySubAuthorities)?;
        let parts = body.get(..4 * wanted.len()).ok_or(SidError::Truncated)?;
        for (to, from) in wanted.iter_mut().zip(parts.as_chunks::<4>().0) {
            *to = u32::from_le_bytes(*from);
        }
        Ok(Sid {
            authority,
            count,
            sub_authorities,
        })
    }
}

impl PartialEq for Sid {
    fn eq(&self, other: &Sid) -> bool {
        self.authority == other.authority && self.sub_authorities() == other.sub_authorities()
    }
}

impl Eq for Sid {}

impl Hash for Sid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.authority.hash(state);
        self.sub_authorities().hash(state);
    }
}

impl Ord for Sid {
    fn cmp(&self, other: &Sid) -> std::cmp::Ordering {
        (self.authority, self.sub_authorities()).cmp(&(other.authority, other.sub_authorities()))
    }
}

impl PartialOrd for Sid {
    fn partial_cmp(&self, other: &Sid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority();
        // MS-DTYP 2.4.2.1: an authority of 2^32 or more is written in hexadecimal.
        if authority >> 32 == 0 {
            write!(f, "S-1-{authority}")?;
        } else {
            write!(f, "S-1-0x{authority:012X}")?;
        }
        self.sub_authorities()
            .iter()
            .try_for_each(|part| write!(f, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sid {
    type Err = SidError;

    fn from_str(text: &str) -> Result<Sid, SidError> {
        let mut parts = text.split('-');
        let prefix = parts
            .next()
            .filter(|prefix| prefix.eq_ignore_ascii_case("S"));
        let (Some(_), Some("1")) = (prefix, parts.next()) else {
            return Err(SidError::Syntax);
        };
        let authority = parse_authority(parts.next().ok_or(SidError::Syntax)?)?;
        let mut numbers = [0; MAX_SUB_AUTHORITIES];
        let mut count = 0;
        for part in parts {
            *numbers
                .get_mut(count)
                .ok_or(SidError::TooManySubAuthorities)? = decimal(part)?;
            count += 1;
        }
        Sid::new(authority, &numbers[..count])
    }
}

fn parse_authority(text: &str) -> Result<u64, SidError> {
    let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).map_err(|_| SidError::Syntax)?
        }
        Some(_) => return Err(SidError::Syntax),
        None => decimal::<u64>(text)?,
    };
    if value >> 48 == 0 {
        Ok(value)
    } else {
        Err(SidError::Syntax)
    }
}

/// Digits only: the standard parser would take a sign too.
fn decimal<T: FromStr>(text: &str) -> Result<T, SidError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SidError::Syntax);
    }
    text.parse().map_err(|_| SidError::Syntax)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "S-1-5-21-3623811015-3361044348-30300820-1013";

    #[test]
    fn text_and_bytes_round_trip() {
        for text in [
            "S-1-1-0",
            "S-1-5-32-544",
            ACCOUNT,
            "S-1-0x100000000000-7",
            "S-1-5",
        ] {
            let sid: Sid = text.parse().unwrap();
            assert_eq!(sid.to_string(), text);
            assert_eq!(Sid::from_bytes(&sid.to_bytes()).unwrap(), sid);
            assert_eq!(sid.to_bytes().len(), sid.encoded_len());
        }
    }

    #[test]
    fn administrators_have_the_known_bytes() {
        let expected = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0];
        assert_eq!(Sid::ADMINISTRATORS.to_bytes(), expected);
    }

    #[test]
    fn refuses_every_cut_of_the_bytes() {
        let bytes = ACCOUNT.parse::<Sid>().unwrap().to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Sid::from_bytes(&bytes[..len]), Err(SidError::Truncated));
        }
    }

    #[test]
    fn refuses_malformed_text() {
        for text in [
            "",
            "S",
            "S-1",
            "S-2-5-1",
            "S-1-",
            "S-1-5-",
            "S-1-5-+1",
            "S-1-5-4294967296",
        ] {
            assert!(text.parse::<Sid>().is_err(), "{text}");
        }
        assert!("S-1-0x1000000000000-1".parse::<Sid>().is_err());
        assert!(format!("S-1-5{}", "-1".repeat(16)).parse::<Sid>().is_err());
        assert!(format!("S-1-5{}", "-1".repeat(15)).parse::<Sid>().is_ok());
    }

    #[test]
    fn refuses_sixteen_sub_authorities_in_bytes() {
        let bytes = [[1, 16, 0, 0, 0, 0, 0, 5].as_slice(), &[0; 64]].concat();
        assert_eq!(
            Sid::from_bytes(&bytes),
            Err(SidError::TooManySubAuthorities)
        );
    }

    #[test]
    fn an_account_is_its_domain_and_rid() {
        let domain = Sid::machine([1, 2, 3]);
        let account = domain.with_rid(1000).unwrap();
        assert_eq!(account.to_string(), "S-1-5-21-1-2-3-1000");
        assert_eq!(account.domain(), Some(domain));
        assert_eq!(account.rid_in(&domain), Some(1000));
        assert_eq!(account.rid_in(&Sid::ADMINISTRATORS), None);
    }
}
