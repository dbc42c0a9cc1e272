//! Copying all of a file inside the server, as macOS's `copyfile(3)` asks for it.

use strongroom_store::ObjectId;

use crate::data::require_data;
use crate::{
    AccessMask, Disposition, Handle, OpenRequest, Result, ShareAccess, StreamInfo, Vfs, VfsError,
};

impl Vfs {
    /// Copies the data and every named stream of `source` over those of `target`, whose size becomes that of the source;
    /// returns the bytes of data. Streams that only the target has stay. Times, attributes and access stay the client's
    /// to set.
    ///
    /// Errors: those of opening the streams, of reading and of writing; `InvalidParameter` for a file onto itself. What
    /// was copied before an error stays.
    pub async fn copy_file(&self, source: &Handle, target: &Handle) -> Result<u64> {
        require_data(source)?;
        require_data(target)?;
        if source.object() == target.object() && source.view().is_now() {
            return Err(VfsError::InvalidParameter);
        }
        let streams = self.streams(source)?;
        let size = self.size_of(source, source.object())?;
        if self.size_of(target, target.object())? > size {
            self.set_size(target, size).await?;
        }
        self.copy_range(source, 0, target, 0, size).await?;
        // A stream is copied alone.
        if source.stream == 0 && target.stream == 0 {
            for stream in streams.iter().filter(|stream| !stream.name.is_empty()) {
                self.copy_stream(source, target, stream).await?;
            }
        }
        Ok(size)
    }

    async fn copy_stream(
        &self,
        source: &Handle,
        target: &Handle,
        stream: &StreamInfo,
    ) -> Result<()> {
        let path = format!(":{}:$DATA", stream.name);
        let from = self.stream_beside(source, &path, AccessMask::READ_DATA, Disposition::Open);
        let from = Box::pin(from).await?;
        let to = self.stream_beside(
            target,
            &path,
            AccessMask::WRITE_DATA,
            Disposition::OverwriteIf,
        );
        let to = Box::pin(to).await?;
        let size = self.size_of(&from, from.object())?;
        let copied = self.copy_range(&from, 0, &to, 0, size).await;
        self.close(&from).await?;
        self.close(&to).await?;
        copied
    }

    /// Opens a stream of what is open.
    async fn stream_beside(
        &self,
        handle: &Handle,
        path: &str,
        access: AccessMask,
        disposition: Disposition,
    ) -> Result<std::sync::Arc<Handle>> {
        let share = self.share_by_id(handle.share()).ok_or(VfsError::Closed)?;
        let request = OpenRequest {
            view: handle.view().clone(),
            at: Some(handle.inode()),
            access,
            share_access: ShareAccess::ALL,
            disposition,
            ..OpenRequest::new(&share, path)
        };
        Ok(self.open(handle.credentials(), request).await?.0)
    }

    fn size_of(&self, handle: &Handle, object: ObjectId) -> Result<u64> {
        Ok(self.store.at(handle.view()).head(object)?.size)
    }
}
