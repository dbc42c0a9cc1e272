//! What concerns more than one file: sessions, quotas, and making everything durable.

use std::sync::Arc;

use strongroom_vfs::{QuotaOf, SessionId, SessionInfo};

use crate::client::{Client, user};
use crate::model::Object;

pub(super) async fn sync_all(client: &mut Client) {
    let shared = Arc::clone(&client.shared);
    let (names, data): (usize, Vec<(Object, usize)>) = {
        let model = shared.model.lock();
        (model.names_now(), model.data.versions())
    };
    let result = shared.vfs.store().sync_all().await;
    let result = result.map_err(strongroom_vfs::VfsError::from);
    if shared.judge(&client.says("sync all"), &[], 1, &result) {
        shared.model.lock().synced(names, &data);
    }
}

pub(super) fn begin_or_end(client: &mut Client) {
    let shared = Arc::clone(&client.shared);
    let open = {
        let model = shared.model.lock();
        let open = model.names.sessions.iter().find(|(_, ended)| !**ended);
        open.map(|(id, _)| *id)
    };
    if let Some(id) = open.filter(|_| client.rng.chance(50)) {
        let result = shared.vfs.end_session(SessionId(id));
        if shared.judge(&client.says(&format!("end session {id}")), &[], 1, &result) {
            let mut model = shared.model.lock();
            model.names.sessions.insert(id, true);
            model.changed();
        }
        return;
    }
    let info = SessionInfo {
        user: client.who.user,
        user_name: "someone".into(),
        address: "192.0.2.1".into(),
        protocol: "SMB 3.1.1".into(),
    };
    let result = shared.vfs.begin_session(&info);
    if shared.judge(&client.says("begin a session"), &[], 1, &result) {
        let id = result.unwrap().0;
        let mut model = shared.model.lock();
        let known = model.names.sessions.insert(id, false);
        model.changed();
        drop(model);
        if known.is_some() {
            shared.accuse(format!("session {id} was given out twice"));
        }
    }
}

/// Sets the limit of some client anew, if there are quotas.
pub(super) fn quota(client: &mut Client) {
    let shared = Arc::clone(&client.shared);
    if !shared.model.lock().quotas {
        return;
    }
    let of = QuotaOf::User(user(1000 + client.rng.below(4) as u32).user);
    let limit = [None, Some(2 << 20), Some(20 << 20)][client.rng.below(3)];
    let result = shared.vfs.set_quota(of, limit);
    shared.judge(
        &client.says(&format!("set a quota of {limit:?}")),
        &[],
        1,
        &result,
    );
}
