//! The words about the pool that the running server answers.

use std::path::{Path, PathBuf};

use super::{print_json, say};
use crate::cli::{DiskPlace, PoolCommand, ScrubCommand};
use crate::control::Control;
use crate::failure::{Failure, Result};
use crate::passphrase::PassphraseSource;
use strongroom_admin::endpoint::segment;
use strongroom_admin::types::{
    Disk, Index, Job, NewDisk, PassphraseChange, Pool, PoolReport, Scrub, Space, Spare, Upkeep,
};
use strongroom_admin::when::Here;
use strongroom_admin::words::{self, size};

pub(crate) fn pool(data: &Path, command: PoolCommand) -> Result<()> {
    let control = Control::new(data);
    match command {
        PoolCommand::Status { json } => {
            let report: PoolReport = control.get("/v1/pool")?;
            if json {
                print_json(&report)
            } else {
                say(&report_text(&report))
            }
        }
        PoolCommand::Layout => {
            let report: PoolReport = control.get("/v1/pool")?;
            say(&layout_text(&report.pool))
        }
        PoolCommand::AddDisk { path, spare, place } => {
            add(&control, &path, None, spare, place)?;
            say("disk added; `pool status` shows how data moves there\n")
        }
        PoolCommand::ReplaceDisk { disk, path, place } => {
            add(&control, &path, Some(known(&disk)?), false, place)?;
            say("disk added in the place of the other; `pool status` shows how far it is\n")
        }
        PoolCommand::RemoveDisk { disk } => {
            let disk = segment(&known(&disk)?);
            control.delete(&format!("/v1/pool/disks/{disk}"))?;
            say("the disk is being emptied; take it away when `pool status` calls it retired\n")
        }
        PoolCommand::Spare { disk, off } => {
            let disk = segment(&known(&disk)?);
            let path = format!("/v1/pool/disks/{disk}/spare");
            control.post(&path, &Spare { spare: !off })?;
            say(if off {
                "the disk holds data again\n"
            } else {
                "the disk is a spare; what it holds moves to the others\n"
            })
        }
        PoolCommand::ChangePassphrase {
            old,
            new_passphrase_file,
        } => change_passphrase(&control, &old, new_passphrase_file),
        PoolCommand::Scrub { command } => scrub(&control, &command),
    }
}

fn change_passphrase(
    control: &Control,
    old: &PassphraseSource,
    new_file: Option<PathBuf>,
) -> Result<()> {
    let source = PassphraseSource {
        passphrase_file: new_file,
        passphrase_command: None,
    };
    let old = old.get("The pool's passphrase: ")?;
    let new = source.get_twice("Its new passphrase: ")?;
    control.post("/v1/pool/passphrase", &PassphraseChange { old, new })?;
    say("the pool has another passphrase; disks that are away learn it when they come back\n")
}

fn add(
    control: &Control,
    path: &Path,
    replaces: Option<String>,
    spare: bool,
    place: DiskPlace,
) -> Result<()> {
    let new = NewDisk {
        path: absolute(path)?,
        replaces,
        spare,
        domain: place.domain,
        allow_shared_device: place.allow_shared_device,
    };
    control.post("/v1/pool/disks", &new)
}

/// The server may work in another directory than this program.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Failure::path("use the disk", path, &error))
}

/// The name of a disk as the server knows it: an id, or the beginning of one, as it is; a directory in full.
fn known(disk: &str) -> Result<String> {
    let path = Path::new(disk);
    if disk.contains('/') || path.exists() {
        return Ok(absolute(path)?.display().to_string());
    }
    Ok(disk.to_owned())
}

fn scrub(control: &Control, command: &ScrubCommand) -> Result<()> {
    match command {
        ScrubCommand::Start => {
            control.post("/v1/pool/scrub", &())?;
            say("scrub started; `pool scrub status` shows how far it is\n")
        }
        ScrubCommand::Stop => {
            control.delete("/v1/pool/scrub")?;
            say("scrub stopped\n")
        }
        ScrubCommand::Status { json } => {
            let scrub: Scrub = control.get("/v1/pool/scrub")?;
            if *json {
                print_json(&scrub)
            } else {
                say(&(scrub_lines(&scrub) + &scrub.jobs.iter().map(job_line).collect::<String>()))
            }
        }
    }
}

fn layout_text(pool: &Pool) -> String {
    let lines = [words::layout(pool), words::survival(pool)];
    let lines = lines.into_iter().chain(words::usable(pool));
    lines.map(|line| line + "\n").collect()
}

fn report_text(report: &PoolReport) -> String {
    let pool = &report.pool;
    let mut text = String::new();
    if let Some(reason) = &report.offline {
        text += &format!("NOTHING CAN BE WRITTEN: {reason}\n");
    }
    text += &format!("pool    {}\n", pool.id);
    text += &format!("layout  {}\n", words::layout(pool));
    text += &format!("        {}\n", words::survival(pool));
    for line in words::usable(pool) {
        text += &format!("usable  {line}\n");
    }
    text += &space_line(&report.space);
    text += &pool.disks.iter().map(disk_line).collect::<String>();
    text += &index_line(&report.index);
    text += &damage_lines(pool, report.log_repairs, &report.index);
    text += &upkeep_lines(&report.upkeep);
    text += &scrub_lines(&report.scrub);
    text += &report.jobs.iter().map(job_line).collect::<String>();
    text
}

/// What clients see, which is less than what the layout leaves, and what that is made of.
fn space_line(space: &Space) -> String {
    let line = format!(
        "clients {} free of {}; {} in files, {} in history ({} of it given up when needed), {} dead until cleaned; \
         {} more reserved for deletions, cleaning, log and index\n",
        size(space.available),
        size(space.used + space.available),
        size(space.used_present),
        size(space.used_history),
        size(space.history_yields),
        size(space.dead),
        size(space.reserved)
    );
    line + &words::saving(space)
}

fn disk_line(disk: &Disk) -> String {
    let reason = disk.reason.as_ref();
    let reason = reason.map(|why| format!(" ({why})")).unwrap_or_default();
    let space = if disk.total == 0 {
        String::new()
    } else {
        format!(", {} free of {}", size(disk.free), size(disk.total))
    };
    let mut state = disk.state.replace('_', " ");
    if disk.spare {
        state += ", a spare";
    }
    if disk.leaving {
        state += ", being emptied";
    }
    let (name, id, errors) = (&disk.name, &disk.id, disk.errors);
    format!("disk    {name}: {state}{space}, {errors} errors, id {id}{reason}\n")
}

fn index_line(index: &Index) -> String {
    let Index {
        copies_good,
        copies,
        bytes,
        ..
    } = index;
    format!(
        "index   {copies_good} of {copies} copies in service, {} each\n",
        size(*bytes)
    )
}

/// What was found damaged since the server started, and what became of it.
fn damage_lines(pool: &Pool, log_repairs: u64, index: &Index) -> String {
    let data = format!(
        "data    {} bad parts met, {} repaired, {} reads lost\n",
        pool.bad_fragments, pool.repaired_fragments, pool.lost_reads
    );
    let rest = format!(
        "damage  index: {} bad pages met, {} repaired, {} lost; log: {log_repairs} repaired\n",
        index.bad_pages, index.repaired_pages, index.lost_pages
    );
    data + &rest
}

/// What is done for the disks, and how long it takes yet.
fn upkeep_lines(upkeep: &Upkeep) -> String {
    let mut text = String::new();
    if !upkeep.lost_disks.is_empty() {
        let (disks, short) = (upkeep.lost_disks.join(", "), upkeep.segments_short);
        text += &format!("rebuild not made good yet: {disks}; {short} segments lack parts\n");
    }
    if upkeep.lost_stripes > 0 {
        let stripes = upkeep.lost_stripes;
        text += &format!("rebuild {stripes} stripes are LOST: too few parts are left of them\n");
    }
    let disk = upkeep.disk.as_ref();
    let disk = disk.map(|disk| format!(" {disk}")).unwrap_or_default();
    match upkeep.task.as_str() {
        "idle" => {}
        "waiting" => {
            let why = upkeep.waiting_for.as_deref();
            text += &format!("rebuild waits: {}\n", why.unwrap_or("no reason is known"));
        }
        task => {
            let left = upkeep.seconds_left.map(words::period);
            let left = left.map_or_else(
                || "time to go is not known yet".to_owned(),
                |left| format!("{left} to go"),
            );
            let speed = size(upkeep.bytes_per_second);
            let bar = bar(upkeep.bytes_done, upkeep.bytes_total);
            text += &format!("rebuild {task}{disk}: {bar}, {speed}/s, {left}\n");
        }
    }
    text
}

/// How the scrub stands or how the last one ended, with the files that it could not repair.
fn scrub_lines(scrub: &Scrub) -> String {
    let Some(began) = scrub.began_s else {
        return "scrub   none was started yet\n".to_owned();
    };
    let (began, read) = (Here::machine().show(began), size(scrub.bytes));
    let state = match (&scrub.failed, scrub.ended_s) {
        (Some(why), _) => format!("failed: {why}"),
        (None, Some(ended)) => format!("ended {}", Here::machine().show(ended)),
        (None, None) if scrub.running => bar(scrub.segments_done, scrub.segments),
        (None, None) if scrub.stopped => "stopped".to_owned(),
        (None, None) => "waits to go on".to_owned(),
    };
    let (bad, repaired) = (scrub.bad, scrub.repaired);
    let mut text = format!(
        "scrub   begun {began}, {state}; {read} compared, {bad} bad fragments, {repaired} of them repaired\n"
    );
    for lost in &scrub.lost {
        let states = if lost.past { " in older states" } else { "" };
        text += &format!(
            "LOST    {}: {} bytes from byte {} on{states}\n",
            lost.path, lost.len, lost.offset
        );
    }
    let more = scrub.lost_ranges.saturating_sub(scrub.lost.len() as u64);
    if more > 0 {
        text += &format!("LOST    and {more} more places\n");
    }
    text
}

const BAR: u64 = 30;

/// A share of the whole, also of one that is not known yet.
fn bar(done: u64, total: u64) -> String {
    let (total, done) = (total.max(1), done.min(total));
    let filled = done.saturating_mul(BAR) / total;
    let mark = |at| if at < filled { '#' } else { '.' };
    let bar: String = (0..BAR).map(mark).collect();
    format!("[{bar}] {:.1} %", done as f64 * 100.0 / total as f64)
}

/// One job with its progress.
fn job_line(job: &Job) -> String {
    let (kind, state) = (&job.kind, &job.state);
    match (state.as_str(), job.total) {
        ("running", 0) => format!("job     {kind}: begun\n"),
        ("running", total) => format!("job     {kind}: {}\n", bar(job.done, total)),
        _ => {
            let reason = job.reason.as_ref();
            let reason = reason.map(|why| format!(": {why}")).unwrap_or_default();
            format!("job     {kind}: {state}{reason}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, done: u64, total: u64) -> Job {
        Job {
            id: 1,
            kind: "index scrub".into(),
            state: state.into(),
            reason: None,
            done,
            total,
        }
    }

    #[test]
    fn progress_is_a_bar_with_its_share() {
        let line = job_line(&job("running", 1, 3));
        assert_eq!(
            line,
            "job     index scrub: [##########....................] 33.3 %\n"
        );
        assert!(job_line(&job("running", 9, 3)).contains("100.0 %"));
        assert_eq!(
            job_line(&job("running", 0, 0)),
            "job     index scrub: begun\n"
        );
        assert_eq!(job_line(&job("done", 3, 3)), "job     index scrub: done\n");
    }

    #[test]
    fn a_lost_disk_is_told_with_its_reason() {
        let disk = Disk {
            name: "/mnt/b".into(),
            id: "00ff".into(),
            state: "set_aside".into(),
            errors: 3,
            reason: Some("no answer".into()),
            ..Disk::default()
        };
        assert_eq!(
            disk_line(&disk),
            "disk    /mnt/b: set aside, 3 errors, id 00ff (no answer)\n"
        );
    }
}
