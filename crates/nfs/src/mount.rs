//! MOUNT versions 1 and 3 (RFC 1813, appendix I): from an export's path to the handle of its root.

use std::collections::BTreeSet;
use std::net::IpAddr;

use parking_lot::Mutex;

use crate::rpc::AcceptStat;
use crate::server::{Done, Place, Request, exports};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

const PATH_MAX: usize = 1_024;
/// Mounts remembered, which is for people only.
const MOUNTS_MAX: usize = 4_096;

const NULL: u32 = 0;
const MNT: u32 = 1;
const DUMP: u32 = 2;
const UMNT: u32 = 3;
const UMNTALL: u32 = 4;
const EXPORT: u32 = 5;

const MNT3_OK: u32 = 0;
const MNT3ERR_NOENT: u32 = 2;
const MNT3ERR_ACCES: u32 = 13;
const AUTH_SYS: u32 = 1;

/// Who mounted what, as far as clients say so.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    list: Mutex<BTreeSet<(IpAddr, String)>>,
}

impl Mounts {
    fn add(&self, peer: IpAddr, path: String) {
        let mut list = self.list.lock();
        if list.len() < MOUNTS_MAX {
            list.insert((peer, path));
        }
    }
}

pub(crate) fn answer(
    request: &Request<'_>,
    version: u32,
    from: &mut Decoder<'_>,
    to: &mut Encoder,
) -> Done {
    let peer = request.peer.ip().to_canonical();
    let mut path = || {
        let path = Opaque::<PATH_MAX>::decode(from);
        path.map_err(|_| AcceptStat::GarbageArguments)
            .map(|path| String::from_utf8_lossy(path.0).into_owned())
    };
    match request.call.procedure {
        NULL => {}
        MNT => mount(request, version, &path()?, to),
        DUMP => dump(request, to),
        UMNT => {
            let path = path()?;
            request.server.mounts.list.lock().remove(&(peer, path));
        }
        UMNTALL => {
            let mut list = request.server.mounts.list.lock();
            list.retain(|(mounted, _)| *mounted != peer);
        }
        EXPORT => export(request, to),
        _ => return Err(AcceptStat::ProcedureUnavailable),
    }
    Ok(())
}

fn mount(request: &Request<'_>, version: u32, path: &str, to: &mut Encoder) {
    let peer = request.peer.ip();
    let name = path.trim_matches('/');
    let vfs = &request.server.vfs;
    let Some(exported) = exports::by_name(vfs, name, peer) else {
        // What a client may not use is no secret: it could ask for the list.
        let there = vfs.share(name).is_some();
        to.u32(if there { MNT3ERR_ACCES } else { MNT3ERR_NOENT });
        return;
    };
    // The handles of version 1 have 32 bytes, which are all of ours.
    let handle = request.server.handles.make(Place::File {
        share: exported.share.id,
        inode: exported.share.root,
    });
    to.u32(MNT3_OK);
    if version == 1 {
        to.fixed(&handle);
    } else {
        to.opaque(&handle).u32(1).u32(AUTH_SYS);
    }
    let mounts = &request.server.mounts;
    mounts.add(peer.to_canonical(), path.to_owned());
}

fn dump(request: &Request<'_>, to: &mut Encoder) {
    for (peer, path) in request.server.mounts.list.lock().iter() {
        to.bool(true);
        to.opaque(peer.to_string().as_bytes());
        to.opaque(path.as_bytes());
    }
    to.bool(false);
}

/// All exports, with the networks that may use them.
fn export(request: &Request<'_>, to: &mut Encoder) {
    for share in request.server.vfs.shares() {
        if share.exports.is_empty() {
            continue;
        }
        to.bool(true);
        to.opaque(format!("/{}", share.name).as_bytes());
        for export in &share.exports {
            let text = export.to_string();
            let network = text.split_once(":r").map_or(text.as_str(), |(net, _)| net);
            to.bool(true);
            to.opaque(network.as_bytes());
        }
        to.bool(false);
    }
    to.bool(false);
}
