//! What the file system should be: names, data and opens, in memory, as simple as it can be said.
//!
//! The model is told of each operation in the same turn in which it took effect, so it never lags behind. Of names and
//! of each file's data it keeps the states since the last that is surely durable.

mod data;
mod names;
mod opens;

pub(crate) use data::{Data, Object};
pub(crate) use names::{Id, Link, Names, Node, Path, fold, normal};
pub(crate) use opens::{Lock, Open, Opens};

use std::collections::VecDeque;
use std::sync::Arc;

use strongroom_vfs::acl::maximal_access;
use strongroom_vfs::{AccessMask, Credentials};

/// Why an operation may be refused: the name of the file system's error.
pub(crate) type Why = &'static str;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) root: Id,
    pub(crate) names: Names,
    /// States of names, the newest last; the first has the number `base`.
    past: VecDeque<Names>,
    base: usize,
    durable: usize,
    pub(crate) data: Data,
    pub(crate) opens: Opens,
    pub(crate) quotas: bool,
    /// Keeps states older than the durable one.
    pub(crate) keeps_all: bool,
}

impl Model {
    /// A share's root alone.
    pub(crate) fn new(root: Id, node: Node) -> Self {
        let mut model = Self {
            root,
            ..Self::default()
        };
        model.names.nodes.insert(root, Arc::new(node));
        model.past.push_back(model.names.clone());
        model
    }

    /// Says that names changed.
    pub(crate) fn changed(&mut self) {
        self.past.push_back(self.names.clone());
    }

    /// The number of the newest state of names.
    pub(crate) fn names_now(&self) -> usize {
        self.base + self.past.len() - 1
    }

    /// States of names that may be found after a crash, the newest first.
    pub(crate) fn candidates(&self, all: bool) -> impl Iterator<Item = &Names> {
        let from = if all { 0 } else { self.durable - self.base };
        self.past.range(from..).rev()
    }

    /// A sync ended that covers names up to this state, and these states of data.
    pub(crate) fn synced(&mut self, names: usize, data: &[(Object, usize)]) {
        self.durable = self.durable.max(names);
        if !self.keeps_all {
            while self.base < self.durable {
                self.past.pop_front();
                self.base += 1;
            }
        }
        for (object, version) in data {
            self.data.synced(*object, *version, self.keeps_all);
        }
    }

    /// After a start these names and this data are all there is.
    pub(crate) fn adopt(&mut self, names: Names, data: Data) {
        self.names = names;
        self.past = VecDeque::from([self.names.clone()]);
        (self.base, self.durable) = (0, 0);
        self.opens = Opens::default();
        self.data = data;
    }

    pub(crate) fn rights(&self, id: Id, who: &Credentials) -> AccessMask {
        maximal_access(&self.node(id).security, who)
    }

    pub(crate) fn node(&self, id: Id) -> &Node {
        let node = self
            .names
            .nodes
            .get(&id)
            .or_else(|| self.opens.gone.get(&id));
        node.unwrap_or_else(|| panic!("the model knows file {id}"))
    }

    /// Changes a node, whether it still has a name or not; only the former is a change of names.
    pub(crate) fn change(&mut self, id: Id, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.names.nodes.get_mut(&id) {
            change(Arc::make_mut(node));
            self.changed();
        } else if let Some(node) = self.opens.gone.get_mut(&id) {
            change(Arc::make_mut(node));
        }
    }

    /// Takes a name off a file; the file goes with its last one, or with its last open. Not yet counted as a change.
    pub(crate) fn drop_name(&mut self, id: Id, link: &Link) {
        self.opens.pending.remove(&(id, link.clone()));
        let Some(node) = self.names.nodes.get_mut(&id) else {
            return;
        };
        Arc::make_mut(node).names.remove(link);
        if node.names.is_empty() {
            let node = self.names.nodes.remove(&id).unwrap();
            if self.opens.of(id).next().is_some() {
                self.opens.gone.insert(id, node);
            }
        }
    }
}
