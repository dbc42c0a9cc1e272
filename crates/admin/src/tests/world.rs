//! A whole server without sockets: a pool on one real directory, and the door's router.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE as COOKIE_HEADER, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use strongroom_device::{Env, RealDevice, TokioEnv};
use strongroom_identity::Identity;
use strongroom_pool::{DiskId, DiskOptions, Layout, Pool};
use strongroom_smb::ServerConfig;
use strongroom_store::{Store, StoreOptions};
use strongroom_vfs::{NewShare, Vfs};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::api::Peer;
use crate::https::{COOKIE, CSRF_HEADER};
use crate::{AddDisk, Door, Parts, Role, State};

pub(super) const PASSWORD: &str = "correct horse 7";

#[derive(Debug)]
struct NoDisks;

impl AddDisk for NoDisks {
    fn add(&self, _: &Pool, _: &Path, _: Option<&str>, _: DiskOptions) -> Result<DiskId, String> {
        Err("there are no more disks here".to_owned())
    }
}

pub(super) struct World {
    pub(super) state: Arc<State>,
    door: Door,
    _place: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whoever asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    pub(super) cookie: Option<String>,
    pub(super) csrf: Option<String>,
    pub(super) token: Option<String>,
    pub(super) peer: Option<IpAddr>,
}

impl World {
    /// With an account for each role, named after it, and a share `files`.
    pub(super) async fn new() -> World {
        let place = tempfile::tempdir().unwrap();
        let env: Arc<dyn Env> = Arc::new(TokioEnv::current());
        let disk = RealDevice::open(Arc::clone(&env), place.path()).unwrap();
        let pool = Pool::create(Arc::clone(&env), vec![disk], Layout::SINGLE).unwrap();
        let store =
            Store::create(Arc::clone(&env), Arc::clone(&pool), StoreOptions::default()).unwrap();
        let vfs = Vfs::create(Arc::clone(&store), Arc::clone(&env)).unwrap();
        let identity = Identity::open(Arc::clone(&store), Arc::clone(&env)).unwrap();
        let config = ServerConfig::new("VAULT", [7; 16]);
        let smb = strongroom_smb::Server::new(
            config,
            Arc::clone(&vfs),
            Arc::clone(&identity),
            Arc::clone(&env),
        );
        vfs.add_share(NewShare {
            name: "files".to_owned(),
            ..NewShare::default()
        })
        .unwrap();
        let state = State::open(Parts {
            env,
            pool,
            store,
            vfs,
            identity,
            directories: Arc::new(NoDisks),
            smb,
            smb_address: "127.0.0.1:445".parse().unwrap(),
            nfs: None,
            host: "VAULT".to_owned(),
        })
        .unwrap();
        let world = World {
            door: Door::new(&state),
            state,
            _place: place,
        };
        for role in Role::ALL.into_iter().rev() {
            world.add_user(role.word(), role).await;
        }
        world
    }

    pub(super) async fn add_user(&self, name: &str, role: Role) {
        let new = json!({ "name": name, "password": PASSWORD, "role": role });
        let made = self.as_owner(Method::POST, "/api/v1/users", &new).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    }

    /// Through the local door.
    pub(super) async fn as_owner(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let router = crate::api::local_router(&self.state);
        read(router.oneshot(request).await.unwrap()).await
    }

    pub(super) async fn send(&self, client: &Client, mut request: Request<Body>) -> Answer {
        let headers = request.headers_mut();
        if let Some(cookie) = &client.cookie {
            headers.append(COOKIE_HEADER, format!("{COOKIE}={cookie}").parse().unwrap());
        }
        if let Some(csrf) = &client.csrf {
            headers.insert(CSRF_HEADER, csrf.parse().unwrap());
        }
        if let Some(token) = &client.token {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        let peer = client.peer.unwrap_or(IpAddr::from([192, 0, 2, 9]));
        request.extensions_mut().insert(Peer(peer));
        read(self.door.router().oneshot(request).await.unwrap()).await
    }

    pub(super) async fn json(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "vault")
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(client, request).await
    }

    pub(super) async fn get(&self, client: &Client, path: &str) -> Answer {
        self.json(client, Method::GET, path, &Value::Null).await
    }

    /// A form of the console, with the session's field.
    pub(super) async fn form(
        &self,
        client: &Client,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let encode = crate::endpoint::segment;
        let mut pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        if let Some(csrf) = &client.csrf {
            pairs.push(format!("csrf={csrf}"));
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("host", "vault")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(pairs.join("&")))
            .unwrap();
        let no_header = Client {
            csrf: None,
            ..client.clone()
        };
        self.send(&no_header, request).await
    }

    pub(super) async fn put(&self, client: &Client, path: &str, content: &'static [u8]) -> Answer {
        let request = Request::builder()
            .method(Method::PUT)
            .uri(path)
            .header("host", "vault")
            .body(Body::from(content))
            .unwrap();
        self.send(client, request).await
    }

    pub(super) async fn try_sign_in(&self, client: &Client, body: &Value) -> Answer {
        self.json(client, Method::POST, "/api/v1/session", body)
            .await
    }

    pub(super) async fn sign_in(&self, name: &str) -> Client {
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = self.try_sign_in(&Client::default(), &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        client_of(&answer)
    }
}

/// The client that an answer made.
pub(super) fn client_of(answer: &Answer) -> Client {
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    Client {
        cookie: Some(value.to_owned()),
        csrf: answer.json()["csrf"].as_str().map(str::to_owned),
        ..Client::default()
    }
}

/// A stream without an end is read to where it pauses first.
async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let kind = parts
        .headers
        .get(CONTENT_TYPE)
        .map(|kind| kind.as_bytes().to_vec());
    let body = if kind.is_some_and(|kind| kind.starts_with(b"text/event-stream")) {
        Vec::new()
    } else {
        to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default()
            .to_vec()
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}
