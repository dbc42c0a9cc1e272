//! FSCTL_QUERY_NETWORK_INTERFACE_INFO (MS-SMB2 3.3.5.15.11): the addresses by which a client may open more channels.

use super::{Output, room};
use crate::server::request::Request;
use crate::wire::fscc::fsctl::NetworkInterface;
use crate::wire::fscc::list::ListWriter;
use crate::wire::ioctl::IoctlRequest;
use crate::wire::negotiate::Dialect;
use crate::wire::{FileId, NtStatus};

/// RSS_CAPABLE (MS-SMB2 2.2.32.5).
const RSS: u32 = 1;

pub(super) fn run(request: &Request, wanted: &IoctlRequest<'_>) -> Output {
    let old = |dialect| matches!(dialect, Dialect::Smb202 | Dialect::Smb210);
    let negotiated = request.conn.negotiated.get();
    if negotiated.is_none_or(|negotiated| old(negotiated.dialect)) {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    if wanted.file_id != FileId::ANY {
        return Err(NtStatus::INVALID_PARAMETER.into());
    }
    let interfaces = request.conn.server.config.interfaces.list();
    if interfaces.is_empty() {
        return Err(NtStatus::NOT_SUPPORTED.into());
    }
    let mut out = Vec::new();
    let mut list = ListWriter::new(&mut out, room(wanted), 8);
    for interface in interfaces {
        let entry = NetworkInterface {
            index: interface.index,
            capability: if interface.receive_scaling { RSS } else { 0 },
            link_speed: interface.bits_per_second,
            address: (interface.address, 0).into(),
        };
        if !entry.push(&mut list) {
            return Err(NtStatus::BUFFER_TOO_SMALL.into());
        }
    }
    Ok((NtStatus::SUCCESS, out))
}
