//! Structured logs on standard error, as text or JSON lines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, Logging};

/// Starts logging for the rest of the process. A filter that makes no sense is said and replaced by `info`.
pub(crate) fn start(options: &Logging) {
    let filter = EnvFilter::try_new(&options.log_level).unwrap_or_else(|error| {
        eprintln!(
            "strongroom: --log-level {}: {error}; using info",
            options.log_level
        );
        EnvFilter::new("info")
    });
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match options.log_format {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}
