//! Questions and announcements over UDP (WS-Discovery 2.4, 3, 4 and 5).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::Device;
use super::message::{self, Action};
use super::network::{Network, networks};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const PORT: u16 = 3702;
/// How often the networks are looked at anew.
const LOOK: Duration = Duration::from_secs(20);
/// Answers to everybody together; who gets none asks again.
const ANSWERS_A_SECOND: u32 = 50;

/// Beside other programs of this machine that listen for the same.
pub(super) fn bind() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

/// Says Hello on each network, answers, and says Bye when it is told to stop.
pub(super) async fn run(
    socket: UdpSocket,
    device: Arc<Device>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut speaker = Speaker {
        socket,
        device,
        networks: Vec::new(),
        budget: Budget::new(Instant::now()),
    };
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = vec![0; message::LENGTH_MAX];
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = look.tick() => speaker.look().await,
            received = speaker.socket.recv_from(&mut buffer) => match received {
                Ok((len, from)) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    speaker.answer(bytes, from).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "a question from the network was lost");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
    speaker.say(Action::Bye).await;
}

struct Speaker {
    socket: UdpSocket,
    device: Arc<Device>,
    networks: Vec<Network>,
    budget: Budget,
}

impl Speaker {
    /// Joins networks that came, and greets them.
    async fn look(&mut self) {
        let now = networks(self.device.host.listening.ip());
        let new: Vec<_> = now
            .iter()
            .filter(|network| !self.networks.contains(network))
            .copied()
            .collect();
        self.networks = now;
        for network in new {
            // An address that went and came again may be a member still.
            match self.socket.join_multicast_v4(GROUP, network.address) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::debug!(%error, address = %network.address, "cannot listen for Windows");
                }
            }
            self.greet(Action::Hello, network).await;
        }
    }

    async fn say(&self, action: Action) {
        for network in &self.networks {
            self.greet(action, *network).await;
        }
    }

    /// Twice, since datagrams get lost (SOAP-over-UDP 3).
    async fn greet(&self, action: Action, network: Network) {
        let text = self.device.announcement(action, network.address);
        let socket = socket2::SockRef::from(&self.socket);
        for _ in 0..2 {
            let sent = match socket.set_multicast_if_v4(&network.address) {
                Ok(()) => self.socket.send_to(text.as_bytes(), (GROUP, PORT)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                tracing::debug!(%error, address = %network.address, "cannot announce to Windows");
            }
        }
    }

    async fn answer(&mut self, bytes: &[u8], from: SocketAddr) {
        let Some(text) = self.answer_to(bytes, from) else {
            return;
        };
        if !self.budget.take(Instant::now()) {
            return;
        }
        if let Err(error) = self.socket.send_to(text.as_bytes(), from).await {
            tracing::debug!(%error, %from, "cannot answer");
        }
    }

    fn answer_to(&self, bytes: &[u8], from: SocketAddr) -> Option<String> {
        let IpAddr::V4(asking) = from.ip() else {
            return None;
        };
        let network = self.networks.iter().find(|network| network.holds(asking))?;
        let message = message::decode(bytes)?;
        let action = match message.action {
            Action::Probe if !message.for_others => Action::ProbeMatches,
            Action::Resolve if message.address == self.device.urn => Action::ResolveMatches,
            Action::Hello
            | Action::Bye
            | Action::Probe
            | Action::ProbeMatches
            | Action::Resolve
            | Action::ResolveMatches
            | Action::Get
            | Action::GetResponse => return None,
        };
        Some(self.device.matches(action, &message.id, network.address))
    }
}

/// Answers that may still be sent in this second.
#[derive(Debug)]
struct Budget {
    since: Instant,
    left: u32,
}

impl Budget {
    fn new(since: Instant) -> Self {
        Self {
            since,
            left: ANSWERS_A_SECOND,
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= Duration::from_secs(1) {
            *self = Self::new(now);
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_the_second() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let given = (0..200).filter(|_| budget.take(now)).count();
        assert_eq!(given, 50);
        assert!(budget.take(now + Duration::from_secs(1)));
    }
}
