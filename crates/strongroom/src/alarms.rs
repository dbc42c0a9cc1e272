//! The words for the alarm.

use std::path::Path;

use clap::Subcommand;

use strongroom_admin::endpoint::segment;
use strongroom_admin::types::{Alarm, AlarmAction, AlarmSetting, Decoy, Permission};
use strongroom_admin::when::Here;

use crate::commands::{print_json, say};
use crate::control::Control;
use crate::failure::{Failure, Kind, Result};

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Show all alarms
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what one is about, and how to put the files back
    Show { id: u64 },
    /// Let whoever it blocked change files again
    Clear { id: u64 },
    /// Say what an alarm in a share does: block the user and the address, only report, or nothing. Without one, show it
    Set {
        share: String,
        action: Option<AlarmAction>,
    },
    /// Give a user leave to encrypt files, as a backup program does; without a name, show who has it
    Permit {
        user: Option<String>,
        /// Take it back
        #[arg(long)]
        revoke: bool,
    },
    /// Make a file a decoy, which nobody should touch: whoever changes, renames or deletes it raises the alarm
    Decoy {
        /// SHARE/PATH
        path: String,
        /// Make it an ordinary file again
        #[arg(long)]
        off: bool,
    },
}

pub(crate) fn run(data: &Path, command: AlarmCommand) -> Result<()> {
    let (control, here) = (Control::new(data), Here::machine());
    match command {
        AlarmCommand::List { json } => {
            let all: Vec<Alarm> = control.get("/v1/alarms")?;
            if json {
                return print_json(&all);
            }
            let lines = all.iter().map(|alarm| line(&here, alarm));
            say(&lines.collect::<String>())
        }
        AlarmCommand::Show { id } => {
            let all: Vec<Alarm> = control.get("/v1/alarms")?;
            let alarm = all.iter().find(|alarm| alarm.id == id).ok_or_else(|| {
                let message = format!("there is no alarm {id}; `alarm list` shows all");
                Failure::new(Kind::Refused, message)
            })?;
            say(&text(&here, alarm))
        }
        AlarmCommand::Clear { id } => {
            control.post(&format!("/v1/alarms/{id}/clear"), &())?;
            say(&format!("alarm {id} cleared\n"))
        }
        AlarmCommand::Set { share, action } => set(&control, &share, action),
        AlarmCommand::Permit { user: None, .. } => {
            let all: Vec<String> = control.get("/v1/alarms/permitted")?;
            say(&all
                .iter()
                .map(|name| format!("{name}\n"))
                .collect::<String>())
        }
        AlarmCommand::Permit {
            user: Some(user),
            revoke,
        } => {
            let wanted = Permission {
                user: user.clone(),
                permitted: !revoke,
            };
            control.post("/v1/alarms/permitted", &wanted)?;
            let may = if revoke { "may not" } else { "may" };
            say(&format!("{user} {may} encrypt files\n"))
        }
        AlarmCommand::Decoy { path, off } => {
            let wanted = Decoy {
                path: path.clone(),
                decoy: !off,
            };
            control.post("/v1/alarms/decoys", &wanted)?;
            let is = if off { "an ordinary file" } else { "a decoy" };
            say(&format!("{path} is {is}\n"))
        }
    }
}

fn set(control: &Control, share: &str, action: Option<AlarmAction>) -> Result<()> {
    let route = format!("/v1/shares/{}/alarm", segment(share));
    let action = match action {
        Some(action) => {
            control.post(&route, &AlarmSetting { action })?;
            action
        }
        None => control.get::<AlarmSetting>(&route)?.action,
    };
    let what = match action {
        AlarmAction::Block => "blocks the user and the address",
        AlarmAction::Report => "is only reported",
        AlarmAction::Off => "is not raised",
    };
    say(&format!("an alarm in {share} {what}\n"))
}

fn line(here: &Here, alarm: &Alarm) -> String {
    format!(
        "{:>4}  {}  {}\n",
        alarm.id,
        here.show(alarm.time_s),
        what(alarm)
    )
}

fn what(alarm: &Alarm) -> String {
    let decoy = if alarm.decoy {
        ", a decoy among them"
    } else {
        ""
    };
    let state = match (alarm.cleared_s, alarm.action) {
        (Some(_), _) => "cleared",
        (None, AlarmAction::Block) => "blocked",
        (None, AlarmAction::Report | AlarmAction::Off) => "not blocked",
    };
    format!(
        "{} from {} in {}: {} files{decoy}; {state}",
        alarm.user,
        if alarm.address.is_empty() {
            "an unknown address"
        } else {
            &alarm.address
        },
        alarm.share,
        alarm.files
    )
}

fn text(here: &Here, alarm: &Alarm) -> String {
    let mut text = format!(
        "alarm {}, {}\n{}\n",
        alarm.id,
        here.show(alarm.time_s),
        what(alarm)
    );
    text += &format!(
        "it began at {}, in session {}\n",
        here.show(alarm.since_s),
        alarm.session
    );
    match &alarm.snapshot {
        Some(name) => {
            text += &format!("snapshot {name:?} keeps {} as it was before\n", alarm.share)
        }
        None => text += "no instant from before is kept any more\n",
    }
    for path in &alarm.paths {
        text += &format!("  {path}\n");
    }
    if alarm.files > alarm.paths.len() as u64 {
        text += "  ...\n";
    }
    text += &format!(
        "put back what that session did:  strongroom undo {} --session {} --dry-run\n",
        alarm.share, alarm.session
    );
    if alarm.cleared_s.is_none() && alarm.action == AlarmAction::Block {
        text += &format!(
            "when the cause is found:         strongroom alarm clear {}\n",
            alarm.id
        );
    }
    text
}
