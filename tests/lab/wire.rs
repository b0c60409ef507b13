//! What is on the wire: who answers ARP, what a machine's counters say.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use announcer::world::model::Mac;
use anyhow::{Context, bail};
use pnet::{
    datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender, MacAddr, NetworkInterface},
    packet::{
        Packet,
        arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket},
        ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket},
    },
};

use super::Namespace;

/// An ARP frame that somebody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpSeen {
    /// The frame's source.
    pub frame_source: Mac,
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target: Ipv4Addr,
    pub request: bool,
}

/// Asks `asker`'s link once who has `address` and gathers every answer that comes within `window`.
pub fn arp_answers(asker: &Namespace, address: Ipv4Addr, window: Duration) -> anyhow::Result<Vec<ArpSeen>> {
    asker.run(|| {
        let link = link()?;
        let (mut send, mut receive) = open(&link)?;
        let own = link.ips.iter().find_map(|ip| match ip.ip() {
            std::net::IpAddr::V4(ip) => Some(ip),
            std::net::IpAddr::V6(_) => None,
        });
        let (mac, own) = (link.mac.context("the link has no MAC")?, own.context("the link has no IPv4 address")?);
        let frame = request(mac, own, address)?;
        send.send_to(&frame, None).context("no room to send")??;
        let seen = gather(receive.as_mut(), window)?;
        Ok(seen.into_iter().filter(|a| !a.request && a.sender == address && a.target == own).collect())
    })
}

/// Gathers the ARP frames that reach a link, in the background.
#[derive(Debug)]
pub struct ArpWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<ArpSeen>>>,
}

impl ArpWatch {
    /// Begins to listen on `listener`'s link; what that machine itself sends is left out.
    pub fn start(listener: &Namespace) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (ready, opened) = mpsc::channel();
        let thread = listener.spawn(move || {
            let link = link()?;
            let (_send, mut receive) = open(&link)?;
            let _ = ready.send(());
            let own = link.mac.context("the link has no MAC")?.octets();
            let mut seen = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                seen.extend(gather(receive.as_mut(), Duration::from_millis(50))?);
            }
            seen.retain(|a| a.frame_source.0 != own);
            Ok(seen)
        });
        // An error on the way shows when the watch is finished.
        let _ = opened.recv();
        Ok(Self { stop, thread })
    }

    /// What was seen.
    pub fn finish(self) -> anyhow::Result<Vec<ArpSeen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the ARP watch panicked"))?
    }
}

fn link() -> anyhow::Result<NetworkInterface> {
    datalink::interfaces().into_iter().find(|l| l.name == "eth0").context("there is no eth0 here")
}

fn open(link: &NetworkInterface) -> anyhow::Result<(Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>)> {
    let config = Config { read_timeout: Some(Duration::from_millis(20)), ..Config::default() };
    match datalink::channel(link, config).context("opening a packet socket")? {
        Channel::Ethernet(send, receive) => Ok((send, receive)),
        _ => bail!("the link is no Ethernet"),
    }
}

fn request(mac: MacAddr, own: Ipv4Addr, address: Ipv4Addr) -> anyhow::Result<Vec<u8>> {
    let mut frame = vec![0; 42];
    let mut ethernet = MutableEthernetPacket::new(&mut frame).context("a short frame")?;
    ethernet.set_destination(MacAddr::broadcast());
    ethernet.set_source(mac);
    ethernet.set_ethertype(EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(&mut frame[14..]).context("a short frame")?;
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac);
    arp.set_sender_proto_addr(own);
    arp.set_target_proto_addr(address);
    Ok(frame)
}

fn gather(receive: &mut dyn DataLinkReceiver, window: Duration) -> anyhow::Result<Vec<ArpSeen>> {
    let end = Instant::now() + window;
    let mut seen = Vec::new();
    while Instant::now() < end {
        match receive.next() {
            Ok(frame) => seen.extend(parse(frame)),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(error).context("reading from the link"),
        }
    }
    Ok(seen)
}

fn parse(frame: &[u8]) -> Option<ArpSeen> {
    let ethernet = EthernetPacket::new(frame)?;
    if ethernet.get_ethertype() != EtherTypes::Arp {
        return None;
    }
    let arp = ArpPacket::new(ethernet.payload())?;
    Some(ArpSeen {
        frame_source: Mac(ethernet.get_source().octets()),
        sender_mac: Mac(arp.get_sender_hw_addr().octets()),
        sender: arp.get_sender_proto_addr(),
        target: arp.get_target_proto_addr(),
        request: arp.get_operation() == ArpOperations::Request,
    })
}

/// Counters of /proc/net/snmp and /proc/net/netstat in the namespace, named like `Tcp.InCsumErrors`.
pub fn counters(namespace: &Namespace) -> anyhow::Result<BTreeMap<String, u64>> {
    let text = namespace.run(|| -> std::io::Result<String> {
        // /proc/net is a link to self, which is the process: the thread's own view is beside it.
        Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?
            + &std::fs::read_to_string("/proc/thread-self/net/netstat")?)
    })?;
    let lines: Vec<&str> = text.lines().collect();
    let mut counters = BTreeMap::new();
    for pair in lines.chunks_exact(2) {
        let (Some((group, names)), Some((_, values))) = (pair[0].split_once(':'), pair[1].split_once(':')) else {
            bail!("unexpected lines in the kernel's counters: {pair:?}");
        };
        for (name, value) in names.split_whitespace().zip(values.split_whitespace()) {
            // Some are -1 by definition (Tcp.MaxConn).
            counters.insert(format!("{group}.{name}"), value.parse().unwrap_or(0));
        }
    }
    Ok(counters)
}

/// Packets that arrived with a wrong checksum, all protocols together.
pub fn checksum_errors(namespace: &Namespace) -> anyhow::Result<u64> {
    let counters = counters(namespace)?;
    Ok(counters.iter().filter(|(name, _)| name.ends_with("CsumErrors")).map(|(_, value)| value).sum())
}
