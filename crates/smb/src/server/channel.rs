//! Channel sequence numbers: requests that were sent before their channel failed must not take effect after those that
//! replaced them (MS-SMB2 3.3.5.2.10).

use std::sync::Arc;

use parking_lot::Mutex;

use crate::wire::header::{Header, HeaderFlags};
use crate::wire::{Command, NtStatus};

/// What an open knows of its channels. Dialects before 3.0 have none of this.
#[derive(Debug, Default)]
pub(crate) struct Channel(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Open.ChannelSequence; none until the first request.
    sequence: Option<u16>,
    /// Requests under way of the present sequence number.
    current: u32,
    /// Requests under way of earlier ones.
    earlier: u32,
}

/// A request under way on an open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Outstanding {
    state: Arc<Mutex<State>>,
    sequence: u16,
}

impl Channel {
    /// Admits a request. What changes the file is refused when it comes from before a failure, and as a replay while
    /// requests from before may still take effect.
    pub(crate) fn admit(&self, header: &Header) -> Result<Outstanding, NtStatus> {
        let changes = matches!(
            header.command,
            Command::Write | Command::SetInfo | Command::Ioctl
        );
        let sequence = header.channel_sequence();
        let mut state = self.0.lock();
        let known = *state.sequence.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(known);
        if ahead > 0x7FFF && changes {
            return Err(NtStatus::FILE_NOT_AVAILABLE);
        }
        if ahead != 0 && ahead <= 0x7FFF {
            state.earlier += std::mem::take(&mut state.current);
            state.sequence = Some(sequence);
        }
        let replay = header.flags.contains(HeaderFlags::REPLAY_OPERATION);
        if replay && changes && state.earlier > 0 {
            return Err(NtStatus::FILE_NOT_AVAILABLE);
        }
        if state.sequence == Some(sequence) {
            state.current += 1;
        } else {
            state.earlier += 1;
        }
        Ok(Outstanding {
            state: Arc::clone(&self.0),
            sequence,
        })
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let count = if state.sequence == Some(self.sequence) {
            &mut state.current
        } else {
            &mut state.earlier
        };
        *count = count.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MessageId;

    fn request(command: Command, sequence: u16, replay: bool) -> Header {
        let flags = if replay {
            HeaderFlags::REPLAY_OPERATION
        } else {
            HeaderFlags::NONE
        };
        Header {
            status: NtStatus(u32::from(sequence)),
            flags,
            ..Header::request(command, MessageId(1))
        }
    }

    #[test]
    fn changes_from_before_a_failure_are_refused() {
        let channel = Channel::default();
        let write = |sequence| channel.admit(&request(Command::Write, sequence, false));
        assert!(write(0).is_ok());
        assert!(write(1).is_ok());
        assert_eq!(write(0).unwrap_err(), NtStatus::FILE_NOT_AVAILABLE);
        assert!(write(0x8000).is_ok(), "half the numbers lie ahead");
        assert!(channel.admit(&request(Command::Read, 1, false)).is_ok());
        assert!(write(0xFFFF).is_ok());
        assert!(write(2).is_ok(), "so numbers may go round");
    }

    #[test]
    fn a_replay_waits_for_what_came_before_the_failure() {
        let channel = Channel::default();
        let before = channel.admit(&request(Command::Write, 0, false)).unwrap();
        let replay = || channel.admit(&request(Command::Write, 1, true));
        assert_eq!(replay().unwrap_err(), NtStatus::FILE_NOT_AVAILABLE);
        drop(before);
        assert!(replay().is_ok());
    }
}
