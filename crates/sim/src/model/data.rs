//! The bytes of each stream, and those that they had since they were last surely durable.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Id;

/// A stream of a file; 0 is the file's own data. Others have the numbers that the file system gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Object {
    pub(crate) id: Id,
    pub(crate) stream: u32,
}

#[derive(Debug, Clone)]
struct Versions {
    /// The newest last; the first has the number `base`. Shared where nothing changed.
    states: VecDeque<Arc<Vec<u8>>>,
    base: usize,
    durable: usize,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            states: VecDeque::from([Arc::default()]),
            base: 0,
            durable: 0,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Data {
    objects: BTreeMap<Object, Versions>,
}

impl Data {
    pub(crate) fn newest(&self, object: Object) -> Arc<Vec<u8>> {
        let versions = self.objects.get(&object);
        versions.map_or_else(Arc::default, |versions| {
            Arc::clone(versions.states.back().unwrap())
        })
    }

    pub(crate) fn len(&self, object: Object) -> u64 {
        self.newest(object).len() as u64
    }

    /// The number of the newest state.
    pub(crate) fn version(&self, object: Object) -> usize {
        let versions = self.objects.get(&object);
        versions.map_or(0, |versions| versions.base + versions.states.len() - 1)
    }

    /// The numbers of the newest states of all objects.
    pub(crate) fn versions(&self) -> Vec<(Object, usize)> {
        let numbered = |object: &Object| (*object, self.version(*object));
        self.objects.keys().map(numbered).collect()
    }

    pub(crate) fn push(&mut self, object: Object, state: Vec<u8>) {
        let versions = self.objects.entry(object).or_default();
        versions.states.push_back(Arc::new(state));
    }

    pub(crate) fn synced(&mut self, object: Object, version: usize, keeps_all: bool) {
        let Some(versions) = self.objects.get_mut(&object) else {
            return;
        };
        versions.durable = versions.durable.max(version);
        while !keeps_all && versions.base < versions.durable {
            versions.states.pop_front();
            versions.base += 1;
        }
    }

    /// Whether an object may have these bytes after a crash. With `all`, those from before the last sync count too.
    pub(crate) fn may_be(&self, object: Object, found: &[u8], all: bool) -> bool {
        let Some(versions) = self.objects.get(&object) else {
            return found.is_empty();
        };
        let from = if all {
            0
        } else {
            versions.durable - versions.base
        };
        versions.states.range(from..).any(|state| **state == found)
    }

    /// What is wrong with bytes that may not be.
    pub(crate) fn explain(&self, object: Object, found: &[u8]) -> String {
        let newest = self.newest(object);
        let at = newest.iter().zip(found).position(|(a, b)| a != b);
        let states = self.objects.get(&object).map(|versions| {
            let from = versions.durable - versions.base;
            let lens: Vec<usize> = versions.states.iter().map(|state| state.len()).collect();
            format!("lengths {lens:?}, durable from {from}")
        });
        format!(
            "{} bytes found, the newest are {}, the first difference is at {at:?}; {states:?}",
            found.len(),
            newest.len()
        )
    }

    /// These bytes are what there is.
    pub(crate) fn settle(&mut self, object: Object, found: Vec<u8>) {
        let versions = Versions {
            states: VecDeque::from([Arc::new(found)]),
            base: 0,
            durable: 0,
        };
        self.objects.insert(object, versions);
    }
}
