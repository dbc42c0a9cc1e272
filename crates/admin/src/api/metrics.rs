//! Figures for a monitoring system, in Prometheus' text format.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State as Extracted;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::{events, pool};
use crate::endpoint::{Access, Endpoint};
use crate::{Problem, Scope, State};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/metrics",
            "get_metrics",
            "Figures in Prometheus' text format",
            Access::WATCHERS,
            metrics,
        )
        .scope(Scope::Metrics)
        .gives_bytes("text/plain"),
    ]
}

/// Text under way: families of samples.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        write!(
            self.0,
            "# HELP strongroom_{name} {help}\n# TYPE strongroom_{name} {kind}\n"
        )
        .ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let pair = |(label, value): &(&str, &str)| format!("{label}=\"{}\"", escaped(value));
        let labels: Vec<String> = labels.iter().map(pair).collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        writeln!(self.0, "strongroom_{name}{labels} {value}").ok();
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }
}

/// As the text format wants the values of labels.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

async fn metrics(Extracted(state): Extracted<Arc<State>>) -> Result<Response, Problem> {
    let mut text = Text::default();
    text.family("build_info", "gauge", "The program's version.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.gauge(
        "uptime_seconds",
        "Since the server started.",
        state.started.elapsed().as_secs(),
    );
    clients(&mut text, &state);
    space(&mut text, &state)?;
    disks(&mut text, &state)?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text.0).into_response())
}

fn clients(text: &mut Text, state: &State) {
    let pulse = events::pulse(state);
    text.gauge(
        "connections",
        "Connections of clients.",
        count(pulse.connections),
    );
    text.gauge("sessions", "Sessions of clients.", count(pulse.sessions));
    text.gauge(
        "open_files",
        "Files that clients have open.",
        count(pulse.opens),
    );
    text.gauge(
        "alarms_open",
        "Alarms that nobody has cleared.",
        count(pulse.alarms),
    );
    let smb = state.smb.status();
    text.family("requests_total", "counter", "Requests, by protocol.");
    text.sample("requests_total", &[("protocol", "smb")], smb.requests_ever);
    if let Some((nfs, _)) = &state.nfs {
        text.sample(
            "requests_total",
            &[("protocol", "nfs")],
            nfs.status().requests,
        );
    }
    text.family(
        "received_bytes_total",
        "counter",
        "Bytes from clients, by protocol.",
    );
    text.sample("received_bytes_total", &[("protocol", "smb")], smb.received);
    text.family(
        "sent_bytes_total",
        "counter",
        "Bytes to clients, by protocol.",
    );
    text.sample("sent_bytes_total", &[("protocol", "smb")], smb.sent);
}

fn space(text: &mut Text, state: &State) -> Result<(), Problem> {
    let space = state.store.space()?;
    text.gauge(
        "space_total_bytes",
        "What clients are shown as the size.",
        space.total,
    );
    text.gauge(
        "space_used_bytes",
        "Used, by now's files and by history.",
        space.used,
    );
    text.gauge(
        "space_history_bytes",
        "Used by history alone.",
        space.used_history,
    );
    text.gauge(
        "space_available_bytes",
        "What can still be written.",
        space.available,
    );
    let store = state.store.status();
    text.gauge(
        "offline",
        "1 when nothing can be written any more.",
        u64::from(store.offline.is_some()),
    );
    text.gauge(
        "dirty_bytes",
        "Written and not yet on the disks.",
        count(store.dirty_bytes),
    );
    Ok(())
}

fn disks(text: &mut Text, state: &State) -> Result<(), Problem> {
    let pool = pool::document(&state.pool)?;
    text.gauge(
        "disk_failures_survived",
        "Disks that may fail yet without a loss.",
        count(pool.survives),
    );
    text.counter(
        "bad_fragments_total",
        "Fragments found damaged.",
        pool.bad_fragments,
    );
    text.counter(
        "repaired_fragments_total",
        "Fragments made anew.",
        pool.repaired_fragments,
    );
    text.counter(
        "lost_reads_total",
        "Reads that no disk could answer.",
        pool.lost_reads,
    );
    text.family("disk_in_service", "gauge", "1 for a disk that takes part.");
    for disk in &pool.disks {
        let in_service = u64::from(disk.state == "member");
        text.sample("disk_in_service", &[("disk", &disk.name)], in_service);
    }
    text.family("disk_errors_total", "counter", "Errors of a disk.");
    for disk in &pool.disks {
        text.sample("disk_errors_total", &[("disk", &disk.name)], disk.errors);
    }
    Ok(())
}
