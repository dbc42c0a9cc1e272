//! Access control: the check, inheritance, the codec, modes, and opens that heed them.

use super::*;
use crate::acl::{
    self, Ace, AceFlags, Acl, AclSlot, Control, Creation, SecurityDescriptor, SecurityParts,
};

const NONE: AceFlags = AceFlags(0);
const CI: AceFlags = AceFlags::CONTAINER_INHERIT;
const OI: AceFlags = AceFlags::OBJECT_INHERIT;
const IO: AceFlags = AceFlags::INHERIT_ONLY;
const ID: AceFlags = AceFlags::INHERITED;
const READ: AccessMask = AccessMask::FILE_READ;
const WRITE: AccessMask = AccessMask::FILE_WRITE;

fn descriptor(owner: Sid, aces: Vec<Ace>) -> SecurityDescriptor {
    SecurityDescriptor {
        owner: Some(owner),
        group: Some(Sid::USERS),
        dacl: AclSlot::Present(Acl { aces }),
        ..SecurityDescriptor::default()
    }
}

fn check(aces: Vec<Ace>, desired: AccessMask) -> String {
    let sd = descriptor(Sid::ADMINISTRATORS, aces);
    match acl::access_check(&sd, &user(1001), desired) {
        Ok(granted) => format!("{:x}", granted.0),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn the_access_check_judges_entries_in_their_order() {
    // MS-DTYP 2.5.3.2.
    let me = user(1001).user;
    let data = AccessMask::READ_DATA;
    let both = data | AccessMask::WRITE_DATA;
    assert_eq!(check(vec![], data), "AccessDenied");
    assert_eq!(check(vec![Ace::allow(me, data, NONE)], data), "1");
    assert_eq!(
        check(vec![Ace::allow(me, data, NONE)], both),
        "AccessDenied"
    );
    let parts = vec![
        Ace::allow(me, data, NONE),
        Ace::allow(Sid::USERS, both, NONE),
    ];
    assert_eq!(check(parts, both), "3");
    let deny_first = vec![
        Ace::deny(Sid::USERS, data, NONE),
        Ace::allow(me, data, NONE),
    ];
    assert_eq!(check(deny_first, data), "AccessDenied");
    let allow_first = vec![
        Ace::allow(me, data, NONE),
        Ace::deny(Sid::USERS, data, NONE),
    ];
    assert_eq!(check(allow_first, data), "1");
    assert_eq!(
        check(vec![Ace::allow(me, data, IO.union(OI))], data),
        "AccessDenied"
    );
    let generic = vec![Ace::allow(me, AccessMask::GENERIC_READ, NONE)];
    assert_eq!(check(generic, AccessMask::GENERIC_READ), "120089");
    let maximum = vec![
        Ace::deny(me, AccessMask::WRITE_DATA, NONE),
        Ace::allow(me, both, NONE),
    ];
    assert_eq!(check(maximum, AccessMask::MAXIMUM_ALLOWED), "1");
    let system = AccessMask::ACCESS_SYSTEM_SECURITY;
    assert_eq!(
        check(vec![Ace::allow(me, system, NONE)], system),
        "PrivilegeNotHeld"
    );
    assert_eq!(check(vec![], AccessMask::MAXIMUM_ALLOWED), "AccessDenied");
}

#[test]
fn owners_may_always_change_the_list_unless_owner_rights_say_otherwise() {
    let me = user(1001);
    let rights = AccessMask::READ_CONTROL | AccessMask::WRITE_DAC;
    let sd = descriptor(me.user, vec![]);
    assert_eq!(acl::maximal_access(&sd, &me), rights);
    assert_eq!(acl::maximal_access(&sd, &user(1002)), AccessMask::NONE);
    let limited = vec![Ace::allow(
        Sid::OWNER_RIGHTS,
        AccessMask::READ_CONTROL,
        NONE,
    )];
    let sd = descriptor(me.user, limited);
    assert_eq!(acl::maximal_access(&sd, &me), AccessMask::READ_CONTROL);
    let open = SecurityDescriptor {
        dacl: AclSlot::Null,
        ..descriptor(Sid::USERS, vec![])
    };
    assert_eq!(
        acl::maximal_access(&open, &user(1002)),
        AccessMask::FILE_ALL
    );
    let taken = acl::access_check(
        &descriptor(me.user, vec![]),
        &admin(),
        AccessMask::WRITE_OWNER,
    );
    assert_eq!(
        taken.unwrap(),
        AccessMask::WRITE_OWNER,
        "a privilege of administrators"
    );
}

#[test]
fn children_inherit_as_the_flags_say() {
    // MS-DTYP 2.5.3.4: (flags on the parent, flags on a file, flags on a directory).
    let np = AceFlags::NO_PROPAGATE;
    let table = [
        (NONE, None, None),
        (OI, Some(ID), Some(OI.union(IO).union(ID))),
        (CI, None, Some(CI.union(ID))),
        (OI.union(CI), Some(ID), Some(OI.union(CI).union(ID))),
        (
            OI.union(CI).union(IO),
            Some(ID),
            Some(OI.union(CI).union(ID)),
        ),
        (OI.union(CI).union(np), Some(ID), Some(ID)),
        (OI.union(np), Some(ID), None),
        (CI.union(np), None, Some(ID)),
    ];
    for (flags, file, directory) in table {
        let mut parent = descriptor(
            Sid::ADMINISTRATORS,
            vec![Ace::allow(Sid::USERS, READ, flags)],
        );
        parent.control = Control::DACL_AUTO_INHERITED;
        for (is_directory, expected) in [(false, file), (true, directory)] {
            let creator = user(1001);
            let creation = Creation {
                parent: &parent,
                given: None,
                is_directory,
                creator: &creator,
            };
            let child = acl::inherit(&creation);
            let aces = &child.dacl.acl().unwrap().aces;
            match expected {
                Some(flags) => assert_eq!(*aces, [Ace::allow(Sid::USERS, READ, flags)]),
                // Nothing inherited: the owner and the system.
                None => assert_eq!(aces.len(), 2, "{flags:?} {is_directory}"),
            }
        }
    }
}

#[test]
fn what_the_parent_inherited_is_not_inherited_by_that_alone() {
    let mut parent = descriptor(
        Sid::ADMINISTRATORS,
        vec![Ace::allow(Sid::USERS, READ, OI.union(CI).union(ID))],
    );
    let creator = user(1001);
    for (control, expected) in [
        (Control::default(), NONE),
        (Control::DACL_AUTO_INHERITED, ID),
    ] {
        parent.control = control;
        let creation = Creation {
            parent: &parent,
            given: None,
            is_directory: false,
            creator: &creator,
        };
        let child = acl::inherit(&creation);
        let aces = &child.dacl.acl().unwrap().aces;
        assert_eq!(*aces, [Ace::allow(Sid::USERS, READ, expected)]);
    }
}

#[test]
fn creator_owner_becomes_the_creator_and_stays_for_children() {
    let flags = OI.union(CI).union(IO);
    let mut parent = descriptor(
        Sid::ADMINISTRATORS,
        vec![Ace::allow(Sid::CREATOR_OWNER, READ, flags)],
    );
    parent.control = Control::DACL_AUTO_INHERITED;
    let creator = user(1001);
    let inherit = |is_directory| {
        let creation = Creation {
            parent: &parent,
            given: None,
            is_directory,
            creator: &creator,
        };
        acl::inherit(&creation).dacl.acl().unwrap().aces.clone()
    };
    assert_eq!(inherit(false), [Ace::allow(creator.user, READ, ID)]);
    let for_children = Ace::allow(Sid::CREATOR_OWNER, READ, flags.union(ID));
    assert_eq!(
        inherit(true),
        [Ace::allow(creator.user, READ, ID), for_children]
    );
}

#[test]
fn descriptors_round_trip_and_every_cut_is_refused() {
    let mut sd = descriptor(
        user(1001).user,
        vec![
            Ace::allow(Sid::EVERYONE, READ, OI),
            Ace::deny(Sid::USERS, WRITE, CI.union(ID)),
        ],
    );
    sd.sacl = AclSlot::Present(Acl {
        aces: vec![Ace {
            kind: acl::AceKind::Other {
                kind: 17,
                body: vec![1; 16],
            },
            flags: NONE,
        }],
    });
    sd.control = Control::DACL_PROTECTED.union(Control::SACL_AUTO_INHERITED);
    let bytes = sd.to_bytes();
    assert_eq!(SecurityDescriptor::from_bytes(&bytes).unwrap(), sd);
    // The owner comes before the group, and the group ends the bytes: any cut loses part of something.
    for len in 0..bytes.len() {
        assert!(
            SecurityDescriptor::from_bytes(&bytes[..len]).is_err(),
            "{len}"
        );
    }
    let null = SecurityDescriptor {
        dacl: AclSlot::Null,
        ..SecurityDescriptor::default()
    };
    assert_eq!(
        SecurityDescriptor::from_bytes(&null.to_bytes()).unwrap(),
        null
    );
    let absent = SecurityDescriptor::default();
    assert_eq!(
        SecurityDescriptor::from_bytes(&absent.to_bytes()).unwrap(),
        absent
    );
}

#[test]
fn hostile_descriptors_neither_panic_nor_grow() {
    let sd = descriptor(Sid::USERS, vec![Ace::allow(Sid::EVERYONE, READ, OI)]);
    let good = sd.to_bytes();
    let mut rng = strongroom_device::sim::Rng::new(1);
    for _ in 0..50_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = [0, 1, 0x7F, 0xFF, bytes[at] ^ 8][rng.below(5)];
        }
        if let Ok(sd) = SecurityDescriptor::from_bytes(&bytes) {
            assert!(sd.encoded_len() <= 4 * bytes.len());
        }
    }
}

#[test]
fn modes_come_back_as_they_were_set() {
    let (owner, group) = (user(1001).user, Sid::USERS);
    for mode in 0..0o1000 {
        for is_directory in [false, true] {
            let sd = acl::descriptor_with_mode(owner, group, mode, is_directory);
            assert_eq!(acl::mode_of(&sd), mode, "{mode:o}");
            let again = acl::with_mode(&sd, 0o750, is_directory);
            assert_eq!(acl::mode_of(&again), 0o750);
        }
    }
    let mut sd = acl::descriptor_with_mode(owner, group, 0o640, false);
    let other = user(1002).user;
    if let AclSlot::Present(list) = &mut sd.dacl {
        list.aces.insert(0, Ace::allow(other, READ | WRITE, NONE));
    }
    let narrowed = acl::with_mode(&sd, 0o640, false);
    let rights = acl::maximal_access(&narrowed, &user(1002));
    assert!(
        rights.contains(AccessMask::READ_DATA),
        "named users keep what the group bits allow"
    );
    assert!(!rights.intersects(AccessMask::WRITE_DATA));
}

fn set(world: &World, handle: &Handle, aces: Vec<Ace>) -> Result<()> {
    let sd = descriptor(user(1000).user, aces);
    world.wait(world.vfs.set_security(handle, SecurityParts::DACL, &sd))
}

fn with_dac(world: &World, path: &str) -> Arc<Handle> {
    let access = AccessMask::WRITE_DAC | AccessMask::READ_CONTROL | AccessMask::READ_ATTRIBUTES;
    world
        .open(path, |request| request.access = access)
        .unwrap()
        .0
}

#[test]
fn opens_heed_the_list_and_what_the_parent_gives() {
    let world = World::new(81);
    world.close(&world.directory("d"));
    world.put("d\\f", b"x");
    let me = user(1000).user;
    let handle = with_dac(&world, "d\\f");
    set(&world, &handle, vec![Ace::allow(me, READ, NONE)]).unwrap();
    world.close(&handle);
    let open = |who: &Credentials, access| {
        world.open_as(who, "d\\f", |request| {
            request.access = access;
            request.disposition = Disposition::Open;
        })
    };
    assert_eq!(outcome(open(&user(1000), AccessMask::READ_DATA)), "Ok");
    assert_eq!(
        outcome(open(&user(1000), AccessMask::WRITE_DATA)),
        "AccessDenied"
    );
    assert_eq!(
        outcome(open(&user(1002), AccessMask::READ_DATA)),
        "AccessDenied"
    );
    // Listing the parent lets one see attributes; DELETE_CHILD there lets one delete.
    assert_eq!(
        outcome(open(&user(1002), AccessMask::READ_ATTRIBUTES)),
        "Ok"
    );
    assert_eq!(
        outcome(open(&user(1002), AccessMask::DELETE)),
        "AccessDenied"
    );
    let parent = with_dac(&world, "d");
    let all = Ace::allow(Sid::EVERYONE, AccessMask::FILE_ALL, NONE);
    set(&world, &parent, vec![all]).unwrap();
    assert_eq!(outcome(open(&user(1002), AccessMask::DELETE)), "Ok");
    let (handle, _) = open(&user(1000), AccessMask::MAXIMUM_ALLOWED).unwrap();
    assert!(handle.granted().contains(AccessMask::DELETE | READ));
    assert!(!handle.granted().intersects(AccessMask::WRITE_DATA));
    // Passing through a closed directory needs no right; adding to it does.
    set(&world, &parent, vec![Ace::allow(me, READ, NONE)]).unwrap();
    assert_eq!(outcome(open(&user(1000), AccessMask::READ_DATA)), "Ok");
    assert_eq!(outcome(world.open("d\\new", |_| {})), "AccessDenied");
}

#[test]
fn descriptors_survive_and_are_shared_by_siblings() {
    let world = World::new(82);
    for n in 0..200 {
        world.put(&format!("f{n}"), b"");
    }
    let root = world.share.root;
    let (start, end) = (
        crate::rows::key_of(root, &[1]),
        crate::rows::key_of(root, &[2]),
    );
    let shared = world
        .vfs
        .store()
        .scan(crate::rows::SECURITY, &start, &end, 100)
        .unwrap();
    assert_eq!(shared.len(), 1, "two hundred files, one descriptor");
    let parts = SecurityParts(7);
    let before = world.vfs.security(&with_dac(&world, "f7"), parts).unwrap();
    let world = world.reopen();
    assert_eq!(
        world.vfs.security(&with_dac(&world, "f7"), parts).unwrap(),
        before
    );
    assert_eq!(before.owner, Some(user(1000).user));
}

#[test]
fn many_different_descriptors_do_not_pile_up_in_the_directory() {
    let world = World::new(83);
    for n in 0..100u32 {
        let sd = descriptor(
            user(1000).user,
            vec![Ace::allow(user(n).user, AccessMask::FILE_ALL, NONE)],
        );
        let (handle, _) = world
            .open(&format!("f{n}"), |r| r.security = Some(sd))
            .unwrap();
        world.close(&handle);
    }
    let root = world.share.root;
    let (start, end) = (
        crate::rows::key_of(root, &[1]),
        crate::rows::key_of(root, &[2]),
    );
    let shared = world
        .vfs
        .store()
        .scan(crate::rows::SECURITY, &start, &end, 1_000)
        .unwrap();
    assert_eq!(shared.len(), 64);
    let world = world.reopen();
    let last = world.open_as(&user(99), "f99", |r| r.access = AccessMask::READ_DATA);
    assert_eq!(outcome(last), "Ok");
}

#[test]
fn owners_are_named_by_themselves_or_by_administrators() {
    let world = World::new(84);
    world.put("f", b"");
    let access = AccessMask::WRITE_OWNER;
    let set_owner = |who: &Credentials, owner: Sid| {
        let (handle, _) = world.open_as(who, "f", |request| request.access = access)?;
        let sd = descriptor(owner, vec![]);
        let done = world.wait(world.vfs.set_security(&handle, SecurityParts::OWNER, &sd));
        world.close(&handle);
        done
    };
    assert_eq!(
        outcome(set_owner(&user(1002), user(1002).user)),
        "AccessDenied"
    );
    assert_eq!(
        outcome(set_owner(&user(1000), user(1002).user)),
        "InvalidOwner"
    );
    assert_eq!(outcome(set_owner(&admin(), user(1002).user)), "Ok");
    let (handle, _) = world
        .open_as(&admin(), "f", |r| r.access = AccessMask::READ_CONTROL)
        .unwrap();
    let owner = world
        .vfs
        .security(&handle, SecurityParts::OWNER)
        .unwrap()
        .owner;
    assert_eq!(owner, Some(user(1002).user));
}

#[test]
fn chmod_and_back_through_a_handle() {
    let world = World::new(85);
    let handle = with_dac(&world, "f");
    world.wait(world.vfs.set_mode(&handle, 0o4600)).unwrap();
    assert_eq!(world.vfs.mode(&handle).unwrap(), 0o4600);
    assert_eq!(
        outcome(world.open_as(&user(2000), "f", |r| r.access = READ)),
        "AccessDenied"
    );
}

#[test]
fn protection_from_inheritance_needs_the_right_to_its_list() {
    let world = World::new(86);
    world.put("f", b"");
    let sd = descriptor(user(1000).user, vec![]);
    let set = |access: AccessMask, parts: SecurityParts| {
        let who = admin();
        let (handle, _) = world.open_as(&who, "f", |r| r.access = access).unwrap();
        let done = world.wait(world.vfs.set_security(&handle, parts, &sd));
        world.close(&handle);
        outcome(done)
    };
    let read = AccessMask::READ_CONTROL;
    let rules = [
        (SecurityParts::PROTECTED_DACL, AccessMask::WRITE_DAC),
        (SecurityParts::UNPROTECTED_DACL, AccessMask::WRITE_DAC),
        (
            SecurityParts::PROTECTED_SACL,
            AccessMask::ACCESS_SYSTEM_SECURITY,
        ),
        (
            SecurityParts::UNPROTECTED_SACL,
            AccessMask::ACCESS_SYSTEM_SECURITY,
        ),
    ];
    for (part, right) in rules {
        assert_eq!(set(read, part), "AccessDenied", "{part:?}");
        assert_eq!(set(right, part), "Ok", "{part:?}");
    }
}

#[test]
fn setting_no_part_changes_nothing() {
    let world = World::new(87);
    let handle = world.file("f");
    let before = world.vfs.stat(&handle).unwrap();
    let sd = descriptor(user(1000).user, vec![]);
    for parts in [SecurityParts(0), SecurityParts::LABEL] {
        let done = world.wait(world.vfs.set_security(&handle, parts, &sd));
        assert_eq!(outcome(done), "Ok");
    }
    let after = world.vfs.stat(&handle).unwrap();
    assert_eq!(
        (before.changed, before.version),
        (after.changed, after.version)
    );
}

#[test]
fn setting_a_list_that_is_not_there_leaves_one_that_denies_nothing() {
    let world = World::new(88);
    let handle = with_dac(&world, "f");
    let sd = SecurityDescriptor::default();
    let set = world.vfs.set_security(&handle, SecurityParts::DACL, &sd);
    world.wait(set).unwrap();
    let got = world.vfs.security(&handle, SecurityParts::DACL).unwrap();
    assert_eq!(got.dacl, AclSlot::Null);
}

#[test]
fn what_children_would_inherit_beyond_the_format_refuses_them_and_harms_nothing() {
    let world = World::new(88);
    // An entry for CREATOR OWNER becomes two in each directory below.
    let entries = |count: usize| {
        let mut aces = vec![Ace::allow(Sid::EVERYONE, AccessMask::FILE_ALL, CI)];
        aces.extend((0..count).map(|_| Ace::allow(Sid::CREATOR_OWNER, READ, CI)));
        aces
    };
    let own = |request: &mut OpenRequest<'_>| {
        request.options.directory = true;
        request.access = AccessMask::FILE_ALL;
    };
    let (directory, _) = world.open("d", own).unwrap();
    set(&world, &directory, entries(2_500)).unwrap();
    let made = world.open("d\\below", |request| request.options.directory = true);
    assert_eq!(outcome(made), "InvalidSecurity");
    set(&world, &directory, entries(10)).unwrap();
    world.close(&directory);
    let world = world.reopen();
    world.close(&world.directory("d\\below"));
    world.put("d\\f", b"x");
}

#[test]
fn a_list_longer_than_its_length_can_say_is_not_stored() {
    let world = World::new(89);
    let handle = with_dac(&world, "f");
    let one = Ace::allow(Sid::EVERYONE, READ, NONE);
    let refused = set(&world, &handle, vec![one; 65_536 / 20]);
    assert_eq!(outcome(refused), "InvalidSecurity");
    assert!(world.vfs.security(&handle, SecurityParts::DACL).is_ok());
}
