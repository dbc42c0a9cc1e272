//! One disk as the open pool sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use strongroom_device::Device;

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
    pub(crate) errors: AtomicU64,
    /// Label copies to be rewritten when the next epoch begins.
    pub(crate) bad_labels: Vec<&'static str>,
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
            errors: AtomicU64::new(0),
            bad_labels: Vec::new(),
        }
    }

    /// The device, if the disk is a member now.
    pub(crate) fn live(&self) -> Option<&Arc<dyn Device>> {
        self.device
            .as_ref()
            .filter(|_| self.member.load(Ordering::Acquire))
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.device
            .as_ref()
            .is_some_and(|device| device.name() == name)
    }

    /// True if it was a member until now.
    pub(crate) fn leave(&self, state: DiskState, reason: &str) -> bool {
        let was = self.member.swap(false, Ordering::AcqRel);
        if was {
            *self.state.lock() = (state, Some(reason.to_owned()));
        }
        was
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
        }
    }
}
