//! Signatures.
use crate::acl::{SecurityDescriptor, SecurityParts};
use crate::locks::{LockOwner, LockRange, LockWait};
use crate::watch::{Watch, WatchFilter};
use crate::*;
use std::sync::Arc;
use strongroom_device::Env;
use strongroom_store::{Inode, SessionId, Store};

impl Handle {
    pub fn id(&self) -> HandleId {
        unimplemented!()
    }
    pub fn inode(&self) -> Inode {
        unimplemented!()
    }
    pub fn kind(&self) -> FileKind {
        unimplemented!()
    }
    pub fn is_directory(&self) -> bool {
        unimplemented!()
    }
    /// The stream's name; empty for the file itself.
    pub fn stream_name(&self) -> &str {
        unimplemented!()
    }
    pub fn granted(&self) -> AccessMask {
        unimplemented!()
    }
    pub fn options(&self) -> CreateOptions {
        unimplemented!()
    }
    pub fn credentials(&self) -> &Credentials {
        unimplemented!()
    }
    pub fn share(&self) -> ShareId {
        unimplemented!()
    }
}

impl Vfs {
    /// Lays a new file system on an empty store.
    pub fn create(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        unimplemented!()
    }
    /// Opens the file system of a store; finishes what a crash left (unlinked files, charges).
    pub fn open_store(store: Arc<Store>, env: Arc<dyn Env>) -> Result<Arc<Self>> {
        unimplemented!()
    }
    pub fn store(&self) -> &Arc<Store> {
        unimplemented!()
    }

    pub fn begin_session(&self, info: &SessionInfo) -> Result<SessionId> {
        unimplemented!()
    }
    pub fn end_session(&self, session: SessionId) -> Result<()> {
        unimplemented!()
    }
    pub fn session(&self, session: SessionId) -> Result<Option<SessionRecord>> {
        unimplemented!()
    }

    pub fn shares(&self) -> Vec<Arc<Share>> {
        unimplemented!()
    }
    /// Names of shares are compared without case.
    pub fn share(&self, name: &str) -> Option<Arc<Share>> {
        unimplemented!()
    }
    pub fn add_share(&self, share: NewShare) -> Result<Arc<Share>> {
        unimplemented!()
    }
    /// Stops offering it; its files stay until removed by an administrator's job.
    pub fn remove_share(&self, name: &str) -> Result<()> {
        unimplemented!()
    }
    /// Whether the share lets these credentials in.
    pub fn may_enter(&self, share: &Share, credentials: &Credentials) -> bool {
        unimplemented!()
    }

    pub async fn open(
        &self,
        credentials: &Credentials,
        request: OpenRequest<'_>,
    ) -> Result<Opened> {
        unimplemented!()
    }
    pub async fn close(&self, handle: &Handle) -> Result<()> {
        unimplemented!()
    }

    pub fn read(&self, handle: &Handle, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        unimplemented!()
    }
    /// `offset` u64::MAX appends.
    pub async fn write(&self, handle: &Handle, offset: u64, data: &[u8]) -> Result<()> {
        unimplemented!()
    }
    pub async fn flush(&self, handle: &Handle) -> Result<()> {
        unimplemented!()
    }
    pub async fn set_size(&self, handle: &Handle, size: u64) -> Result<()> {
        unimplemented!()
    }
    /// FileAllocationInformation: shrinks the file when smaller than its size; growing is only checked against space.
    pub async fn set_allocation(&self, handle: &Handle, allocation: u64) -> Result<()> {
        unimplemented!()
    }
    /// FSCTL_SET_ZERO_DATA: makes a hole.
    pub async fn zero_range(&self, handle: &Handle, offset: u64, len: u64) -> Result<()> {
        unimplemented!()
    }
    pub fn allocated_ranges(
        &self,
        handle: &Handle,
        offset: u64,
        len: u64,
    ) -> Result<Vec<(u64, u64)>> {
        unimplemented!()
    }
    pub fn set_sparse(&self, handle: &Handle, sparse: bool) -> Result<()> {
        unimplemented!()
    }

    pub fn stat(&self, handle: &Handle) -> Result<Stat> {
        unimplemented!()
    }
    /// The path from the share's root, `\`-separated, with today's names; with `:stream` for a stream.
    pub fn path(&self, handle: &Handle) -> Result<String> {
        unimplemented!()
    }
    pub fn list(
        &self,
        handle: &Handle,
        cursor: &mut DirCursor,
        pattern: &str,
        max: usize,
    ) -> Result<Vec<DirEntry>> {
        unimplemented!()
    }

    pub async fn set_times(&self, handle: &Handle, times: SetTimes) -> Result<()> {
        unimplemented!()
    }
    /// 0 leaves them; NORMAL clears them.
    pub async fn set_attributes(&self, handle: &Handle, attributes: DosAttributes) -> Result<()> {
        unimplemented!()
    }
    /// FileDispositionInformation.
    pub async fn set_delete(&self, handle: &Handle, delete: bool) -> Result<()> {
        unimplemented!()
    }
    /// FileRenameInformation: `path` from the share's root, or, for a stream, `:name`. `replace`: ReplaceIfExists.
    pub async fn rename(&self, handle: &Handle, path: &str, replace: bool) -> Result<()> {
        unimplemented!()
    }
    /// FileLinkInformation.
    pub async fn link(&self, handle: &Handle, path: &str, replace: bool) -> Result<()> {
        unimplemented!()
    }
    /// Removes a name at once, also under open handles (POSIX).
    pub async fn unlink(
        &self,
        credentials: &Credentials,
        directory: &Handle,
        name: &str,
    ) -> Result<()> {
        unimplemented!()
    }

    pub fn security(&self, handle: &Handle, parts: SecurityParts) -> Result<SecurityDescriptor> {
        unimplemented!()
    }
    pub async fn set_security(
        &self,
        handle: &Handle,
        parts: SecurityParts,
        descriptor: &SecurityDescriptor,
    ) -> Result<()> {
        unimplemented!()
    }
    /// The rights that the credentials have on the open file, for MxAc.
    pub fn maximal_access(&self, handle: &Handle, credentials: &Credentials) -> Result<AccessMask> {
        unimplemented!()
    }

    pub fn eas(&self, handle: &Handle) -> Result<Vec<ExtendedAttribute>> {
        unimplemented!()
    }
    pub async fn set_eas(&self, handle: &Handle, eas: &[ExtendedAttribute]) -> Result<()> {
        unimplemented!()
    }
    pub fn streams(&self, handle: &Handle) -> Result<Vec<StreamInfo>> {
        unimplemented!()
    }
    pub fn links(&self, handle: &Handle) -> Result<Vec<LinkInfo>> {
        unimplemented!()
    }
    pub fn reparse(&self, handle: &Handle) -> Result<ReparseData> {
        unimplemented!()
    }
    pub async fn set_reparse(&self, handle: &Handle, data: &ReparseData) -> Result<()> {
        unimplemented!()
    }
    pub async fn delete_reparse(&self, handle: &Handle, tag: u32) -> Result<()> {
        unimplemented!()
    }

    /// All or nothing, at once or `LockNotGranted`.
    pub fn lock(&self, handle: &Handle, owner: LockOwner, ranges: &[LockRange]) -> Result<()> {
        unimplemented!()
    }
    /// Waits until granted; dropping the wait cancels it.
    pub fn lock_wait(
        &self,
        handle: &Handle,
        owner: LockOwner,
        range: LockRange,
    ) -> Result<LockWait> {
        unimplemented!()
    }
    pub fn unlock(&self, handle: &Handle, owner: LockOwner, offset: u64, len: u64) -> Result<()> {
        unimplemented!()
    }

    /// Change notices of a directory; `buffer_max` bytes of events are kept until read, then overflow.
    pub fn watch(
        &self,
        handle: &Handle,
        filter: WatchFilter,
        recursive: bool,
        buffer_max: usize,
    ) -> Result<Watch> {
        unimplemented!()
    }

    pub fn volume(&self, share: &Share, credentials: &Credentials) -> Result<VolumeInfo> {
        unimplemented!()
    }
}
