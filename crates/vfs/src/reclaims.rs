//! Clients that may claim back, after the server started again, what they had open before.

use strongroom_store::{Inode, SessionId};

use crate::quota::next_key;
use crate::{Result, Vfs, rows};

const BATCH: usize = 256;
/// The longest name of a client (NFS4_OPAQUE_LIMIT of RFC 8881).
const NAME_MAX: usize = 1_024;

impl Vfs {
    /// Remembers a client by the name that it chose, of up to 1,024 bytes. Durable by [`Vfs::sync_names`].
    pub fn remember_client(&self, name: &[u8]) -> Result<()> {
        assert!(
            name.len() <= NAME_MAX,
            "the protocol bounds names of clients"
        );
        let mut txn = self.store.txn(SessionId::SYSTEM);
        // Who cannot open a file on a full pool cannot make room there either.
        txn.draw_on_reserve();
        txn.put(rows::CLIENTS, client_key(name), Vec::new());
        Ok(txn.commit().map(drop)?)
    }

    /// Nothing is left that the client could claim.
    pub fn forget_client(&self, name: &[u8]) -> Result<()> {
        let mut txn = self.store.txn(SessionId::SYSTEM);
        txn.draw_on_reserve();
        txn.delete(rows::CLIENTS, client_key(name));
        Ok(txn.commit().map(drop)?)
    }

    /// Every client that is remembered.
    pub fn remembered_clients(&self) -> Result<Vec<Vec<u8>>> {
        let (mut start, end) = (client_key(&[]), client_end());
        let mut names = Vec::new();
        loop {
            let page = self.store.scan(rows::CLIENTS, &start, &end, BATCH)?;
            let Some((last, _)) = page.last() else {
                return Ok(names);
            };
            start = next_key(last);
            let rests = page.iter().filter_map(|(key, _)| key.get(8..));
            names.extend(rests.map(<[u8]>::to_vec));
        }
    }
}

fn client_key(name: &[u8]) -> rows::Key {
    rows::key_of(Inode(0), name)
}

/// Behind all names, which may be of any bytes.
fn client_end() -> rows::Key {
    rows::inode_key(Inode(1))
}

#[cfg(test)]
mod tests {
    use crate::tests::World;

    #[test]
    fn clients_of_any_name_are_remembered_over_restarts_until_they_are_forgotten() {
        let world = World::new(1);
        let names = [vec![0], vec![0xFF; 1024], b"client".to_vec()];
        for name in &names {
            world.vfs.remember_client(name).unwrap();
        }
        let world = world.reopen();
        let mut kept = world.vfs.remembered_clients().unwrap();
        kept.sort();
        assert_eq!(kept, [names[0].clone(), names[2].clone(), names[1].clone()]);
        names
            .iter()
            .for_each(|name| world.vfs.forget_client(name).unwrap());
        assert!(world.vfs.remembered_clients().unwrap().is_empty());
    }
}
