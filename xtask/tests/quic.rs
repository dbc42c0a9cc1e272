//! SMB over QUIC: a client of the crate `quinn` that carries what clients of TCP say, and what else it may try.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::pki_types::CertificateDer;
use quinn::rustls::{self, RootCertStore};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use tokio::net::{TcpListener, TcpStream};
use xtask::client::{Client, Target};
use xtask::features::program;
use xtask::random::content;
use xtask::server::{PASSWORD, SHARE, Server, USER};
use xtask::smbclient::attempt_at;

const NAME: &str = "files.example";

struct Quic {
    server: Server,
    address: SocketAddr,
    trusted: CertificateDer<'static>,
}

fn start(place: &Path) -> Quic {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (certificate, key) = (place.join("certificate.pem"), place.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let words = [
        "--quic",
        &address.to_string(),
        "--quic-certificate",
        certificate.to_str().unwrap(),
        "--quic-key",
        key.to_str().unwrap(),
    ];
    let disk = place.join("disk");
    let server = Server::create_by(&program().unwrap(), place, &[disk], &words).unwrap();
    Quic {
        server,
        address,
        trusted: made.cert.der().clone(),
    }
}

impl Quic {
    fn client(&self, alpn: &[u8]) -> Endpoint {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
        endpoint
    }

    async fn connect(&self) -> Connection {
        let client = self.client(b"smb");
        client.connect(self.address, NAME).unwrap().await.unwrap()
    }

    /// Where clients that know only TCP get in.
    async fn entrance(&self) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let entrance = listener.local_addr().unwrap();
        let (client, address) = (self.client(b"smb"), self.address);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = client.connect(address, NAME).unwrap().await.unwrap();
                let (send, receive) = connection.open_bi().await.unwrap();
                tokio::spawn(carry(stream, connection, send, receive));
            }
        });
        entrance
    }
}

async fn carry(
    mut stream: TcpStream,
    connection: Connection,
    mut send: SendStream,
    mut receive: RecvStream,
) {
    let (mut reader, mut writer) = stream.split();
    let there = async {
        tokio::io::copy(&mut reader, &mut send).await.ok();
        send.finish().ok();
    };
    let back = tokio::io::copy(&mut receive, &mut writer);
    let (_, back) = tokio::join!(there, back);
    assert!(back.is_ok(), "the server ends its stream: {back:?}");
    connection.close(0_u32.into(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_and_go_over_quic() {
    let place = tempfile::tempdir().unwrap();
    let quic = start(place.path());
    let address = quic.entrance().await;
    let target = Target {
        address,
        share: SHARE.to_owned(),
        user: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let client = Client::connect(&target).await.unwrap();
    let requests = client.share();
    let data = content(7, 3 << 20);
    let file = requests.create_file("sent").await.unwrap();
    for (number, piece) in data.chunks(1 << 20).enumerate() {
        let offset = number as u64 * (1 << 20);
        requests.write(file, offset, piece.to_vec()).await.unwrap();
    }
    requests.close(file).await.unwrap();
    // Samba's client finds it, by QUIC as by TCP.
    for address in [address, quic.server.address()] {
        let got = place.path().join("got");
        let command = format!("get sent {}", got.display());
        let output = tokio::task::spawn_blocking(move || {
            attempt_at(address, SHARE, USER, PASSWORD, &command).unwrap()
        });
        assert!(output.await.unwrap().status.success());
        assert!(std::fs::read(&got).unwrap() == data);
        std::fs::remove_file(got).unwrap();
    }
    let (file, size) = requests.open_file("sent").await.unwrap();
    assert!(requests.read_all(file, size).await.unwrap() == data);
    requests.close(file).await.unwrap();
    client.disconnect().await.unwrap();
    quic.server.stop().unwrap();
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let quic = start(place.path());
    let other = quic.client(b"h3");
    let refused = other.connect(quic.address, NAME).unwrap().await;
    assert!(
        matches!(refused, Err(ConnectionError::ConnectionClosed(_))),
        "{refused:?}"
    );
    quic.server.stop().unwrap();
}

#[tokio::test]
async fn a_connection_has_one_stream_and_ends_with_it() {
    let place = tempfile::tempdir().unwrap();
    let quic = start(place.path());
    let connection = quic.connect().await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(300), connection.open_bi());
    assert!(second.await.is_err(), "a second stream is not granted");
    let one_way = tokio::time::timeout(Duration::from_millis(100), connection.open_uni());
    assert!(one_way.await.is_err(), "nor one of another kind");
    // No frame is as long as this one says that it is.
    send.write_all(&[0, 255, 255, 255, b'x']).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), connection.closed());
    let closed = closed.await.unwrap();
    assert!(
        matches!(closed, ConnectionError::ApplicationClosed(_)),
        "{closed:?}"
    );
    // Others are served.
    let connection = quic.connect().await;
    connection.open_bi().await.unwrap();
    quic.server.stop().unwrap();
}
