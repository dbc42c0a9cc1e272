//! Reading, writing, sizes, holes, and making data durable.

use std::sync::Arc;

use strongroom_vfs::{APPEND, AccessMask, DosAttributes, VfsError};

use super::object_of;
use super::open::describe;
use crate::client::{Client, Held, Shared, counted};
use crate::model::{Model, Object, Why};

const SPARSE: u32 = DosAttributes::SPARSE_FILE.0;
/// Files stay below this.
const SIZE_MAX: usize = 3 << 20;

/// Why no data can be read or written through an open.
fn no_data(model: &Model, held: &Held, any_of: AccessMask) -> Vec<Why> {
    let open = &model.opens.all[&held.key()];
    let mut why = Vec::new();
    if open.object.stream == 0 && model.node(open.object.id).directory {
        why.push("IsDirectory");
    }
    if !open.access.intersects(any_of) {
        why.push("AccessDenied");
    }
    why
}

pub(super) fn read(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let (object, newest, mut why) = {
        let model = shared.model.lock();
        let object = object_of(&model, &held);
        let rights = AccessMask::READ_DATA | AccessMask::EXECUTE;
        (
            object,
            model.data.newest(object),
            no_data(&model, &held, rights),
        )
    };
    let offset = client.rng.below(newest.len() + 100);
    let len = 1 + client
        .rng
        .below([10, 5000, 200_000, 1 << 21][client.rng.clone().below(4)]);
    let range = (offset as u64, len as u64);
    if shared.model.lock().opens.locked(held.key(), range, false) {
        why.push("LockConflict");
    }
    let mut buffer = vec![0xA5; len];
    let result = shared.vfs.read(&held.handle, offset as u64, &mut buffer);
    let what = client.says(&format!(
        "read {offset}+{len} of {}",
        describe(client, &held)
    ));
    if !shared.judge(&what, &why, 1, &result) {
        return;
    }
    let end = newest.len().min(offset + len).max(offset);
    let expected = newest.get(offset..end).unwrap_or_default();
    let read = result.unwrap();
    if buffer[..read] != *expected {
        let at = buffer[..read]
            .iter()
            .zip(expected)
            .position(|(a, b)| a != b);
        shared.accuse(format!(
            "{what}: {read} bytes, expected {}, the first that is wrong is {at:?} of {object:?}",
            expected.len()
        ));
    }
}

pub(super) async fn write(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let bytes = client.bytes();
    let shared = Arc::clone(&client.shared);
    let (object, size) = {
        let model = shared.model.lock();
        let object = object_of(&model, &held);
        (object, model.data.len(object) as usize)
    };
    let offset = match client.rng.below(8) {
        0..=2 => client.rng.below(size + 1),
        3 => client.rng.below(size + 20_000),
        4 => 0,
        _ => usize::MAX,
    };
    let appends = offset == usize::MAX;
    let at = if appends { size } else { offset.min(SIZE_MAX) };
    if at + bytes.len() > SIZE_MAX + (1 << 20) {
        return;
    }
    let why = why_not_write(&shared.model.lock(), &held, at, bytes.len(), appends);
    let place = if appends { APPEND } else { at as u64 };
    let what = format!("write {at}+{} to {}", bytes.len(), describe(client, &held));
    let what = client.says(&what);
    if held.write_through {
        return write_through(&shared, &held, &what, &why, place, &bytes).await;
    }
    let (result, turns) = counted(shared.vfs.write(&held.handle, place, &bytes)).await;
    let done = shared.judge(&what, &why, turns, &result);
    let mut model = shared.model.lock();
    // Where it waited, the end may have moved.
    let at = if appends {
        model.data.len(object) as usize
    } else {
        at
    };
    let wanted = overlay(&model, object, at, &bytes);
    if done {
        push(&mut model, object, wanted);
    } else {
        drop(model);
        let before = shared.model.lock().data.newest(object);
        recheck(&shared, object, &before, &wanted, result.err());
    }
}

fn why_not_write(model: &Model, held: &Held, at: usize, len: usize, appends: bool) -> Vec<Why> {
    let rights = AccessMask::WRITE_DATA | AccessMask::APPEND_DATA;
    let mut why = no_data(model, held, rights);
    let open = &model.opens.all[&held.key()];
    let size = model.data.len(open.object) as usize;
    if !open.access.intersects(AccessMask::WRITE_DATA) && !appends && at < size {
        why.push("AccessDenied");
    }
    if model
        .opens
        .locked(held.key(), (at as u64, len as u64), true)
    {
        why.push("LockConflict");
    }
    why
}

fn push(model: &mut Model, object: Object, state: Vec<u8>) {
    if *model.data.newest(object) != state {
        model.data.push(object, state);
    }
}

/// The bytes after a write.
fn overlay(model: &Model, object: Object, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut state = model.data.newest(object).to_vec();
    if bytes.is_empty() {
        return state;
    }
    if state.len() < at + bytes.len() {
        state.resize(at + bytes.len(), 0);
    }
    state[at..at + bytes.len()].copy_from_slice(bytes);
    state
}

/// The write takes effect before it is durable, so that nobody else may look in between.
async fn write_through(
    shared: &Shared,
    held: &Held,
    what: &str,
    why: &[Why],
    place: u64,
    bytes: &[u8],
) {
    let (object, names, before, wanted) = {
        let mut model = shared.model.lock();
        let object = object_of(&model, held);
        model.opens.busy.insert(object.id);
        let size = model.data.len(object) as usize;
        let at = if place == APPEND {
            size
        } else {
            place as usize
        };
        let before = model.data.newest(object);
        let wanted = overlay(&model, object, at, bytes);
        if why.is_empty() {
            push(&mut model, object, wanted.clone());
        }
        (object, model.names_now(), before, wanted)
    };
    let result = shared.vfs.write(&held.handle, place, bytes).await;
    let done = shared.judge(what, why, 1, &result);
    let mut model = shared.model.lock();
    model.opens.busy.remove(&object.id);
    let version = model.data.version(object);
    if done {
        model.synced(names, &[(object, version)]);
    } else if why.is_empty() {
        drop(model);
        recheck(shared, object, &before, &wanted, result.err());
    }
}

/// After a failure that the model could not foresee, what is there now is asked for: each byte as it was, or as it was
/// to be.
fn recheck(shared: &Shared, object: Object, before: &[u8], wanted: &[u8], error: Option<VfsError>) {
    let foreseen = matches!(
        error,
        Some(VfsError::LockConflict | VfsError::AccessDenied | VfsError::IsDirectory)
    );
    if foreseen || shared.power_is_off() {
        return;
    }
    let found = match crate::check::current(&shared.vfs, object) {
        Ok(found) => found,
        Err(error) => return shared.tell(format!("{object:?} after a failure: {error}")),
    };
    let mut model = shared.model.lock();
    let is = |at: usize, byte: &u8| before.get(at) == Some(byte) || wanted.get(at) == Some(byte);
    let sound = found.iter().enumerate().all(|(at, byte)| is(at, byte))
        && (found.len() == before.len() || found.len() == wanted.len());
    push(&mut model, object, found);
    drop(model);
    if !sound {
        shared.accuse(format!("a failed change left wrong bytes in {object:?}"));
    }
}

pub(super) async fn set_size(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let (object, before) = {
        let model = shared.model.lock();
        let object = object_of(&model, &held);
        (object, model.data.len(object) as usize)
    };
    let size = match client.rng.below(5) {
        0 => 0,
        1 => before + client.rng.below(50_000),
        2 => client.rng.below(SIZE_MAX),
        _ => client.rng.below(before + 1),
    };
    let mut why = no_data(&shared.model.lock(), &held, AccessMask::WRITE_DATA);
    let range = (before.min(size) as u64, before.abs_diff(size) as u64);
    if shared.model.lock().opens.locked(held.key(), range, true) {
        why.push("LockConflict");
    }
    let allocation = size < before && client.rng.chance(30);
    let (result, turns) = if allocation {
        counted(shared.vfs.set_allocation(&held.handle, size as u64)).await
    } else {
        counted(shared.vfs.set_size(&held.handle, size as u64)).await
    };
    let what = client.says(&format!("set size {size} of {}", describe(client, &held)));
    let done = shared.judge(&what, &why, turns, &result);
    let mut wanted = shared.model.lock().data.newest(object).to_vec();
    wanted.resize(size, 0);
    if done {
        push(&mut shared.model.lock(), object, wanted);
    } else {
        let before = shared.model.lock().data.newest(object);
        recheck(&shared, object, &before, &wanted, result.err());
    }
}

pub(super) async fn zero(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let (object, size) = {
        let model = shared.model.lock();
        let object = object_of(&model, &held);
        (object, model.data.len(object) as usize)
    };
    let offset = client.rng.below(size + 100);
    let len = client.rng.below(100_000);
    let mut why = no_data(&shared.model.lock(), &held, AccessMask::WRITE_DATA);
    let range = (offset as u64, len as u64);
    if shared.model.lock().opens.locked(held.key(), range, true) {
        why.push("LockConflict");
    }
    let work = shared
        .vfs
        .zero_range(&held.handle, offset as u64, len as u64);
    let (result, turns) = counted(work).await;
    let what = client.says(&format!(
        "zero {offset}+{len} of {}",
        describe(client, &held)
    ));
    let done = shared.judge(&what, &why, turns, &result);
    let mut wanted = shared.model.lock().data.newest(object).to_vec();
    let end = (offset + len).min(wanted.len());
    wanted[offset.min(end)..end].fill(0);
    if done {
        push(&mut shared.model.lock(), object, wanted);
    } else {
        let before = shared.model.lock().data.newest(object);
        recheck(&shared, object, &before, &wanted, result.err());
    }
}

/// Makes a file sparse or not, or asks where its data is.
pub(super) fn sparse(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    if client.rng.chance(50) {
        return ranges(client, &shared, &held);
    }
    let sparse = client.rng.chance(70);
    let (id, why) = {
        let model = shared.model.lock();
        let rights =
            AccessMask::WRITE_DATA | AccessMask::APPEND_DATA | AccessMask::WRITE_ATTRIBUTES;
        (object_of(&model, &held).id, no_data(&model, &held, rights))
    };
    let result = shared.vfs.set_sparse(&held.handle, sparse);
    let what = client.says(&format!(
        "set sparse {sparse} of {}",
        describe(client, &held)
    ));
    if shared.judge(&what, &why, 1, &result) {
        let set = |attributes: u32| {
            if sparse {
                attributes | SPARSE
            } else {
                attributes & !SPARSE
            }
        };
        let mut model = shared.model.lock();
        model.change(id, |node| node.attributes = set(node.attributes));
    }
}

/// Outside of the ranges that are said to hold data, there are zeroes.
fn ranges(client: &mut Client, shared: &Shared, held: &Held) {
    let (newest, why, sparse) = {
        let model = shared.model.lock();
        let object = object_of(&model, held);
        let sparse = model.node(object.id).attributes & SPARSE != 0;
        let why = no_data(&model, held, AccessMask::READ_DATA);
        (model.data.newest(object), why, sparse)
    };
    let result = shared.vfs.allocated_ranges(&held.handle, 0, u64::MAX);
    let what = client.says(&format!("ranges of {}", describe(client, held)));
    if !shared.judge(&what, &why, 1, &result) {
        return;
    }
    let ranges = result.unwrap();
    let mut at = 0;
    let mut holes = Vec::new();
    for (offset, len) in &ranges {
        holes.push(at..*offset);
        at = offset + len;
    }
    holes.push(at..newest.len() as u64);
    let whole = holes.iter().all(|hole| hole.is_empty());
    let zero = |hole: &std::ops::Range<u64>| {
        let bytes = newest.get(hole.start as usize..hole.end as usize);
        bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    };
    let sound = holes.iter().all(|hole| hole.is_empty() || zero(hole));
    if !sound || at > newest.len() as u64 || (!sparse && !whole) {
        let len = newest.len();
        shared.accuse(format!(
            "{what}: {ranges:?} of {len} bytes, sparse {sparse}"
        ));
    }
}

pub(super) async fn flush(client: &mut Client) {
    let Some(held) = client.pick() else { return };
    let shared = Arc::clone(&client.shared);
    let (names, object, version, why) = {
        let model = shared.model.lock();
        let open = &model.opens.all[&held.key()];
        let writes = AccessMask::WRITE_DATA | AccessMask::APPEND_DATA;
        let mut why: Vec<Why> = Vec::new();
        if !open.access.intersects(writes) {
            why.push("AccessDenied");
        }
        let version = model.data.version(open.object);
        (model.names_now(), open.object, version, why)
    };
    let result = shared.vfs.flush(&held.handle).await;
    let what = client.says(&format!("flush {}", describe(client, &held)));
    if shared.judge(&what, &why, 1, &result) {
        shared.model.lock().synced(names, &[(object, version)]);
    }
}
