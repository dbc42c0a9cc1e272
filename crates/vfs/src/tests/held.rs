//! The grant machine: what a holder hears of, and that operations wait for its answer.

use parking_lot::Mutex;

use super::*;
use crate::grants::{GrantHolder, GrantKey, GrantRequest, GrantRights};

/// Remembers what it was told.
#[derive(Debug, Default)]
struct Holder(Mutex<Vec<GrantRights>>);

impl GrantHolder for Holder {
    fn broken(&self, _key: GrantKey, _from: GrantRights, to: GrantRights) {
        self.0.lock().push(to);
    }
}

const ALL: GrantRights = GrantRights {
    read: true,
    write: true,
    handle: true,
};

fn wanted(holder: &Arc<Holder>, key: u8) -> GrantRequest {
    let holder = Arc::clone(holder) as Arc<dyn GrantHolder>;
    GrantRequest::Wanted {
        key: GrantKey([key; 16]),
        rights: ALL,
        holder,
    }
}

#[test]
fn another_open_waits_until_the_writer_has_answered() {
    let world = World::new(101);
    let holder = Arc::new(Holder::default());
    let (handle, _) = world
        .open("f", |request| request.grant = wanted(&holder, 1))
        .unwrap();
    let grant = Arc::clone(handle.grant().unwrap());
    assert_eq!(grant.rights(), ALL);
    let opened = Arc::new(Mutex::new(false));
    let task = {
        let (vfs, share) = (Arc::clone(&world.vfs), Arc::clone(&world.share));
        let opened = Arc::clone(&opened);
        async move {
            let request = OpenRequest {
                path: "f",
                ..all(&share)
            };
            vfs.open(&user(1001), request).await.unwrap();
            *opened.lock() = true;
        }
    };
    world.env.spawn("opener", Box::pin(task));
    world.env.run_until_idle();
    let told = GrantRights {
        write: false,
        ..ALL
    };
    assert_eq!(*holder.0.lock(), [told]);
    assert!(!*opened.lock(), "it waits");
    grant.acknowledge(ALL);
    world.env.run_until_idle();
    assert!(*opened.lock());
    assert_eq!(grant.rights(), told, "never more than it was broken to");
}

#[test]
fn opens_under_the_same_key_disturb_nobody() {
    let world = World::new(102);
    let holder = Arc::new(Holder::default());
    let (_first, _) = world
        .open("f", |request| request.grant = wanted(&holder, 1))
        .unwrap();
    let (_second, _) = world
        .open("f", |request| request.grant = wanted(&holder, 1))
        .unwrap();
    assert!(holder.0.lock().is_empty());
}

#[test]
fn writes_of_others_take_what_readers_cache() {
    let world = World::new(103);
    let holder = Arc::new(Holder::default());
    let (held, _) = world
        .open("f", |request| request.grant = wanted(&holder, 1))
        .unwrap();
    held.grant().unwrap().acknowledge(GrantRights {
        write: false,
        ..ALL
    });
    let other = world.file("f");
    assert!(holder.0.lock().is_empty(), "there is nothing to write back");
    let (vfs, grant) = (Arc::clone(&world.vfs), Arc::clone(held.grant().unwrap()));
    world.env.spawn(
        "writer",
        Box::pin(async move { vfs.write(&other, 0, b"x").await.unwrap() }),
    );
    world.env.run_until_idle();
    assert_eq!(
        *holder.0.lock(),
        [GrantRights {
            handle: true,
            ..GrantRights::NONE
        }]
    );
    assert_eq!(world.vfs.stat(&held).unwrap().size, 0, "the write waits");
    grant.acknowledge(GrantRights::NONE);
    world.env.run_until_idle();
    assert_eq!(world.vfs.stat(&held).unwrap().size, 1);
}
