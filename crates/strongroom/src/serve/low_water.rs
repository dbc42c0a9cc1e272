//! How many bytes must have arrived before a connection wakes (SO_RCVLOWAT, socket(7)).
//!
//! Some clients send the transport header in a segment of its own. Waking for its 4 bytes, only to go to sleep again,
//! costs as much as a small request. So between frames the kernel wakes us once there is more than that header; within a
//! frame every byte counts, as the rest of it may be short. No frame is too short to wake us: what is no message ends the
//! connection, and what its client held must not stay held.

use std::ffi::c_int;
use std::os::fd::AsRawFd;

/// The transport's header and one byte of what it announces.
const FRAME_MIN: c_int = 4 + 1;
const ANY: c_int = 1;

/// What the socket is set to.
#[derive(Debug)]
pub(super) struct LowWater(c_int);

impl Default for LowWater {
    fn default() -> Self {
        Self(ANY)
    }
}

impl LowWater {
    /// Call before waiting for the socket. It is only a hint: a socket that refuses it wakes too often.
    pub(super) fn set(&mut self, socket: &impl AsRawFd, between_frames: bool) {
        let bytes = if between_frames { FRAME_MIN } else { ANY };
        if bytes != self.0 && set_low_water(socket, bytes) {
            self.0 = bytes;
        }
    }
}

#[expect(
    unsafe_code,
    reason = "no crate in the workspace has a safe wrapper of this option"
)]
fn set_low_water(socket: &impl AsRawFd, bytes: c_int) -> bool {
    let length = libc::socklen_t::try_from(size_of::<c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open while `socket` is borrowed, and the kernel reads `length` bytes at `bytes`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            length,
        )
    };
    done == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        let (client, server) = (client.unwrap(), server.unwrap().0);
        // A new socket is taken for readable until it was found not to be.
        assert!(server.try_read(&mut [0]).is_err());
        (client, server)
    }

    async fn wakes(server: &TcpStream) -> bool {
        tokio::time::timeout(Duration::from_millis(100), server.readable())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_header_alone_does_not_wake_and_any_byte_within_a_frame_does() {
        let (mut client, server) = pair().await;
        let mut low_water = LowWater::default();
        low_water.set(&server, true);
        client.write_all(&[0, 0, 0, 64]).await.unwrap();
        assert!(!wakes(&server).await);
        // What came before the change counts as well.
        low_water.set(&server, false);
        assert!(wakes(&server).await);
    }

    #[tokio::test]
    async fn the_shortest_frame_and_the_end_of_the_connection_wake() {
        let (mut client, server) = pair().await;
        let mut low_water = LowWater::default();
        low_water.set(&server, true);
        client.write_all(&[0, 0, 0, 1, 0]).await.unwrap();
        assert!(wakes(&server).await);
        let (client, server) = pair().await;
        LowWater::default().set(&server, true);
        drop(client);
        assert!(wakes(&server).await);
    }
}
