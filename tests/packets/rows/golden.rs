//! The flow hash on the host and in the kernel are one function: golden flows through tables of every size.

use announcer_ebpf::abi::{SERVICE_AFFINITY, ServiceEntry, addr};
use announcer_ebpf::hash;
use anyhow::{Result, ensure};

use super::super::frames::{Layer4, Packet};
use super::super::rig::{Hook, Rig, Verdict};
use super::super::scene::{FLOW_KEY, LINK, OWN, TCP, UDP, one, served_by};
use super::{FROM, TO};
use announcer_ebpf::abi::{MAX_NODES, NODE_ALIVE, NODE_PRESENT, NodeEntry, map};

/// The hash of a packet's flow, by the host's copy of the function.
pub fn flow_hash(packet: &Packet, affinity: bool) -> u32 {
    let (client, vip) = (addr(packet.ip.source.into()), addr(packet.ip.destination.into()));
    let (from, to, protocol) = match &packet.layer4 {
        _ if affinity => (0, 0, 0),
        Layer4::Tcp(tcp) => (tcp.source_port.to_be(), tcp.destination_port.to_be(), TCP),
        Layer4::Udp { source, destination, .. } => (source.to_be(), destination.to_be(), UDP),
        Layer4::Icmp(_) | Layer4::Other(_) => (0, 0, 0),
    };
    hash::flow_hash(&FLOW_KEY, client, vip, from, to, protocol)
}

/// The row of a packet's flow in a table of `rows` rows.
pub fn row(packet: &Packet, affinity: bool, rows: u32) -> u32 {
    hash::row(flow_hash(packet, affinity), rows)
}

/// Sizes of the tables that agents make, and where the rows of this test put them.
const SIZES: [(u32, u32); 5] = [(0, 251), (256, 1_021), (2_048, 4_093), (8_192, 16_381), (32_768, 65_537)];

/// Row `r` belongs to node `1 + r % NODES`, so that a row off by one is seen.
const NODES: u32 = 7;

fn mac(node: u32) -> [u8; 6] {
    [0x02, 0x0d, 0xe0, 0x01, 0, node as u8]
}

/// Every size of table, both protocols, with and without affinity: the program's row is the host's.
pub fn the_kernel_hashes_as_the_host() -> Result<()> {
    let mut rig = Rig::lan()?;
    rig.pods()?;
    for node in 1..=NODES {
        let entry = NodeEntry { mac: mac(node), flags: NODE_PRESENT | NODE_ALIVE, ..NodeEntry::default() };
        rig.map::<aya::maps::Array<_, NodeEntry>>(map::NODES)?.set(LINK * MAX_NODES + node, entry, 0)?;
    }
    for (base, rows) in SIZES {
        let owners: Vec<u16> = (0..rows).map(|row| (1 + row % NODES) as u16).collect();
        let newest = rig.table(base, &owners)?;
        for affinity in [false, true] {
            let flags = if affinity { SERVICE_AFFINITY } else { 0 };
            rig.services(ServiceEntry { newest, flags, ..served_by(1, one(1)) })?;
            for n in 0..500_u32 {
                // Client addresses and ports that differ in every byte.
                let client = std::net::Ipv4Addr::from(n.wrapping_mul(0x9E37_79B1) | 1);
                let from = (FROM.0, client, (n * 127 + 1) as u16);
                for packet in [Packet::tcp(from, TO), Packet::udp(from, TO)] {
                    if client.octets()[..2] == [10, 244] {
                        continue;
                    }
                    let row = row(&packet, affinity, rows);
                    let expected = packet.clone().forwarded(OWN, mac(1 + row % NODES)).bytes();
                    let ran = rig.run(Hook::Xdp, &packet.bytes())?;
                    ensure!(
                        ran.verdict == Verdict::Tx && ran.frame == expected,
                        "{rows} rows, affinity {affinity}, {client}:{}: row {row}, but sent to {:02x?}",
                        from.2,
                        &ran.frame[..6]
                    );
                }
            }
        }
    }
    Ok(())
}
