//! The commands that talk to the running server.

mod pool;

use std::io::{BufRead, Write};
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::{ShareCommand, UserCommand};
use crate::control::Control;
use crate::failure::{Failure, Kind, Result};
use crate::fullness::Fullness;
use strongroom_admin::endpoint::segment;
use strongroom_admin::types::{NewShare, NewUser, Share, ShareChange, Status, User};
use strongroom_admin::words::{self, period, size};

pub(crate) use pool::pool;

pub(crate) fn user(data: &Path, command: UserCommand) -> Result<()> {
    let control = Control::new(data);
    match command {
        UserCommand::Add {
            name,
            password_stdin: _,
            admin,
            role,
        } => {
            let password = read_password()?;
            control.post(
                "/v1/users",
                &NewUser {
                    name: name.clone(),
                    password,
                    admin,
                    role,
                },
            )?;
            say(&format!("user {name} added\n"))
        }
        UserCommand::List { json } => {
            let users: Vec<User> = control.get("/v1/users")?;
            if json {
                print_json(&users)
            } else {
                say(&users.iter().map(user_line).collect::<String>())
            }
        }
        UserCommand::Remove { name } => {
            control.delete(&format!("/v1/users/{}", segment(&name)))?;
            say(&format!("user {name} removed\n"))
        }
    }
}

pub(crate) fn share(data: &Path, command: ShareCommand) -> Result<()> {
    let control = Control::new(data);
    match command {
        ShareCommand::Add {
            name,
            read_only,
            encrypt,
            hide_unreadable,
            time_machine,
            size_limit,
            continuously_available,
            users,
            nfs,
            compress,
        } => {
            control.post(
                "/v1/shares",
                &NewShare {
                    name: name.clone(),
                    read_only,
                    encrypted: encrypt,
                    hide_unreadable,
                    time_machine,
                    size_limit,
                    continuously_available,
                    users,
                    nfs: nfs.iter().map(ToString::to_string).collect(),
                    compress: compress.to_string(),
                },
            )?;
            say(&format!("share {name} added\n"))
        }
        ShareCommand::Set { name, compress } => {
            let change = ShareChange {
                compress: compress.map(|how| how.to_string()),
            };
            control.patch(&format!("/v1/shares/{}", segment(&name)), &change)?;
            say(&format!("share {name} changed\n"))
        }
        ShareCommand::List { json } => {
            let shares: Vec<Share> = control.get("/v1/shares")?;
            if json {
                print_json(&shares)
            } else {
                say(&shares.iter().map(share_line).collect::<String>())
            }
        }
        ShareCommand::Remove { name } => {
            control.delete(&format!("/v1/shares/{}", segment(&name)))?;
            say(&format!("share {name} removed\n"))
        }
    }
}

pub(crate) fn status(data: &Path, json: bool) -> Result<()> {
    let status: Status = Control::new(data).get("/v1/status")?;
    if json {
        print_json(&status)
    } else {
        say(&status_text(&status))
    }
}

/// The first line of standard input. Wiped when done with; never echoed.
fn read_password() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| {
            Failure::new(
                Kind::Refused,
                format!("cannot read the password from standard input: {error}"),
            )
        })?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

fn user_line(user: &User) -> String {
    let role = if user.admin { "administrator" } else { "user" };
    let disabled = if user.disabled { ", disabled" } else { "" };
    format!("{:<20} {role}{disabled}\n", user.name)
}

fn share_line(share: &Share) -> String {
    let access = if share.read_only {
        "read only"
    } else {
        "read and write"
    };
    let available = if share.continuously_available {
        ", continuously available"
    } else {
        ""
    };
    let users = match &share.users {
        None => "all users".to_owned(),
        Some(users) => users.join(", "),
    };
    let encrypted = if share.encrypted { ", encrypted" } else { "" };
    let hides = if share.hide_unreadable {
        ", hides what may not be read"
    } else {
        ""
    };
    let nfs = match share.nfs.as_slice() {
        [] => String::new(),
        exports => format!(", by NFS to {}", exports.join(", ")),
    };
    let compressed = match share.compress.as_str() {
        "" | "off" => String::new(),
        how => format!(", compressed by {how}"),
    };
    let backups = if share.time_machine {
        ", for Time Machine"
    } else {
        ""
    };
    let limit = match share.size_limit {
        None => String::new(),
        Some(bytes) => format!(", up to {}", words::size(bytes)),
    };
    format!(
        "{:<20} {access}{encrypted}{hides}{available}{compressed}{backups}{limit}, for {users}{nfs}\n",
        share.name
    )
}

fn status_text(status: &Status) -> String {
    let Status {
        pool,
        space,
        store,
        smb,
        nfs,
        ..
    } = status;
    let mut text = format!(
        "Strongroom {}, up {}\n",
        status.version,
        period(status.uptime_s)
    );
    for work in &status.works {
        text += &format!(
            "{:<9} {}: {} of {} (session {})\n",
            work.what, work.share, work.done, work.total, work.session
        );
    }
    for alarm in &status.alarms {
        text += &format!(
            "ALARM     {alarm}: files were encrypted or destroyed; `strongroom alarm show {alarm}`\n"
        );
    }
    if let Some(reason) = &status.offline {
        text += &format!("NOTHING CAN BE WRITTEN: {reason}\n");
    }
    let encrypted = if pool.encrypted { ", encrypted" } else { "" };
    text += &format!("pool    {}, layout {}{encrypted}\n", pool.id, pool.layout);
    text += &format!("        {}\n", words::survival(pool));
    for disk in &pool.disks {
        let reason = disk
            .reason
            .as_ref()
            .map(|why| format!(" ({why})"))
            .unwrap_or_default();
        text += &format!(
            "disk    {}: {}, {} errors{reason}\n",
            disk.name, disk.state, disk.errors
        );
    }
    if pool.bad_fragments + store.log_repairs > 0 {
        text += &format!(
            "damage  {} bad copies met, {} repaired, {} reads lost, {} log repairs\n",
            pool.bad_fragments, pool.repaired_fragments, pool.lost_reads, store.log_repairs
        );
    }
    let index = &store.index;
    if index.copies_good < index.copies || index.bad_pages + index.lost_pages > 0 {
        text += &format!(
            "index   {} of {} copies in service; {} bad pages met, {} repaired, {} lost\n",
            index.copies_good,
            index.copies,
            index.bad_pages,
            index.repaired_pages,
            index.lost_pages
        );
    }
    text += &format!(
        "space   {} free of {}; {} in files, {} in history\n",
        size(space.available),
        size(space.used + space.available),
        size(space.used_present),
        size(space.used_history)
    );
    text += &words::saving(space);
    let fullness = Fullness::of(space.used, space.available);
    if fullness != Fullness::Roomy {
        text += &format!("        {fullness}\n");
    }
    text += &format!(
        "smb     {}: {} connections, {} sessions, {} open files\n",
        smb.address, smb.connections, smb.sessions, smb.opens
    );
    if let Some(nfs) = nfs {
        text += &format!("nfs     {}: {} connections\n", nfs.address, nfs.connections);
    }
    text
}

pub(crate) fn print_json(document: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    say(&(text + "\n"))
}

/// A closed pipe (`| head`) is no failure.
pub(crate) fn say(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::new(
            Kind::Internal,
            format!("cannot write the answer: {error}"),
        )),
        Ok(()) | Err(_) => Ok(()),
    }
}
