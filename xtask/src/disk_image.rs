//! A disk for one test: a file system in a file, of its own size, that can be frozen.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A file system in a file; unmounted when dropped.
#[derive(Debug)]
pub struct DiskImage {
    mount: PathBuf,
}

impl DiskImage {
    /// Makes an ext4 of so many bytes, of which the file takes what is used, and mounts it. Needs root.
    pub fn create(directory: &Path, number: usize, bytes: u64) -> Result<DiskImage> {
        let image = directory.join(format!("image-{number}"));
        File::create(&image)?.set_len(bytes)?;
        run_tool(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        let mount = directory.join(format!("mount-{number}"));
        std::fs::create_dir_all(&mount)?;
        run_tool(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&mount),
        )?;
        let disk = DiskImage { mount };
        std::fs::create_dir_all(disk.pool())?;
        Ok(disk)
    }

    /// The directory for the pool.
    pub fn pool(&self) -> PathBuf {
        self.mount.join("pool")
    }

    /// Nothing that touches it in the kernel is answered until [`DiskImage::thaw`].
    pub fn freeze(&self) -> Result<()> {
        run_tool(Command::new("fsfreeze").arg("--freeze").arg(&self.mount))
    }

    pub fn thaw(&self) -> Result<()> {
        run_tool(Command::new("fsfreeze").arg("--unfreeze").arg(&self.mount))
    }
}

impl Drop for DiskImage {
    fn drop(&mut self) {
        // It may be frozen still, after a failure.
        self.thaw().ok();
        Command::new("umount")
            .arg("--lazy")
            .arg(&self.mount)
            .status()
            .ok();
    }
}

fn run_tool(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
