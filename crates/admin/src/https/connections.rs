//! Connections: TLS, then HTTP/1.1, each with limits on what it can hold and for how long.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Door;
use crate::Certificate;
use crate::api::Peer;

const CONNECTIONS_MAX: usize = 1_024;
const OF_ADDRESS_MAX: usize = 128;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a request's headers, and between two requests.
const HEADERS: Duration = Duration::from_secs(30);
const HEADERS_LEN_MAX: usize = 32 << 10;
const HEADERS_MAX: usize = 100;
/// How long to wait when the system has no resources for another connection.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// Takes connections up until the task is aborted.
pub async fn serve(listener: TcpListener, certificate: Certificate, door: Door) {
    let acceptor = TlsAcceptor::from(certificate.config());
    let places = Arc::new(Places::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let Some(place) = places.take(peer) else {
                    tracing::debug!(%peer, "too many connections to the console");
                    continue;
                };
                let (acceptor, door) = (acceptor.clone(), door.clone());
                tokio::spawn(async move {
                    connection(acceptor, stream, peer, door).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the console could not be accepted");
                tokio::time::sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, peer: SocketAddr, door: Door) {
    // Small answers are not held back.
    stream.set_nodelay(true).ok();
    let shaking = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = shaking else {
        tracing::debug!(%peer, "no TLS came to be");
        return;
    };
    let (router, peer) = (door.router(), Peer(peer.ip().to_canonical()));
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let response: Result<Response<Body>, Infallible> = router.oneshot(request).await;
            response
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADERS_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the console was cut off");
    }
}

/// Connections that are there, all and of each address.
#[derive(Debug, Default)]
struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// Given back when dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Place> {
        let address = peer.ip().to_canonical();
        let mut taken = self.taken.lock();
        let all: usize = taken.values().sum();
        let of_address = taken.entry(address).or_default();
        if all >= CONNECTIONS_MAX || *of_address >= OF_ADDRESS_MAX {
            if *of_address == 0 {
                taken.remove(&address);
            }
            return None;
        }
        *of_address += 1;
        Some(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
