//! Context handles (C706 6.1.6): what a client has opened on its pipe. They end with the pipe.

use strongroom_identity::Sid;

use super::CallError;

/// As it goes over the wire: attributes, which are zero, and a UUID.
pub(super) type Handle = [u8; 20];

/// What one pipe may hold open.
const HANDLES_MAX: usize = 128;

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Object {
    /// The local policy of `lsarpc`.
    Policy,
    /// The account server of `samr`.
    Server,
    /// One of its domains.
    Domain(Sid),
    User(Sid),
    /// A group that is local to its domain.
    Alias(Sid),
}

#[derive(Debug, Default)]
pub(super) struct Handles {
    given: u64,
    open: Vec<(u64, Object)>,
}

impl Handles {
    /// None when the pipe holds too many.
    pub(super) fn open(&mut self, object: Object) -> Option<Handle> {
        if self.open.len() >= HANDLES_MAX {
            return None;
        }
        self.given = self.given.wrapping_add(1);
        self.open.push((self.given, object));
        Some(wire(self.given))
    }

    pub(super) fn get(&self, handle: &Handle) -> Result<Object, CallError> {
        self.open
            .iter()
            .find(|(number, _)| wire(*number) == *handle)
            .map(|(_, object)| *object)
            .ok_or(CallError::Handle)
    }

    pub(super) fn close(&mut self, handle: &Handle) -> Result<(), CallError> {
        self.get(handle)?;
        self.open.retain(|(number, _)| wire(*number) != *handle);
        Ok(())
    }
}

fn wire(number: u64) -> Handle {
    let mut handle = Handle::default();
    if let Some(room) = handle.last_chunk_mut() {
        *room = number.to_be_bytes();
    }
    handle
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_good_until_it_is_closed_and_never_again() {
        let mut handles = Handles::default();
        let one = handles.open(Object::Policy).unwrap();
        let two = handles.open(Object::Server).unwrap();
        assert_eq!(handles.get(&one), Ok(Object::Policy));
        handles.close(&one).unwrap();
        assert_eq!(handles.get(&one), Err(CallError::Handle));
        assert_eq!(handles.close(&one), Err(CallError::Handle));
        assert_eq!(handles.get(&two), Ok(Object::Server));
        assert_eq!(handles.get(&Handle::default()), Err(CallError::Handle));
        assert_ne!(handles.open(Object::Policy), Some(one));
    }

    #[test]
    fn a_pipe_holds_so_many_and_no_more() {
        let mut handles = Handles::default();
        for _ in 0..HANDLES_MAX {
            assert!(handles.open(Object::Policy).is_some());
        }
        assert_eq!(handles.open(Object::Policy), None);
    }
}
