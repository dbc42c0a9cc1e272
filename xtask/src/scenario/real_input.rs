//! Real trees go to a share with `smbclient` and come back in another connection after a restart.
//!
//! The client follows symbolic links and cannot carry some names, so those are left out here and counted; a test of
//! the program itself takes them through the file system.

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::random::Random;
use crate::server::Server;
use crate::smbclient;

#[derive(Debug, Clone)]
pub struct Plan {
    /// Trees to copy; those that are not there are left out.
    pub sources: Vec<PathBuf>,
    /// Files of this many bytes made on top.
    pub large_files: Vec<u64>,
    /// Copies at the same time, each into a directory of its own.
    pub clients: usize,
}

/// What was copied, and what could not be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Counted {
    pub files: usize,
    pub bytes: u64,
    pub directories: usize,
    pub symbolic_links: usize,
    pub uncarried_names: usize,
    /// Names that differ from another one in their directory only in case, which the client finds first.
    pub case_twins: usize,
}

/// Python's library and all documentation: what `sources` is in full.
pub fn full_sources() -> Result<Vec<PathBuf>> {
    let mut sources = python_libraries()?;
    sources.push("/usr/share/doc".into());
    Ok(sources)
}

/// All of `/usr/lib/python3*`.
pub fn python_libraries() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/usr/lib")? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("python3") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Copies, restarts, reads back and compares. `directory` needs room for three times the sources.
pub fn run(directory: &Path, plan: &Plan) -> Result<Counted> {
    let stage = directory.join("stage");
    let counted = make_stage(&stage, plan)?;
    ensure!(
        counted.files > 0,
        "there is nothing to copy in {:?}",
        plan.sources
    );
    println!("{counted:?}");
    let server = Server::create(directory, 1)?;
    each_client(plan.clients, |number| {
        let target = format!("copy-{number}");
        smbclient::run(&server, &format!("mkdir {target}"))?;
        smbclient::put_tree(&server, &stage, &target)
    })?;
    server.stop()?;
    let server = Server::start(directory)?;
    each_client(plan.clients, |number| {
        let back = directory.join(format!("back-{number}"));
        fs::create_dir(&back)?;
        smbclient::get_tree(&server, &format!("copy-{number}"), &back)?;
        compare(&stage, &back).with_context(|| format!("copy {number}"))?;
        fs::remove_dir_all(&back)?;
        Ok(())
    })?;
    server.stop()?;
    Ok(counted)
}

fn each_client(clients: usize, work: impl Fn(usize) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..clients)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a client's thread panicked"))?
        })
    })
}

/// A tree with the same directories, in which every file is a link to the real one: the client follows links.
fn make_stage(stage: &Path, plan: &Plan) -> Result<Counted> {
    let mut counted = Counted::default();
    for source in plan.sources.iter().filter(|source| source.is_dir()) {
        let name = source
            .strip_prefix("/")?
            .to_string_lossy()
            .replace('/', "_");
        stage_directory(source, &stage.join(name), &mut counted)?;
    }
    for (number, bytes) in plan.large_files.iter().enumerate() {
        fs::create_dir_all(stage)?;
        make_large(&stage.join(format!("large-{number}.bin")), *bytes)?;
        counted.files += 1;
        counted.bytes += bytes;
    }
    Ok(counted)
}

fn stage_directory(source: &Path, stage: &Path, counted: &mut Counted) -> Result<()> {
    fs::create_dir_all(stage)?;
    counted.directories += 1;
    let mut seen = HashSet::new();
    let mut entries = fs::read_dir(source)?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type()?;
        let folded = entry.file_name().to_string_lossy().to_lowercase();
        if kind.is_symlink() {
            counted.symbolic_links += 1;
        } else if !is_carried(&entry.file_name().to_string_lossy()) {
            counted.uncarried_names += 1;
        } else if !seen.insert(folded) {
            counted.case_twins += 1;
        } else if kind.is_dir() {
            stage_directory(&entry.path(), &stage.join(entry.file_name()), counted)?;
        } else if kind.is_file() {
            symlink(entry.path(), stage.join(entry.file_name()))?;
            counted.files += 1;
            counted.bytes += entry.metadata()?.len();
        }
    }
    Ok(())
}

/// SMB names cannot hold these characters, nor end in a dot or blank (MS-FSCC 2.1.5).
fn is_carried(name: &str) -> bool {
    let special = |character: char| character.is_control() || "\\:*?\"<>|".contains(character);
    !name.contains(special) && !name.contains('\u{fffd}') && !name.ends_with(['.', ' '])
}

fn make_large(path: &Path, bytes: u64) -> Result<()> {
    let mut random = Random::new(bytes);
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(1 << 20);
        std::io::Write::write_all(&mut file, &random.bytes(usize::try_from(piece)?))?;
        left -= piece;
    }
    Ok(())
}

/// Both trees hold the same names, and every file the same bytes.
fn compare(expected: &Path, found: &Path) -> Result<()> {
    let (names, found_names) = (names_in(expected)?, names_in(found)?);
    ensure!(
        names == found_names,
        "{}: {names:?} became {found_names:?}",
        expected.display()
    );
    for name in names {
        let (left, right) = (expected.join(&name), found.join(&name));
        if left.is_dir() {
            compare(&left, &right)?;
        } else {
            compare_file(&left, &right)?;
        }
    }
    Ok(())
}

fn names_in(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

fn compare_file(left: &Path, right: &Path) -> Result<()> {
    let lengths = (fs::metadata(left)?.len(), fs::metadata(right)?.len());
    ensure!(
        lengths.0 == lengths.1,
        "{}: lengths {lengths:?}",
        left.display()
    );
    let mut left_reader = BufReader::with_capacity(1 << 20, File::open(left)?);
    let mut right_reader = BufReader::with_capacity(1 << 20, File::open(right)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut done = 0;
    while done < lengths.0 {
        let piece = usize::try_from((lengths.0 - done).min(1 << 16))?;
        left_reader.read_exact(&mut ours[..piece])?;
        right_reader.read_exact(&mut theirs[..piece])?;
        ensure!(
            ours[..piece] == theirs[..piece],
            "{} differs after {done}",
            left.display()
        );
        done += piece as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_names_smb_carries() {
        assert!(is_carried("README.txt") && is_carried(".hidden") && is_carried("ü"));
        assert!(!is_carried("a:b") && !is_carried("end.") && !is_carried("what?"));
    }
}
