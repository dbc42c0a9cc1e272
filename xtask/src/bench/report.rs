//! From samples to medians, ratios, the table and the JSON file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::Options;
use super::measure::Sample;
use super::subject::Kind;
use super::work::Row;

/// All samples of a run.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    by_row: BTreeMap<(Row, Kind), Vec<Sample>>,
}

impl Samples {
    pub(crate) fn add(&mut self, row: &Row, kind: Kind, sample: Sample) {
        self.by_row.entry((*row, kind)).or_default().push(sample);
    }

    /// The median over the turns of what `measure` makes of a sample.
    fn median(&self, row: &Row, kind: Kind, measure: impl Fn(&Sample) -> f64) -> Option<f64> {
        let mut values: Vec<f64> = self
            .by_row
            .get(&(*row, kind))?
            .iter()
            .map(measure)
            .collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            return values.get(middle).copied();
        }
        Some((values.get(middle - 1)? + values.get(middle)?) / 2.0)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.by_row.keys().map(|(row, _)| *row).collect();
        rows.dedup();
        rows.sort_by_key(|row| {
            (
                !row.operation.is_sequential(),
                row.sealed,
                row.connections,
                row.operation,
            )
        });
        rows
    }
}

/// One figure of one row, ours beside the peer's.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) ours: Option<f64>,
    pub(super) peer: Option<f64>,
    pub(super) unit: &'static str,
    /// Whether a higher or a lower figure is the better one.
    pub(super) better: &'static str,
    /// Ours divided by the peer's.
    pub(super) ratio: Option<f64>,
    /// Which of the peer's two set-ups was the better one and stands here.
    pub(super) peer_setup: Option<&'static str>,
    /// What a bare echo server of the same message sizes does.
    pub(super) floor: Option<f64>,
    /// For CPU: what was used while the client worked, and after that; they need not add up, being medians.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ours_foreground: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ours_deferred: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_foreground: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer_deferred: Option<f64>,
}

#[derive(Debug)]
pub(crate) struct Report {
    lines: Vec<Line>,
    turns: usize,
}

impl Report {
    pub(crate) fn new(samples: &Samples, options: &Options) -> Report {
        let lines = samples
            .rows()
            .iter()
            .flat_map(|row| [speed(samples, row), cpu(samples, row)])
            .collect();
        Report::of(lines, options.turns)
    }

    pub(super) fn of(lines: Vec<Line>, turns: usize) -> Report {
        Report { lines, turns }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(&self.lines)? + "\n")?;
        println!("written to {}", path.display());
        Ok(())
    }
}

fn speed(samples: &Samples, row: &Row) -> Line {
    let (unit, scale) = if row.operation.is_sequential() {
        ("MB/s", 1e6)
    } else {
        ("ops/s", 1.0)
    };
    let measure = |s: &Sample| s.amount / scale / s.elapsed.as_secs_f64();
    line(samples, row, unit, "higher", &measure)
}

fn cpu(samples: &Samples, row: &Row) -> Line {
    let (unit, scale) = cpu_scale(row);
    let per = |time: Duration, s: &Sample| time.as_secs_f64() * scale / s.amount;
    let mut line = line(samples, row, unit, "lower", &|s: &Sample| {
        per(s.foreground + s.deferred, s)
    });
    let foreground = |s: &Sample| per(s.foreground, s);
    let deferred = |s: &Sample| per(s.deferred, s);
    line.ours_foreground = samples.median(row, Kind::Strongroom, foreground);
    line.ours_deferred = samples.median(row, Kind::Strongroom, deferred);
    let peer = PEERS
        .iter()
        .find(|(_, setup)| line.peer_setup == Some(setup));
    let peer = peer.map_or(Kind::SambaAsItComes, |(kind, _)| *kind);
    line.peer_foreground = samples.median(row, peer, foreground);
    line.peer_deferred = samples.median(row, peer, deferred);
    line
}

fn cpu_scale(row: &Row) -> (&'static str, f64) {
    if row.operation.is_sequential() {
        ("cpu s/GiB", (1_u64 << 30) as f64)
    } else {
        ("us/op", 1e6)
    }
}

/// Of those that were measured the better one counts.
const PEERS: [(Kind, &str); 3] = [
    (Kind::SambaAsItComes, "Samba as it comes"),
    (Kind::SambaTuned, "Samba tuned"),
    (Kind::WithoutHistory, "without history"),
];

fn line(
    samples: &Samples,
    row: &Row,
    unit: &'static str,
    better: &'static str,
    measure: &dyn Fn(&Sample) -> f64,
) -> Line {
    let ours = samples.median(row, Kind::Strongroom, measure);
    let (peer, peer_setup) = better_peer(samples, row, better, measure).unzip();
    Line {
        name: row.name(),
        ours,
        peer,
        unit,
        better,
        ratio: ours.zip(peer).map(|(ours, peer)| ours / peer),
        peer_setup,
        floor: samples.median(row, Kind::Floor, measure),
        ours_foreground: None,
        ours_deferred: None,
        peer_foreground: None,
        peer_deferred: None,
    }
}

fn better_peer(
    samples: &Samples,
    row: &Row,
    better: &str,
    measure: &dyn Fn(&Sample) -> f64,
) -> Option<(f64, &'static str)> {
    let measured = PEERS.iter().filter_map(|(kind, setup)| {
        let value = samples.median(row, *kind, measure)?;
        Some((value, *setup))
    });
    measured.reduce(|best, next| {
        let next_wins = if better == "higher" {
            next.0 > best.0
        } else {
            next.0 < best.0
        };
        if next_wins { next } else { best }
    })
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nMedians of {} turns; CPU in brackets: foreground + deferred.",
            self.turns
        )?;
        writeln!(
            out,
            "| row | unit | Strongroom | peer | times better | bare echo |"
        )?;
        writeln!(out, "|---|---|---|---|---|---|")?;
        self.lines
            .iter()
            .try_for_each(|line| writeln!(out, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = figure(self.ours, self.ours_foreground, self.ours_deferred);
        let peer = figure(self.peer, self.peer_foreground, self.peer_deferred);
        let times = match (self.ratio, self.better) {
            (Some(ratio), "lower") => format!("{:.2}", 1.0 / ratio),
            (Some(ratio), _) => format!("{ratio:.2}"),
            (None, _) => "-".to_owned(),
        };
        let setup = self.peer_setup.unwrap_or("-");
        let floor = figure(self.floor, None, None);
        let (name, unit) = (&self.name, self.unit);
        write!(
            out,
            "| {name} | {unit} | {ours} | {peer}, {setup} | {times} | {floor} |"
        )
    }
}

fn figure(value: Option<f64>, foreground: Option<f64>, deferred: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    match foreground.zip(deferred) {
        Some((now, later)) => format!("{value:.digits$} ({now:.digits$} + {later:.digits$})"),
        None => format!("{value:.digits$}"),
    }
}
