//! A client that compresses what it sends.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use xtask::client::Client;
use xtask::server::Server;

#[tokio::test]
async fn what_a_client_compresses_with_lz4_is_read_as_it_was_written() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    let sender = Client::connect_compressing(&server.target()).await.unwrap();
    assert!(sender.compresses(), "LZ4 was not agreed on");
    let data = b"what repeats itself gets shorter, ".repeat(25_000);
    let requests = sender.share();
    let file = requests.create_file("long").await.unwrap();
    requests.write(file, 0, data.clone()).await.unwrap();
    requests.close(file).await.unwrap();
    let reader = Client::connect(&server.target()).await.unwrap();
    assert!(!reader.compresses());
    let requests = reader.share();
    let (file, size) = requests.open_file("long").await.unwrap();
    assert!(requests.read_all(file, size).await.unwrap() == data);
    requests.close(file).await.unwrap();
    server.stop().unwrap();
}
