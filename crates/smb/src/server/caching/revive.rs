//! The next start of the server: persistent opens wait for their clients again (MS-SMB2 3.3.3).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use strongroom_vfs::grants::{GrantHolder, GrantKey};
use strongroom_vfs::{Claim, CreateAction, Revived, SessionId, VfsError};

use super::durable::{CreateKey, CreateName, Durable};
use super::holder::CacheHolder;
use super::record::Record;
use crate::server::Server;
use crate::server::open::FileOpen;
use crate::server::who::Who;
use crate::wire::Guid;
use crate::wire::create::CreateAction as WireAction;
use crate::wire::create_context::{Lease, LeaseV2};

/// How far a lease's epoch goes on at a start: how often it changed before is not kept, and clients take a state only
/// if it is newer than the one that they know.
const EPOCH_STEP: u16 = 0x1000;

impl Server {
    /// Takes up the persistent handles that clients had when the server last ended, however it did, and holds others off
    /// until their clients come back or do not in time. To be called once, before anybody is served by any protocol.
    /// Gives how many there are.
    pub fn revive(self: &Arc<Self>) -> Result<usize, VfsError> {
        let mut records = HashMap::new();
        let mut whose = |id: u64, data: &[u8]| {
            let record = Record::decode(data);
            let record = record.inspect_err(|error| {
                tracing::warn!(%error, id, "a persistent handle is lost");
            });
            let record = record.ok()?;
            let claim = self.claim(&record)?;
            records.insert(id, record);
            Some(claim)
        };
        let revived = self.vfs.revive(&mut whose)?;
        let count = revived.len();
        let now = self.env.monotonic();
        for one in revived {
            if let Some(record) = records.remove(&one.id) {
                self.wait_for_client(one, record, now);
            }
        }
        Ok(count)
    }

    /// None where there is no such user any more.
    fn claim(self: &Arc<Self>, record: &Record) -> Option<Claim> {
        let token = self.identity.token(&record.owner)?;
        let revision = self.identity.revision();
        let who = Who::new(String::new(), token, SessionId::SYSTEM, revision);
        let holder = CacheHolder::new(self, record.lease.map(later));
        Some(Claim {
            credentials: who.credentials,
            holder: Some(holder as Arc<dyn GrantHolder>),
        })
    }

    fn wait_for_client(self: &Arc<Self>, revived: Revived, record: Record, now: Duration) {
        let handle = revived.handle;
        let share = handle.share();
        let lease_key = handle.grant().and_then(|grant| match grant.key() {
            GrantKey::Chosen { name, .. } => Some(Guid(name)),
            GrantKey::Open(_) => None,
        });
        let key = CreateKey {
            client: record.client,
            guid: record.create,
        };
        let mut file = FileOpen::new(handle, record.options, wire_action(revived.action));
        for (index, number) in revived.marks {
            file.lock_sequences.succeeded(index, number);
        }
        file.name = Some(CreateName {
            key,
            lease_key: record.lease.map(|lease| lease.key),
        });
        file.durable = Some(Arc::new(Durable {
            owner: record.owner,
            client: record.client,
            share,
            path: record.path,
            lease_key,
            timeout: record.timeout,
            create: Some(key),
            app: record.app,
            persistent: true,
        }));
        self.durables.keep_again(self, revived.id, file, now);
    }
}

fn later(lease: Lease) -> Lease {
    let v2 = lease.v2.map(|v2| LeaseV2 {
        epoch: v2.epoch.wrapping_add(EPOCH_STEP),
        ..v2
    });
    Lease { v2, ..lease }
}

fn wire_action(action: CreateAction) -> WireAction {
    match action {
        CreateAction::Superseded => WireAction::Superseded,
        CreateAction::Opened => WireAction::Opened,
        CreateAction::Created => WireAction::Created,
        CreateAction::Overwritten => WireAction::Overwritten,
    }
}
