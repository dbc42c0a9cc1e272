//! Instants that thinning leaves as they were until they are unpinned.

use strongroom_pool::Txg;

use crate::rows::{self, PinRow};
use crate::{Instant, Realm, Result};

/// An instant that is kept for one realm or, with realm 0, for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Chosen by who made it.
    pub id: u64,
    pub realm: Realm,
    pub instant: Instant,
}

impl Pin {
    pub(crate) fn decode(key: &[u8], payload: &[u8]) -> Result<Self> {
        let row = PinRow::decode(payload)?;
        Ok(Self {
            id: rows::decode_list_key(key)?,
            realm: row.realm,
            instant: Instant {
                txg: row.txg,
                time: row.time,
            },
        })
    }

    /// Whether it keeps what a realm's rows were; None stands for rows of no realm.
    pub(crate) fn is_for(&self, realm: Option<Realm>) -> bool {
        self.realm == Realm(0) || realm.is_none_or(|realm| realm == self.realm)
    }
}

/// All pins, in the order of their instants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Vec<Pin>);

impl Pins {
    pub(crate) fn new(mut pins: Vec<Pin>) -> Self {
        pins.sort_unstable_by_key(|pin| (pin.instant.txg, pin.id));
        Self(pins)
    }

    /// These and others.
    pub(crate) fn joined(&self, others: &Self) -> Self {
        let news = others.iter().filter(|pin| !self.has(pin.id));
        Self::new(self.iter().chain(news).copied().collect())
    }

    pub(crate) fn of(&self, realm: Option<Realm>) -> impl Iterator<Item = &Pin> {
        self.0.iter().filter(move |pin| pin.is_for(realm))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.0.iter()
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.0.iter().any(|pin| pin.id == id)
    }

    pub(crate) fn are_for_all(&self) -> bool {
        self.0.iter().all(|pin| pin.realm == Realm(0))
    }

    pub(crate) fn first(&self) -> Option<Txg> {
        self.0.first().map(|pin| pin.instant.txg)
    }
}
