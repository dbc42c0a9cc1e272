//! One client's connection: frames from its stream of bytes to the SMB server, answers back.
//!
//! A frame is 4 bytes of transport header (MS-SMB2 2.1: a zero byte and the length, 24 bits, big-endian) and that many
//! bytes. One read takes as many frames as have arrived; one write sends all answers that are ready. While a client
//! does not take its answers, or much of what it asked for waits, its requests are not taken up either, so that it
//! cannot make the server hold many.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use strongroom_smb::{Connection, Disconnect, Frame, Outbox};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

use super::low_water::LowWater;
use super::output::Output;

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

/// Where a connection's bytes come from.
pub(super) trait Source: AsyncRead + Unpin {
    /// The socket that can be told how many bytes it wakes us for.
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl Source for ReadHalf<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.as_ref())
    }
}

/// Serves a connection over TCP to its end.
pub(crate) async fn run(mut stream: TcpStream, peer: SocketAddr, halves: Halves) {
    match prepare(&stream) {
        Ok(()) => {
            let (reader, writer) = stream.split();
            serve(reader, writer, peer, halves).await;
        }
        Err(error) => log_end(peer, &End::Socket(error)),
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(
    reader: impl Source,
    writer: impl AsyncWrite + Unpin,
    peer: SocketAddr,
    halves: Halves,
) {
    tracing::debug!(%peer, "connected");
    let mut pump = Pump {
        reader,
        writer,
        connection: &halves.connection,
        outbox: &halves.outbox,
        input: BytesMut::new(),
        output: Output::default(),
        drained: Vec::new(),
        low_water: LowWater::default(),
    };
    let end = pump.run(halves.logon_timeout).await;
    halves.connection.closed();
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
struct Pump<'a, R, W> {
    reader: R,
    writer: W,
    connection: &'a Connection,
    outbox: &'a Outbox,
    input: BytesMut,
    output: Output<Frame>,
    drained: Vec<Frame>,
    low_water: LowWater,
}

impl<R: Source, W: AsyncWrite + Unpin> Pump<'_, R, W> {
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
            if let Some(end) = self.take_frames().await {
                return Some(end);
            }
            if let Some(end) = self.send_ready().await {
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
        self.output.bytes() < UNSENT_MAX && !self.connection.is_full()
    }

    fn has_frame(&self) -> bool {
        frame_length(&self.input).is_some_and(|length| self.input.len() >= HEADER + length)
    }

    /// Gives the whole frames in the input to the server, as long as the client may be heard. Each frame's answers
    /// count before the next is looked at, as one small frame can ask for megabytes.
    async fn take_frames(&mut self) -> Option<End> {
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
            self.fill();
            if self.output.bytes() >= SEND_BYTES
                && let Some(end) = self.send_ready().await
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

    /// Takes over what the server has ready; false once it has closed the connection and all was sent.
    fn fill(&mut self) -> bool {
        let open = self.outbox.drain(&mut self.drained);
        self.output.add(self.drained.drain(..));
        open || !self.output.is_empty()
    }

    /// Writes what is ready, as far as the transport takes it now; waits for nothing.
    async fn send_ready(&mut self) -> Option<End> {
        let open = self.fill();
        match self.output.send_ready(&mut self.writer).await {
            Ok(()) => (!open).then_some(End::ByServer),
            Err(error) => Some(End::Socket(error)),
        }
    }

    /// Until there is something to read, room to write, or another answer.
    async fn wait(&mut self) -> Option<End> {
        let may_read = self.may_take();
        if may_read {
            make_room(&mut self.input, self.connection.frame_max());
            let between_frames = self.input.is_empty();
            if let Some(socket) = self.reader.socket() {
                self.low_water.set(socket, between_frames);
            }
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
            sent = output.send_some(writer) => sent.err().map(End::Socket),
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
