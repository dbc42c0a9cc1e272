//! A bare echo server: takes messages of the sizes that a row's requests have and answers with as many bytes as the
//! answers have. What it costs is the floor that the network sets.
//!
//! A message is its length (4 bytes), the length wanted of the answer (4 bytes), and filling.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::{Guarded, free_address, wait_for_port};

/// Bytes of a request and of its answer.
pub type Exchange = (usize, usize);

/// The longest message taken; rows stay far below.
const MESSAGE_MAX: usize = 16 << 20;

/// Serves until killed. One task a connection, one buffered read and one write a wake-up.
pub async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move { answer(stream).await });
    }
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut input = Vec::with_capacity(256 << 10);
    let mut output = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        let mut used = 0;
        while let Some((length, wanted)) = next_message(&input[used..])? {
            used += length;
            output.resize(output.len() + wanted, 0);
        }
        input.drain(..used);
        stream.write_all(&output).await?;
        output.clear();
    }
    Ok(())
}

fn next_message(input: &[u8]) -> Result<Option<Exchange>> {
    let Some(header) = input.get(..8) else {
        return Ok(None);
    };
    let field = |at: usize| -> Result<usize> {
        Ok(usize::try_from(u32::from_le_bytes(
            header[at..at + 4].try_into()?,
        ))?)
    };
    let (length, wanted) = (field(0)?, field(4)?);
    ensure!(
        (8..=MESSAGE_MAX).contains(&length) && wanted <= MESSAGE_MAX,
        "bad message"
    );
    Ok((input.len() >= length).then_some((length, wanted)))
}

/// The echo server as a process of its own.
#[derive(Debug)]
pub struct EchoServer {
    process: Guarded,
    address: SocketAddr,
}

impl EchoServer {
    pub(crate) fn start() -> Result<EchoServer> {
        let address = free_address()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["echo-server", &address.port().to_string()])
            .stdin(Stdio::null())
            .spawn()?;
        let process = Guarded::new(child);
        wait_for_port(address, Duration::from_secs(10))?;
        Ok(EchoServer { process, address })
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) async fn connect(&self, connections: usize) -> Result<Floor> {
        let mut streams = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            streams.push(stream);
        }
        Ok(Floor { streams })
    }
}

/// Connections to the echo server.
#[derive(Debug)]
pub struct Floor {
    streams: Vec<TcpStream>,
}

impl Floor {
    /// Plays `exchanges` one after the other, `times` in all over `connections` connections.
    pub(crate) async fn play(
        &mut self,
        connections: usize,
        times: usize,
        exchanges: &[Exchange],
    ) -> Result<()> {
        let mut tasks = tokio::task::JoinSet::new();
        for mut stream in self.streams.drain(..connections) {
            let exchanges = exchanges.to_vec();
            tasks.spawn(async move {
                for _ in 0..times / connections {
                    for exchange in &exchanges {
                        one_exchange(&mut stream, *exchange).await?;
                    }
                }
                anyhow::Ok(stream)
            });
        }
        while let Some(stream) = tasks.join_next().await {
            self.streams
                .push(stream.context("an echo task ended badly")??);
        }
        Ok(())
    }
}

async fn one_exchange(stream: &mut TcpStream, (request, answer): Exchange) -> Result<()> {
    let mut message = vec![0; request.max(8)];
    message[..4].copy_from_slice(&u32::try_from(request.max(8))?.to_le_bytes());
    message[4..8].copy_from_slice(&u32::try_from(answer)?.to_le_bytes());
    stream.write_all(&message).await?;
    message.resize(answer, 0);
    stream.read_exact(&mut message).await?;
    Ok(())
}
