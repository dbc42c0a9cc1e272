//! SMB over QUIC (MS-SMB2 2.1): TLS 1.3 over UDP, for clients that come through networks that let nothing else pass.
//!
//! A client opens one bidirectional stream, which carries the same frames as a TCP connection. Logons, signatures and
//! encryption stay what they are over TCP, so that the certificate proves the server's name and nothing more rests on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::rustls;
use quinn::rustls::pki_types::pem::PemObject;
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use quinn::{Endpoint, IdleTimeout, Incoming, RecvStream, SendStream, TransportConfig, VarInt};
use strongroom_smb::Server;

use super::connection::{self, Halves, Source};
use super::listen;
use crate::cli::QuicOptions;
use crate::failure::{Failure, Kind, Result};

const ALPN: &[u8] = b"smb";
/// A client that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(60);
/// Living ones answer this.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What a client may have on its way to us: the longest frame, twice.
const WINDOW: u32 = 18 << 20;
/// How long the last answers may take to arrive when the server ends a connection.
const LAST_WORDS: Duration = Duration::from_secs(5);
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// Serves it, where it is asked for.
pub(crate) fn start(options: &QuicOptions, server: &Arc<Server>) -> Result<Option<Endpoint>> {
    let (Some(address), Some(certificate), Some(key)) =
        (options.quic, &options.quic_certificate, &options.quic_key)
    else {
        return Ok(None);
    };
    let tls = tls(certificate, key)?;
    let endpoint = Endpoint::server(config(tls)?, address)
        .map_err(|error| listen::refused(address, &error, "--quic"))?;
    let address = endpoint.local_addr().unwrap_or(address);
    tracing::info!(%address, "serving SMB over QUIC");
    tokio::spawn(accept(endpoint.clone(), Arc::clone(server)));
    Ok(Some(endpoint))
}

fn tls(certificate: &std::path::Path, key: &std::path::Path) -> Result<rustls::ServerConfig> {
    let unusable = |path: &std::path::Path, error: &dyn std::fmt::Display| {
        Failure::new(
            Kind::Refused,
            format!("cannot use {}: {error}", path.display()),
        )
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable(key, &error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| unusable(certificate, &error))?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // What is replayed before the handshake is over must never be a request.
    tls.max_early_data_size = 0;
    Ok(tls)
}

fn config(tls: rustls::ServerConfig) -> Result<quinn::ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot set up QUIC: {error}")))?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(1_u32.into())
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(WINDOW.into())
        .receive_window(WINDOW.into())
        .send_window(u64::from(WINDOW))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .keep_alive_interval(Some(KEEP_ALIVE));
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn accept(endpoint: Endpoint, server: Arc<Server>) {
    while let Some(incoming) = endpoint.accept().await {
        take_up(&server, incoming);
    }
}

/// Tells the clients that are still there that it is over.
pub(crate) async fn stop(endpoint: Endpoint) {
    endpoint.close(NO_ERROR, &[]);
    tokio::time::timeout(LAST_WORDS, endpoint.wait_idle())
        .await
        .ok();
}

/// Connections are counted by address, so nobody gets one who cannot be reached at his (RFC 9000, 8.1.2).
fn take_up(server: &Arc<Server>, incoming: Incoming) {
    let peer = incoming.remote_address();
    if !incoming.remote_address_validated() {
        if incoming.retry().is_err() {
            tracing::debug!(%peer, "an address could not be asked for");
        }
        return;
    }
    match listen::admit(server, peer) {
        Some(halves) => {
            tokio::spawn(run(incoming, peer, halves));
        }
        None => incoming.refuse(),
    }
}

async fn run(incoming: Incoming, peer: SocketAddr, halves: Halves) {
    match tokio::time::timeout(halves.logon_timeout, open(incoming)).await {
        Ok(Ok((quic, mut writer, reader))) => {
            connection::serve(reader, &mut writer, peer, halves).await;
            // An end of the connection overtakes what was sent before.
            if writer.finish().is_ok() {
                tokio::time::timeout(LAST_WORDS, writer.stopped())
                    .await
                    .ok();
            }
            quic.close(NO_ERROR, &[]);
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no connection over QUIC came to be"),
        Err(_) => tracing::debug!(%peer, "no connection over QUIC came to be in time"),
    }
}

/// The handshake, and the one stream.
async fn open(incoming: Incoming) -> io::Result<(quinn::Connection, SendStream, RecvStream)> {
    let quic = incoming.await?;
    let (writer, reader) = quic.accept_bi().await?;
    Ok((quic, writer, reader))
}

impl Source for RecvStream {}
