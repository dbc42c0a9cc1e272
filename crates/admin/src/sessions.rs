//! People who are signed in. Kept in memory: who restarts the server signs in again.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use strongroom_device::Env;
use strongroom_identity::Sid;
use strongroom_vfs::SessionId;

use crate::tokens::hex;

/// Without a request for so long, a session ends.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);
const AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);
const SESSIONS_MAX: usize = 4_096;
const OF_ACCOUNT_MAX: usize = 32;
const SECRET_LEN: usize = 32;

type Hash = [u8; 32];

/// Whether it worked, and what is said.
pub(crate) type Flash = (bool, String);

/// One who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) sid: Sid,
    pub(crate) name: String,
    /// What its changes are recorded under.
    pub(crate) record: SessionId,
    /// What forms must say, as a page of another site cannot know it.
    pub(crate) csrf: String,
    pub(crate) address: String,
    /// What the next page says first: whether the last form worked.
    flash: Option<Flash>,
    began: Duration,
    used: Duration,
}

/// Sessions by the hash of their cookie: what a reader of this memory finds opens nothing.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_hash: Mutex<HashMap<Hash, Session>>,
}

/// A session that has ended, for its record.
pub(crate) type Ended = SessionId;

impl Sessions {
    /// Begins one with a secret of its own, whatever cookie the client had before; gives the new cookie's text.
    pub(crate) fn begin(
        &self,
        env: &dyn Env,
        (sid, name): (Sid, String),
        address: String,
        record: SessionId,
    ) -> (String, Vec<Ended>) {
        let (cookie, csrf) = (secret(env), secret(env));
        let now = env.monotonic();
        let session = Session {
            sid,
            name,
            record,
            csrf,
            address,
            flash: None,
            began: now,
            used: now,
        };
        let mut sessions = self.by_hash.lock();
        let mut ended = end_where(&mut sessions, |session| session.is_over(now));
        let own = |session: &Session| session.sid == sid;
        ended.extend(make_room(&mut sessions, OF_ACCOUNT_MAX, own));
        ended.extend(make_room(&mut sessions, SESSIONS_MAX, |_| true));
        sessions.insert(hash(&cookie), session);
        (cookie, ended)
    }

    pub(crate) fn find(&self, cookie: &str, env: &dyn Env) -> Option<Session> {
        let now = env.monotonic();
        let mut sessions = self.by_hash.lock();
        let session = sessions.get_mut(&hash(cookie))?;
        if session.is_over(now) {
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Has the session's next page say something first.
    pub(crate) fn tell(&self, cookie: &str, flash: Flash) {
        if let Some(session) = self.by_hash.lock().get_mut(&hash(cookie)) {
            session.flash = Some(flash);
        }
    }

    pub(crate) fn take_flash(&self, cookie: &str) -> Option<Flash> {
        let mut sessions = self.by_hash.lock();
        sessions.get_mut(&hash(cookie))?.flash.take()
    }

    pub(crate) fn end(&self, cookie: &str) -> Option<Ended> {
        let mut sessions = self.by_hash.lock();
        sessions.remove(&hash(cookie)).map(|session| session.record)
    }

    /// Ends an account's sessions, but not the one that is recorded as `but`.
    pub(crate) fn end_all_of(&self, sid: &Sid, but: Option<SessionId>) -> Vec<Ended> {
        let mut sessions = self.by_hash.lock();
        end_where(&mut sessions, |session| {
            session.sid == *sid && Some(session.record) != but
        })
    }

    pub(crate) fn list(&self, env: &dyn Env) -> Vec<Session> {
        let now = env.monotonic();
        let sessions = self.by_hash.lock();
        let live = sessions.values().filter(|session| !session.is_over(now));
        live.cloned().collect()
    }
}

impl Session {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.used) > IDLE_MAX || now.saturating_sub(self.began) > AGE_MAX
    }

    pub(crate) fn has_csrf(&self, text: &str) -> bool {
        verify_slices_are_equal(self.csrf.as_bytes(), text.as_bytes()).is_ok()
    }
}

fn end_where(sessions: &mut HashMap<Hash, Session>, over: impl Fn(&Session) -> bool) -> Vec<Ended> {
    let gone = sessions.extract_if(|_, session| over(session));
    gone.map(|(_, session)| session.record).collect()
}

/// Ends the one unused for longest where there are as many as may be.
fn make_room(
    sessions: &mut HashMap<Hash, Session>,
    most: usize,
    counted: impl Fn(&Session) -> bool,
) -> Option<Ended> {
    let of_kind = || sessions.iter().filter(|(_, session)| counted(session));
    if of_kind().count() < most {
        return None;
    }
    let (oldest, _) = of_kind().min_by_key(|(_, session)| session.used)?;
    let oldest = *oldest;
    sessions.remove(&oldest).map(|session| session.record)
}

fn secret(env: &dyn Env) -> String {
    let mut bytes = [0; SECRET_LEN];
    env.fill_random(&mut bytes);
    hex(&bytes)
}

fn hash(text: &str) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}
