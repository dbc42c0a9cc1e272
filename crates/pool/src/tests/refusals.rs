use super::*;
use crate::checksum::{Seed, checksum};
use crate::{ErrorKind, OpenOptions};

fn refused(env: &Arc<SimEnv>, disks: &[Arc<SimDevice>]) -> PoolError {
    let error = open(env, disks).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    error
}

fn pick(disks: &[Arc<SimDevice>], indexes: &[usize]) -> Vec<Arc<SimDevice>> {
    indexes
        .iter()
        .map(|index| Arc::clone(&disks[*index]))
        .collect()
}

#[test]
fn refuses_a_disk_without_a_label() {
    let env = SimEnv::new(1);
    let error = refused(&env, &disks(&env, 1));
    assert!(
        matches!(&error, PoolError::NoLabel { device } if device == "disk0"),
        "{error}"
    );
}

#[test]
fn refuses_to_create_on_a_pool() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    drop(new_pool(&env, &disks, Layout::SINGLE));
    let before = disks[0].contents("label.0");
    let again = Pool::create(as_env(&env), as_devices(&disks), Layout::SINGLE);
    assert!(matches!(again, Err(PoolError::NotBlank { .. })));
    assert_eq!(disks[0].contents("label.0"), before);
    assert!(!Pool::is_blank(&*disks[0]).unwrap());
}

#[test]
fn a_creation_that_was_cut_off_may_be_repeated() {
    let env = SimEnv::new(1);
    let disks = disks(&env, 1);
    assert!(Pool::is_blank(&*disks[0]).unwrap());
    drop(Pool::create(as_env(&env), as_devices(&disks), Layout::SINGLE).unwrap());
    assert!(Pool::is_blank(&*disks[0]).unwrap());
    disks[0].flip("label.0", 20, 1);
    disks[0].replace("label.1", b"torn");
    assert!(Pool::is_blank(&*disks[0]).unwrap());
    new_pool(&env, &disks, Layout::SINGLE);
}

#[test]
fn refuses_a_disk_of_another_pool() {
    let env = SimEnv::new(1);
    let mut all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let other = SimDevice::new(&env, "other", 9);
    drop(new_pool(&env, &[Arc::clone(&other)], Layout::SINGLE));
    all.push(other);
    let error = refused(&env, &all);
    assert!(
        matches!(&error, PoolError::Foreign { device, .. } if device == "other"),
        "{error}"
    );
}

#[test]
fn refuses_one_disk_given_twice() {
    let env = SimEnv::new(1);
    let mut all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    all.push(all[0].duplicate("copy"));
    assert!(matches!(refused(&env, &all), PoolError::Duplicate { .. }));
}

#[test]
fn refuses_a_newer_format_even_where_a_mirror_would_do() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    for path in ["label.0", "label.1"] {
        let mut label = all[1].contents(path).unwrap();
        label[8] = 7;
        let seed = Seed::of(&[u64::from_le_bytes(*b"STRONGRM")]);
        let sum = checksum(seed, &label[..4088]);
        label[4088..].copy_from_slice(&sum.to_le_bytes());
        all[1].replace(path, &label);
    }
    let error = refused(&env, &all);
    assert!(
        matches!(
            error,
            PoolError::NewerFormat {
                found: 7,
                known: 3,
                ..
            }
        ),
        "{error}"
    );
    assert!(Pool::is_blank(&*all[1]).is_err());
}

#[test]
fn refuses_a_label_damaged_in_both_copies() {
    let env = SimEnv::new(1);
    let all = disks(&env, 1);
    drop(new_pool(&env, &all, Layout::SINGLE));
    all[0].flip("label.0", 40, 1);
    all[0].flip("label.1", 50, 1);
    assert!(matches!(
        refused(&env, &all),
        PoolError::CorruptLabel { .. }
    ));
}

#[test]
fn refuses_too_few_disks_by_name() {
    let env = SimEnv::new(1);
    let all = disks(&env, 3);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let error = refused(&env, &pick(&all, &[2]));
    assert!(
        matches!(
            error,
            PoolError::NotEnoughDisks {
                needed: 2,
                present: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(open(&env, &pick(&all, &[0, 2])).is_ok());
    let strict = OpenOptions {
        allow_degraded: false,
        ..OpenOptions::default()
    };
    let two = as_devices(&pick(&all, &[0, 2]));
    let error = Pool::open_with(as_env(&env), two, strict).unwrap_err();
    assert!(
        matches!(error, PoolError::NotEnoughDisks { needed: 3, .. }),
        "{error}"
    );
}

#[test]
fn an_unlabelled_disk_is_named_and_a_mirror_opens_without_it() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let unmounted = SimDevice::new(&env, "unmounted", 1);
    let pool = open(&env, &[Arc::clone(&all[0]), Arc::clone(&unmounted)]).unwrap();
    pool.begin_epoch(Txg(1), &[]).unwrap();
    let status = pool.status();
    let disk = status
        .disks
        .iter()
        .find(|disk| disk.name == "unmounted")
        .unwrap();
    assert_eq!(disk.state, crate::DiskState::Unusable);
    assert!(disk.reason.as_ref().unwrap().contains("no pool label"));
    assert!(unmounted.paths().is_empty());
}

#[test]
fn a_stale_disk_is_named_and_read_for_nothing() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    let alone = open(&env, &pick(&all, &[0])).unwrap();
    alone.begin_epoch(Txg(5), &[]).unwrap();
    append_synced(&alone, 1, b"after").unwrap();
    drop(alone);
    let pool = open(&env, &all).unwrap();
    let status = pool.status();
    assert_eq!(status.disks[1].state, crate::DiskState::Stale);
    assert!(
        status.disks[1]
            .reason
            .as_ref()
            .unwrap()
            .contains("missed epochs")
    );
    assert!(
        pool.homes("log")
            .iter()
            .all(|home| home.device.name() == "disk0")
    );
    let writes = all[1].paths();
    pool.begin_epoch(Txg(6), &[]).unwrap();
    append_synced(&pool, 2, b"more").unwrap();
    assert_eq!(all[1].paths(), writes);
}

#[test]
fn disks_used_apart_are_refused_by_name() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    for index in [0, 1] {
        let alone = open(&env, &pick(&all, &[index])).unwrap();
        alone.begin_epoch(Txg(5), &[]).unwrap();
    }
    let error = refused(&env, &all);
    let text = error.to_string();
    assert!(matches!(error, PoolError::Diverged { .. }), "{text}");
    assert!(text.contains("disk0") && text.contains("disk1"), "{text}");
}

#[test]
fn refuses_layouts_that_there_are_not() {
    let env = SimEnv::new(1);
    let all = disks(&env, 6);
    for (data, parity) in [(0, 1), (17, 2), (4, 5)] {
        let layout = Layout { data, parity };
        let error = Pool::create(as_env(&env), as_devices(&all), layout).unwrap_err();
        assert!(error.to_string().contains("there is no layout"), "{error}");
    }
    let error = Pool::create(as_env(&env), as_devices(&all[..1]), Layout::MIRROR).unwrap_err();
    assert!(matches!(
        error,
        PoolError::TooFewDisks {
            needed: 2,
            given: 1,
            ..
        }
    ));
}

#[test]
fn opening_writes_nothing() {
    let env = SimEnv::new(1);
    let all = disks(&env, 2);
    drop(new_pool(&env, &all, Layout::MIRROR));
    all[0].flip("label.0", 40, 1);
    let before: Vec<_> = all[0]
        .paths()
        .iter()
        .map(|path| all[0].contents(path))
        .collect();
    drop(open(&env, &all).unwrap());
    let after: Vec<_> = all[0]
        .paths()
        .iter()
        .map(|path| all[0].contents(path))
        .collect();
    assert_eq!(before, after);
}
