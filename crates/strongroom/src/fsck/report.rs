//! What a check found, for people and for programs.

use serde::Serialize;
use strongroom_store::StoreStatus;

use strongroom_admin::types::{Index, Pool};
use strongroom_admin::words::{self, size};

/// Fields may be added, never renamed.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Repairs were wanted.
    pub(super) repaired: bool,
    /// The passphrase was not given: only the parts of stripes were checked.
    pub(super) locked: bool,
    pub(super) pool: Pool,
    pub(super) index: Option<Index>,
    pub(super) log_repairs: u64,
    pub(super) segments: u64,
    pub(super) stripes: u64,
    /// Bytes of stripes that were read and compared.
    pub(super) bytes: u64,
    /// Damaged parts that were made anew.
    pub(super) mended: u64,
    /// Parts of stripes on disks that are not in service.
    pub(super) missing_parts: u64,
    /// Stripes that a crash left without a name; the next server gives them back.
    pub(super) unnamed_stripes: u64,
    pub(super) shares: u64,
    pub(super) directories: u64,
    pub(super) files: u64,
    /// What is wrong, a sentence each. Empty means that everything is right.
    pub(super) problems: Vec<String>,
}

impl Report {
    pub(super) fn add_pool(&mut self, pool: Pool) {
        for disk in pool.disks.iter().filter(|disk| disk.state != "member") {
            let reason = disk.reason.as_deref().unwrap_or("no reason is known");
            let state = disk.state.replace('_', " ");
            self.problems
                .push(format!("{} is {state}: {reason}", disk.name));
        }
        if self.missing_parts > 0 {
            let missing = self.missing_parts;
            self.problems.push(format!(
                "{missing} parts of stripes lie on no disk in service; nothing is lost yet, but the pool survives fewer \
                 failures until they are rebuilt"
            ));
        }
        self.pool = pool;
    }

    pub(super) fn add_store(&mut self, status: StoreStatus) {
        let index = strongroom_admin::api::index_document(status.index);
        if index.lost_pages > 0 {
            self.problems.push(format!(
                "{} pages of the index are LOST on every copy",
                index.lost_pages
            ));
        }
        let left = index.bad_pages - index.repaired_pages.min(index.bad_pages);
        if !self.repaired && index.bad_pages > 0 {
            let bad = index.bad_pages;
            self.problems.push(format!(
                "{bad} pages of the index are damaged on one copy; another has them"
            ));
        } else if left > 0 {
            self.problems.push(format!(
                "{left} damaged pages of the index were not repaired"
            ));
        }
        if !self.repaired && status.log_repairs > 0 {
            let repairs = status.log_repairs;
            self.problems.push(format!(
                "{repairs} frames of the log are damaged on one copy; another has them"
            ));
        }
        self.log_repairs = status.log_repairs;
        self.index = Some(index);
    }

    pub(super) fn text(&self) -> String {
        let pool = &self.pool;
        let mut text = format!("pool    {}\nlayout  {}\n", pool.id, words::layout(pool));
        text += &format!("        {}\n", words::survival(pool));
        text += &format!(
            "data    {} segments with {} stripes, {} read and compared\n",
            self.segments,
            self.stripes,
            size(self.bytes)
        );
        if let Some(index) = &self.index {
            text += &format!(
                "index   {} of {} copies, {} each, every page compared\n",
                index.copies_good,
                index.copies,
                size(index.bytes)
            );
        }
        if self.locked {
            text += "names   not checked, nor log and index: the pool is encrypted, and its passphrase was not given\n";
            return text + &self.verdict();
        }
        text += &format!(
            "names   {} files in {} directories of {} shares\n",
            self.files, self.directories, self.shares
        );
        if self.unnamed_stripes > 0 {
            let stripes = self.unnamed_stripes;
            text += &format!(
                "space   {stripes} stripes have no name; the next server gives them back\n"
            );
        }
        text += &self.verdict();
        text
    }

    fn verdict(&self) -> String {
        let repaired = if self.repaired {
            let (parts, frames) = (self.mended, self.log_repairs);
            let pages = self.index.as_ref().map_or(0, |index| index.repaired_pages);
            format!(
                "Repaired: {parts} parts of stripes, {pages} pages of the index, {frames} frames of the log.\n"
            )
        } else {
            "Nothing was changed.\n".to_owned()
        };
        if self.problems.is_empty() {
            let all = if self.locked {
                "What was checked"
            } else {
                "Everything"
            };
            return format!("{repaired}{all} is right.\n");
        }
        let list = self
            .problems
            .iter()
            .map(|problem| format!("  - {problem}\n"));
        let advice = if self.repaired {
            ""
        } else {
            "`fsck --repair`, or a scrub of the running server, makes good what can be made good.\n"
        };
        format!(
            "{repaired}{} problems:\n{}{advice}",
            self.problems.len(),
            list.collect::<String>()
        )
    }
}
