//! The network of one test: a namespace with a bridge, which nothing else on the machine sees.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::suites::Suite;
use super::tools;
use crate::samba::tool;
use crate::server::program;

/// Tells the networks of one process apart.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A network namespace with a bridge at [`Network::SERVER`]; it goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
}

impl Network {
    /// Where a server under test listens.
    pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
    const BRIDGE: &'static str = "bridge";

    /// Makes a network and moves the calling thread into it, with all that it starts from then on. Nothing can be
    /// downloaded in there, so the program and the suites that will run are built before.
    pub fn enter(suites: &[Suite]) -> Result<Network> {
        tools::require()?;
        program()?;
        for suite in suites {
            suite.program()?;
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("strongroom-{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let network = Network { name };
        network.move_in()?;
        network.build()?;
        Ok(network)
    }

    /// Moves the calling thread into it.
    pub fn move_in(&self) -> Result<()> {
        let space = File::open(format!("/run/netns/{}", self.name))?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
            .context("cannot enter the network namespace")
    }

    fn build(&self) -> Result<()> {
        let address = format!("{}/24", Self::SERVER);
        ip(&["link", "set", "lo", "up"])?;
        // A port of the bridge forwards at once: nobody here makes loops.
        ip(&[
            "link",
            "add",
            Self::BRIDGE,
            "type",
            "bridge",
            "forward_delay",
            "0",
        ])?;
        ip(&["addr", "add", &address, "dev", Self::BRIDGE])?;
        ip(&["link", "set", Self::BRIDGE, "up"])
    }

    /// The address of a guest.
    pub fn address_of(guest: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 10 + guest)
    }

    /// Makes the interface that a guest is plugged into; the calling thread must have entered the network.
    pub(super) fn plug(&self, guest: u8) -> Result<Plug> {
        let name = format!("guest{guest}");
        ip(&["tuntap", "add", &name, "mode", "tap", "vnet_hdr"])?;
        let plug = Plug { name };
        ip(&["link", "set", &plug.name, "master", Self::BRIDGE, "up"])?;
        Ok(plug)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The interfaces go with the namespace, once the last process in it has ended.
        ip(&["netns", "del", &self.name]).ok();
    }
}

/// The host's end of a guest's wire.
#[derive(Debug)]
pub(super) struct Plug {
    pub(super) name: String,
}

impl Drop for Plug {
    fn drop(&mut self) {
        ip(&["link", "del", &self.name]).ok();
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new(tool("ip"))
        .args(arguments)
        .output()
        .context("cannot run ip (apt-get install iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`ip {}` failed: {}",
        arguments.join(" "),
        said.trim()
    );
    Ok(())
}
