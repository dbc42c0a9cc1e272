//! Byte-range locks (MS-FSA 2.1.4.10, 2.1.5.8, 2.1.5.9).

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::{LockOwner, LockRange};

fn range(offset: u64, len: u64, exclusive: bool) -> LockRange {
    LockRange {
        offset,
        len,
        exclusive,
    }
}

const ME: LockOwner = LockOwner(0);

#[test]
fn locks_conflict_as_their_table_says() {
    // (held, wanted, by another handle, by the same handle).
    let table = [
        (range(0, 10, true), range(5, 10, true), false, false),
        (range(0, 10, true), range(5, 10, false), false, true),
        (range(0, 10, false), range(5, 10, false), true, true),
        (range(0, 10, false), range(5, 10, true), false, false),
        (range(0, 10, true), range(10, 10, true), true, true),
        // Ranges without length lie between two bytes.
        (range(0, 10, true), range(5, 0, true), false, false),
        (range(0, 10, true), range(0, 0, true), true, true),
        (range(0, 10, true), range(10, 0, true), true, true),
        (range(5, 0, true), range(0, 10, true), false, false),
        (range(5, 0, true), range(5, 0, true), true, true),
        // Up to the last byte of 64 bits.
        (
            range(u64::MAX, 1, true),
            range(u64::MAX - 1, 2, true),
            false,
            false,
        ),
    ];
    let world = World::new(41);
    for (held, wanted, other_may, same_may) in table {
        let (first, second) = (world.file("f"), world.file("f"));
        world.vfs.lock(&first, ME, &[held]).unwrap();
        let expected = |may| if may { "Ok" } else { "LockNotGranted" };
        let by_other = world.vfs.lock(&second, ME, &[wanted]);
        assert_eq!(
            outcome(by_other),
            expected(other_may),
            "{held:?} {wanted:?}"
        );
        world.close(&second);
        let by_same = world.vfs.lock(&first, ME, &[wanted]);
        assert_eq!(outcome(by_same), expected(same_may), "{held:?} {wanted:?}");
        world.close(&first);
    }
}

#[test]
fn locks_keep_others_from_reading_and_everyone_from_writing_under_shared_ones() {
    let world = World::new(42);
    world.put("f", &[1; 100]);
    let (mine, other) = (world.file("f"), world.file("f"));
    let read = |handle: &Handle, offset| world.vfs.read(handle, offset, &mut [0; 10]);
    let write = |handle: &Handle, offset| world.wait(world.vfs.write(handle, offset, &[2; 10]));
    world
        .vfs
        .lock(&mine, ME, &[range(0, 10, true), range(50, 10, false)])
        .unwrap();
    assert_eq!(outcome(read(&other, 5)), "LockConflict");
    assert_eq!(outcome(write(&other, 5)), "LockConflict");
    assert_eq!(outcome(read(&mine, 5)), "Ok");
    assert_eq!(outcome(write(&mine, 0)), "Ok");
    assert_eq!(outcome(read(&other, 50)), "Ok");
    assert_eq!(outcome(write(&other, 45)), "LockConflict");
    assert_eq!(
        outcome(write(&mine, 55)),
        "LockConflict",
        "also for who holds it"
    );
    assert_eq!(outcome(write(&other, 60)), "Ok");
    assert_eq!(
        outcome(world.wait(world.vfs.set_size(&other, 55))),
        "LockConflict"
    );
    assert_eq!(
        outcome(world.wait(world.vfs.zero_range(&other, 5, 1))),
        "LockConflict"
    );
    world.close(&mine);
    assert_eq!(outcome(write(&other, 5)), "Ok", "closing frees");
}

#[test]
fn several_ranges_are_locked_all_or_none() {
    let world = World::new(43);
    let (first, second) = (world.file("f"), world.file("f"));
    world.vfs.lock(&first, ME, &[range(20, 1, true)]).unwrap();
    let both = [range(0, 10, true), range(20, 1, true)];
    assert_eq!(
        outcome(world.vfs.lock(&second, ME, &both)),
        "LockNotGranted"
    );
    assert_eq!(
        outcome(world.vfs.unlock(&second, ME, 0, 10)),
        "RangeNotLocked"
    );
    assert_eq!(
        outcome(world.vfs.unlock(&first, ME, 20, 2)),
        "RangeNotLocked"
    );
    world.vfs.unlock(&first, ME, 20, 1).unwrap();
    world.vfs.lock(&second, ME, &both).unwrap();
    let beyond = [range(u64::MAX, 2, true)];
    assert_eq!(outcome(world.vfs.lock(&first, ME, &beyond)), "InvalidRange");
}

#[test]
fn waiting_ends_by_unlock_by_cancel_and_by_close() {
    let world = World::new(44);
    let (holder, waiter) = (world.file("f"), world.file("f"));
    let wanted = range(0, 1, true);
    world.vfs.lock(&holder, ME, &[wanted]).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    {
        let mut cancelled = pin!(world.vfs.lock_wait(&waiter, ME, wanted).unwrap());
        assert!(cancelled.as_mut().poll(&mut context).is_pending());
    }
    let mut wait = pin!(world.vfs.lock_wait(&waiter, ME, wanted).unwrap());
    assert!(wait.as_mut().poll(&mut context).is_pending());
    world.vfs.unlock(&holder, ME, 0, 1).unwrap();
    assert!(matches!(
        wait.as_mut().poll(&mut context),
        Poll::Ready(Ok(()))
    ));
    let mut closed = pin!(world.vfs.lock_wait(&holder, ME, wanted).unwrap());
    assert!(closed.as_mut().poll(&mut context).is_pending());
    world.close(&holder);
    assert!(matches!(
        closed.as_mut().poll(&mut context),
        Poll::Ready(Err(VfsError::Closed))
    ));
}

#[test]
fn streams_are_locked_apart() {
    let world = World::new(45);
    world.put("f", b"1");
    world.put("f:s", b"2");
    let (file, stream) = (world.file("f"), world.file("f:s"));
    world.vfs.lock(&file, ME, &[range(0, 10, true)]).unwrap();
    world.vfs.lock(&stream, ME, &[range(0, 10, true)]).unwrap();
    assert_eq!(world.content(&stream).unwrap(), b"2");
    let directory = world.directory("d");
    let refused = world.vfs.lock(&directory, ME, &[range(0, 1, true)]);
    assert_eq!(outcome(refused), "InvalidParameter");
}

#[test]
fn a_handle_that_closes_between_check_and_table_gets_no_lock() {
    let world = World::new(48);
    let (handle, other) = (world.file("f"), world.file("f"));
    world.close(&handle);
    let late = handle.node.locks.lock(&handle, ME, &[range(0, 10, true)]);
    assert_eq!(outcome(late), "Closed");
    world.vfs.lock(&other, ME, &[range(0, 10, true)]).unwrap();
}
