//! The words for the past: snapshots, retention, and looking back.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::commands::{print_json, say};
use crate::control::Control;
use crate::failure::{Failure, Kind, Result};
use strongroom_admin::endpoint::segment;
use strongroom_admin::types::{
    ContentWanted, DiffWanted, Difference, KeepSnapshot, LogLine, LogWanted, NewClone, NewSnapshot,
    PastListing, Place, Retention, RewindWanted, Rewound, Schedule, Snapshot, UndoWanted, Undone,
};
use strongroom_admin::when::{Here, parse_duration};
use strongroom_admin::words::{period, size};

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Keep a share as it is now, or as it was, under a name
    Create {
        share: String,
        name: String,
        /// An instant of the past that is still kept
        #[arg(long, value_name = "WHEN")]
        at: Option<String>,
    },
    /// Make a new share of what one was; both share all bytes until one is changed
    Clone {
        share: String,
        /// The new share's name
        name: String,
        /// The snapshot
        #[arg(long, value_name = "SNAPSHOT", required_unless_present = "at")]
        of: Option<String>,
        /// Or an instant of the past that is still kept
        #[arg(long, value_name = "WHEN", conflicts_with = "of")]
        at: Option<String>,
    },
    /// Make snapshots of a share by themselves; without options, show how
    Schedule {
        share: String,
        /// From one to the next, as 1h or "1 day"
        #[arg(long, value_name = "SPAN", conflicts_with = "off")]
        every: Option<String>,
        /// Newest ones that are kept
        #[arg(long, value_name = "N", default_value_t = 24)]
        keep: u32,
        /// No more
        #[arg(long)]
        off: bool,
    },
    /// Show the snapshots of a share
    List {
        share: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Give one up
    Delete { share: String, name: String },
    /// See to it that nobody deletes one by mistake
    Hold {
        share: String,
        name: String,
        /// Let it go again
        #[arg(long)]
        release: bool,
    },
    /// See to it that nobody can delete one before a date; not even the administrator, and not by the clock. Time in
    /// which the server does not run is added
    Lock {
        share: String,
        name: String,
        #[arg(long, value_name = "WHEN")]
        until: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// Who changed what, when, from where
    Log(LogOptions),
    /// What was in a folder
    Ls(PlaceOptions),
    /// Write a file as it was to standard output
    Cat(PlaceOptions),
    /// Fetch a file as it was
    Get {
        #[command(flatten)]
        place: PlaceOptions,
        /// Where to; the file's name without it
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// What differs between two times
    Diff {
        /// SHARE or SHARE/PATH
        path: String,
        #[arg(long, value_name = "WHEN")]
        from: String,
        /// Now without it
        #[arg(long, value_name = "WHEN")]
        to: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how the past of a share is kept, or change it
    Keep(KeepOptions),
}

#[derive(Debug, Args)]
pub(crate) struct PlaceOptions {
    /// SHARE/PATH
    path: String,
    /// 14:03:27, "20 minutes ago", 2026-11-24, "2026-11-24 14:03"
    #[arg(long, value_name = "WHEN")]
    at: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogOptions {
    /// SHARE or SHARE/PATH
    path: String,
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only what this user did
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only what was done from this address
    #[arg(long, value_name = "ADDR")]
    client: Option<String>,
    /// Only what was done in this session
    #[arg(long, value_name = "ID")]
    session: Option<u64>,
    /// Lines at most, the newest
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    max: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeepOptions {
    share: String,
    /// How far back every second is kept, as 24h or "7 days"
    #[arg(long, value_name = "SPAN")]
    every_second: Option<String>,
    /// How far back one instant a minute, hour, day, month is kept; 0 for none
    #[arg(long, value_name = "SPAN")]
    every_minute: Option<String>,
    #[arg(long, value_name = "SPAN")]
    every_hour: Option<String>,
    #[arg(long, value_name = "SPAN")]
    every_day: Option<String>,
    #[arg(long, value_name = "SPAN")]
    every_month: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RewindOptions {
    /// SHARE or SHARE/PATH
    path: String,
    #[arg(long, value_name = "WHEN")]
    to: String,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Makes something what it was. What could not be done is a failure, after the rest was done.
pub(crate) fn rewind(data: &Path, options: &RewindOptions) -> Result<()> {
    let (control, here) = (Control::new(data), Here::machine());
    let wanted = RewindWanted {
        path: options.path.clone(),
        to_s: when(&here, &options.to)?,
        dry_run: options.dry_run,
    };
    let done: Rewound = control.ask("/v1/rewind", &wanted)?;
    if options.json {
        print_json(&done)?;
    } else {
        say(&rewound_text(&here, &done, options.dry_run))?;
    }
    match done.failed.len() {
        0 => Ok(()),
        failed => {
            let message =
                format!("{failed} could not be rewound; the same command goes on with them");
            Err(Failure::new(Kind::Refused, message))
        }
    }
}

/// Stops a rewind or undo after the file that it is at.
pub(crate) fn stop(data: &Path, session: u64) -> Result<()> {
    Control::new(data).delete(&format!("/v1/works/{session}"))?;
    say("stopped; what it has done stays, and can be undone as a session\n")
}

fn rewound_text(here: &Here, done: &Rewound, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let mut text = format!(
        "to {}: {} {would}restored, {} {would}removed, {} {would}changed, {} {would}renamed; {} of content\n",
        here.show(done.to_s),
        done.restored,
        done.removed,
        done.changed,
        done.renamed,
        size(done.bytes)
    );
    for failed in &done.failed {
        text += &format!("not {}: {}\n", failed.path, failed.reason);
    }
    if done.stopped {
        text += "stopped before its end; the same command does the rest\n";
    }
    text
}

#[derive(Debug, Args)]
pub(crate) struct UndoOptions {
    share: String,
    /// A session, as `history log` shows it
    #[arg(long, value_name = "ID", required_unless_present_any = ["user", "client"])]
    session: Vec<u64>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME", requires = "since")]
    user: Option<String>,
    /// All sessions from these addresses
    #[arg(long, value_name = "ADDR", num_args = 1..)]
    client: Vec<String>,
    /// Only what was changed from then on
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Where somebody else changed a file later, place the older content beside it (the default)
    #[arg(long, conflicts_with = "skip_changed")]
    keep_both: bool,
    /// Leave out what somebody else changed later
    #[arg(long)]
    skip_changed: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Puts back what sessions changed.
pub(crate) fn undo(data: &Path, options: &UndoOptions) -> Result<()> {
    let (control, here) = (Control::new(data), Here::machine());
    let since = options.since.as_ref();
    let wanted = UndoWanted {
        share: options.share.clone(),
        sessions: options.session.clone(),
        user: options.user.clone(),
        clients: options.client.clone(),
        since_s: since.map(|since| when(&here, since)).transpose()?,
        keep_both: !options.skip_changed,
        dry_run: options.dry_run,
    };
    let done: Undone = control.ask("/v1/undo", &wanted)?;
    if options.json {
        print_json(&done)?;
    } else {
        say(&undone_text(&done, options.dry_run))?;
    }
    match done.failed.len() {
        0 => Ok(()),
        failed => {
            let message =
                format!("{failed} could not be put back; the same command goes on with them");
            Err(Failure::new(Kind::Refused, message))
        }
    }
}

fn undone_text(done: &Undone, dry_run: bool) -> String {
    let would = if dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} sessions: {} {would}restored, {} {would}removed, {} {would}changed back, {} {would}renamed back; {} of content\n",
        done.sessions.len(),
        done.restored,
        done.removed,
        done.changed,
        done.renamed,
        size(done.bytes)
    );
    for path in &done.kept {
        text += &format!("kept as others left it: {path}\n");
    }
    for path in &done.beside {
        text += &format!("older content beside: {path}\n");
    }
    for failed in &done.failed {
        text += &format!("not {}: {}\n", failed.path, failed.reason);
    }
    if done.stopped {
        text += "stopped before its end; the same command does the rest\n";
    }
    if let Some(session) = done.session {
        text += &format!("this was session {session}, which can be undone as well\n");
    }
    text
}

pub(crate) fn snapshot(data: &Path, command: SnapshotCommand) -> Result<()> {
    let (control, here) = (Control::new(data), Here::machine());
    match command {
        SnapshotCommand::Create { share, name, at } => {
            let new = NewSnapshot {
                name: name.clone(),
                at_s: at.map(|at| when(&here, &at)).transpose()?,
            };
            control.post(&snapshots(&share), &new)?;
            say(&format!("snapshot {name} of {share} made\n"))
        }
        SnapshotCommand::List { share, json } => {
            let all: Vec<Snapshot> = control.get(&snapshots(&share))?;
            if json {
                return print_json(&all);
            }
            let lines = all.iter().map(|snapshot| snapshot_line(&here, snapshot));
            say(&lines.collect::<String>())
        }
        SnapshotCommand::Clone {
            share,
            name,
            of,
            at,
        } => {
            let wanted = NewClone {
                name: name.clone(),
                snapshot: of,
                at_s: at.map(|at| when(&here, &at)).transpose()?,
            };
            let route = format!("/v1/shares/{}/clone", segment(&share));
            let done: Rewound = control.ask(&route, &wanted)?;
            say(&format!(
                "share {name} is {share} of {}: {} files and folders, {} of content\n",
                here.show(done.to_s),
                done.restored,
                size(done.bytes)
            ))?;
            match done.failed.first() {
                None => Ok(()),
                Some(failed) => {
                    let message = format!(
                        "{} could not be made, the first {}: {}",
                        done.failed.len(),
                        failed.path,
                        failed.reason
                    );
                    Err(Failure::new(Kind::Refused, message))
                }
            }
        }
        SnapshotCommand::Schedule {
            share,
            every,
            keep,
            off,
        } => schedule(&control, &share, every.as_deref(), keep, off),
        SnapshotCommand::Delete { share, name } => {
            control.delete(&one_snapshot(&share, &name))?;
            say(&format!("snapshot {name} of {share} deleted\n"))
        }
        SnapshotCommand::Hold {
            share,
            name,
            release,
        } => {
            let keep = KeepSnapshot {
                hold: Some(!release),
                lock_until_s: None,
            };
            control.post(&one_snapshot(&share, &name), &keep)?;
            let now = if release { "let go" } else { "held" };
            say(&format!("snapshot {name} of {share} is {now}\n"))
        }
        SnapshotCommand::Lock { share, name, until } => {
            let until_s = when(&here, &until)?;
            let keep = KeepSnapshot {
                hold: None,
                lock_until_s: Some(until_s),
            };
            control.post(&one_snapshot(&share, &name), &keep)?;
            let until = here.show(until_s);
            say(&format!(
                "snapshot {name} of {share} is locked until {until}\n"
            ))
        }
    }
}

fn schedule(
    control: &Control,
    share: &str,
    every: Option<&str>,
    keep: u32,
    off: bool,
) -> Result<()> {
    let route = format!("/v1/shares/{}/schedule", segment(share));
    let now = match every.map(span).transpose()? {
        None if !off => control.get(&route)?,
        every => {
            let wanted = Schedule {
                every_s: every.unwrap_or(0),
                keep,
            };
            control.post(&route, &wanted)?;
            wanted
        }
    };
    say(&match now.every_s {
        0 => format!("no snapshots of {share} are made by themselves\n"),
        every => format!(
            "a snapshot of {share} every {}, of which the newest {} are kept\n",
            period(every),
            now.keep
        ),
    })
}

pub(crate) fn history(data: &Path, command: HistoryCommand) -> Result<()> {
    let (control, here) = (Control::new(data), Here::machine());
    match command {
        HistoryCommand::Log(options) => log(&control, &here, options),
        HistoryCommand::Ls(place) => ls(&control, &here, &place),
        HistoryCommand::Cat(place) => {
            let mut out = std::io::stdout().lock();
            fetch(&control, &here, &place, &mut |bytes| out.write_all(bytes))
        }
        HistoryCommand::Get { place, output } => get(&control, &here, &place, output),
        HistoryCommand::Diff {
            path,
            from,
            to,
            json,
        } => {
            let wanted = DiffWanted {
                path,
                from_s: when(&here, &from)?,
                to_s: to.map(|to| when(&here, &to)).transpose()?,
            };
            let found: Vec<Difference> = control.ask("/v1/history/diff", &wanted)?;
            if json {
                return print_json(&found);
            }
            say(&found.iter().map(difference_line).collect::<String>())
        }
        HistoryCommand::Keep(options) => keep(&control, &here, &options),
    }
}

fn snapshots(share: &str) -> String {
    format!("/v1/shares/{}/snapshots", segment(share))
}

fn one_snapshot(share: &str, name: &str) -> String {
    format!("{}/{}", snapshots(share), segment(name))
}

fn when(here: &Here, text: &str) -> Result<u64> {
    here.parse(text).ok_or_else(|| {
        Failure::new(
            Kind::Refused,
            format!("{text:?} is no time: write 14:03:27, \"20 minutes ago\", 2026-11-24 or \"2026-11-24 14:03\""),
        )
    })
}

fn snapshot_line(here: &Here, snapshot: &Snapshot) -> String {
    let held = if snapshot.held { ", held" } else { "" };
    let locked = snapshot.locked_until_s;
    let locked = locked.map(|until| format!(", locked until {}", here.show(until)));
    let locked = locked.unwrap_or_default();
    format!(
        "{}  {}{held}{locked}\n",
        here.show(snapshot.time_s),
        snapshot.name
    )
}

fn log(control: &Control, here: &Here, options: LogOptions) -> Result<()> {
    let time = |text: Option<String>| text.map(|text| when(here, &text)).transpose();
    let wanted = LogWanted {
        path: options.path,
        since_s: time(options.since)?,
        until_s: time(options.until)?,
        user: options.user,
        client: options.client,
        session: options.session,
        max: Some(options.max),
    };
    let lines: Vec<LogLine> = control.ask("/v1/history/log", &wanted)?;
    if options.json {
        return print_json(&lines);
    }
    let line = |line: &LogLine| {
        let who = if line.user.is_empty() {
            "-"
        } else {
            &line.user
        };
        let from = if line.client.is_empty() {
            "-"
        } else {
            &line.client
        };
        format!(
            "{}  {:<12} {:<21} {:>6}  {:<10} {}\n",
            here.show(line.time_s),
            who,
            from,
            line.session,
            line.what,
            line.path
        )
    };
    say(&lines.iter().map(line).collect::<String>())
}

fn ls(control: &Control, here: &Here, place: &PlaceOptions) -> Result<()> {
    let wanted = wanted(here, place)?;
    let listing: PastListing = control.ask("/v1/history/list", &wanted)?;
    let mut text = String::new();
    for entry in &listing.entries {
        let size = if entry.directory {
            "folder".to_owned()
        } else {
            size(entry.size)
        };
        let modified = here.show(entry.modified_s);
        text += &format!("{size:>12}  {modified}  {}\n", entry.name);
    }
    say(&text)
}

fn wanted(here: &Here, place: &PlaceOptions) -> Result<Place> {
    Ok(Place {
        path: place.path.clone(),
        at_s: Some(when(here, &place.at)?),
    })
}

/// Takes a file part by part.
fn fetch(
    control: &Control,
    here: &Here,
    place: &PlaceOptions,
    take: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<()> {
    let mut offset = 0;
    loop {
        let wanted = ContentWanted {
            place: wanted(here, place)?,
            offset,
        };
        let part = control.bytes("/v1/history/content", &wanted)?;
        if part.is_empty() {
            return Ok(());
        }
        offset += part.len() as u64;
        match take(&part) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                let message = format!("cannot write the file: {error}");
                return Err(Failure::new(Kind::Internal, message));
            }
        }
    }
}

fn get(
    control: &Control,
    here: &Here,
    place: &PlaceOptions,
    output: Option<PathBuf>,
) -> Result<()> {
    let name = place.path.rsplit(['/', '\\']).next().unwrap_or_default();
    let target = output.unwrap_or_else(|| PathBuf::from(name));
    // Into a file of its own first, so that nothing half fetched is taken for the whole.
    let mut part = target.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let failed = |error: std::io::Error| Failure::path("write", &target, &error);
    let mut file = std::fs::File::create(&part).map_err(failed)?;
    let fetched = fetch(control, here, place, &mut |bytes| file.write_all(bytes));
    if let Err(failure) = fetched {
        drop(std::fs::remove_file(&part));
        return Err(failure);
    }
    file.sync_all().map_err(failed)?;
    std::fs::rename(&part, &target).map_err(failed)?;
    say(&format!("{} fetched\n", target.display()))
}

fn difference_line(difference: &Difference) -> String {
    let sizes = match (difference.size_from, difference.size_to) {
        (Some(from), Some(to)) if from != to => format!("  {} -> {}", size(from), size(to)),
        _ => String::new(),
    };
    let old = difference.old_path.as_ref();
    let old = old.map(|old| format!("  was {old}")).unwrap_or_default();
    format!("{:<8} {}{old}{sizes}\n", difference.what, difference.path)
}

/// Seconds.
fn span(text: &str) -> Result<u64> {
    let parsed = parse_duration(text).ok_or_else(|| {
        let message = format!("{text:?} is no span of time: write 24h or \"7 days\"");
        Failure::new(Kind::Refused, message)
    })?;
    Ok(parsed.as_secs())
}

fn keep(control: &Control, here: &Here, options: &KeepOptions) -> Result<()> {
    let route = format!("/v1/shares/{}/retention", segment(&options.share));
    let mut kept: Retention = control.get(&route)?;
    let mut changed = false;
    for (text, kept_span) in [
        (&options.every_second, &mut kept.every_second_s),
        (&options.every_minute, &mut kept.every_minute_s),
        (&options.every_hour, &mut kept.every_hour_s),
        (&options.every_day, &mut kept.every_day_s),
        (&options.every_month, &mut kept.every_month_s),
    ] {
        let Some(text) = text else { continue };
        *kept_span = span(text)?;
        changed = true;
    }
    if changed {
        control.post(&route, &kept)?;
        kept = control.get(&route)?;
    }
    if options.json {
        return print_json(&kept);
    }
    say(&retention_text(here, &kept))
}

fn retention_text(here: &Here, kept: &Retention) -> String {
    let levels = [
        ("second", kept.every_second_s),
        ("minute", kept.every_minute_s),
        ("hour", kept.every_hour_s),
        ("day", kept.every_day_s),
        ("month", kept.every_month_s),
    ];
    let mut text = String::new();
    for (unit, span) in levels {
        let days = span / 86_400;
        let hours = span % 86_400 / 3_600;
        let rest = span % 3_600;
        text += &format!("every {unit:<6}  {days} d {hours} h {rest} s back\n");
    }
    match kept.oldest_s {
        Some(oldest) => text += &format!("the oldest instant is {}\n", here.show(oldest)),
        None => text += "nothing can be gone back to yet\n",
    }
    text
}
