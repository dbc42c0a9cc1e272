//! Every message and structure once, with its decoder: what all hostile tests loop over.

use std::fmt::Debug;

use strongroom_smb::wire::codec::Codec;
use strongroom_smb::wire::create::*;
use strongroom_smb::wire::create_context::*;
use strongroom_smb::wire::fscc::{file, fsctl, posix, quota, rename, volume};
use strongroom_smb::wire::header::{HeaderFlags, Route, TransformHeader};
use strongroom_smb::wire::info::*;
use strongroom_smb::wire::negotiate::*;
use strongroom_smb::wire::negotiate_context::*;
use strongroom_smb::wire::{
    AsyncId, Command, FileId, FileTime, Guid, Header, MessageId, NtStatus, SessionId, TreeId,
    Utf16, close, directory, error, ioctl, lock, notify, oplock, read, reparse, session, simple,
    smb1, tree, write,
};

/// One valid message.
pub(crate) struct Sample {
    /// Its type's name.
    pub(crate) name: &'static str,
    /// Its encoded form.
    pub(crate) bytes: Vec<u8>,
    /// What it is, as `Debug` shows it.
    pub(crate) shown: String,
    /// Decodes other bytes as the same type, and shows what came out.
    pub(crate) decode: fn(&[u8]) -> Option<String>,
    /// Decodes and encodes again.
    pub(crate) again: fn(&[u8]) -> Option<Vec<u8>>,
}

macro_rules! sample {
    ($list:ident, $ty:ty, $value:expr) => {{
        fn decode(bytes: &[u8]) -> Option<String> {
            <$ty>::decode(bytes).ok().map(|value| format!("{value:?}"))
        }
        fn again(bytes: &[u8]) -> Option<Vec<u8>> {
            <$ty>::decode(bytes).ok().map(|value| value.to_vec())
        }
        let value: $ty = $value;
        let (bytes, shown) = (value.to_vec(), show(&value));
        $list.push(Sample {
            name: stringify!($ty),
            bytes,
            shown,
            decode,
            again,
        });
    }};
}

fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}

const FILE: FileId = FileId {
    persistent: 0x0102_0304_0506_0708,
    volatile: 0x1112_1314_1516_1718,
};
const GUID: Guid = Guid(*b"0123456789ABCDEF");
const TIME: FileTime = FileTime(0x01D0_AECB_DCAE_E5DA);

/// All samples.
pub(crate) fn samples() -> Vec<Sample> {
    let mut list = Vec::new();
    headers(&mut list);
    connection(&mut list);
    creates(&mut list);
    io(&mut list);
    queries(&mut list);
    errors(&mut list);
    information(&mut list);
    controls(&mut list);
    list
}

fn header() -> Header {
    Header {
        credit_charge: 3,
        status: NtStatus::ACCESS_DENIED,
        credits: 31,
        flags: HeaderFlags::SERVER_TO_REDIR | HeaderFlags::SIGNED,
        route: Route::Sync {
            process_id: 0xFEFF,
            tree_id: TreeId(7),
        },
        session_id: SessionId(0x1000_0000_0019),
        signature: *b"signature 16 byt",
        ..Header::request(Command::Create, MessageId(12))
    }
}

fn headers(list: &mut Vec<Sample>) {
    sample!(list, Header, header());
    let pending = Header {
        flags: HeaderFlags::SERVER_TO_REDIR | HeaderFlags::ASYNC_COMMAND,
        route: Route::Async {
            async_id: AsyncId(0x0807_0605_0403_0201),
        },
        command: Command::Unknown(0x77),
        ..header()
    };
    sample!(list, Header, pending);
    let transform = TransformHeader {
        signature: *b"0123456789012345",
        nonce: *b"nonce---------16",
        original_size: 104,
        flags: 1,
        session_id: SessionId(9),
    };
    sample!(list, TransformHeader, transform);
    let dialects = vec![
        &b"NT LM 0.12"[..],
        smb1::DIALECT_SMB_2_002,
        smb1::DIALECT_SMB_2_WILDCARD,
    ];
    sample!(
        list,
        smb1::Smb1Negotiate<'_>,
        smb1::Smb1Negotiate { dialects }
    );
}

fn contexts() -> Vec<NegotiateContext<'static>> {
    vec![
        NegotiateContext::PreauthIntegrity {
            algorithms: vec![HashAlgorithm::Sha512, HashAlgorithm::Unknown(9)],
            salt: b"salt of some odd length",
        },
        NegotiateContext::Encryption(vec![Cipher::Aes128Gcm, Cipher::Aes256Ccm]),
        NegotiateContext::Compression {
            flags: 1,
            algorithms: vec![CompressionAlgorithm::Lz77, CompressionAlgorithm::Lz4],
        },
        NegotiateContext::Netname(Utf16::from("office.example")),
        NegotiateContext::Transport(1),
        NegotiateContext::RdmaTransform(vec![1, 2]),
        NegotiateContext::Signing(vec![SigningAlgorithm::AesGmac, SigningAlgorithm::AesCmac]),
        NegotiateContext::Posix(b"posix's 16 bytes"),
        NegotiateContext::Unknown {
            kind: 0x4242,
            data: b"?",
        },
    ]
}

fn connection(list: &mut Vec<Sample>) {
    let request = NegotiateRequest {
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::LARGE_MTU | Capabilities::ENCRYPTION,
        client_guid: GUID,
        dialects: vec![Dialect::Smb202, Dialect::Smb210, Dialect::Smb311],
        contexts: contexts(),
    };
    sample!(list, NegotiateRequest<'_>, request);
    let response = NegotiateResponse {
        security_mode: SecurityMode::SIGNING_REQUIRED,
        dialect: Dialect::Smb311,
        server_guid: GUID,
        capabilities: Capabilities::LEASING,
        max_transact_size: 1 << 20,
        max_read_size: 8 << 20,
        max_write_size: 8 << 20,
        system_time: TIME,
        server_start_time: FileTime(0),
        security_buffer: b"spnego token",
        contexts: contexts(),
    };
    sample!(list, NegotiateResponse<'_>, response);
    let setup = session::SessionSetupRequest {
        flags: session::SessionSetupFlags::BINDING,
        security_mode: SecurityMode::SIGNING_ENABLED,
        capabilities: Capabilities::DFS,
        previous_session_id: SessionId(5),
        security_buffer: b"token",
    };
    sample!(list, session::SessionSetupRequest<'_>, setup);
    let flags = session::SessionFlags::ENCRYPT_DATA;
    let setup = session::SessionSetupResponse {
        flags,
        security_buffer: b"answer",
    };
    sample!(list, session::SessionSetupResponse<'_>, setup);
    sample!(list, simple::Empty, simple::Empty);
    sample!(
        list,
        simple::ServerNotification,
        simple::ServerNotification { kind: 0 }
    );
    trees(list);
}

fn trees(list: &mut Vec<Sample>) {
    let plain = tree::TreeConnectRequest {
        flags: tree::TreeConnectFlags::NONE,
        path: Utf16::from("\\\\office\\files"),
        contexts: Vec::new(),
    };
    sample!(list, tree::TreeConnectRequest<'_>, plain.clone());
    let context = |data| tree::TreeConnectContext { kind: 1, data };
    let extended = tree::TreeConnectRequest {
        flags: tree::TreeConnectFlags::EXTENSION_PRESENT,
        contexts: vec![context(&b"identity"[..]), context(&b"two"[..])],
        ..plain
    };
    sample!(list, tree::TreeConnectRequest<'_>, extended);
    let response = tree::TreeConnectResponse {
        share_type: tree::ShareType::Disk,
        flags: tree::ShareFlags::ENCRYPT_DATA,
        capabilities: tree::ShareCapabilities::NONE,
        maximal_access: 0x001F_01FF,
    };
    sample!(list, tree::TreeConnectResponse, response);
}

fn request_contexts() -> CreateContexts<'static> {
    let lease = |v2| Lease {
        key: GUID,
        state: LeaseState::READ_CACHING | LeaseState::WRITE_CACHING,
        flags: LeaseFlags::NONE,
        v2,
    };
    let mut contexts = CreateContexts::default();
    for context in [
        RequestContext::EaBuffer(b"eas"),
        RequestContext::SecurityDescriptor(b"descriptor"),
        RequestContext::DurableRequest,
        RequestContext::DurableReconnect(FILE),
        RequestContext::AllocationSize(4096),
        RequestContext::MaximalAccess(None),
        RequestContext::MaximalAccess(Some(TIME)),
        RequestContext::Timewarp(TIME),
        RequestContext::OnDiskId,
        RequestContext::Lease(lease(None)),
        RequestContext::Lease(lease(Some(LeaseV2 {
            parent_key: GUID,
            epoch: 3,
        }))),
        RequestContext::DurableRequestV2 {
            timeout_ms: 60_000,
            flags: 2,
            create_guid: GUID,
        },
        RequestContext::DurableReconnectV2 {
            file_id: FILE,
            create_guid: GUID,
            flags: 2,
        },
        RequestContext::AppInstanceId(GUID),
        RequestContext::AppInstanceVersion { high: 1, low: 2 },
        RequestContext::AaplQuery {
            bitmap: 7,
            client_capabilities: 1,
        },
        RequestContext::AaplResolveId { file_id: 77 },
        RequestContext::Posix { mode: 0o644 },
        RequestContext::Unknown {
            name: b"What",
            data: b"is this",
        },
    ] {
        contexts.push_request(&context);
    }
    contexts
}

fn response_contexts() -> CreateContexts<'static> {
    let aapl = AaplResponse {
        server_capabilities: Some(5),
        volume_capabilities: Some(2),
        model: Some(Utf16::from("Office")),
    };
    let mut contexts = CreateContexts::default();
    for context in [
        ResponseContext::Durable,
        ResponseContext::DurableV2 {
            timeout_ms: 1,
            flags: 2,
        },
        ResponseContext::MaximalAccess {
            status: NtStatus::SUCCESS,
            access: 0x1F_01FF,
        },
        ResponseContext::OnDiskId {
            file: 77,
            volume: 88,
        },
        ResponseContext::Lease(Lease {
            key: GUID,
            state: LeaseState::NONE,
            flags: LeaseFlags::NONE,
            v2: None,
        }),
        ResponseContext::Aapl(aapl),
        ResponseContext::AaplPath {
            status: NtStatus::SUCCESS,
            path: Utf16::from("a\\b"),
        },
        ResponseContext::Posix(posix_attributes()),
    ] {
        contexts.push_response(&context);
    }
    contexts
}

fn posix_attributes() -> posix::PosixAttributes {
    posix::PosixAttributes {
        links: 1,
        reparse_tag: 0,
        mode: 0o644,
        owner: vec![1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
        group: vec![1, 2, 0, 0, 0, 0, 0, 22, 2, 0, 0, 0, 100, 0, 0, 0],
    }
}

fn creates(list: &mut Vec<Sample>) {
    let create = CreateRequest {
        oplock: OplockLevel::Lease,
        impersonation: ImpersonationLevel::Impersonation,
        desired_access: 0x0012_0089,
        file_attributes: 0x80,
        share_access: ShareAccess::READ | ShareAccess::WRITE,
        disposition: CreateDisposition::OpenIf,
        options: CreateOptions::NON_DIRECTORY_FILE,
        name: Utf16::from("Büro\\Ablage 1.txt"),
        contexts: request_contexts(),
    };
    sample!(list, CreateRequest<'_>, create.clone());
    let root = CreateRequest {
        name: Utf16::default(),
        contexts: CreateContexts::default(),
        ..create
    };
    sample!(list, CreateRequest<'_>, root);
    let response = CreateResponse {
        oplock: OplockLevel::None,
        flags: 0,
        action: CreateAction::Opened,
        created: TIME,
        accessed: TIME,
        written: TIME,
        changed: TIME,
        allocation_size: 4096,
        end_of_file: 17,
        file_attributes: 0x20,
        file_id: FILE,
        contexts: response_contexts(),
    };
    sample!(list, CreateResponse<'_>, response.clone());
    let bare = CreateResponse {
        contexts: CreateContexts::default(),
        ..response
    };
    sample!(list, CreateResponse<'_>, bare);
    let flags = close::CloseFlags::POSTQUERY_ATTRIB;
    sample!(
        list,
        close::CloseRequest,
        close::CloseRequest {
            flags,
            file_id: FILE
        }
    );
    let response = close::CloseResponse {
        flags,
        created: TIME,
        end_of_file: 3,
        ..Default::default()
    };
    sample!(list, close::CloseResponse, response);
    sample!(
        list,
        close::FlushRequest,
        close::FlushRequest {
            reserved1: 0xFFFF,
            file_id: FILE
        }
    );
}

fn io(list: &mut Vec<Sample>) {
    let request = read::ReadRequest {
        padding: 0x50,
        flags: read::ReadFlags::UNBUFFERED,
        length: 65_536,
        offset: 1 << 40,
        file_id: FILE,
        minimum_count: 1,
        channel: 0,
        remaining_bytes: 0,
        channel_info: b"",
    };
    sample!(list, read::ReadRequest<'_>, request);
    let rdma = read::ReadRequest {
        channel: 1,
        channel_info: b"rdma descriptors",
        ..request
    };
    sample!(list, read::ReadRequest<'_>, rdma);
    let response = read::ReadResponse {
        data_remaining: 0,
        data: b"what was read",
    };
    sample!(list, read::ReadResponse<'_>, response);
    let request = write::WriteRequest {
        offset: 4096,
        file_id: FILE,
        channel: 0,
        remaining_bytes: 0,
        channel_info: b"",
        flags: write::WriteFlags::WRITE_THROUGH,
        data: b"what is written",
    };
    sample!(list, write::WriteRequest<'_>, request);
    let rdma = write::WriteRequest {
        channel: 2,
        channel_info: b"rdma",
        data: b"",
        ..request
    };
    sample!(list, write::WriteRequest<'_>, rdma);
    sample!(
        list,
        write::WriteResponse,
        write::WriteResponse { count: 15 }
    );
    let one = |offset, flags| lock::LockElement {
        offset,
        length: 10,
        flags,
    };
    let request = lock::LockRequest {
        sequence_number: 5,
        sequence_index: 0x0ABC_DEF1,
        file_id: FILE,
        locks: vec![
            one(0, lock::LockFlags::SHARED),
            one(u64::MAX, lock::LockFlags::UNLOCK),
        ],
    };
    sample!(list, lock::LockRequest, request);
}

fn queries(list: &mut Vec<Sample>) {
    let request = directory::QueryDirectoryRequest {
        class: FileInfoClass::IdBothDirectory,
        flags: directory::QueryDirectoryFlags::RESTART_SCANS,
        file_index: 0,
        file_id: FILE,
        pattern: Utf16::from("*.txt"),
        output_buffer_length: 65_536,
    };
    sample!(list, directory::QueryDirectoryRequest<'_>, request);
    let request = notify::ChangeNotifyRequest {
        flags: notify::NotifyFlags::WATCH_TREE,
        output_buffer_length: 4096,
        file_id: FILE,
        filter: notify::CompletionFilter::FILE_NAME | notify::CompletionFilter::SIZE,
    };
    sample!(list, notify::ChangeNotifyRequest, request);
    let request = QueryInfoRequest {
        info_type: InfoType::Security,
        class: 0,
        output_buffer_length: 100,
        additional_information: SecurityInformation::DACL.bits(),
        flags: QueryInfoFlags::NONE,
        file_id: FILE,
        input: b"input",
    };
    sample!(list, QueryInfoRequest<'_>, request);
    let request = SetInfoRequest {
        info_type: InfoType::File,
        class: FileInfoClass::Basic.to_wire(),
        additional_information: 0,
        file_id: FILE,
        buffer: b"information",
    };
    sample!(list, SetInfoRequest<'_>, request);
    sample!(list, SetInfoResponse, SetInfoResponse);
    sample!(list, Buffer<'_>, Buffer { data: b"entries" });
    let request = ioctl::IoctlRequest {
        code: ioctl::FsctlCode::ValidateNegotiateInfo,
        file_id: FileId::ANY,
        input: b"input",
        max_input_response: 0,
        max_output_response: 24,
        flags: ioctl::IOCTL_IS_FSCTL,
    };
    sample!(list, ioctl::IoctlRequest<'_>, request);
    let response = ioctl::IoctlResponse {
        code: ioctl::FsctlCode::Unknown(0x42),
        file_id: FILE,
        input: b"odd",
        output: b"output",
    };
    sample!(list, ioctl::IoctlResponse<'_>, response);
    breaks(list);
}

fn breaks(list: &mut Vec<Sample>) {
    let oplock = oplock::OplockBreak {
        level: OplockLevel::LevelII,
        file_id: FILE,
    };
    sample!(
        list,
        oplock::OplockBreakRequest,
        oplock::OplockBreakRequest::Oplock(oplock)
    );
    let ack = oplock::LeaseBreakAck {
        flags: 0,
        key: GUID,
        state: LeaseState::READ_CACHING,
    };
    sample!(
        list,
        oplock::OplockBreakRequest,
        oplock::OplockBreakRequest::Lease(ack)
    );
    let notification = oplock::LeaseBreakNotification {
        new_epoch: 2,
        flags: 1,
        key: GUID,
        current: LeaseState::READ_CACHING | LeaseState::HANDLE_CACHING,
        new: LeaseState::NONE,
    };
    sample!(list, oplock::LeaseBreakNotification, notification);
}

fn errors(list: &mut Vec<Sample>) {
    sample!(list, error::ErrorResponse<'_>, error::ErrorResponse::EMPTY);
    sample!(
        list,
        error::ErrorResponse<'_>,
        error::ErrorResponse::Data(b"\x10\0\0\0")
    );
    let context = |id, data| error::ErrorContext { id, data };
    let contexts = vec![
        context(0, &b"\x10\0\0\0"[..]),
        context(0x7264_5253, &b"redirect"[..]),
    ];
    sample!(
        list,
        error::ErrorResponse<'_>,
        error::ErrorResponse::Contexts(contexts)
    );
    let symlink = error::SymlinkError {
        unparsed_len: 12,
        relative: true,
        substitute: Utf16::from("..\\target"),
        print: Utf16::from("target"),
    };
    sample!(list, error::SymlinkError<'_>, symlink);
    let link = reparse::ReparseData::Symlink {
        substitute: Utf16::from("\\??\\C:\\target"),
        print: Utf16::from("C:\\target"),
        relative: false,
    };
    sample!(list, reparse::ReparseData<'_>, link);
    let other = reparse::ReparseData::Other {
        tag: 0x42,
        guid: Some(GUID.0),
        data: b"foreign",
    };
    sample!(list, reparse::ReparseData<'_>, other);
}

fn information(list: &mut Vec<Sample>) {
    let basic = file::BasicInfo {
        created: TIME,
        written: FileTime::FREEZE,
        ..Default::default()
    };
    sample!(list, file::BasicInfo, basic);
    let all = file::AllInfo {
        basic,
        standard: file::StandardInfo {
            links: 1,
            directory: true,
            ..Default::default()
        },
        internal: file::InternalInfo { file_id: 8 },
        ea: file::EaInfo { ea_size: 0 },
        access: file::AccessInfo { access: 1 },
        position: file::PositionInfo { offset: 2 },
        mode: file::ModeInfo { mode: 3 },
        alignment: file::AlignmentInfo { requirement: 0 },
        name: file::NameInfo {
            name: "\\dir\\file".to_owned(),
        },
    };
    sample!(list, file::AllInfo, all);
    let posix = || posix::PosixInfo {
        times: [TIME; 4],
        end_of_file: 7,
        allocation_size: 4096,
        attributes: 0x20,
        inode: 9,
        device: 1,
        posix: posix_attributes(),
    };
    sample!(list, posix::PosixInfo, posix());
    let entry = posix::PosixEntry {
        info: posix(),
        name: "größe".to_owned(),
    };
    sample!(list, posix::PosixEntry, entry);
    sample!(list, posix::PosixFsInfo, posix::PosixFsInfo::default());
    let network = file::NetworkOpenInfo {
        end_of_file: 9,
        attributes: 0x20,
        ..Default::default()
    };
    sample!(list, file::NetworkOpenInfo, network);
    sample!(
        list,
        file::CompressionInfo,
        file::CompressionInfo {
            format: 2,
            ..Default::default()
        }
    );
    sample!(
        list,
        file::AttributeTagInfo,
        file::AttributeTagInfo::default()
    );
    sample!(
        list,
        file::IdInfo,
        file::IdInfo {
            volume_serial: 1,
            file_id: [7; 16]
        }
    );
    sample!(
        list,
        file::StandardLinkInfo,
        file::StandardLinkInfo::default()
    );
    sample!(list, file::PipeInfo, file::PipeInfo::default());
    sample!(list, file::PipeLocalInfo, file::PipeLocalInfo::default());
    sample!(
        list,
        file::AllocationInfo,
        file::AllocationInfo { allocation_size: 5 }
    );
    sample!(
        list,
        file::EndOfFileInfo,
        file::EndOfFileInfo { end_of_file: 5 }
    );
    sample!(
        list,
        file::ValidDataLengthInfo,
        file::ValidDataLengthInfo { length: 5 }
    );
    sample!(
        list,
        file::DispositionInfo,
        file::DispositionInfo {
            delete_pending: true
        }
    );
    sample!(
        list,
        file::DispositionExInfo,
        file::DispositionExInfo { flags: 3 }
    );
    let rename = rename::RenameInfo {
        flags: rename::RenameFlags::REPLACE_IF_EXISTS,
        root_directory: 0,
        name: Utf16::from("new\\name"),
    };
    sample!(list, rename::RenameInfo<'_>, rename.clone());
    sample!(list, rename::RenameExInfo<'_>, rename::RenameExInfo(rename));
    volumes(list);
}

fn volumes(list: &mut Vec<Sample>) {
    let volume = volume::VolumeInfo {
        created: TIME,
        serial: 0xDEAD_BEEF,
        supports_objects: false,
        label: "files".to_owned(),
    };
    sample!(list, volume::VolumeInfo, volume);
    sample!(
        list,
        volume::SizeInfo,
        volume::SizeInfo {
            total_units: 10,
            ..Default::default()
        }
    );
    sample!(list, volume::FullSizeInfo, volume::FullSizeInfo::default());
    sample!(
        list,
        volume::DeviceInfo,
        volume::DeviceInfo {
            device_type: 7,
            characteristics: 0x20
        }
    );
    sample!(list, volume::ControlInfo, volume::ControlInfo::default());
    sample!(list, volume::ObjectIdInfo, volume::ObjectIdInfo::default());
    sample!(
        list,
        volume::SectorSizeInfo,
        volume::SectorSizeInfo::default()
    );
    let attributes = volume::AttributeInfo {
        attributes: volume::FsAttributes::CASE_PRESERVED_NAMES,
        component_len_max: 255,
        name: "NTFS".to_owned(),
    };
    sample!(list, volume::AttributeInfo, attributes);
    let query = quota::QueryQuotaInfo {
        return_single: true,
        restart_scan: false,
        sids: vec![b"sid number 1", b"sid number two  "],
        start_sid: b"",
    };
    sample!(list, quota::QueryQuotaInfo<'_>, query);
}

fn controls(list: &mut Vec<Sample>) {
    let request = fsctl::ValidateNegotiateRequest {
        capabilities: Capabilities::LARGE_MTU,
        client_guid: GUID,
        security_mode: SecurityMode::SIGNING_ENABLED,
        dialects: vec![Dialect::Smb300, Dialect::Smb302],
    };
    sample!(list, fsctl::ValidateNegotiateRequest, request);
    sample!(
        list,
        fsctl::ValidateNegotiateResponse,
        fsctl::ValidateNegotiateResponse::default()
    );
    sample!(
        list,
        fsctl::ZeroData,
        fsctl::ZeroData {
            offset: 1,
            beyond: 2
        }
    );
    sample!(
        list,
        fsctl::Range,
        fsctl::Range {
            offset: 1,
            length: 2
        }
    );
    sample!(
        list,
        fsctl::DuplicateExtentsEx,
        fsctl::DuplicateExtentsEx {
            structure_size: 0x30,
            extents: fsctl::DuplicateExtents {
                length: 4096,
                ..fsctl::DuplicateExtents::default()
            },
            flags: 0,
        }
    );
    sample!(list, fsctl::ResumeKey, fsctl::ResumeKey { key: [3; 24] });
    let chunk = fsctl::CopyChunk {
        source: 1,
        target: 2,
        length: 3,
    };
    let request = fsctl::CopyChunkRequest {
        source_key: [9; 24],
        chunks: vec![chunk, chunk],
    };
    sample!(list, fsctl::CopyChunkRequest, request);
    sample!(
        list,
        fsctl::CopyChunkResponse,
        fsctl::CopyChunkResponse::default()
    );
    let path = Utf16::from("\\office\\files");
    sample!(
        list,
        fsctl::DfsReferralRequest<'_>,
        fsctl::DfsReferralRequest { level_max: 4, path }
    );
    let wait = fsctl::PipeWait {
        timeout: Some(5),
        name: Utf16::from("srvsvc"),
    };
    sample!(list, fsctl::PipeWait<'_>, wait);
    sample!(
        list,
        fsctl::ObjectIdBuffer,
        fsctl::ObjectIdBuffer::default()
    );
    let clone = fsctl::DuplicateExtents {
        source: FILE,
        length: 4096,
        ..Default::default()
    };
    sample!(list, fsctl::DuplicateExtents, clone);
    sample!(list, fsctl::IntegrityInfo, fsctl::IntegrityInfo::default());
    sample!(
        list,
        fsctl::CompressionState,
        fsctl::CompressionState { format: 0 }
    );
    sample!(list, fsctl::FileRegion, fsctl::FileRegion::default());
}
