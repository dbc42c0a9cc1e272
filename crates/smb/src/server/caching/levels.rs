//! Oplock levels and lease states as rights, and back.

use strongroom_vfs::grants::GrantRights;

use crate::wire::create::OplockLevel;
use crate::wire::create_context::LeaseState;

pub(crate) fn rights_of_lease(state: LeaseState) -> GrantRights {
    GrantRights {
        read: state.contains(LeaseState::READ_CACHING),
        write: state.contains(LeaseState::WRITE_CACHING),
        handle: state.contains(LeaseState::HANDLE_CACHING),
    }
}

pub(crate) fn lease_of(rights: GrantRights) -> LeaseState {
    let part = |is: bool, flag| if is { flag } else { LeaseState::NONE };
    part(rights.read, LeaseState::READ_CACHING)
        | part(rights.write, LeaseState::WRITE_CACHING)
        | part(rights.handle, LeaseState::HANDLE_CACHING)
}

/// A lease stands for its own request, so its level asks for nothing.
pub(crate) fn rights_of_level(level: OplockLevel) -> GrantRights {
    match level {
        OplockLevel::LevelII => GrantRights::READ,
        OplockLevel::Exclusive => GrantRights {
            handle: false,
            ..GrantRights::ALL
        },
        OplockLevel::Batch => GrantRights::ALL,
        OplockLevel::None | OplockLevel::Lease | OplockLevel::Unknown(_) => GrantRights::NONE,
    }
}

pub(crate) fn level_of(rights: GrantRights) -> OplockLevel {
    match (rights.read, rights.write, rights.handle) {
        (true, true, true) => OplockLevel::Batch,
        (true, true, false) => OplockLevel::Exclusive,
        (true, false, _) => OplockLevel::LevelII,
        (false, ..) => OplockLevel::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_states_come_back() {
        let levels = [
            OplockLevel::None,
            OplockLevel::LevelII,
            OplockLevel::Exclusive,
            OplockLevel::Batch,
        ];
        for level in levels {
            assert_eq!(level_of(rights_of_level(level)), level);
        }
        for bits in 0..8 {
            assert_eq!(
                lease_of(rights_of_lease(LeaseState(bits))),
                LeaseState(bits)
            );
        }
    }
}
