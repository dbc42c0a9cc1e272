//! Opens that outlive their connection (MS-SMB2 3.3.1.10, 3.3.5.9.6 to 3.3.5.9.13): durable handles, the names that
//! clients give their creates, and the instances of applications.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_vfs::{ShareId, Sid};

use crate::server::Server;
use crate::server::open::{FileOpen, Open, Target};
use crate::wire::{Guid, NtStatus};

/// Opens whose time is over are closed within this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What makes an open durable; fixed when it is made.
#[derive(Debug)]
pub(crate) struct Durable {
    /// Open.DurableOwner.
    pub(crate) owner: Sid,
    pub(crate) client: Guid,
    pub(crate) share: ShareId,
    /// The path that it was opened by.
    pub(crate) path: String,
    /// The lease that it depends on; None for an oplock.
    pub(crate) lease_key: Option<Guid>,
    /// How long it is kept without a connection.
    pub(crate) timeout: Duration,
    /// The client's name for the create, with version 2.
    pub(crate) create: Option<CreateKey>,
    pub(crate) app: Option<AppInstance>,
    /// It outlives the server, and depends on no oplock or lease (MS-SMB2 3.3.5.9.10).
    pub(crate) persistent: bool,
}

/// Names a create: the client, and what it calls the create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CreateKey {
    pub(crate) client: Guid,
    pub(crate) guid: Guid,
}

/// What an open keeps of the create that made it, so that it can be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CreateName {
    pub(crate) key: CreateKey,
    /// That of the lease that was asked for.
    pub(crate) lease_key: Option<Guid>,
}

/// An application that moves from one client to another takes its opens over (MS-SMB2 3.3.5.9.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppInstance {
    pub(crate) id: Guid,
    /// High and low part; None where the client gave none.
    pub(crate) version: Option<(u64, u64)>,
}

/// All durable opens of the server.
#[derive(Debug, Default)]
pub(crate) struct Durables {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// Those without a connection, by the persistent half of their id.
    kept: HashMap<u64, Kept>,
    creates: HashMap<CreateKey, Creation>,
    /// The living opens of an application's instance.
    apps: HashMap<Guid, Vec<Weak<Open>>>,
    /// A task looks after those whose time is over.
    watched: bool,
    closed: bool,
}

#[derive(Debug)]
struct Kept {
    file: FileOpen,
    durable: Arc<Durable>,
    /// Monotonic time until which it is kept.
    until: Duration,
}

#[derive(Debug)]
enum Creation {
    /// Under way.
    Pending,
    Open {
        open: Weak<Open>,
        persistent: u64,
    },
    /// Waits for its client to come back.
    Kept(u64),
}

/// What a create with a name of the client's is.
#[derive(Debug)]
pub(crate) enum Begun {
    New(Pending),
    /// The open that the first try made.
    Replayed(Arc<Open>),
    /// The first try's open lost its connection; to be taken up by this persistent id.
    Lost(u64),
}

/// A create under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    server: Arc<Server>,
    key: CreateKey,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut table = self.server.durables.table.lock();
        if let Some(Creation::Pending) = table.creates.get(&self.key) {
            table.creates.remove(&self.key);
        }
    }
}

impl Durables {
    /// A create that its client gave a name; the same name again must be a replay of it (MS-SMB2 3.3.5.9.10).
    pub(crate) fn begin(
        &self,
        server: &Arc<Server>,
        key: CreateKey,
        replay: bool,
    ) -> Result<Begun, NtStatus> {
        let mut table = self.table.lock();
        let found = match table.creates.get(&key) {
            None => None,
            Some(_) if !replay => return Err(NtStatus::DUPLICATE_OBJECTID),
            Some(Creation::Pending) => return Err(NtStatus::FILE_NOT_AVAILABLE),
            Some(Creation::Open { open, .. }) => {
                let open = open.upgrade().ok_or(NtStatus::FILE_NOT_AVAILABLE)?;
                Some(Begun::Replayed(open))
            }
            Some(Creation::Kept(persistent)) => Some(Begun::Lost(*persistent)),
        };
        Ok(found.unwrap_or_else(|| {
            table.creates.insert(key, Creation::Pending);
            let server = Arc::clone(server);
            Begun::New(Pending { server, key })
        }))
    }

    /// An open is in its session's table.
    pub(crate) fn entered(&self, open: &Arc<Open>) {
        let Target::File(file) = &open.target else {
            return;
        };
        let app = file.durable.as_ref().and_then(|durable| durable.app);
        if file.name.is_none() && app.is_none() {
            return;
        }
        let mut table = self.table.lock();
        if let Some(name) = file.name
            && file.unused.load(Ordering::Relaxed)
        {
            let persistent = open.id.persistent;
            let open = Arc::downgrade(open);
            let living = Creation::Open { open, persistent };
            table.creates.insert(name.key, living);
        }
        if let Some(app) = app {
            let opens = table.apps.entry(app.id).or_default();
            opens.retain(|open| open.strong_count() > 0);
            opens.push(Arc::downgrade(open));
        }
    }

    /// The client's name for an open's create is not needed any more.
    pub(crate) fn used(&self, open: &Open) {
        if let Some(name) = name_of(open) {
            let mut table = self.table.lock();
            table.forget_create(name.key, open.id.persistent);
        }
    }

    /// An open is closed for good.
    pub(crate) fn left(&self, open: &Open) {
        let (durable, name) = (durable_of(open), name_of(open));
        if durable.is_none() && name.is_none() {
            return;
        }
        let mut table = self.table.lock();
        if let Some(app) = durable.and_then(|durable| durable.app) {
            table.forget_app(app);
        }
        if let Some(name) = name {
            table.forget_create(name.key, open.id.persistent);
        }
    }

    /// Keeps an open that lost its connection, if what it rests on is still there. False if the caller must close it.
    pub(crate) fn keep(&self, server: &Arc<Server>, open: &Arc<Open>) -> bool {
        let Target::File(file) = &open.target else {
            return false;
        };
        let Some(durable) = file.durable.clone() else {
            return false;
        };
        let persistent = open.id.persistent;
        let outlives = durable.persistent;
        if outlives {
            server.vfs.set_away(&file.handle, true);
        }
        let limit = server.config.limits.durable_opens;
        let until = server.env.monotonic() + durable.timeout;
        let watched = {
            let mut table = self.table.lock();
            let full = table.kept.len() >= limit && !durable.persistent;
            if table.closed || full {
                return false;
            }
            if let Some(name) = file.name
                && file.unused.load(Ordering::Relaxed)
            {
                table.creates.insert(name.key, Creation::Kept(persistent));
            }
            let kept = Kept {
                file: file.again(),
                durable,
                until,
            };
            table.kept.insert(persistent, kept);
            std::mem::replace(&mut table.watched, true)
        };
        if !watched {
            watch(server);
        }
        // Asked once it can be found: a break from now on ends it by itself.
        outlives || rests(server, file) || self.take(persistent).is_none()
    }

    /// Keeps an open that its client could not be given back, or has not yet come back to since the server started.
    pub(crate) fn keep_again(
        &self,
        server: &Arc<Server>,
        persistent: u64,
        file: FileOpen,
        now: Duration,
    ) {
        let Some(durable) = file.durable.clone() else {
            return;
        };
        server.vfs.set_away(&file.handle, true);
        let watched = {
            let mut table = self.table.lock();
            if let Some(name) = file.name {
                table.creates.insert(name.key, Creation::Kept(persistent));
            }
            let kept = Kept {
                until: now + durable.timeout,
                durable,
                file,
            };
            table.kept.insert(persistent, kept);
            std::mem::replace(&mut table.watched, true)
        };
        if !watched {
            watch(server);
        }
    }

    fn take(&self, persistent: u64) -> Option<Kept> {
        self.table.lock().take(persistent)
    }

    fn take_durable(&self, persistent: u64) -> Option<Kept> {
        let mut table = self.table.lock();
        let kept = table.kept.get(&persistent)?;
        if kept.durable.persistent {
            return None;
        }
        table.take(persistent)
    }

    /// Gives an open back to its client, if `check` finds nothing against it (MS-SMB2 3.3.5.9.7, 3.3.5.9.12).
    pub(crate) fn take_up(
        &self,
        persistent: u64,
        now: Duration,
        check: impl FnOnce(&FileOpen, &Durable) -> Result<(), NtStatus>,
    ) -> Result<FileOpen, NtStatus> {
        let mut table = self.table.lock();
        let kept = table.kept.get(&persistent);
        let kept = kept.filter(|kept| kept.until > now);
        let kept = kept.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
        check(&kept.file, &kept.durable)?;
        let kept = table.take(persistent);
        Ok(kept.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?.file)
    }

    /// Closes what nobody is there to answer for; what is persistent waits nevertheless. Called under a grant's lock, so the closing comes later.
    pub(crate) fn expire(&self, server: &Arc<Server>, opens: impl Iterator<Item = u64>) {
        let gone: Vec<_> = opens.filter_map(|open| self.take_durable(open)).collect();
        if !gone.is_empty() {
            let closer = Arc::clone(server);
            let task = async move { close_all(&closer, gone).await };
            server.env.spawn("smb durable close", Box::pin(task));
        }
    }

    /// The opens of an application's instance that another client made on the share; those without a connection are
    /// taken out of the table. Refused where one is of a newer version (MS-SMB2 3.3.5.9.13, 3.3.5.9.16).
    pub(crate) fn superseded(
        &self,
        app: AppInstance,
        client: Guid,
        share: ShareId,
    ) -> Result<Superseded, NtStatus> {
        let living = self.living(app.id);
        let is_replaced = |held: &Durable| {
            let same = held.app.filter(|held| held.id == app.id);
            same.filter(|_| held.client != client && held.share == share)
        };
        let living: Vec<Arc<Open>> = living
            .into_iter()
            .filter(|open| durable_of(open).is_some_and(|held| is_replaced(held).is_some()))
            .collect();
        let mut table = self.table.lock();
        let lost = table.kept.iter();
        let lost: Vec<u64> = lost
            .filter(|(_, kept)| is_replaced(&kept.durable).is_some())
            .map(|(persistent, _)| *persistent)
            .collect();
        let of_living = living.iter().filter_map(|open| durable_of(open)?.app);
        let of_lost = lost.iter().filter_map(|id| table.kept.get(id)?.durable.app);
        if of_living.chain(of_lost).any(|held| is_older(app, held)) {
            return Err(NtStatus::FILE_FORCED_CLOSED);
        }
        let lost = lost
            .into_iter()
            .filter_map(|persistent| table.take(persistent))
            .collect();
        Ok(Superseded { living, lost })
    }

    fn living(&self, app: Guid) -> Vec<Arc<Open>> {
        let table = self.table.lock();
        let opens = table.apps.get(&app);
        opens.map_or_else(Vec::new, |opens| {
            opens.iter().filter_map(Weak::upgrade).collect()
        })
    }

    /// Closes what another instance of its application took over.
    pub(crate) async fn close_superseded(&self, server: &Server, superseded: Superseded) {
        close_all(server, superseded.lost).await;
        for open in superseded.living {
            server.close_open(&open).await;
        }
    }

    /// Closes all that is kept, for good; what is persistent is only suspended until the next start.
    pub(crate) async fn close(&self, server: &Server) {
        let kept = {
            let mut table = self.table.lock();
            table.closed = true;
            std::mem::take(&mut table.kept)
        };
        let all = kept.into_values();
        let (lasting, gone): (Vec<_>, Vec<_>) = all.partition(|kept| kept.durable.persistent);
        for kept in lasting {
            if let Err(error) = server.vfs.suspend(&kept.file.handle) {
                tracing::warn!(%error, "a persistent handle was not put aside cleanly");
            }
        }
        close_all(server, gone).await;
    }

    /// Closes what waits for users who are gone or disabled, or in shares that are gone or closed to them.
    pub(crate) async fn apply_changes(&self, server: &Server) {
        let gone = {
            let mut table = self.table.lock();
            let kept = table.kept.iter();
            let lost: Vec<u64> = kept
                .filter(|(_, kept)| !may_come_back(server, &kept.durable))
                .map(|(persistent, _)| *persistent)
                .collect();
            let lost = lost.into_iter();
            lost.filter_map(|persistent| table.take(persistent))
                .collect()
        };
        close_all(server, gone).await;
    }

    /// How many wait for their clients.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().kept.len()
    }

    /// Takes what has waited long enough; and whether there is more to look after.
    fn overdue(&self, now: Duration) -> (Vec<Kept>, bool) {
        let mut table = self.table.lock();
        let late = table.kept.iter().filter(|(_, kept)| kept.until <= now);
        let late: Vec<u64> = late.map(|(persistent, _)| *persistent).collect();
        let late = late.into_iter();
        let gone = late
            .filter_map(|persistent| table.take(persistent))
            .collect();
        table.watched = !table.kept.is_empty();
        (gone, table.watched)
    }
}

/// What an application's new instance takes the place of.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    living: Vec<Arc<Open>>,
    lost: Vec<Kept>,
}

impl Table {
    fn take(&mut self, persistent: u64) -> Option<Kept> {
        let kept = self.kept.remove(&persistent)?;
        if let Some(app) = kept.durable.app {
            self.forget_app(app);
        }
        if let Some(name) = kept.file.name {
            self.forget_create(name.key, persistent);
        }
        Some(kept)
    }

    /// An open of the application's is no more.
    fn forget_app(&mut self, app: AppInstance) {
        if let Some(opens) = self.apps.get_mut(&app.id) {
            opens.retain(|open| open.strong_count() > 0);
            if opens.is_empty() {
                self.apps.remove(&app.id);
            }
        }
    }

    fn forget_create(&mut self, key: CreateKey, persistent: u64) {
        let own = match self.creates.get(&key) {
            Some(
                Creation::Open {
                    persistent: open, ..
                }
                | Creation::Kept(open),
            ) => *open == persistent,
            Some(Creation::Pending) | None => false,
        };
        if own {
            self.creates.remove(&key);
        }
    }
}

/// Whether what is wanted is no newer than what is held.
fn is_older(wanted: AppInstance, held: AppInstance) -> bool {
    match (wanted.version, held.version) {
        (Some(wanted), Some(held)) => wanted <= held,
        (_, None) | (None, _) => false,
    }
}

/// Whether a durable open's user could still sign in and connect to its share.
fn may_come_back(server: &Server, durable: &Durable) -> bool {
    let Some(token) = server.identity.token(&durable.owner) else {
        return false;
    };
    let Some(share) = server.vfs.share_by_id(durable.share) else {
        return false;
    };
    let users = share.users.as_ref();
    let listed = |sid: &Sid| *sid == durable.owner || token.groups.contains(sid);
    token.admin || users.is_none_or(|users| users.iter().any(listed))
}

fn name_of(open: &Open) -> Option<CreateName> {
    match &open.target {
        Target::File(file) => file.name,
        Target::Pipe(_) => None,
    }
}

pub(crate) fn durable_of(open: &Open) -> Option<&Arc<Durable>> {
    match &open.target {
        Target::File(file) => file.durable.as_ref(),
        Target::Pipe(_) => None,
    }
}

/// Whether the client still has what a durable open rests on: a batch oplock or a lease for handles, not being broken;
/// and, where it has locked ranges, the right to cache them.
fn rests(server: &Server, file: &FileOpen) -> bool {
    let Some(grant) = file.handle.grant() else {
        return false;
    };
    let view = grant.look(|view| view);
    let unlocked = view.rights.write || !server.vfs.has_locks(&file.handle);
    view.rights.handle && !view.breaking && unlocked
}

/// Looks after those whose time is over, while there are any.
fn watch(server: &Arc<Server>) {
    let weak = Arc::downgrade(server);
    let task = async move {
        loop {
            let Some(server) = weak.upgrade() else { return };
            let now = server.env.monotonic();
            let (gone, more) = server.durables.overdue(now);
            close_all(&server, gone).await;
            if !more {
                return;
            }
            let sleep = server.env.sleep(LOOK_EVERY);
            drop(server);
            sleep.await;
        }
    };
    server.env.spawn("smb durable", Box::pin(task));
}

async fn close_all(server: &Server, gone: Vec<Kept>) {
    for kept in gone {
        if let Err(error) = server.vfs.close(&kept.file.handle).await {
            tracing::warn!(%error, "a file whose client did not come back did not close cleanly");
        }
    }
}
