//! Where which program is served, for clients that ask at port 111 (RFC 1833), where no rpcbind does that.
//!
//! All programs are on one port. Calls that would change the table, or reach others through it, are not known.

use std::net::IpAddr;

use crate::rpc::{self, AcceptStat};
use crate::server::{Done, Request};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

const TCP: u32 = 6;
/// Programs with the versions that are served.
const SERVED: [(u32, &[u32]); 5] = [
    (rpc::PORTMAP, &[2, 3, 4]),
    (rpc::NFS, &[3, 4]),
    (rpc::MOUNT, &[1, 3]),
    (rpc::NLM, &[4]),
    (rpc::NSM, &[1]),
];
const TEXT_MAX: usize = 256;

const NULL: u32 = 0;
const GETPORT_OR_GETADDR: u32 = 3;
const DUMP: u32 = 4;

xdr_struct! {
    /// A program asked for by number (RFC 1833, 3).
    pub struct Mapping {
        pub program: u32,
        pub version: u32,
        pub protocol: u32,
        pub port: u32,
    }
}

xdr_struct! {
    /// A program asked for by the name of its transport (RFC 1833, 2.1).
    pub struct Binding<'a> {
        pub program: u32,
        pub version: u32,
        pub network: Opaque<'a, TEXT_MAX>,
        pub address: Opaque<'a, TEXT_MAX>,
        pub owner: Opaque<'a, TEXT_MAX>,
    }
}

pub(crate) fn answer(
    request: &Request<'_>,
    version: u32,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Done {
    let garbage = |_| AcceptStat::GarbageArguments;
    match (version, request.call.procedure) {
        (_, NULL) => {}
        (2, GETPORT_OR_GETADDR) => {
            let asked = Mapping::decode(from).map_err(garbage)?;
            let port = port_of(request, asked.program, asked.version);
            to.u32(port.filter(|_| asked.protocol == TCP).map_or(0, u32::from));
        }
        (2, DUMP) => dump(request, to),
        (_, GETPORT_OR_GETADDR) => {
            let asked = Binding::decode(from).map_err(garbage)?;
            to.opaque(&address_of(request, &asked));
        }
        (_, DUMP) => dump_addresses(request, to),
        _ => return Err(AcceptStat::ProcedureUnavailable),
    }
    Ok(())
}

fn served() -> impl Iterator<Item = (u32, u32)> {
    SERVED
        .into_iter()
        .flat_map(|(program, versions)| versions.iter().map(move |version| (program, *version)))
}

/// Where a program is, in whatever version: the client is told by the program itself which it knows.
fn port_of(request: &Request<'_>, program: u32, _version: u32) -> Option<u16> {
    match program {
        rpc::PORTMAP => Some(111),
        rpc::NFS | rpc::MOUNT | rpc::NLM | rpc::NSM => Some(request.server.config.port),
        _ => None,
    }
}

fn dump(request: &Request<'_>, to: &mut Encoder) {
    for (program, version) in served() {
        let port = port_of(request, program, version).unwrap_or(0);
        let mapping = Mapping {
            program,
            version,
            protocol: TCP,
            port: u32::from(port),
        };
        to.bool(true);
        mapping.encode(to);
    }
    to.bool(false);
}

fn network(request: &Request<'_>) -> &'static [u8] {
    match request.peer.ip().to_canonical() {
        IpAddr::V4(_) => b"tcp",
        IpAddr::V6(_) => b"tcp6",
    }
}

/// The universal address (RFC 5665, 5.2.3) of any of this machine's addresses: the client knows the one it called.
fn universal(network: &[u8], port: u16) -> Vec<u8> {
    let host = if network == b"tcp6" { "::" } else { "0.0.0.0" };
    format!("{host}.{}.{}", port >> 8, port & 0xFF).into_bytes()
}

fn address_of(request: &Request<'_>, asked: &Binding<'_>) -> Vec<u8> {
    let known = [&b"tcp"[..], b"tcp6"].contains(&asked.network.0);
    // Without a network named, that of the call is meant (RFC 1833, 2.2.1).
    let network = match asked.network.0 {
        b"" => network(request),
        name => name,
    };
    match port_of(request, asked.program, asked.version) {
        Some(port) if known || asked.network.0.is_empty() => universal(network, port),
        Some(_) | None => Vec::new(),
    }
}

fn dump_addresses(request: &Request<'_>, to: &mut Encoder) {
    let network = network(request);
    for (program, version) in served() {
        let port = port_of(request, program, version).unwrap_or(0);
        let address = universal(network, port);
        let binding = Binding {
            program,
            version,
            network: Opaque(network),
            address: Opaque(&address),
            owner: Opaque(b"superuser"),
        };
        to.bool(true);
        binding.encode(to);
    }
    to.bool(false);
}
