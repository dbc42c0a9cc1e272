//! The self-relative form of a security descriptor (MS-DTYP 2.4.6), bounded.
//!
//! ```text
//! 0 revision 1 | 1 resource manager control | 2 control u16 | 4 owner u32 | 8 group u32 | 12 SACL u32 | 16 DACL u32
//! ACL: 0 revision | 1 zero | 2 size u16 | 4 count u16 | 6 zero u16 | entries
//! ACE: 0 type | 1 flags | 2 size u16 | 4 mask u32 | 8 SID
//! ```
//! Offsets count from the start; 0 means absent. All little-endian.

use strongroom_identity::Sid;

use super::{Ace, AceFlags, AceKind, Acl, AclSlot, Control, SecurityDescriptor, SecurityParts};
use crate::AccessMask;

/// The largest descriptor taken or stored.
pub const MAX_DESCRIPTOR_LEN: usize = 65_536;
const HEADER_LEN: usize = 20;
const ACL_HEADER_LEN: usize = 8;
const ACE_HEADER_LEN: usize = 4;
/// ACL_REVISION, and ACL_REVISION_DS for lists with object entries.
const ACL_REVISIONS: [u8; 2] = [2, 4];

const ACCESS_ALLOWED: u8 = 0;
const ACCESS_DENIED: u8 = 1;
const SYSTEM_AUDIT: u8 = 2;

/// The bytes are no security descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed security descriptor")]
pub struct DescriptorError;

type Result<T> = std::result::Result<T, DescriptorError>;

impl From<DescriptorError> for crate::VfsError {
    fn from(_: DescriptorError) -> Self {
        Self::InvalidSecurity
    }
}

impl SecurityDescriptor {
    /// Reads the self-relative form; refuses more than [`MAX_DESCRIPTOR_LEN`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_DESCRIPTOR_LEN || bytes.first() != Some(&1) {
            return Err(DescriptorError);
        }
        let control = Control(u16_at(bytes, 2)?);
        if !control.contains(Control::SELF_RELATIVE) {
            return Err(DescriptorError);
        }
        let derived = Control::SELF_RELATIVE
            .union(Control::DACL_PRESENT)
            .union(Control::SACL_PRESENT);
        Ok(Self {
            owner: sid_at(bytes, 4)?,
            group: sid_at(bytes, 8)?,
            sacl: slot_at(bytes, 12, control.contains(Control::SACL_PRESENT))?,
            dacl: slot_at(bytes, 16, control.contains(Control::DACL_PRESENT))?,
            control: control.without(derived),
        })
    }

    /// The self-relative form.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_bytes_with(SecurityParts(0xF))
    }

    /// The self-relative form with only the given parts.
    pub fn to_bytes_with(&self, parts: SecurityParts) -> Vec<u8> {
        let mut out = vec![0; HEADER_LEN];
        let mut control = self.control.union(Control::SELF_RELATIVE);
        let dacl = parts.contains(SecurityParts::DACL).then_some(&self.dacl);
        let sacl = parts.contains(SecurityParts::SACL).then_some(&self.sacl);
        if let Some(slot) = sacl.filter(|slot| slot.is_given()) {
            control = control.union(Control::SACL_PRESENT);
            put_slot(&mut out, 12, slot);
        }
        if let Some(slot) = dacl.filter(|slot| slot.is_given()) {
            control = control.union(Control::DACL_PRESENT);
            put_slot(&mut out, 16, slot);
        }
        put_sid(
            &mut out,
            4,
            self.owner.filter(|_| parts.contains(SecurityParts::OWNER)),
        );
        put_sid(
            &mut out,
            8,
            self.group.filter(|_| parts.contains(SecurityParts::GROUP)),
        );
        out[0] = 1;
        out[2..4].copy_from_slice(&control.0.to_le_bytes());
        out
    }

    /// Whether it can be stored and read again: all of it within [`MAX_DESCRIPTOR_LEN`], and each list within what its
    /// own length field can say.
    pub(crate) fn fits(&self) -> bool {
        let list = |slot: &AclSlot| slot.acl().map_or(0, Acl::encoded_len);
        let lists_max = usize::from(u16::MAX);
        list(&self.dacl) <= lists_max
            && list(&self.sacl) <= lists_max
            && self.encoded_len() <= MAX_DESCRIPTOR_LEN
    }

    /// Bytes of the self-relative form.
    pub fn encoded_len(&self) -> usize {
        self.to_bytes().len()
    }
}

fn put_offset(out: &mut [u8], field: usize) {
    let offset = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[field..field + 4].copy_from_slice(&offset.to_le_bytes());
}

fn put_sid(out: &mut Vec<u8>, field: usize, sid: Option<Sid>) {
    if let Some(sid) = sid {
        put_offset(out, field);
        sid.encode(out);
    }
}

fn put_slot(out: &mut Vec<u8>, field: usize, slot: &AclSlot) {
    if let Some(acl) = slot.acl() {
        put_offset(out, field);
        acl.encode(out);
    }
}

impl Acl {
    /// Bytes of the binary form.
    pub fn encoded_len(&self) -> usize {
        ACL_HEADER_LEN + self.aces.iter().map(Ace::encoded_len).sum::<usize>()
    }

    /// Appends the binary form (MS-DTYP 2.4.5).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let objects = self
            .aces
            .iter()
            .any(|ace| matches!(ace.kind, AceKind::Other { .. }));
        let len = u16::try_from(self.encoded_len()).unwrap_or(u16::MAX);
        let count = u16::try_from(self.aces.len()).unwrap_or(u16::MAX);
        out.extend([ACL_REVISIONS[usize::from(objects)], 0]);
        out.extend(len.to_le_bytes());
        out.extend(count.to_le_bytes());
        out.extend([0, 0]);
        self.aces.iter().for_each(|ace| ace.encode(out));
    }

    /// Reads the list at the front of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let revision = bytes.first().ok_or(DescriptorError)?;
        let size = usize::from(u16_at(bytes, 2)?);
        let count = usize::from(u16_at(bytes, 4)?);
        if !ACL_REVISIONS.contains(revision) || size < ACL_HEADER_LEN {
            return Err(DescriptorError);
        }
        let mut rest = bytes.get(ACL_HEADER_LEN..size).ok_or(DescriptorError)?;
        if count > rest.len() / ACE_HEADER_LEN {
            return Err(DescriptorError);
        }
        let mut aces = Vec::with_capacity(count);
        for _ in 0..count {
            let (ace, after) = Ace::from_bytes(rest)?;
            aces.push(ace);
            rest = after;
        }
        Ok(Self { aces })
    }
}

impl Ace {
    fn encoded_len(&self) -> usize {
        match &self.kind {
            AceKind::Allow { sid, .. } | AceKind::Deny { sid, .. } | AceKind::Audit { sid, .. } => {
                ACE_HEADER_LEN + 4 + sid.encoded_len()
            }
            AceKind::Other { body, .. } => ACE_HEADER_LEN + body.len(),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let kind = match &self.kind {
            AceKind::Allow { .. } => ACCESS_ALLOWED,
            AceKind::Deny { .. } => ACCESS_DENIED,
            AceKind::Audit { .. } => SYSTEM_AUDIT,
            AceKind::Other { kind, .. } => *kind,
        };
        out.extend([kind, self.flags.0]);
        out.extend(
            u16::try_from(self.encoded_len())
                .unwrap_or(u16::MAX)
                .to_le_bytes(),
        );
        match &self.kind {
            AceKind::Allow { mask, sid }
            | AceKind::Deny { mask, sid }
            | AceKind::Audit { mask, sid } => {
                out.extend(mask.0.to_le_bytes());
                sid.encode(out);
            }
            AceKind::Other { body, .. } => out.extend(body),
        }
    }

    /// The first entry and what follows it.
    fn from_bytes(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let [kind, flags, ..] = *bytes else {
            return Err(DescriptorError);
        };
        let size = usize::from(u16_at(bytes, 2)?);
        let body = bytes.get(ACE_HEADER_LEN..size).ok_or(DescriptorError)?;
        let kind = match kind {
            ACCESS_ALLOWED | ACCESS_DENIED | SYSTEM_AUDIT => simple_kind(kind, body)?,
            _ => AceKind::Other {
                kind,
                body: body.to_vec(),
            },
        };
        let rest = bytes.get(size..).ok_or(DescriptorError)?;
        Ok((
            Self {
                kind,
                flags: AceFlags(flags),
            },
            rest,
        ))
    }
}

fn simple_kind(kind: u8, body: &[u8]) -> Result<AceKind> {
    let mask = AccessMask(u32_at(body, 0)?);
    let sid =
        Sid::from_bytes(body.get(4..).ok_or(DescriptorError)?).map_err(|_| DescriptorError)?;
    Ok(match kind {
        ACCESS_ALLOWED => AceKind::Allow { mask, sid },
        ACCESS_DENIED => AceKind::Deny { mask, sid },
        _ => AceKind::Audit { mask, sid },
    })
}

fn slot_at(bytes: &[u8], field: usize, present: bool) -> Result<AclSlot> {
    let offset = u32_at(bytes, field)?;
    if !present {
        return Ok(AclSlot::Absent);
    }
    if offset == 0 {
        return Ok(AclSlot::Null);
    }
    Acl::from_bytes(after(bytes, offset)?).map(AclSlot::Present)
}

fn sid_at(bytes: &[u8], field: usize) -> Result<Option<Sid>> {
    let offset = u32_at(bytes, field)?;
    if offset == 0 {
        return Ok(None);
    }
    Sid::from_bytes(after(bytes, offset)?)
        .map(Some)
        .map_err(|_| DescriptorError)
}

fn after(bytes: &[u8], offset: u32) -> Result<&[u8]> {
    let offset = usize::try_from(offset).map_err(|_| DescriptorError)?;
    bytes
        .get(offset..)
        .filter(|_| offset >= HEADER_LEN)
        .ok_or(DescriptorError)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let two = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(DescriptorError)?;
    Ok(u16::from_le_bytes(*two))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let four = bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(DescriptorError)?;
    Ok(u32::from_le_bytes(*four))
}
