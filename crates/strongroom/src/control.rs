//! The client of the administration interface: one request over the data directory's socket.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::data::SocketPath;
use crate::failure::{Failure, Kind, Result};
use strongroom_admin::types::ProblemDocument;

/// Talks to the server that runs on `data`.
#[derive(Debug)]
pub(crate) struct Control {
    data: PathBuf,
}

impl Control {
    pub(crate) fn new(data: &Path) -> Control {
        Control {
            data: data.to_owned(),
        }
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = self.send(Method::GET, path, Bytes::new())?;
        serde_json::from_slice(&body).map_err(|error| unexpected(&error))
    }

    pub(crate) fn post(&self, path: &str, document: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(document).map_err(|error| unexpected(&error))?;
        self.send(Method::POST, path, body.into()).map(drop)
    }

    pub(crate) fn patch(&self, path: &str, document: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(document).map_err(|error| unexpected(&error))?;
        self.send(Method::PATCH, path, body.into()).map(drop)
    }

    /// Posts a question and reads the answer.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<T> {
        let body = self.bytes(path, document)?;
        serde_json::from_slice(&body).map_err(|error| unexpected(&error))
    }

    /// Posts a question whose answer is no document.
    pub(crate) fn bytes(&self, path: &str, document: &impl Serialize) -> Result<Bytes> {
        let body = serde_json::to_vec(document).map_err(|error| unexpected(&error))?;
        self.send(Method::POST, path, body.into())
    }

    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, Bytes::new()).map(drop)
    }

    fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| unexpected(&error))?;
        runtime.block_on(self.exchange(method, path, body))
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| unexpected(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api{path}"))
            .header(HOST, "strongroom")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| unexpected(&error))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| unexpected(&error))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| unexpected(&error))?;
        checked(status, body.to_bytes())
    }

    async fn connect(&self) -> Result<UnixStream> {
        let no_server = |error: std::io::Error| {
            let data = self.data.display();
            let message = if error.kind() == std::io::ErrorKind::PermissionDenied {
                format!("the server on {data} belongs to another user: run this as that user")
            } else {
                format!(
                    "no server is running on {data} ({error}): start it with \
                     `strongroom serve --data {data}`, or name the right --data directory"
                )
            };
            Failure::new(Kind::NoServer, message)
        };
        let socket = SocketPath::of(&self.data).map_err(no_server)?;
        UnixStream::connect(socket.as_path())
            .await
            .map_err(no_server)
    }
}

fn checked(status: StatusCode, body: Bytes) -> Result<Bytes> {
    if status.is_success() {
        return Ok(body);
    }
    let detail = serde_json::from_slice::<ProblemDocument>(&body).map_or_else(
        |_| format!("the server answered {status}"),
        |problem| problem.detail,
    );
    let kind = if status.is_client_error() || status == StatusCode::INSUFFICIENT_STORAGE {
        Kind::Refused
    } else {
        Kind::Internal
    };
    Err(Failure::new(kind, detail))
}

fn unexpected(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Kind::Internal,
        format!("talking to the server failed: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_no_server_runs() {
        let place = tempfile::tempdir().unwrap();
        let failure = Control::new(place.path())
            .delete("/v1/users/x")
            .unwrap_err();
        assert_eq!(failure.exit_code(), 4);
        assert!(failure.to_string().contains("no server is running"));
    }
}
