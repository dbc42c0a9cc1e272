//! The one engine for long work.

/// Long work: start, progress, cancel, resume after a restart.
#[derive(Debug, Default)]
pub struct Jobs {}
