//! What a client makes of what it sends: shorter, or secret.

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

#[tokio::test]
async fn a_share_that_asks_for_encryption_gets_everything_encrypted() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::create(place.path(), 1).unwrap();
    server
        .admin(&["share", "add", "sealed", "--encrypt"])
        .unwrap();
    assert!(
        server
            .admin(&["share", "list"])
            .unwrap()
            .contains("encrypted")
    );
    let open = Client::connect(&server.target()).await.unwrap();
    assert!(!open.encrypts());
    let sealed = server.target_of("sealed");
    let sealed = Client::connect(&sealed).await.unwrap();
    assert!(sealed.encrypts());
    let requests = sealed.share();
    let file = requests.create_file("secret").await.unwrap();
    requests
        .write(file, 0, b"of nobody".to_vec())
        .await
        .unwrap();
    assert_eq!(requests.read_all(file, 9).await.unwrap(), b"of nobody");
    requests.close(file).await.unwrap();
    server.stop().unwrap();
}
