//! The operations of clients: each chooses its arguments, asks the model what must come of them, does it, and tells the
//! model in the same turn.

mod data;
mod directory;
mod locks;
mod metadata;
mod moves;
mod open;
mod session;

pub(crate) use open::close;

use strongroom_vfs::ExtendedAttribute;

use crate::client::{Client, Held};
use crate::model::{Model, Path};

/// Names that clients use: with and without capitals, beyond ASCII, and too long for an inode's own record.
const NAMES: [&str; 9] = [
    "alpha",
    "ALPHA",
    "Beta",
    "gamma.txt",
    "δέλτα",
    "e",
    "sub",
    "zeta-is-a-rather-long-name-that-does-not-fit-into-the-record-of-an-inode-because-there-is-not-that-much-room-in-it-at-all",
    "eta",
];
const STREAMS: [&str; 3] = ["s", "S", "Zone.Identifier"];

/// One random operation.
pub(crate) async fn step(client: &mut Client) {
    match client.rng.below(100) {
        0..=24 => open::open(client).await,
        25..=32 => open::close_one(client).await,
        33..=47 => data::write(client).await,
        48..=53 => data::read(client),
        54..=56 => data::set_size(client).await,
        57 | 58 => data::zero(client).await,
        59 => data::sparse(client),
        60..=63 => data::flush(client).await,
        64 => session::sync_all(client).await,
        65..=69 => moves::rename(client).await,
        70..=72 => moves::link(client).await,
        73 | 74 => moves::unlink(client).await,
        75..=78 => moves::delete(client).await,
        79 | 80 => metadata::set_eas(client).await,
        81 | 82 => metadata::set_attributes(client).await,
        83 | 84 => metadata::set_security(client).await,
        85 => metadata::set_times(client).await,
        86 | 87 => metadata::set_reparse(client).await,
        88..=90 => metadata::look(client),
        91..=93 => locks::lock(client).await,
        94 => locks::unlock(client),
        95..=97 => directory::list(client).await,
        98 => session::begin_or_end(client),
        _ => session::quota(client),
    }
}

impl Client {
    /// Some open of this client; None if there is none, or others are at work on the file.
    pub(crate) fn pick(&mut self) -> Option<Held> {
        if self.held.is_empty() {
            return None;
        }
        let held = self.held[self.rng.below(self.held.len())].clone();
        let busy = self
            .shared
            .model
            .lock()
            .opens
            .busy
            .contains(&held.handle.inode().0);
        (!busy).then_some(held)
    }

    /// A path: mostly in a directory that is there.
    pub(crate) fn path(&mut self) -> Path {
        let directories = {
            let model = self.shared.model.lock();
            model.names.directories(model.root)
        };
        let (_, mut parts) = directories[self.rng.below(directories.len())].clone();
        if self.rng.chance(3) {
            parts.push("nowhere".into());
        }
        parts.push(NAMES[self.rng.below(NAMES.len())].into());
        Path {
            parts,
            stream: None,
        }
    }

    /// A path to something that is there, if anything is.
    pub(crate) fn known_path(&mut self) -> Path {
        let known = {
            let model = self.shared.model.lock();
            let root = model.root;
            let links = model.names.nodes.iter().filter(|(id, _)| **id != root);
            let links = links.flat_map(|(_, node)| node.names.iter().cloned());
            let mut paths: Vec<Path> = Vec::new();
            for (directory, name) in links {
                let above = model.names.path_of(directory);
                let above = above.split('\\').filter(|part| !part.is_empty());
                let mut parts: Vec<String> = above.map(str::to_owned).collect();
                parts.push(name);
                paths.push(Path {
                    parts,
                    stream: None,
                });
            }
            paths
        };
        if known.is_empty() {
            return self.path();
        }
        known[self.rng.below(known.len())].clone()
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let len = match self.rng.below(16) {
            0 => 300_000 + self.rng.below(900_000),
            1..=3 => 10_000 + self.rng.below(90_000),
            4..=8 => 1 + self.rng.below(9_000),
            9 => 0,
            _ => 1 + self.rng.below(500),
        };
        let mut bytes = vec![0; len];
        self.rng.fill(&mut bytes);
        // Every other one can be compressed.
        if bytes.first().is_some_and(|first| first & 1 == 0) {
            for at in 100..bytes.len() {
                if at % 600 >= 100 {
                    bytes[at] = bytes[at - 100];
                }
            }
        }
        bytes
    }

    pub(crate) fn eas(&mut self) -> Vec<ExtendedAttribute> {
        let count = self.rng.below(3);
        let mut eas = Vec::new();
        for _ in 0..count {
            let mut value = vec![0; [0, 4, 40, 900][self.rng.below(4)]];
            self.rng.fill(&mut value);
            eas.push(ExtendedAttribute {
                flags: 0,
                name: ["user.a", "USER.A", "b", "c"][self.rng.below(4)].into(),
                value,
            });
        }
        eas
    }
}

/// Sets extended attributes in the model; empty values remove.
fn merge_eas(node: &mut crate::model::Node, eas: &[ExtendedAttribute]) {
    for ea in eas {
        let folded = crate::model::fold(&ea.name);
        if ea.value.is_empty() {
            node.eas.remove(&folded);
        } else {
            let value = (ea.flags, ea.name.clone(), ea.value.clone());
            node.eas.insert(folded, value);
        }
    }
}

/// What an open of the model is about.
fn object_of(model: &Model, held: &Held) -> crate::model::Object {
    model.opens.all[&held.key()].object
}
