//! Locks that are waited for: as soon as one can be had it is taken, and the client is called and told so (NLM_GRANTED).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use strongroom_vfs::{Handle, LockOwner, LockRange};

use super::{GRANTED, Lock, Stat};
use crate::rpc;
use crate::server::Server;
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

/// Between one look and the next.
const LOOK_TIME: Duration = Duration::from_millis(200);
/// Clients ask again when they hear nothing, so nothing is waited for longer.
const WAIT_MAX: Duration = Duration::from_secs(120);
const CALL_TIME: Duration = Duration::from_secs(10);

/// A lock that somebody waits for.
struct Waiting {
    peer: IpAddr,
    who: (Vec<u8>, i32),
    file_handle: Vec<u8>,
    caller: Vec<u8>,
    range: LockRange,
    asked: (u64, u64),
    file: Arc<Handle>,
    number: LockOwner,
}

/// Begins to wait, unless the same is waited for already.
pub(super) fn wait(
    server: &Arc<Server>,
    peer: IpAddr,
    lock: &Lock<'_>,
    range: LockRange,
    (file, number): (Arc<Handle>, LockOwner),
) -> Result<(), Stat> {
    let waiting = Waiting {
        peer,
        who: lock.who(),
        file_handle: lock.file.0.to_vec(),
        caller: lock.caller.0.to_vec(),
        range,
        asked: (lock.offset, lock.len),
        file,
        number,
    };
    if server.locks.begin_wait(peer, &waiting.who, range)? {
        let (env, server) = (Arc::clone(&server.env), Arc::clone(server));
        env.spawn(
            "wait for a lock of NFS 3",
            Box::pin(async move { waiting.run(&server).await }),
        );
    }
    Ok(())
}

impl Waiting {
    async fn run(self, server: &Arc<Server>) {
        let until = server.env.monotonic() + WAIT_MAX;
        while server.env.monotonic() < until {
            server.env.sleep(LOOK_TIME).await;
            if !server.locks.waits(self.peer, &self.who, self.range) {
                return;
            }
            match server.vfs.lock_posix(&self.file, self.number, self.range) {
                Ok(Some(_)) => {}
                Ok(None) => return self.tell(server).await,
                Err(_) => break,
            }
        }
        server.locks.end_wait(self.peer, &self.who, self.range);
    }

    /// It has the lock. Who does not want it any more, or cannot be told, does not keep it.
    async fn tell(&self, server: &Arc<Server>) {
        let told = self.call(server).await;
        let wanted = server.locks.end_wait(self.peer, &self.who, self.range);
        if told && wanted {
            return;
        }
        let inode = self.file.inode();
        let freed = server
            .locks
            .unlock(&server.vfs, self.peer, inode, &self.who, self.range);
        if let Err(error) = freed {
            tracing::debug!(%error, "a lock that nobody heard of stays");
        }
    }

    async fn call(&self, server: &Arc<Server>) -> bool {
        let Some(dialer) = server.dialer() else {
            return false;
        };
        let cookie = server.state.next().to_be_bytes();
        let mut to = Encoder::default();
        to.opaque(&cookie).bool(self.range.exclusive);
        to.opaque(&self.caller).opaque(&self.file_handle);
        to.opaque(&self.who.0).i32(self.who.1);
        to.u64(self.asked.0).u64(self.asked.1);
        let call = dialer.call(self.peer, (rpc::NLM, 4, GRANTED), to.into_vec());
        let answer = crate::v4::callback::within(&*server.env, CALL_TIME, call).await;
        let Some(Some(results)) = answer else {
            return false;
        };
        let mut from = Decoder::new(&results);
        let echoed = Opaque::<1_024>::decode(&mut from);
        echoed.is_ok_and(|echoed| echoed.0 == cookie) && from.u32() == Ok(Stat::Granted as u32)
    }
}
