//! Many threads at once on a real disk: no deadlock, no lost name, right link counts.

use std::collections::BTreeMap;

use strongroom_device::sim::Rng;
use strongroom_device::{RealDevice, TokioEnv};

use super::*;

/// One client's random work on names that all clients share.
async fn work(vfs: Arc<Vfs>, share: Arc<Share>, seed: u64) {
    let mut rng = Rng::new(seed);
    let who = user(1000);
    for _ in 0..1_500 {
        let name = |rng: &mut Rng| {
            let directory = ["", "d0\\", "d1\\", "d0\\sub\\"][rng.below(4)];
            format!("{directory}n{}", rng.below(6))
        };
        let (path, to) = (name(&mut rng), name(&mut rng));
        let request = OpenRequest {
            path: &path,
            ..all(&share)
        };
        let Ok((handle, _)) = vfs.open(&who, request).await else {
            continue;
        };
        // Every error that the names' owners can cause each other is fine; hanging and panicking are not.
        let done = match rng.below(5) {
            0 => vfs.rename(&handle, &to, true).await,
            1 => vfs.link(&handle, &to, true).await,
            2 => vfs.set_delete(&handle, true).await,
            3 => vfs.write(&handle, 0, path.as_bytes()).await,
            _ => move_directory(&vfs, &share, &who, &mut rng).await,
        };
        drop(done);
        vfs.close(&handle).await.unwrap();
    }
}

async fn move_directory(vfs: &Vfs, share: &Share, who: &Credentials, rng: &mut Rng) -> Result<()> {
    let (from, to) = [("d0\\sub", "d1\\sub"), ("d1\\sub", "d0\\sub")][rng.below(2)];
    let request = OpenRequest {
        path: from,
        disposition: Disposition::Open,
        access: AccessMask::DELETE,
        ..all(share)
    };
    let (handle, _) = vfs.open(who, request).await?;
    let done = vfs.rename(&handle, to, false).await;
    vfs.close(&handle).await?;
    done
}

#[test]
fn many_clients_at_once_leave_a_sound_tree() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let env: Arc<dyn Env> = Arc::new(TokioEnv::new(runtime.handle().clone()));
    runtime.block_on(async {
        let device = RealDevice::open(Arc::clone(&env), directory.path()).unwrap();
        let pool = Pool::create(
            Arc::clone(&env),
            vec![device as Arc<dyn Device>],
            Layout::SINGLE,
        )
        .unwrap();
        let store = Store::create(Arc::clone(&env), pool, options()).unwrap();
        let vfs = Vfs::create(store, Arc::clone(&env)).unwrap();
        let share = vfs
            .add_share(NewShare {
                name: "files".into(),
                ..NewShare::default()
            })
            .unwrap();
        for path in ["d0", "d1", "d0\\sub"] {
            let mut request = OpenRequest {
                path,
                ..all(&share)
            };
            request.options.directory = true;
            vfs.open(&user(1000), request).await.unwrap();
        }
        let clients: Vec<_> = (0..8)
            .map(|seed| tokio::spawn(work(Arc::clone(&vfs), Arc::clone(&share), seed)))
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        check(&vfs, &share).await;
        vfs.store().close().await.unwrap();
    });
}

/// Every name leads to a file, and every file knows as many names as there are.
async fn check(vfs: &Vfs, share: &Share) {
    let mut links: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    let mut directories = vec![String::new()];
    while let Some(path) = directories.pop() {
        let request = OpenRequest {
            path: &path,
            disposition: Disposition::Open,
            access: AccessMask::FILE_READ,
            ..all(share)
        };
        let (handle, _) = vfs.open(&user(1000), request).await.unwrap();
        let entries = vfs
            .list(&handle, &mut DirCursor::default(), "*", 10_000)
            .unwrap();
        for entry in entries.into_iter().skip(2) {
            if entry.stat.is_directory {
                let prefix = if path.is_empty() {
                    String::new()
                } else {
                    format!("{path}\\")
                };
                directories.push(format!("{prefix}{}", entry.name));
            } else {
                let counted = links
                    .entry(entry.stat.inode.0)
                    .or_insert((entry.stat.links, 0));
                counted.1 += 1;
            }
        }
    }
    for (inode, (said, found)) in links {
        assert_eq!(said, found, "links of {inode}");
    }
    assert!(vfs.listed(crate::rows::ORPHANS).unwrap().is_empty());
}
