//! Server CPU time, read from `/proc` so that both servers are measured by the same ruler.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU of a process and all that descends from it, ended children included.
///
/// The kernel adds a child's time to its parent's when the parent collects it, so a process counts with both its own
/// time and that of the children it collected.
pub fn of_tree(root: u32) -> Result<Duration> {
    let processes = all_processes()?;
    let own = processes
        .get(&root)
        .with_context(|| format!("process {root} is gone"))?;
    let mut ticks = own.ticks;
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for (id, process) in processes.iter().filter(|(_, p)| p.parent == parent) {
            ticks += process.ticks;
            parents.push(*id);
        }
    }
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_A_SECOND))
}

/// `USER_HZ`, which is 100 on every architecture that Linux reports `/proc` times on.
const TICKS_A_SECOND: f64 = 100.0;

/// The highest amount of memory that a process has held at once, in bytes.
pub fn peak_memory(process: u32) -> Result<u64> {
    status_of(process, "VmHWM:")
}

/// The memory that a process holds now, in bytes.
pub fn memory(process: u32) -> Result<u64> {
    status_of(process, "VmRSS:")
}

fn status_of(process: u32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .with_context(|| format!("no {field}"))?;
    Ok(kib.parse::<u64>()? * 1024)
}

#[derive(Debug, Clone, Copy)]
struct Process {
    parent: u32,
    ticks: u64,
}

fn all_processes() -> Result<HashMap<u32, Process>> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and this read.
        if let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) {
            found.insert(id, parse_stat(&stat)?);
        }
    }
    Ok(found)
}

/// proc(5): the command's name is in parentheses and may hold anything, so fields are counted from the last one.
fn parse_stat(stat: &str) -> Result<Process> {
    let (_, fields) = stat
        .rsplit_once(')')
        .context("no command in /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let number = |position: usize| -> Result<u64> {
        let field = fields
            .get(position)
            .context("/proc/PID/stat is too short")?;
        Ok(field.parse()?)
    };
    // After the command: state, parent, ..., utime, stime, cutime, cstime (fields 14 to 17 of proc(5)).
    let ticks = (11..=14).map(number).sum::<Result<u64>>()?;
    Ok(Process {
        parent: u32::try_from(number(1)?)?,
        ticks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_own_time_and_that_of_collected_children() {
        let stat = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 10 20 300 4000 20 0 1 0";
        let process = parse_stat(stat).unwrap();
        assert_eq!(process.parent, 3);
        assert_eq!(process.ticks, 4330);
    }

    #[test]
    fn finds_this_process() {
        assert!(of_tree(std::process::id()).is_ok());
        assert!(peak_memory(std::process::id()).unwrap() > 0);
    }
}
