//! Shares, sessions and volumes as rows.

use super::*;
use std::time::Duration;

use strongroom_store::Compression;

use crate::{SessionInfo, ShareChange};

#[test]
fn shares_survive_and_are_named_without_case() {
    let world = World::new(91);
    let listed = vec![user(1001).user];
    let new = NewShare {
        name: "Projects".into(),
        comment: "of the office".into(),
        read_only: true,
        users: Some(listed),
        encrypt: true,
        hide_unreadable: true,
        compression: Compression::Zstd,
        ..NewShare::default()
    };
    let made = world.vfs.add_share(new.clone()).unwrap();
    assert_eq!(outcome(world.vfs.add_share(new)), "Exists");
    let world = world.reopen();
    let share = world.vfs.share("PROJECTS").unwrap();
    assert_eq!(share, made);
    assert!(world.vfs.may_enter(&share, &user(1001)));
    assert!(!world.vfs.may_enter(&share, &user(1002)));
    assert!(world.vfs.may_enter(&share, &admin()));
    world.vfs.remove_share("projects").unwrap();
    assert_eq!(outcome(world.vfs.remove_share("projects")), "NotFound");
    let names: Vec<_> = world
        .vfs
        .shares()
        .iter()
        .map(|share| share.name.clone())
        .collect();
    assert_eq!(names, ["files"]);
}

#[test]
fn a_share_is_changed_for_files_opened_from_then_on() {
    let world = World::new(94);
    let stored = |world: &World, name: &str| {
        let before = world.vfs.store().space().unwrap().stored;
        world.put(name, &b"the same line over and over\n".repeat(10_000));
        world.wait(world.vfs.store().sync_all()).unwrap();
        world.wait(world.env.sleep(Duration::from_secs(5)));
        world.vfs.store().space().unwrap().stored - before
    };
    assert!(stored(&world, "plain") > 270_000);
    let change = ShareChange {
        compression: Some(Compression::Lz4),
    };
    let changed = world.vfs.change_share("FILES", change).unwrap();
    assert_eq!(changed.compression, Compression::Lz4);
    assert!(stored(&world, "compressed") < 30_000);
    let world = world.reopen();
    let share = world.vfs.share("files").unwrap();
    assert_eq!(share, changed);
    assert_eq!(world.vfs.share_by_id(share.id).unwrap(), share);
    let none = world.vfs.change_share("nobody's", change);
    assert_eq!(outcome(none), "NotFound");
}

#[test]
fn refuses_names_that_no_share_may_have() {
    let world = World::new(92);
    for name in ["", " a", "a/b", "a\\b", "IPC$", "ipc$", "a*", ".", ".."] {
        let new = NewShare {
            name: name.into(),
            ..NewShare::default()
        };
        assert_eq!(outcome(world.vfs.add_share(new)), "InvalidName", "{name:?}");
    }
    let long = NewShare {
        name: "x".repeat(81),
        ..NewShare::default()
    };
    assert_eq!(outcome(world.vfs.add_share(long)), "NameTooLong");
}

#[test]
fn sessions_are_recorded_with_start_and_end() {
    let world = World::new(93);
    let info = SessionInfo {
        user: user(1001).user,
        user_name: "anna".into(),
        address: "192.0.2.7".into(),
        protocol: "SMB 3.1.1".into(),
    };
    let first = world.vfs.begin_session(&info).unwrap();
    world.vfs.end_session(first).unwrap();
    let second = world.vfs.begin_session(&info).unwrap();
    assert_ne!(first, second);
    let world = world.reopen();
    let record = world.vfs.session(first).unwrap().unwrap();
    assert_eq!(record.info, info);
    assert!(record.ended.is_some());
    assert!(world.vfs.session(second).unwrap().unwrap().ended.is_none());
    assert!(
        world.vfs.begin_session(&info).unwrap().0 > second.0,
        "never given twice"
    );
}

#[test]
fn a_second_file_system_is_not_laid_over_the_first() {
    let world = World::new(94);
    let env: Arc<dyn Env> = Arc::clone(&world.env) as Arc<dyn Env>;
    let again = Vfs::create(Arc::clone(world.vfs.store()), env);
    assert_eq!(outcome(again), "Exists");
}

#[test]
fn a_newer_format_is_refused() {
    let world = World::new(95);
    let store = Arc::clone(world.vfs.store());
    let mut txn = store.txn(SessionId::SYSTEM);
    txn.put(
        crate::rows::COUNTERS,
        crate::rows::list_key(0),
        99u64.to_le_bytes().to_vec(),
    );
    txn.commit().unwrap();
    let env: Arc<dyn Env> = Arc::clone(&world.env) as Arc<dyn Env>;
    let opened = Vfs::open_store(store, env);
    assert!(opened.unwrap_err().to_string().contains("version 99"));
}

#[test]
fn on_a_full_pool_files_close_and_people_log_on_to_delete_some() {
    let world = World::new(95);
    world.disk.set_capacity(96 << 20);
    let info = || SessionInfo {
        user: user(1001).user,
        user_name: "anna".into(),
        address: "192.0.2.7".into(),
        protocol: "SMB 3.1.1".into(),
    };
    let session = world.vfs.begin_session(&info()).unwrap();
    let handle = world.file("big");
    let mut end = 0;
    for len in [1 << 20, 64 << 10, 4 << 10, 256] {
        let data = vec![7; len];
        while world.wait(world.vfs.write(&handle, end, &data)).is_ok() {
            end += data.len() as u64;
            assert!(end < 200 << 20, "a bounded disk fills up");
        }
        world.wait(world.vfs.store().sync_all()).unwrap();
    }
    let made = world.open("new", |_| {});
    assert_eq!(outcome(made), "NoSpace");
    world.close(&handle);
    world.vfs.end_session(session).unwrap();
    let again = world.vfs.begin_session(&info()).unwrap();
    world.remove("big").unwrap();
    world.vfs.end_session(again).unwrap();
}
