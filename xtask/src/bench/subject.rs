//! What is measured: a server with its connections.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::echo::{EchoServer, Floor};
use crate::client::{Client, Requests, Target};
use crate::cpu;
use crate::samba::{PASSWORD, Samba, Setup};
use crate::server::Server;

/// Who a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Strongroom,
    WithoutHistory,
    SambaAsItComes,
    SambaTuned,
    Floor,
}

#[derive(Debug)]
enum Running {
    Strongroom(Server),
    Samba(Samba),
    Floor(EchoServer),
}

/// The most connections that any row uses.
pub(crate) const CONNECTIONS: usize = 8;

/// A running server and the connections to it, which stay open from row to row.
#[derive(Debug)]
pub(crate) struct Subject {
    kind: Kind,
    running: Running,
    clients: Vec<Client>,
    /// On the share that takes nothing unencrypted.
    sealed: Option<Client>,
    floor: Option<Floor>,
}

impl Subject {
    pub(crate) async fn strongroom(directory: &Path) -> Result<Subject> {
        Subject::ours(Kind::Strongroom, Server::create(directory, 1)?).await
    }

    /// Ours again, keeping no past.
    pub(crate) async fn without_history(directory: &Path) -> Result<Subject> {
        let server = Server::create_without_history(directory)?;
        Subject::ours(Kind::WithoutHistory, server).await
    }

    async fn ours(kind: Kind, server: Server) -> Result<Subject> {
        let clients = connect(&server.target()).await?;
        server.admin(&["share", "add", SEALED, "--encrypt"])?;
        let sealed = connect_sealed(&server.target()).await?;
        let running = Running::Strongroom(server);
        Ok(Subject {
            kind,
            running,
            clients,
            sealed: Some(sealed),
            floor: None,
        })
    }

    pub(crate) async fn samba(setup: Setup, share: &Path) -> Result<Subject> {
        let samba = Samba::start(setup, share)?;
        let target = Target {
            address: samba.address(),
            share: "files".to_owned(),
            user: samba.user().to_owned(),
            password: PASSWORD.to_owned(),
        };
        let clients = connect(&target).await?;
        let sealed = connect_sealed(&target).await?;
        let kind = match setup {
            Setup::AsItComes => Kind::SambaAsItComes,
            Setup::Tuned => Kind::SambaTuned,
        };
        Ok(Subject {
            kind,
            running: Running::Samba(samba),
            clients,
            sealed: Some(sealed),
            floor: None,
        })
    }

    /// The bare echo server, which shows what the network alone costs.
    pub(crate) async fn floor() -> Result<Subject> {
        let server = EchoServer::start()?;
        let floor = Some(server.connect(CONNECTIONS).await?);
        let running = Running::Floor(server);
        Ok(Subject {
            kind: Kind::Floor,
            running,
            clients: Vec::new(),
            sealed: None,
            floor,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Strongroom => "Strongroom",
            Kind::WithoutHistory => "without history",
            Kind::SambaAsItComes => "Samba as it comes",
            Kind::SambaTuned => "Samba tuned",
            Kind::Floor => "bare echo",
        }
    }

    pub(crate) fn agreed(&self) -> String {
        let clients = self.clients.first().into_iter().chain(&self.sealed);
        let agreed: Vec<_> = clients.map(Client::agreed).collect();
        if agreed.is_empty() {
            return "unsigned".to_owned();
        }
        agreed.join("; ")
    }

    pub(crate) fn requests(&self, connection: usize) -> Result<Requests> {
        Ok(self
            .clients
            .get(connection)
            .context("no such connection")?
            .share())
    }

    pub(crate) fn sealed_requests(&self) -> Result<Requests> {
        let sealed = self.sealed.as_ref().context("nothing is encrypted here")?;
        Ok(sealed.share())
    }

    pub(crate) fn floor_connections(&mut self) -> Option<&mut Floor> {
        self.floor.as_mut()
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu::of_tree(match &self.running {
            Running::Strongroom(server) => server.process(),
            Running::Samba(samba) => samba.process(),
            Running::Floor(server) => server.process(),
        })
    }

    /// False while the server itself says that it has background work left.
    pub(crate) fn is_settled(&self) -> Result<bool> {
        match &self.running {
            Running::Strongroom(server) => server.is_settled(),
            Running::Samba(_) | Running::Floor(_) => Ok(true),
        }
    }
}

/// The share that takes nothing unencrypted.
const SEALED: &str = "sealed";

async fn connect_sealed(target: &Target) -> Result<Client> {
    let target = Target {
        share: SEALED.to_owned(),
        ..target.clone()
    };
    let client = Client::connect(&target).await?;
    ensure!(client.encrypts(), "what goes to {SEALED} is not encrypted");
    Ok(client)
}

async fn connect(target: &Target) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(Client::connect(target).await?);
    }
    Ok(clients)
}
