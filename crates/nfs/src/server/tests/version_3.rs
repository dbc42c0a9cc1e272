//! NFS 3 and MOUNT.

use super::{Client, World};
use crate::rpc::{MOUNT, NFS, PORTMAP};
use crate::server::HANDLE_LEN;
use crate::v3::types::{
    CreateArgs, CreateHow, FileArgs, LinkArgs, MkdirArgs, NameArgs, RangeArgs, ReaddirArgs, Sattr,
    TimeHow, WriteArgs,
};
use crate::xdr::{Decoder, Encoder, Opaque, Xdr};

const OK: u32 = 0;

pub(super) const PLAIN: Sattr = Sattr {
    mode: Some(0o644),
    user: None,
    group: None,
    size: None,
    accessed: TimeHow::Keep,
    modified: TimeHow::Keep,
};

impl Client {
    pub(super) fn mount(&mut self, path: &str) -> Result<Vec<u8>, u32> {
        let answer = self.ask(MOUNT, 3, 1, &Opaque::<1024>(path.as_bytes()).to_xdr());
        let mut from = Decoder::new(&answer);
        match from.u32().unwrap() {
            OK => Ok(from.opaque(64, "handle").unwrap().to_vec()),
            status => Err(status),
        }
    }

    /// Status and what follows.
    fn nfs<'a>(&mut self, procedure: u32, args: &impl Xdr<'a>) -> (u32, Vec<u8>) {
        let answer = self.ask(NFS, 3, procedure, &args.to_xdr());
        (Decoder::new(&answer).u32().unwrap(), answer[4..].to_vec())
    }

    fn create(&mut self, directory: &[u8], name: &str, how: CreateHow) -> Result<Vec<u8>, u32> {
        let place = at(directory, name);
        let (status, rest) = self.nfs(8, &CreateArgs { place, how });
        handle_of(status, &rest)
    }

    fn write(&mut self, file: &[u8], offset: u64, data: &[u8], stable: u32) -> u32 {
        let args = WriteArgs {
            file: Opaque(file),
            offset,
            count: crate::xdr::length(data.len()),
            stable,
            data: Opaque(data),
        };
        self.nfs(7, &args).0
    }

    fn read(&mut self, file: &[u8], offset: u64, count: u32) -> (Vec<u8>, bool) {
        let args = RangeArgs {
            file: Opaque(file),
            offset,
            count,
        };
        let (status, rest) = self.nfs(6, &args);
        assert_eq!(status, OK);
        let mut from = Decoder::new(&rest[88..]);
        let (count, at_end) = (from.u32().unwrap(), from.bool().unwrap());
        let data = from.opaque(1 << 20, "data").unwrap();
        assert_eq!(crate::xdr::length(data.len()), count);
        (data.to_vec(), at_end)
    }
}

fn at<'a>(directory: &'a [u8], name: &'a str) -> NameArgs<'a> {
    NameArgs {
        directory: Opaque(directory),
        name: Opaque(name.as_bytes()),
    }
}

fn handle_of(status: u32, rest: &[u8]) -> Result<Vec<u8>, u32> {
    if status != OK {
        return Err(status);
    }
    let mut from = Decoder::new(rest);
    assert!(from.bool().unwrap());
    Ok(from.opaque(64, "handle").unwrap().to_vec())
}

#[test]
fn a_share_is_mounted_only_where_it_is_exported_to() {
    let mut client = World::new().client();
    assert_eq!(client.mount("/unix").unwrap().len(), HANDLE_LEN);
    assert_eq!(client.mount("/elsewhere"), Err(13));
    assert_eq!(client.mount("/nothing"), Err(2));
}

#[test]
fn files_are_made_written_read_linked_and_removed() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    let file = client
        .create(&root, "f", CreateHow::Guarded(PLAIN))
        .unwrap();
    assert_eq!(
        client.create(&root, "f", CreateHow::Guarded(PLAIN)),
        Err(17)
    );
    assert_eq!(client.write(&file, 3, b"hello", 0), OK);
    assert_eq!(client.write(&file, 8, b" world", 2), OK);
    assert_eq!(
        client.read(&file, 0, 100),
        (Vec::from(b"\0\0\0hello world"), true)
    );
    assert_eq!(client.read(&file, 3, 5), (Vec::from(b"hello"), false));
    let link = LinkArgs {
        file: Opaque(&file),
        place: at(&root, "g"),
    };
    assert_eq!(client.nfs(15, &link).0, OK);
    assert_eq!(client.nfs(12, &at(&root, "f")).0, OK);
    assert_eq!(client.nfs(3, &at(&root, "f")).0, 2);
    assert_eq!(client.nfs(12, &at(&root, "g")).0, OK);
    assert_eq!(
        client
            .nfs(
                1,
                &FileArgs {
                    file: Opaque(&file)
                }
            )
            .0,
        70
    );
}

#[test]
fn another_user_is_refused_what_the_mode_does_not_give() {
    let world = World::new();
    let mut owner = world.client();
    let root = owner.mount("/unix").unwrap();
    let private = Sattr {
        mode: Some(0o600),
        ..PLAIN
    };
    let file = owner
        .create(&root, "f", CreateHow::Guarded(private))
        .unwrap();
    let mut other = world.client();
    other.user = 1001;
    assert_eq!(other.write(&file, 0, b"x", 0), 13);
    other.user = 0;
    assert_eq!(other.write(&file, 0, b"x", 0), OK);
}

#[test]
fn a_read_only_export_takes_no_changes() {
    let mut client = World::new().client();
    let root = client.mount("/squashed").unwrap();
    let made = client.create(&root, "f", CreateHow::Guarded(PLAIN));
    assert!(matches!(made, Err(13 | 30)), "{made:?}");
}

#[test]
fn a_call_sent_twice_is_done_once() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    let args = MkdirArgs {
        place: at(&root, "d"),
        attributes: PLAIN,
    };
    let record = client.call(NFS, 3, 9, &args.to_xdr());
    let first = client.exchange(&record).unwrap();
    assert_eq!(client.exchange(&record).unwrap(), first);
    // Another call of the same kind finds the directory there.
    assert_eq!(client.nfs(9, &args).0, 17);
}

#[test]
fn an_exclusive_creation_is_known_by_its_verifier() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    let file = client
        .create(&root, "f", CreateHow::Exclusive([1; 8]))
        .unwrap();
    assert_eq!(
        client.create(&root, "f", CreateHow::Exclusive([1; 8])),
        Ok(file)
    );
    assert_eq!(
        client.create(&root, "f", CreateHow::Exclusive([2; 8])),
        Err(17)
    );
}

#[test]
fn listings_come_in_pages_of_any_size() {
    let mut client = World::new().client();
    let root = client.mount("/unix").unwrap();
    for n in 0..50 {
        client
            .create(&root, &format!("file-{n}"), CreateHow::Guarded(PLAIN))
            .unwrap();
    }
    let (mut names, mut cookie, mut pages) = (Vec::new(), 0, 0);
    loop {
        let args = ReaddirArgs {
            directory: Opaque(&root),
            cookie,
            verifier: [0; 8],
            count: 400,
        };
        let (status, rest) = client.nfs(16, &args);
        assert_eq!(status, OK);
        assert!(rest.len() + 4 <= 400);
        let mut from = Decoder::new(&rest[96..]);
        while from.bool().unwrap() {
            from.u64().unwrap();
            names.push(from.opaque(255, "name").unwrap().to_vec());
            cookie = from.u64().unwrap();
        }
        pages += 1;
        if from.bool().unwrap() {
            break;
        }
    }
    assert_eq!(names.len(), 52);
    assert!(pages > 5);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 52);
}

#[test]
fn the_portmapper_knows_the_port() {
    let mut client = World::new().client();
    let mut args = Encoder::default();
    args.u32(NFS).u32(3).u32(6).u32(0);
    let answer = client.ask(PORTMAP, 2, 3, &args.into_vec());
    assert_eq!(Decoder::new(&answer).u32(), Ok(2049));
}

#[test]
fn unknown_programs_versions_and_procedures_are_told_so() {
    let mut client = World::new().client();
    for (program, version, procedure, stat) in [
        (9, 1, 0, 1),
        (NFS, 2, 0, 2),
        (NFS, 3, 22, 3),
        (MOUNT, 3, 9, 3),
    ] {
        let record = client.call(program, version, procedure, &[]);
        let answer = client.exchange(&record).unwrap();
        assert_eq!(
            answer[20..24],
            u32::to_be_bytes(stat),
            "{program} {version}"
        );
    }
}
