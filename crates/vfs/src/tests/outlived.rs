//! Changes that waited so long that their file went meanwhile.

use std::pin::Pin;
use std::task::{Context, Waker};

use super::*;
use crate::acl::{SecurityDescriptor, SecurityParts};
use crate::rows;
use crate::{DosAttributes, ExtendedAttribute, FileTime, ReparseData, SetTimes};

/// A store that lets nobody write before the index holds everything.
fn busy(seed: u64) -> World {
    let slow = StoreOptions {
        overlay_rows_max: 1,
        ..options()
    };
    World::with(seed, slow)
}

type Change<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// What a change comes to when its file is deleted and closed while it waits for room.
fn after_the_end<'a>(
    world: &'a World,
    handle: &'a Arc<Handle>,
    change: impl FnOnce(&'a Vfs, &'a Handle) -> Change<'a>,
) -> String {
    world.wait(world.vfs.set_delete(handle, true)).unwrap();
    let mut change = change(&world.vfs, handle);
    let polled = change
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending(), "it waits for room");
    world.close(handle);
    outcome(world.wait(change))
}

/// Whether anything of a file is left.
fn is_gone(world: &World, handle: &Handle) -> bool {
    let store = world.vfs.store();
    let (start, end) = (
        rows::inode_key(handle.inode()),
        rows::end_of(handle.inode()),
    );
    let tables = [
        rows::ATTRIBUTES,
        rows::SECURITY,
        rows::EAS,
        rows::STREAMS,
        rows::REPARSE,
        rows::LINKS,
    ];
    let rows = tables
        .iter()
        .all(|table| store.scan(*table, &start, &end, 1).unwrap().is_empty());
    rows && store.head_if_exists(handle.object()).unwrap().is_none()
}

fn check(name: &str, change: impl for<'a> FnOnce(&'a Vfs, &'a Handle) -> Change<'a>) {
    let world = busy(121);
    let everything = |request: &mut OpenRequest<'_>| {
        request.access = AccessMask::FILE_ALL;
    };
    let (handle, _) = world.open_as(&admin(), "f", everything).unwrap();
    assert_eq!(after_the_end(&world, &handle, change), "Closed", "{name}");
    assert!(is_gone(&world, &handle), "{name}");
}

#[test]
fn data_written_after_the_end_is_refused() {
    check("write", |vfs, handle| {
        Box::pin(vfs.write(handle, 0, &[7; 10_000]))
    });
    check("size", |vfs, handle| Box::pin(vfs.set_size(handle, 5_000)));
}

#[test]
fn attributes_set_after_the_end_are_refused() {
    let time = Some(FileTime(133_000_000_000_000_001));
    let times = SetTimes {
        modified: time,
        ..SetTimes::default()
    };
    check("times", |vfs, handle| {
        Box::pin(vfs.set_times(handle, times))
    });
    check("attributes", |vfs, handle| {
        Box::pin(vfs.set_attributes(handle, DosAttributes::HIDDEN))
    });
}

#[test]
fn rows_set_after_the_end_are_refused() {
    let eas = [ExtendedAttribute {
        flags: 0,
        name: "name".into(),
        value: vec![7],
    }];
    let eas = Box::leak(Box::new(eas));
    check("attributes", |vfs, handle| {
        Box::pin(vfs.set_eas(handle, eas))
    });
    let security = Box::leak(Box::new(SecurityDescriptor::default()));
    check("security", |vfs, handle| {
        Box::pin(vfs.set_security(handle, SecurityParts::DACL, security))
    });
    let link = Box::leak(Box::new(ReparseData::symlink("away")));
    check("link", |vfs, handle| {
        Box::pin(vfs.set_reparse(handle, link))
    });
}
