//! What an administrator decides about the server, and the bounds that keep hostile clients small.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::auth::KerberosConfig;

/// The workgroup that the server says it is in.
pub const WORKGROUP: &str = "WORKGROUP";

/// Whether traffic is encrypted, for the server as a whole; shares can ask for it on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncryptionPolicy {
    /// Never announced.
    Off,
    /// Announced; used on the shares that ask for it.
    #[default]
    Offered,
    /// Sessions that cannot encrypt are refused.
    Required,
}

/// Upper bounds; what exceeds them is refused with the status named.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of the whole server; more are refused at once.
    pub connections: usize,
    /// Connections of one IPv4 address or one IPv6 network (64 bits); more are refused at once.
    pub connections_per_address: usize,
    /// Sessions of one connection; more get `STATUS_REQUEST_NOT_ACCEPTED`.
    pub sessions_per_connection: usize,
    /// Logons begun and not finished on one connection; more get `STATUS_REQUEST_NOT_ACCEPTED`.
    pub logons_per_connection: usize,
    /// Connections that carry one session; more get `STATUS_REQUEST_NOT_ACCEPTED`.
    pub channels_per_session: usize,
    /// Tree connects of one session; more get `STATUS_INSUFFICIENT_RESOURCES`.
    pub trees_per_session: usize,
    /// Opens of one session; more get `STATUS_TOO_MANY_OPENED_FILES`.
    pub opens_per_session: usize,
    /// Opens of the whole server; more get `STATUS_INSUFF_SERVER_RESOURCES`.
    pub opens: usize,
    /// Watched directories of one session; more get `STATUS_INSUFFICIENT_RESOURCES`.
    pub watches_per_session: usize,
    /// Bytes of change notices that one session has not fetched; a watch that goes past them keeps none and answers
    /// `STATUS_NOTIFY_ENUM_DIR`.
    pub notify_bytes_per_session: usize,
    /// The same of the whole server.
    pub notify_bytes: usize,
    /// Opens of the whole server that are kept for clients whose connection broke; more are closed with it.
    pub durable_opens: usize,
    /// How long such an open is kept at most, whatever the client asks for.
    pub durable_timeout: Duration,
    /// Waiting requests (locks, change notices) of one connection; more get `STATUS_INSUFFICIENT_RESOURCES`.
    pub waiting_per_connection: usize,
    /// Credits that one connection may hold.
    pub credits: u16,
    /// Related and unrelated requests in one frame; more end the connection.
    pub compound_requests: usize,
    /// A logon must be complete after this time, and the first one of a connection within this time of its start.
    pub logon_timeout: Duration,
    /// Bytes of the largest frame before anybody has signed in; larger ones end the connection. A logon's tokens have at
    /// most 64 KiB.
    pub frame_before_logon: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_per_address: 1280,
            sessions_per_connection: 1024,
            logons_per_connection: 8,
            channels_per_session: 32,
            trees_per_session: 1024,
            opens_per_session: 65_536,
            opens: 1 << 20,
            watches_per_session: 1024,
            notify_bytes_per_session: 4 << 20,
            notify_bytes: 256 << 20,
            durable_opens: 16_384,
            durable_timeout: Duration::from_secs(300),
            waiting_per_connection: 4096,
            credits: 8192,
            compound_requests: 128,
            logon_timeout: Duration::from_secs(45),
            frame_before_logon: 128 << 10,
        }
    }
}

/// One address of the server, as clients that open several channels are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Tells interfaces apart; addresses of one share it.
    pub index: u32,
    pub address: IpAddr,
    pub bits_per_second: u64,
    /// The interface spreads its work over several processors, so more than one connection to it pays.
    pub receive_scaling: bool,
}

/// Tells the server's addresses whenever a client asks; they come and go.
#[derive(Clone)]
pub struct Interfaces(Arc<dyn Fn() -> Vec<Interface> + Send + Sync>);

impl Interfaces {
    pub fn new(list: impl Fn() -> Vec<Interface> + Send + Sync + 'static) -> Self {
        Self(Arc::new(list))
    }

    pub fn list(&self) -> Vec<Interface> {
        (self.0)()
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::new(Vec::new)
    }
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.list()).finish()
    }
}

/// The server's settings.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The NetBIOS name that clients see, at most 15 characters.
    pub name: String,
    /// Identifies this server over all its starts; kept by the caller.
    pub guid: [u8; 16],
    /// Unsigned requests of signed-in users are refused. Off is for trusted wires only.
    pub signing_required: bool,
    pub encryption: EncryptionPolicy,
    /// Logons by NTLM are taken.
    pub ntlm: bool,
    /// Logons by Kerberos are taken.
    pub kerberos: Option<KerberosConfig>,
    /// Clients may send compressed messages, and ask for compressed answers to their reads.
    pub compression: bool,
    /// Clients may have ranges copied by tokens (FSCTL_OFFLOAD_READ and FSCTL_OFFLOAD_WRITE).
    pub offload: bool,
    /// The POSIX extensions are offered to clients that ask for them with 3.1.1.
    pub posix_extensions: bool,
    /// Largest buffer of a query, a listing or an ioctl, in bytes.
    pub max_transact_size: u32,
    /// Largest READ, in bytes.
    pub max_read_size: u32,
    /// Largest WRITE, in bytes.
    pub max_write_size: u32,
    pub limits: Limits,
    /// Where clients may open more channels.
    pub interfaces: Interfaces,
}

impl ServerConfig {
    /// Sane settings for a server of this name and GUID.
    pub fn new(name: impl Into<String>, guid: [u8; 16]) -> Self {
        Self {
            name: name.into(),
            guid,
            signing_required: true,
            encryption: EncryptionPolicy::default(),
            ntlm: true,
            kerberos: None,
            compression: true,
            offload: false,
            posix_extensions: true,
            max_transact_size: 8 << 20,
            max_read_size: 8 << 20,
            max_write_size: 8 << 20,
            limits: Limits::default(),
            interfaces: Interfaces::default(),
        }
    }

    /// The largest frame of a client that has signed in, without the 4 bytes of transport header.
    pub(crate) fn max_frame_size(&self) -> usize {
        let payload = self.max_write_size.max(self.max_transact_size);
        usize::try_from(payload)
            .unwrap_or(usize::MAX)
            .saturating_add(64 << 10)
    }
}
