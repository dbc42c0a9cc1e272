//! The groups in a ticket: KERB_VALIDATION_INFO of Active Directory's PAC (MS-PAC 2.5), as the library hands it out once it
//! has checked the PAC's signature. It is one structure in NDR (C706 chapter 14), serialized by MS-RPCE 2.2.6.
//!
//! Whoever holds the service's key can sign anything, so each length is checked before it is believed.

use strongroom_identity::{MAX_SUB_AUTHORITIES, Sid, SidError};

/// As many groups as a token of Windows can have.
const GROUPS_MAX: usize = 1024;
/// SE_GROUP_ENABLED and SE_GROUP_USE_FOR_DENY_ONLY (MS-PAC 2.2.1).
const ENABLED: u32 = 4;
const DENY_ONLY: u32 = 16;
/// Common and private header (MS-RPCE 2.2.6.1, 2.2.6.2).
const HEADERS: usize = 16;
/// The header's version, and little-endian.
const VERSION: [u8; 2] = [1, 0x10];

/// Why bytes are no KERB_VALIDATION_INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacError {
    #[error("the PAC is cut off")]
    CutOff,
    #[error("the PAC makes no sense: {0}")]
    Malformed(&'static str),
    #[error("the PAC has more than 1,024 groups")]
    TooMany,
}

impl From<SidError> for PacError {
    fn from(_: SidError) -> Self {
        PacError::Malformed("a SID")
    }
}

/// The SIDs of all groups that are enabled: the account's domain's, those beyond it, and those of the server's domain.
///
/// # Errors
/// What is cut off or contradicts itself, and more groups than a token has.
pub fn groups(logon_info: &[u8]) -> Result<Vec<Sid>, PacError> {
    let mut reader = Reader::new(logon_info)?;
    let fixed = Fixed::read(&mut reader)?;
    for present in fixed.strings {
        reader.string(present)?;
    }
    let members = reader.memberships(fixed.groups)?;
    for present in fixed.domain_strings {
        reader.string(present)?;
    }
    let domain = reader.sid_if(fixed.domain)?;
    let extra = reader.sids_and_attributes(fixed.extra)?;
    let resource_domain = reader.sid_if(fixed.resource_domain)?;
    let resource = reader.memberships(fixed.resource)?;

    let mut found = Vec::new();
    join(domain, &members, &mut found)?;
    found.extend(extra);
    join(resource_domain, &resource, &mut found)?;
    if found.len() > GROUPS_MAX {
        return Err(PacError::TooMany);
    }
    Ok(found)
}

/// Groups of a domain, by their relative ids.
fn join(domain: Option<Sid>, members: &[u32], found: &mut Vec<Sid>) -> Result<(), PacError> {
    for rid in members {
        let domain = domain.ok_or(PacError::Malformed("groups of no domain"))?;
        let sid = domain.with_rid(*rid);
        found.push(sid.ok_or(PacError::Malformed("a domain that is too long"))?);
    }
    Ok(())
}

/// A list that lies behind the fixed part: how many elements, and whether it is there.
#[derive(Debug, Clone, Copy)]
struct List {
    count: u32,
    present: bool,
}

/// Which parts follow the fixed one.
#[derive(Debug)]
struct Fixed {
    /// EffectiveName to HomeDirectoryDrive.
    strings: [bool; 6],
    groups: List,
    /// LogonServer, LogonDomainName.
    domain_strings: [bool; 2],
    domain: bool,
    extra: List,
    resource_domain: bool,
    resource: List,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Result<Self, PacError> {
        if !reader.pointer()? {
            return Err(PacError::Malformed("nothing in it"));
        }
        // Six times.
        reader.skip(6 * 8)?;
        let mut strings = [false; 6];
        for present in &mut strings {
            *present = reader.string_head()?;
        }
        // LogonCount, BadPasswordCount, UserId, PrimaryGroupId: a group that is listed below as well.
        reader.skip(2 + 2 + 4 + 4)?;
        let groups = reader.list()?;
        // UserFlags, UserSessionKey.
        reader.skip(4 + 16)?;
        let domain_strings = [reader.string_head()?, reader.string_head()?];
        let domain = reader.pointer()?;
        // Reserved1, UserAccountControl, SubAuthStatus, two times, FailedILogonCount, Reserved3.
        reader.skip(8 + 4 + 4 + 16 + 4 + 4)?;
        let extra = reader.list()?;
        let resource_domain = reader.pointer()?;
        let resource = reader.list()?;
        Ok(Self {
            strings,
            groups,
            domain_strings,
            domain,
            extra,
            resource_domain,
            resource,
        })
    }
}

/// Reads NDR's little-endian form. Everything here is aligned to 4 at most, counted from the end of the headers, whose
/// length is a multiple of that.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, PacError> {
        let (headers, rest) = bytes.split_at_checked(HEADERS).ok_or(PacError::CutOff)?;
        if !headers.starts_with(&VERSION) {
            return Err(PacError::Malformed("not in NDR's first version"));
        }
        Ok(Self { rest })
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PacError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(PacError::CutOff)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> Result<(), PacError> {
        self.take(len).map(drop)
    }

    fn u32(&mut self) -> Result<u32, PacError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(PacError::CutOff)?;
        self.rest = rest;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// Whether something follows that is pointed to here.
    fn pointer(&mut self) -> Result<bool, PacError> {
        Ok(self.u32()? != 0)
    }

    fn list(&mut self) -> Result<List, PacError> {
        let (count, present) = (self.u32()?, self.pointer()?);
        Ok(List { count, present })
    }

    /// RPC_UNICODE_STRING without its text.
    fn string_head(&mut self) -> Result<bool, PacError> {
        self.skip(4)?;
        self.pointer()
    }

    /// The text of a string: a conformant and varying array of 16-bit units.
    fn string(&mut self, present: bool) -> Result<(), PacError> {
        if !present {
            return Ok(());
        }
        let (room, offset, units) = (self.u32()?, self.u32()?, self.u32()?);
        if offset != 0 || units > room {
            return Err(PacError::Malformed("a string"));
        }
        let bytes = length(units)?
            .checked_mul(2)
            .and_then(|len| len.checked_next_multiple_of(4));
        self.skip(bytes.ok_or(PacError::CutOff)?)
    }

    /// How many elements there really are, which must be as many as were announced.
    fn elements(&mut self, list: List) -> Result<usize, PacError> {
        if !list.present {
            return if list.count == 0 {
                Ok(0)
            } else {
                Err(PacError::Malformed("a list that is not there"))
            };
        }
        if self.u32()? != list.count {
            return Err(PacError::Malformed("a list of another length"));
        }
        let count = length(list.count)?;
        if count > GROUPS_MAX {
            return Err(PacError::TooMany);
        }
        Ok(count)
    }

    /// The relative ids of GROUP_MEMBERSHIPs that are enabled.
    fn memberships(&mut self, list: List) -> Result<Vec<u32>, PacError> {
        let mut members = Vec::new();
        for _ in 0..self.elements(list)? {
            let (rid, attributes) = (self.u32()?, self.u32()?);
            if is_enabled(attributes) {
                members.push(rid);
            }
        }
        Ok(members)
    }

    /// KERB_SID_AND_ATTRIBUTES: the pointers first, what they point to after them.
    fn sids_and_attributes(&mut self, list: List) -> Result<Vec<Sid>, PacError> {
        let mut heads = Vec::new();
        for _ in 0..self.elements(list)? {
            heads.push((self.pointer()?, self.u32()?));
        }
        let mut sids = Vec::new();
        for (present, attributes) in heads {
            if let Some(sid) = self.sid_if(present)?
                && is_enabled(attributes)
            {
                sids.push(sid);
            }
        }
        Ok(sids)
    }

    /// RPC_SID: a conformant array whose length comes first.
    fn sid_if(&mut self, present: bool) -> Result<Option<Sid>, PacError> {
        if !present {
            return Ok(None);
        }
        let count = length(self.u32()?)?;
        if count > MAX_SUB_AUTHORITIES {
            return Err(PacError::Malformed("a SID"));
        }
        let sid = self.take(8 + 4 * count)?;
        if sid.get(1).copied().map(usize::from) != Some(count) {
            return Err(PacError::Malformed("a SID"));
        }
        Ok(Some(Sid::from_bytes(sid)?))
    }
}

fn is_enabled(attributes: u32) -> bool {
    attributes & ENABLED != 0 && attributes & DENY_ONLY == 0
}

fn length(count: u32) -> Result<usize, PacError> {
    usize::try_from(count).map_err(|_| PacError::CutOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "S-1-5-21-397955417-626881126-188441444";
    const RESOURCES: &str = "S-1-5-21-7-8-9";

    fn put(out: &mut Vec<u8>, numbers: &[u32]) {
        numbers
            .iter()
            .for_each(|number| out.extend(number.to_le_bytes()));
    }

    fn put_string(out: &mut Vec<u8>, text: &str) {
        let units: Vec<u16> = text.encode_utf16().collect();
        let count = u32::try_from(units.len()).unwrap();
        put(out, &[count, 0, count]);
        units.iter().for_each(|unit| out.extend(unit.to_le_bytes()));
        out.resize(out.len().next_multiple_of(4), 0);
    }

    fn put_sid(out: &mut Vec<u8>, sid: &str) {
        let bytes = sid.parse::<Sid>().unwrap().to_bytes();
        put(out, &[bytes[1].into()]);
        out.extend(bytes);
    }

    /// As domain controllers lay it out: a user with two groups of its domain, one of them for denying only, two SIDs from
    /// elsewhere, and a group of the server's domain.
    fn logon_info() -> Vec<u8> {
        let mut out = vec![
            1, 0x10, 8, 0, 0xCC, 0xCC, 0xCC, 0xCC, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        put(&mut out, &[0x0002_0000]);
        out.extend([0xFF; 48]);
        // EffectiveName and FullName are there, four others are empty.
        let text = |bytes: u32, pointer| [bytes << 16 | bytes, pointer];
        put(&mut out, &text(6, 0x0002_0004));
        put(&mut out, &text(10, 0x0002_0008));
        (0..4).for_each(|_| put(&mut out, &text(0, 0)));
        put(&mut out, &[0x0001_0020, 1104, 513, 3, 0x0002_0020, 0x20]);
        out.extend([0; 16]);
        put(&mut out, &text(4, 0x0002_0024));
        put(&mut out, &text(0, 0));
        put(&mut out, &[0x0002_002C, 0, 0, 0x10, 0]);
        out.extend([0; 16]);
        put(
            &mut out,
            &[0, 0, 2, 0x0002_0030, 0x0002_0034, 1, 0x0002_0038],
        );
        put_string(&mut out, "ada");
        put_string(&mut out, "Ada B");
        put(&mut out, &[3, 513, 7, 1201, 7, 1202, 0x17]);
        put_string(&mut out, "DC");
        put_sid(&mut out, DOMAIN);
        put(&mut out, &[2, 0x0002_0040, 7, 0x0002_0044, 7]);
        put_sid(&mut out, "S-1-5-21-1-2-3-512");
        put_sid(&mut out, "S-1-18-1");
        put_sid(&mut out, RESOURCES);
        put(&mut out, &[1, 3000, 0x2000_0007]);
        out
    }

    #[test]
    fn all_groups_that_are_enabled_are_found() {
        let found: Vec<String> = groups(&logon_info())
            .unwrap()
            .iter()
            .map(Sid::to_string)
            .collect();
        let expected = [
            format!("{DOMAIN}-513"),
            format!("{DOMAIN}-1201"),
            "S-1-5-21-1-2-3-512".into(),
            "S-1-18-1".into(),
            format!("{RESOURCES}-3000"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_refused() {
        let whole = logon_info();
        for len in 0..whole.len() {
            assert!(groups(&whole[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn no_number_that_lies_is_believed() {
        let whole = logon_info();
        for at in 0..whole.len() - 3 {
            for number in [0, 1, 0x7FFF_FFFF, 0x8000_0000, u32::MAX] {
                let mut changed = whole.clone();
                changed[at..at + 4].copy_from_slice(&number.to_le_bytes());
                if let Ok(found) = groups(&changed) {
                    assert!(found.len() <= 6, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn more_groups_than_a_token_has_are_refused() {
        let whole = logon_info();
        let members = [3_u32, 513, 7, 1201, 7, 1202, 0x17]
            .map(u32::to_le_bytes)
            .concat();
        let at = whole
            .windows(members.len())
            .position(|window| window == members)
            .unwrap();
        let count_at = whole
            .windows(8)
            .position(|window| window == [3, 0, 0, 0, 0x20, 0, 2, 0])
            .unwrap();
        for (count, fits) in [
            (1021_u32, true),
            (1022, false),
            (1025, false),
            (1 << 30, false),
        ] {
            let mut many = whole[..at].to_vec();
            many[count_at..count_at + 4].copy_from_slice(&count.to_le_bytes());
            put(&mut many, &[count]);
            (0..count.min(2000)).for_each(|rid| put(&mut many, &[rid, 7]));
            many.extend(&whole[at + members.len()..]);
            assert_eq!(groups(&many).is_ok(), fits, "{count} groups");
        }
    }
}
