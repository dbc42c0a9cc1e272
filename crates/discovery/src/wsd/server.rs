//! Metadata over HTTP: one kind of request, one kind of answer.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Device;
use super::message::{self, Action, Message};
use super::network::networks;

/// Where Windows looks first.
const PORT: u16 = 5357;
/// Whoever has not asked and been answered by then has to come again.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: usize = 32;

/// At the usual port, or at any where another program has that.
pub(super) async fn bind(listening: IpAddr) -> io::Result<TcpListener> {
    let address = match listening {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    match TcpListener::bind((address, PORT)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind((address, 0)).await
        }
        bound => bound,
    }
}

pub(super) async fn serve(listener: TcpListener, device: Arc<Device>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        if !is_near(&device, peer.ip()) {
            continue;
        }
        let device = Arc::clone(&device);
        tokio::spawn(async move {
            if tokio::time::timeout(PATIENCE, talk(stream, device))
                .await
                .is_err()
            {
                tracing::debug!(%peer, "a question about this server took too long");
            }
            drop(place);
        });
    }
}

fn is_near(device: &Device, peer: IpAddr) -> bool {
    let IpAddr::V4(peer) = peer else {
        return false;
    };
    let near = networks(device.host.listening.ip());
    near.iter().any(|network| network.holds(peer))
}

async fn talk(stream: TcpStream, device: Arc<Device>) {
    let answer = service_fn(move |request| {
        let device = Arc::clone(&device);
        async move { Ok::<_, Infallible>(answer(request, &device).await) }
    });
    let talked = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(message::LENGTH_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = talked {
        tracing::debug!(%error, "a question about this server broke off");
    }
}

async fn answer(request: Request<Incoming>, device: &Device) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != device.path() {
        return empty(StatusCode::NOT_FOUND);
    }
    let body = Limited::new(request.into_body(), message::LENGTH_MAX);
    let Ok(body) = body.collect().await else {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Some(Message {
        action: Action::Get,
        id,
        ..
    }) = message::decode(&body.to_bytes())
    else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let mut response = Response::new(Full::from(device.metadata(&id)));
    response.headers_mut().insert(
        CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/soap+xml"),
    );
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
