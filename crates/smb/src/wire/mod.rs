//! The bytes of SMB2 and of the structures it carries, as MS-SMB2, MS-FSCC and MS-DTYP define them.
//!
//! Everything here is pure: bytes in, values out, and back. Decoders borrow from the frame, so the
//! payload of a WRITE and the names of a CREATE are never copied; encoders append to a `Vec<u8>`.
//! Every length, offset and count is checked before arithmetic or allocation, and an unknown value
//! of an enumeration survives decoding ([`open_enum!`]).
//!
//! SMB2 gives offsets from the start of the 64-byte header, so all bodies share one convention:
//! * a decoder gets the bytes that follow the header, up to the end of this compound element;
//! * an encoder appends to a buffer whose last 64 bytes are the header.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

#[macro_use]
mod macros;

pub mod close;
pub mod codec;
pub mod compound;
pub mod create;
pub mod create_context;
pub mod directory;
pub mod error;
pub mod fscc;
pub mod header;
pub mod info;
pub mod ioctl;
pub mod lock;
pub mod negotiate;
pub mod negotiate_context;
pub mod notify;
pub mod oplock;
pub mod read;
pub mod reparse;
pub mod session;
pub mod simple;
pub mod smb1;
pub mod status;
pub mod transport;
pub mod tree;
pub mod types;
pub mod utf16;
pub mod write;

#[cfg(test)]
mod tests;

pub use codec::{Codec, Put, Reader, WireError};
pub use header::{Command, Header, HeaderFlags, Route};
pub use status::NtStatus;
pub use types::{AsyncId, FileId, FileTime, Guid, MessageId, SessionId, TreeId};
pub use utf16::Utf16;
