//! The grant machine: what holders hear, who waits for their answers, and what is granted beside what.

use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::grants::{
    BREAK_TIMEOUT, Broken, Grant, GrantHolder, GrantKey, GrantRequest, GrantRights, GrantWish,
    NotAcknowledged,
};
use crate::{LockOwner, LockRange};

/// Remembers what it was told.
#[derive(Debug, Default)]
struct Holder(Mutex<Vec<Broken>>);

impl GrantHolder for Holder {
    fn granted(&self, _rights: GrantRights) {}

    fn broken(&self, broken: Broken) {
        self.0.lock().push(broken);
    }
}

impl Holder {
    /// What it was told since the last call: from, to, and `!` where it must answer.
    fn told(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.0.lock());
        let text = |broken: &Broken| {
            let mark = if broken.must_answer { "!" } else { "" };
            format!("{}>{}{mark}", letters(broken.from), letters(broken.to))
        };
        told.iter().map(text).collect()
    }
}

fn rights(letters: &str) -> GrantRights {
    GrantRights {
        read: letters.contains('R'),
        write: letters.contains('W'),
        handle: letters.contains('H'),
    }
}

fn letters(rights: GrantRights) -> String {
    let parts = [
        (rights.read, 'R'),
        (rights.write, 'W'),
        (rights.handle, 'H'),
    ];
    parts
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, letter)| letter)
        .collect()
}

fn key(number: u8) -> GrantKey {
    GrantKey::Chosen {
        owner: [1; 16],
        name: [number; 16],
    }
}

struct Held {
    handle: Arc<Handle>,
    holder: Arc<Holder>,
}

impl Held {
    fn grant(&self) -> &Arc<Grant> {
        self.handle.grant().unwrap()
    }

    fn rights(&self) -> String {
        self.handle
            .grant()
            .map(|grant| letters(grant.rights()))
            .unwrap_or_default()
    }
}

fn request(holder: &Arc<Holder>, number: Option<u8>, wanted: &str) -> GrantRequest {
    GrantRequest::Wanted(GrantWish {
        key: number.map(key),
        rights: rights(wanted),
        directories: true,
        holder: Arc::clone(holder) as Arc<dyn GrantHolder>,
    })
}

impl World {
    fn try_hold(
        &self,
        path: &str,
        number: Option<u8>,
        wanted: &str,
        change: impl FnOnce(&mut OpenRequest<'_>),
    ) -> Result<Held> {
        let holder = Arc::new(Holder::default());
        let (handle, _) = self.open(path, |open| {
            open.grant = request(&holder, number, wanted);
            change(open);
        })?;
        Ok(Held { handle, holder })
    }

    /// Opens with a grant under a key.
    fn hold(&self, path: &str, number: u8, wanted: &str) -> Held {
        self.try_hold(path, Some(number), wanted, |_| {}).unwrap()
    }

    /// Opens with a grant to that open alone.
    fn hold_alone(&self, path: &str, wanted: &str) -> Held {
        self.try_hold(path, None, wanted, |_| {}).unwrap()
    }

    /// An open that waits in the background; what came of it appears when it is done.
    fn open_behind(
        &self,
        path: &'static str,
        change: impl FnOnce(&mut OpenRequest<'_>) + Send + 'static,
    ) -> Arc<Mutex<Option<Result<Opened>>>> {
        let slot = Arc::new(Mutex::new(None));
        let (vfs, share, filled) = (
            Arc::clone(&self.vfs),
            Arc::clone(&self.share),
            Arc::clone(&slot),
        );
        let task = async move {
            let mut request = OpenRequest {
                path,
                ..all(&share)
            };
            change(&mut request);
            let opened = vfs.open(&user(1001), request).await;
            *filled.lock() = Some(opened);
        };
        self.env.spawn("opener", Box::pin(task));
        self.env.run_until_idle();
        slot
    }

    fn answer(&self, held: &Held, kept: &str) -> std::result::Result<(), NotAcknowledged> {
        let answered = self.vfs.acknowledge(held.grant(), rights(kept));
        self.env.run_until_idle();
        answered.map(|_| ())
    }
}

fn is_open(slot: &Mutex<Option<Result<Opened>>>) -> bool {
    matches!(*slot.lock(), Some(Ok(_)))
}

#[test]
fn another_open_waits_until_the_writer_has_answered() {
    let world = World::new(101);
    let held = world.hold("f", 1, "RWH");
    let other = world.open_behind("f", |_| {});
    assert_eq!(held.holder.told(), ["RWH>RH!"]);
    assert!(other.lock().is_none(), "it waits");
    assert_eq!(held.rights(), "RWH", "it may still write back");
    assert_eq!(world.answer(&held, "RWH"), Err(NotAcknowledged::TooMuch));
    assert!(other.lock().is_none(), "a wrong answer is none");
    assert_eq!(world.answer(&held, "RH"), Ok(()));
    assert!(is_open(&other));
    assert_eq!(held.rights(), "RH");
    assert_eq!(world.answer(&held, "RH"), Err(NotAcknowledged::NotBreaking));
}

#[test]
fn a_holder_that_does_not_answer_loses_its_grant() {
    let world = World::new(102);
    let held = world.hold("f", 1, "RWH");
    let other = world.open_behind("f", |_| {});
    world.env.advance(BREAK_TIMEOUT - Duration::from_millis(1));
    assert!(other.lock().is_none());
    world.env.advance(Duration::from_millis(2));
    assert!(is_open(&other));
    assert_eq!(held.rights(), "");
    assert_eq!(world.answer(&held, "RH"), Err(NotAcknowledged::NotBreaking));
}

#[test]
fn a_holder_that_closes_needs_not_answer() {
    let world = World::new(103);
    let held = world.hold("f", 1, "RWH");
    let other = world.open_behind("f", |_| {});
    world.close(&held.handle);
    world.env.run_until_idle();
    assert!(is_open(&other));
}

#[test]
fn a_waiting_open_that_is_dropped_leaves_nothing() {
    let world = World::new(104);
    let held = world.hold("f", 1, "RWH");
    {
        let request = OpenRequest {
            path: "f",
            ..all(&world.share)
        };
        let who = user(1001);
        let mut open = Box::pin(world.vfs.open(&who, request));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(open.as_mut().poll(&mut context).is_pending());
        assert!(crate::grants::waits_for_holder());
    }
    world.answer(&held, "RH").unwrap();
    assert_eq!(held.handle.node.lock().opens.len(), 1);
}

#[test]
fn opens_under_the_same_key_disturb_nobody_and_share_the_grant() {
    let world = World::new(105);
    let (first, second) = (world.hold("f", 1, "RWH"), world.hold("f", 1, "R"));
    assert!(first.holder.told().is_empty());
    assert_eq!(
        (first.rights().as_str(), second.rights().as_str()),
        ("RWH", "RWH")
    );
    world.close(&first.handle);
    assert_eq!(
        second.rights(),
        "RWH",
        "the grant lasts as long as its last open"
    );
    assert!(world.vfs.grant(key(1)).is_some());
    world.close(&second.handle);
    assert!(world.vfs.grant(key(1)).is_none());
    assert!(second.handle.node.grants.is_idle());
}

#[test]
fn what_is_granted_depends_on_what_others_hold() {
    // Held under a key, asked for under another: what the first is broken to, what the second gets.
    let table = [
        ("R", "RWH", "R", "RH"),
        ("RH", "RW", "RH", "R"),
        ("RH", "RWH", "RH", "RH"),
        ("RW", "RH", "R", "RH"),
        ("RWH", "RWH", "RH", "RH"),
        ("", "RWH", "", "RH"),
        ("R", "WH", "R", ""),
    ];
    for (held, asked, left, given) in table {
        let world = World::new(106);
        let first = world.hold("f", 1, held);
        let holder = Arc::new(Holder::default());
        let wish = request(&holder, Some(2), asked);
        let second = world.open_behind("f", |open| open.grant = wish);
        if !first.holder.told().is_empty() {
            world.answer(&first, left).unwrap();
        }
        let second = second.lock().take().unwrap().unwrap().0;
        assert_eq!(first.rights(), left, "{held} {asked}");
        let got = letters(second.grant().unwrap().rights());
        assert_eq!(got, given, "{held} {asked}");
    }
}

#[test]
fn rights_grow_to_exactly_what_is_asked_for_or_not_at_all() {
    // Held, held by another key, asked for again: what it becomes.
    let table = [
        ("RH", None, "RW", "RH"),
        ("RH", None, "RWH", "RWH"),
        ("RW", None, "R", "RW"),
        ("", None, "RW", "RW"),
        ("R", Some("R"), "RWH", "R"),
        ("R", Some("RH"), "RH", "RH"),
    ];
    for (held, beside, asked, expected) in table {
        let world = World::new(107);
        let first = world.hold("f", 1, held);
        let _second = beside.map(|beside| world.hold("f", 2, beside));
        let _again = world.hold("f", 1, asked);
        assert_eq!(first.rights(), expected, "{held} {beside:?} {asked}");
    }
}

#[test]
fn oplocks_and_kept_handles_do_not_go_together() {
    let world = World::new(108);
    let lease = world.hold("a", 1, "RH");
    assert_eq!(world.hold_alone("a", "RWH").rights(), "");
    drop(lease);
    let oplock = world.hold_alone("b", "R");
    assert_eq!(world.hold("b", 2, "RH").rights(), "R");
    assert_eq!(oplock.rights(), "R");
}

#[test]
fn an_oplock_is_broken_to_reading_or_to_nothing() {
    let world = World::new(109);
    let held = world.hold_alone("f", "RWH");
    let other = world.open_behind("f", |_| {});
    assert_eq!(held.holder.told(), ["RWH>R!"]);
    world.answer(&held, "RWH").unwrap();
    assert_eq!(held.rights(), "R", "never more than it was broken to");
    let other = other.lock().take().unwrap().unwrap().0;
    world.wait(world.vfs.write(&other, 0, b"x")).unwrap();
    assert_eq!(held.holder.told(), ["R>"]);
}

#[test]
fn a_look_at_the_attributes_shares_no_writer_s_cache() {
    let world = World::new(122);
    let writer = world.hold_alone("f", "RW");
    let look = |open: &mut OpenRequest<'_>| open.access = AccessMask::READ_ATTRIBUTES;
    let looker = world.try_hold("f", None, "R", look).unwrap();
    assert_eq!(
        (writer.rights().as_str(), looker.rights().as_str()),
        ("RW", "")
    );
}

#[test]
fn an_overwrite_keeps_the_oplock_that_it_was_granted() {
    let world = World::new(123);
    world.put("f", b"old");
    let _other = world.file("f");
    let overwrite = |open: &mut OpenRequest<'_>| open.disposition = Disposition::Overwrite;
    let held = world.try_hold("f", None, "R", overwrite).unwrap();
    assert_eq!(held.rights(), "R");
    assert!(held.holder.told().is_empty());
}

#[test]
fn a_write_takes_what_others_read_and_waits_for_nobody() {
    let world = World::new(110);
    let (writer, reader, keeper) = (
        world.hold("f", 1, "R"),
        world.hold("f", 2, "R"),
        world.hold("f", 3, "RH"),
    );
    world
        .wait(world.vfs.write(&writer.handle, 0, b"x"))
        .unwrap();
    assert!(writer.holder.told().is_empty(), "its own key");
    assert_eq!(reader.holder.told(), ["R>"]);
    assert_eq!(keeper.holder.told(), ["RH>!"]);
    assert_eq!(
        (reader.rights().as_str(), keeper.rights().as_str()),
        ("", "RH")
    );
    // A further write does not ask twice.
    world
        .wait(world.vfs.write(&writer.handle, 0, b"y"))
        .unwrap();
    assert!(reader.holder.told().is_empty() && keeper.holder.told().is_empty());
}

#[test]
fn what_was_granted_during_a_write_falls_before_the_write_is_answered() {
    let world = World::with(
        111,
        StoreOptions {
            dirty_bytes_max: 4096,
            ..options()
        },
    );
    let writer = world.file("f");
    world.wait(world.vfs.write(&writer, 0, &[1; 8192])).unwrap();
    let data = vec![1; 1 << 16];
    let mut write = Box::pin(world.vfs.write(&writer, 0, &data));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(
        write.as_mut().poll(&mut context).is_pending(),
        "it waits for memory"
    );
    let reader = world.hold("f", 1, "RH");
    assert_eq!(reader.rights(), "RH");
    world.wait(write).unwrap();
    assert_eq!(reader.holder.told(), ["RH>!"]);
}

#[test]
fn sizes_locks_and_zeroes_count_as_writes() {
    let range = LockRange {
        offset: 0,
        len: 1,
        exclusive: true,
    };
    let world = World::new(112);
    world.put("f", &[1; 100]);
    let other = world.file("f");
    let changes: [&dyn Fn(); 5] = [
        &|| world.wait(world.vfs.set_size(&other, 50)).unwrap(),
        &|| world.wait(world.vfs.set_allocation(&other, 10)).unwrap(),
        &|| world.wait(world.vfs.set_allocation(&other, 1000)).unwrap(),
        &|| world.wait(world.vfs.zero_range(&other, 0, 5)).unwrap(),
        &|| world.vfs.lock(&other, LockOwner(0), &[range]).unwrap(),
    ];
    for change in changes {
        let reader = world.hold("f", 1, "R");
        assert_eq!(reader.rights(), "R");
        change();
        assert_eq!(reader.holder.told(), ["R>"]);
        world.close(&reader.handle);
    }
    assert_eq!(world.hold("f", 1, "R").rights(), "", "a range is locked");
}

#[test]
fn an_overwrite_waits_for_writers_only() {
    let overwrite = |open: &mut OpenRequest<'_>| open.disposition = Disposition::Overwrite;
    let world = World::new(113);
    let writer = world.hold("w", 1, "RWH");
    let waiting = world.open_behind("w", overwrite);
    assert_eq!(writer.holder.told(), ["RWH>!"]);
    assert!(waiting.lock().is_none());
    world.answer(&writer, "").unwrap();
    assert!(is_open(&waiting));
    let reader = world.hold("r", 2, "RH");
    let through = world.open_behind("r", overwrite);
    assert_eq!(reader.holder.told(), ["RH>!"]);
    assert!(is_open(&through));
}

#[test]
fn a_break_that_must_go_further_goes_in_steps() {
    let world = World::new(114);
    let held = world.hold("f", 1, "RWH");
    let open = world.open_behind("f", |_| {});
    let overwrite = world.open_behind("f", |open| open.disposition = Disposition::Overwrite);
    assert_eq!(held.holder.told(), ["RWH>RH!"], "one break at a time");
    world.answer(&held, "RH").unwrap();
    assert_eq!(held.holder.told(), ["RH>R!"]);
    assert!(open.lock().is_none() && overwrite.lock().is_none());
    world.answer(&held, "R").unwrap();
    assert_eq!(held.holder.told(), ["R>"]);
    assert!(is_open(&open) && is_open(&overwrite));
}

#[test]
fn share_modes_are_asked_again_when_a_kept_handle_was_closed() {
    let exclusive = |open: &mut OpenRequest<'_>| open.share_access = ShareAccess::NONE;
    let world = World::new(115);
    let held = world.hold("f", 1, "RH");
    let closing = world.open_behind("f", exclusive);
    assert_eq!(held.holder.told(), ["RH>R!"]);
    assert!(closing.lock().is_none());
    world.close(&held.handle);
    world.env.run_until_idle();
    assert!(is_open(&closing));
    drop(closing);
    let held = world.hold("g", 2, "RH");
    let refused = world.open_behind("g", exclusive);
    world.answer(&held, "R").unwrap();
    let refused = refused.lock().take().unwrap();
    assert_eq!(outcome(refused), "SharingViolation", "it stays open");
}

#[test]
fn a_look_at_the_attributes_disturbs_nobody() {
    let world = World::new(116);
    let (lease, oplock) = (world.hold("l", 1, "RWH"), world.hold_alone("o", "RWH"));
    let look = |path: &str, access| {
        let opened = world.open(path, |open| {
            open.disposition = Disposition::Open;
            open.access = access;
        });
        opened.unwrap().0
    };
    let attributes = AccessMask::READ_ATTRIBUTES | AccessMask::SYNCHRONIZE;
    let (_a, _b) = (look("l", attributes), look("o", attributes));
    let _c = look("l", AccessMask::READ_CONTROL);
    assert!(lease.holder.told().is_empty() && oplock.holder.told().is_empty());
    assert_eq!(world.hold("l", 1, "RWH").rights(), "RWH");
    let waits = world.open_behind("o", |open| open.access = AccessMask::READ_CONTROL);
    assert_eq!(oplock.holder.told(), ["RWH>R!"]);
    assert!(waits.lock().is_none());
}

#[test]
fn renaming_and_deleting_wait_for_those_who_keep_the_file_open() {
    let world = World::new(117);
    let held = world.hold("f", 1, "RH");
    let other = world.file("f");
    let task = {
        let (vfs, other) = (Arc::clone(&world.vfs), Arc::clone(&other));
        async move { vfs.rename(&other, "g", false).await.unwrap() }
    };
    world.env.spawn("renamer", Box::pin(task));
    world.env.run_until_idle();
    assert_eq!(held.holder.told(), ["RH>R!"]);
    let name = || world.vfs.path(&held.handle).unwrap();
    assert!(name().ends_with('f'), "it waits");
    world.answer(&held, "R").unwrap();
    assert!(name().ends_with('g'));
    let _again = world.hold("g", 1, "RH");
    let task = async move { other.vfs.upgrade().unwrap().set_delete(&other, true).await };
    let task = async move { task.await.unwrap() };
    world.env.spawn("deleter", Box::pin(task));
    world.env.run_until_idle();
    assert_eq!(held.holder.told(), ["RH>R!"]);
}

#[test]
fn a_directory_moves_once_what_is_kept_open_below_was_closed() {
    let world = World::new(118);
    let _made = world.directory("d");
    let held = world.hold("d\\f", 1, "RH");
    let directory = world.directory("d");
    let task = {
        let (vfs, directory) = (Arc::clone(&world.vfs), Arc::clone(&directory));
        async move { vfs.rename(&directory, "e", false).await.unwrap() }
    };
    world.env.spawn("renamer", Box::pin(task));
    world.env.run_until_idle();
    assert_eq!(held.holder.told(), ["RH>R!"]);
    world.close(&held.handle);
    world.env.run_until_idle();
    assert!(world.exists("e\\f"));
}

#[test]
fn a_key_means_one_file_at_a_time() {
    let world = World::new(119);
    world.put("there", b"");
    let held = world.hold("f", 1, "RH");
    for path in ["there", "new", "f:stream"] {
        let refused = world.try_hold(path, Some(1), "RH", |_| {});
        assert_eq!(outcome(refused.map(|_| ())), "InvalidParameter", "{path}");
    }
    assert!(!world.exists("new"), "nothing was made");
    world.close(&held.handle);
    let _held = world.hold("new", 1, "RWH");
    let refused = world.try_hold("there", Some(1), "R", |_| {});
    assert_eq!(outcome(refused.map(|_| ())), "InvalidParameter");
}

#[test]
fn streams_have_grants_of_their_own() {
    let world = World::new(120);
    let (file, stream) = (world.hold("f", 1, "RWH"), world.hold("f:s", 2, "RWH"));
    assert_eq!(
        (file.rights().as_str(), stream.rights().as_str()),
        ("RWH", "RWH")
    );
    let other = world.open_behind("f:s", |_| {});
    assert_eq!(stream.holder.told(), ["RWH>RH!"]);
    assert!(file.holder.told().is_empty() && other.lock().is_none());
}

#[test]
fn what_changes_in_a_directory_takes_its_listing_from_caches() {
    let world = World::new(121);
    let _made = world.directory("d");
    let hold = || {
        let open = |open: &mut OpenRequest<'_>| {
            open.options.directory = true;
            open.access = AccessMask::FILE_READ;
        };
        world.try_hold("d", Some(1), "RWH", open).unwrap()
    };
    let child = |name: &str, parent| {
        let opened = world.open(name, |open| open.parent_grant = parent);
        opened.unwrap().0
    };
    let held = hold();
    assert_eq!(held.rights(), "RH", "directories are not written to");
    let own = child("d\\own", Some(key(1)));
    world.wait(world.vfs.write(&own, 0, b"x")).unwrap();
    world.close(&own);
    assert!(held.holder.told().is_empty(), "its holder's own changes");
    let foreign = child("d\\foreign", None);
    assert_eq!(held.holder.told(), ["RH>!"]);
    world.answer(&held, "").unwrap();
    world.close(&held.handle);
    let held = hold();
    world.wait(world.vfs.write(&foreign, 0, b"x")).unwrap();
    assert!(held.holder.told().is_empty(), "not before it is closed");
    world.close(&foreign);
    assert_eq!(held.holder.told(), ["RH>!"]);
    world.close(&held.handle);
    assert!(world.vfs.is_unheard());
}
