//! OPLOCK_BREAK in both forms (MS-SMB2 2.2.23 to 2.2.25).

use super::codec::{Codec, Put, Reader, WireError};
use super::create::OplockLevel;
use super::create_context::LeaseState;
use super::types::{FileId, Guid};

/// Break of an oplock: notification, acknowledgement and response share this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OplockBreak {
    /// The new level.
    pub level: OplockLevel,
    /// The open.
    pub file_id: FileId,
}

impl<'a> Codec<'a> for OplockBreak {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(24)?;
        let level = OplockLevel::from_wire(r.u8()?);
        r.skip(5)?;
        Ok(Self {
            level,
            file_id: FileId::decode(&mut r)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(24);
        out.put_u8(self.level.to_wire());
        out.put_zeros(5);
        self.file_id.encode(out);
    }
}

/// Notification that a lease is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseBreakNotification {
    /// Of a version 2 lease.
    pub new_epoch: u16,
    /// 1: the client must acknowledge.
    pub flags: u32,
    /// The lease.
    pub key: Guid,
    /// State until now.
    pub current: LeaseState,
    /// State from now on.
    pub new: LeaseState,
}

impl<'a> Codec<'a> for LeaseBreakNotification {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(44)?;
        let new_epoch = r.u16()?;
        let flags = r.u32()?;
        let key = Guid::decode(&mut r)?;
        let (current, new) = (LeaseState(r.u32()?), LeaseState(r.u32()?));
        r.skip(12)?;
        Ok(Self {
            new_epoch,
            flags,
            key,
            current,
            new,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(44);
        out.put_u16(self.new_epoch);
        out.put_u32(self.flags);
        self.key.encode(out);
        out.put_u32(self.current.bits());
        out.put_u32(self.new.bits());
        out.put_zeros(12);
    }
}

/// Acknowledgement of a lease break, and the response to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseBreakAck {
    /// Reserved.
    pub flags: u32,
    /// The lease.
    pub key: Guid,
    /// The state that the client keeps.
    pub state: LeaseState,
}

impl<'a> Codec<'a> for LeaseBreakAck {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(body);
        r.structure_size(36)?;
        r.skip(2)?;
        let flags = r.u32()?;
        let key = Guid::decode(&mut r)?;
        let state = LeaseState(r.u32()?);
        r.skip(8)?;
        Ok(Self { flags, key, state })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(36);
        out.put_u16(0);
        out.put_u32(self.flags);
        self.key.encode(out);
        out.put_u32(self.state.bits());
        out.put_u64(0);
    }
}

/// The body of an OPLOCK_BREAK request, told apart by its StructureSize.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OplockBreakRequest {
    /// For an oplock.
    Oplock(OplockBreak),
    /// For a lease.
    Lease(LeaseBreakAck),
}

impl<'a> Codec<'a> for OplockBreakRequest {
    fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        match Reader::new(body).u16()? {
            36 => LeaseBreakAck::decode(body).map(Self::Lease),
            _ => OplockBreak::decode(body).map(Self::Oplock),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Oplock(ack) => ack.encode(out),
            Self::Lease(ack) => ack.encode(out),
        }
    }
}
