//! The program with what is off by default: Kerberos, QUIC.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::checks::cargo;
use crate::server::target_directory;

pub const FEATURES: &str = "kerberos,quic";

/// Builds it and puts it aside, so that it is never taken for the plain one.
pub fn build() -> Result<()> {
    let words = ["build", "--release", "--package", "strongroom", "--locked"];
    cargo(&[&words[..], &["--features", FEATURES]].concat())?;
    let built = target_directory().join("release/strongroom");
    fs::create_dir_all(target_directory().join("tools"))?;
    fs::copy(&built, place())?;
    // The plain one is linked anew.
    Ok(fs::remove_file(built)?)
}

fn place() -> PathBuf {
    target_directory().join("tools/strongroom-full")
}

/// `STRONGROOM_FULL_BIN` where set, what [`build`] made, or built now.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STRONGROOM_FULL_BIN") {
        return Ok(path.into());
    }
    if !place().exists() {
        build()?;
    }
    Ok(place())
}
