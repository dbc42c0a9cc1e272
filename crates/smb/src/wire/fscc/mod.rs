//! Information classes and file system controls (MS-FSCC).
//!
//! What a server sends is encoded here, what it receives is decoded; the converse is there too, for
//! clients in tests. Lists whose elements are linked by NextEntryOffset share [`list`].

pub mod directory;
pub mod ea;
pub mod file;
pub mod fsctl;
pub mod list;
pub mod names;
pub mod notify;
pub mod posix;
pub mod quota;
pub mod rename;
pub mod volume;

/// FileAttributes (MS-FSCC 2.6).
pub mod attribute {
    /// FILE_ATTRIBUTE_READONLY
    pub const READONLY: u32 = 0x0001;
    /// FILE_ATTRIBUTE_HIDDEN
    pub const HIDDEN: u32 = 0x0002;
    /// FILE_ATTRIBUTE_SYSTEM
    pub const SYSTEM: u32 = 0x0004;
    /// FILE_ATTRIBUTE_DIRECTORY
    pub const DIRECTORY: u32 = 0x0010;
    /// FILE_ATTRIBUTE_ARCHIVE
    pub const ARCHIVE: u32 = 0x0020;
    /// FILE_ATTRIBUTE_NORMAL: no other attribute
    pub const NORMAL: u32 = 0x0080;
    /// FILE_ATTRIBUTE_TEMPORARY
    pub const TEMPORARY: u32 = 0x0100;
    /// FILE_ATTRIBUTE_SPARSE_FILE
    pub const SPARSE_FILE: u32 = 0x0200;
    /// FILE_ATTRIBUTE_REPARSE_POINT
    pub const REPARSE_POINT: u32 = 0x0400;
    /// FILE_ATTRIBUTE_COMPRESSED
    pub const COMPRESSED: u32 = 0x0800;
    /// FILE_ATTRIBUTE_OFFLINE
    pub const OFFLINE: u32 = 0x1000;
    /// FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
    pub const NOT_CONTENT_INDEXED: u32 = 0x2000;
    /// FILE_ATTRIBUTE_ENCRYPTED
    pub const ENCRYPTED: u32 = 0x4000;
    /// FILE_ATTRIBUTE_INTEGRITY_STREAM
    pub const INTEGRITY_STREAM: u32 = 0x8000;
    /// FILE_ATTRIBUTE_NO_SCRUB_DATA
    pub const NO_SCRUB_DATA: u32 = 0x0002_0000;
}
