//! One client's TCP connection: frames from the socket to the SMB server, answers back to the socket.
//!
//! A frame is 4 bytes of transport header (MS-SMB2 2.1: a zero byte and the length, 24 bits, big-endian) and that many
//! bytes. One read takes as many frames as have arrived; one write sends all answers that are ready. While a client
//! does not take its answers, or much of what it asked for waits, its requests are not taken up either, so that it
//! cannot make the server hold many.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use strongroom_smb::{Connection, Disconnect, Frame, Outbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::low_water::LowWater;

const HEADER: usize = 4;
/// Room for a read of many small frames.
const READ_BYTES: usize = 16 << 10;
/// Below this much room a new buffer pays.
const READ_BYTES_MIN: usize = 4 << 10;
/// Frames up to this size are copied out of the buffer that they came in, so that a request that waits holds no more
/// than itself.
const COPIED_MAX: usize = 16 << 10;
/// Unsent answers beyond which no requests are read.
const UNSENT_MAX: usize = 16 << 20;
/// Answers of so many bytes are sent before the next request is taken up: they are still in the processor's cache, and
/// the client works on them meanwhile.
const SEND_BYTES: usize = 256 << 10;
/// Buffers in one write (IOV_MAX is 1,024).
const SLICES_MAX: usize = 64;

/// What the SMB server gave for this connection.
#[derive(Debug)]
pub(crate) struct Halves {
    pub(crate) connection: Connection,
    pub(crate) outbox: Outbox,
    pub(crate) logon_timeout: Duration,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    ByClient,
    ByServer,
    Stranger,
    FrameTooLarge(usize),
    Protocol(Disconnect),
    Socket(io::Error),
}

/// Serves the connection to its end.
pub(crate) async fn run(mut stream: TcpStream, peer: SocketAddr, halves: Halves) {
    tracing::debug!(%peer, "connected");
    let Halves {
        connection,
        outbox,
        logon_timeout,
    } = halves;
    let end = match prepare(&stream) {
        Ok(()) => {
            let (reader, writer) = stream.split();
            let mut pump = Pump {
                reader,
                writer,
                connection: &connection,
                outbox: &outbox,
                input: BytesMut::new(),
                output: Output::default(),
                low_water: LowWater::default(),
            };
            pump.run(logon_timeout).await
        }
        Err(error) => End::Socket(error),
    };
    connection.closed();
    log_end(peer, &end);
}

fn log_end(peer: SocketAddr, end: &End) {
    match end {
        End::ByClient | End::ByServer => tracing::debug!(%peer, ?end, "disconnected"),
        End::Stranger => tracing::info!(%peer, "disconnected: nobody has signed in"),
        End::FrameTooLarge(bytes) => {
            tracing::warn!(%peer, bytes, "disconnected: a frame is larger than any request");
        }
        End::Protocol(reason) => tracing::warn!(%peer, %reason, "disconnected"),
        End::Socket(error) => tracing::debug!(%peer, %error, "disconnected"),
    }
}

/// Answers go out at once, and a client that vanished without a word is noticed in minutes.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(120))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// Moves bytes in both directions.
struct Pump<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    connection: &'a Connection,
    outbox: &'a Outbox,
    input: BytesMut,
    output: Output,
    low_water: LowWater,
}

impl Pump<'_> {
    /// Until somebody has signed in, who is there is a stranger, who may not stay.
    async fn run(&mut self, logon_timeout: Duration) -> End {
        match tokio::time::timeout(logon_timeout, self.pump(true)).await {
            Ok(Some(end)) => end,
            Ok(None) => self.pump(false).await.unwrap_or(End::ByServer),
            Err(_) => End::Stranger,
        }
    }

    /// Serves to the end of the connection, or until somebody has signed in.
    async fn pump(&mut self, for_stranger: bool) -> Option<End> {
        loop {
            if let Some(end) = self.take_frames() {
                return Some(end);
            }
            if let Some(end) = self.send_ready() {
                return Some(end);
            }
            if for_stranger && self.connection.is_signed_in() {
                return None;
            }
            if self.has_frame() && self.may_take() {
                continue;
            }
            if let Some(end) = self.wait().await {
                return Some(end);
            }
        }
    }

    /// Whether the client may be heard: it takes its answers, and not too much of what it asked for waits.
    fn may_take(&self) -> bool {
        self.output.bytes < UNSENT_MAX && !self.connection.is_full()
    }

    fn has_frame(&self) -> bool {
        frame_length(&self.input).is_some_and(|length| self.input.len() >= HEADER + length)
    }

    /// Gives the whole frames in the input to the server, as long as the client may be heard. Each frame's answers
    /// count before the next is looked at, as one small frame can ask for megabytes.
    fn take_frames(&mut self) -> Option<End> {
        while self.may_take() {
            let length = match frame_length(&self.input) {
                Some(length) if length > self.connection.frame_max() => {
                    return Some(End::FrameTooLarge(length));
                }
                Some(length) if self.input.len() >= HEADER + length => length,
                Some(_) | None => return None,
            };
            self.input.advance(HEADER);
            let frame = self.take_frame(length);
            if let Err(reason) = self.connection.receive(frame) {
                return Some(End::Protocol(reason));
            }
            self.output.fill(self.outbox);
            if self.output.bytes >= SEND_BYTES
                && let Some(end) = self.send_ready()
            {
                return Some(end);
            }
        }
        None
    }

    fn take_frame(&mut self, length: usize) -> BytesMut {
        if length > COPIED_MAX {
            return self.input.split_to(length);
        }
        let frame = BytesMut::from(&self.input[..length]);
        self.input.advance(length);
        frame
    }

    /// Writes what is ready, as far as the socket takes it now.
    fn send_ready(&mut self) -> Option<End> {
        let open = self.output.fill(self.outbox);
        while !self.output.is_empty() {
            let written = self
                .output
                .with_slices(|slices| self.writer.try_write_vectored(slices));
            match written {
                Ok(bytes) => self.output.advance(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => return Some(End::Socket(error)),
            }
        }
        (!open).then_some(End::ByServer)
    }

    /// Until there is something to read, room to write, or another answer.
    async fn wait(&mut self) -> Option<End> {
        let may_read = self.may_take();
        if may_read {
            make_room(&mut self.input, self.connection.frame_max());
            let between_frames = self.input.is_empty();
            self.low_water.set(self.reader.as_ref(), between_frames);
        }
        let Pump {
            reader,
            writer,
            outbox,
            input,
            output,
            ..
        } = self;
        tokio::select! {
            biased;
            read = reader.read_buf(input), if may_read => end_of_read(read),
            sent = send_some(writer, output) => sent,
            () = outbox.ready() => None,
        }
    }
}

/// Room for the rest of the frame that has begun, or for many small ones.
fn make_room(input: &mut BytesMut, frame_max: usize) {
    let wanted = match frame_length(input) {
        Some(length) if length <= frame_max => (HEADER + length)
            .saturating_sub(input.len())
            .max(READ_BYTES_MIN),
        Some(_) | None => READ_BYTES_MIN,
    };
    if input.capacity() - input.len() < wanted {
        input.reserve(wanted.max(READ_BYTES));
    }
}

/// The length in the transport header, once it is there. The first byte is zero for a message; anything else makes the
/// length larger than any frame may be.
fn frame_length(input: &[u8]) -> Option<usize> {
    let header = input.first_chunk::<HEADER>()?;
    usize::try_from(u32::from_be_bytes(*header)).ok()
}

fn end_of_read(read: io::Result<usize>) -> Option<End> {
    match read {
        Ok(0) => Some(End::ByClient),
        Ok(_) => None,
        Err(error) => Some(End::Socket(error)),
    }
}

/// Never ready while there is nothing to send.
async fn send_some(writer: &mut WriteHalf<'_>, output: &mut Output) -> Option<End> {
    if output.is_empty() {
        return pending().await;
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let count = output.slices(&mut slices);
    match writer.write_vectored(&slices[..count]).await {
        Ok(bytes) => {
            output.advance(bytes);
            None
        }
        Err(error) => Some(End::Socket(error)),
    }
}

/// Answers that wait to be written; of the first one some bytes may be gone already.
#[derive(Debug, Default)]
struct Output {
    frames: VecDeque<Frame>,
    drained: Vec<Frame>,
    sent_of_first: usize,
    bytes: usize,
}

impl Output {
    /// Takes over what the server has ready; false once the server has closed the connection.
    fn fill(&mut self, outbox: &Outbox) -> bool {
        let open = outbox.drain(&mut self.drained);
        self.bytes += self
            .drained
            .iter()
            .map(|frame| frame.as_ref().len())
            .sum::<usize>();
        self.frames.extend(self.drained.drain(..));
        open || !self.frames.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn with_slices<T>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.slices(&mut slices);
        write(&slices[..count])
    }

    /// The first answers' bytes; returns how many slices were set.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.sent_of_first;
        let mut count = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame.as_ref().get(skip..).unwrap_or_default());
            skip = 0;
            count += 1;
        }
        count
    }

    /// Forgets bytes that were written.
    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.frames.front() {
            let left = first.as_ref().len() - self.sent_of_first;
            if written < left {
                self.sent_of_first += written;
                return;
            }
            written -= left;
            self.sent_of_first = 0;
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_needs_all_four_bytes() {
        assert_eq!(frame_length(&[0, 0, 1]), None);
        assert_eq!(frame_length(&[0, 0, 1, 2, 9]), Some(258));
    }

    #[test]
    fn a_first_byte_other_than_zero_is_larger_than_any_frame() {
        assert!(frame_length(&[0x81, 0, 0, 0x44]).unwrap() > 1 << 24);
    }
}
