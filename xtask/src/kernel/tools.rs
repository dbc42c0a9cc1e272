//! The programs that a guest is made of.

use anyhow::{Result, ensure};

use crate::process::is_root;
use crate::samba::tool;

/// Each program with the Debian package that brings it.
pub const PACKAGES: [(&str, &str); 7] = [
    ("linux.uml", "user-mode-linux"),
    ("mount.cifs", "cifs-utils"),
    ("mount.nfs", "nfs-common"),
    ("busybox", "busybox"),
    ("ip", "iproute2"),
    ("modprobe", "kmod"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// Fails, with the command that mends it, where something is missing.
pub fn require() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(program, _)| !tool(program).is_file())
        .map(|(_, package)| *package)
        .collect();
    ensure!(
        missing.is_empty(),
        "missing for kernel guests: apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    ensure!(is_root(), "kernel guests need root, for their network");
    // Where a guest puts its modules; machines that run from a kernel without modules do not have it.
    Ok(std::fs::create_dir_all("/lib/modules")?)
}
