//! SMB 2.0.2 to 3.1.1, as a server over the vfs. No socket inside: frames in, frames out.
//!
//! [`wire`] decodes and encodes messages, [`crypto`] signs and encrypts them, [`auth`] accepts logons, [`rpc`] answers
//! the pipes of `IPC$`, and [`server`] keeps the protocol's state and turns each request into calls of the vfs.

pub mod auth;
pub mod compress;
pub mod crypto;
pub mod rpc;
pub mod server;
pub mod wire;

pub use auth::{Kerberos, KerberosAccepted, KerberosConfig, KerberosError};
pub use server::{
    Connection, ConnectionStatus, Disconnect, EncryptionPolicy, Frame, Interface, Interfaces,
    Limits, Outbox, Refused, Server, ServerConfig, ServerStatus, SessionStatus, WORKGROUP,
};
