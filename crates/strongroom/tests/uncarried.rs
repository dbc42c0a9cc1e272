//! What `smbclient` cannot carry of a real tree goes through the file system instead: symbolic links, names that SMB
//! has no characters for, and names that differ from a neighbour's only in case. All of it is there after a restart.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_device::{Device, Env, RealDevice, TokioEnv};
use strongroom_pool::{Layout, Pool};
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::names::{from_unix, to_unix};
use strongroom_vfs::{
    AccessMask, CaseMode, CreateOptions, Credentials, Disposition, Handle, NewShare, OpenRequest,
    REPARSE_TAG_SYMLINK, ReparseData, Share, Vfs,
};

/// One thing to carry: its name in a flat directory, as bytes, and what it holds.
type Things = BTreeMap<Vec<u8>, Thing>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Thing {
    File(Vec<u8>),
    Link(Vec<u8>),
}

/// A pool in a directory, from bottom to top.
struct Floors {
    store: Arc<Store>,
    vfs: Arc<Vfs>,
}

impl Floors {
    fn open(place: &Path, is_new: bool) -> Floors {
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let device: Arc<dyn Device> = RealDevice::open(Arc::clone(&env), place).unwrap();
        let options = StoreOptions::default();
        if is_new {
            let pool = Pool::create(Arc::clone(&env), vec![device], Layout::SINGLE).unwrap();
            let store = Store::create(Arc::clone(&env), pool, options).unwrap();
            let vfs = Vfs::create(Arc::clone(&store), env).unwrap();
            return Floors { store, vfs };
        }
        let pool = Pool::open(Arc::clone(&env), vec![device]).unwrap();
        let store = Store::open(Arc::clone(&env), pool, options).unwrap();
        let vfs = Vfs::open_store(Arc::clone(&store), env).unwrap();
        Floors { store, vfs }
    }

    async fn put(&self, share: &Share, name: &str, thing: &Thing) {
        let handle = self.open_file(share, name, Disposition::Create).await;
        match thing {
            Thing::File(content) => self.vfs.write(&handle, 0, content).await.unwrap(),
            Thing::Link(target) => {
                let data = ReparseData {
                    tag: REPARSE_TAG_SYMLINK,
                    data: link_buffer(target),
                };
                self.vfs.set_reparse(&handle, &data).await.unwrap();
            }
        }
        self.vfs.close(&handle).await.unwrap();
    }

    async fn get(&self, share: &Share, name: &str, like: &Thing) -> Thing {
        let handle = self.open_file(share, name, Disposition::Open).await;
        let found = match like {
            Thing::File(_) => {
                let size = usize::try_from(self.vfs.stat(&handle).unwrap().size).unwrap();
                let mut content = vec![0; size];
                assert_eq!(self.vfs.read(&handle, 0, &mut content).unwrap(), size);
                Thing::File(content)
            }
            Thing::Link(_) => Thing::Link(link_target(&self.vfs.reparse(&handle).unwrap().data)),
        };
        self.vfs.close(&handle).await.unwrap();
        found
    }

    async fn open_file(&self, share: &Share, name: &str, disposition: Disposition) -> Arc<Handle> {
        let options = CreateOptions {
            non_directory: true,
            open_reparse_point: true,
            ..CreateOptions::default()
        };
        let access = AccessMask::FILE_ALL;
        let case = CaseMode::Exact;
        let request = OpenRequest {
            access,
            disposition,
            options,
            case,
            ..OpenRequest::new(share, name)
        };
        let opened = self.vfs.open(&Credentials::system(), request).await;
        opened.unwrap_or_else(|error| panic!("{name}: {error}")).0
    }
}

/// The buffer of a relative symbolic link from SubstituteNameOffset on (MS-FSCC 2.1.2.4), both names the same.
fn link_buffer(target: &[u8]) -> Vec<u8> {
    let target = String::from_utf8(target.to_vec()).unwrap();
    let name: Vec<u8> = target.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let length = u16::try_from(name.len()).unwrap();
    let mut buffer = Vec::new();
    for field in [0, length, length, length] {
        buffer.extend_from_slice(&field.to_le_bytes());
    }
    buffer.extend_from_slice(&1_u32.to_le_bytes());
    buffer.extend_from_slice(&name);
    buffer.extend_from_slice(&name);
    buffer
}

fn link_target(buffer: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes([buffer[2], buffer[3]]));
    let units = buffer[12..12 + length].chunks_exact(2);
    let units: Vec<u16> = units
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).unwrap().into_bytes()
}

/// Links of the system's own trees, and names that no Windows client could spell.
fn things() -> Things {
    let mut things = Things::new();
    for (number, link) in links_below(&["/usr/lib", "/usr/share/doc"])
        .into_iter()
        .enumerate()
    {
        let target = fs::read_link(&link)
            .unwrap()
            .as_os_str()
            .as_bytes()
            .to_vec();
        if std::str::from_utf8(&target).is_ok() {
            things.insert(format!("link-{number}").into_bytes(), Thing::Link(target));
        }
    }
    assert!(things.len() > 20, "only {} links were found", things.len());
    let names: [&[u8]; 9] = [
        b"a:b",
        b"libfoo:amd64.list",
        b"what?",
        b"star*",
        b"pipe|<>\"",
        b"back\\slash",
        b"dot.",
        b"blank ",
        b"\xFF\xFEnot utf-8",
    ];
    for name in names {
        things.insert(name.to_vec(), Thing::File(name.repeat(700)));
    }
    for name in ["readme", "README", "Readme"] {
        things.insert(
            name.as_bytes().to_vec(),
            Thing::File(name.as_bytes().to_vec()),
        );
    }
    things
}

fn links_below(places: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = places.iter().map(PathBuf::from).collect();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_symlink() {
                found.push(entry.path());
            } else if kind.is_dir() {
                left.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn links_special_names_and_case_twins_outlive_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let things = things();
    let spelt = |name: &[u8]| from_unix(name).unwrap();
    let floors = Floors::open(place.path(), true);
    let new = NewShare {
        name: "files".to_owned(),
        ..NewShare::default()
    };
    let share = floors.vfs.add_share(new).unwrap();
    for (name, thing) in &things {
        floors.put(&share, &spelt(name), thing).await;
    }
    floors.store.close().await.unwrap();
    drop(floors);

    let floors = Floors::open(place.path(), false);
    let share = floors.vfs.share("files").unwrap();
    for (name, thing) in &things {
        let spelt = spelt(name);
        assert_eq!(&*to_unix(&spelt), name.as_slice());
        assert_eq!(floors.get(&share, &spelt, thing).await, *thing, "{spelt}");
    }
    floors.store.close().await.unwrap();
    println!("{} links, special names and case twins", things.len());
}
