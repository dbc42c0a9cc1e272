//! x
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
/// Tells lock owners within one handle apart; SMB uses the default, NFS one for each lock owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LockOwner(pub u64);
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockRange {
    pub offset: u64,
    pub len: u64,
    pub exclusive: bool,
}
#[derive(Debug)]
pub struct LockWait {}
impl Future for LockWait {
    type Output = crate::Result<()>;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        unimplemented!()
    }
}
