//! Byte-range locks.

use std::sync::Arc;
use std::time::Duration;

use strongroom_vfs::{AccessMask, LockOwner, LockRange};

use super::object_of;
use super::open::describe;
use crate::client::{Client, limited};
use crate::model::{Lock, Model, Why};

/// Why nothing can be locked through an open.
fn no_locks(model: &Model, key: u64) -> Vec<Why> {
    let open = &model.opens.all[&key];
    let mut why = Vec::new();
    if open.object.stream == 0 && model.node(open.object.id).directory {
        why.push("InvalidParameter");
    }
    if !open
        .access
        .intersects(AccessMask::READ_DATA | AccessMask::WRITE_DATA)
    {
        why.push("AccessDenied");
    }
    why
}

pub(super) async fn lock(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let range = LockRange {
        offset: [0, 100, 5_000, u64::MAX - 9][client.rng.below(4)],
        len: [0, 1, 10, 50_000][client.rng.below(4)],
        exclusive: client.rng.chance(60),
    };
    let wanted = {
        let model = shared.model.lock();
        Lock {
            handle: held.key(),
            object: object_of(&model, &held),
            offset: range.offset,
            len: range.len,
            exclusive: range.exclusive,
        }
    };
    let mut why = no_locks(&shared.model.lock(), held.key());
    if range
        .offset
        .checked_add(range.len.saturating_sub(1))
        .is_none()
    {
        why.push("InvalidRange");
    }
    let what = client.says(&format!("lock {range:?} of {}", describe(client, &held)));
    if client.rng.chance(40) && why.is_empty() {
        let wait = shared
            .vfs
            .lock_wait(&held.handle, LockOwner::default(), range);
        let Ok(wait) = wait else {
            return shared.accuse(format!("{what}: cannot wait"));
        };
        match limited(&shared.env, Duration::from_millis(50), wait).await {
            Some(result) => {
                let mut model = shared.model.lock();
                let refused = model.opens.lock_refused(&wanted);
                model.opens.locks.push(wanted);
                drop(model);
                if refused || result.is_err() {
                    shared.accuse(format!("{what}: {result:?}, refused {refused}"));
                }
            }
            None => shared.tell(format!("{what}: waited in vain")),
        }
        return;
    }
    if shared.model.lock().opens.lock_refused(&wanted) {
        why.push("LockNotGranted");
    }
    let result = shared
        .vfs
        .lock(&held.handle, LockOwner::default(), &[range]);
    if shared.judge(&what, &why, 1, &result) {
        shared.model.lock().opens.locks.push(wanted);
    }
}

pub(super) fn unlock(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let own: Vec<Lock> = {
        let model = shared.model.lock();
        let own = model
            .opens
            .locks
            .iter()
            .filter(|lock| lock.handle == held.key());
        own.copied().collect()
    };
    let (offset, len, why) = match own.first() {
        Some(lock) => (lock.offset, lock.len, Vec::new()),
        None => (1, 1, vec!["RangeNotLocked"]),
    };
    let result = shared
        .vfs
        .unlock(&held.handle, LockOwner::default(), offset, len);
    let what = client.says(&format!(
        "unlock {offset}+{len} of {}",
        describe(client, &held)
    ));
    if shared.judge(&what, &why, 1, &result) {
        let mut model = shared.model.lock();
        let at =
            model.opens.locks.iter().position(|lock| {
                lock.handle == held.key() && (lock.offset, lock.len) == (offset, len)
            });
        if let Some(at) = at {
            model.opens.locks.remove(at);
        }
    }
}
