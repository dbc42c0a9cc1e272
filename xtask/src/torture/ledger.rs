//! What is expected of each case.

use anyhow::{Result, bail, ensure};

const LEDGER: &str = include_str!("../../../tests/torture-ledger.tsv");
/// How the reason of a passing case begins that takes long.
const SLOW: &str = "slow";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
}

/// One line of the ledger.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As `smbtorture` takes it: `suite.test.test`.
    pub case: String,
    pub expected: Verdict,
    pub reason: String,
}

impl Entry {
    /// As in `smb2.lock`.
    pub fn suite(&self) -> &str {
        let mut dots = self.case.match_indices('.');
        match (dots.next(), dots.next()) {
            (Some(_), Some((end, _))) => &self.case[..end],
            _ => &self.case,
        }
    }

    /// As in `smb2.lock.contend`: what `smbtorture` calls it twice, once.
    pub fn test(&self) -> &str {
        match self.case.rsplit_once('.') {
            Some((test, last)) if test.ends_with(last) => test,
            _ => &self.case,
        }
    }

    /// Left out where somebody waits.
    pub fn is_slow(&self) -> bool {
        self.reason.starts_with(SLOW)
    }
}

/// The ledger, checked: every failure has its reason, no case stands there twice.
pub fn read() -> Result<Vec<Entry>> {
    let lines = LEDGER
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let entries: Vec<Entry> = lines.map(parse).collect::<Result<_>>()?;
    let mut cases: Vec<&str> = entries.iter().map(|entry| entry.case.as_str()).collect();
    cases.sort_unstable();
    if let Some(pair) = cases.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("{} stands twice in the ledger", pair[0]);
    }
    Ok(entries)
}

fn parse(line: &str) -> Result<Entry> {
    let mut fields = line.split('\t');
    let case = fields.next().unwrap_or_default().to_owned();
    let expected = match fields.next() {
        Some("pass") => Verdict::Pass,
        Some("fail") => Verdict::Fail,
        other => bail!("{case}: {other:?} is neither pass nor fail"),
    };
    let reason = fields.next().unwrap_or_default().to_owned();
    ensure!(
        expected == Verdict::Pass || !reason.is_empty(),
        "{case}: a failure needs its reason"
    );
    Ok(Entry {
        case,
        expected,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_well_formed() {
        assert!(!read().unwrap().is_empty());
    }

    #[test]
    fn a_case_is_known_by_its_suite_and_its_test() {
        let entry = |case: &str| parse(&format!("{case}\tpass\t")).unwrap();
        let nested = entry("smb2.multichannel.leases.test1.test1");
        assert_eq!(
            (nested.suite(), nested.test()),
            ("smb2.multichannel", "smb2.multichannel.leases.test1")
        );
        let alone = entry("smb2.connect.connect");
        assert_eq!(
            (alone.suite(), alone.test()),
            ("smb2.connect", "smb2.connect")
        );
    }
}
