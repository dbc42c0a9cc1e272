//! A bounded table that hands out ids which are found again without hashing and not used twice in a row.

/// Ids carry the slot in their low 32 bits and a generation above, so that a stale id finds nothing.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
    limit: usize,
    generation_max: u32,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            len: 0,
            limit,
            generation_max: u32::MAX,
        }
    }

    /// A table whose generations stay below 2^16, for ids that are squeezed into 32 bits.
    pub(crate) fn narrow(limit: usize) -> Self {
        Self {
            generation_max: 0xffff,
            ..Self::new(limit.min(0xffff))
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Stores the value that `make` builds from its id; the value back when the table is full.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u64) -> T) -> Option<u64> {
        if self.is_full() {
            return None;
        }
        let index = self.free.pop().or_else(|| self.grow())?;
        let slot = self.slots.get_mut(index as usize)?;
        slot.generation = if slot.generation < self.generation_max {
            slot.generation + 1
        } else {
            1
        };
        let id = u64::from(slot.generation) << 32 | u64::from(index);
        slot.value = Some(make(id));
        self.len += 1;
        Some(id)
    }

    fn grow(&mut self) -> Option<u32> {
        // The highest slot stays unused: its ids could be all ones, which mean "none" on the wire.
        let index = u32::try_from(self.slots.len())
            .ok()
            .filter(|&index| index < u32::MAX)?;
        self.slots.push(Slot {
            generation: 0,
            value: None,
        });
        Some(index)
    }

    fn slot(&self, id: u64) -> Option<&Slot<T>> {
        let index = usize::try_from(id & 0xffff_ffff).ok()?;
        self.slots
            .get(index)
            .filter(|slot| u64::from(slot.generation) == id >> 32)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&T> {
        self.slot(id)?.value.as_ref()
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        self.slot(id)?;
        let index = u32::try_from(id & 0xffff_ffff).ok()?;
        let value = self.slots.get_mut(index as usize)?.value.take()?;
        self.free.push(index);
        self.len -= 1;
        Some(value)
    }

    /// Takes everything for which `pick` holds.
    pub(crate) fn drain(&mut self, pick: impl Fn(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for (index, slot) in (0..).zip(self.slots.iter_mut()) {
            if slot.value.as_ref().is_some_and(&pick) {
                taken.extend(slot.value.take());
                self.free.push(index);
                self.len -= 1;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut slab = Slab::new(2);
        let first = slab.insert_with(|_| "a").unwrap();
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert_with(|_| "b").unwrap();
        assert_ne!(first, second);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"b"));
    }

    #[test]
    fn holds_no_more_than_its_limit() {
        let mut slab = Slab::new(2);
        assert!(slab.insert_with(|_| 1).is_some());
        assert!(slab.insert_with(|_| 2).is_some());
        assert!(slab.insert_with(|_| 3).is_none());
        assert_eq!(slab.drain(|value| *value == 1), [1]);
        assert_eq!(slab.len(), 1);
        assert!(slab.insert_with(|_| 3).is_some());
    }

    #[test]
    fn unknown_ids_find_nothing() {
        let slab = Slab::<u8>::new(1);
        assert_eq!(slab.get(0), None);
        assert_eq!(slab.get(u64::MAX), None);
    }
}
