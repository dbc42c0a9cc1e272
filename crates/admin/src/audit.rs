//! The log of acts: who did what, from where, and what came of it. Only ever added to, until it is old.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_store::Store;
use utoipa::ToSchema;

use crate::rows::{ACTS, Rows, RowsError};

/// Acts that are kept; the oldest of more go.
const ACTS_MAX: u64 = 1_000_000;
/// How many are dropped at once.
const DROPPED_AT_ONCE: u64 = 1_024;
/// Acts looked at for one page of a filtered list.
const LOOKED_AT_MAX: u64 = 200_000;
const WINDOW: u64 = 2_000;

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Act {
    /// Seconds since 1970.
    pub time_s: u64,
    /// The account, or who came through the socket.
    pub who: String,
    pub role: String,
    /// Where from.
    pub address: String,
    /// What, as the API names it.
    pub act: String,
    /// On what.
    pub on: String,
    /// `done`, `refused` or `failed`.
    pub result: String,
    /// What was asked for, or why it was refused.
    #[serde(default)]
    pub detail: String,
}

/// What to look for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ActsWanted {
    /// Only older ones than this number.
    #[serde(default)]
    pub before: Option<u64>,
    #[serde(default)]
    pub max: Option<usize>,
    #[serde(default)]
    pub who: Option<String>,
    /// A part of the act, of what it was on, or of its detail.
    #[serde(default)]
    pub text: Option<String>,
    /// `done`, `refused` or `failed`.
    #[serde(default)]
    pub result: Option<String>,
    #[serde(default)]
    pub since_s: Option<u64>,
    #[serde(default)]
    pub until_s: Option<u64>,
}

/// An act with its number.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Numbered {
    pub number: u64,
    #[serde(flatten)]
    pub act: Act,
}

#[derive(Debug)]
pub(crate) struct Audit {
    rows: Rows,
    next: Mutex<u64>,
}

impl Audit {
    pub(crate) fn open(store: Arc<Store>) -> Result<Audit, RowsError> {
        let rows = Rows::new(store, ACTS);
        let next = next_number(&rows)?;
        Ok(Audit {
            rows,
            next: Mutex::new(next),
        })
    }

    /// Visible on return and durable with the next group of the store.
    pub(crate) fn add(&self, act: &Act) -> Result<(), RowsError> {
        let mut next = self.next.lock();
        self.rows.put(*next, act)?;
        *next += 1;
        if next.is_multiple_of(DROPPED_AT_ONCE) && *next > ACTS_MAX {
            self.drop_before(*next - ACTS_MAX)?;
        }
        Ok(())
    }

    fn drop_before(&self, number: u64) -> Result<(), RowsError> {
        let most = usize::try_from(DROPPED_AT_ONCE * 2).unwrap_or(usize::MAX);
        let old: Vec<(u64, Act)> = self.rows.range(0, number, most)?;
        self.rows.delete(old.into_iter().map(|(number, _)| number))
    }

    /// The newest that fit, newest first.
    pub(crate) fn newest(
        &self,
        wanted: &ActsWanted,
        max: usize,
    ) -> Result<Vec<Numbered>, RowsError> {
        let mut before = wanted.before.unwrap_or(u64::MAX).min(*self.next.lock());
        let stop = before.saturating_sub(LOOKED_AT_MAX);
        let mut found = Vec::new();
        while before > stop && found.len() < max {
            let from = before.saturating_sub(WINDOW).max(stop);
            let page: Vec<(u64, Act)> = self.rows.range(from, before, usize::MAX)?;
            if page.is_empty() {
                break;
            }
            let fitting = page.into_iter().rev().filter(|(_, act)| wanted.fits(act));
            found.extend(fitting.map(|(number, act)| Numbered { number, act }));
            before = from;
        }
        found.truncate(max);
        Ok(found)
    }

    /// Acts from a number on, oldest first, for an export.
    pub(crate) fn from(&self, number: u64, max: usize) -> Result<Vec<Numbered>, RowsError> {
        let page: Vec<(u64, Act)> = self.rows.range(number, u64::MAX, max)?;
        let numbered = |(number, act)| Numbered { number, act };
        Ok(page.into_iter().map(numbered).collect())
    }
}

impl ActsWanted {
    pub(crate) fn fits(&self, act: &Act) -> bool {
        let in_text = |text: &String| {
            let text = text.to_lowercase();
            let places = [&act.act, &act.on, &act.detail, &act.who, &act.address];
            places
                .iter()
                .any(|place| place.to_lowercase().contains(&text))
        };
        self.who
            .as_ref()
            .is_none_or(|who| act.who.eq_ignore_ascii_case(who))
            && self
                .result
                .as_ref()
                .is_none_or(|result| act.result == *result)
            && self.since_s.is_none_or(|since| act.time_s >= since)
            && self.until_s.is_none_or(|until| act.time_s <= until)
            && self.text.as_ref().is_none_or(in_text)
    }
}

/// Numbers have no gaps behind the oldest that is left, so the last is found by halving.
fn next_number(rows: &Rows) -> Result<u64, RowsError> {
    let is_before_last = |number: u64| -> Result<bool, RowsError> {
        let page: Vec<(u64, Act)> = rows.range(number, u64::MAX, 1)?;
        Ok(!page.is_empty())
    };
    let (mut low, mut high) = (1, u64::MAX - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before_last(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
