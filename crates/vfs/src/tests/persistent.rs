//! Opens that outlive the program.

use std::collections::BTreeSet;

use super::*;
use crate::grants::{Broken, GrantHolder, GrantKey, GrantRequest, GrantRights, GrantWish};
use crate::persistent::{Claim, PersistentWish, Revived};
use crate::{LockOwner, LockRange, rows};

#[derive(Debug)]
struct Silent;

impl GrantHolder for Silent {
    fn granted(&self, _rights: GrantRights) {}

    fn broken(&self, _broken: Broken) {}
}

const RH: GrantRights = GrantRights {
    write: false,
    ..GrantRights::ALL
};
const RANGE: LockRange = LockRange {
    offset: 100,
    len: 10,
    exclusive: true,
};

fn key(number: u8) -> GrantKey {
    GrantKey::Chosen {
        owner: [1; 16],
        name: [number; 16],
    }
}

fn wants(rights: GrantRights, key: Option<GrantKey>) -> GrantRequest {
    GrantRequest::Wanted(GrantWish {
        key,
        rights,
        directories: false,
        holder: Arc::new(Silent),
    })
}

fn kept(request: &mut OpenRequest<'_>, id: u64) {
    request.persistent = Some(PersistentWish {
        id,
        data: format!("open {id}").into_bytes(),
    });
}

/// A world whose share lets handles outlive the server.
fn available(seed: u64) -> World {
    let mut world = World::new(seed);
    let new = NewShare {
        name: "kept".into(),
        continuously_available: true,
        ..NewShare::default()
    };
    world.share = world.vfs.add_share(new).unwrap();
    world.wait(world.vfs.store().sync_all()).unwrap();
    world
}

impl World {
    fn synced(&self) {
        self.wait(self.vfs.sync_names()).unwrap();
    }

    fn power_fails(self) -> World {
        let mut world = self.crash();
        world.share = world.vfs.share("kept").unwrap();
        world
    }

    fn revived(&self) -> Vec<Revived> {
        let mut whose = |id: u64, data: &[u8]| {
            assert_eq!(data, format!("open {id}").as_bytes());
            Some(Claim {
                credentials: user(1000),
                holder: Some(Arc::new(Silent)),
            })
        };
        self.vfs.revive(&mut whose).unwrap()
    }

    fn keep(&self, path: &str, id: u64, change: impl FnOnce(&mut OpenRequest<'_>)) -> Arc<Handle> {
        let opened = self.open(path, |request| {
            kept(request, id);
            change(request);
        });
        opened.unwrap().0
    }
}

fn refusal(world: &World, path: &str, change: impl FnOnce(&mut OpenRequest<'_>)) -> String {
    let refused = world.open_as(&user(1001), path, change);
    format!("{:?}", refused.map(|_| ()).unwrap_err())
}

fn rights(handle: &Handle) -> GrantRights {
    handle
        .grant()
        .map(|grant| grant.rights())
        .unwrap_or_default()
}

#[test]
fn share_modes_locks_and_grants_are_there_again_after_a_power_cut() {
    let world = available(1);
    let handle = world.keep("f", 7, |request| {
        request.share_access = ShareAccess::READ;
        request.grant = wants(GrantRights::ALL, Some(key(1)));
    });
    let (vfs, owner) = (&world.vfs, LockOwner::default());
    world
        .wait(vfs.write(&handle, 0, b"written through"))
        .unwrap();
    vfs.lock(&handle, owner, &[RANGE]).unwrap();
    vfs.keep_locks(&handle, Some((3, 9))).unwrap();
    world.synced();
    std::mem::forget(handle);
    let world = world.power_fails();
    let [again] = <[Revived; 1]>::try_from(world.revived()).unwrap();
    assert_eq!((again.id, again.marks), (7, vec![(3, 9)]));
    assert_eq!(again.action, CreateAction::Created);
    assert_eq!(rights(&again.handle), GrantRights::ALL);
    let writes = |request: &mut OpenRequest<'_>| request.disposition = Disposition::Open;
    assert_eq!(refusal(&world, "f", writes), "Away");
    world.vfs.set_away(&again.handle, false);
    assert_eq!(refusal(&world, "f", writes), "SharingViolation");
    let mut bytes = [0; 15];
    world.vfs.read(&again.handle, 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"written through");
    assert_eq!(world.vfs.persistent_opens(), 1);
    assert!(world.vfs.has_locks(&again.handle));
    world.vfs.unlock(&again.handle, owner, 100, 10).unwrap();
    world.close(&again.handle);
    world.close(&world.open("f", writes).unwrap().0);
    world.synced();
    let world = world.power_fails();
    assert!(world.revived().is_empty(), "what was closed is not kept");
}

#[test]
fn a_holder_that_is_away_is_not_waited_for() {
    let world = available(2);
    let handle = world.keep("f", 1, |request| {
        request.grant = wants(GrantRights::ALL, Some(key(1)));
    });
    world.vfs.set_away(&handle, true);
    let before = world.env.monotonic();
    assert_eq!(refusal(&world, "f", |_| {}), "Away");
    let looks = |request: &mut OpenRequest<'_>| request.access = AccessMask::READ_ATTRIBUTES;
    let (looking, _) = world.open("f", looks).unwrap();
    world.close(&looking);
    assert_eq!(world.env.monotonic(), before);
    assert_eq!(rights(&handle), GrantRights::ALL, "nothing was broken");
}

#[test]
fn a_file_and_what_is_kept_of_its_open_come_together() {
    let mut seen = BTreeSet::new();
    for seed in 0..24 {
        let world = available(100 + seed);
        for id in 0..20 {
            std::mem::forget(world.keep(&format!("f{id}"), id, |_| {}));
            if id == seed {
                world.env.advance(std::time::Duration::from_secs(2));
            }
        }
        let world = world.power_fails();
        let revived = world.revived();
        let ids: Vec<u64> = revived.iter().map(|again| again.id).collect();
        let there = |id: &u64| {
            let open = |request: &mut OpenRequest<'_>| {
                request.access = AccessMask::READ_ATTRIBUTES;
                request.disposition = Disposition::Open;
            };
            world.open(&format!("f{id}"), open).is_ok()
        };
        let files: Vec<u64> = (0..20).filter(there).collect();
        assert_eq!(ids, files, "seed {seed}");
        seen.insert(ids.len());
    }
    assert!(seen.len() > 1, "not always the same number: {seen:?}");
}

#[test]
fn what_the_holder_would_not_hear_of_is_taken_before_it_happens() {
    let world = available(3);
    let reader = world.keep("f", 1, |request| {
        request.grant = wants(RH, Some(key(1)));
    });
    let (writer, _) = world.open("f", |_| {}).unwrap();
    world.wait(world.vfs.write(&writer, 0, b"news")).unwrap();
    world.wait(world.vfs.flush(&writer)).unwrap();
    std::mem::forget((reader, writer));
    let world = world.power_fails();
    let [again] = <[Revived; 1]>::try_from(world.revived()).unwrap();
    assert_eq!(rights(&again.handle), GrantRights::NONE);
}

#[test]
fn two_that_come_back_to_one_file_leave_each_other_no_writing() {
    let world = available(4);
    let one = world.keep("f", 1, |request| {
        request.grant = wants(GrantRights::ALL, Some(key(1)));
    });
    let open = || {
        let request = |request: &mut OpenRequest<'_>| {
            kept(request, 2);
            request.grant = wants(GrantRights::ALL, Some(key(2)));
        };
        world.open_as(&user(1001), "f", request)
    };
    let (grant, vfs) = (Arc::clone(one.grant().unwrap()), Arc::clone(&world.vfs));
    let sleep = world.env.sleep(std::time::Duration::from_secs(1));
    let answer = async move {
        sleep.await;
        vfs.acknowledge(&grant, RH).unwrap();
    };
    world.env.spawn("holder", Box::pin(answer));
    let two = open().unwrap().0;
    assert_eq!((rights(&one), rights(&two)), (RH, RH));
    world.synced();
    std::mem::forget((one, two));
    let world = world.power_fails();
    let revived = world.revived();
    let all: Vec<_> = revived.iter().map(|again| rights(&again.handle)).collect();
    assert_eq!(all, [RH, RH]);
}

#[test]
fn a_deletion_that_was_asked_for_is_still_to_come() {
    let world = available(5);
    let handle = world.keep("f", 1, |_| {});
    world.wait(world.vfs.set_delete(&handle, true)).unwrap();
    world.synced();
    std::mem::forget(handle);
    let world = world.power_fails();
    let [again] = <[Revived; 1]>::try_from(world.revived()).unwrap();
    let open = |request: &mut OpenRequest<'_>| request.disposition = Disposition::Open;
    assert_eq!(refusal(&world, "f", open), "DeletePending");
    world.close(&again.handle);
    assert_eq!(refusal(&world, "f", open), "NotFound");
}

#[test]
fn a_deletion_that_was_taken_back_is_forgotten() {
    let world = available(6);
    let handle = world.keep("f", 1, |_| {});
    for delete in [true, false] {
        world.wait(world.vfs.set_delete(&handle, delete)).unwrap();
    }
    world.synced();
    std::mem::forget(handle);
    let world = world.power_fails();
    world
        .revived()
        .iter()
        .for_each(|again| world.close(&again.handle));
    let open = |request: &mut OpenRequest<'_>| request.disposition = Disposition::Open;
    world.open("f", open).unwrap();
}

#[test]
fn an_orderly_end_keeps_what_is_suspended_or_dropped() {
    let world = available(7);
    let (one, two) = (world.keep("a", 1, |_| {}), world.keep("b", 2, |_| {}));
    let closed = world.keep("c", 3, |_| {});
    world.vfs.suspend(&one).unwrap();
    drop(two);
    world.close(&closed);
    assert_eq!(world.vfs.persistent_opens(), 0);
    let mut world = world.reopen();
    world.share = world.vfs.share("kept").unwrap();
    let ids: Vec<u64> = world.revived().iter().map(|again| again.id).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn streams_and_replaced_files_are_kept_too() {
    let world = available(8);
    for path in ["f", "g", "f:s", "g:s"] {
        world.close(&world.file(path));
    }
    let replaced = |request: &mut OpenRequest<'_>| request.disposition = Disposition::OverwriteIf;
    let handles = [
        world.keep("f", 1, |_| {}),
        world.keep("f:s", 2, |_| {}),
        world.keep("f:new", 3, replaced),
        world.keep("g:s", 4, replaced),
        world.keep("h", 6, replaced),
    ];
    world.close(&handles[0]);
    let replaces = world.keep("f", 5, |_| {});
    world.synced();
    std::mem::forget((handles, replaces));
    let world = world.power_fails();
    let revived = world.revived();
    let found: Vec<_> = revived
        .iter()
        .map(|again| {
            (
                again.id,
                again.action,
                again.handle.stream_name().to_string(),
            )
        })
        .collect();
    let expected = [
        (2, CreateAction::Opened, "s"),
        (3, CreateAction::Created, "new"),
        (4, CreateAction::Overwritten, "s"),
        (5, CreateAction::Opened, ""),
        (6, CreateAction::Created, ""),
    ];
    assert_eq!(
        found,
        expected.map(|(id, action, stream)| (id, action, stream.to_owned()))
    );
}

#[test]
fn what_lost_its_file_its_share_or_its_owner_is_forgotten() {
    let world = available(9);
    for id in 0..4 {
        std::mem::forget(world.keep(&format!("f{id}"), id, |_| {}));
    }
    world.synced();
    let world = world.power_fails();
    world.remove("f0").unwrap();
    let mut txn = world.vfs.store().txn(SessionId::SYSTEM);
    let mut bad = rows::list_key(1);
    bad.push(0);
    txn.put(rows::PERSISTENT, bad, vec![99; 12]);
    txn.commit().unwrap();
    let mut whose = |id: u64, _: &[u8]| {
        (id != 2).then(|| Claim {
            credentials: user(1000),
            holder: None,
        })
    };
    let ids: Vec<u64> = world
        .vfs
        .revive(&mut whose)
        .unwrap()
        .iter()
        .map(|again| again.id)
        .collect();
    assert_eq!(ids, [3]);
    world.vfs.remove_share("kept").unwrap();
    world.synced();
    let world = world.crash();
    assert!(world.revived().is_empty());
    let end = rows::inode_key(crate::Inode(1));
    let start = rows::inode_key(crate::Inode(0));
    let left = world.vfs.store().scan(rows::PERSISTENT, &start, &end, 10);
    assert!(left.unwrap().is_empty());
}
