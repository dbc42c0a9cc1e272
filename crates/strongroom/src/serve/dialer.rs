//! Calls to services on the machines of NFS clients: their portmappers say where these are.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use strongroom_device::BoxFuture;
use strongroom_nfs::Dialer;
use strongroom_nfs::rpc::{Auth, Call, Message, PORTMAP, Records};
use strongroom_nfs::xdr::{Decoder, Encoder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PORTMAP_PORT: u16 = 111;
const GETPORT: u32 = 3;
const TCP: u32 = 6;
/// For one call with all that it takes.
const CALL_TIME: Duration = Duration::from_secs(10);
/// The longest answer of such a service.
const ANSWER_MAX: usize = 64 << 10;

/// Calls by connections of their own, one each.
#[derive(Debug)]
pub(super) struct Sockets {
    name: String,
    portmap: u16,
    next: AtomicU32,
}

impl Sockets {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            portmap: PORTMAP_PORT,
            next: AtomicU32::new(1),
        }
    }
}

impl Dialer for Sockets {
    fn call(
        &self,
        to: IpAddr,
        procedure: (u32, u32, u32),
        arguments: Vec<u8>,
    ) -> BoxFuture<Option<Bytes>> {
        let xid = self.next.fetch_add(2, Ordering::Relaxed);
        let portmap = SocketAddr::new(to, self.portmap);
        Box::pin(async move {
            let called = timeout(CALL_TIME, dial(portmap, xid, procedure, &arguments)).await;
            match called {
                Ok(Ok(results)) => Some(results),
                Ok(Err(error)) => {
                    tracing::debug!(%to, ?procedure, %error, "a client's service does not answer");
                    None
                }
                Err(_) => None,
            }
        })
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

async fn dial(
    portmap: SocketAddr,
    xid: u32,
    procedure: (u32, u32, u32),
    arguments: &[u8],
) -> io::Result<Bytes> {
    let (program, version, _) = procedure;
    let mut asked = Encoder::default();
    asked.u32(program).u32(version).u32(TCP).u32(0);
    let found = exchange(portmap, xid, (PORTMAP, 2, GETPORT), asked.as_slice()).await?;
    let port = Decoder::new(&found).u32().map_err(invalid)?;
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let port = port.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no such service"))?;
    let at = SocketAddr::new(portmap.ip(), port);
    exchange(at, xid.wrapping_add(1), procedure, arguments).await
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// One call by a connection of its own; the results.
async fn exchange(
    at: SocketAddr,
    xid: u32,
    (program, version, procedure): (u32, u32, u32),
    arguments: &[u8],
) -> io::Result<Bytes> {
    let mut stream = TcpStream::connect(at).await?;
    let call = Call {
        xid,
        program,
        version,
        procedure,
        auth: Ok(Auth::None),
    };
    let mut to = Encoder::default();
    to.u32(0);
    call.encode(&mut to);
    to.raw(arguments);
    let len = to.len() - 4;
    // The one fragment of a record.
    to.patch_u32(0, 1 << 31 | u32::try_from(len).map_err(invalid)?);
    stream.write_all(to.as_slice()).await?;
    let (mut records, mut input) = (Records::default(), BytesMut::new());
    loop {
        if let Some(record) = records.next(&mut input).map_err(invalid)? {
            let mut from = Decoder::new(&record);
            match Message::decode(&mut from).map_err(invalid)? {
                Message::Reply {
                    xid: answered,
                    accepted: true,
                } if answered == xid => return Ok(record.slice_ref(from.rest())),
                Message::Reply { .. } | Message::Call(_) | Message::OtherVersion { .. } => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        "the call was refused",
                    ));
                }
            }
        }
        if input.len() > ANSWER_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "a very long answer"));
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers one call on each connection: the portmapper with a port, whoever comes then with what it was sent.
    async fn serve(listener: TcpListener, port: u16) {
        for turn in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut records, mut input) = (Records::default(), BytesMut::new());
            let record = loop {
                if let Some(record) = records.next(&mut input).unwrap() {
                    break record;
                }
                stream.read_buf(&mut input).await.unwrap();
            };
            let mut from = Decoder::new(&record);
            let Message::Call(call) = Message::decode(&mut from).unwrap() else {
                panic!("not a call");
            };
            let mut to = Encoder::default();
            to.u32(0).u32(call.xid).u32(1).u32(0).u32(0).u32(0).u32(0);
            if turn == 0 {
                assert_eq!((call.program, call.procedure), (PORTMAP, GETPORT));
                to.u32(u32::from(port));
            } else {
                assert_eq!(
                    (call.program, call.version, call.procedure),
                    (100_021, 4, 5)
                );
                to.raw(from.rest());
            }
            let len = u32::try_from(to.len() - 4).unwrap();
            to.patch_u32(0, 1 << 31 | len);
            stream.write_all(to.as_slice()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_service_is_found_by_the_portmapper_and_called() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = Sockets {
            portmap: port,
            ..Sockets::new("server".to_owned())
        };
        let served = tokio::spawn(serve(listener, port));
        let arguments = 7u32.to_be_bytes().to_vec();
        let to = "127.0.0.1".parse().unwrap();
        let results = sockets.call(to, (100_021, 4, 5), arguments.clone()).await;
        assert_eq!(results.as_deref(), Some(&arguments[..]));
        served.await.unwrap();
        assert!(sockets.call(to, (100_021, 4, 5), arguments).await.is_none());
    }
}
