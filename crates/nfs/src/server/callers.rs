//! Who calls, to the file system: credentials made of numbers that a client's machine vouches for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_identity::{Identity, Kind, NOBODY, Numbers};
use strongroom_vfs::{Credentials, SessionId, SessionInfo, Sid, Squash, Vfs};

use crate::rpc::Auth;

/// Callers kept; the one that came first makes room.
const CALLERS_MAX: usize = 4_096;

/// Numbers of a caller, with what an export makes of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Numbered {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
    /// Root, and believed to be.
    pub(crate) root: bool,
}

impl Numbered {
    /// Without a credential, and where the export says so, the caller is nobody.
    pub(crate) fn of(auth: &Auth<'_>, squash: Squash) -> Self {
        let Auth::Sys(sys) = auth else {
            return Self::nobody();
        };
        match squash {
            Squash::All => Self::nobody(),
            Squash::Root if sys.user == 0 => Self::nobody(),
            Squash::Root => Self {
                user: sys.user,
                group: not_root(sys.group),
                groups: sys.groups.0.iter().copied().map(not_root).collect(),
                root: false,
            },
            Squash::None => Self {
                user: sys.user,
                group: sys.group,
                groups: sys.groups.0.clone(),
                root: sys.user == 0,
            },
        }
    }

    fn nobody() -> Self {
        Self {
            user: NOBODY,
            group: NOBODY,
            groups: Vec::new(),
            root: false,
        }
    }
}

/// Root's group is squashed as root is.
fn not_root(group: u32) -> u32 {
    if group == 0 { NOBODY } else { group }
}

#[derive(Debug)]
struct Kept {
    credentials: Arc<Credentials>,
    revision: u64,
}

#[derive(Debug, Default)]
struct Table {
    callers: HashMap<(IpAddr, Numbered), Kept>,
    order: std::collections::VecDeque<(IpAddr, Numbered)>,
}

/// Callers that were seen lately. Each is recorded as a client session, which its changes are kept under.
#[derive(Debug)]
pub(crate) struct Callers {
    vfs: Arc<Vfs>,
    identity: Arc<Identity>,
    numbers: Numbers,
    table: Mutex<Table>,
}

impl Callers {
    pub(crate) fn new(vfs: Arc<Vfs>, identity: Arc<Identity>) -> Self {
        let numbers = Numbers::new(identity.machine_sid());
        Self {
            vfs,
            identity,
            numbers,
            table: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Whether a SID is that of a group.
    pub(crate) fn is_group(&self, sid: &Sid) -> bool {
        use strongroom_identity::AccountKind;
        match self.identity.sid_name(sid).map(|name| name.kind) {
            Some(AccountKind::User) => false,
            Some(
                AccountKind::Group
                | AccountKind::Domain
                | AccountKind::Alias
                | AccountKind::WellKnownGroup,
            ) => true,
            None => sid
                .rid()
                .is_some_and(|number| *sid == Sid::unix_group(number)),
        }
    }

    /// A user or group by its name.
    pub(crate) fn sid_of(&self, name: &str) -> Option<Sid> {
        self.identity.sid_of(name)
    }

    pub(crate) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The credentials of a caller.
    pub(crate) fn find(
        &self,
        peer: IpAddr,
        who: Numbered,
        protocol: &str,
    ) -> strongroom_vfs::Result<Arc<Credentials>> {
        let revision = self.identity.revision();
        let key = (peer, who);
        let mut table = self.table.lock();
        let mut session = None;
        if let Some(kept) = table.callers.get(&key) {
            if kept.revision == revision {
                return Ok(Arc::clone(&kept.credentials));
            }
            session = Some(kept.credentials.session);
        }
        let mut credentials = self.credentials(&key.1);
        credentials.session = match session {
            Some(session) => session,
            None => self.begin(peer, &key.1, &credentials, protocol)?,
        };
        let credentials = Arc::new(credentials);
        let kept = Kept {
            credentials: Arc::clone(&credentials),
            revision,
        };
        if table.callers.insert(key.clone(), kept).is_none() {
            table.order.push_back(key);
        }
        if table.order.len() > CALLERS_MAX
            && let Some(first) = table.order.pop_front()
            && let Some(kept) = table.callers.remove(&first)
        {
            self.vfs.end_session(kept.credentials.session)?;
        }
        Ok(credentials)
    }

    fn begin(
        &self,
        peer: IpAddr,
        who: &Numbered,
        credentials: &Credentials,
        protocol: &str,
    ) -> strongroom_vfs::Result<SessionId> {
        let name = self.identity.sid_name(&credentials.user);
        self.vfs.begin_session(&SessionInfo {
            user: credentials.user,
            user_name: name.map_or_else(|| who.user.to_string(), |account| account.name),
            address: peer.to_string(),
            protocol: protocol.to_owned(),
        })
    }

    fn credentials(&self, who: &Numbered) -> Credentials {
        let user = self.numbers.sid(Kind::User, who.user);
        let primary_group = self.numbers.sid(Kind::Group, who.group);
        let mut groups = vec![
            primary_group,
            Sid::EVERYONE,
            Sid::AUTHENTICATED_USERS,
            Sid::NETWORK,
        ];
        let given = who.groups.iter();
        groups.extend(given.map(|group| self.numbers.sid(Kind::Group, *group)));
        if let Some(token) = self.identity.token(&user) {
            groups.extend(token.groups);
        }
        if who.root {
            groups.push(Sid::ADMINISTRATORS);
        }
        Credentials {
            user,
            primary_group,
            groups,
            admin: who.root,
            session: SessionId::SYSTEM,
        }
    }

    /// Records the end of all.
    pub(crate) fn end(&self) {
        let table = std::mem::take(&mut *self.table.lock());
        for kept in table.callers.into_values() {
            if let Err(error) = self.vfs.end_session(kept.credentials.session) {
                tracing::warn!(%error, "the end of a client session could not be recorded");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::AuthSys;
    use crate::xdr::{List, Opaque};

    fn root() -> Auth<'static> {
        Auth::Sys(AuthSys {
            stamp: 0,
            machine: Opaque(b"m"),
            user: 0,
            group: 0,
            groups: List(vec![0, 5]),
        })
    }

    #[test]
    fn root_is_nobody_unless_the_export_believes_it() {
        assert_eq!(Numbered::of(&root(), Squash::Root), Numbered::nobody());
        assert_eq!(Numbered::of(&root(), Squash::All), Numbered::nobody());
        assert_eq!(Numbered::of(&Auth::None, Squash::None), Numbered::nobody());
        assert!(Numbered::of(&root(), Squash::None).root);
    }

    #[test]
    fn a_user_in_root_s_group_is_not_in_it_here() {
        let mut user = root();
        if let Auth::Sys(sys) = &mut user {
            sys.user = 1000;
        }
        let who = Numbered::of(&user, Squash::Root);
        assert_eq!(
            (who.user, who.group, who.groups),
            (1000, NOBODY, vec![NOBODY, 5])
        );
    }
}
