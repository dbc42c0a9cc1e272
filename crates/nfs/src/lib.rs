//! NFS as a server over the vfs. No socket inside: records in, records out.
//!
//! [`xdr`] and [`rpc`] are the wire of ONC RPC (RFC 4506, RFC 5531), [`portmap`] and [`mount`] tell clients where what
//! is, [`v3`] is NFS version 3 (RFC 1813) and [`nlm`] its locks, [`v4`] are versions 4.0, 4.1 and 4.2
//! (RFC 7530, RFC 8881, RFC 7862), and [`server`] takes connections and keeps what all of them share.

#[macro_use]
pub mod xdr;

pub mod mount;
pub mod nlm;
pub mod portmap;
pub mod rpc;
pub mod server;
pub mod v3;
pub mod v4;

pub use server::{Connection, Dialer, Disconnect, Outbox, Server, ServerConfig, ServerStatus};
