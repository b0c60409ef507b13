use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{Answer, Stop};
use crate::lab::Namespace;

/// Sends `payload` from a new port and waits for the answer: who answered, and the payload that came back.
pub fn udp_ask(
    from: &Namespace,
    to: SocketAddr,
    payload: &[u8],
    timeout: Duration,
) -> anyhow::Result<(Answer, Vec<u8>)> {
    from.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Connected: an answer from any other address than the one asked is not taken.
        socket.connect(to)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.send(payload)?;
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).with_context(|| format!("no UDP answer from {to}"))?;
        let mut parts = buffer[..length].splitn(3, |b| *b == b' ');
        let mut word = || Some(String::from_utf8_lossy(parts.next()?).into_owned());
        let pod = word().context("an empty answer")?;
        let client = word().context("an answer without the client")?.parse()?;
        Ok((Answer { pod, client }, parts.next().unwrap_or_default().to_vec()))
    })
}

/// Numbered datagrams of one flow, sent at a fixed pace: shows every single loss.
#[derive(Debug)]
pub struct UdpStream {
    stop: Stop,
    thread: JoinHandle<anyhow::Result<UdpReport>>,
}

#[derive(Debug)]
pub struct UdpReport {
    pub sent: u32,
    /// Numbers that never came back, in order.
    pub lost: Vec<u32>,
    /// The pods that answered.
    pub pods: BTreeSet<String>,
}

impl UdpStream {
    #[must_use]
    pub fn start(from: &Namespace, to: SocketAddr, pace: Duration) -> Self {
        let stop = Stop::default();
        let stopped = stop.clone();
        let thread = from.spawn(move || run(to, pace, &stopped));
        Self { stop, thread }
    }

    /// Stops sending, waits for what is under way, counts.
    pub fn finish(self) -> anyhow::Result<UdpReport> {
        self.stop.set();
        self.thread.join().map_err(|_| anyhow::anyhow!("the UDP client panicked"))?
    }
}

fn run(to: SocketAddr, pace: Duration, stop: &Stop) -> anyhow::Result<UdpReport> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    let (mut sent, mut back, mut pods) = (0_u32, BTreeSet::new(), BTreeSet::new());
    let begun = Instant::now();
    let mut buffer = [0; 2048];
    let mut quiet_since = None;
    loop {
        let due = begun + pace * sent;
        let now = Instant::now();
        if !stop.is_set() && now >= due {
            // A refusal (ICMP unreachable) shows as an error of the next call: that datagram counts as lost.
            let _ = socket.send(format!("#{sent}").as_bytes());
            sent += 1;
            continue;
        }
        let wait = if stop.is_set() { Duration::from_millis(50) } else { due - now };
        socket.set_read_timeout(Some(wait.max(Duration::from_micros(100))))?;
        if let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            pods.extend(text.split(' ').next().map(str::to_owned));
            back.extend(text.rsplit('#').next().and_then(|n| n.parse::<u32>().ok()));
        }
        if stop.is_set() {
            let since = *quiet_since.get_or_insert(now);
            if back.len() == sent as usize || since.elapsed() > Duration::from_secs(1) {
                return Ok(UdpReport { sent, lost: (0..sent).filter(|n| !back.contains(n)).collect(), pods });
            }
        }
    }
}
