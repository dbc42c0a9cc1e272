//! x
/// FILE_NOTIFY_CHANGE bits (MS-SMB2 2.2.35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchFilter(pub u32);
/// What happened (MS-FSCC 2.7.1, Action).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchAction {
    Added,
    Removed,
    Modified,
    RenamedOld,
    RenamedNew,
    AddedStream,
    RemovedStream,
    ModifiedStream,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    pub action: WatchAction,
    /** Relative to the watched directory, `\`-separated. */
    pub path: String,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchOutcome {
    Events(Vec<WatchEvent>),
    /** More happened than was kept: look for yourself. */
    Overflow,
    /** The directory is being deleted. */
    Deleted,
    /** The handle was closed. */
    Closed,
}
#[derive(Debug)]
pub struct Watch {}
impl Watch {
    /// Waits for the next events. Dropping the future loses nothing.
    #[expect(clippy::unused_async, reason = "signatures first")]
    pub async fn next(&mut self) -> WatchOutcome {
        unimplemented!()
    }
}
