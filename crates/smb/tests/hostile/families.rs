//! Every decoder, by family, run on any bytes. None may panic, hang, or allocate more than a small
//! multiple of what it was given. The tests and the fuzz targets share this file.

use std::sync::Arc;

use strongroom_identity::{Group, Sid, SidName, User};
use strongroom_smb::compress::{self, Form};
use strongroom_smb::rpc::{Pipe, PipeContext, RpcShare, RpcShareKind};
use strongroom_smb::wire::codec::Codec;
use strongroom_smb::wire::compound::Compound;
use strongroom_smb::wire::fscc::{
    directory, ea, file, fsctl, names, notify, posix, quota, rename, volume,
};
use strongroom_smb::wire::header::{Header, Packet, TransformHeader};
use strongroom_smb::wire::info::FileInfoClass;
use strongroom_smb::wire::{self, Utf16};

/// A family of decoders.
pub(crate) struct Family {
    /// Its name, as that of its fuzz target.
    pub(crate) name: &'static str,
    /// Runs all of its decoders.
    pub(crate) run: fn(&[u8]),
}

/// All families; who adds a decoder adds it to one of them.
pub(crate) const FAMILIES: [Family; 5] = [
    Family {
        name: "framing",
        run: framing,
    },
    Family {
        name: "requests",
        run: requests,
    },
    Family {
        name: "responses",
        run: responses,
    },
    Family {
        name: "information",
        run: information,
    },
    Family {
        name: "pipes",
        run: pipes,
    },
];

/// Decodes and forgets: only that it comes back counts.
fn try_decode<'a, T: Codec<'a>>(bytes: &'a [u8]) {
    drop(T::decode(bytes));
}

/// Transport, headers, compounds, SMB1.
pub(crate) fn framing(bytes: &[u8]) {
    wire::transport::split_frame(bytes, 1 << 20).ok();
    Packet::parse(bytes).ok();
    for chained in [false, true] {
        let algorithms = wire::negotiate_context::CompressionAlgorithm::ALL.to_vec();
        let form = Form {
            chained,
            algorithms,
        };
        compress::decompress(&form, bytes, 1 << 16).ok();
    }
    try_decode::<Header>(bytes);
    try_decode::<TransformHeader>(bytes);
    try_decode::<wire::smb1::Smb1Negotiate<'_>>(bytes);
    let steps = Compound::new(bytes).count();
    assert!(
        steps <= bytes.len() / 64 + 1,
        "each message of a compound has a header"
    );
    if let Ok(text) = Utf16::from_bytes(bytes) {
        assert_eq!(
            Utf16::from(text.to_string().as_str()).as_bytes(),
            bytes,
            "reversible"
        );
    }
}

/// The bodies of requests.
pub(crate) fn requests(bytes: &[u8]) {
    try_decode::<wire::negotiate::NegotiateRequest<'_>>(bytes);
    try_decode::<wire::negotiate_context::NegotiateContext<'_>>(bytes);
    try_decode::<wire::session::SessionSetupRequest<'_>>(bytes);
    try_decode::<wire::tree::TreeConnectRequest<'_>>(bytes);
    try_decode::<wire::close::CloseRequest>(bytes);
    try_decode::<wire::close::FlushRequest>(bytes);
    try_decode::<wire::read::ReadRequest<'_>>(bytes);
    try_decode::<wire::write::WriteRequest<'_>>(bytes);
    try_decode::<wire::lock::LockRequest>(bytes);
    try_decode::<wire::ioctl::IoctlRequest<'_>>(bytes);
    try_decode::<wire::directory::QueryDirectoryRequest<'_>>(bytes);
    try_decode::<wire::notify::ChangeNotifyRequest>(bytes);
    try_decode::<wire::info::QueryInfoRequest<'_>>(bytes);
    try_decode::<wire::info::SetInfoRequest<'_>>(bytes);
    try_decode::<wire::oplock::OplockBreakRequest>(bytes);
    try_decode::<wire::simple::Empty>(bytes);
    if let Ok(create) = wire::create::CreateRequest::decode(bytes) {
        create.contexts.requests().for_each(drop);
        drop(create.name.to_string());
    }
}

/// The bodies of responses, which only clients decode.
pub(crate) fn responses(bytes: &[u8]) {
    try_decode::<wire::negotiate::NegotiateResponse<'_>>(bytes);
    try_decode::<wire::session::SessionSetupResponse<'_>>(bytes);
    try_decode::<wire::tree::TreeConnectResponse>(bytes);
    try_decode::<wire::close::CloseResponse>(bytes);
    try_decode::<wire::read::ReadResponse<'_>>(bytes);
    try_decode::<wire::write::WriteResponse>(bytes);
    try_decode::<wire::ioctl::IoctlResponse<'_>>(bytes);
    try_decode::<wire::info::Buffer<'_>>(bytes);
    try_decode::<wire::info::SetInfoResponse>(bytes);
    try_decode::<wire::error::ErrorResponse<'_>>(bytes);
    try_decode::<wire::error::SymlinkError<'_>>(bytes);
    try_decode::<wire::oplock::LeaseBreakNotification>(bytes);
    if let Ok(create) = wire::create::CreateResponse::decode(bytes) {
        create.contexts.responses().for_each(drop);
    }
}

/// Information classes and file system controls.
pub(crate) fn information(bytes: &[u8]) {
    try_decode::<file::BasicInfo>(bytes);
    try_decode::<file::AllInfo>(bytes);
    try_decode::<file::NameInfo>(bytes);
    try_decode::<posix::PosixEntry>(bytes);
    try_decode::<posix::PosixFsInfo>(bytes);
    try_decode::<file::EndOfFileInfo>(bytes);
    try_decode::<file::DispositionInfo>(bytes);
    try_decode::<rename::RenameInfo<'_>>(bytes);
    try_decode::<rename::RenameExInfo<'_>>(bytes);
    try_decode::<wire::reparse::ReparseData<'_>>(bytes);
    try_decode::<volume::VolumeInfo>(bytes);
    try_decode::<volume::AttributeInfo>(bytes);
    try_decode::<volume::ControlInfo>(bytes);
    try_decode::<quota::QueryQuotaInfo<'_>>(bytes);
    drop(quota::QuotaEntry::decode_list(bytes));
    drop(names::StreamEntry::decode_list(bytes));
    drop(names::HardLinkInfo::decode(bytes));
    drop(notify::NotifyEntry::decode_list(bytes));
    drop(ea::FullEa::decode_list(bytes));
    drop(ea::decode_get_ea_list(bytes));
    for class in FileInfoClass::ALL {
        drop(directory::decode_entries(*class, bytes));
    }
    controls(bytes);
}

fn controls(bytes: &[u8]) {
    try_decode::<fsctl::ValidateNegotiateRequest>(bytes);
    try_decode::<fsctl::CopyChunkRequest>(bytes);
    try_decode::<fsctl::DuplicateExtentsEx>(bytes);
    try_decode::<fsctl::DfsReferralRequest<'_>>(bytes);
    try_decode::<fsctl::PipeWait<'_>>(bytes);
    try_decode::<fsctl::ZeroData>(bytes);
    try_decode::<fsctl::DuplicateExtents>(bytes);
    drop(fsctl::decode_ranges(bytes));
    drop(fsctl::decode_trim(bytes));
    assert!(fsctl::decode_set_sparse(bytes) || bytes.first() == Some(&0));
}

/// RPC over pipes: the bytes come in two writes, and the answers are read in small pieces.
pub(crate) fn pipes(bytes: &[u8]) {
    for name in ["srvsvc", "wkssvc", "lsarpc", "samr"] {
        let mut pipe = Pipe::open(name, Arc::new(Office)).expect("the pipe is there");
        let (one, two) = bytes.split_at(bytes.len() / 3);
        for part in [one, two] {
            pipe.write(part).ok();
        }
        while let Ok(Some(read)) = pipe.read(1000) {
            assert!(
                !read.data.is_empty() || !read.more,
                "reading makes progress"
            );
        }
    }
}

/// A server with two shares.
pub(crate) struct Office;

impl PipeContext for Office {
    fn server_name(&self) -> String {
        "OFFICE".to_owned()
    }

    fn domain(&self) -> String {
        "WORKGROUP".to_owned()
    }

    fn comment(&self) -> String {
        "Files of the office".to_owned()
    }

    fn shares(&self) -> Vec<RpcShare> {
        let share = |name: &str, kind| RpcShare {
            name: name.to_owned(),
            kind,
            comment: "x".to_owned(),
            path: String::new(),
        };
        vec![
            share("files", RpcShareKind::Disk),
            share("IPC$", RpcShareKind::Ipc),
        ]
    }

    fn unix_time(&self) -> i64 {
        1_709_210_096
    }

    fn user(&self) -> Option<Sid> {
        Some(Sid::USERS)
    }

    fn machine_sid(&self) -> Sid {
        Sid::machine([1, 2, 3])
    }

    fn sid_name(&self, _: &Sid) -> Option<SidName> {
        None
    }

    fn sid_of(&self, _: &str) -> Option<Sid> {
        None
    }

    fn users(&self) -> Vec<User> {
        Vec::new()
    }

    fn groups(&self) -> Vec<Group> {
        Vec::new()
    }
}
