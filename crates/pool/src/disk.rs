//! One disk as the open pool sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use strongroom_device::{Device, DeviceError};

use crate::label::Role;
use crate::{DiskId, DiskState, DiskStatus};

#[derive(Debug)]
pub(crate) struct Disk {
    /// None when it was not among the devices given.
    pub(crate) device: Option<Arc<dyn Device>>,
    /// None when its label could not be read.
    pub(crate) id: Option<DiskId>,
    /// Whether it is read and written.
    member: AtomicBool,
    state: Mutex<(DiskState, Option<String>)>,
    /// A member that waits for another to fail: it takes no shards.
    spare: AtomicBool,
    /// A member that is being emptied: it takes no new shards.
    leaving: AtomicBool,
    /// It holds nothing yet, as the epoch that makes it a member is not durable.
    fresh: AtomicBool,
    pub(crate) errors: AtomicU64,
    /// Label copies to be rewritten when the next epoch begins.
    pub(crate) bad_labels: Vec<&'static str>,
    /// What its label says beside the pool that it belongs to.
    role: Mutex<Role>,
}

impl Disk {
    pub(crate) fn new(
        device: Option<Arc<dyn Device>>,
        id: Option<DiskId>,
        state: DiskState,
        reason: Option<String>,
    ) -> Self {
        Self {
            device,
            id,
            member: AtomicBool::new(state == DiskState::Member),
            state: Mutex::new((state, reason)),
            spare: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            fresh: AtomicBool::new(false),
            errors: AtomicU64::new(0),
            bad_labels: Vec::new(),
            role: Mutex::default(),
        }
    }

    /// One that holds nothing and is not yet in any epoch.
    pub(crate) fn fresh(device: Arc<dyn Device>, id: DiskId, role: Role) -> Self {
        let disk = Self::new(Some(device), Some(id), DiskState::Member, None);
        disk.fresh.store(true, Ordering::Release);
        disk.set_role(role);
        disk
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Acquire)
    }

    /// The epoch that makes it a member is durable.
    pub(crate) fn is_established(&self) {
        self.fresh.store(false, Ordering::Release);
    }

    pub(crate) fn role(&self) -> Role {
        self.role.lock().clone()
    }

    /// Takes over what the label says. That it leaves counts from when an epoch was begun: until then its copies of log
    /// and index are looked for.
    pub(crate) fn set_role(&self, role: Role) {
        self.spare.store(role.spare, Ordering::Release);
        *self.role.lock() = role;
    }

    pub(crate) fn begin_leaving(&self) {
        let leaving = self.role.lock().leaving;
        self.leaving.store(leaving, Ordering::Release);
    }

    /// What it shares with others and fails with, as a person named it; empty for nothing.
    pub(crate) fn named_domain(&self) -> String {
        self.role.lock().domain.clone()
    }

    /// The device, if the disk is a member now.
    pub(crate) fn live(&self) -> Option<&Arc<dyn Device>> {
        self.device.as_ref().filter(|_| self.is_live())
    }

    pub(crate) fn is_live(&self) -> bool {
        self.member.load(Ordering::Acquire)
    }

    /// Whether new shards and mirrored files may be put on it.
    pub(crate) fn takes_shards(&self) -> bool {
        self.is_live() && !self.is_spare() && !self.is_leaving() && !self.is_fresh()
    }

    pub(crate) fn is_spare(&self) -> bool {
        self.spare.load(Ordering::Acquire)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| device.name() == name)
    }

    /// The device, or the error that whoever asks for it gets instead.
    pub(crate) fn live_or_error(
        &self,
        operation: &'static str,
        path: &str,
    ) -> Result<&Arc<dyn Device>, DeviceError> {
        self.live().ok_or_else(|| DeviceError::Io {
            device: self.name(),
            operation,
            path: path.to_owned(),
            message: "the disk is set aside".into(),
        })
    }

    /// True if it was a member until now.
    pub(crate) fn leave(&self, state: DiskState, reason: &str) -> bool {
        let was = self.member.swap(false, Ordering::AcqRel);
        if was {
            *self.state.lock() = (state, Some(reason.to_owned()));
        }
        was
    }

    /// Says something else of a disk that is no member.
    pub(crate) fn describe(&self, state: DiskState, reason: &str) {
        *self.state.lock() = (state, Some(reason.to_owned()));
    }

    pub(crate) fn state(&self) -> DiskState {
        self.state.lock().0
    }

    pub(crate) fn name(&self) -> String {
        match (&self.device, self.id) {
            (Some(device), _) => device.name().to_owned(),
            (None, Some(id)) => format!("disk {id}"),
            (None, None) => "unknown disk".to_owned(),
        }
    }

    pub(crate) fn status(&self) -> DiskStatus {
        let (state, reason) = self.state.lock().clone();
        DiskStatus {
            name: self.name(),
            id: self.id.map(|id| id.to_string()).unwrap_or_default(),
            state,
            errors: self.errors.load(Ordering::Relaxed),
            reason,
            spare: self.is_spare(),
            leaving: self.is_leaving(),
            domain: self.named_domain(),
            space: None,
        }
    }
}

/// The disks of a pool. The list is replaced as a whole, so that readers of it hold no lock.
#[derive(Debug)]
pub(crate) struct Disks(RwLock<Arc<[Arc<Disk>]>>);

impl Disks {
    pub(crate) fn new(disks: Vec<Arc<Disk>>) -> Self {
        Self(RwLock::new(disks.into()))
    }

    pub(crate) fn all(&self) -> Arc<[Arc<Disk>]> {
        Arc::clone(&self.0.read())
    }

    /// Those that are read and written.
    pub(crate) fn live(&self) -> Vec<Arc<Disk>> {
        let all = self.all();
        all.iter().filter(|disk| disk.is_live()).cloned().collect()
    }

    pub(crate) fn find(&self, id: DiskId) -> Option<Arc<Disk>> {
        self.all().iter().find(|disk| disk.id == Some(id)).cloned()
    }

    pub(crate) fn replace(&self, change: impl FnOnce(&mut Vec<Arc<Disk>>)) {
        let mut held = self.0.write();
        let mut list = held.to_vec();
        change(&mut list);
        *held = list.into();
    }
}
